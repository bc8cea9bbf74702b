/**
 * Traffic between two pods for as long as a test wants it, and what became of it. Three kinds side by side: datagrams of one flow and
 * a byte stream of one connection, which were there before whatever the test does, and new connections one after the other.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Namespace } from '../../e2e/engine/namespaces';

/** Of the time since the report before. */
export interface TrafficReport {
  readonly seconds: number;
  /** Datagrams that were sent, those whose echo did not come, and the longest time without one (milliseconds). */
  readonly datagrams: { readonly sent: number; readonly lost: number; readonly longestGap: number };
  /** The connection: bytes echoed, whether it broke, the longest time without progress (milliseconds). */
  readonly stream: { readonly bytes: number; readonly broken: string; readonly longestGap: number };
  /** New connections that were tried and answered, tried and not answered within a second, and the longest time between two answered ones. */
  readonly connections: { readonly made: number; readonly failed: number; readonly longestGap: number };
}

export interface Traffic {
  /** Waits for what is under way, and counts from here anew. */
  report(): Promise<TrafficReport>;
  readonly stop: () => void;
}

export const TRAFFIC_PORT = 7;

/** Answers datagrams and streams with what they say. Prints a line when it listens. */
const SERVER = `
const udp = require('dgram').createSocket('udp6');
udp.on('message', (m, from) => udp.send(m, from.port, from.address, () => undefined));
const tcp = require('net').createServer((s) => { s.setNoDelay(true); s.on('error', () => undefined); s.pipe(s); });
udp.bind(${TRAFFIC_PORT}, '::', () => tcp.listen(${TRAFFIC_PORT}, '::', () => console.log('ready')));
`;

const CLIENT = `
const [to] = process.argv.slice(1);
const net = require('net');
const now = () => performance.now();
const fresh = () => ({ at: now(), sent: 0, back: 0, bytes: 0, made: 0, failed: 0, gap: { udp: 0, tcp: 0, new: 0 } });
let count = fresh();
const last = { udp: now(), tcp: now(), new: now() };
const progress = (kind) => { const t = now(); count.gap[kind] = Math.max(count.gap[kind], t - last[kind]); last[kind] = t; };
let paused = false;

const udp = require('dgram').createSocket('udp4');
udp.on('error', () => undefined);
let first = 0, number = 0;
udp.on('message', (m) => { if (m.readUInt32BE(0) < first) return; count.back++; progress('udp'); });
setInterval(() => {
  if (paused) return;
  const m = Buffer.alloc(64); m.writeUInt32BE(number++); count.sent++;
  udp.send(m, ${TRAFFIC_PORT}, to, () => undefined);
}, 5);

let broken = '';
const tcp = net.connect(${TRAFFIC_PORT}, to);
tcp.setNoDelay(true);
tcp.on('data', (d) => { count.bytes += d.length; progress('tcp'); });
tcp.on('error', (e) => { broken = e.code ?? e.message; });
tcp.on('close', () => { broken = broken || 'closed'; });
setInterval(() => { if (!paused && !broken) tcp.write(Buffer.alloc(100)); }, 10);

let trying = 0;
setInterval(() => {
  if (paused) return;
  trying++;
  const s = net.connect(${TRAFFIC_PORT}, to, () => s.write('x'));
  let over = (made) => { over = () => undefined; trying--; clearTimeout(timer); s.destroy(); made ? (count.made++, progress('new')) : count.failed++; };
  const timer = setTimeout(() => over(false), 1000);
  s.on('data', () => over(true)); s.on('error', () => over(false));
}, 50);

require('readline').createInterface({ input: process.stdin }).on('line', () => {
  paused = true;
  const until = now() + 1500;
  const wait = setInterval(() => {
    if ((trying > 0 || count.back < count.sent) && now() < until) return;
    clearInterval(wait);
    const { at, sent, back, bytes, made, failed, gap } = count;
    // What went on without an answer until now is a gap, too.
    if (count.back < count.sent && now() - last.udp > 1000) gap.udp = Math.max(gap.udp, now() - last.udp);
    console.log(JSON.stringify({
      seconds: (now() - at) / 1000,
      datagrams: { sent, lost: sent - back, longestGap: Math.round(gap.udp) },
      stream: { bytes, broken, longestGap: Math.round(gap.tcp) },
      connections: { made, failed, longestGap: Math.round(gap.new) },
    }));
    first = number; count = fresh();
    last.udp = last.tcp = last.new = now();
    paused = false;
  }, 5);
});
console.log('ready');
process.stdin.on('end', () => process.exit(0));
`;

/** A client in a namespace, of an echo server. Where policy allows it not, everything is lost. */
export async function startTraffic(from: Namespace, address: string): Promise<Traffic> {
  const client = await inside(from, CLIENT, [address]);
  return {
    async report() {
      client.child.stdin!.write('report\n');
      return JSON.parse(await client.line()) as TrafficReport;
    },
    stop() {
      client.child.kill('SIGKILL');
    },
  };
}

/** Whether a new connection is answered. */
export async function canConnect(from: Namespace, address: string, port = TRAFFIC_PORT): Promise<boolean> {
  const script = `
const s = require('net').connect(${port}, '${address}', () => s.write('x'));
const say = (words) => { console.log(words); process.exit(0); };
s.on('data', () => say('answered'));
s.on('error', (e) => say(e.code));
setTimeout(() => say('silence'), 1000);
`;
  return (await from.node(script)) === 'answered';
}

/** Answers what startTraffic and canConnect send. */
export async function startEchoServer(at: Namespace): Promise<{ readonly stop: () => void }> {
  const { child } = await inside(at, SERVER, []);
  return { stop: () => child.kill('SIGKILL') };
}

interface Program {
  readonly child: ChildProcess;
  /** The next line that it prints. */
  line(): Promise<string>;
}

async function inside(space: Namespace, script: string, args: readonly string[]): Promise<Program> {
  const child = spawn('ip', ['netns', 'exec', space.name, process.execPath, '-e', script, ...args], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines: string[] = [];
  const waiting: ((line: string) => void)[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => {
    const next = waiting.shift();
    if (next === undefined) lines.push(line);
    else next(line);
  });
  const line = (): Promise<string> =>
    new Promise((resolve, reject) => {
      const there = lines.shift();
      if (there !== undefined) {
        resolve(there);
        return;
      }
      waiting.push(resolve);
      child.once('exit', () => {
        reject(new Error(`a program in ${space.name} ended`));
      });
    });
  await line();
  return { child, line };
}

/**
 * Traffic between two pods for as long as a test wants it, and what became of it. Three kinds side by side: datagrams of one flow and
 * a byte stream of one connection, which were there before whatever the test does, and new flows of one datagram each. A busy machine
 * makes all of them late, and loses none: what is lost was dropped.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Namespace } from '../../e2e/engine/namespaces';

interface Datagrams {
  readonly sent: number;
  /** No echo came. */
  readonly lost: number;
  /** Milliseconds: the longest time between two echoes. */
  readonly longestGap: number;
}

/** Of the time since the report, or reset, before. */
export interface TrafficReport {
  readonly seconds: number;
  /** One flow, 200 a second. */
  readonly flow: Datagrams;
  /** One connection, 100 segments a second: what broke it, if anything did. */
  readonly stream: { readonly bytes: number; readonly broken: string; readonly longestGap: number };
  /** Each from a port of its own, 20 a second. */
  readonly newFlows: Datagrams;
}

export interface Traffic {
  /** Waits for what is under way, and counts from here anew. */
  report(): Promise<TrafficReport>;
  /** Counts from here anew. */
  reset(): Promise<void>;
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

/** Milliseconds that a report waits for echoes. */
const PATIENCE = 3000;

const CLIENT = `
const [to] = process.argv.slice(1);
const net = require('net');
const dgram = require('dgram');
const now = () => performance.now();
const start = () => ({ at: now(), bytes: 0, flow: { sent: 0, back: 0 }, fresh: { sent: 0, back: 0 }, gap: { flow: 0, stream: 0, fresh: 0 } });
let count = start();
let round = 0;
let paused = false;
let last;
const again = () => { round++; count = start(); last = { flow: now(), stream: now(), fresh: now() }; };
const progress = (kind) => { const t = now(); count.gap[kind] = Math.max(count.gap[kind], t - last[kind]); last[kind] = t; };
again();

const flow = dgram.createSocket('udp4');
flow.on('error', () => undefined);
flow.on('message', (m) => { if (m.readUInt32BE(0) === round) { count.flow.back++; progress('flow'); } });
const numbered = () => { const m = Buffer.alloc(64); m.writeUInt32BE(round); return m; };
setInterval(() => {
  if (paused) return;
  count.flow.sent++;
  flow.send(numbered(), ${TRAFFIC_PORT}, to, () => undefined);
}, 5);

let broken = '';
const stream = net.connect(${TRAFFIC_PORT}, to);
stream.setNoDelay(true);
stream.on('data', (d) => { count.bytes += d.length; progress('stream'); });
stream.on('error', (e) => { broken = e.code ?? e.message; });
stream.on('close', () => { broken = broken || 'closed'; });
setInterval(() => { if (!paused && !broken) stream.write(Buffer.alloc(100)); }, 10);

const open = new Set();
setInterval(() => {
  if (paused) return;
  count.fresh.sent++;
  const socket = dgram.createSocket('udp4');
  open.add(socket);
  socket.on('error', () => undefined);
  socket.on('message', (m) => {
    if (m.readUInt32BE(0) === round) { count.fresh.back++; progress('fresh'); }
    open.delete(socket);
    socket.close();
  });
  socket.send(numbered(), ${TRAFFIC_PORT}, to, () => undefined);
}, 50);

require('readline').createInterface({ input: process.stdin }).on('line', (line) => {
  if (line === 'reset') {
    again();
    console.log('reset');
    return;
  }
  paused = true;
  const end = now();
  const wait = setInterval(() => {
    const all = count.flow.back === count.flow.sent && count.fresh.back === count.fresh.sent;
    if (!all && now() < end + ${PATIENCE}) return;
    clearInterval(wait);
    // What was without an echo until the end is a gap, too.
    for (const kind of ['flow', 'fresh', 'stream']) count.gap[kind] = Math.max(count.gap[kind], end - last[kind]);
    const of = (kind) => ({ sent: count[kind].sent, lost: count[kind].sent - count[kind].back, longestGap: Math.round(count.gap[kind]) });
    console.log(JSON.stringify({
      seconds: (end - count.at) / 1000,
      flow: of('flow'),
      stream: { bytes: count.bytes, broken, longestGap: Math.round(count.gap.stream) },
      newFlows: of('fresh'),
    }));
    for (const socket of open) socket.close();
    open.clear();
    again();
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
    async reset() {
      client.child.stdin!.write('reset\n');
      await client.line();
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
  let waiting:
    { readonly resolve: (line: string) => void; readonly reject: (error: Error) => void } | undefined;
  createInterface({ input: child.stdout }).on('line', (line) => {
    if (waiting === undefined) lines.push(line);
    else waiting.resolve(line);
    waiting = undefined;
  });
  let ended = false;
  const over = (): Error => new Error(`a program in ${space.name} ended`);
  child.once('exit', () => {
    ended = true;
    waiting?.reject(over());
  });
  child.stdin.on('error', () => undefined);
  const line = (): Promise<string> =>
    new Promise((resolve, reject) => {
      const there = lines.shift();
      if (there !== undefined) resolve(there);
      else if (ended) reject(over());
      else waiting = { resolve, reject };
    });
  await line();
  return { child, line };
}

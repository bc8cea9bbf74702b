/** Network namespaces for tests: made with names of their own, deleted at the end, and programs that run inside. */
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';

const run = promisify(execFile);

export function ip(...args: readonly string[]): string {
  return execFileSync('ip', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

let serial = 0;

export class Namespace {
  readonly name = `p4e-${process.pid}-${serial++}`;
  readonly path = `/run/netns/${this.name}`;

  constructor() {
    ip('netns', 'add', this.name);
    this.ip('link', 'set', 'lo', 'up');
  }

  ip(...args: readonly string[]): string {
    return ip('-n', this.name, ...args);
  }

  ethtool(...args: readonly string[]): void {
    execFileSync('ip', ['netns', 'exec', this.name, 'ethtool', ...args], { stdio: 'ignore' });
  }

  /** For example `ipv4/ip_forward`, 1. */
  sysctl(key: string, value: number): void {
    const script = `echo ${value} > /proc/sys/net/${key}`;
    execFileSync('ip', ['netns', 'exec', this.name, 'sh', '-c', script], { stdio: 'ignore' });
  }

  /** What a command prints, whatever its exit status. */
  async run(...command: readonly string[]): Promise<string> {
    try {
      return (await run('ip', ['netns', 'exec', this.name, ...command], { timeout: 20_000 })).stdout;
    } catch (error) {
      const { stdout, stderr } = error as { readonly stdout?: string; readonly stderr?: string };
      return `${stdout ?? ''}${stderr ?? ''}`;
    }
  }

  python(script: string): void {
    execFileSync('ip', ['netns', 'exec', this.name, 'python3', '-c', script], { stdio: 'inherit' });
  }

  /** Runs a piece of JavaScript inside to its end; what it printed. */
  async node(script: string): Promise<string> {
    const { stdout } = await run('ip', ['netns', 'exec', this.name, process.execPath, '-e', script], {
      timeout: 30_000,
    });
    return stdout.trim();
  }

  /** Starts a piece of JavaScript that prints a line when it is ready. */
  async serve(script: string): Promise<ChildProcess> {
    const child = spawn('ip', ['netns', 'exec', this.name, process.execPath, '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await new Promise((resolve) => child.stdout.once('data', resolve));
    return child;
  }

  /** What a piece of Python prints. */
  async pythonOutput(script: string): Promise<string> {
    return (await this.run('python3', '-c', script)).trim();
  }

  /** Starts a piece of Python that prints a line when it is ready. */
  async servePython(script: string): Promise<ChildProcess> {
    const child = spawn('ip', ['netns', 'exec', this.name, 'python3', '-c', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await new Promise((resolve) => child.stdout.once('data', resolve));
    return child;
  }

  delete(): void {
    ip('netns', 'delete', this.name);
  }
}

/** Answers every UDP datagram to port 7 with the same bytes, and TCP connections with the number of bytes received. */
export const ECHO = `
const udp = require('dgram').createSocket('udp4');
udp.on('message', (m, from) => udp.send(m, from.port, from.address));
const tcp = require('net').createServer({ allowHalfOpen: true }, (s) => {
  let n = 0;
  const hash = require('crypto').createHash('sha256');
  s.on('data', (d) => { n += d.length; hash.update(d); });
  s.on('end', () => s.end(n + ' ' + hash.digest('hex')));
  s.on('error', () => undefined);
});
udp.bind(7, () => tcp.listen(7, () => console.log('ready')));
`;

/** Sends one datagram again and again until it comes back; prints how many bytes did, or 'silence'. */
export function udpScript(to: string, bytes: number, patience = 5000): string {
  return `
const udp = require('dgram').createSocket('udp4');
const data = require('crypto').randomBytes(${bytes});
udp.on('message', (m) => { console.log(m.equals(data) ? m.length : 'other bytes'); process.exit(0); });
const send = () => udp.send(data, 7, '${to}', () => undefined);
send();
setInterval(send, 200);
setTimeout(() => { console.log('silence'); process.exit(0); }, ${patience});
`;
}

/** Sends bytes over TCP; prints 'ok' when the other side has received exactly these. */
export function tcpScript(to: string, bytes: number): string {
  return `
const data = require('crypto').randomBytes(${bytes});
const hash = require('crypto').createHash('sha256').update(data).digest('hex');
let answer = '';
const s = require('net').connect(7, '${to}', () => s.end(data));
s.on('data', (d) => (answer += d));
s.on('end', () => { console.log(answer === data.length + ' ' + hash ? 'ok' : answer); process.exit(0); });
s.on('error', (e) => { console.log(e.message); process.exit(0); });
setTimeout(() => { console.log('silence'); process.exit(0); }, 20000);
`;
}

/** Gives every TCP connection to port 7 its own bytes back, over both families. */
export const MIRROR = `
require('net').createServer({ allowHalfOpen: true }, (s) => { s.pipe(s); s.on('error', () => undefined); })
  .listen(7, '::', () => console.log('ready'));
`;

/** One new connection to a mirror: `ok` when what was sent came back, else the error, or `silence`. */
export function connectScript(to: string, port: number, patience = 1500): string {
  return `
const s = require('net').connect(${port}, '${to}', () => s.end('hello'));
let back = '';
s.on('data', (d) => (back += d));
s.on('end', () => { console.log(back === 'hello' ? 'ok' : 'other bytes'); process.exit(0); });
s.on('error', (e) => { console.log(e.message); process.exit(0); });
setTimeout(() => { console.log('silence'); process.exit(0); }, ${patience});
`;
}

/** A TCP connection to a mirror on which random bytes run, some megabytes a second, until it is told to end. */
export interface Stream {
  /** Resolves when bytes that were sent after the call have come back. @throws Error when they do not within 10 seconds */
  progress(): Promise<void>;
  /** Ends it: `the same bytes`, when all that was sent has come back, in its order and nothing else; else what was wrong. */
  finish(): Promise<string>;
  readonly kill: () => void;
}

/** Returns when it is connected. */
export async function startStream(from: Namespace, to: string, port: number): Promise<Stream> {
  const script = `
const { createHash, randomBytes } = require('crypto');
const [sent, back] = [createHash('sha256'), createHash('sha256')];
let [out, got] = [0, 0];
const say = (end) => { console.log(end); process.exit(0); };
const s = require('net').connect(${port}, '${to}', () => {
  console.log('sent 0 got 0');
  const timer = setInterval(() => {
    console.log('sent ' + out + ' got ' + got);
    // What is not taken waits in memory: not more than a megabyte of it.
    if (s.writableLength > 1000000) return;
    const data = randomBytes(16384);
    sent.update(data);
    out += data.length;
    s.write(data);
  }, 5);
  process.stdin.on('end', () => { clearInterval(timer); s.end(); }).resume();
});
s.on('data', (d) => { back.update(d); got += d.length; });
s.on('end', () => {
  const same = sent.digest('hex') === back.digest('hex');
  say(same ? 'end the same bytes' : 'end other bytes: ' + out + ' sent, ' + got + ' came back');
});
s.on('error', (e) => say('end ' + e.message));
`;
  const child = spawn('ip', ['netns', 'exec', from.name, process.execPath, '-e', script], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let [sent, got] = [-1, -1];
  let end: string | undefined;
  createInterface(child.stdout).on('line', (line) => {
    if (line.startsWith('end ')) end = line.slice(4);
    else [sent, got] = [...line.matchAll(/\d+/g)].map(Number) as [number, number];
  });
  const until = async (what: string, condition: () => boolean): Promise<void> => {
    const latest = Date.now() + 10_000;
    while (!condition()) {
      if (end !== undefined && what !== 'its end') throw new Error(`the stream to ${to} ended: ${end}`);
      if (Date.now() > latest)
        throw new Error(`${what} of the stream to ${to}: ${sent} sent, ${got} came back`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  };
  await until('the start', () => sent >= 0);
  return {
    async progress() {
      const before = sent + 1;
      await until('progress', () => got > before);
    },
    async finish() {
      child.stdin.end();
      await until('its end', () => end !== undefined);
      return end!;
    },
    kill: () => {
      child.kill('SIGKILL');
    },
  };
}

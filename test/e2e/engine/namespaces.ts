/** Network namespaces for tests: made with names of their own, deleted at the end, and programs that run inside. */
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
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

/**
 * What is lost when something is killed: Felix (the program that it starts), the driver, the switch's server, the engine, and all of them
 * together, with SIGKILL, under traffic between two pods in network namespaces. Every part is a process as a node runs it.
 */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { FelixModel, PolicyId } from '../../../src/model/model';
import { podMac, spellMac } from '../../../src/translators/links';
import { modelPayloads } from '../../support/felix-stream';
import { modelOf, policyOf, ruleOf, tierOf, workloadOf } from '../../support/models';
import {
  buildBridge,
  startBridge,
  startSocketDriver,
  type DriverProcess,
  type FelixEnd,
} from '../support/felix-driver';
import { start, stop, until, type Running } from '../support/processes';
import { describeEngine, enginesOn } from './engine';
import { Namespace } from './namespaces';

const [A, B] = [
  { name: 'cali-a', v4: '10.65.0.1' },
  { name: 'cali-b', v4: '10.65.0.2' },
] as const;

/** Pod a reaches pod b on some ports, by a set and a range; everything else is denied. `more` are further members of sets. */
function model(more: readonly string[] = []): FelixModel {
  const [a, b] = ['a', 'b'].map((name): PolicyId => ({
    kind: 'NetworkPolicy',
    namespace: 'shop',
    name: `pod-${name}`,
  }));
  const client = { srcIpSetIds: ['clients'] };
  return modelOf({
    ipSets: [{ id: 'clients', type: 'IP', members: new Set([A.v4, ...more]) }],
    policies: [
      policyOf({ id: a!, outboundRules: [ruleOf({ action: 'allow', dstNets: ['10.65.0.0/24'] })] }),
      policyOf({
        id: b!,
        inboundRules: [
          ruleOf({ ...client, action: 'allow', protocol: 'udp', dstPorts: [{ first: 7, last: 7 }] }),
          ruleOf({ ...client, action: 'allow', protocol: 'tcp', dstPorts: [{ first: 7000, last: 7100 }] }),
        ],
      }),
    ],
    workloads: [
      workloadOf({
        name: A.name,
        ipv4Nets: [`${A.v4}/32`],
        tiers: [tierOf({ name: 'default', ingressPolicies: [], egressPolicies: [a!] })],
      }),
      workloadOf({
        name: B.name,
        ipv4Nets: [`${B.v4}/32`],
        tiers: [tierOf({ name: 'default', ingressPolicies: [b!], egressPolicies: [] })],
      }),
    ],
  });
}

/** Echoes datagrams to ports 7 and 9, and bytes to TCP port 7007. */
const SERVER = `
const { createSocket } = require('dgram');
const echo = (port) => {
  const udp = createSocket('udp4');
  udp.on('message', (m, from) => udp.send(m, from.port, from.address, () => undefined));
  return new Promise((done) => udp.bind(port, done));
};
const tcp = require('net').createServer((s) => { s.setNoDelay(true); s.on('error', () => undefined); s.pipe(s); });
echo(7).then(() => echo(9)).then(() => tcp.listen(7007, () => console.log('ready')));
`;

/** What became of the traffic. Answers that are late are no loss. */
interface Traffic {
  /** Datagrams of one flow, and those that were not answered. */
  readonly flow: number;
  readonly flowLost: number;
  /** Milliseconds: the longest time without an answer of any datagram. */
  readonly silence: number;
  /** Flows of one datagram each. */
  readonly flows: number;
  readonly flowsLost: number;
  /** Messages over one TCP connection, each after the answer to the last. */
  readonly messages: number;
  /** TCP connections that were reset, or did not go on. */
  readonly resets: number;
  /** TCP connections that were opened for one message each, and those that were not answered. */
  readonly connections: number;
  readonly connectionsLost: number;
  /** Datagrams that policy denies and that were answered. */
  readonly leaked: number;
}

/** Sends until its standard input ends, waits for what is outstanding, and prints a Traffic. */
const CLIENT = `
const { createSocket } = require('dgram');
const { connect } = require('net');
const to = '${B.v4}';
const t = { flow: 0, flowLost: 0, flows: 0, flowsLost: 0, messages: 0, resets: 0, connections: 0, connectionsLost: 0, leaked: 0, silence: 0 };
let going = true;
const udp = createSocket('udp4');
let heard = 0;
const hear = () => {
  const now = performance.now();
  if (heard > 0) t.silence = Math.max(t.silence, Math.round(now - heard));
  heard = now;
};
udp.on('message', () => { t.flowLost--; hear(); });
const one = () => { t.flow++; t.flowLost++; udp.send('x', 7, to, () => undefined); };
const fresh = () => {
  const s = createSocket('udp4');
  t.flows++; t.flowsLost++;
  s.on('message', () => { t.flowsLost--; hear(); s.close(); });
  s.send('x', 7, to, () => undefined);
};
const denied = createSocket('udp4');
denied.on('message', () => t.leaked++);
let waiting = false;
const tcp = connect(7007, to);
tcp.setNoDelay(true);
const say = () => { if (!going || waiting) return; waiting = true; tcp.write('x'); };
tcp.on('connect', () => { console.log('ready'); setInterval(say, 5); });
tcp.on('data', () => { waiting = false; t.messages++; });
tcp.on('error', () => t.resets++);
const opened = () => {
  t.connections++; t.connectionsLost++;
  const s = connect(7007, to, () => s.write('x'));
  s.on('data', () => { t.connectionsLost--; s.destroy(); });
  s.on('error', () => undefined);
};
const timers = [setInterval(one, 5), setInterval(fresh, 20), setInterval(() => denied.send('x', 9, to, () => undefined), 20), setInterval(opened, 100)];
process.stdin.resume();
process.stdin.on('end', () => {
  going = false;
  timers.forEach(clearInterval);
  const end = Date.now() + 5000;
  const look = () => {
    const left = t.flowLost + t.flowsLost + t.connectionsLost + (waiting ? 1 : 0);
    if (left > 0 && Date.now() < end) return setTimeout(look, 50);
    if (waiting) t.resets++;
    console.log(JSON.stringify(t));
    process.exit(0);
  };
  look();
});
`;

const measured: string[] = [];

describeEngine('what is killed under traffic', { root: true }, () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'calico-p4-killed-'));
  const at = (name: string): string => path.join(folder, name);
  const target = `unix:${at('p4rt.sock')}`;
  const parts = new Map<string, Running>();
  const rest: ChildProcess[] = [];
  let [a, b]: Namespace[] = [];
  let driver: DriverProcess;
  let felix: Running & FelixEnd;

  const startSwitch = async (): Promise<void> => {
    const port = (n: number, space: Namespace, name: string): string[] => [
      '--port',
      `${n}=tap:eth0@${space.path},mtu=1500,mac=${spellMac(podMac({ mac: '', name }))}`,
    ];
    const ports = [...port(2, a!, A.name), ...port(3, b!, B.name)];
    const server = start('calico-p4', [
      ...['switch', '--engine', 'dpdk', '--engine-socket', at('engine.sock'), '--listen', target],
      ...ports,
    ]);
    parts.set('switch server', server);
    await until('the switch', () => server.output().stdout.includes('P4Runtime at'), 60);
  };
  const startDriver = async (): Promise<void> => {
    driver = await startSocketDriver({
      CALICO_P4_TARGET_ADDRESS: target,
      CALICO_P4_FELIX_LINK: `unix:${at('felix.sock')}`,
      CALICO_P4_JOURNAL_FILE: at('journal'),
    });
    parts.set('driver', driver);
  };
  const startFelix = async (says = model()): Promise<void> => {
    felix = startBridge(at('felix.sock'));
    parts.set('Felix', felix);
    felix.send(modelPayloads(says));
    const mine = felix;
    await until('both pods up', () => mine.statuses().size === 2, 60);
  };

  beforeAll(async () => {
    buildBridge();
    [a, b] = [new Namespace(), new Namespace()];
    await startSwitch();
    await startDriver();
    await startFelix();
    for (const [space, pod] of [
      [a, A],
      [b, B],
    ] as const) {
      space.ip('addr', 'add', `${pod.v4}/32`, 'dev', 'eth0');
      space.ip('route', 'add', '169.254.1.1', 'dev', 'eth0', 'scope', 'link');
      space.ip('route', 'add', 'default', 'via', '169.254.1.1');
    }
    rest.push(await b.serve(SERVER));
  }, 120_000);

  afterAll(async () => {
    for (const child of rest) child.kill('SIGKILL');
    for (const part of [...parts.values()].reverse()) await stop(part);
    for (const pid of enginePids()) process.kill(pid, 'SIGKILL');
    for (const space of [a, b]) space?.delete();
    rmSync(folder, { recursive: true, force: true });
    process.stderr.write(`${measured.join('\n')}\n`);
  }, 60_000);

  const enginePids = (): readonly number[] => enginesOn(at('engine.sock'));

  const kill = async (name: string): Promise<void> => {
    const part = parts.get(name)!;
    part.child.kill('SIGKILL');
    await part.ended;
  };

  /** Rows written by the present driver. */
  const written = (): number =>
    driver
      .logged('target written')
      .reduce(
        (sum, line) =>
          sum + [line['inserted'], line['modified'], line['deleted']].map(Number).reduce((x, y) => x + y, 0),
        0,
      );

  /** Traffic before, while and after `during` runs. */
  async function under(during: () => Promise<void>): Promise<Traffic> {
    const client = spawn('ip', ['netns', 'exec', a!.name, process.execPath, '-e', CLIENT], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    rest.push(client);
    let out = '';
    client.stdout.on('data', (text: Buffer) => (out += text.toString()));
    await until('the connection', () => out.startsWith('ready\n'));
    await new Promise((resolve) => setTimeout(resolve, 500));
    await during();
    await new Promise((resolve) => setTimeout(resolve, 500));
    client.stdin.end();
    await once(client, 'exit');
    return JSON.parse(out.split('\n')[1]!) as Traffic;
  }

  function note(what: string, rows: number | string, t: Traffic): void {
    const packets = `${t.flowLost + t.flowsLost} of ${t.flow + t.flows} datagrams lost, at most ${t.silence} ms without an answer`;
    const opened = `${t.connectionsLost} of ${t.connections} new connections not answered`;
    measured.push(
      `killed: ${what}: ${rows} rows written; ${packets}; ${t.resets} of 1 connection broken; ${opened}`,
    );
  }

  const NOTHING = { flowLost: 0, flowsLost: 0, resets: 0, connectionsLost: 0, leaked: 0 };

  test('nothing, for comparison', async () => {
    const traffic = await under(() => new Promise((resolve) => setTimeout(resolve, 1000)));
    expect(traffic).toMatchObject(NOTHING);
    expect(traffic.messages).toBeGreaterThan(10);
    expect(traffic.flow).toBeGreaterThan(50);
  }, 60_000);

  test('Felix: nothing is written, lost or reset', async () => {
    const before = written();
    const traffic = await under(async () => {
      await kill('Felix');
      await startFelix();
    });
    note('Felix', written() - before, traffic);
    expect(traffic).toMatchObject(NOTHING);
    expect(written()).toBe(before);
  }, 120_000);

  test('the driver, and Felix with it: nothing is written, lost or reset', async () => {
    const traffic = await under(async () => {
      await kill('driver');
      await parts.get('Felix')!.ended;
      await startDriver();
      await startFelix();
    });
    note('driver (Felix ends with it)', written(), traffic);
    expect(traffic).toMatchObject(NOTHING);
    expect(written()).toBe(0);
  }, 120_000);

  test("the switch's server: nothing is written, lost or reset", async () => {
    const before = written();
    const ready = driver.logged('target ready').length;
    const traffic = await under(async () => {
      await kill('switch server');
      await startSwitch();
      await until('the driver is back', () => driver.logged('target ready').length > ready, 60);
      await driver.untilReady(true);
    });
    note('switch server', written() - before, traffic);
    expect(traffic).toMatchObject(NOTHING);
    expect(written()).toBe(before);
  }, 120_000);

  test('Felix, driver and server together: nothing is written, lost or reset', async () => {
    const traffic = await under(async () => {
      await Promise.all(['Felix', 'driver', 'switch server'].map(kill));
      await startSwitch();
      await startDriver();
      await startFelix();
    });
    note('Felix, driver and switch server together', written(), traffic);
    expect(traffic).toMatchObject(NOTHING);
    expect(written()).toBe(0);
  }, 120_000);

  test('the driver, and a policy that changes meanwhile: the difference is written, nothing lost', async () => {
    const traffic = await under(async () => {
      await kill('driver');
      await parts.get('Felix')!.ended;
      await startDriver();
      await startFelix(model(['10.9.0.1']));
    });
    note('driver, one member of a set has come meanwhile', written(), traffic);
    expect(traffic).toMatchObject(NOTHING);
    expect(written()).toBe(1);
  }, 120_000);

  test('the engine: its server fills it again, its ports come back, and what is allowed goes on', async () => {
    const before = written();
    const [pid] = enginePids();
    const traffic = await under(async () => {
      process.kill(pid!, 'SIGKILL');
      await until('another engine', () => enginePids().some((now) => now !== pid), 60);
      await untilPodsTalk();
    });
    note('engine', written() - before, traffic);
    expect(traffic.leaked).toBe(0);
    expect(written()).toBe(before);
  }, 120_000);

  test('all of them together: all is written again, and the pods talk', async () => {
    const traffic = await under(async () => {
      for (const pid of enginePids()) process.kill(pid, 'SIGKILL');
      await Promise.all(['Felix', 'driver', 'switch server'].map(kill));
      // The server may have started another one before it was killed.
      for (const pid of enginePids()) process.kill(pid, 'SIGKILL');
      await startSwitch();
      await startDriver();
      await startFelix();
      await untilPodsTalk();
    });
    note('all of them, the engine too', written(), traffic);
    expect(traffic.leaked).toBe(0);
    expect(written()).toBeGreaterThan(20);
  }, 120_000);

  async function untilPodsTalk(): Promise<void> {
    const script = `
const s = require('dgram').createSocket('udp4');
s.on('message', () => { console.log('talk'); process.exit(0); });
setInterval(() => s.send('x', 7, '${B.v4}', () => undefined), 50);
setTimeout(() => process.exit(0), 20000);`;
    expect(await a!.node(script)).toBe('talk');
  }
});

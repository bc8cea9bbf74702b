/**
 * The machine is started anew. Power goes away under a running node: pods' namespaces, TAPs, engine, switch and driver at once; what is on
 * disk stays, the file of ports and the journal among it, also where they would be on a tmpfs and so gone. In namespaces, with every part
 * a process as a node runs it.
 */
import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { FelixModel, PolicyId } from '../../../src/model/model';
import { readPortFile } from '../../../src/p4switch/dpdk/port-file';
import { parseCidr } from '../../../src/translators/address';
import { EMBEDDED_LINKS, podMac, spellMac } from '../../../src/translators/links';
import { modelPayloads } from '../../support/felix-stream';
import { modelOf, NODE_IPV4, policyOf, ruleOf, tierOf, workloadOf } from '../../support/models';
import { rowsOnTarget, startFelixDriver, type FelixDriver } from '../support/felix-driver';
import { start, stop, until, type Running } from '../support/processes';
import { describeEngine, enginesOn } from './engine';
import { Namespace } from './namespaces';

interface Pod {
  readonly name: string;
  readonly v4: string;
}
const A: Pod = { name: 'cali-a', v4: '10.65.0.1' };
const B: Pod = { name: 'cali-b', v4: '10.65.0.2' };
/** After the start: b's sandbox is made anew, with another address; c has got the one that a had. */
const B2: Pod = { name: 'cali-b', v4: '10.65.0.9' };
const C: Pod = { name: 'cali-c', v4: '10.65.0.1' };
const HOST = 'cali0';
const macOf = ({ name }: Pod): bigint => podMac({ mac: '', name });

/** `from` reaches port 7 of `to`, and the node reaches nobody but by policy; everything else is denied. */
function model(from: Pod, to: Pod): FelixModel {
  const [out, into] = ['out', 'into'].map((name): PolicyId => ({
    kind: 'NetworkPolicy',
    namespace: 'shop',
    name,
  }));
  const tier = (ingress: readonly PolicyId[], egress: readonly PolicyId[]) => [
    tierOf({ name: 'default', ingressPolicies: ingress, egressPolicies: egress }),
  ];
  return modelOf({
    policies: [
      policyOf({ id: out!, outboundRules: [ruleOf({ action: 'allow' })] }),
      policyOf({
        id: into!,
        inboundRules: [ruleOf({ action: 'allow', protocol: 'udp', dstPorts: [{ first: 7, last: 7 }] })],
      }),
    ],
    workloads: [
      workloadOf({ name: from.name, ipv4Nets: [`${from.v4}/32`], tiers: tier([into!], [out!]) }),
      workloadOf({ name: to.name, ipv4Nets: [`${to.v4}/32`], tiers: tier([into!], [out!]) }),
    ],
  });
}

const ECHO = `
const echo = (port) => {
  const s = require('dgram').createSocket('udp4');
  s.on('message', (m, from) => s.send(m, from.port, from.address, () => undefined));
  return new Promise((done) => s.bind(port, done));
};
echo(7).then(() => echo(9)).then(() => console.log('ready'));
`;

/** Prints how many of ten datagrams, sent over half a second, were answered. */
const asked = (to: string, port: number): string => `
const s = require('dgram').createSocket('udp4');
let answers = 0;
s.on('message', () => answers++);
for (let i = 0; i < 10; i++) setTimeout(() => s.send('x', ${port}, '${to}', () => undefined), 50 * i);
setTimeout(() => { console.log(answers); process.exit(0); }, 1500);
`;

describeEngine('the machine is started anew', { root: true }, () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'calico-p4-reboot-'));
  const at = (name: string): string => path.join(folder, name);
  const target = `unix:${at('p4rt.sock')}`;
  const portFile = at('engine.sock.ports.json');
  const servers: ChildProcess[] = [];
  const spaces = new Set<Namespace>();
  let host: Namespace;
  let server: Running | undefined;
  let driver: FelixDriver | undefined;

  const space = (): Namespace => {
    const made = new Namespace();
    spaces.add(made);
    return made;
  };
  const portOption = (port: number, at: Namespace, device: string, mac: bigint): readonly string[] => [
    '--port',
    `${port}=tap:${device}@${at.path},mtu=1500,mac=${spellMac(mac)}`,
  ];
  const startSwitch = async (...ports: readonly string[]): Promise<Running> => {
    const running = start(
      'calico-p4',
      [...['switch', '--engine', 'dpdk', '--engine-socket', at('engine.sock'), '--listen', target], ...ports],
      { env: { CALICO_P4_LOG_LEVEL: 'info' } },
    );
    server = running;
    await until('the switch', () => running.output().stdout.includes('P4Runtime at'), 60);
    return running;
  };
  const startDriver = async (): Promise<FelixDriver> =>
    (driver = await startFelixDriver({
      CALICO_P4_TARGET_ADDRESS: target,
      CALICO_P4_JOURNAL_FILE: at('journal'),
    }));
  const bothUp = async (): Promise<void> => {
    const felix = driver!;
    const up = (): number => [...felix.statuses().values()].filter((status) => status === 'up').length;
    await until('both pods up', () => up() === 2, 60);
  };
  const say = async (says: FelixModel): Promise<void> => {
    driver!.send(modelPayloads(says));
    await bothUp();
  };
  /** Addresses as Calico's CNI plugin gives them, on the TAP that the switch has made. */
  const setUp = async (pod: Namespace, { v4 }: Pod): Promise<void> => {
    pod.ip('addr', 'add', `${v4}/32`, 'dev', 'eth0');
    pod.ip('route', 'add', '169.254.1.1', 'dev', 'eth0', 'scope', 'link');
    pod.ip('route', 'add', 'default', 'via', '169.254.1.1');
    servers.push(await pod.serve(ECHO));
  };
  const answers = async (from: Namespace, to: Pod, port: number): Promise<number> =>
    Number(await from.node(asked(to.v4, port)));

  const enginePids = (): readonly number[] => enginesOn(at('engine.sock'));
  const killAll = async (): Promise<void> => {
    // The server first: it would start another engine.
    for (const part of [server, driver]) {
      part?.child.kill('SIGKILL');
      await part?.ended;
    }
    for (const pid of enginePids()) process.kill(pid, 'SIGKILL');
    await until('no engine', () => enginePids().length === 0);
    for (const child of servers.splice(0)) child.kill('SIGKILL');
  };

  afterAll(async () => {
    for (const child of servers) child.kill('SIGKILL');
    await stop(driver);
    await stop(server);
    for (const pid of enginePids()) process.kill(pid, 'SIGKILL');
    for (const one of spaces) one.delete();
    rmSync(folder, { recursive: true, force: true });
  }, 60_000);

  test('pods of before leave nothing, nothing is open until Felix has spoken, new pods work', async () => {
    // ---- the first life ----
    host = space();
    const [a, b] = [space(), space()];
    await startSwitch(
      ...portOption(1, host, HOST, EMBEDDED_LINKS.hostMac!),
      ...portOption(2, a, 'eth0', macOf(A)),
      ...portOption(3, b, 'eth0', macOf(B)),
    );
    await startDriver();
    await say(model(A, B));
    await setUp(a, A);
    await setUp(b, B);
    expect(await answers(a, B, 7)).toBe(10);
    expect(await answers(a, B, 9)).toBe(0);
    const journal = readFileSync(at('journal'));
    expect(journal.length).toBeGreaterThan(0);

    // ---- power goes away ----
    await killAll();
    for (const pod of [a, b]) {
      spaces.delete(pod);
      pod.delete();
    }
    // The host's own namespace is there after each start, without what somebody had made in it.
    host.ip('link', 'del', HOST);
    const kept = JSON.parse(readFileSync(portFile, 'utf8')) as { readonly ports: readonly unknown[] };
    expect(kept.ports).toHaveLength(3);
    writeFileSync(portFile, JSON.stringify({ ...kept, boot: 'the one before' }));
    expect(readFileSync(at('journal')).equals(journal)).toBe(true);

    // ---- the switch is back, and nobody else ----
    const first = await startSwitch();
    const forgotten = (): number => first.output().stderr.split('port is forgotten').length - 1;
    await until('forgotten ports', () => forgotten() === 2);
    expect([...readPortFile(portFile).ports].map(([port, { netns }]) => [port, netns])).toEqual([
      [1, host.path],
    ]);
    await until('the port of the host', () => host.ip('-o', 'link').includes(`${HOST}:`));
    expect(await rowsOnTarget(target).catch(() => [])).toEqual([]);

    // ---- new pods are made; the driver has not started, then it waits for Felix ----
    await stop(server);
    const [c, b2] = [space(), space()];
    await startSwitch(...portOption(2, c, 'eth0', macOf(C)), ...portOption(3, b2, 'eth0', macOf(B2)));
    await setUp(c, C);
    await setUp(b2, B2);
    host.ip('addr', 'add', `${NODE_IPV4}/32`, 'dev', HOST);
    host.ip('route', 'add', '10.65.0.0/24', 'dev', HOST, 'src', NODE_IPV4);
    const everything = async (): Promise<readonly number[]> => {
      // A question about the gateway that nobody answered is asked again late.
      for (const one of [c, b2, host]) one.ip('neigh', 'flush', 'all');
      return [
        await answers(c, B2, 7),
        await answers(b2, C, 7),
        await answers(host, B2, 7),
        await answers(c, B2, 9),
      ];
    };
    expect(await everything()).toEqual([0, 0, 0, 0]);
    const felix = await startDriver();
    await until('the target', () => felix.logged('target ready').length > 0, 60);
    expect(await everything()).toEqual([0, 0, 0, 0]);
    // In the middle of the snapshot: endpoints and policies are known, and Felix is not in sync.
    const payloads = modelPayloads(model(C, B2));
    const isInSync = (payload: object): boolean => 'inSync' in payload;
    expect(payloads.filter(isInSync)).toHaveLength(1);
    felix.send(payloads.filter((payload) => !isInSync(payload)));
    expect(await everything()).toEqual([0, 0, 0, 0]);
    expect((await rowsOnTarget(target)).filter((row) => /^(local|port_in|endpoint_root)/.test(row))).toEqual(
      [],
    );

    // ---- in sync ----
    felix.send(payloads.filter(isInSync));
    await bothUp();
    // The node itself is not policed on its way to pods.
    expect(await everything()).toEqual([10, 10, 10, 0]);

    // ---- and nothing of before is on the target ----
    const rows = await rowsOnTarget(target);
    const addressed = (table: string, action: string): readonly string[] =>
      rows
        .filter((row) => row.startsWith(`${table}|`) && row.includes(` ${action}(`))
        .map((row) => /lo=([0-9a-f]+)/.exec(row)![1]!)
        .sort();
    const both = [C, B2].map(({ v4 }) => parseCidr(v4)!.lo.toString(16)).sort();
    expect(addressed('pod_source', 'source_ok')).toEqual(both);
    expect(addressed('local', 'to_pod')).toEqual(both);
    expect(rows.filter((row) => row.startsWith('port_in') && row.includes('from_pod'))).toHaveLength(2);
    expect([...readPortFile(portFile).ports.keys()].sort()).toEqual([1, 2, 3]);
    // A driver that takes over finds nothing to be done.
    driver!.child.kill('SIGKILL');
    await driver!.ended;
    await startDriver();
    await say(model(C, B2));
    const written = driver!
      .logged('target written')
      .flatMap((line) => [line['inserted'], line['modified'], line['deleted']]);
    expect(written.filter((count) => count !== 0)).toEqual([]);
    expect(await rowsOnTarget(target)).toEqual(rows);
  }, 240_000);
});

/**
 * Pods in network namespaces on the native engine, set up as Calico's CNI plugin does it, with the real driver and P4Runtime: Linux at
 * every port, so that its ARP, its neighbour discovery and its ICMP errors are what is met. The host's stack is a namespace too.
 */
import { execFile } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { createNode } from '../../../src/driver/node';
import { openTarget, type Target } from '../../../src/driver/target';
import type { FelixModel } from '../../../src/model/model';
import { type EngineNode, startEngineNode } from '../../../src/p4switch/dpdk/node';
import { startDpdkSwitch } from '../../../src/p4switch/dpdk/switch';
import type { PortSpec } from '../../../src/p4switch/dpdk/ports';
import type { SwitchServer } from '../../../src/p4switch/server/server';
import { EMBEDDED_LINKS, podMac, spellMac } from '../../../src/translators/links';
import { modelOf, NODE_IPV4, NODE_IPV6, ruleOf, workloadOf } from '../../support/models';
import { describeEngine, engineBinary } from './engine';
import { ECHO, Namespace, tcpScript, udpScript } from './namespaces';

const run = promisify(execFile);
const PORTS = { uplink: 0, host: 1, firstPod: 2 } as const;
const POD_MTU = 1400;
const UPLINK_MTU = 1300;
const LINKS = { ...EMBEDDED_LINKS, podMtu: POD_MTU, uplinkMtu: UPLINK_MTU };
const [A, B] = [
  { name: 'cali-a', v4: '10.65.0.1', v6: 'fd00::a' },
  { name: 'cali-b', v4: '10.65.0.2', v6: 'fd00::b' },
] as const;
/** On the uplink's network, which the node shares. */
const FAR = { v4: '192.0.2.9', v6: '2001:db8:ffff::9' } as const;
/** On no network, so that it leaves by the next hop: FAR. */
const BEYOND = '203.0.113.9';
const GATEWAY6 = 'fe80::ecee:eeff:feee:eeee';

/** Lets everything pass: what is tried is what comes before and after policy. */
function openModel(): FelixModel {
  const allow = [ruleOf({ action: 'allow' })];
  return modelOf({
    config: { DefaultEndpointToHostAction: 'Accept' },
    profiles: [{ name: 'open', inboundRules: allow, outboundRules: allow }],
    workloads: [A, B].map((pod) =>
      workloadOf({
        name: pod.name,
        ipv4Nets: [`${pod.v4}/32`],
        ipv6Nets: [`${pod.v6}/128`],
        profileIds: ['open'],
      }),
    ),
  });
}

describeEngine('pods on the engine', { root: true }, () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'calico-p4-pods-'));
  const servers: ChildProcess[] = [];
  let engine: EngineNode;
  let server: SwitchServer;
  let target: Target;
  let [a, b, host, wire, far]: Namespace[] = [];

  beforeAll(async () => {
    engine = await startEngineNode({ socket: path.join(folder, 'engine.sock'), binary: engineBinary() });
    server = await startDpdkSwitch(
      { address: `unix:${path.join(folder, 'p4rt.sock')}`, deviceId: 1n },
      engine,
    );
    target = await openTarget(
      { address: server.address, kind: 'embedded', deviceId: 1, electionId: '1' },
      (error) => {
        throw error;
      },
    );
    const node = await createNode({ reconciler: target.reconciler, ports: PORTS, links: LINKS });
    expect((await node.program(openModel())).applied.failed.size).toBe(0);
    const portOf = new Map([...node.names.ports].map(([port, name]) => [name, port]));

    [a, b, host, wire, far] = Array.from({ length: 5 }, () => new Namespace());
    const tap = (netns: string, name: string, mac: bigint): PortSpec => ({
      kind: 'tap',
      name,
      netns,
      mtu: POD_MTU,
      mac: spellMac(mac),
      persistent: false,
    });
    for (const [space, pod] of [
      [a!, A],
      [b!, B],
    ] as const) {
      const mac = podMac({ mac: '', name: pod.name });
      await engine.attach(portOf.get(pod.name)!, tap(space.path, 'eth0', mac));
      space.ip('addr', 'add', `${pod.v4}/32`, 'dev', 'eth0');
      space.ip('route', 'add', '169.254.1.1', 'dev', 'eth0', 'scope', 'link');
      space.ip('route', 'add', 'default', 'via', '169.254.1.1');
      space.ip('addr', 'add', `${pod.v6}/128`, 'dev', 'eth0', 'nodad');
      space.ip('-6', 'route', 'add', 'default', 'via', GATEWAY6, 'dev', 'eth0');
    }

    // The host forwards nothing here but for what it must make ICMP errors of.
    await engine.attach(PORTS.host, tap(host!.path, 'cali0', LINKS.hostMac!));
    for (const [key, value] of [
      ['ipv4/ip_forward', 1],
      ['ipv4/icmp_ratelimit', 0],
      ['ipv4/conf/all/rp_filter', 0],
      ['ipv4/conf/cali0/rp_filter', 0],
      ['ipv4/conf/all/send_redirects', 0],
      ['ipv4/conf/cali0/send_redirects', 0],
      ['ipv6/conf/all/forwarding', 1],
      ['ipv6/icmp/ratelimit', 0],
    ] as const)
      await inside(host!, 'sh', '-c', `echo ${value} > /proc/sys/net/${key}`);
    host!.ip('addr', 'add', `${NODE_IPV4}/32`, 'dev', 'cali0');
    host!.ip('addr', 'add', `${NODE_IPV6}/128`, 'dev', 'cali0', 'nodad');
    host!.ip('route', 'add', '10.65.0.0/24', 'dev', 'cali0', 'src', NODE_IPV4);
    host!.ip('-6', 'route', 'add', 'fd00::/64', 'dev', 'cali0', 'src', NODE_IPV6);
    const mtu = ['mtu', 'lock', String(UPLINK_MTU)];
    host!.ip('route', 'add', 'default', 'dev', 'cali0', 'src', NODE_IPV4, ...mtu);
    host!.ip('-6', 'route', 'add', 'default', 'dev', 'cali0', 'src', NODE_IPV6, ...mtu);

    wire!.ip('link', 'add', 'up0', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', far!.name);
    wire!.ip('link', 'set', 'up0', 'address', spellMac(LINKS.uplinkMac!), 'up');
    far!.ip('link', 'set', 'eth0', 'address', spellMac(LINKS.nextHopMac!), 'up');
    far!.ethtool('-K', 'eth0', 'tso', 'off', 'gso', 'off');
    far!.ip('addr', 'add', `${FAR.v4}/24`, 'dev', 'eth0');
    far!.ip('addr', 'add', `${FAR.v6}/64`, 'dev', 'eth0', 'nodad');
    far!.ip('addr', 'add', `${BEYOND}/32`, 'dev', 'lo');
    far!.ip('route', 'add', '10.65.0.0/24', 'via', NODE_IPV4);
    far!.ip('-6', 'route', 'add', 'fd00::/64', 'via', NODE_IPV6);
    await engine.attach(PORTS.uplink, {
      ...tap(wire!.path, 'up0', 0n),
      kind: 'packet',
      mtu: 0,
      mac: '',
    });
    for (const space of [a!, b!, host!, far!]) servers.push(await space.serve(ECHO));
  }, 60_000);

  afterAll(async () => {
    for (const running of servers) running.kill('SIGKILL');
    target.close();
    await server.stop();
    await engine.stop('quit');
    for (const space of [a, b, host, wire, far]) space?.delete();
    rmSync(folder, { recursive: true, force: true });
  });

  /** One echo request; the words of `ping`, whether or not there was an answer. */
  const ping = (from: Namespace, to: string, ...more: readonly string[]): Promise<string> =>
    inside(from, 'ping', '-n', '-c', '1', '-W', '3', ...more, to);
  const ANSWERED = ', 0% packet loss';

  test('a pod finds its gateway by ARP and by neighbour discovery, and the other pod behind it', async () => {
    expect(await ping(a!, B.v4)).toContain(ANSWERED);
    expect(await ping(b!, A.v6)).toContain(ANSWERED);
    expect(a!.ip('neigh')).toMatch(/^169\.254\.1\.1 dev eth0 lladdr ee:ee:ee:ee:ee:ee/m);
    expect(b!.ip('-6', 'neigh')).toMatch(
      /^fe80::ecee:eeff:feee:eeee dev eth0 lladdr ee:ee:ee:ee:ee:ee router/m,
    );
    expect(await a!.node(udpScript(B.v4, 1000))).toBe('1000');
    expect(await a!.node(tcpScript(B.v4, 1_000_000))).toBe('ok');
    expect(await b!.node(tcpScript(A.v6, 1_000_000))).toBe('ok');
  });

  test('pods and the host reach each other', async () => {
    for (const [pod, { v4, v6 }] of [
      [a!, A],
      [b!, B],
    ] as const) {
      expect(await ping(pod, NODE_IPV4)).toContain(ANSWERED);
      expect(await ping(pod, NODE_IPV6)).toContain(ANSWERED);
      expect(await ping(host!, v4)).toContain(ANSWERED);
      expect(await ping(host!, v6)).toContain(ANSWERED);
    }
    expect(await a!.node(tcpScript(NODE_IPV4, 300_000))).toBe('ok');
    expect(await host!.node(tcpScript(B.v6, 300_000))).toBe('ok');
  });

  test('the uplink finds the node by ARP and neighbour discovery; pods, host and the world reach each other', async () => {
    for (const from of [a!, host!])
      for (const to of [FAR.v4, FAR.v6, BEYOND]) expect(await ping(from, to)).toContain(ANSWERED);
    for (const to of [A.v4, B.v6, NODE_IPV4, NODE_IPV6]) expect(await ping(far!, to)).toContain(ANSWERED);
    expect(far!.ip('neigh')).toMatch(/^192\.0\.2\.1 dev eth0 lladdr 02:00:00:00:00:02/m);
    expect(far!.ip('-6', 'neigh')).toMatch(/^2001:db8:ffff::1 dev eth0 lladdr 02:00:00:00:00:02/m);
  });

  test('the host says when the time to live is over', async () => {
    for (const to of [BEYOND, B.v4])
      expect(await ping(a!, to, '-t', '1')).toContain(`From ${NODE_IPV4} icmp_seq=1 Time to live exceeded`);
    expect(await ping(a!, FAR.v6, '-t', '1')).toContain(`From ${NODE_IPV6} icmp_seq=1 Time exceeded`);
    expect(await ping(far!, A.v4, '-t', '1')).toContain(`From ${NODE_IPV4} icmp_seq=1 Time to live exceeded`);
    // The node itself is no hop.
    expect(await ping(a!, NODE_IPV4, '-t', '1')).toContain(ANSWERED);
    expect(await ping(a!, B.v4, '-t', '2')).toContain(ANSWERED);
  });

  test('packets in fragments arrive, though all of them come at once', async () => {
    for (const [from, to] of [
      [a!, B.v4],
      [a!, FAR.v4],
      [far!, B.v4],
    ] as const) {
      // One try each: no fragment may be lost.
      expect(await ping(from, to, '-s', '20000')).toContain(ANSWERED);
      expect(await ping(from, to, '-s', '3000')).toContain(ANSWERED);
    }
    expect(await ping(a!, B.v6, '-s', '20000')).toContain(ANSWERED);
  });

  test('the host says what is too big, and TCP finds the size of its way', async () => {
    expect(await ping(a!, BEYOND, '-M', 'do', '-s', '1272')).toContain(ANSWERED);
    expect(await ping(a!, BEYOND, '-M', 'do', '-s', '1273')).toMatch(
      /From 192\.0\.2\.1 icmp_seq=1 Frag needed and DF set \(mtu = 1300\)/,
    );
    expect(await ping(b!, FAR.v6, '-M', 'do', '-s', '1300')).toMatch(/Packet too big: mtu=1300/);
    expect(await b!.node(tcpScript(FAR.v4, 500_000))).toBe('ok');
    expect(await b!.node(tcpScript(FAR.v6, 500_000))).toBe('ok');
    // Without DF the host cuts it. (Not to FAR: the pod knows the size of that way by now.)
    expect(await ping(b!, BEYOND, '-M', 'dont', '-s', '1350')).toContain(ANSWERED);
    expect(await ping(far!, B.v4, '-M', 'do', '-s', '1450')).toMatch(
      /From 192\.0\.2\.1 icmp_seq=1 Frag needed and DF set \(mtu = 1400\)/,
    );
    expect(await far!.node(tcpScript(A.v4, 500_000))).toBe('ok');
  });
});

/** What the program printed, whatever its exit status. */
async function inside({ name }: Namespace, ...command: readonly string[]): Promise<string> {
  try {
    return (await run('ip', ['netns', 'exec', name, ...command], { timeout: 20_000 })).stdout;
  } catch (error) {
    const { stdout, stderr } = error as { readonly stdout?: string; readonly stderr?: string };
    return `${stdout ?? ''}${stderr ?? ''}`;
  }
}

/**
 * Pods in network namespaces on the native engine, set up as Calico's CNI plugin does it, with the real driver and P4Runtime: Linux at
 * every port, so that its ARP, its neighbour discovery and its ICMP errors are what is met. The host's stack is a namespace too.
 */
import type { ChildProcess } from 'node:child_process';
import type { FelixModel } from '../../../src/model/model';
import { EMBEDDED_LINKS, spellMac } from '../../../src/translators/links';
import { modelOf, NODE_IPV4, NODE_IPV6, ruleOf, workloadOf } from '../../support/models';
import { type Bed, BEYOND, FAR, setUpFar, startBed } from './bed';
import { describeEngine } from './engine';
import { ECHO, type Namespace, tcpScript, udpScript } from './namespaces';

const POD_MTU = 1400;
const UPLINK_MTU = 1300;
const LINKS = { ...EMBEDDED_LINKS, podMtu: POD_MTU, uplinkMtu: UPLINK_MTU };
const [A, B] = [
  { name: 'cali-a', v4: '10.65.0.1', v6: 'fd00::a' },
  { name: 'cali-b', v4: '10.65.0.2', v6: 'fd00::b' },
] as const;
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
  const servers: ChildProcess[] = [];
  let bed: Bed;
  let [a, b, host, far]: Namespace[] = [];

  beforeAll(async () => {
    bed = await startBed(LINKS);
    await bed.program(openModel());
    [a, b] = [await bed.addPod(A), await bed.addPod(B)];
    host = await bed.addHost();
    far = (await bed.addUplink()).far;
    far.ip('link', 'set', 'eth0', 'address', spellMac(LINKS.nextHopMac!), 'up');
    far.ethtool('-K', 'eth0', 'tso', 'off', 'gso', 'off');
    setUpFar(far, 'eth0');
    for (const space of [a, b, host, far]) servers.push(await space.serve(ECHO));
  }, 60_000);

  afterAll(async () => {
    for (const running of servers) running.kill('SIGKILL');
    await bed.stop();
  });

  /** One echo request; the words of `ping`, whether or not there was an answer. */
  const ping = (from: Namespace, to: string, ...more: readonly string[]): Promise<string> =>
    from.run('ping', '-n', '-c', '1', '-W', '3', ...more, to);
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

import { activeWorkloads, endpointRows, type PlacedEndpoint } from '../../../src/translators/endpoints';
import { EMBEDDED_LINKS, parseMac, podMac, spellMac } from '../../../src/translators/links';
import { parseCidr, spellAddress } from '../../../src/translators/address';
import { rowText } from '../../../src/p4target/row-text';
import { NO_NETWORK, type FelixModel, type WorkloadEndpoint } from '../../../src/model/model';

const PORTS = { uplink: 0, host: 1 };
/** EMBEDDED_LINKS, as rows are printed. */
const GATEWAY = '0xeeeeeeeeeeee';
const UPLINK_MAC = '0x20000000002';
const NEXT_HOP = `port=0x0, dst=0x20000000001, src=${UPLINK_MAC}, mtu=0x5dc`;
const TO_HOST = `dst=0x20000000003, src=${GATEWAY}`;
const STACK = `port=0x1, ${TO_HOST}`;

function workload(workloadId: string, over: Partial<WorkloadEndpoint> = {}): WorkloadEndpoint {
  return {
    id: { orchestratorId: 'k8s', workloadId, endpointId: 'eth0' },
    state: 'active',
    name: `cali-${workloadId}`,
    mac: '',
    profileIds: [],
    ipv4Nets: ['10.65.0.1/32'],
    ipv6Nets: [],
    tiers: [],
    allowSpoofedSourcePrefixes: [],
    ...over,
  };
}

function model(config: Record<string, string> = {}, over: Partial<FelixModel> = {}): FelixModel {
  return {
    config: new Map(Object.entries(config)),
    ipSets: new Map(),
    policies: new Map(),
    profiles: new Map(),
    workloads: new Map(),
    hostEndpoints: new Map(),
    hosts: new Map([['node-p4', { hostname: 'node-p4', ipv4Addr: '10.1.0.10/24', ipv6Addr: '' }]]),
    pools: new Map(),
    ...NO_NETWORK,
    inSync: true,
    ...over,
  };
}

/** Of the workload `a`, whose MAC follows from its interface's name. */
const toPod = `dst=0x${podMac(workload('a')).toString(16)}, src=${GATEWAY}, mtu=0x5dc, limit=0x0`;

const texts = (m: FelixModel, placed: PlacedEndpoint[]): string[] =>
  endpointRows(m, placed, PORTS).rows.map(rowText);

test('a pod gets its port, its sources and its delivery', () => {
  const placed = [{ workload: workload('a', { ipv6Nets: ['fd00::1/128'] }), ep: 7, port: 2 }];
  expect(texts(model({ FelixHostname: 'node-p4' }), placed)).toEqual([
    `port_in port=0x0 -> from_uplink(mac=${UPLINK_MAC}, port=0x0)`,
    `port_in port=0x1 -> from_host(mac=${GATEWAY}, port=0x1)`,
    `default_route source=0x1 -> to_uplink(${NEXT_HOP})`,
    `default_route source=0x3 -> to_uplink(${NEXT_HOP})`,
    `host_stack source=0x1 target=0x1 -> to_stack(${STACK})`,
    `host_stack source=0x2 target=0x1 -> to_stack(${STACK})`,
    `port_in port=0x2 -> from_pod(ep=0x7, mac=${GATEWAY}, port=0x2, extras=0x0)`,
    'pod_source ep=0x7 hi=0x0 lo=0xffff0a410001 -> source_ok()',
    `local hi=0x0 lo=0xffff0a410001 -> to_pod(port=0x2, ep=0x7, ${toPod})`,
    'pod_source ep=0x7 hi=0xfd00000000000000 lo=0x1 -> source_ok()',
    `local hi=0xfd00000000000000 lo=0x1 -> to_pod(port=0x2, ep=0x7, ${toPod})`,
    'host_address hi=0x0 lo=0xffff0a01000a -> own_address()',
    `local hi=0x0 lo=0xffff0a01000a -> to_host(port=0x1, from_pods=0x0, ${TO_HOST})`,
  ]);
});

test('an endpoint that is not active is closed both ways, whatever its connections', () => {
  const placed = [{ workload: workload('a', { state: 'inactive' }), ep: 7, port: 2 }];
  expect(texts(model(), placed)).toEqual(
    expect.arrayContaining([
      'port_in port=0x2 -> from_disabled()',
      'local hi=0x0 lo=0xffff0a410001 -> to_disabled()',
    ]),
  );
});

test('pods reach the host only if the configuration says so', () => {
  for (const [value, open] of [
    ['Accept', 1],
    ['RETURN', 1],
    ['Drop', 0],
    ['nonsense', 0],
  ] as const) {
    expect(texts(model({ FelixHostname: 'node-p4', DefaultEndpointToHostAction: value }), [])).toContain(
      `local hi=0x0 lo=0xffff0a01000a -> to_host(port=0x1, from_pods=0x${open}, ${TO_HOST})`,
    );
  }
});

test('allowed source prefixes count only with WorkloadSourceSpoofing=Any', () => {
  const placed = [
    { workload: workload('a', { allowSpoofedSourcePrefixes: ['10.9.0.0/16'] }), ep: 7, port: 2 },
  ];
  const row =
    'pod_source_prefix ep=0x7 hi=0x0&&&0xffffffffffffffff lo=0xffff0a090000&&&0xffffffffffff0000 priority=113 -> source_prefix_ok()';
  expect(texts(model({ WorkloadSourceSpoofing: 'Any' }), placed)).toContain(row);
  expect(texts(model(), placed)).not.toContain(row);
  expect(texts(model({ WorkloadSourceSpoofing: 'Disabled' }), placed)).not.toContain(row);
});

test('an address of two endpoints is delivered to the first, and said', () => {
  const placed = [
    { workload: workload('a'), ep: 7, port: 2 },
    { workload: workload('b'), ep: 8, port: 3 },
  ];
  const { rows, problems } = endpointRows(model(), placed, PORTS);
  expect(rows.map(rowText).filter((t) => t.startsWith('local'))).toEqual([
    `local hi=0x0 lo=0xffff0a410001 -> to_pod(port=0x2, ep=0x7, ${toPod})`,
  ]);
  expect(problems).toEqual([
    'workload k8s/b/eth0: address 10.65.0.1/32 belongs to k8s/a/eth0 too: it is delivered there',
  ]);
});

test('of two endpoints with one interface the lower id is served', () => {
  const workloads = new Map([
    ['k8s/b/eth0', workload('b', { name: 'cali1' })],
    ['k8s/a/eth0', workload('a', { name: 'cali1' })],
  ]);
  expect(activeWorkloads(model({}, { workloads })).map((w) => w.id.workloadId)).toEqual(['a']);
});

test('addresses are read strictly and spelled canonically', () => {
  expect(parseCidr('10.1.2.3/24')).toMatchObject({
    hi: 0n,
    lo: 0xffff_0a01_0200n,
    prefixLen: 120,
    text: '10.1.2.0/24',
  });
  expect(parseCidr('0.0.0.0/0')).toMatchObject({
    hi: 0n,
    lo: 0xffff_0000_0000n,
    prefixLen: 96,
    single: false,
  });
  expect(parseCidr('::/0')).toMatchObject({ hi: 0n, lo: 0n, prefixLen: 0, maskHi: 0n, maskLo: 0n });
  expect(parseCidr('2001:DB8::1')).toMatchObject({ single: true, ipVersion: 6, text: '2001:db8::1/128' });
  for (const bad of [
    '',
    '10.1',
    '10.1.2.3/33',
    '1.2.3.4/',
    '::1%eth0',
    '::ffff:1.2.3.4',
    '1.2.3.4/8/8',
    'x',
    '1.2.3.4/-1',
  ]) {
    expect(parseCidr(bad)).toBeUndefined();
  }
  expect(spellAddress(0n, 0xffff_0a01_0203n)).toBe('10.1.2.3');
  expect(spellAddress(0x2001_0db8_0000_0000n, 1n)).toBe('2001:db8::1');
});

test('frames to a pod are addressed to its MAC; without one, to one that follows from its interface alone', () => {
  expect(podMac(workload('a', { mac: '02:11:22:33:44:5F' }))).toBe(0x02_11_22_33_44_5fn);
  const derived = podMac(workload('a'));
  expect(spellMac(derived)).toMatch(/^02(:[0-9a-f]{2}){5}$/);
  expect(podMac(workload('b', { name: 'cali-a' }))).toBe(derived);
  expect(podMac(workload('b'))).not.toBe(derived);
  // Groups, nobody, nonsense.
  for (const mac of ['ff:ff:ff:ff:ff:ff', '01:00:5e:00:00:01', '00:00:00:00:00:00', '02:11:22:33:44', 'x']) {
    expect(parseMac(mac)).toBeUndefined();
    const placed = [{ workload: workload('a', { mac }), ep: 7, port: 2 }];
    const { rows, problems } = endpointRows(model(), placed, PORTS);
    expect(rows.find(({ table }) => table === 'local')?.params['dst']).toBe(derived);
    expect(problems).toEqual([expect.stringContaining(`"${mac}" is no MAC address of an interface`)]);
  }
});

test('what a MAC address is missing for stays closed, and is said', () => {
  const m = model({ FelixHostname: 'node-p4', DefaultEndpointToHostAction: 'Accept' });
  const without = (missing: object): { texts: string[]; problems: readonly string[] } => {
    const { rows, problems } = endpointRows(m, [], PORTS, { ...EMBEDDED_LINKS, ...missing });
    return { texts: rows.map(rowText), problems };
  };
  const uplink = without({ uplinkMac: undefined });
  expect(uplink.texts.filter((t) => /^default_route|port=0x0 /.test(t))).toEqual([]);
  expect(uplink.problems).toEqual([expect.stringContaining('macs.uplink')]);
  const nextHop = without({ nextHopMac: undefined });
  expect(nextHop.texts.filter((t) => t.startsWith('default_route'))).toEqual([]);
  expect(nextHop.problems).toEqual([expect.stringContaining('macs.nextHop')]);
  const host = without({ hostMac: undefined });
  expect(host.texts.filter((t) => /^host_stack|to_host/.test(t))).toEqual([]);
  expect(host.texts).toContain('local hi=0x0 lo=0xffff0a01000a -> to_disabled()');
  expect(host.problems).toEqual([expect.stringContaining('macs.host')]);
});

test('the host gets what pods send to nobody here, for an ICMP error, only if pods may talk to the host', () => {
  const row = `host_stack source=0x1 target=0x2 -> to_stack(${STACK})`;
  expect(texts(model(), [])).not.toContain(row);
  expect(texts(model({ DefaultEndpointToHostAction: 'Accept' }), [])).toContain(row);
  // A stack that does nothing else has no services that a packet could reach.
  const own = { ...EMBEDDED_LINKS, errorStack: { port: 9, mac: 0x02n << 40n } };
  const rows = endpointRows(model(), [], PORTS, own).rows.map(rowText);
  expect(rows).toContain(
    `host_stack source=0x1 target=0x2 -> to_stack(port=0x9, dst=0x20000000000, src=${GATEWAY})`,
  );
});

import { activeWorkloads, endpointRows, type PlacedEndpoint } from '../../../src/translators/endpoints';
import { parseCidr, spellAddress } from '../../../src/translators/address';
import { rowText } from '../../../src/p4target/row-text';
import type { FelixModel, HostEndpoint, WorkloadEndpoint } from '../../../src/model/model';

const PORTS = { uplink: 0, host: 1 };

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
    inSync: true,
    ...over,
  };
}

const texts = (m: FelixModel, placed: PlacedEndpoint[]): string[] =>
  endpointRows(m, placed, PORTS).rows.map(rowText);

test('a pod gets its port, its sources and its delivery', () => {
  const placed = [{ workload: workload('a', { ipv6Nets: ['fd00::1/128'] }), ep: 7, port: 2 }];
  expect(texts(model({ FelixHostname: 'node-p4' }), placed)).toEqual([
    'port_in port=0x0 -> from_uplink()',
    'port_in port=0x1 -> from_host()',
    'default_route source=0x1 -> to_uplink(port=0x0)',
    'port_in port=0x2 -> from_pod(ep=0x7)',
    'pod_source ep=0x7 hi=0x0 lo=0xffff0a410001 -> source_ok()',
    'local hi=0x0 lo=0xffff0a410001 -> to_pod(port=0x2, ep=0x7)',
    'pod_source ep=0x7 hi=0xfd00000000000000 lo=0x1 -> source_ok()',
    'local hi=0xfd00000000000000 lo=0x1 -> to_pod(port=0x2, ep=0x7)',
    'default_route source=0x3 -> to_uplink(port=0x0)',
    'host_address hi=0x0 lo=0xffff0a01000a -> own_address()',
    'local hi=0x0 lo=0xffff0a01000a -> to_host(port=0x1, from_pods=0x0, from_outside=0x1)',
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
      `local hi=0x0 lo=0xffff0a01000a -> to_host(port=0x1, from_pods=0x${open}, from_outside=0x1)`,
    );
  }
});

test('with a host endpoint, whose policy is not enforced yet, host and uplink are closed to each other', () => {
  const hostEndpoint = { id: 'eth0' } as HostEndpoint;
  const closed = model({ FelixHostname: 'node-p4' }, { hostEndpoints: new Map([['eth0', hostEndpoint]]) });
  const rows = texts(closed, []);
  expect(endpointRows(closed, [], PORTS).problems).toEqual([
    expect.stringMatching(/^host endpoints \(eth0\): their policy is not enforced yet/),
  ]);
  expect(rows).not.toContain('default_route source=0x3 -> to_uplink(port=0x0)');
  expect(rows).toContain(
    'local hi=0x0 lo=0xffff0a01000a -> to_host(port=0x1, from_pods=0x0, from_outside=0x0)',
  );
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
    'local hi=0x0 lo=0xffff0a410001 -> to_pod(port=0x2, ep=0x7)',
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

/** Limits and DSCP of endpoints as rows, and what is said to be not enforced. */
import type { QosLimits, WorkloadEndpoint } from '../../../src/model/model';
import { buildCatalogue } from '../../../src/p4target/catalogue';
import { loadP4DpdkPipeline, P4_DPDK_METERS } from '../../../src/p4target/p4-dpdk/adapter';
import { rowText } from '../../../src/p4target/row-text';
import { endpointRows, type EndpointRows } from '../../../src/translators/endpoints';
import { LIMITS } from '../../../src/translators/limits';
import { EMBEDDED_LINKS } from '../../../src/translators/links';
import { hostEndpointOf, modelOf, workloadOf } from '../../support/models';

const PORTS = { uplink: 0, host: 1 };
const NONE: QosLimits = {
  bandwidth: 0n,
  burst: 0n,
  peakRate: 0n,
  minBurst: 0n,
  packetRate: 0n,
  packetBurst: 0n,
  maxConnections: 0n,
};
/** What Calico's annotations make of no burst: 4 Gibit. */
const BURST = 1n << 32n;

function rowsOf(
  endpoint: Partial<WorkloadEndpoint>,
  {
    port = 5,
    meters = true,
    ...parts
  }: Partial<Parameters<typeof modelOf>[0]> & { readonly port?: number; readonly meters?: boolean } = {},
): EndpointRows {
  const workload = workloadOf({ name: 'web', ipv4Nets: ['10.65.0.10/32'], ...endpoint });
  const model = modelOf({ workloads: [workload], ...parts });
  return endpointRows(model, [{ workload, ep: 9, port }], PORTS, EMBEDDED_LINKS, { meters });
}

const about = ({ rows }: EndpointRows, ...tables: readonly string[]): string[] =>
  rows.filter(({ table }) => tables.includes(table)).map(rowText);
const whatNot = ({ notEnforced }: EndpointRows): string[] => notEnforced.map(({ what }) => what);

test('an endpoint without limits has none', () => {
  const found = rowsOf({});
  expect(about(found, 'packet_limits', 'byte_limits', 'pod_dscp', 'cluster_pools')).toEqual([]);
  expect(about(found, 'port_in')[2]).toMatch(/extras=0x0\)$/);
  expect(found.notEnforced).toEqual([]);
});

test('bandwidth is bytes a second, packet rates are packets; each direction has a number by the port', () => {
  const found = rowsOf({
    qos: {
      ingress: { ...NONE, bandwidth: 10_000_000n, burst: BURST },
      egress: { ...NONE, packetRate: 100n, packetBurst: 20n, bandwidth: 17n, burst: 25n },
    },
  });
  expect(about(found, 'packet_limits', 'byte_limits')).toEqual([
    'byte_limits index=0xb -> limit(rate=0x1312d0, burst=0x20000000, peak_rate=0x1312d0, peak_burst=0x20000000)',
    'packet_limits index=0xc -> limit(rate=0x64, burst=0x14, peak_rate=0x64, peak_burst=0x14)',
    'byte_limits index=0xc -> limit(rate=0x2, burst=0x3, peak_rate=0x2, peak_burst=0x3)',
  ]);
  expect(about(found, 'port_in')[2]).toMatch(/extras=0xc\)$/);
  expect(about(found, 'local')[0]).toMatch(/limit=0xb\)$/);
  expect(whatNot(found)).toEqual([]);
  const tables = found.rows.map(({ table }) => table);
  expect(tables).toEqual(expect.arrayContaining(P4_DPDK_METERS.map(({ table }) => table)));
});

test('a peak rate is the second bucket', () => {
  const ingress = { ...NONE, bandwidth: 800n, burst: 8000n, peakRate: 1600n, minBurst: 1500n };
  expect(about(rowsOf({ qos: { ingress, egress: NONE } }), 'byte_limits')).toEqual([
    'byte_limits index=0xb -> limit(rate=0x64, burst=0x3e8, peak_rate=0xc8, peak_burst=0x5dc)',
  ]);
  for (const wrong of [
    { ...ingress, peakRate: 800n },
    { ...ingress, minBurst: 0n },
  ]) {
    const found = rowsOf({ qos: { ingress: wrong, egress: NONE } });
    expect(about(found, 'byte_limits')).toEqual([
      'byte_limits index=0xb -> limit(rate=0x64, burst=0x3e8, peak_rate=0x64, peak_burst=0x3e8)',
    ]);
    expect(whatNot(found)).toEqual([expect.stringMatching(/^ingress peak rate/)]);
  }
});

test('a packet rate without a burst has that of iptables', () => {
  const egress = { ...NONE, packetRate: 100n };
  expect(about(rowsOf({ qos: { ingress: NONE, egress } }), 'packet_limits')).toEqual([
    'packet_limits index=0xc -> limit(rate=0x64, burst=0x5, peak_rate=0x64, peak_burst=0x5)',
  ]);
});

test('64-bit values stay what they are', () => {
  const most = (1n << 63n) - 1n;
  const ingress = { ...NONE, bandwidth: most, burst: most, packetRate: most, packetBurst: most };
  const found = rowsOf({ qos: { ingress, egress: NONE } }).rows.filter(({ table }) =>
    table.endsWith('_limits'),
  );
  expect(found.map(({ params }) => params['rate'])).toEqual([most, most / 8n]);
});

test.each<[string, Partial<QosLimits>, RegExp]>([
  ['connections', { maxConnections: 10n }, /^egress limit of 10 connections: .*can not count/],
  ['a negative rate', { packetRate: -1n }, /^egress packet rate -1/],
  ['a bandwidth below a byte', { bandwidth: 7n, burst: BURST }, /^egress bandwidth 7 bit/],
  ['a negative bandwidth', { bandwidth: -80n, burst: BURST }, /^egress bandwidth -80/],
  ['a bandwidth without a burst', { bandwidth: 800n }, /burst of 0 bits/],
])('%s: not enforced, and said', (_, limits, words) => {
  const found = rowsOf({ qos: { ingress: NONE, egress: { ...NONE, ...limits } } });
  expect(about(found, 'packet_limits', 'byte_limits')).toEqual([]);
  expect(about(found, 'port_in')[2]).toMatch(/extras=0x0/);
  expect(found.notEnforced).toEqual([
    { endpoint: 'k8s/default/web/eth0', what: expect.stringMatching(words) as string },
  ]);
});

test('a target whose meters do nothing, and a port beyond the meters', () => {
  const qos = { ingress: { ...NONE, packetRate: 5n }, egress: { ...NONE, bandwidth: 800n, burst: 800n } };
  for (const [how, words] of [
    [{ meters: false }, /meters of this target do nothing/],
    [{ port: 1024 }, /up to 1022, and its port is 1024/],
  ] as const) {
    const found = rowsOf({ qos }, how);
    expect(about(found, 'packet_limits', 'byte_limits')).toEqual([]);
    expect(about(found, 'local')[0]).toMatch(/limit=0x0/);
    expect(whatNot(found)).toEqual([
      expect.stringMatching(/^ingress packet rate 5/),
      expect.stringMatching(/^egress bandwidth 800/),
    ]);
    expect(whatNot(found)[0]).toMatch(words);
  }
  expect(about(rowsOf({ qos }, { port: 1022 }), 'byte_limits')).toHaveLength(1);
  const meters = loadP4DpdkPipeline().p4info.meters.map((m) => Number(m.size));
  expect(meters).toEqual([LIMITS, LIMITS]);
});

test('an endpoint that is not active has no limits', () => {
  const qos = { ingress: { ...NONE, packetRate: 5n, maxConnections: 3n }, egress: NONE };
  const found = rowsOf({ qos, dscps: [3], state: 'inactive' });
  expect(about(found, 'packet_limits', 'pod_dscp')).toEqual([]);
  expect(found.notEnforced).toEqual([]);
});

test('DSCP, with the pools of the cluster', () => {
  const pools = [
    { id: 'v4', cidr: '10.65.0.0/16', masquerade: true, ipipMode: '', vxlanMode: '', allowedUses: [] },
    { id: 'v6', cidr: 'fd00::/64', masquerade: false, ipipMode: '', vxlanMode: '', allowedUses: [] },
    { id: 'odd', cidr: 'x', masquerade: false, ipipMode: '', vxlanMode: '', allowedUses: [] },
  ];
  const found = rowsOf({ dscps: [46, 1] }, { pools });
  expect(about(found, 'pod_dscp', 'cluster_pools')).toEqual([
    'pod_dscp ep=0x9 -> set_dscp(tos=0xb8, traffic_class=0xb800000)',
    'cluster_pools hi=0x0&&&0xffffffffffffffff lo=0xffff0a410000&&&0xffffffffffff0000 priority=113 -> in_pool()',
    'cluster_pools hi=0xfd00000000000000&&&0xffffffffffffffff lo=0x0&&&0x0 priority=65 -> in_pool()',
  ]);
  expect(about(found, 'port_in')[2]).toMatch(/extras=0x80000000\)$/);
  expect(found.problems).toEqual([expect.stringMatching(/IP pool odd: "x" is no CIDR/)]);
  expect(about(rowsOf({}, { pools }), 'cluster_pools')).toEqual([]);
  for (const dscp of [-1, 64]) {
    const wrong = rowsOf({ dscps: [dscp] }, { pools });
    expect(about(wrong, 'pod_dscp', 'cluster_pools')).toEqual([]);
    expect(whatNot(wrong)).toEqual([`DSCP ${dscp}: values are 0 to 63`]);
  }
});

test('DSCP of host endpoints is by the addresses that they expect', () => {
  const pools = [
    { id: 'v4', cidr: '10.65.0.0/16', masquerade: false, ipipMode: '', vxlanMode: '', allowedUses: [] },
  ];
  const of = (endpoints: readonly Parameters<typeof hostEndpointOf>[0][]): EndpointRows =>
    rowsOf({}, { pools, hostEndpoints: endpoints.map(hostEndpointOf) });
  const found = of([
    {
      id: 'eth0',
      expectedIpv4Addrs: ['192.0.2.1', '192.0.2.5'],
      expectedIpv6Addrs: ['fd00::5'],
      dscps: [46, 3],
    },
    { id: 'none', expectedIpv4Addrs: ['192.0.2.9'] },
  ]);
  expect(about(found, 'cluster_pools')).toHaveLength(1);
  expect(about(found, 'host_dscp', 'pod_dscp')).toEqual([
    'host_dscp hi=0x0 lo=0xffffc0000201 -> set_dscp(tos=0xb8, traffic_class=0xb800000)',
    'host_dscp hi=0x0 lo=0xffffc0000205 -> set_dscp(tos=0xb8, traffic_class=0xb800000)',
    'host_dscp hi=0xfd00000000000000 lo=0x5 -> set_dscp(tos=0xb8, traffic_class=0xb800000)',
  ]);
  // Linux sets one after the other, in the order of the texts.
  const twice = [
    { id: 'a', expectedIpv4Addrs: ['192.0.2.2', '192.0.2.1'], dscps: [1] },
    { id: 'b', expectedIpv4Addrs: ['192.0.2.1'], dscps: [2] },
  ];
  for (const order of [twice, [...twice].reverse()])
    expect(about(of(order), 'host_dscp').filter((row) => row.includes('0201'))).toEqual([
      'host_dscp hi=0x0 lo=0xffffc0000201 -> set_dscp(tos=0x4, traffic_class=0x400000)',
    ]);
  expect(
    of([
      { id: 'a', expectedIpv4Addrs: ['192.0.2.2'], dscps: [64] },
      { id: 'b', expectedIpv6Addrs: ['x'], dscps: [1] },
    ]).notEnforced,
  ).toEqual([
    { endpoint: 'a', what: 'DSCP 64: values are 0 to 63' },
    { endpoint: 'b', what: 'DSCP 1 for "x": this is no address' },
  ]);
});

test('every table and meter that rows are written to is in the pipeline', () => {
  const catalogue = buildCatalogue(loadP4DpdkPipeline().p4info);
  for (const { table } of P4_DPDK_METERS) expect(catalogue.meter(table)?.size).toBe(LIMITS);
  catalogue.requireTables(['pod_dscp', 'cluster_pools']);
});

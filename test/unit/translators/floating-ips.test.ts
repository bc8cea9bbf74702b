/** Floating IPs as rows of `local`, and those that nobody reaches a pod by. */
import type { NatInfo, WorkloadEndpoint } from '../../../src/model/model';
import { endpointRows, type EndpointRows } from '../../../src/translators/endpoints';
import { modelOf, NODE_IPV4, workloadOf } from '../../support/models';

const PORTS = { uplink: 0, host: 1 };
const POD = '10.65.0.10';
const POD6 = 'fd00::a';

const nat = (external: string, internal = POD): NatInfo => ({ external, internal });
const pod = (name: string, address: string, fields: Partial<WorkloadEndpoint> = {}): WorkloadEndpoint =>
  workloadOf({ name, ipv4Nets: [`${address}/32`], ...fields });

function found(
  workloads: readonly WorkloadEndpoint[],
  config: Readonly<Record<string, string>> = { FloatingIPs: 'Enabled' },
): EndpointRows {
  const placed = workloads.map((workload, i) => ({ workload, ep: i + 1, port: i + 2 }));
  return endpointRows(modelOf({ workloads, config }), placed, PORTS);
}

/** `hi/lo -> hi/lo`, in the order of the rows. */
const ways = ({ rows }: EndpointRows): string[] =>
  rows.flatMap(({ action, match, params }) =>
    action === 'to_floating'
      ? [
          [match['hi']!.value, match['lo']!.value, params['hi']!, params['lo']!, params['ipv4']!]
            .concat([params['back_hi']!, params['back_lo']!, params['back_ipv4']!])
            .map((n) => n.toString(16))
            .join(' '),
        ]
      : [],
  );
const whatNot = ({ notEnforced }: EndpointRows): string[] => notEnforced.map(({ what }) => what);

test('a row for each, with what the pod is to itself: the one that comes first as text', () => {
  const web = pod('web', POD, {
    ipv6Nets: [`${POD6}/128`],
    nats: [nat('192.0.2.9'), nat('192.0.2.10'), nat('2001:db8::9', POD6)],
  });
  const made = found([web]);
  expect(ways(made)).toEqual([
    '0 ffffc0000209 0 ffff0a41000a a41000a 0 ffffc000020a c000020a',
    '0 ffffc000020a 0 ffff0a41000a a41000a 0 ffffc000020a c000020a',
    '20010db800000000 9 fd00000000000000 a 0 20010db800000000 9 0',
  ]);
  expect(whatNot(made)).toEqual([]);
  expect(made.rows.find(({ action }) => action === 'to_floating')?.note).toBe(
    'floating IP of k8s/default/web/eth0',
  );
});

test('only where FloatingIPs is Enabled, and of OpenStack always', () => {
  const web = pod('web', POD, { nats: [nat('192.0.2.9')] });
  const id = { orchestratorId: 'openstack', workloadId: 'vm', endpointId: 'eth0' };
  for (const said of ['', 'Disabled', 'what']) {
    const config = { FloatingIPs: said };
    expect(ways(found([web], config))).toEqual([]);
    expect(whatNot(found([web], config))).toEqual([]);
    expect(ways(found([{ ...web, id }], config))).toHaveLength(1);
  }
  expect(ways(found([web], { FloatingIPs: 'enabled' }))).toHaveLength(1);
});

test('of two addresses for one floating IP the one that comes first as text is taken, whoever is asked first', () => {
  const a = pod('a', '10.65.0.9', { nats: [nat('192.0.2.9', '10.65.0.9')] });
  const b = pod('b', POD, { nats: [nat('192.0.2.9')] });
  for (const both of [
    [a, b],
    [b, a],
  ]) {
    const made = found(both);
    expect(ways(made)).toEqual(['0 ffffc0000209 0 ffff0a41000a a41000a 0 ffffc0000209 c0000209']);
    expect(made.notEnforced).toEqual([
      {
        endpoint: 'k8s/default/a/eth0',
        what: 'floating IP 192.0.2.9 for 10.65.0.9: packets to it go to 10.65.0.10, which comes first',
      },
    ]);
  }
  // The same one twice is no contradiction.
  expect(whatNot(found([pod('c', POD, { nats: [nat('192.0.2.9'), nat('192.0.2.9')] })]))).toEqual([]);
});

test.each([
  ['of two families', nat('192.0.2.9', POD6), /no two addresses of one family/],
  ['that is no address', nat('192.0.2', POD), /no two addresses/],
  ['that is a net', nat('192.0.2.0/24', POD), /no two addresses/],
  ['for what is no address', nat('192.0.2.9', 'pod'), /no two addresses/],
  ['in the form of IPv4 in IPv6', nat('::ffff:192.0.2.9', POD), /no two addresses/],
  ["that is a pod's own address", nat('10.65.0.11', POD), /belongs to k8s\/default\/other\/eth0/],
  ["that is the node's own", nat(NODE_IPV4, POD), /belongs to the node/],
  [
    'for an address elsewhere',
    nat('192.0.2.9', '10.65.9.9'),
    /10.65.9.9 is no address of a pod on this node/,
  ],
  ['for an address of the node', nat('192.0.2.9', NODE_IPV4), /is no address of a pod/],
])('one %s is said, and has no row', (_, wrong, why) => {
  const made = found([pod('web', POD, { nats: [wrong] }), pod('other', '10.65.0.11')]);
  expect(ways(made)).toEqual([]);
  expect(made.notEnforced).toEqual([
    { endpoint: 'k8s/default/web/eth0', what: expect.stringMatching(why) as string },
  ]);
});

test('every row of local has a key of its own', () => {
  const made = found([
    pod('a', POD, { nats: [nat('192.0.2.9'), nat('10.65.0.11'), nat(NODE_IPV4)] }),
    pod('b', '10.65.0.11', { nats: [nat('192.0.2.9', '10.65.0.11'), nat(POD, '10.65.0.11')] }),
  ]);
  const keys = made.rows
    .filter(({ table }) => table === 'local')
    .map(({ match }) => `${match['hi']!.value} ${match['lo']!.value}`);
  expect(new Set(keys).size).toBe(keys.length);
});

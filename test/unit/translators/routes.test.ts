import { NO_NETWORK, ROUTE_TYPE, type FelixModel, type IpamPool, type Route } from '../../../src/model/model';
import { parseCidr } from '../../../src/translators/address';
import { EMBEDDED_LINKS, type NodeLinks } from '../../../src/translators/links';
import type { NetworkFacts } from '../../../src/translators/network-facts';
import { createNetworkRows, type NetworkRows } from '../../../src/translators/routes';
import { modelOf } from '../../support/models';
import { FACTS, networkText, PORTS } from '../../support/route-steps';

const BLOCK = '10.66.1.0/26';

function route(over: Partial<Route> = {}): Route {
  return {
    dst: BLOCK,
    types: ROUTE_TYPE.remoteWorkload,
    poolType: 'no-encap',
    node: 'r1',
    nodeIp: '10.1.0.11',
    sameSubnet: false,
    localWorkload: false,
    borrowed: false,
    ...over,
  };
}

function pool(cidr: string, over: Partial<IpamPool> = {}): IpamPool {
  return { id: cidr, cidr, masquerade: false, ipipMode: '', vxlanMode: '', allowedUses: [], ...over };
}

function modelWith(
  routes: readonly Route[],
  over: Partial<FelixModel> = {},
  config: Readonly<Record<string, string>> = {},
): FelixModel {
  return {
    ...modelOf({}),
    config: new Map(Object.entries({ FelixHostname: 'me', ...config })),
    hosts: new Map([
      ['me', { hostname: 'me', ipv4Addr: '10.1.0.10/24', ipv6Addr: '' }],
      ['r1', { hostname: 'r1', ipv4Addr: '10.1.0.11/24', ipv6Addr: '' }],
    ]),
    ...NO_NETWORK,
    routes: new Map(routes.map((one) => [one.dst, one])),
    ...over,
  };
}

function network(
  model: FelixModel,
  facts: Partial<NetworkFacts> = {},
  links: Partial<NodeLinks> = {},
): NetworkRows {
  return createNetworkRows()({
    model,
    ports: PORTS,
    links: { ...EMBEDDED_LINKS, ...links },
    facts: { ...FACTS, ...facts },
  });
}

const text = (...args: Parameters<typeof network>): string[] => networkText(network(...args));

const LINK = 'via link hop 10.1.0.11 (r1)';
const NEXT = 'to_link port uplink dst 02:00:00:00:00:01 src 02:00:00:00:00:02 mtu 1500';

test('a hop whose MAC address is not known is asked for, and has no row', () => {
  const found = network(modelWith([route()]), { macOf: () => undefined });
  expect(networkText(found)).toEqual([`remote_block ${BLOCK} -> block_${LINK}`]);
  expect([...found.nextHops]).toEqual(['10.1.0.11']);
  expect(text(modelWith([route()]), {}, { uplinkMac: undefined })).toEqual([
    `remote_block ${BLOCK} -> block_${LINK}`,
  ]);
});

test.each<[string, Partial<Route>]>([
  ['a node whose address is not known', { nodeIp: '' }],
  ['a pool type that nobody knows', { poolType: 'unknown' }],
  ['no pool', { poolType: 'none' }],
  ['no node', { node: '' }],
  ['VXLAN that is not in use', { poolType: 'vxlan' }],
  ['IP-in-IP that is not in use', { poolType: 'ipip' }],
  ['this node', { types: ROUTE_TYPE.localWorkload, node: 'me' }],
])('%s: dropped', (_what, over) => {
  const lines = text(modelWith([route(over)])).filter((line) => !line.startsWith('problem'));
  expect(lines).toEqual([`remote_block ${BLOCK} -> block_blackhole`]);
});

test('a VXLAN tunnel needs both ends, whole, and its next hop by the end inside of the tunnel', () => {
  const vtep = (node: string, n: number) => ({
    node,
    mac: `66:00:00:00:00:0${n}`,
    address: `10.66.${n}.1`,
    parentIp: `10.1.0.1${n}`,
    macV6: '',
    addressV6: '',
    parentIpV6: '',
  });
  const encapsulation = { ...NO_NETWORK.encapsulation, vxlan: true };
  const ends = (...vteps: ReturnType<typeof vtep>[]): FelixModel =>
    modelWith([route({ poolType: 'vxlan' })], {
      vteps: new Map(vteps.map((one) => [one.node, one])),
      encapsulation,
    });
  const blocks = (model: FelixModel): string[] =>
    text(model).filter((line) => line.startsWith('remote_block'));
  const dropped = [`remote_block ${BLOCK} -> block_blackhole`];
  expect(blocks(ends(vtep('r1', 1)))).toEqual(dropped);
  expect(blocks(ends(vtep('me', 0)))).toEqual(dropped);
  expect(blocks(ends(vtep('me', 0), { ...vtep('r1', 1), mac: '' }))).toEqual(dropped);
  expect(blocks(ends(vtep('me', 0), { ...vtep('r1', 1), parentIp: '' }))).toEqual(dropped);
  expect(text(ends(vtep('me', 0), vtep('r1', 1)))).toEqual([
    `next_hop kind=vxlan hop 10.66.1.1 (r1) -> to_vxlan4 port uplink dst 02:00:00:00:00:01 src 02:00:00:00:00:02 src_ip 10.1.0.10 (me) dst_ip 10.1.0.11 (r1) vni 4096 dport 4789 inner_dst 66:00:00:00:00:01 inner_src 66:00:00:00:00:00 mtu 1450`,
    'own address 10.66.0.1/32: VXLAN tunnel',
    `remote_block ${BLOCK} -> block_via vxlan hop 10.66.1.1 (r1)`,
    'tunnel_here port=0 proto=17 dport=4789 dst 10.1.0.10 (me) -> ends_here mac 02:00:00:00:00:02 inner_mac 66:00:00:00:00:00 vni 4096',
    'tunnel_peer proto=17 src 10.1.0.11 (r1) -> peer',
  ]);
});

test('VXLANPort, VXLANVNI, VXLANMTU and ExternalNodesCIDRList', () => {
  const vteps = new Map(
    ['me', 'r1'].map((node, n) => [
      node,
      {
        node,
        mac: `66:00:00:00:00:0${n}`,
        address: `10.66.${n}.1`,
        parentIp: `10.1.0.1${n}`,
        macV6: '',
        addressV6: '',
        parentIpV6: '',
      },
    ]),
  );
  const encapsulation = { ...NO_NETWORK.encapsulation, vxlan: true };
  const lines = text(
    modelWith(
      [route({ poolType: 'vxlan' })],
      { vteps, encapsulation },
      {
        VXLANPort: '4790',
        VXLANVNI: '77',
        VXLANMTU: '1400',
        ExternalNodesCIDRList: '192.0.2.7,192.0.2.0/24',
      },
    ),
  );
  expect(lines).toEqual(
    expect.arrayContaining([
      expect.stringMatching(/^next_hop .* vni 77 dport 4790 .* mtu 1400$/),
      expect.stringMatching(/^tunnel_here port=0 proto=17 dport=4790 .* vni 77$/),
      'tunnel_peer proto=17 src 192.0.2.7 -> peer',
      expect.stringMatching(/^problem: ExternalNodesCIDRList: 192\.0\.2\.0\/24 is no single address/),
    ]),
  );
});

describe('WireGuard', () => {
  const wireguard = new Map([['r1', { node: 'r1', publicKey: 'k', address: '10.66.1.9' }]]);
  const config = { WireguardEnabled: 'true' };

  test('goes through the host where it has the device, and nowhere without', () => {
    const model = modelWith([route()], { wireguard }, config);
    expect(text(model, { wireguard: { v4: true, v6: false } })).toEqual([
      'next_hop kind=stack hop 10.66.1.9 (r1) -> to_stack_hop port host dst 02:00:00:00:00:03 src ee:ee:ee:ee:ee:ee',
      `remote_block ${BLOCK} -> block_via stack hop 10.66.1.9 (r1)`,
    ]);
    expect(text(model)).toEqual([
      'problem: packets to r1 are dropped: node r1 is reached by WireGuard, and the host has no such device',
      `remote_block ${BLOCK} -> block_blackhole`,
    ]);
  });

  test('a node without a key is reached as if there were none; so is everybody when it is not enabled', () => {
    const plain = `remote_block ${BLOCK} -> block_${LINK}`;
    const nobody = new Map([['r1', { node: 'r1', publicKey: '', address: '' }]]);
    expect(text(modelWith([route()], { wireguard: nobody }, config))).toContain(plain);
    expect(text(modelWith([route()], { wireguard }))).toContain(plain);
  });
});

describe('routes of BIRD', () => {
  const bird = (dst: string, gateway: string | undefined, device = 'eth0') => ({
    dst: parseCidr(dst)!,
    gateway: gateway === undefined ? undefined : parseCidr(gateway),
    device,
  });
  const pools = new Map([['p', pool('10.66.0.0/16')]]);

  test('are taken where Felix leaves pools without encapsulation to it', () => {
    const kernelRoutes = [
      bird('10.66.9.0/26', '10.1.0.19'),
      bird(BLOCK, '10.1.0.99'),
      bird('10.66.8.0/26', undefined),
      bird('10.66.7.0/26', '10.1.0.17', 'tunl0'),
      bird('192.0.2.0/24', '10.1.0.1'),
    ];
    expect(
      text(modelWith([route()], { pools }), { kernelRoutes }).filter((line) => line.startsWith('remote')),
    ).toEqual([
      `remote_block ${BLOCK} -> block_via link hop 10.1.0.99`,
      'remote_block 10.66.7.0/26 -> block_via ipip hop 10.1.0.17',
      'remote_block 10.66.8.0/26 -> block_blackhole',
      'remote_block 10.66.9.0/26 -> block_via link hop 10.1.0.19',
    ]);
  });

  test('are not where Felix says it', () => {
    const encapsulation = { ...NO_NETWORK.encapsulation, noEncap: true };
    const kernelRoutes = [bird(BLOCK, '10.1.0.99')];
    expect(text(modelWith([route()], { pools, encapsulation }), { kernelRoutes })).toEqual([
      `next_hop kind=link hop 10.1.0.11 (r1) -> ${NEXT}`,
      `remote_block ${BLOCK} -> block_${LINK}`,
    ]);
  });
});

describe('NAT outgoing', () => {
  const pools = new Map([['p', pool('10.66.0.0/16', { masquerade: true })]]);

  test('rows only once the host translates; without, pods stay in', () => {
    const ready = network(modelWith([], { pools }));
    expect(networkText(ready)).toEqual([
      'masquerade_pools 10.66.0.0/16 -> masquerade port host dst 02:00:00:00:00:03 src ee:ee:ee:ee:ee:ee',
    ]);
    expect([ready.keepPodsIn, ready.needsPools]).toEqual([false, true]);
    for (const failed of [
      network(modelWith([], { pools }), { natOutgoing: 'failed' }),
      network(modelWith([], { pools }), {}, { hostMac: undefined }),
    ]) {
      expect(failed.parts.flat()).toEqual([]);
      expect([failed.keepPodsIn, failed.needsPools]).toEqual([true, false]);
      expect(failed.problems).toHaveLength(1);
    }
  });

  test('that nobody does is not enforced', () => {
    const off = network(modelWith([], { pools }), { natOutgoing: 'off' });
    expect([off.parts.flat(), off.keepPodsIn]).toEqual([[], false]);
    expect(off.notEnforced).toEqual([
      { endpoint: 'IP pool 10.66.0.0/16', what: expect.any(String) as string },
    ]);
  });
});

test('addresses of pools in tunnels that no node has go nowhere; of others, as ever', () => {
  const pools = new Map([
    ['a', pool('10.66.0.0/16', { vxlanMode: 'cross-subnet' })],
    ['b', pool('10.67.0.0/16', { ipipMode: 'always' })],
    ['c', pool('10.68.0.0/16')],
  ]);
  expect(text(modelWith([], { pools }))).toEqual([
    'remote_block 10.66.0.0/16 -> block_blackhole',
    'remote_block 10.67.0.0/16 -> block_blackhole',
  ]);
});

test('what the host has is its own', () => {
  const hostAddresses = [parseCidr('169.254.20.10')!, parseCidr('10.96.0.10')!];
  expect(network(modelWith([]), { hostAddresses }).ownAddresses.map(({ address }) => address.text)).toEqual([
    '10.96.0.10/32',
    '169.254.20.10/32',
  ]);
});

test('a change costs what changed', () => {
  const many = Array.from({ length: 2000 }, (_, i) =>
    route({
      dst: `10.${64 + (i >> 8)}.${i & 255}.0/26`,
      node: `r${i % 40}`,
      nodeIp: `10.1.0.${(i % 40) + 11}`,
    }),
  );
  const rows = createNetworkRows();
  const ask = (model: FelixModel, facts = FACTS): NetworkRows =>
    rows({ model, ports: PORTS, links: EMBEDDED_LINKS, facts });
  const first = ask(modelWith(many));
  const same = ask(modelWith(many, { hosts: new Map(modelWith(many).hosts) }, {}));
  // Another model that says the same: parts are what they were.
  expect(same.parts.every((part, i) => part === first.parts[i])).toBe(true);
  expect(same.nextHops).toBe(first.nextHops);
  const changed = [{ ...many[0]!, nodeIp: '10.1.9.9' }, ...many.slice(1)];
  const after = ask(modelWith(changed));
  const before = new Set(same.parts);
  const fresh = after.parts.filter((part) => !before.has(part));
  // Its node's, and that of the next hops.
  expect(fresh).toHaveLength(2);
  const rowsBefore = new Set(same.parts.flat());
  expect(fresh.flat().filter((row) => !rowsBefore.has(row))).toHaveLength(2);
});

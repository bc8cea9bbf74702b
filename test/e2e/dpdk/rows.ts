/**
 * A small node for the differential test: three pods, one that is disabled, an uplink and the host with fixed addresses and ports; labels
 * and decision diagrams are random. The diagrams mean nothing: what counts is that every table hits and misses.
 */
import type { SpecKey } from '../../../src/p4switch/engine';
import type { Spec } from '../../../src/p4switch/spec/ast';
import { address, exact, halves, prioritised, row, type TableRow } from '../../support/table-rows';
import type { Random } from './random';

export const PORT = { uplink: 0, host: 1, podA: 2, podB: 3, podC: 4, unknown: 5, disabled: 6 } as const;

/** Addresses behind each port; a frame that comes in there with another source is spoofed or foreign. */
export const HOMES: Readonly<
  Record<number, { readonly v4: readonly string[]; readonly v6: readonly string[] }>
> = {
  [PORT.uplink]: {
    v4: ['8.8.8.8', '172.16.5.5', '172.16.5.6', '203.0.113.9'],
    v6: ['2001:db8::1', '2001:db8:1::5', '2001:db8:1::6'],
  },
  [PORT.host]: {
    v4: ['192.168.0.1', '192.168.0.2', '192.168.0.3', '192.168.0.9'],
    v6: ['fd00:f::1', 'fd00:f::2'],
  },
  [PORT.podA]: { v4: ['10.0.0.1'], v6: ['fd00::1'] },
  [PORT.podB]: { v4: ['10.0.0.2'], v6: ['fd00::2'] },
  // Its second addresses are let in by pod_source_prefix only, and nobody can reach them.
  [PORT.podC]: { v4: ['10.0.0.3', '10.1.7.7'], v6: ['fd00::3', 'fd01::77'] },
  [PORT.unknown]: { v4: ['10.0.0.5'], v6: ['fd00::5'] },
  [PORT.disabled]: { v4: ['10.0.0.6'], v6: ['fd00::6'] },
};

/** Whose each floating IP is: pod A has two of a family, the last ones lead to an endpoint that is down, and nowhere. */
export const FLOATING: Readonly<Record<string, string>> = {
  '198.51.100.1': '10.0.0.1',
  '198.51.100.11': '10.0.0.1',
  '198.51.100.2': '10.0.0.2',
  '198.51.100.6': '10.0.0.6',
  '198.51.100.9': '10.9.9.9',
  '2001:db8:f::1': 'fd00::1',
  '2001:db8:f::11': 'fd00::1',
  '2001:db8:f::2': 'fd00::2',
  '2001:db8:f::6': 'fd00::6',
  '2001:db8:f::9': 'fd09::9',
};

/** Pods of other nodes, by what leads there. */
export const REMOTE = {
  v4: {
    vxlan4: '10.5.1.1',
    vxlan6: '10.5.2.1',
    ipip: '10.5.3.1',
    link: '10.5.4.1',
    kernel: '10.5.5.1',
    blackhole: '10.5.6.1',
    unknown: '10.5.7.1',
  },
  v6: {
    vxlan4: 'fd05:1::1',
    vxlan6: 'fd05:2::1',
    ipip: 'fd05:3::1',
    link: 'fd05:4::1',
    kernel: 'fd05:5::1',
    blackhole: 'fd05:6::1',
    unknown: 'fd05:7::1',
  },
} as const;
export const HOPS = { v4: '172.16.5.5', v6: '2001:db8:1::5' } as const;
/** The node's ends of tunnels. */
export const TUNNEL_ENDS = { v4: '192.168.0.1', v6: 'fd00:f::1' } as const;
export const VNI = 4096;
export const VXLAN_PORT = 4789;
export const VTEP = { own: 0x6600_0000_0001n, peer: 0x6600_0000_0002n } as const;
/** What goes into each kind of tunnel. */
export const TUNNEL_MTU = { vxlan4: 300, vxlan6: 280, ipip: 320 } as const;

const EP = { [PORT.podA]: 11, [PORT.podB]: 12, [PORT.podC]: 0x01000013 } as const;
const PODS = [PORT.podA, PORT.podB, PORT.podC] as const;

const PAGES = 2;
/** Bits that labels stand at: the ends of the eight words, and one in the last four bytes of the 68 of a step's key. */
const LABEL_BITS = [0, 1, 63, 64, 128, 191, 255, 256, 320, 400, 447, 448, 480, 511] as const;
/** Bits of labels of ports, in four words. */
const PORT_BITS = [0, 1, 63, 64, 128, 191, 255] as const;
const NODES = 10;
/** Outcomes from here up wrap around the counter array, which has 65,536 cells. */
export const OUTCOMES = 40;

/** What frames at each port are addressed to, and what frames that leave there are. */
export const MACS = {
  gateway: 0xeeee_eeee_eeeen,
  uplink: 0x0200_0000_00aan,
  nextHop: 0x0200_0000_00bbn,
  host: 0x0200_0000_00ccn,
} as const;
/** Largest IP packets. Pod B and the uplink take small ones only. */
export const MTU = { [PORT.podA]: 1500, [PORT.podB]: 1000, [PORT.podC]: 1500, [PORT.uplink]: 1200 } as const;

/** Meters of what pods send (with the mark of a DSCP), and of what they get. Whether they limit is the test's matter. */
export const EXTRAS = { [PORT.podA]: 0x8000_0006, [PORT.podB]: 0, [PORT.podC]: 10 } as const;
export const LIMIT_TO = { [PORT.podA]: 5, [PORT.podB]: 0, [PORT.podC]: 9 } as const;
export const DSCP = 46;

/** The MAC of a pod's interface. */
export function podMac(port: number): bigint {
  return 0x0600_0000_0000n + BigInt(port);
}

const ONES = { 8: 0xffn, 16: 0xffffn, 32: 0xffffffffn, 64: 0xffffffffffffffffn } as const;

/** Both halves, and once more as it stands in a packet of IPv4. */
function thrice(address: string): readonly bigint[] {
  const [hi, lo] = halves(address);
  return [hi, lo, address.includes(':') ? 0n : lo & ONES[32]];
}

export function randomRows(random: Random): readonly TableRow[] {
  return [...topology(), ...addressLabels(random), ...portLabels(random), ...diagrams(random)];
}

function topology(): TableRow[] {
  const { uplink, host, disabled } = PORT;
  const pods = PODS.flatMap((port) => {
    const ep = BigInt(EP[port]);
    const { v4, v6 } = HOMES[port]!;
    const own = [v4[0]!, v6[0]!];
    return [
      row('port_in', [exact(port, 32)], 'from_pod', ep, MACS.gateway, port, EXTRAS[port]),
      ...own.map((a) => row('pod_source', [exact(ep, 32), ...address(a)], 'source_ok')),
      ...own.map((a) =>
        row('local', address(a), 'to_pod', port, ep, podMac(port), MACS.gateway, MTU[port], LIMIT_TO[port]),
      ),
    ];
  });
  const hosts = (
    [
      ['192.168.0.1', 1],
      ['192.168.0.2', 0],
      ['192.168.0.3', 1],
      ['fd00:f::1', 1],
      ['fd00:f::2', 0],
    ] as const
  ).flatMap(([a, fromPods]) => [
    row('local', address(a), 'to_host', host, fromPods, MACS.host, MACS.gateway),
    row('host_address', address(a), 'own_address'),
  ]);
  const ep = EP[PORT.podC];
  return [
    ...pods,
    ...hosts,
    row('port_in', [exact(uplink, 32)], 'from_uplink', MACS.uplink, uplink),
    row('port_in', [exact(host, 32)], 'from_host', MACS.gateway, host),
    row('port_in', [exact(disabled, 32)], 'from_disabled'),
    row('local', address('10.0.0.6'), 'to_disabled'),
    row('local', address('fd00::6'), 'to_disabled'),
    ...Object.entries(FLOATING).map(([external, internal]) => {
      const first = Object.keys(FLOATING).find((candidate) => FLOATING[candidate] === internal)!;
      return row('local', address(external), 'to_floating', ...[internal, first].flatMap(thrice));
    }),
    prioritised('pod_source_prefix', [exact(ep, 32), ...prefix('10.1.0.0', 96 + 16)], 5, 'source_prefix_ok'),
    prioritised('pod_source_prefix', [exact(ep, 32), ...prefix('fd01::', 16)], 9, 'source_prefix_ok'),
    ...[1, 3].map((source) =>
      row(
        'default_route',
        [exact(source, 8)],
        'to_uplink',
        uplink,
        MACS.nextHop,
        MACS.uplink,
        MTU[PORT.uplink],
      ),
    ),
    ...tunnels(),
    row('pod_dscp', [exact(EP[PORT.podA], 32)], 'set_dscp', DSCP << 2, DSCP << 22),
    ...['192.168.0.1', 'fd00:f::1'].map((a) => row('host_dscp', address(a), 'set_dscp', 12 << 2, 12 << 22)),
    row('invalid', [exact(1, 8)], 'let_judge'),
    // What of the uplink's addresses is in the cluster keeps its DSCP.
    prioritised('cluster_pools', prefix('172.16.0.0', 96 + 16), 5, 'in_pool'),
    prioritised('cluster_pools', prefix('2001:db8:1::', 48), 9, 'in_pool'),
    // From the uplink to pods it is dropped.
    ...[1, 2].map((target) =>
      row('host_stack', [exact(1, 8), exact(target, 8)], 'to_stack', host, MACS.host, MACS.gateway),
    ),
  ];
}

function tunnels(): TableRow[] {
  const { uplink, host } = PORT;
  const hop = (kind: number, via: string): readonly SpecKey[] => [exact(kind, 8), ...address(via)];
  const here = (dst: string, proto: number, dport: number): readonly SpecKey[] => [
    exact(uplink, 32),
    ...address(dst),
    exact(proto, 8),
    exact(dport, 16),
  ];
  const ends = (address4: string): bigint => halves(address4)[1] & ONES[32];
  const link = [MACS.nextHop, MACS.uplink] as const;
  const vxlan = [VNI, VXLAN_PORT, VTEP.peer, VTEP.own] as const;
  const { v4, v6 } = HOPS;
  const routes = ([4, 6] as const).flatMap((family) => {
    const { vxlan4, vxlan6, ipip, link: onLink, kernel, blackhole, unknown } = REMOTE[`v${family}`];
    const block = (text: string, action: string, ...params: readonly (number | bigint)[]): TableRow =>
      prioritised('remote_block', prefix(text, family === 4 ? 96 + 24 : 32), 50, action, ...params);
    return [
      block(vxlan4, 'block_via', 2, ...halves(v4)),
      row('remote_address', address(vxlan6), 'via', 2, ...halves(v6)),
      block(ipip, 'block_via', 3, ...halves(v4)),
      row('remote_address', address(onLink), 'via', 1, ...halves(v4)),
      block(kernel, 'block_via', 4, ...halves(v4)),
      family === 4
        ? block(blackhole, 'block_blackhole')
        : row('remote_address', address(blackhole), 'blackhole'),
      block(unknown, 'block_via', 2, ...halves('172.16.5.99')),
    ];
  });
  return [
    ...routes,
    row('next_hop', hop(1, v4), 'to_link', uplink, ...link, MTU[uplink]),
    row(
      'next_hop',
      hop(2, v4),
      'to_vxlan4',
      uplink,
      ...link,
      ends(TUNNEL_ENDS.v4),
      ends(v4),
      ...vxlan,
      TUNNEL_MTU.vxlan4,
    ),
    row(
      'next_hop',
      hop(2, v6),
      'to_vxlan6',
      uplink,
      ...link,
      ...halves(TUNNEL_ENDS.v6),
      ...halves(v6),
      ...vxlan,
      TUNNEL_MTU.vxlan6,
    ),
    row('next_hop', hop(3, v4), 'to_ipip', uplink, ...link, ends(TUNNEL_ENDS.v4), ends(v4), TUNNEL_MTU.ipip),
    row('next_hop', hop(4, v4), 'to_stack_hop', host, MACS.host, MACS.gateway),
    ...([TUNNEL_ENDS.v4, TUNNEL_ENDS.v6] as const).map((end) =>
      row('tunnel_here', here(end, 17, VXLAN_PORT), 'ends_here', MACS.uplink, VTEP.own, VNI),
    ),
    row('tunnel_here', here(TUNNEL_ENDS.v4, 4, 0), 'ends_here', MACS.uplink, 0, 0),
    ...[v4, v6].map((peer) => row('tunnel_peer', [...address(peer), exact(17, 8)], 'peer')),
    row('tunnel_peer', [...address(v4), exact(4, 8)], 'peer'),
    // What pod B sends out of the cluster goes by the kernel; from there its addresses must not come.
    prioritised('masquerade_pools', prefix('10.0.0.2', 128), 5, 'masquerade', host, MACS.host, MACS.gateway),
    prioritised('masquerade_pools', prefix('fd00::2', 128), 9, 'masquerade', host, MACS.host, MACS.gateway),
  ];
}

/**
 * The uplink's sources 8.8.8.8 and 172.16.5.5 differ in one label at bit `at`, and are asked for it on their way to pod A:
 * the first one is allowed, the second is not.
 */
export function rowsTellingApart(at: number): readonly TableRow[] {
  const bit = 1n << BigInt(at);
  const rest = ((1n << 512n) - 1n) ^ bit;
  const [page, node] = [exact(1, 32), exact(7, 32)];
  const deny = 0x80000000;
  const step = (value: bigint, leaf: number): TableRow =>
    row('step_src', [node, ...words(value).map((word) => exact(word, 64))], 'src_next', leaf, 0, 0, 0, 0);
  return [
    ...topology(),
    ...UPLINK_STAGES.map((stage) => rootOf(0, stage, [1, ...Array<number>(6).fill(UNMATCHED + 3)])),
    row(
      'endpoint_root',
      [exact(EP[PORT.podA], 32), exact(1, 8)],
      'root',
      1,
      7,
      ...Array<number>(5).fill(deny),
    ),
    row('src_mask', [node], 'ask_src', ...words(rest | bit)),
    row('addr_labels', [page, ...address('8.8.8.8')], 'set_labels', ...words(rest | bit)),
    row('addr_labels', [page, ...address('172.16.5.5')], 'set_labels', ...words(rest)),
    step(rest | bit, 0xc0000001),
    step(rest, deny + 2),
  ];
}

/** Priorities are all different: between equal ones a target may choose. */
function addressLabels(random: Random): TableRow[] {
  return Array.from({ length: PAGES }, (_, page) => labelsOfPage(random, page + 1)).flat();
}

function labelsOfPage(random: Random, page: number): TableRow[] {
  const own = exact(page, 32);
  const all = [...Object.values(HOMES).flatMap(({ v4, v6 }) => [...v4, ...v6]), ...Object.keys(FLOATING)];
  const single = all
    .filter(() => random.chance(0.5))
    .map((a) => row('addr_labels', [own, ...address(a)], 'set_labels', ...words(someLabels(random, 0.5))));
  // Some addresses have no labels at all.
  const wide = all.filter(() => random.chance(0.6));
  const prefixes = [
    ...wide.filter((a) => a.includes(':')).map((a) => prefix(a, 16 + random.below(113))),
    ...wide.filter((a) => !a.includes(':')).map((a) => prefix(a, 96 + random.below(33))),
    ...(random.chance(0.5) ? [prefix('0.0.0.0', 96)] : []),
    ...(random.chance(0.3) ? [prefix('::', 0)] : []),
  ];
  const distinct = [...new Map(prefixes.map((keys) => [JSON.stringify(keys, hexBigints), keys])).values()];
  const priorities = random.shuffled(distinct.map((_, i) => i + 1));
  return [
    ...single,
    ...distinct.map((keys, i) =>
      prioritised(
        'addr_labels_prefix',
        [own, ...keys],
        priorities[i]!,
        'set_prefix_labels',
        ...words(someLabels(random, 0.5)),
      ),
    ),
  ];
}

function portLabels(random: Random): TableRow[] {
  return (['dport', 'sport'] as const).flatMap((side) => {
    const rows = PROTOCOLS.flatMap((proto) =>
      portsOf(proto).flatMap((port) => {
        const length = random.pick([16, 16, random.below(17)]);
        const mask = (ONES[16] << BigInt(16 - length)) & ONES[16];
        return Array.from({ length: PAGES }, (_, page) =>
          row(
            `${side}_labels`,
            [exact(page + 1, 32), exact(proto, 8), { value: BigInt(port) & mask, mask }],
            `set_${side}_labels`,
            ...words(someLabels(random, 0.5, PORT_BITS), 4),
          ),
        );
      }),
    );
    return [...new Map(rows.map((r) => [JSON.stringify(r.entry.keys, hexBigints), r])).values()];
  });
}

const PROTOCOLS = [1, 6, 17, 58, 132, 136] as const;

function portsOf(proto: number): readonly number[] {
  return proto === 1 || proto === 58 ? [0x0800, 0x0303, 0x8000, 0x0000] : [53, 80, 443, 8080, 40000];
}

const SINGLE_PORTS = [0, 53, 443, 8080, 0x0800, 0x8000] as const;

function diagrams(random: Random): TableRow[] {
  const node = (): number => (random.chance(0.7) ? 1 + random.below(NODES) : leaf());
  const leaf = (): number => {
    const kind = random.chance(0.7) ? 0xc0000000 : random.chance(0.3) ? UNMATCHED : 0x80000000;
    return kind + random.below(OUTCOMES) + (random.chance(0.1) ? 0x10000 : 0);
  };
  const chain = (length: number): number[] => Array.from({ length }, node);
  const rows: TableRow[] = [];
  for (const port of PODS)
    for (const direction of [1, 2]) {
      // Pod C may send nothing: it has no root in that direction.
      if (port === PORT.podC && direction === 2) continue;
      const key = [exact(EP[port], 32), exact(direction, 8)];
      rows.push(row('endpoint_root', key, 'root', 1 + random.below(PAGES), ...chain(6)));
    }
  // Pod A has another program for what it sends to the host.
  rows.push(rootOf(EP[PORT.podA], EGRESS_TO_HOST, [1 + random.below(PAGES), ...chain(6)]));
  for (const stage of UPLINK_STAGES) {
    const often = stage <= UNTRACKED_OUT ? 0.6 : 0.3;
    const nodes = random.chance(often) ? Array<number>(6).fill(UNMATCHED + random.below(OUTCOMES)) : chain(6);
    // At times one is missing.
    if (random.chance(0.95)) rows.push(rootOf(0, stage, [1 + random.below(PAGES), ...nodes]));
  }
  const levels = [
    ['step_proto', 'proto_next', 3, 8, [1, 6, 17, 47, 58, 132, 136], 0.6],
    ['step_dport', 'dport_next', 2, 16, SINGLE_PORTS, 0.3],
    ['step_sport', 'sport_next', 1, 16, SINGLE_PORTS, 0.3],
  ] as const;
  const asking = [
    ['src', 'src', 5, LABEL_BITS, 8],
    ['dst', 'dst', 4, LABEL_BITS, 8],
    ['dport', 'dport_range', 2, PORT_BITS, 4],
    ['sport', 'sport_range', 1, PORT_BITS, 4],
  ] as const;
  for (let from = 1; from <= NODES; from++) {
    for (const [side, step, params, bits, count] of asking) {
      if (random.chance(0.2)) continue;
      const asked = Array.from({ length: 1 + random.below(3) }, () => random.pick(bits));
      const mask = asked.reduce((all, at) => all | (1n << BigInt(at)), 0n);
      const page = count === 4 ? [1 + random.below(PAGES)] : [];
      rows.push(row(`${side}_mask`, [exact(from, 32)], `ask_${side}`, ...page, ...words(mask, count)));
      for (const value of partsOf([...new Set(asked)]))
        if (random.chance(0.6)) {
          const key = [exact(from, 32), ...words(value, count).map((word) => exact(word, 64))];
          rows.push(row(`step_${step}`, key, `${step}_next`, ...chain(params)));
        }
    }
    for (const [table, action, params, bits, values, share] of levels)
      for (const value of values)
        if (random.chance(share))
          rows.push(row(table, [exact(from, 32), exact(value, bits)], action, ...chain(params)));
  }
  return rows;
}

/** `direction` of endpoint_root: the uplink's stages, and the pods' third one. */
const UPLINK_STAGES = [3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 14, 15, 16] as const;
const UNTRACKED_OUT = 4;
const EGRESS_TO_HOST = 11;
/** The first leaf that neither denies nor allows. */
const UNMATCHED = 0xa0000000;

function rootOf(ep: number, stage: number, params: readonly number[]): TableRow {
  return row('endpoint_root', [exact(ep, 32), exact(stage, 8)], 'root', ...params);
}

function someLabels(random: Random, share: number, bits: readonly number[] = LABEL_BITS): bigint {
  return bits.reduce((all, at) => (random.chance(share) ? all | (1n << BigInt(at)) : all), 0n);
}

/** Every combination of `bits`. */
function partsOf(bits: readonly number[]): readonly bigint[] {
  return bits.reduce<bigint[]>((parts, at) => [...parts, ...parts.map((p) => p | (1n << BigInt(at)))], [0n]);
}

/** w0, w1, …: bits 0..63, 64..127, … */
function words(bits: bigint, count = 8): bigint[] {
  return Array.from({ length: count }, (_, i) => (bits >> BigInt(64 * i)) & ONES[64]);
}

/** `length` counts in the 128 bits of the common form. */
function prefix(text: string, length: number): readonly SpecKey[] {
  const bits = ((1n << 128n) - 1n) ^ ((1n << BigInt(128 - length)) - 1n);
  const masks = [bits >> 64n, bits & ONES[64]];
  return halves(text).map((value, i) => ({ value: value & masks[i]!, mask: masks[i]! }));
}

function hexBigints(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? value.toString(16) : value;
}

/** A row with its action's name as that table has it in the spec: p4c gives actions that several tables share a number each. */
export function namedIn(spec: Pick<Spec, 'tables'>, { table, entry }: TableRow): TableRow {
  const { name } = entry.action;
  const inSpec = spec.tables
    .get(table)!
    .actions.find((action) => action.name === name || action.name.replace(/_\d+$/, '') === name);
  return { table, entry: { ...entry, action: { ...entry.action, name: inSpec?.name ?? name } } };
}

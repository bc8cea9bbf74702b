import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { CalicoP4Error } from '../../errors';
import { parseP4InfoText } from '../../p4info/text-format';
import { sameWay } from '../../translators/limits';
import type { MatchValue, Row } from '../../translators/rows';
import type { PipelineConfig } from '../pipeline-config';
import type { OrderedTable, WriteOrder } from '../write-order';

/*
 * The pipeline pipelines/p4-dpdk/calico.p4, as the target side sees it: which tables, what each is for, what refers to
 * what. docs/pipeline.md describes the tables; the roles are explained in write-order.ts.
 */

/** Every table that rows are written to, in the order of inserting; learned tables (ct, fragments) are not among them. */
export const P4_DPDK_TABLES: readonly OrderedTable[] = [
  { table: 'step_sport_range', role: 'node', space: 'sport' },
  { table: 'sport_mask', role: 'node', space: 'sport', masks: true },
  { table: 'step_sport', role: 'node' },
  { table: 'step_dport_range', role: 'node', space: 'dport' },
  { table: 'dport_mask', role: 'node', space: 'dport', masks: true },
  { table: 'step_dport', role: 'node' },
  { table: 'step_proto', role: 'node' },
  { table: 'step_dst', role: 'node', space: 'addr' },
  { table: 'dst_mask', role: 'node', space: 'addr', masks: true },
  { table: 'step_src', role: 'node', space: 'addr' },
  { table: 'src_mask', role: 'node', space: 'addr', masks: true },
  { table: 'dport_labels', role: 'selector', space: 'dport' },
  { table: 'sport_labels', role: 'selector', space: 'sport' },
  // Looked up first; addr_labels_prefix answers when it misses.
  { table: 'addr_labels', role: 'selector', space: 'addr' },
  { table: 'addr_labels_prefix', role: 'selector', space: 'addr' },
  { table: 'endpoint_root', role: 'gate' },
  { table: 'pod_source', role: 'path' },
  { table: 'pod_source_prefix', role: 'path' },
  // What names a hop comes after it. Absence: dropped.
  { table: 'next_hop', role: 'path' },
  // Absence: the block around it, if there is one, or as an address that nobody knows: pools in tunnels are blocks themselves.
  { table: 'remote_address', role: 'path' },
  { table: 'remote_block', role: 'path' },
  // Absence: dropped where a tunnel ends; without the latter it is an ordinary packet for the node.
  { table: 'tunnel_peer', role: 'path' },
  { table: 'tunnel_here', role: 'path' },
  // Absence: the host's packets to pods are judged like anybody's.
  { table: 'host_address', role: 'path' },
  // Absence: the DSCP is set in packets inside of the cluster, too; or their source is translated.
  { table: 'cluster_pools', role: 'path' },
  // Before default_route: without it the source is not translated.
  { table: 'masquerade_pools', role: 'path' },
  // Absence: the address is nobody's on this node; from a pod, after its egress policy, to the uplink.
  { table: 'local', role: 'path' },
  { table: 'default_route', role: 'path' },
  // Absence: what needs an ICMP error is dropped.
  { table: 'host_stack', role: 'path' },
  // Absence: the DSCP is left as it is.
  { table: 'pod_dscp', role: 'path' },
  { table: 'host_dscp', role: 'path' },
  // Absence: what connection tracking calls invalid is dropped.
  { table: 'invalid', role: 'path' },
  { table: 'port_in', role: 'path' },
];

/** Meters, as rows (catalogue.ts): limits of packets and bytes, by the number that port_in and local give. */
export const P4_DPDK_METERS: readonly OrderedTable[] = [
  { table: 'packet_limits', role: 'path', limits: true },
  { table: 'byte_limits', role: 'path', limits: true },
];

/** Counters: `outcomes` by outcome of the policy, `reasons` by why a packet was dropped or passed. */
export const P4_DPDK_COUNTERS: readonly string[] = ['outcomes', 'reasons'];

/** A node id from here on is a leaf, and refers to no rows (docs/design.md, Leaves). */
const FIRST_LEAF = 0x8000_0000n;

/** Above every priority of addr_labels_prefix, which are prefix lengths + 1. */
const COVER_PRIORITY = 1000;
const ALL_64_BITS = (1n << 64n) - 1n;

/**
 * By `direction` of endpoint_root: of the programs that one packet passes, each has another number (docs/pipeline.md). Untracked policy,
 * which established connections meet too, flips while the others are shut.
 */
const TURNS: readonly number[] = [
  2,
  1, // ingress
  2, // egress
  0, // untracked-in
  0, // untracked-out
  3, // pre-dnat
  2, // host-in
  2, // host-out
  2, // forward-in
  1, // forward-out
  2, // forward-other
  2, // egress-to-host
  3, // tunnel-pre-dnat
  2, // tunnel-host-in
  2, // tunnel-host-out
  2, // tunnel-forward-in
  1, // tunnel-forward-out
];

/** Parameters that name nodes: the next one and the chain of its defaults (docs/design.md, Diagrams). */
const NODE_PARAMS = ['node', 'd1', 'd2', 'd3', 'd4', 'd5'] as const;

/** Rows that lead to one node share their parameters, and the planner asks for all of them. */
const NAMED = new WeakMap<Row['params'], readonly bigint[]>();

export const P4_DPDK_ORDER: WriteOrder = {
  tables: [...P4_DPDK_METERS, ...P4_DPDK_TABLES],
  partOf: (row) => exactValue(row, 'node'),
  names: ({ params }) => {
    let named = NAMED.get(params);
    if (named === undefined) {
      named = [...new Set(NODE_PARAMS.flatMap((name) => params[name] ?? []))].filter((n) => n < FIRST_LEAF);
      NAMED.set(params, named);
    }
    return named;
  },
  // Of an address, of a port, of a mask: the action's. Of a step: the key's.
  value: (row) =>
    row.table.startsWith('step_')
      ? bitsOf(row.match, (name) => (row.match[name] === undefined ? 0n : exactValue(row, name)))
      : bitsOf(row.params, (name) => row.params[name] ?? 0n),
  // An address that has no labels is dropped; a port that has none has none.
  missGives: (space) => (space === 'addr' ? undefined : 0n),
  page: (row) => {
    const page = row.match['page'] === undefined ? row.params['page'] : exactValue(row, 'page');
    const space = row.table.startsWith('dport_') ? 1n : row.table.startsWith('sport_') ? 2n : 0n;
    return page === undefined ? undefined : page | (space << 32n);
  },
  turn: (row) => TURNS[Number(exactValue(row, 'direction'))]!,
  samePath: sameWay,
  ofAll: (row) => exactValue(row, 'ep') === 0n,
  address: (row) => {
    if (row.table === 'addr_labels_prefix') return 'many';
    if (row.table !== 'addr_labels' && row.table !== 'local') return undefined;
    return `${exactValue(row, 'hi')} ${exactValue(row, 'lo')}`;
  },
  contains: (outer, inner) =>
    Object.entries(outer.match).every(([field, match]) => {
      const [o, i] = [bits(match), bits(inner.match[field])];
      return (o.mask & i.mask) === o.mask && (i.value & o.mask) === o.value;
    }),
  cover: addressCover,
};

const PORT_BITS = 16;

/** A match as value and mask; the only LPM field of selectors is the port. */
function bits(match: MatchValue | undefined): { readonly value: bigint; readonly mask: bigint } {
  switch (match?.kind) {
    case undefined:
      return { value: 0n, mask: 0n };
    case 'exact':
      return { value: match.value, mask: ALL_64_BITS };
    case 'lpm':
      return {
        value: match.value,
        mask: (1n << BigInt(PORT_BITS)) - (1n << BigInt(PORT_BITS - match.prefixLen)),
      };
    case 'ternary':
      return match;
  }
}

/** The words of labels, masks and masked labels: w0 has bits 0 to 63. Those of ports are the first four. */
const WORDS = ['w0', 'w1', 'w2', 'w3', 'w4', 'w5', 'w6', 'w7'] as const;

/** Rows with the same labels share their parameters, and the planner asks again at each update. */
const BITS = new WeakMap<object, bigint>();

function bitsOf(holder: object, word: (name: string) => bigint): bigint {
  let all = BITS.get(holder);
  if (all === undefined) {
    all = 0n;
    for (const [i, name] of WORDS.entries()) {
      const value = word(name);
      if (value !== 0n) all |= value << BigInt(64 * i);
    }
    BITS.set(holder, all);
  }
  return all;
}

/** addr_labels_prefix is looked up when addr_labels misses: a full-length row there stands in for one of addr_labels. */
function addressCover(row: Row): Row | undefined {
  if (row.table !== 'addr_labels') return undefined;
  return {
    table: 'addr_labels_prefix',
    match: {
      page: { kind: 'exact', value: exactValue(row, 'page') },
      hi: { kind: 'ternary', value: exactValue(row, 'hi'), mask: ALL_64_BITS },
      lo: { kind: 'ternary', value: exactValue(row, 'lo'), mask: ALL_64_BITS },
    },
    priority: COVER_PRIORITY,
    action: 'set_prefix_labels',
    params: row.params,
  };
}

function exactValue(row: Row, field: string): bigint {
  const match = row.match[field];
  if (match?.kind !== 'exact') throw new Error(`a row of table ${row.table} has no exact field ${field}`);
  return match.value;
}

/**
 * The compiled pipeline as committed, for SetForwardingPipelineConfig.
 *
 * @throws CalicoP4Error PIPELINE_MISMATCH when the files are not where the program was installed
 */
export function loadP4DpdkPipeline(): PipelineConfig {
  const folder = p4DpdkArtefacts();
  return {
    p4info: parseP4InfoText(readFileSync(join(folder, 'calico.p4info.txtpb'), 'utf8')),
    deviceConfig: readFileSync(join(folder, 'calico.spec')),
  };
}

/** The folder of calico.spec and calico.p4info.txtpb, from a checkout's src/ and from dist/src/ alike. */
export function p4DpdkArtefacts(): string {
  for (let at = __dirname; dirname(at) !== at; at = dirname(at)) {
    const folder = join(at, 'pipelines', 'p4-dpdk');
    if (existsSync(join(folder, 'calico.spec'))) return folder;
  }
  throw new CalicoP4Error(
    'PIPELINE_MISMATCH',
    'the compiled pipeline (pipelines/p4-dpdk/calico.spec) is missing from the installation: install calico-p4 again',
  );
}

/** Executes the policy tables from their rows as the pipeline would (docs/pipeline.md): lookups and the chain of defaults. */
import ipaddr from 'ipaddr.js';
import type { CompiledPolicy } from '../../../src/translators/policy/compiler';
import {
  FIRST_LEAF,
  readLeaf,
  STAGE_NUMBERS,
  type Outcome,
  type Stage,
  type Verdict,
} from '../../../src/translators/policy/outcomes';
import { LABEL_WORDS } from '../../../src/translators/policy/pages';
import { PORT_WORDS } from '../../../src/translators/policy/port-labels';
import type { PacketTuple } from '../../../src/translators/policy/reference';
import type { Row } from '../../../src/translators/rows';

export interface Walked {
  readonly verdict: Verdict;
  readonly outcome: Outcome;
}

interface Tables {
  readonly exact: ReadonlyMap<string, Row>;
  readonly prefixes: readonly Row[];
}

const WORDS = Array.from({ length: LABEL_WORDS }, (_, i) => `w${i}`);
const PORT_LABELS = Array.from({ length: PORT_WORDS }, (_, i) => `w${i}`);
const PARAMS = ['node', 'd1', 'd2', 'd3', 'd4', 'd5'];
const LEAF = BigInt(FIRST_LEAF);

/** Takes the rows as they are now; the walker does not see later changes. */
export function createWalker(policy: Pick<CompiledPolicy, 'rows' | 'outcomes'>): {
  walk(ep: number, stage: Stage, packet: PacketTuple): Walked;
} {
  const tables = index(policy.rows.values());
  const outcomes = new Map(policy.outcomes);

  const exact = (table: string, ...values: readonly bigint[]): Row | undefined =>
    tables.exact.get(`${table}:${values.join(',')}`);

  /** Undefined: no labels, which the pipeline drops. */
  const labelsOf = (page: bigint, text: string): readonly bigint[] | undefined => {
    const { hi, lo } = halvesOf(text);
    const row =
      exact('addr_labels', page, hi, lo) ??
      // Sorted by priority, so the first hit wins.
      tables.prefixes.find(
        (r) => r.match['page']!.value === page && ternary(r, 'hi', hi) && ternary(r, 'lo', lo),
      );
    return row === undefined ? undefined : WORDS.map((name) => row.params[name]!);
  };

  const portLabelsOf = (table: string, page: bigint, proto: number, port: number): readonly bigint[] => {
    for (let len = 16; len >= 0; len--) {
      const row = exact(table, page, BigInt(proto), BigInt(port >> (16 - len)), BigInt(len));
      if (row !== undefined) return PORT_LABELS.map((name) => row.params[name]!);
    }
    return PORT_LABELS.map(() => 0n);
  };

  return {
    walk(ep, stage, packet) {
      const icmp = packet.proto === 1 || packet.proto === 58;
      const dport = icmp ? packet.icmpType * 256 + packet.icmpCode : packet.dport;
      const root = exact('endpoint_root', BigInt(ep), BigInt(STAGE_NUMBERS[stage]));
      const page = root?.params['page'] ?? 0n;
      const byLabels = (side: 'src' | 'dst', node: bigint): Row | undefined => {
        const mask = exact(`${side}_mask`, node);
        if (mask === undefined) return undefined;
        const labels = labelsOf(page, packet[side]);
        if (labels === undefined) throw new Error(`${packet[side]} has no labels in page ${page}`);
        return exact(`step_${side}`, node, ...WORDS.map((name, i) => mask.params[name]! & labels[i]!));
      };
      const byPort = (which: 'dport' | 'sport', node: bigint, port: number): Row | undefined => {
        const single = exact(`step_${which}`, node, BigInt(port));
        const mask = exact(`${which}_mask`, node);
        if (single !== undefined || mask === undefined) return single;
        const labels = portLabelsOf(`${which}_labels`, mask.params['page']!, packet.proto, port);
        return exact(
          `step_${which}_range`,
          node,
          ...PORT_LABELS.map((name, i) => mask.params[name]! & labels[i]!),
        );
      };
      const steps: readonly ((node: bigint) => Row | undefined)[] = [
        (node) => byLabels('src', node),
        (node) => byLabels('dst', node),
        (node) => exact('step_proto', node, BigInt(packet.proto)),
        (node) => byPort('dport', node, dport),
        (node) => byPort('sport', node, packet.sport),
      ];
      let chain = root === undefined ? [LEAF, LEAF, LEAF, LEAF, LEAF, LEAF] : chainOf(root);
      for (const step of steps) {
        const row = chain[0]! < LEAF ? step(chain[0]!) : undefined;
        chain = row === undefined ? chain.slice(1) : chainOf(row);
      }
      const leaf = chain[0]!;
      if (chain.length !== 1 || (leaf & LEAF) === 0n) throw new Error(`the walk ended at ${leaf}, no leaf`);
      const { id, verdict } = readLeaf(Number(leaf));
      const outcome = outcomes.get(id);
      if (outcome === undefined) throw new Error(`leaf ${leaf} names no outcome`);
      if (outcome.verdict !== verdict) throw new Error(`leaf ${leaf} and its outcome disagree`);
      return { verdict, outcome };
    },
  };
}

function index(rows: Iterable<Row>): Tables {
  const exact = new Map<string, Row>();
  const prefixes: Row[] = [];
  for (const row of rows) {
    if (row.table === 'addr_labels_prefix') {
      prefixes.push(row);
      continue;
    }
    const values = Object.values(row.match).flatMap((m) => {
      if (m.kind === 'exact') return [m.value];
      if (m.kind === 'lpm') return [m.value >> BigInt(16 - m.prefixLen), BigInt(m.prefixLen)];
      throw new Error(`ternary field in ${row.table}`);
    });
    exact.set(`${row.table}:${values.join(',')}`, row);
  }
  prefixes.sort((a, b) => b.priority! - a.priority!);
  return { exact, prefixes };
}

function chainOf(row: Row): bigint[] {
  return PARAMS.filter((name) => row.params[name] !== undefined).map((name) => row.params[name]!);
}

function ternary(row: Row, field: string, value: bigint): boolean {
  const m = row.match[field];
  return m === undefined || (m.kind === 'ternary' && (value & m.mask) === m.value);
}

function halvesOf(text: string): { readonly hi: bigint; readonly lo: bigint } {
  const parsed = ipaddr.parse(text);
  const bytes = (parsed instanceof ipaddr.IPv4 ? parsed.toIPv4MappedAddress() : parsed).toByteArray();
  const number = (part: readonly number[]): bigint =>
    part.reduce((sum, byte) => sum * 256n + BigInt(byte), 0n);
  return { hi: number(bytes.slice(0, 8)), lo: number(bytes.slice(8)) };
}

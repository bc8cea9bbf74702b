import { rowKey, type Row } from '../../../src/translators/rows';
import type { RowUpdate } from '../../../src/p4target/plan';
import type { RowTarget, UpdateOutcome } from '../../../src/p4target/row-target';
import { INFRAP4D_DPDK, type TargetTraits } from '../../../src/p4target/target-traits';
import { P4_DPDK_ORDER } from '../../../src/p4target/p4-dpdk/adapter';
import { status } from '@grpc/grpc-js';

/*
 * A toy of the whole: four addresses with labels, endpoints with a rule list over source and destination labels, and
 * the rows that a compiler would make of them (source step, destination step; classes and nodes interned, never reused).
 * Small enough that every packet's verdict can be looked up after every single update.
 */

export interface Rule {
  readonly src?: number;
  readonly dst?: number;
  readonly allow: boolean;
}

export interface ToyState {
  /** By address 0..3: a bit set of labels; single addresses have rows in addr_class. */
  readonly labels: readonly number[];
  /** By prefix `address >> 1`: labels of both addresses in it; a row of addr_class_prefix unless there are none. */
  readonly prefixLabels: readonly number[];
  /** By endpoint: its rules; undefined where there is no such endpoint. */
  readonly programs: readonly (readonly Rule[] | undefined)[];
}

export const ADDRESSES = [0, 1, 2, 3] as const;

/** Labels of an address: its own and those of the prefix. An address without own labels has no row of its own. */
export function labelsOf(state: ToyState, address: number): number {
  return state.labels[address]! | state.prefixLabels[address >> 1]!;
}

export function evaluate(rules: readonly Rule[] | undefined, src: number, dst: number): 'allow' | 'deny' {
  for (const rule of rules ?? []) {
    if (has(src, rule.src) && has(dst, rule.dst)) return rule.allow ? 'allow' : 'deny';
  }
  return 'deny';
}

function has(labels: number, label: number | undefined): boolean {
  return label === undefined || (labels & (1 << label)) !== 0;
}

const ALLOW = 0xc000_0000n;
const DENY = 0x8000_0000n;

/** Compiles states to rows; ids last as long as the compiler does, and start at `firstId`. */
export class ToyCompiler {
  readonly #ids = new Map<string, bigint>();
  #next: bigint;

  constructor(firstId = 1n) {
    this.#next = firstId;
  }

  rows(state: ToyState): Row[] {
    const rows = new Map<string, Row>();
    const add = (row: Row): void => void rows.set(rowKey(row), row);
    const classes = new Set<number>();
    for (const [prefix, labels] of state.prefixLabels.entries()) {
      if (labels === 0) continue;
      classes.add(labels);
      add({
        table: 'addr_class_prefix',
        match: { lo: { kind: 'ternary', value: BigInt(prefix << 1), mask: 0xfffffffffffffffen } },
        priority: 2,
        action: 'set_prefix_class',
        params: { class: this.#classId(labels) },
      });
    }
    for (const address of ADDRESSES) {
      if (state.labels[address] === 0) continue;
      const labels = labelsOf(state, address);
      classes.add(labels);
      add({
        table: 'addr_class',
        match: { hi: exact(0n), lo: exact(BigInt(address)) },
        action: 'set_class',
        params: { class: this.#classId(labels) },
      });
    }
    for (const [ep, rules] of state.programs.entries()) {
      if (!rules) continue;
      const root = this.#srcNode(rules, classes, add);
      add({
        table: 'endpoint_root',
        match: { ep: exact(BigInt(ep)), direction: exact(1n) },
        action: 'root',
        params: {
          node: root,
          d1: this.#dstNode(
            rules.filter((r) => r.src === undefined),
            classes,
            add,
          ),
        },
      });
      add({
        table: 'port_in',
        match: { port: exact(BigInt(ep)) },
        action: 'from_pod',
        params: { ep: BigInt(ep) },
      });
    }
    return [...rows.values()];
  }

  #srcNode(rules: readonly Rule[], classes: ReadonlySet<number>, add: (row: Row) => void): bigint {
    const node = this.#id(`src ${JSON.stringify(rules)}`);
    for (const labels of classes) {
      const rest = rules
        .filter((r) => has(labels, r.src))
        .map(({ dst, allow }) => (dst === undefined ? { allow } : { dst, allow }));
      const next = this.#dstNode(rest, classes, add);
      const byDefault = this.#dstNode(
        rules.filter((r) => r.src === undefined),
        classes,
        add,
      );
      if (next === byDefault) continue;
      add({
        table: 'step_src',
        match: { node: exact(node), value: exact(this.#classId(labels)) },
        action: 'src_next',
        params: { node: next, d1: this.#dstDefault(rest) },
      });
    }
    return node;
  }

  #dstNode(rules: readonly Rule[], classes: ReadonlySet<number>, add: (row: Row) => void): bigint {
    const clean = rules.map(({ dst, allow }) => (dst === undefined ? { allow } : { dst, allow }));
    const node = this.#id(`dst ${JSON.stringify(clean)}`);
    for (const labels of classes) {
      const leaf = evaluate(clean, 0, labels) === 'allow' ? ALLOW : DENY;
      if (leaf === this.#dstDefault(clean)) continue;
      add({
        table: 'step_dst',
        match: { node: exact(node), value: exact(this.#classId(labels)) },
        action: 'dst_next',
        params: { node: leaf },
      });
    }
    // The default of a miss is content too: the toy keeps it beside the table.
    this.defaults.set(node, this.#dstDefault(clean));
    return node;
  }

  /** Leaf that a miss at a destination node gives: what an address without labels gets. */
  readonly defaults = new Map<bigint, bigint>();

  #dstDefault(rules: readonly Rule[]): bigint {
    return evaluate(rules, 0, 0) === 'allow' ? ALLOW : DENY;
  }

  #classId(labels: number): bigint {
    return this.#id(`class ${labels}`);
  }

  #id(content: string): bigint {
    const known = this.#ids.get(content);
    if (known !== undefined) return known;
    const made = this.#next++;
    this.#ids.set(content, made);
    return made;
  }
}

function exact(value: bigint): { kind: 'exact'; value: bigint } {
  return { kind: 'exact', value };
}

export interface ToyTargetOptions {
  readonly modify: boolean;
  /** By table; unlimited where absent. */
  readonly sizes?: Readonly<Record<string, number>>;
  /** Asked before each update; true refuses it. */
  readonly refuse?: (update: RowUpdate) => boolean;
  /** Called after each single update. */
  readonly watch?: (target: ToyTarget) => void;
}

/** Tables in memory with the existence rules of P4Runtime, refusals on demand, and packets to walk through them. */
export class ToyTarget implements RowTarget {
  readonly rows = new Map<string, Row>();
  readonly traits: TargetTraits;
  refuse: (update: RowUpdate) => boolean;
  watch: (target: ToyTarget) => void;
  writes = 0;

  constructor(readonly options: ToyTargetOptions) {
    this.traits = { ...INFRAP4D_DPDK, name: 'toy', modify: options.modify };
    this.refuse = options.refuse ?? (() => false);
    this.watch = options.watch ?? (() => undefined);
  }

  write(updates: readonly RowUpdate[]): Promise<readonly UpdateOutcome[]> {
    return Promise.resolve(
      updates.map((update) => {
        this.writes++;
        const outcome = this.#one(update);
        this.watch(this);
        return outcome;
      }),
    );
  }

  #one(update: RowUpdate): UpdateOutcome {
    const key = rowKey(update.row);
    if (this.refuse(update)) return { ok: false, code: status.INTERNAL, message: 'refused by the test' };
    const held = this.rows.has(key);
    if (update.type === 'insert' && held)
      return { ok: false, code: status.ALREADY_EXISTS, message: 'exists' };
    if (update.type !== 'insert' && !held)
      return { ok: false, code: status.NOT_FOUND, message: 'no such entry' };
    if (update.type === 'insert' && this.count(update.row.table) >= this.tableSize(update.row.table)) {
      return { ok: false, code: status.RESOURCE_EXHAUSTED, message: 'table full' };
    }
    if (update.type === 'delete') this.rows.delete(key);
    // As infrap4d does: OK, and nothing happens.
    else if (update.type === 'insert' || this.options.modify) this.rows.set(key, update.row);
    return { ok: true };
  }

  readTable(table: string): Promise<readonly Row[]> {
    return Promise.resolve([...this.rows.values()].filter((row) => row.table === table));
  }

  readRow(row: Row): Promise<Row | undefined> {
    return Promise.resolve(this.rows.get(rowKey(row)));
  }

  tableSize(table: string): number {
    return this.options.sizes?.[table] ?? Number.MAX_SAFE_INTEGER;
  }

  count(table: string): number {
    let count = 0;
    for (const row of this.rows.values()) if (row.table === table) count++;
    return count;
  }

  /** What a packet from `src` to `dst` gets at endpoint `ep`. */
  verdict(
    ep: number,
    src: number,
    dst: number,
    defaults: ReadonlyMap<bigint, bigint>,
  ): 'allow' | 'deny' | 'shut' {
    const root = this.#find('endpoint_root', { ep: BigInt(ep), direction: 1n });
    if (!root) return 'shut';
    const step = this.#find('step_src', { node: root.params['node']!, value: this.#classOf(src) });
    const dstNode = step ? step.params['node']! : root.params['d1']!;
    const last = this.#find('step_dst', { node: dstNode, value: this.#classOf(dst) });
    const leaf = last ? last.params['node']! : defaults.get(dstNode)!;
    return leaf === ALLOW ? 'allow' : 'deny';
  }

  #classOf(address: number): bigint {
    const exactRow = this.#find('addr_class', { hi: 0n, lo: BigInt(address) });
    if (exactRow) return exactRow.params['class']!;
    let best: Row | undefined;
    for (const row of this.rows.values()) {
      const lo = row.match['lo'];
      if (row.table !== 'addr_class_prefix' || lo?.kind !== 'ternary') continue;
      if ((BigInt(address) & lo.mask) === lo.value && (row.priority ?? 0) > (best?.priority ?? 0)) best = row;
    }
    return best?.params['class'] ?? 0n;
  }

  #find(table: string, values: Readonly<Record<string, bigint>>): Row | undefined {
    const match = Object.fromEntries(Object.entries(values).map(([name, value]) => [name, exact(value)]));
    return this.rows.get(rowKey({ table, match }));
  }
}

export { P4_DPDK_ORDER as TOY_ORDER };

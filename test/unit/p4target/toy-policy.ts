import { rowKey, type Row } from '../../../src/translators/rows';
import type { RowUpdate } from '../../../src/p4target/plan';
import type { RowTarget, UpdateOutcome } from '../../../src/p4target/row-target';
import { INFRAP4D_DPDK, type TargetTraits } from '../../../src/p4target/target-traits';
import { P4_DPDK_ORDER } from '../../../src/p4target/p4-dpdk/adapter';
import { status } from '@grpc/grpc-js';

/*
 * A toy of the whole: four addresses with labels, endpoints with a rule list over source and destination labels, and
 * the rows that a compiler would make of them (source step, destination step; nodes interned, never reused), on two pages that give
 * the labels other bits.
 * Small enough that every packet's verdict can be looked up after every single update.
 */

export interface Rule {
  readonly src?: number;
  readonly dst?: number;
  readonly allow: boolean;
}

export interface ToyState {
  /** By address 0..3: a bit set of labels; single addresses have rows in addr_labels. */
  readonly labels: readonly number[];
  /** By prefix `address >> 1`: labels of both addresses in it; a row of addr_labels_prefix unless there are none. */
  readonly prefixLabels: readonly number[];
  /** By endpoint: its rules; undefined where there is no such endpoint. */
  readonly programs: readonly (readonly Rule[] | undefined)[];
  /** By endpoint: the page that its program reads. The rows of a page that nobody reads are not there. */
  readonly pages: readonly Page[];
}

export type Page = 1 | 2;

/** By page and label, the bit: at the ends of words, and in several. */
const BITS: Readonly<Record<Page, readonly number[]>> = { 1: [0, 63, 511], 2: [64, 0, 448] };

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
    const read = new Set(state.pages.filter((_, ep) => state.programs[ep] !== undefined));
    const given = new Set([
      0,
      ...state.prefixLabels,
      ...ADDRESSES.map((address) => labelsOf(state, address)),
    ]);
    for (const page of read) {
      const prefixRow = (value: bigint, mask: bigint, labels: number): Row => ({
        table: 'addr_labels_prefix',
        match: { page: exact(BigInt(page)), hi: ternary(0n, 0n), lo: ternary(value, mask) },
        priority: mask === 0n ? 1 : 2,
        action: 'set_prefix_labels',
        params: words(bitsOf(page, labels)),
      });
      add(prefixRow(0n, 0n, 0));
      for (const [prefix, labels] of state.prefixLabels.entries()) {
        if (labels !== 0) add(prefixRow(BigInt(prefix << 1), 0xfffffffffffffffen, labels));
      }
      for (const address of ADDRESSES) {
        if (state.labels[address] === 0) continue;
        add({
          table: 'addr_labels',
          match: { page: exact(BigInt(page)), hi: exact(0n), lo: exact(BigInt(address)) },
          action: 'set_labels',
          params: words(bitsOf(page, labelsOf(state, address))),
        });
      }
    }
    for (const [ep, rules] of state.programs.entries()) {
      if (!rules) continue;
      const at: Compiling = { page: state.pages[ep]!, given, add };
      const root = this.#srcNode(rules, at);
      add({
        table: 'endpoint_root',
        match: { ep: exact(BigInt(ep)), direction: exact(1n) },
        action: 'root',
        params: {
          page: BigInt(at.page),
          node: root,
          d1: this.#dstNode(
            rules.filter((r) => r.src === undefined),
            at,
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

  #srcNode(rules: readonly Rule[], at: Compiling): bigint {
    const node = this.#id(`src ${at.page} ${JSON.stringify(rules)}`);
    const asked = labelsAsked(rules.map((r) => r.src));
    this.#mask('src', node, asked, at);
    const byDefault = this.#dstNode(
      rules.filter((r) => r.src === undefined),
      at,
    );
    for (const labels of new Set([...at.given].map((all) => all & asked))) {
      const rest = rules
        .filter((r) => has(labels, r.src))
        .map(({ dst, allow }) => (dst === undefined ? { allow } : { dst, allow }));
      const next = this.#dstNode(rest, at);
      if (next === byDefault) continue;
      at.add({
        table: 'step_src',
        match: { node: exact(node), ...exactWords(bitsOf(at.page, labels)) },
        action: 'src_next',
        params: { node: next, d1: this.#dstDefault(rest) },
      });
    }
    return node;
  }

  #dstNode(rules: readonly Rule[], at: Compiling): bigint {
    const clean = rules.map(({ dst, allow }) => (dst === undefined ? { allow } : { dst, allow }));
    const node = this.#id(`dst ${at.page} ${JSON.stringify(clean)}`);
    const asked = labelsAsked(clean.map((r) => r.dst));
    this.#mask('dst', node, asked, at);
    for (const labels of new Set([...at.given].map((all) => all & asked))) {
      const leaf = evaluate(clean, 0, labels) === 'allow' ? ALLOW : DENY;
      if (leaf === this.#dstDefault(clean)) continue;
      at.add({
        table: 'step_dst',
        match: { node: exact(node), ...exactWords(bitsOf(at.page, labels)) },
        action: 'dst_next',
        params: { node: leaf },
      });
    }
    // The default of a miss is content too: the toy keeps it beside the table.
    this.defaults.set(node, this.#dstDefault(clean));
    return node;
  }

  #mask(side: 'src' | 'dst', node: bigint, asked: number, at: Compiling): void {
    if (asked === 0) return;
    at.add({
      table: `${side}_mask`,
      match: { node: exact(node) },
      action: `ask_${side}`,
      params: words(bitsOf(at.page, asked)),
    });
  }

  /** Leaf that a miss at a destination node gives: what an address without labels gets. */
  readonly defaults = new Map<bigint, bigint>();

  #dstDefault(rules: readonly Rule[]): bigint {
    return evaluate(rules, 0, 0) === 'allow' ? ALLOW : DENY;
  }

  #id(content: string): bigint {
    const known = this.#ids.get(content);
    if (known !== undefined) return known;
    const made = this.#next++;
    this.#ids.set(content, made);
    return made;
  }
}

/** What the rows of a program depend on: its page, the labels that addresses have, where rows go. */
interface Compiling {
  readonly page: Page;
  readonly given: ReadonlySet<number>;
  readonly add: (row: Row) => void;
}

function labelsAsked(labels: readonly (number | undefined)[]): number {
  return labels.reduce<number>((all, label) => (label === undefined ? all : all | (1 << label)), 0);
}

function bitsOf(page: Page, labels: number): bigint {
  return BITS[page].reduce((bits, at, label) => (has(labels, label) ? bits | (1n << BigInt(at)) : bits), 0n);
}

function words(bits: bigint): Record<string, bigint> {
  return Object.fromEntries(
    Array.from({ length: 8 }, (_, i) => [`w${i}`, BigInt.asUintN(64, bits >> BigInt(64 * i))]),
  );
}

function exactWords(bits: bigint): Record<string, { kind: 'exact'; value: bigint }> {
  return Object.fromEntries(Object.entries(words(bits)).map(([name, word]) => [name, exact(word)]));
}

function exact(value: bigint): { kind: 'exact'; value: bigint } {
  return { kind: 'exact', value };
}

function ternary(value: bigint, mask: bigint): { kind: 'ternary'; value: bigint; mask: bigint } {
  return { kind: 'ternary', value, mask };
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
    const page = root.params['page']!;
    const step = this.#step('src', page, root.params['node']!, src);
    if (step === 'dropped') return 'shut';
    const dstNode = step ? step.params['node']! : root.params['d1']!;
    const last = this.#step('dst', page, dstNode, dst);
    if (last === 'dropped') return 'shut';
    const leaf = last ? last.params['node']! : defaults.get(dstNode)!;
    return leaf === ALLOW ? 'allow' : 'deny';
  }

  /** The row of the node that the address hits; undefined: the default. */
  #step(side: 'src' | 'dst', page: bigint, node: bigint, address: number): Row | 'dropped' | undefined {
    const mask = this.#find(`${side}_mask`, { node });
    if (!mask) return undefined;
    const labels = this.#labelsOf(page, address);
    if (!labels) return 'dropped';
    const names = Object.keys(mask.params);
    const left = Object.fromEntries(names.map((name) => [name, mask.params[name]! & labels[name]!]));
    return this.#find(`step_${side}`, { node, ...left });
  }

  #labelsOf(page: bigint, address: number): Row['params'] | undefined {
    const exactRow = this.#find('addr_labels', { page, hi: 0n, lo: BigInt(address) });
    if (exactRow) return exactRow.params;
    let best: Row | undefined;
    for (const row of this.rows.values()) {
      const lo = row.match['lo'];
      if (row.table !== 'addr_labels_prefix' || row.match['page']?.value !== page) continue;
      if (lo?.kind !== 'ternary' || (BigInt(address) & lo.mask) !== lo.value) continue;
      if ((row.priority ?? 0) > (best?.priority ?? 0)) best = row;
    }
    return best?.params;
  }

  #find(table: string, values: Readonly<Record<string, bigint>>): Row | undefined {
    const match = Object.fromEntries(Object.entries(values).map(([name, value]) => [name, exact(value)]));
    return this.rows.get(rowKey({ table, match }));
  }
}

export { P4_DPDK_ORDER as TOY_ORDER };

import { keyedRow, rowKey, type MatchValue } from '../rows';
import type { Contents } from './contents';
import { createIdSpace, type IdSpace } from './ids';
import type { IntervalSet } from './intervals';
import { prefixesOf, rangesOf } from './intervals';
import { NO_MEMORY, type NumberMemory } from './number-memory';
import type { RowStore } from './row-store';
import { wordsOfBits, type Words } from './words';

/**
 * What nodes ask of ports: a label is a set of ports, and dport_labels (or sport_labels) says which labels a port has. As for
 * addresses, labels are bits of a page (pages.ts), 256 of them for each protocol; the mask of a node names its page. The sets are those
 * that nodes make (branch-values.ts), and come and go with them.
 */
export interface PortLabels {
  /** For the node with this number, which begins to ask; 16 sets at most. */
  take(protocol: number, sets: readonly IntervalSet[], node: number): PortMask;
  /** For a node that is gone. */
  release(mask: PortMask): void;
  /** Brings the rows to what is taken now. */
  update(): void;
  /** The target holds exactly the rows of the last update: bits that were released may get another meaning. */
  settle(): void;
}

/** The labels of one node. */
export interface PortMask {
  readonly node: number;
  readonly protocol: number;
  readonly page: number;
  readonly sets: readonly IntervalSet[];
  /** Of some of `sets`, by their places. */
  words(which: Iterable<number>): Words;
}

/** Words of 64 bits in a row of dport_labels and sport_labels. */
export const PORT_WORDS = 4;
const PAGE_BITS = 64 * PORT_WORDS;
/** No two protocols have a page of the same number, so that a mask tells by its page which ports it is about. */
const PAGES_OF_A_PROTOCOL = 0x10000;
/** Of a protocol, that are remembered: more than the tables hold masks for. */
const PAGES_MAX = 1024;

interface PortPage {
  readonly protocol: number;
  readonly number: number;
  readonly ids: IdSpace;
  readonly bits: Map<IntervalSet, { readonly bit: number; uses: number }>;
  /** Bits by what they are remembered for. What nobody has asked for yet is kept from others all the same. */
  readonly waiting: Map<string, number>;
  /** The words of each row, as text. */
  rows: Map<string, string>;
}

/** Without `contents` nothing is remembered. */
export function createPortLabels(
  which: 'dport' | 'sport',
  rows: RowStore,
  memory: NumberMemory = NO_MEMORY,
  contents?: Contents,
): PortLabels {
  const pages = new Map<number, PortPage[]>();
  const dirty = new Set<PortPage>();
  let leaving: { readonly page: PortPage; readonly bit: number }[] = [];

  /** All or nothing. */
  const takeIn = (page: PortPage, sets: readonly IntervalSet[]): boolean => {
    const missing = sets.filter((set) => !page.bits.has(set));
    const taken: number[] = [];
    const names = missing.map((set) => contents?.ports(set) ?? '');
    for (const name of names) {
      const bit = page.waiting.get(name) ?? page.ids.take();
      if (bit === undefined) {
        taken.forEach((back, i) => {
          if (page.waiting.get(names[i]!) !== back) page.ids.release(back);
        });
        return false;
      }
      taken.push(bit);
    }
    missing.forEach((set, i) => {
      const [bit, name] = [taken[i]!, names[i]!];
      page.bits.set(set, { bit, uses: 0 });
      page.waiting.delete(name);
      if (contents !== undefined) memory.note(which, page.number * PAGE_BITS + bit, name);
    });
    if (missing.length > 0) dirty.add(page);
    for (const set of sets) page.bits.get(set)!.uses++;
    return true;
  };

  const openOf = (protocol: number): PortPage[] => {
    let open = pages.get(protocol);
    if (open === undefined) {
      open = [];
      pages.set(protocol, open);
    }
    return open;
  };

  const openPage = (protocol: number): PortPage => {
    const open = openOf(protocol);
    const page: PortPage = {
      protocol,
      number: PAGES_OF_A_PROTOCOL * protocol + open.length + 1,
      ids: createIdSpace(0, PAGE_BITS - 1),
      bits: new Map(),
      waiting: new Map(),
      rows: new Map(),
    };
    open.push(page);
    return page;
  };

  for (const [key, content] of memory.remembered(which)) {
    const [number, bit] = [Math.floor(key / PAGE_BITS), key % PAGE_BITS];
    const [protocol, place] = [Math.floor(number / PAGES_OF_A_PROTOCOL), number % PAGES_OF_A_PROTOCOL];
    if (place === 0 || place > PAGES_MAX) continue;
    while (openOf(protocol).length < place) openPage(protocol);
    const page = openOf(protocol)[place - 1]!;
    if (!page.ids.claim(bit)) continue;
    const twin = page.waiting.get(content);
    if (twin !== undefined) leaving.push({ page, bit: twin });
    page.waiting.set(content, bit);
  }
  /** The page of a node's mask, where it is not the first that has room. */
  const pageOf = `${which}-page` as const;

  return {
    take(protocol, sets, node) {
      const open = openOf(protocol);
      const before = memory.remembered(pageOf).get(node);
      const remembered = before === undefined ? [] : open.filter(({ number }) => number === Number(before));
      let page = [...remembered, ...open].find((candidate) => takeIn(candidate, sets));
      if (page === undefined) {
        page = openPage(protocol);
        takeIn(page, sets);
      }
      const { bits, number } = page;
      if (page !== open[0] && contents !== undefined) memory.note(pageOf, node, String(number));
      const own = sets.map((set) => bits.get(set)!.bit);
      return {
        node,
        protocol,
        page: number,
        sets,
        words: (places) =>
          wordsOfBits(
            PORT_WORDS,
            [...places].map((place) => own[place]!),
          ),
      };
    },
    release({ protocol, page: number, sets, node }) {
      const page = pages.get(protocol)!.find((open) => open.number === number)!;
      memory.drop(pageOf, node);
      for (const set of sets) {
        const held = page.bits.get(set)!;
        if (--held.uses > 0) continue;
        page.bits.delete(set);
        leaving.push({ page, bit: held.bit });
        dirty.add(page);
      }
    },
    update() {
      for (const page of dirty) page.rows = writePage(which, page, rows);
      dirty.clear();
    },
    settle() {
      for (const page of [...pages.values()].flat()) {
        for (const bit of page.waiting.values()) leaving.push({ page, bit });
        page.waiting.clear();
      }
      for (const { page, bit } of leaving) {
        page.ids.release(bit);
        memory.drop(which, page.number * PAGE_BITS + bit);
      }
      leaving = [];
    },
  };
}

/** Rows that stay what they are are left alone. */
function writePage(which: 'dport' | 'sport', page: PortPage, rows: RowStore): Map<string, string> {
  const written = new Map<string, string>();
  const number: MatchValue = { kind: 'exact', value: BigInt(page.number) };
  const proto: MatchValue = { kind: 'exact', value: BigInt(page.protocol) };
  for (const { first, last, bits } of cutAt(page.bits)) {
    if (bits.length === 0) continue;
    const text = bits.join();
    const params = wordsOfBits(PORT_WORDS, bits);
    for (const { value, prefixLen } of prefixesOf(first, last)) {
      const row = {
        table: `${which}_labels`,
        match: { page: number, proto, port: { kind: 'lpm' as const, value: BigInt(value), prefixLen } },
        action: `set_${which}_labels`,
        params,
      };
      const key = rowKey(row);
      written.set(key, text);
      if (page.rows.get(key) !== text) rows.set(key, keyedRow(key, row));
    }
  }
  for (const key of page.rows.keys()) if (!written.has(key)) rows.delete(key);
  return written;
}

interface Cut {
  readonly first: number;
  readonly last: number;
  /** Of the sets that it is in, sorted. */
  readonly bits: readonly number[];
}

/** The ports in order, cut wherever a set begins or ends. */
function* cutAt(sets: ReadonlyMap<IntervalSet, { readonly bit: number }>): Iterable<Cut> {
  const turns: { readonly port: number; readonly bit: number; readonly begins: boolean }[] = [];
  for (const [set, { bit }] of sets) {
    for (const { first, last } of rangesOf(set)) {
      turns.push({ port: first, bit, begins: true }, { port: last + 1, bit, begins: false });
    }
  }
  turns.sort((a, b) => a.port - b.port);
  const inside = new Set<number>();
  for (let i = 0; i < turns.length;) {
    const { port } = turns[i]!;
    for (; turns[i]?.port === port; i++) {
      const { bit, begins } = turns[i]!;
      if (begins) inside.add(bit);
      else inside.delete(bit);
    }
    const next = turns[i]?.port;
    if (next !== undefined) {
      yield { first: port, last: next - 1, bits: [...inside].sort((a, b) => a - b) };
    }
  }
}

import { exact, type MatchValue } from '../rows';
import type { AddressClass, AddressClasses } from './address-classes';
import type { Diagram } from './diagram';
import type { Branch, Node } from './diagram-node';
import type { Intervals, IntervalSet } from './intervals';
import { PORT_MAX, rangesOf } from './intervals';
import type { Page } from './pages';
import type { PortMask } from './port-labels';
import { wordsOf, type Words } from './words';

/** What a packet can bring that may lead elsewhere than a branch's fallback, and how a row asks for it. */
export interface BranchValue {
  readonly table: string;
  readonly action: string;
  /** Key fields but `node`, as in rowKey: `port=50`. */
  readonly keyText: string;
  /** Likewise. */
  readonly fields: Readonly<Record<string, MatchValue>>;
  readonly child: Node;
}

/** Addresses that are one to a branch: equal in the labels that it asks for. */
export interface Signature {
  readonly key: SignatureKey;
  /** Any class of them. */
  readonly like: AddressClass;
  /** How many classes. */
  count: number;
}

/** Which of the branch's labels: a number with a bit for each, in their order; where they are too many, their names. */
export type SignatureKey = number | string;

/** Numbers are exact up to 2^53. */
const NUMBER_MAX = 53;

export function signatureOf({ labels, labelSet }: Branch, { labels: own }: AddressClass): SignatureKey {
  if (labels.length > NUMBER_MAX) return own.filter((label) => labelSet.has(label)).join();
  let key = 0;
  // Both are sorted.
  let i = 0;
  for (const label of own) {
    while (i < labels.length && labels[i]! < label) i++;
    if (labels[i] === label) key += 2 ** i;
  }
  return key;
}

/** Of all classes that have a label which the branch asks for. */
export function signaturesOf(branch: Branch, classes: AddressClasses): Map<SignatureKey, Signature> {
  const found = new Map<SignatureKey, Signature>();
  const count = (key: SignatureKey, like: AddressClass): void => {
    const known = found.get(key);
    if (known === undefined) found.set(key, { key, like, count: 1 });
    else known.count++;
  };
  if (branch.labels.length > NUMBER_MAX) {
    const asked = new Set(branch.labels.flatMap((label) => [...classes.slotsWith(label)]));
    for (const slot of asked) count(signatureOf(branch, classes.at(slot)), classes.at(slot));
    return found;
  }
  // The loop over all members of all sets, once for each branch: numbers by slot are many times quicker than a map.
  if (KEYS.length < classes.slots) KEYS = new Float64Array(2 * classes.slots);
  const keys = KEYS;
  const met: number[] = [];
  branch.labels.forEach((label, i) => {
    const bit = 2 ** i;
    for (const slot of classes.slotsWith(label)) {
      const before = keys[slot]!;
      if (before === 0) met.push(slot);
      keys[slot] = before + bit;
    }
  });
  for (const slot of met) {
    count(keys[slot]!, classes.at(slot));
    keys[slot] = 0;
  }
  return found;
}

/** For signaturesOf, by slot; all zero but while it runs. */
let KEYS = new Float64Array(0);

/** A row for the addresses of a signature. */
export function labelsValue(diagram: Diagram, branch: Branch, page: Page, { like }: Signature): BranchValue {
  const own = like.labels.filter((label) => branch.labelSet.has(label));
  return {
    table: branch.level === 0 ? 'step_src' : 'step_dst',
    action: branch.level === 0 ? 'src_next' : 'dst_next',
    ...wordFields(wordsOf(page, own)),
    child: diagram.atAddress(branch, like),
  };
}

export function protocolValues(diagram: Diagram, branch: Branch): readonly BranchValue[] {
  return diagram.protocolsOf(branch).map((protocol) => ({
    table: 'step_proto',
    action: 'proto_next',
    keyText: `value=${protocol.toString(16)}`,
    fields: { value: exact(BigInt(protocol)) },
    child: diagram.atProtocol(branch, protocol),
  }));
}

/** What a branch asks of ports, from its own rules alone. */
export interface PortQuestions {
  /** Labels: for each bit of the number of a range's child, the ports of all ranges whose child has that bit. */
  readonly sets: readonly IntervalSet[];
  /** Child 0 is the fallback, and is left out. */
  readonly ranges: readonly { readonly number: number; readonly child: Node }[];
  /** Single ports that lead elsewhere than the range they are in. */
  readonly singles: readonly { readonly port: number; readonly child: Node }[];
}

/**
 * Single ports of a rule, and single ports that a rule leaves out of a range, are asked for one by one (step_dport), everything else by
 * labels. The children that ranges lead to are numbered in the order of their ports, and a label is one bit of the number: a
 * node needs as few labels as it can tell children apart.
 */
export function portQuestions(diagram: Diagram, intervals: Intervals, branch: Branch): PortQuestions {
  const sets = [...new Set(diagram.portSetsOf(branch))];
  const singles = new Set<number>();
  const turns = new Set([0]);
  for (const set of sets) {
    const parts = partsOf(set);
    for (const port of parts.singles) singles.add(port);
    for (const { first, last } of parts.ranges) turns.add(first).add(last + 1);
  }
  const starts = [...turns].filter((port) => port <= PORT_MAX).sort((a, b) => a - b);
  const fallback = diagram.fallback(branch);
  const numbers = new Map<Node, number>([[fallback, 0]]);
  const members: Segment[][] = [];
  const apart: { readonly port: number; readonly child: Node }[] = [];
  const sorted = [...singles].sort((a, b) => a - b);
  let at = 0;
  starts.forEach((first, i) => {
    const last = (starts[i + 1] ?? PORT_MAX + 1) - 1;
    const own: number[] = [];
    for (; at < sorted.length && sorted[at]! <= last; at++) own.push(sorted[at]!);
    // Where a range is nothing but single ports, nobody else asks.
    const generic = firstWithout(first, last, own);
    const child = generic === undefined ? fallback : diagram.atPort(branch, generic);
    for (const port of own) {
      const single = diagram.atPort(branch, port);
      if (single !== child) apart.push({ port, child: single });
    }
    const number = numbers.get(child) ?? numbers.size;
    numbers.set(child, number);
    for (let bit = 0; number >> bit > 0; bit++) {
      if (((number >> bit) & 1) === 1) (members[bit] ??= []).push({ first, last });
    }
  });
  return {
    sets: members.map((segments) => intervals.of(segments)),
    ranges: [...numbers].slice(1).map(([child, number]) => ({ number, child })),
    singles: apart,
  };
}

interface Segment {
  readonly first: number;
  readonly last: number;
}

/** Sorted `without` are ports of first..last. */
function firstWithout(first: number, last: number, without: readonly number[]): number | undefined {
  let port = first;
  for (const taken of without) if (taken === port) port++;
  return port <= last ? port : undefined;
}

/** A set as ranges, and the ports in which it differs from them: single ports of it, and those missing between two of its ranges. */
function partsOf(set: IntervalSet): {
  readonly ranges: readonly Segment[];
  readonly singles: readonly number[];
} {
  const all = rangesOf(set);
  const wide = all.filter(({ first, last }) => first < last);
  const ranges: { readonly first: number; last: number }[] = [];
  const holes: number[] = [];
  for (const { first, last } of wide) {
    const before = ranges[ranges.length - 1];
    if (before?.last === first - 2) {
      holes.push(first - 1);
      before.last = last;
    } else ranges.push({ first, last });
  }
  return {
    ranges,
    singles: [...all.filter(({ first, last }) => first === last).map(({ first }) => first), ...holes],
  };
}

export function singleValues(level: 3 | 4, { singles }: PortQuestions): readonly BranchValue[] {
  const which = level === 3 ? 'dport' : 'sport';
  return singles.map(({ port, child }) => ({
    table: `step_${which}`,
    action: `${which}_next`,
    keyText: `port=${port.toString(16)}`,
    fields: { port: exact(BigInt(port)) },
    child,
  }));
}

export function rangeValues(level: 3 | 4, { ranges }: PortQuestions, mask: PortMask): readonly BranchValue[] {
  const which = level === 3 ? 'dport' : 'sport';
  return ranges.map(({ number, child }) => ({
    table: `step_${which}_range`,
    action: `${which}_range_next`,
    ...wordFields(mask.words(mask.sets.flatMap((_, bit) => (((number >> bit) & 1) === 1 ? [bit] : [])))),
    child,
  }));
}

function wordFields(words: Words): Pick<BranchValue, 'keyText' | 'fields'> {
  const fields = Object.entries(words);
  return {
    keyText: fields.map(([name, word]) => `${name}=${word.toString(16)}`).join(),
    fields: Object.fromEntries(fields.map(([name, value]) => [name, exact(value)])),
  };
}

import { sameContent, type Row } from '../translators/rows';
import type { RowsByTable } from './row-tracker';
import type { WriteOrder } from './write-order';

/** A node as one that is asked by a value: which bits of the value it looks at, and which of its rows answer. */
export interface Asker {
  /** -1n: the whole value. */
  readonly mask: bigint;
  /** By masked value. What has no row takes the node's default. */
  readonly answers: ReadonlyMap<bigint, Row>;
}

/**
 * A value that changes, from one to the other or back. `undefined` is a look-up that fails and has the packet dropped.
 */
export interface Move {
  readonly from: bigint | undefined;
  readonly to: bigint | undefined;
}

/** Every bit of a value. */
const WHOLE = -1n;

/**
 * The nodes that are asked by values of `space`, with the rows that they have in `states` together. In a space with masks these
 * are the nodes that have one: where a node has none, the packet takes its default without a look-up.
 *
 * @param only leaves out all other nodes
 */
export function askersOf(
  space: string,
  order: WriteOrder,
  states: readonly RowsByTable[],
  only?: ReadonlySet<bigint>,
): Map<bigint, Asker> {
  const askers = new Map<bigint, { mask: bigint; answers: Map<bigint, Row> }>();
  const tables = order.tables.filter((table) => table.role === 'node' && table.space === space);
  const masked = tables.some((table) => table.masks === true);
  const visit = (masks: boolean, use: (node: bigint, row: Row) => void): void => {
    for (const { table } of tables.filter((each) => (each.masks === true) === masks)) {
      for (const state of states) {
        for (const row of state.get(table)?.values() ?? []) {
          const node = order.partOf(row);
          if (only === undefined || only.has(node)) use(node, row);
        }
      }
    }
  };
  visit(true, (node, row) => askers.set(node, { mask: order.value(row), answers: new Map() }));
  visit(false, (node, row) => {
    let asker = askers.get(node);
    if (asker === undefined) {
      if (masked) return;
      asker = { mask: WHOLE, answers: new Map() };
      askers.set(node, asker);
    }
    asker.answers.set(order.value(row), row);
  });
  return askers;
}

/** Whether packets go different ways at the node for the two ends of the move. */
export function minds({ mask, answers }: Asker, { from, to }: Move): boolean {
  if (from === undefined || to === undefined) return from !== to;
  const [a, b] = [from & mask, to & mask];
  if (a === b) return false;
  const [rowA, rowB] = [answers.get(a), answers.get(b)];
  if (rowA === undefined || rowB === undefined) return rowA !== rowB;
  return !sameContent(rowA, rowB);
}

/** The nodes that mind one of `moves`; undefined when finding out takes more than `effort` comparisons. */
export function nodesThatMind(
  askers: ReadonlyMap<bigint, Asker>,
  moves: readonly Move[],
  effort: number,
): ReadonlySet<bigint> | undefined {
  // Many nodes have one mask, and most masks have nothing to do with most moves.
  const byBit = movesByBit(moves);
  const byMask = new Map<bigint, readonly Move[]>();
  const minding = new Set<bigint>();
  let left = effort;
  for (const [node, asker] of askers) {
    let seen = byMask.get(asker.mask);
    if (seen === undefined) {
      const candidates = asker.mask === WHOLE ? moves : movesUnder(asker.mask, byBit);
      left -= candidates.length;
      seen = movesSeen(candidates, asker.mask);
      byMask.set(asker.mask, seen);
    }
    left -= seen.length;
    if (left < 0) return undefined;
    if (seen.some((move) => minds(asker, move))) minding.add(node);
  }
  return minding;
}

interface MovesByBit {
  /** By the position of a bit that changes. */
  readonly bits: ReadonlyMap<number, readonly Move[]>;
  /** To or from being dropped: every node has to do with these. */
  readonly always: readonly Move[];
}

function movesByBit(moves: readonly Move[]): MovesByBit {
  const bits = new Map<number, Move[]>();
  const always: Move[] = [];
  for (const move of moves) {
    const { from, to } = move;
    if (from === undefined || to === undefined) {
      if (from !== to) always.push(move);
      continue;
    }
    for (const bit of bitsOf(from ^ to)) {
      const known = bits.get(bit);
      if (known === undefined) bits.set(bit, [move]);
      else known.push(move);
    }
  }
  return { bits, always };
}

function movesUnder(mask: bigint, { bits, always }: MovesByBit): readonly Move[] {
  return [...always, ...bitsOf(mask).flatMap((bit) => bits.get(bit) ?? [])];
}

/** Positions of the bits that are set. */
function bitsOf(value: bigint): readonly number[] {
  const bits: number[] = [];
  for (let rest = value, at = 0; rest !== 0n; rest >>= 32n, at += 32) {
    for (let word = Number(rest & 0xffff_ffffn), bit = 0; word !== 0; word >>>= 1, bit++) {
      if ((word & 1) === 1) bits.push(at + bit);
    }
  }
  return bits;
}

/** What is left of `moves` behind a mask, each only once. */
function movesSeen(moves: readonly Move[], mask: bigint): readonly Move[] {
  const known = new Map<bigint, Set<bigint>>();
  return moves.flatMap((move) => {
    const { from, to } = move;
    if (from === undefined || to === undefined) return [move];
    const [a, b] = [from & mask, to & mask];
    if (a === b) return [];
    const others = known.get(a);
    if (others === undefined) known.set(a, new Set([b]));
    else if (others.has(b)) return [];
    else others.add(b);
    return [{ from: a, to: b }];
  });
}

import { sameContent, type Row } from '../translators/rows';
import type { RowsByTable } from './row-tracker';
import type { WriteOrder } from './write-order';

/** A node as one that is asked by a value: which bits of the value it looks at, and which of its rows answer. */
export interface Asker {
  readonly mask: bigint;
  /** The page that it reads; undefined: not known. */
  readonly page: bigint | undefined;
  /** By masked value. What has no row takes the node's default. */
  readonly answers: ReadonlyMap<bigint, Row>;
}

/**
 * A value that changes, from one to the other or back. `undefined` is a look-up that fails and has the packet dropped.
 */
export interface Move {
  readonly page: bigint | undefined;
  readonly from: bigint | undefined;
  readonly to: bigint | undefined;
}

/**
 * The nodes that are asked by values of `space`: those that have a mask, with the rows that they have in `states` together.
 *
 * @param only leaves out all other nodes
 */
export function askersOf(
  space: string,
  order: WriteOrder,
  states: readonly RowsByTable[],
  only?: ReadonlySet<bigint>,
): Map<bigint, Asker> {
  const askers = new Map<bigint, Asker & { readonly answers: Map<bigint, Row> }>();
  const visit = (masks: boolean, use: (node: bigint, row: Row) => void): void => {
    for (const table of order.tables) {
      if (table.role !== 'node' || table.space !== space || (table.masks === true) !== masks) continue;
      for (const state of states) {
        for (const row of state.get(table.table)?.values() ?? []) {
          const node = order.partOf(row);
          if (only === undefined || only.has(node)) use(node, row);
        }
      }
    }
  };
  visit(true, (node, row) =>
    askers.set(node, { mask: order.value(row), page: order.page(row), answers: new Map() }),
  );
  visit(false, (node, row) => askers.get(node)?.answers.set(order.value(row), row));
  return askers;
}

/** A value of this page may meet the node. */
export function reads({ page: own }: Asker, page: bigint | undefined): boolean {
  return own === undefined || page === undefined || own === page;
}

/** Whether packets go different ways at the node for the two ends of the move. */
export function minds({ mask, answers }: Asker, { from, to }: Pick<Move, 'from' | 'to'>): boolean {
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
  const byPage = new Map<bigint | undefined, MovesByBit>();
  const byMask = new Map<string, readonly Move[]>();
  const minding = new Set<bigint>();
  let left = effort;
  for (const [node, asker] of askers) {
    const { mask, page } = asker;
    const key = `${page}/${mask}`;
    let seen = byMask.get(key);
    if (seen === undefined) {
      let byBit = byPage.get(page);
      if (byBit === undefined) {
        byBit = movesByBit(moves.filter((move) => reads(asker, move.page)));
        byPage.set(page, byBit);
      }
      const candidates = movesUnder(mask, byBit);
      left -= candidates.length;
      seen = movesSeen(candidates, mask);
      byMask.set(key, seen);
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
    const { page, from, to } = move;
    if (from === undefined || to === undefined) return [move];
    const [a, b] = [from & mask, to & mask];
    if (a === b) return [];
    const others = known.get(a);
    if (others === undefined) known.set(a, new Set([b]));
    else if (others.has(b)) return [];
    else others.add(b);
    return [{ page, from: a, to: b }];
  });
}

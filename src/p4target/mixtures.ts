import { rowContent, rowKey, type Row } from '../translators/rows';
import { addNodesReaching } from './hazards';
import type { Delta, RowsByTable } from './row-tracker';
import { specificity, tablesOf, type WriteOrder } from './write-order';

/*
 * A verdict hangs on several rows: the values of both addresses, the gate of the sender and the gate of the receiver. They change one
 * by one. When two of them change in one update, a packet in between may meet the old one of the first and the new one of the
 * second, and so be let through though neither state lets it through. The gates found here are shut meanwhile.
 */

/** Keys of rows of `actual` gate tables. */
export interface MixtureHolds {
  /** To be shut before the selectors change, and opened with the gates. */
  readonly duringSelectors: ReadonlySet<string>;
  /** To be shut before the gates flip: gates of senders, while those of receivers flip. */
  readonly duringGates: ReadonlySet<string>;
}

/** Comparisons beyond which everything is taken to be concerned: closed is always right. */
const EFFORT_MAX = 5_000_000;

export function gatesOfMixtures(
  delta: Delta,
  actual: RowsByTable,
  desired: RowsByTable,
  order: WriteOrder,
): MixtureHolds {
  const gateTables = new Set(tablesOf(order, 'gate'));
  const flips = delta.modifies.filter(({ to }) => gateTables.has(to.table)).map(({ from }) => from);
  const ofSender = (row: Row): boolean => order.judges(row) === 'sender';
  const senders = flips.filter(ofSender);
  const receiversFlip = senders.length < flips.length;

  const duringGates = new Set(receiversFlip ? senders.map(rowKey) : []);
  const duringSelectors = new Set<string>();
  const own = ownAddressesThatMove(delta, actual, desired, order);
  // One row can not mix with itself, and who has no own address here is seen by one gate only.
  if (flips.length === 0 && own < 2) return { duringSelectors, duringGates };
  const minding = gatesMinding(delta, actual, desired, order);
  if (minding.length === 0) return { duringSelectors, duringGates };

  const mind = new Set(minding.map(rowKey));
  for (const gate of flips) if (mind.has(rowKey(gate))) duringSelectors.add(rowKey(gate));
  const receiversMind = minding.some((gate) => !ofSender(gate));
  if (own >= 1 && receiversMind) for (const gate of senders) duringSelectors.add(rowKey(gate));
  if ((own >= 1 && receiversFlip) || (own >= 2 && receiversMind)) {
    for (const gate of minding) if (ofSender(gate)) duringSelectors.add(rowKey(gate));
  }
  return { duringSelectors, duringGates };
}

/** Addresses that endpoints here have and whose value changes; two stands for more. */
function ownAddressesThatMove(
  delta: Delta,
  actual: RowsByTable,
  desired: RowsByTable,
  order: WriteOrder,
): number {
  const selectors = new Set(tablesOf(order, 'selector'));
  const own = new Set<string>();
  for (const table of tablesOf(order, 'path')) {
    for (const state of [actual, desired]) {
      for (const row of state.get(table)?.values() ?? []) {
        const address = order.address(row);
        if (address !== undefined) own.add(address);
      }
    }
  }
  let count = 0;
  for (const row of [...delta.inserts, ...delta.modifies.map((m) => m.to), ...delta.deletes]) {
    if (!selectors.has(row.table)) continue;
    const address = order.address(row);
    if (address === 'many') count += 2;
    else if (address !== undefined && own.has(address)) count++;
    if (count >= 2) break;
  }
  return count;
}

/** Open gates whose verdict on some packet changes when selector rows do and the gate does not. */
function gatesMinding(delta: Delta, actual: RowsByTable, desired: RowsByTable, order: WriteOrder): Row[] {
  const gates = tablesOf(order, 'gate').flatMap((table) => [...(actual.get(table)?.values() ?? [])]);
  const moves = movesOf(delta, actual, desired, order);
  if (moves === undefined) return gates;
  if (moves.size === 0) return [];
  const minding = new Set<bigint>();
  for (const table of tablesOf(order, 'node')) {
    const nodes = new Map<bigint, Map<string, Row>>();
    // New rows of old nodes are there before the selectors change, and the old ones stay until after.
    for (const state of [actual, desired]) {
      for (const row of state.get(table)?.values() ?? []) {
        const value = order.asks(row);
        if (!moves.has(value)) continue;
        const node = order.partOf(row);
        const rows = nodes.get(node);
        if (rows === undefined) nodes.set(node, new Map([[value, row]]));
        else rows.set(value, row);
      }
    }
    for (const [node, rows] of nodes) if (tellsApart(rows, moves)) minding.add(node);
  }
  if (minding.size === 0) return [];
  addNodesReaching(minding, order, [actual, desired]);
  return gates.filter((gate) => order.names(gate).some((node) => minding.has(node)));
}

function tellsApart(
  rows: ReadonlyMap<string, Row>,
  moves: ReadonlyMap<string, ReadonlySet<string>>,
): boolean {
  for (const [value, row] of rows) {
    for (const other of moves.get(value)!) {
      const there = rows.get(other);
      if (there === undefined || rowContent(there) !== rowContent(row)) return true;
    }
  }
  return false;
}

/** For each value that something moves from or to, the values at the other ends. Undefined when it is too much to find out. */
function movesOf(
  delta: Delta,
  actual: RowsByTable,
  desired: RowsByTable,
  order: WriteOrder,
): ReadonlyMap<string, ReadonlySet<string>> | undefined {
  const selectors = tablesOf(order, 'selector');
  const moves = new Map<string, Set<string>>();
  const add = (a: string, b: string): void => {
    if (a === b) return;
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const) {
      const known = moves.get(from);
      if (known === undefined) moves.set(from, new Set([to]));
      else known.add(to);
    }
  };
  for (const { from, to } of delta.modifies) {
    if (selectors.includes(to.table)) add(order.gives(from), order.gives(to));
  }
  let effort = 0;
  const sides = [
    { rows: delta.inserts, state: actual },
    { rows: delta.deletes, state: desired },
  ];
  for (const { rows, state } of sides) {
    const wide = new Map<string, readonly Row[]>();
    for (const row of rows) {
      const at = selectors.indexOf(row.table);
      if (at < 0) continue;
      const value = order.gives(row);
      const space = value.slice(0, value.lastIndexOf(':'));
      let instead = `${space}:0`;
      for (const table of selectors.slice(at)) {
        const candidates = wide.get(table) ?? mostSpecificFirst(state, table);
        wide.set(table, candidates);
        if (candidates[0] === undefined || !order.gives(candidates[0]).startsWith(`${space}:`)) continue;
        if (table === row.table && specificity(row) === 0 && row.priority === undefined && isExact(row))
          continue;
        effort += candidates.length;
        if (effort > EFFORT_MAX) return undefined;
        const found = candidates.find(
          (other) =>
            (table !== row.table || specificity(other) < specificity(row)) && order.contains(other, row),
        );
        if (found !== undefined) {
          instead = order.gives(found);
          break;
        }
      }
      add(value, instead);
    }
  }
  return moves;
}

function isExact(row: Row): boolean {
  return Object.values(row.match).every((match) => match.kind === 'exact');
}

function mostSpecificFirst(state: RowsByTable, table: string): readonly Row[] {
  return [...(state.get(table)?.values() ?? [])].sort((a, b) => specificity(b) - specificity(a));
}

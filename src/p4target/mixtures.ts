import { rowKey, type Row } from '../translators/rows';
import { askersOf, nodesThatMind, type Move } from './askers';
import { addNodesReaching } from './hazards';
import { isOfChangedPage, type PageChanges } from './pages';
import type { Delta, RowsByTable } from './row-tracker';
import { selectorsOf, spacesOf, specificity, tablesOf, type WriteOrder } from './write-order';

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
  pages: PageChanges,
): MixtureHolds {
  const gateTables = new Set(tablesOf(order, 'gate'));
  const flips = delta.modifies.filter(({ to }) => gateTables.has(to.table)).map(({ from }) => from);
  const ofSender = (row: Row): boolean => order.judges(row) === 'sender';
  const senders = flips.filter(ofSender);
  const receiversFlip = senders.length < flips.length;

  const duringGates = new Set(receiversFlip ? senders.map(rowKey) : []);
  const duringSelectors = new Set<string>();
  if (!selectorsMove(delta, order, pages)) return { duringSelectors, duringGates };
  // One row can not mix with itself, and who has no own address here is seen by one gate only.
  if (flips.length === 0 && addressesThatMove(delta, order, pages, () => true) < 2)
    return { duringSelectors, duringGates };
  const mine = ownAddresses(actual, desired, order);
  const own = addressesThatMove(delta, order, pages, (address) => mine.has(address));
  if (flips.length === 0 && own < 2) return { duringSelectors, duringGates };
  const minding = gatesMinding(delta, actual, desired, order, pages);
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

/** Addresses that endpoints here have. */
function ownAddresses(actual: RowsByTable, desired: RowsByTable, order: WriteOrder): ReadonlySet<string> {
  const own = new Set<string>();
  for (const table of tablesOf(order, 'path')) {
    for (const state of [actual, desired]) {
      for (const row of state.get(table)?.values() ?? []) {
        const address = order.address(row);
        if (address !== undefined) own.add(address);
      }
    }
  }
  return own;
}

/** Whether look-ups give anything else than they did. */
function selectorsMove(delta: Delta, order: WriteOrder, pages: PageChanges): boolean {
  const selectors = new Set(tablesOf(order, 'selector'));
  const moves = (row: Row): boolean => selectors.has(row.table) && !isOfChangedPage(pages, row, order);
  return delta.inserts.some(moves) || delta.modifies.some(({ to }) => moves(to)) || delta.deletes.some(moves);
}

/** Addresses that count and whose value changes; two stands for more. */
function addressesThatMove(
  delta: Delta,
  order: WriteOrder,
  pages: PageChanges,
  counts: (address: string) => boolean,
): number {
  const selectors = new Set(tablesOf(order, 'selector'));
  let count = 0;
  for (const row of [...delta.inserts, ...delta.modifies.map((m) => m.to), ...delta.deletes]) {
    if (!selectors.has(row.table) || isOfChangedPage(pages, row, order)) continue;
    const address = order.address(row);
    if (address === 'many') count += 2;
    else if (address !== undefined && counts(address)) count++;
    if (count >= 2) break;
  }
  return count;
}

/** Open gates whose verdict on some packet changes when selector rows do and the gate does not. */
function gatesMinding(
  delta: Delta,
  actual: RowsByTable,
  desired: RowsByTable,
  order: WriteOrder,
  pages: PageChanges,
): Row[] {
  const gates = tablesOf(order, 'gate').flatMap((table) => [...(actual.get(table)?.values() ?? [])]);
  const minding = new Set<bigint>();
  for (const space of spacesOf(order)) {
    const moves = movesOf(space, delta, actual, desired, order, pages);
    if (moves?.length === 0) continue;
    // New rows of old nodes are there before the selectors change, and the old ones stay until after.
    const nodes = moves && nodesThatMind(askersOf(space, order, [actual, desired]), moves, EFFORT_MAX);
    if (nodes === undefined) return gates;
    for (const node of nodes) minding.add(node);
  }
  if (minding.size === 0) return [];
  addNodesReaching(minding, order, [actual, desired]);
  return gates.filter((gate) => order.names(gate).some((node) => minding.has(node)));
}

/** What look-ups in a space give before and after, where that differs. Undefined when it is too much to find out. */
export function movesOf(
  space: string,
  delta: Delta,
  actual: RowsByTable,
  desired: RowsByTable,
  order: WriteOrder,
  pages: PageChanges,
): readonly Move[] | undefined {
  const selectors = selectorsOf(order, space);
  const moves: Move[] = [];
  const known = new Map<bigint | undefined, Set<string>>();
  const add = (row: Row, from: bigint | undefined, to: bigint | undefined): void => {
    if (from === to) return;
    const page = order.page(row);
    const key = `${page} ${to}`;
    const others = known.get(from);
    if (others === undefined) known.set(from, new Set([key]));
    else if (others.has(key)) return;
    else others.add(key);
    moves.push({ page, from, to });
  };
  for (const { from, to } of delta.modifies) {
    if (selectors.includes(to.table)) add(to, order.value(from), order.value(to));
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
      if (at < 0 || isOfChangedPage(pages, row, order)) continue;
      let instead = order.missGives(space);
      for (const table of selectors.slice(at)) {
        // Exact rows of one table do not contain each other.
        if (table === row.table && isExact(row)) continue;
        const candidates = wide.get(table) ?? mostSpecificFirst(state, table);
        wide.set(table, candidates);
        effort += candidates.length;
        if (effort > EFFORT_MAX) return undefined;
        const found = candidates.find(
          (other) =>
            (table !== row.table || specificity(other) < specificity(row)) && order.contains(other, row),
        );
        if (found !== undefined) {
          instead = order.value(found);
          break;
        }
      }
      add(row, order.value(row), instead);
    }
  }
  return moves;
}

function isExact(row: Row): boolean {
  for (const field in row.match) if (row.match[field]!.kind !== 'exact') return false;
  return true;
}

function mostSpecificFirst(state: RowsByTable, table: string): readonly Row[] {
  return [...(state.get(table)?.values() ?? [])].sort((a, b) => specificity(b) - specificity(a));
}

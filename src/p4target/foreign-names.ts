import { nodesNamed, valuesGiven } from './hazards';
import { askersOf } from './askers';
import { movesOf } from './mixtures';
import { pageChanges } from './pages';
import type { Delta, RowsByTable } from './row-tracker';
import type { Row } from '../translators/rows';
import { spacesOf, tablesOf, type WriteOrder } from './write-order';

/**
 * Numbers that another run gave are taken over on somebody's word that they mean the same in this run. Rows tell whether it is true:
 *
 * - A node's rows follow from what it is and from the values that are given. So a node that both states have must have the same rows
 *   for the same values, the same mask, and no row more or less but for values that come or go.
 * - A bit of values that such a node asks for is thereby shown to mean the same. One that only nodes ask for which come or go is not;
 *   that does not matter as long as no look-up changes in that bit, as it then is the same question either way.
 *
 * A number that only one state has can not be mistaken.
 *
 * @param actual one whole state of the other run
 * @returns what speaks against it, or can not be shown; "" when all is well
 */
export function contradiction(
  delta: Delta,
  actual: RowsByTable,
  desired: RowsByTable,
  order: WriteOrder,
): string {
  const nodeTables = new Map(order.tables.filter((t) => t.role === 'node').map((t) => [t.table, t]));
  const changed = delta.modifies.find(({ to }) => nodeTables.has(to.table));
  if (changed !== undefined) return `a row of ${changed.to.table} means something else`;

  const pages = pageChanges(delta, actual, desired, order);
  const states = [
    { state: actual, other: delta.inserts, names: nodesNamed(actual, order) },
    { state: desired, other: delta.deletes, names: nodesNamed(desired, order) },
  ];
  for (const space of spacesOf(order)) {
    for (const { state, other, names } of states) {
      const rows = other.filter((row) => nodeTables.get(row.table)?.space === space);
      const own = rows.filter((row) => names.has(order.partOf(row)));
      if (own.length === 0) continue;
      const bad = unexpected(own, space, state, order);
      if (bad !== undefined) return `node ${order.partOf(bad)} has other rows in ${bad.table}`;
    }
  }
  for (const { other, names } of states) {
    // No selector gives what is asked there: these rows follow from the node alone.
    const bad = other.find((row) => {
      const table = nodeTables.get(row.table);
      return table !== undefined && table.space === undefined && names.has(order.partOf(row));
    });
    if (bad !== undefined) return `node ${order.partOf(bad)} has other rows in ${bad.table}`;
  }

  const readBy = { actual: pagesOfNodes(actual, order), desired: pagesOfNodes(desired, order) };
  for (const space of spacesOf(order)) {
    const moves = movesOf(space, delta, actual, desired, order, pages);
    if (moves === undefined) return 'more has changed than can be compared';
    if (moves.length === 0) continue;
    const before = masks(space, actual, order, readBy.actual);
    const after = masks(space, desired, order, readBy.desired);
    const shown = new Map<bigint | undefined, bigint>();
    for (const [node, { mask, page }] of before) {
      if (after.get(node)?.mask !== mask) continue;
      shown.set(page, (shown.get(page) ?? 0n) | mask);
    }
    for (const { page, from, to } of moves) {
      if (from === undefined || to === undefined) continue;
      const bits = (from ^ to) & ~(shown.get(page) ?? 0n);
      if (bits === 0n) continue;
      if ((bits & asked(before, page) & asked(after, page)) !== 0n)
        return `nothing shows that a bit of ${space} means the same`;
    }
  }
  return '';
}

/** The first of `rows`, which `state` does not have, for a value that it gives to the row's node. */
function unexpected(
  rows: readonly Row[],
  space: string,
  state: RowsByTable,
  order: WriteOrder,
): Row | undefined {
  const nothing = { come: new Set<bigint>(), go: new Set<bigint>() };
  const values = valuesGiven(state, order, space, nothing);
  const askers = askersOf(space, order, [state], new Set(rows.map((row) => order.partOf(row))));
  const behind = new Map<string, ReadonlySet<bigint>>();
  return rows.find((row) => {
    const asker = askers.get(order.partOf(row));
    // Masks are among them: a node that has none there asks for nothing.
    if (asker === undefined || maskTable(row, order)) return true;
    const key = `${asker.page} ${asker.mask}`;
    let given = behind.get(key);
    if (given === undefined) {
      const all = [...values].flatMap(([page, some]) =>
        asker.page === undefined || page === asker.page ? [...some] : [],
      );
      given = new Set(all.map((value) => value & asker.mask));
      behind.set(key, given);
    }
    return given.has(order.value(row));
  });
}

function maskTable(row: Row, order: WriteOrder): boolean {
  return order.tables.some(({ table, masks: isMask }) => table === row.table && isMask === true);
}

interface Mask {
  readonly mask: bigint;
  readonly page: bigint | undefined;
}

/** By node. */
function masks(
  space: string,
  state: RowsByTable,
  order: WriteOrder,
  readBy: ReadonlyMap<bigint, bigint | undefined>,
): ReadonlyMap<bigint, Mask> {
  const found = new Map<bigint, Mask>();
  for (const { table, space: own, masks: isMask } of order.tables) {
    if (own !== space || isMask !== true) continue;
    for (const row of state.get(table)?.values() ?? []) {
      const node = order.partOf(row);
      found.set(node, { mask: order.value(row), page: order.page(row) ?? readBy.get(node) });
    }
  }
  return found;
}

/** Bits that nodes which read the page, or may read it, ask for. */
function asked(all: ReadonlyMap<bigint, Mask>, page: bigint | undefined): bigint {
  let bits = 0n;
  for (const mask of all.values()) if (mask.page === undefined || mask.page === page) bits |= mask.mask;
  return bits;
}

/** The page that a node's program reads; undefined for one that programs of several pages share. */
function pagesOfNodes(state: RowsByTable, order: WriteOrder): ReadonlyMap<bigint, bigint | undefined> {
  const pages = new Map<bigint, bigint | undefined>();
  const add = (node: bigint, page: bigint | undefined): void => {
    pages.set(node, pages.has(node) && pages.get(node) !== page ? undefined : page);
  };
  for (const table of tablesOf(order, 'gate')) {
    for (const row of state.get(table)?.values() ?? []) {
      for (const node of order.names(row)) add(node, order.page(row));
    }
  }
  for (const table of [...tablesOf(order, 'node')].reverse()) {
    for (const row of state.get(table)?.values() ?? []) {
      const page = pages.get(order.partOf(row));
      if (!pages.has(order.partOf(row))) continue;
      for (const node of order.names(row)) add(node, page);
    }
  }
  return pages;
}

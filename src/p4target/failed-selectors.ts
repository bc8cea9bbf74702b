import { rowKey, sameContent, type Row } from '../translators/rows';
import { askersOf, minds, reads, type Asker } from './askers';
import type { RowsByTable } from './row-tracker';
import { selectorsOf, spacesOf, type WriteOrder } from './write-order';

/** Beyond so many different failures, nodes are compared with all of them at once: quicker, and closes more. */
const MAX_SEPARATE = 200;

/** What packets may get where one row failed. */
interface Choice {
  readonly page: bigint | undefined;
  /** Undefined among them: nothing, they are dropped. */
  readonly values: ReadonlySet<bigint | undefined>;
}

/**
 * The nodes that judge wrongly because selector rows are not as desired. Where a row failed, packets get its old value,
 * or that of a less specific row, or none, instead of the desired one. A node minds only if it answers differently to what it
 * asks of these values; where it has the same rows for all of them, or none, packets go the way they should.
 *
 * @param failed rows of selector tables, as desired, or as they should have been removed
 * @param states rows of nodes: those that are desired and those that are on the target
 */
export function nodesMinding(
  failed: readonly Row[],
  order: WriteOrder,
  desired: RowsByTable,
  actual: RowsByTable,
): Set<bigint> {
  const minding = new Set<bigint>();
  for (const space of spacesOf(order)) {
    const selectors = selectorsOf(order, space);
    const rows = failed.filter((row) => selectors.includes(row.table));
    if (rows.length === 0) continue;
    const choices = distinct(choicesOf(space, rows, order, desired, actual));
    const all: Choice = { page: undefined, values: new Set(choices.flatMap(({ values }) => [...values])) };
    const separate = choices.length > MAX_SEPARATE ? [all] : choices;
    for (const state of [desired, actual]) {
      for (const [node, asker] of askersOf(space, order, [state])) {
        if (separate.some((choice) => differ(asker, choice))) minding.add(node);
      }
    }
  }
  return minding;
}

/** For each row, what packets that it is for may get: with the row, without it, or with the one before it. */
function choicesOf(
  space: string,
  failed: readonly Row[],
  order: WriteOrder,
  desired: RowsByTable,
  actual: RowsByTable,
): readonly Choice[] {
  const broad = { desired: broadRows(space, order, desired), actual: broadRows(space, order, actual) };
  return failed.map((row) => {
    const key = rowKey(row);
    const values = new Set<bigint | undefined>([order.value(row)]);
    for (const state of [desired, actual]) {
      const same = state.get(row.table)?.get(key);
      if (same) values.add(order.value(same));
    }
    let stays = false;
    for (const [otherKey, other] of broad.actual) {
      if (otherKey === key || !order.contains(other, row)) continue;
      values.add(order.value(other));
      stays ||= broad.desired.has(otherKey);
    }
    for (const [otherKey, other] of broad.desired) {
      const held = broad.actual.get(otherKey);
      if (otherKey === key || (held !== undefined && sameContent(held, other))) continue;
      if (order.contains(other, row)) values.add(order.value(other));
    }
    // A row that answers in both states answers at any time between them.
    if (!stays) values.add(order.missGives(space));
    return { page: order.page(row), values };
  });
}

/** Selector rows that may answer for other rows of their space, by key. */
function broadRows(space: string, order: WriteOrder, state: RowsByTable): ReadonlyMap<string, Row> {
  const broad = new Map<string, Row>();
  for (const table of selectorsOf(order, space)) {
    for (const [key, row] of state.get(table) ?? []) {
      const exact = Object.values(row.match).every((match) => match.kind === 'exact');
      if (!exact) broad.set(key, row);
    }
  }
  return broad;
}

function distinct(choices: readonly Choice[]): readonly Choice[] {
  const byText = new Map<string, Choice>();
  for (const choice of choices) {
    const text = [...choice.values]
      .map((value) => value?.toString(16) ?? 'none')
      .sort()
      .join(' ');
    byText.set(`${choice.page} ${text}`, choice);
  }
  return [...byText.values()];
}

function differ(asker: Asker, { page, values }: Choice): boolean {
  if (!reads(asker, page)) return false;
  const [first, ...others] = values;
  return others.some((other) => minds(asker, { from: first, to: other }));
}

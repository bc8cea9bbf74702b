import type { MatchValue, Row } from '../translators/rows';
import { rowContent, rowKey } from '../translators/rows';
import type { RowsByTable } from './row-tracker';
import { tablesOf, type WriteOrder } from './write-order';

/** Beyond so many different failures, nodes are compared with all of them at once: quicker, and closes more. */
const MAX_SEPARATE = 200;

/**
 * The nodes that judge wrongly because selector rows are not as desired. Where a row failed, packets get its old value,
 * or that of a less specific row, or none, instead of the desired one. A node minds only if it answers differently to
 * these values; where it has the same rows for all of them, or none, packets go the way they should.
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
  const states = [desired, actual];
  const choices = new Map<string, ReadonlySet<string>>();
  const broad = broadRows(order, states);
  for (const row of failed) {
    const values = possibleValues(row, order, states, broad);
    choices.set([...values].sort().join(' '), values);
  }
  const all = new Set([...choices.values()].flatMap((values) => [...values]));
  const separate = choices.size > MAX_SEPARATE ? [all] : [...choices.values()];

  const minding = new Set<bigint>();
  for (const state of states) {
    for (const [node, answers] of answersOf(state, order, all)) {
      if (separate.some((values) => differ(answers, values))) minding.add(node);
    }
  }
  return minding;
}

/** What packets that `row` is for may get: with the row, without it, or with the one before it. */
function possibleValues(
  row: Row,
  order: WriteOrder,
  states: readonly RowsByTable[],
  broad: readonly Row[],
): ReadonlySet<string> {
  const key = rowKey(row);
  const values = new Set([order.gives(row)]);
  const space = spaceOf(order.gives(row));
  // Nobody asks for what a miss gives, so it is told apart like a value without rows.
  values.add(`${space}:0`);
  for (const state of states) {
    const same = state.get(row.table)?.get(key);
    if (same) values.add(order.gives(same));
  }
  for (const other of broad) {
    if (spaceOf(order.gives(other)) === space && covers(other, row)) values.add(order.gives(other));
  }
  return values;
}

/** Selector rows that may answer for other rows of their space. */
function broadRows(order: WriteOrder, states: readonly RowsByTable[]): readonly Row[] {
  const broad = new Map<string, Row>();
  for (const table of tablesOf(order, 'selector')) {
    for (const state of states) {
      for (const row of state.get(table)?.values() ?? []) {
        const exact = Object.values(row.match).every((match) => match.kind === 'exact');
        if (!exact) broad.set(`${rowKey(row)} ${rowContent(row)}`, row);
      }
    }
  }
  return [...broad.values()];
}

type Answers = ReadonlyMap<string, string>;

function answersOf(
  state: RowsByTable,
  order: WriteOrder,
  values: ReadonlySet<string>,
): ReadonlyMap<bigint, Answers> {
  const answers = new Map<bigint, Map<string, string>>();
  for (const table of tablesOf(order, 'node')) {
    for (const row of state.get(table)?.values() ?? []) {
      const value = order.asks(row);
      if (!values.has(value)) continue;
      const node = order.partOf(row);
      const known = answers.get(node) ?? new Map<string, string>();
      answers.set(node, known.set(value, rowContent(row)));
    }
  }
  return answers;
}

function differ(answers: Answers, values: ReadonlySet<string>): boolean {
  let first: string | undefined;
  let seen = false;
  for (const value of values) {
    const answer = answers.get(value);
    if (seen && answer !== first) return true;
    first = answer;
    seen = true;
  }
  return false;
}

/** Every lookup that hits `row` would hit `other`, were `row` not there. */
function covers(other: Row, row: Row): boolean {
  return Object.entries(other.match).every(([field, wide]) => {
    const narrow = row.match[field];
    return narrow !== undefined && fieldCovers(wide, narrow);
  });
}

function fieldCovers(wide: MatchValue, narrow: MatchValue): boolean {
  switch (wide.kind) {
    case 'exact':
      return narrow.kind === 'exact' && narrow.value === wide.value;
    case 'ternary': {
      const mask =
        narrow.kind === 'exact' ? wide.mask : narrow.kind === 'ternary' ? narrow.mask & wide.mask : undefined;
      return mask === wide.mask && (narrow.value & wide.mask) === (wide.value & wide.mask);
    }
    case 'lpm':
      // The width is the table's, so a prefix is compared as one only with a longer one of the same field.
      return narrow.kind === 'lpm' && narrow.prefixLen >= wide.prefixLen;
  }
}

function spaceOf(value: string): string {
  return value.slice(0, value.lastIndexOf(':'));
}

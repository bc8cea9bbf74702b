import { rowKey, type Row } from '../translators/rows';
import { askersOf, reads, type Asker } from './askers';
import { isOfChangedPage, type PageChanges } from './pages';
import type { Delta, RowsByTable } from './row-tracker';
import { roleOf, selectorsOf, spacesOf, tablesOf, type WriteOrder } from './write-order';

/**
 * Which gates must be shut while selector rows change. Selector rows change one by one, so for a while packets meet
 * values of the old and of the new state at once, one at each level of the diagram. That is harmless where every node
 * a packet can reach has rows for the values of both states:
 *
 * - a node of both states has (its old rows stay until the sweep, its new ones are there before the selectors change);
 * - a node that only the old state names (retired) lacks rows for values that only the new state gives (fresh);
 * - a node that only the new state names (new) lacks rows for values that only the old state gives (vanished).
 *
 * A lookup that misses for that reason would take the node's default: a verdict that neither state gives. So each gate
 * from which such a node can be reached is shut for the time of the change. Plain moves between values that stay, a new
 * pod, or a removed one shut nothing; nor does a new value that is like an old one in all that the node asks for.
 *
 * @returns keys of rows of `actual` gate tables
 */
export function gatesToHold(
  delta: Delta,
  actual: RowsByTable,
  desired: RowsByTable,
  order: WriteOrder,
  pages: PageChanges,
): ReadonlySet<string> {
  const held = new Set<string>();
  const changed = [...delta.inserts, ...delta.modifies.map((m) => m.to), ...delta.deletes];
  const roles = new Set(changed.map((row) => roleOf(order, row.table)));
  if (!roles.has('selector') || !(roles.has('node') || roles.has('gate'))) return held;

  const oldNodes = nodesNamed(actual, order);
  const newNodes = nodesNamed(desired, order);
  const retired = without(oldNodes, newNodes);
  const begun = without(newNodes, oldNodes);
  if (retired.size === 0 && begun.size === 0) return held;

  const incomplete = new Set<bigint>();
  for (const space of spacesOf(order)) {
    const old = valuesGiven(actual, order, space, pages);
    const next = valuesGiven(desired, order, space, pages);
    addIncomplete(incomplete, askersOf(space, order, [actual], retired), old, next);
    addIncomplete(incomplete, askersOf(space, order, [desired], begun), next, old);
  }
  if (incomplete.size === 0) return held;

  addNodesReaching(incomplete, order, [actual, desired]);
  for (const table of tablesOf(order, 'gate')) {
    for (const [key, row] of actual.get(table) ?? []) {
      if (order.names(row).some((node) => incomplete.has(node))) held.add(key);
    }
  }
  return held;
}

/** Adds every node from which a node in `nodes` can be reached through the rows of any of `states`. */
export function addNodesReaching(
  nodes: Set<bigint>,
  order: WriteOrder,
  states: readonly RowsByTable[],
): void {
  // Rows name only nodes of tables earlier in the order, so one pass in that order is enough.
  for (const table of tablesOf(order, 'node')) {
    // Rows with the same names share them as one array, most often.
    const reaching = new Map<readonly bigint[], boolean>();
    for (const state of states) {
      for (const row of state.get(table)?.values() ?? []) {
        const names = order.names(row);
        let reaches = reaching.get(names);
        if (reaches === undefined) {
          reaches = names.some((node) => nodes.has(node));
          reaching.set(names, reaches);
        }
        if (reaches) nodes.add(order.partOf(row));
      }
    }
  }
}

/** Every node that a packet can reach from the gates of `state`. */
export function nodesReachable(state: RowsByTable, order: WriteOrder): ReadonlySet<bigint> {
  const nodes = new Set<bigint>();
  for (const table of tablesOf(order, 'gate')) {
    for (const row of state.get(table)?.values() ?? []) for (const node of order.names(row)) nodes.add(node);
  }
  // Rows name only nodes of tables earlier in the order, so one pass against it is enough.
  for (const table of [...tablesOf(order, 'node')].reverse()) {
    for (const row of state.get(table)?.values() ?? []) {
      if (nodes.has(order.partOf(row))) for (const node of order.names(row)) nodes.add(node);
    }
  }
  return nodes;
}

/** Gate rows of `state` that name one of `nodes`, by key. */
export function gatesNaming(
  nodes: ReadonlySet<bigint>,
  state: RowsByTable,
  order: WriteOrder,
): Map<string, Row> {
  const found = new Map<string, Row>();
  for (const table of tablesOf(order, 'gate')) {
    for (const row of state.get(table)?.values() ?? []) {
      if (order.names(row).some((node) => nodes.has(node))) found.set(rowKey(row), row);
    }
  }
  return found;
}

/** By page. */
export type Values = ReadonlyMap<bigint | undefined, ReadonlySet<bigint>>;

/** Look-ups beyond which every node is taken to be incomplete: closed is always right. */
const EFFORT_MAX = 5_000_000;

/** Adds those of `askers` that may lack a row for a value of `others`: they are complete for those of `own`, their state's. */
function addIncomplete(
  incomplete: Set<bigint>,
  askers: ReadonlyMap<bigint, Asker>,
  own: Values,
  others: Values,
): void {
  if (askers.size === 0) return;
  let effort = EFFORT_MAX;
  for (const [page, values] of others) {
    const known = own.get(page) ?? new Set();
    const fresh = without(values, known);
    if (fresh.size === 0) continue;
    const behindMask = new Map<bigint, ReadonlySet<bigint>>();
    for (const [node, asker] of askers) {
      if (incomplete.has(node) || !reads(asker, page)) continue;
      effort -= fresh.size;
      if (effort >= 0 && answersAll(asker, fresh)) continue;
      // What has no row takes the default, and that is right if a value of its own state does the same.
      let behind = behindMask.get(asker.mask);
      if (behind === undefined && effort >= 0) {
        effort -= known.size;
        behind = new Set([...known].map((value) => value & asker.mask));
        behindMask.set(asker.mask, behind);
      }
      if (behind === undefined || !answersAll(asker, fresh, behind)) incomplete.add(node);
    }
  }
}

function answersAll(
  { mask, answers }: Asker,
  values: ReadonlySet<bigint>,
  known?: ReadonlySet<bigint>,
): boolean {
  for (const value of values) {
    const left = value & mask;
    if (!answers.has(left) && known?.has(left) !== true) return false;
  }
  return true;
}

/** Values that look-ups give to programs of both states. */
export function valuesGiven(
  state: RowsByTable,
  order: WriteOrder,
  space: string,
  pages: PageChanges,
): Values {
  const values = new Map<bigint | undefined, Set<bigint>>();
  // Rows that give the same share their parameters, most often.
  const seen = new Map<Row['params'], bigint | undefined>();
  for (const table of selectorsOf(order, space)) {
    for (const row of state.get(table)?.values() ?? []) {
      const page = order.page(row);
      if (seen.has(row.params) && seen.get(row.params) === page) continue;
      seen.set(row.params, page);
      if (isOfChangedPage(pages, row, order)) continue;
      let given = values.get(page);
      if (given === undefined) {
        const miss = order.missGives(space);
        given = new Set(miss === undefined ? [] : [miss]);
        values.set(page, given);
      }
      given.add(order.value(row));
    }
  }
  return values;
}

/** Every node that rows name, or are part of. */
export function nodesNamed(state: RowsByTable, order: WriteOrder): Set<bigint> {
  const nodes = new Set<bigint>();
  const seen = new Set<readonly bigint[]>();
  for (const table of [...tablesOf(order, 'node'), ...tablesOf(order, 'gate')]) {
    const role = roleOf(order, table);
    for (const row of state.get(table)?.values() ?? []) {
      if (role === 'node') nodes.add(order.partOf(row));
      const names = order.names(row);
      if (seen.has(names)) continue;
      seen.add(names);
      for (const node of names) nodes.add(node);
    }
  }
  return nodes;
}

function without(all: ReadonlySet<bigint>, these: ReadonlySet<bigint>): ReadonlySet<bigint> {
  const left = new Set<bigint>();
  for (const one of all) if (!these.has(one)) left.add(one);
  return left;
}

import { rowKey, type Row } from '../translators/rows';
import type { Delta, RowsByTable } from './row-tracker';
import { roleOf, tablesOf, type WriteOrder } from './write-order';

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
 * pod, or a removed one shut nothing.
 *
 * @returns keys of rows of `actual` gate tables
 */
export function gatesToHold(
  delta: Delta,
  actual: RowsByTable,
  desired: RowsByTable,
  order: WriteOrder,
): ReadonlySet<string> {
  const held = new Set<string>();
  const changed = [...delta.inserts, ...delta.modifies.map((m) => m.to), ...delta.deletes];
  const roles = new Set(changed.map((row) => roleOf(order, row.table)));
  if (!roles.has('selector') || !(roles.has('node') || roles.has('gate'))) return held;

  const oldValues = valuesGiven(actual, order);
  const newValues = valuesGiven(desired, order);
  const fresh = !isSubset(newValues, oldValues);
  const vanished = !isSubset(oldValues, newValues);
  if (!fresh && !vanished) return held;

  const oldNodes = nodesNamed(actual, order);
  const newNodes = nodesNamed(desired, order);
  const incomplete = new Set<bigint>();
  if (fresh) for (const node of oldNodes) if (!newNodes.has(node)) incomplete.add(node);
  if (vanished) for (const node of newNodes) if (!oldNodes.has(node)) incomplete.add(node);
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

function valuesGiven(state: RowsByTable, order: WriteOrder): Set<string> {
  const values = new Set<string>();
  for (const table of tablesOf(order, 'selector')) {
    for (const row of state.get(table)?.values() ?? []) values.add(order.gives(row));
  }
  return values;
}

function nodesNamed(state: RowsByTable, order: WriteOrder): Set<bigint> {
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

function isSubset<T>(small: ReadonlySet<T>, large: ReadonlySet<T>): boolean {
  for (const value of small) if (!large.has(value)) return false;
  return true;
}

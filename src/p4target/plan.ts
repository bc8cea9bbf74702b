import { rowKey, sameContent, type Row } from '../translators/rows';
import { gatesToHold } from './hazards';
import { gatesOfMixtures } from './mixtures';
import { pageChanges, type PageChanges } from './pages';
import type { Delta, RowsByTable } from './row-tracker';
import { limitsOnly, specificity, tablesOf, type TableRole, type WriteOrder } from './write-order';

/*
 * From a difference to an ordered list of writes, in which no packet is judged by half a state. Roles: write-order.ts.
 *
 * Invariants, each held by a property test:
 *  I1  Every packet at every moment gets a verdict that the old or the new state gives, or is dropped.
 *  I2  A row that names a node is written after all rows of that node; rows of a node are deleted when nothing that a
 *      packet can reach names it any more.
 *  I3  Within selector tables each key goes from its old value to its new one and through no third: inserts come most
 *      specific first, then modifies, then deletes least specific first.
 *  I4  A path row that is new appears after every node, selector and gate row; one that goes, or changes, is closed
 *      before anything else happens: what a port or address is bound to has changed, and the old binding must not meet the new
 *      gates, nor the other way round. Only what says nothing about where packets go (`samePath`) is changed in place.
 *      Rows that only limit open nothing by being absent: they come, or change in place, before any other path row, and go last.
 *  I5  A gate flips in place (make before break), except where hazards.ts says it must be shut.
 *  I6  When rows of nodes change their content, when the numbers on the target are not ours (they were read back from
 *      another run), when the target has no room for both states, or when a selector row must change on a target that
 *      can not change rows and nothing covers the gap, there is no order that keeps I1 with open gates: then all gates
 *      are shut (but those that say the same in both states without asking), all is rewritten, deletes first, and the gates
 *      open again (mode `closed`).
 *  I7  Where two rows that one verdict hangs on change in one update, and a packet could meet the old one of the first and the
 *      new one of the second, one of them is a gate that is shut meanwhile (mixtures.ts).
 *  I8  A page of selectors that no program reads any more goes after the gates have flipped from those that do.
 *
 * What the caller owes: a desired state is complete (each node has rows for all values that selectors of that state
 * give, other than those that take its default), and names of nodes and values keep their meaning as long as `actual`
 * holds rows of them.
 */

export type UpdateType = 'insert' | 'modify' | 'delete';

export interface RowUpdate {
  readonly type: UpdateType;
  readonly row: Row;
}

/**
 * close: path rows and gates that go. nodes: new node rows. hold: shuts gates for the time of the selectors.
 * selectors, gates, paths: as named. sweep: what nothing names any more.
 */
export type PhaseStep = 'close' | 'nodes' | 'hold' | 'selectors' | 'gates' | 'paths' | 'sweep';

/** Updates of a phase are independent of each other: any order, any batches. Phases are strictly one after another. */
export interface Phase {
  readonly step: PhaseStep;
  readonly updates: readonly RowUpdate[];
}

export interface Plan {
  readonly mode: 'open' | 'closed';
  /** Why the mode is `closed`; "" when open. */
  readonly reason: string;
  readonly phases: readonly Phase[];
}

export interface PlanInput {
  readonly delta: Delta;
  readonly actual: RowsByTable;
  readonly desired: RowsByTable;
  readonly order: WriteOrder;
  /** TargetTraits.modify. */
  readonly canModify: boolean;
  /**
   * The caller promises that every node row set of `desired` is complete for the values of `actual` too, and that it
   * still has the nodes of `actual` that gates name, complete for the new values: then I1 needs no gate shut.
   */
  readonly crossComplete: boolean;
  /** A reason of the caller's to shut all gates, "" for none. It has no effect if only path rows differ. */
  readonly closeReason: string;
}

/** Pure. No difference gives no phases. */
export function planWrites(input: PlanInput): Plan {
  const parts = partsOf(input.delta, input.order);
  const reason = reasonToClose(input, parts);
  const phases = reason === '' ? openPhases(input, parts) : closedPhases(input, parts);
  return {
    mode: reason === '' ? 'open' : 'closed',
    reason,
    phases: phases.filter((p) => p.updates.length > 0),
  };
}

type Parts = Readonly<Record<TableRole, Delta>>;

function partsOf(delta: Delta, order: WriteOrder): Parts {
  const roles = new Map(order.tables.map((t) => [t.table, t.role]));
  const only = (role: TableRole): Delta => ({
    inserts: delta.inserts.filter((row) => roles.get(row.table) === role),
    modifies: delta.modifies.filter((m) => roles.get(m.to.table) === role),
    deletes: delta.deletes.filter((row) => roles.get(row.table) === role),
  });
  return { node: only('node'), selector: only('selector'), gate: only('gate'), path: only('path') };
}

function reasonToClose(input: PlanInput, parts: Parts): string {
  const touched = [parts.node, parts.selector, parts.gate].some(
    (d) => d.inserts.length + d.modifies.length + d.deletes.length > 0,
  );
  if (!touched) return '';
  if (input.closeReason !== '') return input.closeReason;
  const meaning = parts.node.modifies[0];
  if (meaning) return `rows of nodes change their meaning (first in ${meaning.to.table})`;
  if (!input.canModify) {
    const bare = parts.selector.modifies.find((m) => input.order.cover(m.to) === undefined);
    if (bare) return `the target can not modify a row of ${bare.to.table}`;
  }
  return '';
}

function openPhases(input: PlanInput, parts: Parts): Phase[] {
  const { actual, order, canModify } = input;
  const none: ReadonlySet<string> = new Set();
  const pages = pageChanges(input.delta, actual, input.desired, order);
  const mixtures = gatesOfMixtures(input.delta, actual, input.desired, order, pages);
  const incomplete = input.crossComplete
    ? none
    : gatesToHold(input.delta, actual, input.desired, order, pages);
  const early = new Set([...incomplete, ...mixtures.duringSelectors]);
  const held = new Set([...early, ...mixtures.duringGates]);
  const removed = new Set(parts.gate.deletes.map((row) => rowKey(row)));
  const gateTables = tablesOf(order, 'gate');
  const heldRows = [...held].flatMap((key): (readonly [string, Row])[] => {
    const row = removed.has(key) ? undefined : gateTables.flatMap((t) => actual.get(t)?.get(key) ?? [])[0];
    return row === undefined ? [] : [[key, row]];
  });
  const isHeld = (row: Row): boolean => held.has(rowKey(row));
  // A held gate whose content stays is not in the delta, and must come back too.
  const reopened = heldRows.flatMap(([key, row]) => input.desired.get(row.table)?.get(key) ?? []);
  const late = heldRows.filter(([key]) => !early.has(key));
  const opening = [...parts.gate.inserts, ...reopened];
  const flips = parts.gate.modifies.filter((m) => !isHeld(m.to)).map((m) => m.to);

  const nodeTables = tablesOf(order, 'node');
  return [
    phase('close', 'delete', [...closedPaths(parts, input), ...parts.gate.deletes]),
    ...nodeTables.map((table) => phase('nodes', 'insert', inTable(parts.node.inserts, table))),
    phase(
      'hold',
      'delete',
      heldRows.filter(([key]) => early.has(key)).map(([, row]) => row),
    ),
    ...selectorPhases(input, withoutPages(parts.selector, pages, order)),
    phase(
      'hold',
      'delete',
      late.map(([, row]) => row),
    ),
    ...changePhases('gates', flips, canModify),
    ...gateInserts(opening, order),
    ...pathPhases(parts, input),
    ...selectorDeletes(
      'sweep',
      parts.selector.deletes.filter((row) => isOfPage(row, pages.go, order)),
      order,
    ),
    ...[...nodeTables].reverse().map((table) => phase('sweep', 'delete', inTable(parts.node.deletes, table))),
  ];
}

/** I8. */
function withoutPages(delta: Delta, { go }: PageChanges, order: WriteOrder): Delta {
  return go.size === 0
    ? delta
    : { ...delta, deletes: delta.deletes.filter((row) => !isOfPage(row, go, order)) };
}

function isOfPage(row: Row, pages: ReadonlySet<bigint>, order: WriteOrder): boolean {
  const page = order.page(row);
  return page !== undefined && pages.has(page);
}

/** Everything shut: the order inside does not matter to packets, so space is freed before it is needed. */
function closedPhases(input: PlanInput, parts: Parts): Phase[] {
  const { actual, desired, order, canModify } = input;
  const nodeChanges = parts.node.modifies.map((m) => m.to);
  const selectorChanges = parts.selector.modifies.map((m) => m.to);
  // A gate that says the same in both states, without asking anything, can not say anything else in between.
  const moving = (state: RowsByTable, other: RowsByTable): readonly Row[] =>
    rowsOfRole(state, order, 'gate').flatMap(([key, row]) => {
      const same = other.get(row.table)?.get(key);
      const stays = same !== undefined && order.names(row).length === 0 && sameContent(row, same);
      return stays ? [] : [row];
    });
  return [
    phase('close', 'delete', [...closedPaths(parts, input), ...moving(actual, desired)]),
    phase('sweep', 'delete', [...parts.node.deletes, ...parts.selector.deletes]),
    ...changePhases('nodes', nodeChanges, canModify),
    ...tablesOf(order, 'node').map((table) => phase('nodes', 'insert', inTable(parts.node.inserts, table))),
    ...changePhases('selectors', selectorChanges, canModify),
    phase('selectors', 'insert', parts.selector.inserts),
    ...gateInserts(moving(desired, actual), order),
    ...pathPhases(parts, input),
  ];
}

/** I3. A table that another falls back to is the less specific one. Rows of equal specificity do not overlap. */
function selectorPhases(input: PlanInput, delta: Delta): Phase[] {
  const phases: Phase[] = [];
  const tables = tablesOf(input.order, 'selector');
  for (const table of tables) {
    for (const rows of bySpecificity(inTable(delta.inserts, table)).reverse()) {
      phases.push(phase('selectors', 'insert', rows));
    }
  }
  const changes = delta.modifies.map((m) => m.to);
  if (input.canModify) phases.push(phase('selectors', 'modify', changes));
  else phases.push(...coveredChanges(input, changes));
  phases.push(...selectorDeletes('selectors', delta.deletes, input.order));
  return phases;
}

function selectorDeletes(step: PhaseStep, rows: readonly Row[], order: WriteOrder): Phase[] {
  return [...tablesOf(order, 'selector')]
    .reverse()
    .flatMap((table) => bySpecificity(inTable(rows, table)).map((same) => phase(step, 'delete', same)));
}

/** Changes rows by delete and insert while covers answer in their place. A cover left by a failed run goes first. */
function coveredChanges(input: PlanInput, rows: readonly Row[]): Phase[] {
  const covers = rows.flatMap((row) => input.order.cover(row) ?? []);
  const stale = covers.filter((row) => input.actual.get(row.table)?.has(rowKey(row)));
  return [
    phase('selectors', 'delete', stale),
    phase('selectors', 'insert', covers),
    phase('selectors', 'delete', rows),
    phase('selectors', 'insert', rows),
    phase('selectors', 'delete', covers),
  ];
}

function changePhases(step: PhaseStep, rows: readonly Row[], canModify: boolean): Phase[] {
  return canModify
    ? [phase(step, 'modify', rows)]
    : [phase(step, 'delete', rows), phase(step, 'insert', rows)];
}

/** I7: by turns, from the lowest on. */
function gateInserts(rows: readonly Row[], order: WriteOrder): Phase[] {
  const turns = [...new Set(rows.map((row) => order.turn(row)))].sort((a, b) => a - b);
  return turns.map((turn) =>
    phase(
      'gates',
      'insert',
      rows.filter((row) => order.turn(row) === turn),
    ),
  );
}

/** I4: path rows that go or change, but for those that may change in place. */
function closedPaths({ path }: Parts, { order, canModify }: PlanInput): Row[] {
  const changed = path.modifies.filter((m) => !canModify || !order.samePath(m.from, m.to)).map((m) => m.from);
  return [...path.deletes, ...changed].filter((row) => !limitsOnly(order, row.table));
}

function pathPhases({ path }: Parts, { order, canModify }: PlanInput): Phase[] {
  const changed = path.modifies.map((m) => m.to);
  const inPlace = path.modifies.filter((m) => canModify && order.samePath(m.from, m.to)).map((m) => m.to);
  const back = changed.filter((row) => !inPlace.includes(row));
  const tables = tablesOf(order, 'path');
  const limits = tables.filter((table) => limitsOnly(order, table));
  const others = tables.filter((table) => !limitsOnly(order, table));
  return [
    ...limits.flatMap((table) => [
      phase('paths', 'insert', inTable(path.inserts, table)),
      phase('paths', 'modify', inTable(changed, table)),
    ]),
    ...others.flatMap((table) => [
      phase('paths', 'modify', inTable(inPlace, table)),
      phase('paths', 'insert', inTable([...path.inserts, ...back], table)),
    ]),
    ...limits.map((table) => phase('paths', 'delete', inTable(path.deletes, table))),
  ];
}

function phase(step: PhaseStep, type: UpdateType, rows: readonly Row[]): Phase {
  return { step, updates: rows.map((row) => ({ type, row })) };
}

function inTable(rows: readonly Row[], table: string): readonly Row[] {
  return rows.filter((row) => row.table === table);
}

function rowsOfRole(
  state: RowsByTable,
  order: WriteOrder,
  role: TableRole,
): readonly (readonly [string, Row])[] {
  return tablesOf(order, role).flatMap((table) => [...(state.get(table) ?? [])]);
}

/** Groups of equal specificity, least specific first. */
function bySpecificity(rows: readonly Row[]): Row[][] {
  const groups = new Map<number, Row[]>();
  for (const row of rows) {
    const level = specificity(row);
    const group = groups.get(level);
    if (group) group.push(row);
    else groups.set(level, [row]);
  }
  return [...groups].sort(([a], [b]) => a - b).map(([, group]) => group);
}

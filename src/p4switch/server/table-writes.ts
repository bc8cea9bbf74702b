import { status } from '@grpc/grpc-js';
import { type TableEntry, Update_Type } from 'p4runtime-js-bindings';
import type { SpecEntry, SpecKey } from '../engine';
import { type EntryNote, noteKey, type Pipeline } from './device-state';
import type { TableLayout } from './layout';
import { decodeMatch } from './match';
import { invalid, Refusal } from './refusal';
import { decodeTableAction } from './table-actions';
import type { Undo } from './undo';

/** Applies one update of a table entry. Refuses as the specification's section "TableEntry" says; then nothing changed. */
export function writeTableEntry(pipeline: Pipeline, type: Update_Type, entry: TableEntry): Undo {
  const { behaviour } = pipeline;
  const table = findTable(pipeline, entry.tableId);
  if (entry.isConst) throw invalid('is_const can not be set by a controller');
  if (type !== Update_Type.DELETE && !behaviour.stubsDirect) checkUnsupported(table, entry);
  if (entry.isDefaultAction) return writeDefault(pipeline, table, type, entry);
  if (table.learned) {
    throw new Refusal(status.PERMISSION_DENIED, `entries of table ${table.name} are made by packets only`);
  }
  if (table.isConst)
    throw new Refusal(status.PERMISSION_DENIED, `the entries of table ${table.name} are constant`);
  if (table.fields.length === 0)
    throw invalid(`table ${table.name} has no match fields: it takes a default entry only`);
  const keys = decodeMatch(table, entry.match, entry.priority, behaviour);
  const found = pipeline.engine.find(table.specName, keys, entry.priority);
  if (type === Update_Type.INSERT) {
    if (!entry.action) throw invalid(`a new entry of table ${table.name} needs an action`);
    const action = decodeTableAction(pipeline, table, entry.action, 'entry');
    if (found) throw new Refusal(status.ALREADY_EXISTS, `table ${table.name} has this entry already`);
    if (pipeline.engine.entryCount(table.specName) >= table.size) {
      throw new Refusal(
        status.RESOURCE_EXHAUSTED,
        `table ${table.name} is full: it takes ${table.size} entries`,
      );
    }
    return insert(pipeline, table, { keys, priority: entry.priority, action }, noteOf(pipeline, entry));
  }
  if (type === Update_Type.MODIFY) {
    const action = entry.action && decodeTableAction(pipeline, table, entry.action, 'entry');
    if (!behaviour.modifies) return nothing;
    if (!found) throw notFound(table);
    return modify(pipeline, table, found, action ? { ...found, action } : found, noteOf(pipeline, entry));
  }
  if (!found) throw notFound(table);
  return remove(pipeline, table, keys, found);
}

/** Takes back what did nothing. */
const nothing: Undo = () => undefined;

/** Refuses with INVALID_ARGUMENT: NOT_FOUND would tell a client that deletes that all is well. */
export function findTable(pipeline: Pipeline, id: number): TableLayout {
  const table = pipeline.layout.tables.get(id);
  if (!table) throw invalid(`the p4info has no table with id ${id}`);
  return table;
}

function notFound(table: TableLayout): Refusal {
  return new Refusal(status.NOT_FOUND, `table ${table.name} has no such entry`);
}

function checkUnsupported(table: TableLayout, entry: TableEntry): void {
  if (entry.meterConfig || entry.meterCounterData) throw invalid(`table ${table.name} has no direct meter`);
  if (entry.counterData) throw invalid(`table ${table.name} has no direct counter`);
  if (entry.idleTimeoutNs !== 0n || entry.timeSinceLastHit)
    throw invalid(`table ${table.name} has no idle timeout`);
}

function noteOf({ behaviour }: Pipeline, entry: TableEntry): EntryNote | undefined {
  if (!behaviour.keepsMetadata) return undefined;
  // eslint-disable-next-line @typescript-eslint/no-deprecated -- still to be echoed by Read
  const { metadata, controllerMetadata } = entry;
  return metadata.length === 0 && controllerMetadata === 0n ? undefined : { metadata, controllerMetadata };
}

/** Sets or removes a note, and gives what takes that back. */
function note(pipeline: Pipeline, key: () => string, value: EntryNote | undefined): Undo | undefined {
  if (!value && pipeline.notes.size === 0) return undefined;
  const at = key();
  const before = pipeline.notes.get(at);
  const set = (v: EntryNote | undefined): void => {
    if (v) pipeline.notes.set(at, v);
    else pipeline.notes.delete(at);
  };
  set(value);
  return () => {
    set(before);
  };
}

function insert(
  pipeline: Pipeline,
  table: TableLayout,
  entry: SpecEntry,
  value: EntryNote | undefined,
): Undo {
  const { engine } = pipeline;
  const { keys, priority } = entry;
  engine.apply({ kind: 'insert', table: table.specName, entry });
  const undoNote = note(pipeline, () => noteKey(table.id, keys, priority), value);
  return () => {
    undoNote?.();
    engine.apply({ kind: 'delete', table: table.specName, keys, priority });
  };
}

function modify(
  pipeline: Pipeline,
  table: TableLayout,
  before: SpecEntry,
  after: SpecEntry,
  value: EntryNote | undefined,
): Undo {
  const { engine } = pipeline;
  if (after !== before) engine.apply({ kind: 'modify', table: table.specName, entry: after });
  const undoNote = note(pipeline, () => noteKey(table.id, after.keys, after.priority), value);
  return () => {
    undoNote?.();
    if (after !== before) engine.apply({ kind: 'modify', table: table.specName, entry: before });
  };
}

function remove(pipeline: Pipeline, table: TableLayout, keys: readonly SpecKey[], entry: SpecEntry): Undo {
  const { engine } = pipeline;
  engine.apply({ kind: 'delete', table: table.specName, keys, priority: entry.priority });
  const undoNote = note(pipeline, () => noteKey(table.id, keys, entry.priority), undefined);
  return () => {
    undoNote?.();
    engine.apply({ kind: 'insert', table: table.specName, entry });
  };
}

function writeDefault(pipeline: Pipeline, table: TableLayout, type: Update_Type, entry: TableEntry): Undo {
  const { engine } = pipeline;
  if (type !== Update_Type.MODIFY)
    throw invalid(`the default entry of table ${table.name} can only be modified`);
  if (entry.match.length > 0 || entry.priority !== 0) {
    throw invalid(`the default entry of table ${table.name} has neither match fields nor a priority`);
  }
  const action = entry.action && decodeTableAction(pipeline, table, entry.action, 'default');
  if (table.constDefault) {
    throw new Refusal(status.PERMISSION_DENIED, `the default action of table ${table.name} is constant`);
  }
  if (!action && !pipeline.behaviour.resetsDefaults) return nothing;
  const before = engine.defaultAction(table.specName);
  if (action) engine.apply({ kind: 'default', table: table.specName, action });
  else engine.resetDefaultAction(table.specName);
  const undoNote = note(pipeline, () => noteKey(table.id), action ? noteOf(pipeline, entry) : undefined);
  return () => {
    undoNote?.();
    engine.apply({ kind: 'default', table: table.specName, action: before });
  };
}

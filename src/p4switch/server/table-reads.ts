import { status } from '@grpc/grpc-js';
import type { Entity, TableEntry } from 'p4runtime-js-bindings';
import type { SpecAction, SpecKey } from '../engine';
import { noteKey, type Pipeline } from './device-state';
import type { TableLayout } from './layout';
import { decodeMatch, encodeMatch } from './match';
import { invalid, Refusal, unimplemented } from './refusal';
import { encodeTableAction } from './table-actions';
import { findTable } from './table-writes';
import { ones } from './values';

/**
 * The entries that a filter selects (section "Wildcard Reads"). What is read is fixed when this returns; the entities
 * themselves are made as they are taken.
 */
export function readTableEntries(pipeline: Pipeline, filter: TableEntry): Iterable<Entity> {
  const { behaviour, layout } = pipeline;
  if (!behaviour.stubsDirect && (filter.meterConfig || filter.counterData || filter.meterCounterData)) {
    throw invalid('this switch has no direct counters and no direct meters');
  }
  if (filter.timeSinceLastHit) throw invalid('this switch does not know when an entry was last hit');
  if (filter.tableId === 0) {
    if (hasFilter(filter)) throw invalid('a read of all tables takes no other filter');
    return flatten([...layout.tables.values()].map((t) => select(pipeline, t, filter)));
  }
  return select(pipeline, findTable(pipeline, filter.tableId), filter);
}

function* flatten(parts: readonly Iterable<Entity>[]): Iterable<Entity> {
  for (const part of parts) yield* part;
}

function hasFilter(f: TableEntry): boolean {
  return (
    f.match.length > 0 ||
    f.action !== undefined ||
    f.priority !== 0 ||
    f.isDefaultAction ||
    f.metadata.length > 0 ||
    // eslint-disable-next-line @typescript-eslint/no-deprecated -- still a filter
    f.controllerMetadata !== 0n
  );
}

/** An entry, or the default entry when it has no keys. */
interface Found {
  readonly keys: readonly SpecKey[] | undefined;
  readonly priority: number;
  readonly action: SpecAction;
  readonly learned: boolean;
}

function select(pipeline: Pipeline, table: TableLayout, filter: TableEntry): Iterable<Entity> {
  const { filtersReads, readsAbsent, readsLearned } = pipeline.behaviour;
  if (table.learned && !readsLearned && !filter.isDefaultAction)
    throw unimplemented(`entries of table ${table.name} are made by packets; they can not be read`);
  const many = filter.match.length === 0 && !filter.isDefaultAction;
  if (many && !filtersReads && hasFilter(filter))
    throw invalid(`a read of table ${table.name} takes no filter but a whole key`);
  const wanted = actionFilter(table, filter);
  const found = candidates(pipeline, table, filter).filter(
    (f) => wanted === undefined || f.action.name === wanted,
  );
  if (found.length === 0 && !many && !readsAbsent)
    throw new Refusal(status.NOT_FOUND, `table ${table.name} has no such entry`);
  return toEntities(pipeline, table, found, filter);
}

function candidates(pipeline: Pipeline, table: TableLayout, filter: TableEntry): Found[] {
  const { engine } = pipeline;
  if (filter.isDefaultAction) {
    if (filter.match.length > 0 || filter.priority !== 0) {
      throw invalid(`the default entry of table ${table.name} has neither match fields nor a priority`);
    }
    return [{ keys: undefined, priority: 0, action: engine.defaultAction(table.specName), learned: false }];
  }
  if (filter.priority !== 0 && !table.hasPriority) throw invalid(`table ${table.name} has no priorities`);
  // A key is complete with its priority; 0 is a wildcard here, so the key is checked with any valid one.
  const priority = filter.priority !== 0 || !table.hasPriority ? filter.priority : 1;
  const key =
    filter.match.length > 0 ? decodeMatch(table, filter.match, priority, pipeline.behaviour) : undefined;
  if (key && !table.learned && (filter.priority !== 0 || !table.hasPriority)) {
    const entry = engine.find(table.specName, key, priority);
    return entry ? [{ ...entry, learned: false }] : [];
  }
  const all = table.learned ? learnedEntries(pipeline, table) : staticEntries(pipeline, table);
  return all.filter(
    (f) => (filter.priority === 0 || f.priority === filter.priority) && (!key || sameKey(f.keys!, key)),
  );
}

function staticEntries(pipeline: Pipeline, table: TableLayout): Found[] {
  return Array.from(pipeline.engine.entries(table.specName), (e) => ({ ...e, learned: false }));
}

function learnedEntries(pipeline: Pipeline, table: TableLayout): Found[] {
  return Array.from(pipeline.engine.learned(table.specName), (e) => ({
    keys: e.keys.map((value, at) => ({ value, mask: ones(table.fields[at]!.specBits) })),
    priority: 0,
    action: e.action,
    learned: true,
  }));
}

function sameKey(a: readonly SpecKey[], b: readonly SpecKey[]): boolean {
  return a.every((k, i) => k.value === b[i]!.value && k.mask === b[i]!.mask);
}

/** @throws Refusal NOT_FOUND when there is no entry with this key */
export function findEntry(pipeline: Pipeline, { tableId, match, priority }: TableEntry): void {
  const table = findTable(pipeline, tableId);
  const keys = decodeMatch(table, match, priority, pipeline.behaviour);
  if (pipeline.engine.find(table.specName, keys, priority)) return;
  throw new Refusal(status.NOT_FOUND, `table ${table.name} has no such entry`);
}

/** The spec's name of the action that a read filters by. */
function actionFilter(table: TableLayout, filter: TableEntry): string | undefined {
  const type = filter.action?.type;
  if (!type) return undefined;
  if (type.$case !== 'action' || type.value.params.length > 0) {
    throw invalid('a read filters by action id only, without parameters');
  }
  const action = table.actions.get(type.value.actionId);
  if (!action) throw invalid(`table ${table.name} has no action with id ${type.value.actionId}`);
  return action.specName;
}

function* toEntities(
  pipeline: Pipeline,
  table: TableLayout,
  found: readonly Found[],
  filter: TableEntry,
): Iterable<Entity> {
  for (const f of found) {
    const note =
      pipeline.notes.size > 0 ? pipeline.notes.get(noteKey(table.id, f.keys, f.priority)) : undefined;
    if (filter.metadata.length > 0 && !note?.metadata.equals(filter.metadata)) continue;
    // eslint-disable-next-line @typescript-eslint/no-deprecated -- still a filter
    const { controllerMetadata: cookie } = filter;
    if (cookie !== 0n && note?.controllerMetadata !== cookie) continue;
    const action = encodeTableAction(pipeline, table, f.action);
    if (!action) {
      throw new Refusal(
        status.INTERNAL,
        `table ${table.name} holds action ${f.action.name}, unknown to p4info`,
      );
    }
    yield {
      entity: {
        $case: 'tableEntry',
        value: {
          tableId: table.id,
          match: f.keys ? encodeMatch(table, f.keys, pipeline.behaviour) : [],
          action,
          priority: f.priority,
          // eslint-disable-next-line @typescript-eslint/no-deprecated -- still to be echoed
          controllerMetadata: note ? note.controllerMetadata : 0n,
          meterConfig: undefined,
          counterData: filter.counterData && NOTHING_COUNTED,
          meterCounterData: undefined,
          isDefaultAction: f.keys === undefined,
          idleTimeoutNs: 0n,
          timeSinceLastHit: undefined,
          metadata: note?.metadata ?? EMPTY,
          isConst: f.learned,
        },
      },
    };
  }
}

const EMPTY = Buffer.alloc(0);
/** Only where direct counters are stubs. */
const NOTHING_COUNTED = { packetCount: 0n, byteCount: 0n };

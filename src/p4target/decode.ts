import type { FieldMatch, TableEntry } from 'p4runtime-js-bindings';
import { CalicoP4Error } from '../errors';
import type { MatchValue, Row } from '../translators/rows';
import { fromBytes } from './bytes';
import type { Catalogue, FieldInfo, TableInfo } from './catalogue';

/**
 * A table entry that a target sent, as a row. Byte strings may be padded. The row is in the form that translators use,
 * so that it compares equal to theirs: fields that the entry leaves out are LPM /0, or ternary with mask 0 when
 * `wildcards` says so, else absent.
 *
 * @throws CalicoP4Error PIPELINE_MISMATCH for ids that the pipeline does not have, and for entries without an action
 */
export function decodeEntry(catalogue: Catalogue, entry: TableEntry): Row {
  const table = catalogue.tableById(entry.tableId);
  if (!table) throw unreadable(`table id ${entry.tableId}`);
  const row = { table: table.name, match: decodeMatches(table, entry.match), ...decodeAction(table, entry) };
  return table.hasPriority ? { ...row, priority: entry.priority } : row;
}

function decodeMatches(
  table: TableInfo,
  matches: readonly FieldMatch[],
): Readonly<Record<string, MatchValue>> {
  const byId = new Map(matches.map((m) => [m.fieldId, m]));
  for (const id of byId.keys()) {
    if (!table.fieldById.has(id)) throw unreadable(`field id ${id} of table ${table.name}`);
  }
  const decoded: Record<string, MatchValue> = {};
  for (const field of table.fields) {
    const match = decodeMatch(table, field, byId.get(field.id));
    if (match) decoded[field.name] = match;
  }
  return decoded;
}

function decodeMatch(
  table: TableInfo,
  field: FieldInfo,
  match: FieldMatch | undefined,
): MatchValue | undefined {
  const type = match?.fieldMatchType;
  if (type === undefined) {
    if (field.kind === 'ternary') return undefined;
    if (field.kind === 'lpm') return { kind: 'lpm', value: 0n, prefixLen: 0 };
    throw unreadable(`an entry of table ${table.name} without field ${field.name}`);
  }
  if (type.$case === 'exact' && field.kind === 'exact')
    return { kind: 'exact', value: fromBytes(type.value.value) };
  if (type.$case === 'lpm' && field.kind === 'lpm') {
    return { kind: 'lpm', value: fromBytes(type.value.value), prefixLen: type.value.prefixLen };
  }
  if (type.$case === 'ternary' && field.kind === 'ternary') {
    const mask = fromBytes(type.value.mask);
    return mask === 0n ? undefined : { kind: 'ternary', value: fromBytes(type.value.value), mask };
  }
  throw unreadable(
    `a ${type.$case} match of field ${field.name} of table ${table.name}, which is ${field.kind}`,
  );
}

function decodeAction(table: TableInfo, entry: TableEntry): Pick<Row, 'action' | 'params'> {
  const type = entry.action?.type;
  if (type?.$case !== 'action') throw unreadable(`an entry of table ${table.name} without a direct action`);
  const action = table.actionById.get(type.value.actionId);
  if (!action) throw unreadable(`action id ${type.value.actionId} of table ${table.name}`);
  const params: Record<string, bigint> = {};
  for (const { paramId, value } of type.value.params) {
    const param = action.params.find((p) => p.id === paramId);
    if (!param) throw unreadable(`parameter id ${paramId} of action ${action.name}`);
    params[param.name] = fromBytes(value);
  }
  return { action: action.name, params };
}

function unreadable(what: string): CalicoP4Error {
  return new CalicoP4Error(
    'PIPELINE_MISMATCH',
    `the target sent ${what}, which the p4info of this release does not have: it runs another pipeline; set it again`,
  );
}

import { TableEntry, type FieldMatch, type TableAction } from 'p4runtime-js-bindings';
import { CalicoP4Error } from '../errors';
import type { MatchValue, Row } from '../translators/rows';
import { prefixMask, toCanonical } from './bytes';
import type { Catalogue, FieldInfo, TableInfo } from './catalogue';
import { entryText } from './row-text';

/**
 * A row as a P4Runtime table entry, checked against the pipeline first, because servers do not check everything (one
 * accepts an entry that lacks action parameters). Don't-care fields (ternary with mask 0, LPM /0) are left out, as the
 * specification wants; values are canonical byte strings.
 *
 * @throws CalicoP4Error PIPELINE_MISMATCH: the row does not fit the pipeline
 */
export function encodeEntry(catalogue: Catalogue, row: Row): TableEntry {
  const table = catalogue.table(row.table);
  return { ...encodeIdentity(table, row), action: encodeAction(table, row) };
}

/** The entry's identity alone, for DELETE and for reading a single entry. Errors as encodeEntry. */
export function encodeKey(catalogue: Catalogue, row: Pick<Row, 'table' | 'match' | 'priority'>): TableEntry {
  return encodeIdentity(catalogue.table(row.table), row);
}

/** An entry with nothing but the table: in a Read, all entries of the table. */
export function emptyEntry(tableId: number): TableEntry {
  return { ...EMPTY, tableId };
}

const EMPTY = TableEntry.create();

type Identity = Pick<Row, 'table' | 'match' | 'priority'>;

function encodeIdentity(table: TableInfo, row: Identity): TableEntry {
  for (const name of Object.keys(row.match)) {
    if (!table.fields.some((f) => f.name === name)) throw misfit(row, `the table has no field ${name}`);
  }
  const match = table.fields.flatMap((field) => encodeMatch(field, row) ?? []);
  return { ...emptyEntry(table.id), match, priority: encodePriority(table, row) };
}

function encodePriority(table: TableInfo, row: Identity): number {
  const { priority } = row;
  if (!table.hasPriority) {
    if (priority === undefined || priority === 0) return 0;
    throw misfit(row, 'the table has no ternary field, so its entries have no priority');
  }
  if (priority === undefined || !Number.isInteger(priority) || priority < 1 || priority > 0x7fff_ffff) {
    throw misfit(row, 'entries of a ternary table need a priority from 1 to 2147483647');
  }
  return priority;
}

function encodeMatch(field: FieldInfo, row: Identity): FieldMatch | undefined {
  const match = row.match[field.name];
  if (match === undefined) {
    if (field.kind === 'ternary') return undefined;
    throw misfit(row, `field ${field.name} is missing`);
  }
  if (match.kind !== field.kind) throw misfit(row, `field ${field.name} is ${field.kind}, not ${match.kind}`);
  if (!fits(match.value, field.width)) throw misfit(row, `field ${field.name} has ${field.width} bits`);
  const fieldMatchType = matchType(field, match, row);
  return fieldMatchType && { fieldId: field.id, fieldMatchType };
}

function matchType(field: FieldInfo, match: MatchValue, row: Identity): FieldMatch['fieldMatchType'] {
  switch (match.kind) {
    case 'exact':
      return { $case: 'exact', value: { value: toCanonical(match.value) } };
    case 'lpm': {
      const { value, prefixLen } = match;
      if (!Number.isInteger(prefixLen) || prefixLen < 0 || prefixLen > field.width) {
        throw misfit(row, `field ${field.name} has ${field.width} bits`);
      }
      if ((value & ~prefixMask(field.width, prefixLen)) !== 0n) {
        throw misfit(row, `field ${field.name} has bits set after its prefix`);
      }
      return prefixLen === 0 ? undefined : { $case: 'lpm', value: { value: toCanonical(value), prefixLen } };
    }
    case 'ternary': {
      const { value, mask } = match;
      if (!fits(mask, field.width)) throw misfit(row, `field ${field.name} has ${field.width} bits`);
      if ((value & ~mask) !== 0n) throw misfit(row, `field ${field.name} has bits set that its mask ignores`);
      if (mask === 0n) return undefined;
      return { $case: 'ternary', value: { value: toCanonical(value), mask: toCanonical(mask) } };
    }
  }
}

function encodeAction(table: TableInfo, row: Row): TableAction {
  const action = table.actionByName.get(row.action);
  if (!action) {
    const has = [...table.actionById.values()].map((a) => a.name).join(', ');
    throw misfit(row, `the table has no action ${row.action} (it has ${has})`);
  }
  if (!action.inEntries) throw misfit(row, `action ${row.action} can only be the table's default`);
  for (const name of Object.keys(row.params)) {
    if (!action.params.some((p) => p.name === name))
      throw misfit(row, `action ${row.action} has no parameter ${name}`);
  }
  const params = action.params.map((param) => {
    const value = row.params[param.name];
    if (value === undefined) throw misfit(row, `parameter ${param.name} of action ${row.action} is missing`);
    if (!fits(value, param.width)) {
      throw misfit(
        row,
        `parameter ${param.name} of action ${row.action} has ${param.width} bits, not room for ${value}`,
      );
    }
    return { paramId: param.id, value: toCanonical(value) };
  });
  return { type: { $case: 'action', value: { actionId: action.id, params } } };
}

function fits(value: bigint, width: number): boolean {
  return value >= 0n && value >> BigInt(width) === 0n;
}

function misfit(row: Identity, why: string): CalicoP4Error {
  return new CalicoP4Error('PIPELINE_MISMATCH', `row ${entryText(row)} does not fit the pipeline: ${why}`, {
    table: row.table,
  });
}

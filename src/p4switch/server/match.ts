import type { FieldMatch } from 'p4runtime-js-bindings';
import type { SpecKey } from '../engine';
import type { Behaviour } from './behaviour';
import type { FieldLayout, TableLayout } from './layout';
import { invalid, unimplemented } from './refusal';
import { decodeValue, encodeValue, ones } from './values';

/**
 * The key of a table entry in the spec's terms, from P4Runtime's match fields and priority; `don't care` fields are
 * those left out. Refuses everything that the specification's section "Match Format" forbids.
 */
export function decodeMatch(
  table: TableLayout,
  match: readonly FieldMatch[],
  priority: number,
  behaviour: Behaviour,
): SpecKey[] {
  checkPriority(table, priority);
  const keys = new Array<SpecKey | undefined>(table.fields.length).fill(undefined);
  for (const m of match) {
    const at = table.positionOfField.get(m.fieldId);
    if (at === undefined) throw invalid(`table ${table.name} has no match field with id ${m.fieldId}`);
    const field = table.fields[at]!;
    if (keys[at]) throw invalid(`${where(table, field)} is given twice`);
    if (field.kind === 'optional' && !behaviour.optionalMatch)
      throw unimplemented(`${where(table, field)}: OPTIONAL is not supported`);
    keys[at] = decodeField(table, field, m);
  }
  return keys.map((key, at) => {
    if (key) return key;
    const field = table.fields[at]!;
    if (field.kind === 'exact' && behaviour.fillsIn) return { value: 0n, mask: ones(field.specBits) };
    if (field.kind === 'exact')
      throw invalid(`${where(table, field)} is missing; exact fields can not be left out`);
    return { value: 0n, mask: 0n };
  });
}

function checkPriority(table: TableLayout, priority: number): void {
  if (table.hasPriority ? priority > 0 : priority === 0) return;
  throw invalid(
    table.hasPriority
      ? `table ${table.name} has ternary or optional fields: its entries need a priority above 0, not ${priority}`
      : `table ${table.name} has no ternary or optional field: the priority must be 0, not ${priority}`,
  );
}

function where(table: TableLayout, field: FieldLayout): string {
  return `match field ${field.name} of table ${table.name}`;
}

function decodeField(table: TableLayout, field: FieldLayout, match: FieldMatch): SpecKey {
  const m = match.fieldMatchType;
  const name = where(table, field);
  if (m === undefined) throw invalid(`${name} has no value`);
  if (m.$case !== field.kind) throw invalid(`${name} is ${field.kind}, not ${m.$case}`);
  switch (m.$case) {
    case 'exact':
    case 'optional':
      return { value: decodeValue(m.value.value, field.bits, name), mask: ones(field.specBits) };
    case 'lpm': {
      const value = decodeValue(m.value.value, field.bits, name);
      const { prefixLen } = m.value;
      if (prefixLen <= 0 || prefixLen > field.bits) {
        throw invalid(
          `${name}: prefix length ${prefixLen} is not in 1..${field.bits} (leave the field out for 0)`,
        );
      }
      const host = ones(field.bits - prefixLen);
      if ((value & host) !== 0n)
        throw invalid(`${name}: the value has bits beyond its prefix of ${prefixLen}`);
      // The spec's field may be wider than P4's; its upper bits are always 0 and belong to the prefix.
      return { value, mask: ones(field.specBits) ^ host };
    }
    case 'ternary': {
      const value = decodeValue(m.value.value, field.bits, name);
      const mask = decodeValue(m.value.mask, field.bits, `${name}, mask`);
      if (mask === 0n) throw invalid(`${name}: the mask is 0; leave the field out instead`);
      if ((value & ~mask) !== 0n) throw invalid(`${name}: the value has bits outside its mask`);
      return { value, mask };
    }
  }
}

/** The inverse of decodeMatch. */
export function encodeMatch(
  table: TableLayout,
  keys: readonly SpecKey[],
  behaviour: Behaviour,
): FieldMatch[] {
  const match: FieldMatch[] = [];
  table.fields.forEach((field, at) => {
    const key = keys[at]!;
    if (field.kind !== 'exact' && key.mask === 0n) return;
    match.push({ fieldId: field.id, fieldMatchType: encodeField(field, key, behaviour.padsReplies) });
  });
  return match;
}

function encodeField(field: FieldLayout, key: SpecKey, padded: boolean): FieldMatch['fieldMatchType'] {
  const value = encodeValue(key.value, field.bits, padded);
  switch (field.kind) {
    case 'exact':
      return { $case: 'exact', value: { value } };
    case 'optional':
      return { $case: 'optional', value: { value } };
    case 'lpm':
      return { $case: 'lpm', value: { value, prefixLen: prefixLength(key.mask, field) } };
    case 'ternary':
      return { $case: 'ternary', value: { value, mask: encodeValue(key.mask, field.bits, padded) } };
  }
}

function prefixLength(mask: bigint, field: FieldLayout): number {
  const host = ones(field.specBits) ^ mask;
  return field.bits - (host === 0n ? 0 : host.toString(2).length);
}

import { Update } from 'p4runtime-js-bindings';
import type { MatchValue, Row } from '../translators/rows';
import type { ActionInfo, Catalogue, FieldInfo, TableInfo } from './catalogue';
import { encodeEntry, encodeKey } from './encode';
import type { UpdateType } from './plan';
import { tableUpdate } from './write-request';

/**
 * The bytes of a P4Runtime Update of a row: those of tableUpdate(encodeEntry), or of encodeKey for a delete. A snapshot is hundreds
 * of thousands of rows, and building a tree of messages for each takes longer than anything else; so it is written
 * at once, backwards (a nested message's length is known when its content is there). Whatever does not fit the pipeline
 * exactly is left to encodeEntry, which says what is wrong with it.
 *
 * @throws CalicoP4Error PIPELINE_MISMATCH
 */
export function encodeUpdate(catalogue: Catalogue, type: UpdateType, row: Row): Uint8Array {
  at = SCRATCH.length;
  if (writeUpdate(catalogue.table(row.table), type, row)) return SCRATCH.slice(at);
  const entry = type === 'delete' ? encodeKey(catalogue, row) : encodeEntry(catalogue, row);
  return Update.encode(tableUpdate(type, entry)).finish();
}

/** More than any row of a pipeline that has fields and parameters of 64 bits takes; it is checked all the same. */
const SCRATCH = new Uint8Array(8192);
const ROOM = 4096;
/** Where the last byte was written; the message is built towards the front. */
let at = SCRATCH.length;

const NUMBERS: Readonly<Record<UpdateType, number>> = { insert: 1, modify: 2, delete: 3 };

/** Tags of protobuf fields: number * 8 + wire type (0 varint, 2 bytes or message). */
const TAG = {
  update: { type: 0x08, entity: 0x12 },
  entity: { tableEntry: 0x12 },
  entry: { tableId: 0x08, match: 0x12, action: 0x1a, priority: 0x20 },
  match: { fieldId: 0x08, exact: 0x12, ternary: 0x1a, lpm: 0x22 },
  exact: { value: 0x0a },
  ternary: { value: 0x0a, mask: 0x12 },
  lpm: { value: 0x0a, prefixLen: 0x10 },
  tableAction: { action: 0x0a },
  action: { actionId: 0x08, params: 0x22 },
  param: { paramId: 0x10, value: 0x1a },
} as const;

/** False: the row needs a closer look. */
function writeUpdate(table: TableInfo, type: UpdateType, row: Row): boolean {
  const { priority = 0 } = row;
  if (table.hasPriority ? !(priority >= 1 && priority <= 0x7fff_ffff) : priority !== 0) return false;
  if (!Number.isInteger(priority)) return false;
  if (priority !== 0) {
    varint(priority);
    SCRATCH[--at] = TAG.entry.priority;
  }
  if (type !== 'delete') {
    const action = table.actionByName.get(row.action);
    if (action?.inEntries !== true || !writeAction(action, row.params)) return false;
  }
  if (!writeMatch(table.fields, row.match)) return false;
  if (table.id !== 0) {
    varint(table.id);
    SCRATCH[--at] = TAG.entry.tableId;
  }
  header(TAG.entity.tableEntry, SCRATCH.length);
  header(TAG.update.entity, SCRATCH.length);
  SCRATCH[--at] = NUMBERS[type];
  SCRATCH[--at] = TAG.update.type;
  return true;
}

function writeAction(action: ActionInfo, params: Row['params']): boolean {
  const end = at;
  let used = 0;
  for (let i = action.params.length - 1; i >= 0; i--) {
    const { id, name, width } = action.params[i]!;
    const value = params[name];
    if (value === undefined || at < ROOM) return false;
    used++;
    const endOfParam = at;
    if (!bytes(TAG.param.value, value, width)) return false;
    varint(id);
    SCRATCH[--at] = TAG.param.paramId;
    header(TAG.action.params, endOfParam);
  }
  if (count(params) !== used) return false;
  varint(action.id);
  SCRATCH[--at] = TAG.action.actionId;
  header(TAG.tableAction.action, end);
  header(TAG.entry.action, end);
  return true;
}

function writeMatch(fields: readonly FieldInfo[], match: Row['match']): boolean {
  let used = 0;
  for (let i = fields.length - 1; i >= 0; i--) {
    const field = fields[i]!;
    const value = match[field.name];
    if (at < ROOM) return false;
    if (value === undefined) {
      if (field.kind !== 'ternary') return false;
      continue;
    }
    used++;
    if (value.kind !== field.kind || !writeField(field, value)) return false;
  }
  return count(match) === used;
}

function writeField({ id, width }: FieldInfo, match: MatchValue): boolean {
  const end = at;
  switch (match.kind) {
    case 'exact':
      if (!bytes(TAG.exact.value, match.value, width)) return false;
      header(TAG.match.exact, end);
      break;
    case 'ternary': {
      const { value, mask } = match;
      if (mask === 0n || (value & ~mask) !== 0n) return false;
      if (!bytes(TAG.ternary.mask, mask, width) || !bytes(TAG.ternary.value, value, width)) return false;
      header(TAG.match.ternary, end);
      break;
    }
    case 'lpm': {
      const { value, prefixLen } = match;
      if (!Number.isInteger(prefixLen) || prefixLen <= 0 || prefixLen > width) return false;
      if (BigInt.asUintN(width - prefixLen, value) !== 0n) return false;
      varint(prefixLen);
      SCRATCH[--at] = TAG.lpm.prefixLen;
      if (!bytes(TAG.lpm.value, value, width)) return false;
      header(TAG.match.lpm, end);
      break;
    }
  }
  varint(id);
  SCRATCH[--at] = TAG.match.fieldId;
  header(TAG.entry.match, end);
  return true;
}

/** A canonical byte string with its tag. False when the value does not fit `width` bits, or is longer than 64. */
function bytes(tag: number, value: bigint, width: number): boolean {
  if (value < 0n || value > 0xffff_ffff_ffff_ffffn) return false;
  if (width < 64 && value >= 1n << BigInt(width)) return false;
  const end = at;
  if (value <= 0xffff_ffffn) {
    let rest = Number(value);
    do {
      SCRATCH[--at] = rest & 0xff;
      rest >>>= 8;
    } while (rest !== 0);
  } else {
    let low = Number(value & 0xffff_ffffn);
    for (let i = 0; i < 4; i++, low >>>= 8) SCRATCH[--at] = low & 0xff;
    for (let high = Number(value >> 32n); high !== 0; high >>>= 8) SCRATCH[--at] = high & 0xff;
  }
  SCRATCH[at - 1] = end - at;
  SCRATCH[at - 2] = tag;
  at -= 2;
  return true;
}

/** Object.keys would make an array. */
function count(named: Readonly<Record<string, unknown>>): number {
  let n = 0;
  for (const name in named) if (named[name] !== undefined) n++;
  return n;
}

/** Makes what was written since `end` a nested message. */
function header(tag: number, end: number): void {
  varint(end - at);
  SCRATCH[--at] = tag;
}

/** Of an unsigned 32-bit value. */
function varint(value: number): void {
  let size = 1;
  for (let rest = value; rest > 0x7f; rest >>>= 7) size++;
  at -= size;
  let rest = value;
  for (let i = 0; i < size - 1; i++, rest >>>= 7) SCRATCH[at + i] = (rest & 0x7f) | 0x80;
  SCRATCH[at + size - 1] = rest;
}

import type { MeterSetting, SpecAction, SpecEntry, SpecKey, TableOp } from '../engine';
import type { ByteReader, ByteWriter } from './bytes';
import type { Description, TableNumbers } from './description';
import { Change, LEARNER_BIT } from './protocol';

/** What goes into a transaction: the operations of an engine, and writes to registers and meters. */
export type EngineChange =
  | TableOp
  | { readonly kind: 'register'; readonly array: string; readonly index: number; readonly value: bigint }
  | {
      readonly kind: 'meter';
      readonly array: string;
      readonly index: number;
      readonly setting: MeterSetting | undefined;
    };

/** Names were checked before: the interpreter that mirrors the tables refuses what is not there. */
export function writeChange(w: ByteWriter, d: Description, change: EngineChange): void {
  switch (change.kind) {
    case 'insert':
    case 'modify': {
      const table = d.tables.get(change.table)!;
      writeKey(w.u8(Change.put), table, change.entry.keys, change.entry.priority);
      writeAction(w, d, change.entry.action);
      return;
    }
    case 'delete':
      writeKey(w.u8(Change.delete), d.tables.get(change.table)!, change.keys, change.priority);
      return;
    case 'default':
      w.u8(Change.default).u16(defaultNumber(d, change.table));
      writeAction(w, d, change.action);
      return;
    case 'group':
      w.u8(Change.group).u16(d.selectors.get(change.selector)!).u32(change.group).u16(change.members.length);
      for (const member of change.members) w.u32(member.id).u32(member.weight);
      return;
    case 'register':
      w.u8(Change.register).u16(d.regarrays.get(change.array)!.number).u32(change.index).u64(change.value);
      return;
    case 'meter': {
      const { array, index, setting } = change;
      w.u8(Change.meter)
        .u16(d.metarrays.get(array)!.number)
        .u32(index)
        .u8(setting === undefined ? 0 : 1);
      if (setting === undefined) return;
      const { rate, burst, peakRate, peakBurst } = setting;
      w.u64(rate).u64(burst).u64(peakRate).u64(peakBurst);
    }
  }
}

/** Tables and learned tables share the numbers of default actions. */
export function defaultNumber(d: Description, table: string): number {
  const learner = d.learners.get(table);
  return learner === undefined ? d.tables.get(table)!.number : learner.number | LEARNER_BIT;
}

function writeKey(w: ByteWriter, table: TableNumbers, keys: readonly SpecKey[], priority: number): void {
  w.u16(table.number);
  keys.forEach(({ value, mask }, i) => {
    w.value(value & mask, table.widths[i]!);
  });
  if (table.kind === 'exact') return;
  keys.forEach(({ mask }, i) => {
    w.value(mask, table.widths[i]!);
  });
  if (table.kind === 'wildcard') w.u32(priority);
}

function writeAction(w: ByteWriter, d: Description, action: SpecAction): void {
  const { number, widths } = d.actionByName.get(action.name)!;
  w.u16(number);
  action.params.forEach((value, i) => {
    w.value(value, widths[i]!);
  });
}

export function readAction(r: ByteReader, d: Description): SpecAction {
  const { name, widths } = d.actions[r.u16()]!;
  return { name, params: widths.map((width) => r.value(width)) };
}

export function readEntry(r: ByteReader, d: Description, table: TableNumbers): SpecEntry {
  const values = table.widths.map((width) => r.value(width));
  const masks =
    table.kind === 'exact'
      ? table.widths.map((width) => (1n << BigInt(8 * width)) - 1n)
      : table.widths.map((width) => r.value(width));
  const priority = table.kind === 'wildcard' ? r.u32() : 0;
  const keys = values.map((value, i) => ({ value, mask: masks[i]! }));
  return { keys, priority, action: readAction(r, d) };
}

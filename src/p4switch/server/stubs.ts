import { type DirectCounterEntry, type Entity, type MeterEntry, Update_Type } from 'p4runtime-js-bindings';
import type { Pipeline } from './device-state';
import { invalid } from './refusal';
import { findEntry } from './table-reads';
import type { Undo } from './undo';

/** Direct counters and meters of a server that takes them and does nothing (Behaviour.stubsDirect). */

type Stub =
  | { readonly $case: 'directCounterEntry'; readonly value: DirectCounterEntry }
  | { readonly $case: 'meterEntry'; readonly value: MeterEntry };

export function writeStub(pipeline: Pipeline, type: Update_Type, entity: Stub): Undo {
  if (type !== Update_Type.MODIFY) throw invalid(`${entity.$case} can only be modified`);
  if (entity.$case === 'directCounterEntry') readStub(pipeline, entity.value);
  else if (!pipeline.config.p4info?.meters.some((m) => m.preamble?.id === entity.value.meterId))
    throw invalid(`the p4info has no meter with id ${entity.value.meterId}`);
  return () => undefined;
}

/** The counter of one entry, which must be there: 0. */
export function readStub(pipeline: Pipeline, { tableEntry }: DirectCounterEntry): Entity[] {
  if (!tableEntry) throw invalid('a direct counter needs its table entry');
  findEntry(pipeline, tableEntry);
  const value = { tableEntry, data: { packetCount: 0n, byteCount: 0n } };
  return [{ entity: { $case: 'directCounterEntry', value } }];
}

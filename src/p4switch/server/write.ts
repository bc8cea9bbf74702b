import { status } from '@grpc/grpc-js';
import { type Update, Update_Type, type WriteRequest, WriteRequest_Atomicity } from 'p4runtime-js-bindings';
import { writeGroup, writeMember } from './action-profiles';
import { writeCounter, writeRegister } from './arrays';
import type { Pipeline } from './device-state';
import { invalid, Refusal, refusalOf, unimplemented } from './refusal';
import { writeStub } from './stubs';
import { writeTableEntry } from './table-writes';
import type { Undo } from './undo';

/** What became of each update, in their order; undefined is success. */
export type Outcomes = readonly (Refusal | undefined)[];

/**
 * Applies the updates of a Write in order. CONTINUE_ON_ERROR tries each of them. In the other two modes the first
 * refusal takes back what was applied, and the other updates come out as ABORTED; no packet is processed meanwhile, as
 * the switch is one thread, so that ROLLBACK_ON_ERROR is DATAPLANE_ATOMIC too.
 */
export function applyUpdates(pipeline: Pipeline, request: WriteRequest): Outcomes {
  switch (request.atomicity) {
    case WriteRequest_Atomicity.CONTINUE_ON_ERROR:
      return request.updates.map((u) => attempt(pipeline, u).refusal);
    case WriteRequest_Atomicity.ROLLBACK_ON_ERROR:
    case WriteRequest_Atomicity.DATAPLANE_ATOMIC:
      if (!pipeline.behaviour.rollsBack) throw invalid('only CONTINUE_ON_ERROR is supported');
      return allOrNothing(pipeline, request.updates);
    default:
      throw unimplemented(`atomicity ${request.atomicity} is not known`);
  }
}

interface Attempt {
  readonly refusal?: Refusal;
  readonly undo?: Undo;
}

function attempt(pipeline: Pipeline, update: Update): Attempt {
  try {
    return { undo: applyUpdate(pipeline, update) };
  } catch (error) {
    return { refusal: refusalOf(error) };
  }
}

function allOrNothing(pipeline: Pipeline, updates: readonly Update[]): Outcomes {
  const undos: Undo[] = [];
  for (const [failedAt, update] of updates.entries()) {
    const { refusal, undo } = attempt(pipeline, update);
    if (undo) undos.push(undo);
    if (!refusal) continue;
    for (const u of undos.reverse()) u();
    return updates.map((_, i) =>
      i === failedAt
        ? refusal
        : new Refusal(status.ABORTED, `not applied: update ${failedAt} of the batch failed`),
    );
  }
  return updates.map(() => undefined);
}

function applyUpdate(pipeline: Pipeline, update: Update): Undo {
  const { type } = update;
  if (type !== Update_Type.INSERT && type !== Update_Type.MODIFY && type !== Update_Type.DELETE) {
    throw invalid('the update has no type: INSERT, MODIFY or DELETE');
  }
  const entity = update.entity?.entity;
  if (!entity) throw invalid('the update has no entity');
  switch (entity.$case) {
    case 'tableEntry':
      return writeTableEntry(pipeline, type, entity.value);
    case 'actionProfileMember':
      return writeMember(pipeline, type, entity.value);
    case 'actionProfileGroup':
      return writeGroup(pipeline, type, entity.value);
    case 'counterEntry':
      return writeCounter(pipeline, type, entity.value);
    case 'registerEntry':
      return writeRegister(pipeline, type, entity.value);
    case 'directCounterEntry':
    case 'meterEntry':
      if (pipeline.behaviour.stubsDirect) return writeStub(pipeline, type, entity);
      throw unimplemented(`this switch does not have ${entity.$case}`);
    default:
      throw unimplemented(`this switch does not have ${entity.$case}`);
  }
}

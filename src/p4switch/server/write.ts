import { status } from '@grpc/grpc-js';
import { type Update, Update_Type, type WriteRequest, WriteRequest_Atomicity } from 'p4runtime-js-bindings';
import { writeGroup, writeMember } from './action-profiles';
import { writeCounter, writeRegister } from './arrays';
import type { Pipeline } from './device-state';
import { writeMeter } from './meters';
import { invalid, Refusal, refusalOf, unimplemented } from './refusal';
import { writeStub } from './stubs';
import { writeTableEntry } from './table-writes';
import type { Undo } from './undo';

/** What became of each update, in their order; undefined is success. */
export type Outcomes = readonly (Refusal | undefined)[];

/** Applies a Write, in the other process too where packets run in one: there it is one transaction. */
export async function writeBatch(pipeline: Pipeline, request: WriteRequest): Promise<Outcomes> {
  const { outcomes, undo } = applyUpdates(pipeline, request);
  const { remote } = pipeline.engine;
  if (remote === undefined) return outcomes;
  try {
    await remote.commit();
    return outcomes;
  } catch (error) {
    undo();
    remote.abandon();
    const refusal = refusalOf(error);
    return outcomes.map((o) => o ?? refusal);
  }
}

interface Applied {
  readonly outcomes: Outcomes;
  /** Takes back what was applied. */
  readonly undo: Undo;
}

/**
 * Applies the updates of a Write in order. CONTINUE_ON_ERROR tries each of them. In the other two modes the first
 * refusal takes back what was applied, and the other updates come out as ABORTED; no packet is processed meanwhile, as
 * the switch is one thread, so that ROLLBACK_ON_ERROR is DATAPLANE_ATOMIC too.
 */
function applyUpdates(pipeline: Pipeline, request: WriteRequest): Applied {
  switch (request.atomicity) {
    case WriteRequest_Atomicity.CONTINUE_ON_ERROR: {
      // Undos are kept only where they may be needed: a batch may have a hundred thousand updates.
      const keep = pipeline.engine.remote !== undefined;
      const undos: Undo[] = [];
      const outcomes = request.updates.map((u) => {
        const { refusal, undo } = attempt(pipeline, u);
        if (keep && undo) undos.push(undo);
        return refusal;
      });
      return { outcomes, undo: backwards(undos) };
    }
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

function backwards(undos: Undo[]): Undo {
  return () => {
    for (const undo of undos.splice(0).reverse()) undo();
  };
}

function allOrNothing(pipeline: Pipeline, updates: readonly Update[]): Applied {
  const undos: Undo[] = [];
  for (const [failedAt, update] of updates.entries()) {
    const { refusal, undo } = attempt(pipeline, update);
    if (undo) undos.push(undo);
    if (!refusal) continue;
    backwards(undos)();
    const outcomes = updates.map((_, i) =>
      i === failedAt
        ? refusal
        : new Refusal(status.ABORTED, `not applied: update ${failedAt} of the batch failed`),
    );
    return { outcomes, undo: () => undefined };
  }
  return { outcomes: updates.map(() => undefined), undo: backwards(undos) };
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
    case 'meterEntry':
      if (pipeline.behaviour.stubsDirect) return writeStub(pipeline, type, entity);
      return writeMeter(pipeline, type, entity.value);
    case 'directCounterEntry':
      if (pipeline.behaviour.stubsDirect) return writeStub(pipeline, type, entity);
      throw unimplemented(`this switch does not have ${entity.$case}`);
    default:
      throw unimplemented(`this switch does not have ${entity.$case}`);
  }
}

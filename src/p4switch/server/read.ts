import type { Entity, ReadRequest } from 'p4runtime-js-bindings';
import { readGroups, readMembers } from './action-profiles';
import { readCounters, readRegisters } from './arrays';
import type { Pipeline } from './device-state';
import { readMeters } from './meters';
import { invalid, refusalOf, unimplemented } from './refusal';
import { readStub } from './stubs';
import { readTableEntries } from './table-reads';
import type { Outcomes } from './write';

/**
 * Answers the requests of a Read: what each selects, and what became of each. The entities' contents are fixed now, as
 * the specification wants a Read to be one moment; they are converted as they are taken.
 */
export function selectEntities(
  pipeline: Pipeline,
  request: ReadRequest,
): { readonly selected: readonly Iterable<Entity>[]; readonly outcomes: Outcomes } {
  const selected: Iterable<Entity>[] = [];
  const outcomes = request.entities.map((entity) => {
    try {
      selected.push(selectOne(pipeline, entity));
      return undefined;
    } catch (error) {
      return refusalOf(error);
    }
  });
  return { selected, outcomes };
}

function selectOne(pipeline: Pipeline, { entity }: Entity): Iterable<Entity> {
  if (!entity) throw invalid('a request of a Read has no entity');
  switch (entity.$case) {
    case 'tableEntry':
      return readTableEntries(pipeline, entity.value);
    case 'actionProfileMember':
      return readMembers(pipeline, entity.value);
    case 'actionProfileGroup':
      return readGroups(pipeline, entity.value);
    case 'counterEntry':
      return readCounters(pipeline, entity.value);
    case 'registerEntry':
      return readRegisters(pipeline, entity.value);
    case 'meterEntry':
      if (pipeline.behaviour.stubsDirect) return withoutIt(entity);
      return readMeters(pipeline, entity.value);
    case 'directCounterEntry':
      if (pipeline.behaviour.stubsDirect) return readStub(pipeline, entity.value);
      return withoutIt(entity);
    default:
      return withoutIt(entity);
  }
}

/** A wildcard over kinds of which there is nothing selects nothing; controllers read the whole state that way. */
function withoutIt(entity: Other): Iterable<Entity> {
  if (isWildcard(entity)) return [];
  throw unimplemented(`this switch does not have ${entity.$case}`);
}

type Other = Exclude<
  NonNullable<Entity['entity']>,
  { $case: 'tableEntry' | 'actionProfileMember' | 'actionProfileGroup' | 'counterEntry' | 'registerEntry' }
>;

function isWildcard(entity: Other): boolean {
  switch (entity.$case) {
    case 'externEntry':
      return entity.value.externTypeId === 0;
    case 'meterEntry':
      return entity.value.meterId === 0;
    case 'directMeterEntry':
    case 'directCounterEntry':
      return (entity.value.tableEntry?.tableId ?? 0) === 0;
    case 'packetReplicationEngineEntry':
      return entity.value.type === undefined;
    case 'valueSetEntry':
      return entity.value.valueSetId === 0;
    case 'digestEntry':
      return entity.value.digestId === 0;
  }
}

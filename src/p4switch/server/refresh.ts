import type { Entity, Update } from 'p4runtime-js-bindings';
import type { Wanted } from '../engine';
import type { Pipeline } from './device-state';

/**
 * Where packets run in another process, cells and learned entries are fetched before a request that asks for them. What a
 * request asks for is not checked here: an id that is not known is refused later.
 */

/** Before a Read. */
export async function refreshForReads(pipeline: Pipeline, entities: readonly Entity[]): Promise<void> {
  const { remote } = pipeline.engine;
  await remote?.refresh(joined(entities.map((entity) => wantedBy(pipeline, entity, true))));
}

/** Before a Write: cells that it changes, for taking that back. */
export async function refreshForUpdates(pipeline: Pipeline, updates: readonly Update[]): Promise<void> {
  const { remote } = pipeline.engine;
  if (remote === undefined) return;
  await remote.refresh(joined(updates.map(({ entity }) => wantedBy(pipeline, entity, false))));
}

const NOTHING: Wanted = { registers: [], learners: [] };

function joined(parts: readonly Wanted[]): Wanted {
  return {
    registers: parts.flatMap((p) => p.registers),
    learners: [...new Set(parts.flatMap((p) => p.learners))],
  };
}

function wantedBy(pipeline: Pipeline, entity: Entity | undefined, reads: boolean): Wanted {
  const { layout } = pipeline;
  const asked = entity?.entity;
  switch (asked?.$case) {
    case 'tableEntry': {
      if (!reads) return NOTHING;
      const tables = ofId(layout.tables, asked.value.tableId);
      return { registers: [], learners: tables.filter((t) => t.learned).map((t) => t.specName) };
    }
    case 'counterEntry': {
      const { counterId, index } = asked.value;
      const registers = ofId(layout.counters, counterId).flatMap((c) =>
        [c.packets, c.bytes].flatMap((array) => cells(array, c.size, index?.index)),
      );
      return { registers, learners: [] };
    }
    case 'registerEntry': {
      const { registerId, index } = asked.value;
      const registers = ofId(layout.registers, registerId).flatMap((r) =>
        cells(r.array, r.size, index?.index),
      );
      return { registers, learners: [] };
    }
    default:
      return NOTHING;
  }
}

/** 0 stands for all. */
function ofId<T>(all: ReadonlyMap<number, T>, id: number): readonly T[] {
  if (id === 0) return [...all.values()];
  const one = all.get(id);
  return one === undefined ? [] : [one];
}

function cells(array: string | undefined, size: number, index: bigint | undefined): Wanted['registers'] {
  if (array === undefined) return [];
  if (index === undefined) return [{ array, first: 0, end: size }];
  if (index < 0n || index >= BigInt(size)) return [];
  return [{ array, first: Number(index), end: Number(index) + 1 }];
}

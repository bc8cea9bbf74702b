import { status } from '@grpc/grpc-js';
import {
  type CounterEntry,
  type Entity,
  type Index,
  type RegisterEntry,
  Update_Type,
} from 'p4runtime-js-bindings';
import type { Pipeline } from './device-state';
import type { CounterLayout, RegisterLayout } from './layout';
import { invalid, Refusal } from './refusal';
import type { Undo } from './undo';
import { decodeValue, encodeValue, ones } from './values';

/** Indexed counters and registers: both are register arrays of the spec. */

/** Cells that an index selects: one, or all when it is not set. */
export function cells(what: string, size: number, index: Index | undefined): { first: number; end: number } {
  if (!index) return { first: 0, end: size };
  if (index.index < 0n) throw invalid(`${what}: the index is negative`);
  if (index.index >= BigInt(size)) {
    throw new Refusal(status.OUT_OF_RANGE, `${what}: index ${index.index} is beyond its ${size} cells`);
  }
  return { first: Number(index.index), end: Number(index.index) + 1 };
}

function mustModify(what: string, type: Update_Type): void {
  if (type !== Update_Type.MODIFY) throw invalid(`${what}: cells can only be modified`);
}

/** Writes one value to cells of an array, and gives what takes that back. */
function fill(pipeline: Pipeline, array: string, first: number, end: number, value: bigint): Undo {
  const { engine } = pipeline;
  const before: bigint[] = [];
  for (let i = first; i < end; i++) {
    before.push(engine.readRegister(array, i));
    engine.writeRegister(array, i, value);
  }
  return () => {
    before.forEach((v, i) => {
      engine.writeRegister(array, first + i, v);
    });
  };
}

function counterOf(pipeline: Pipeline, id: number): CounterLayout {
  const counter = pipeline.layout.counters.get(id);
  if (!counter) throw invalid(`the p4info has no counter with id ${id}`);
  return counter;
}

export function writeCounter(pipeline: Pipeline, type: Update_Type, entry: CounterEntry): Undo {
  const counter = counterOf(pipeline, entry.counterId);
  const what = `counter ${counter.name}`;
  mustModify(what, type);
  const { first, end } = cells(what, counter.size, entry.index);
  if (!entry.data) return () => undefined;
  const { packetCount, byteCount } = entry.data;
  if (packetCount < 0n || byteCount < 0n) throw invalid(`${what}: counts can not be negative`);
  const undo: Undo[] = [];
  if (counter.packets !== undefined) undo.push(fill(pipeline, counter.packets, first, end, packetCount));
  if (counter.bytes !== undefined) undo.push(fill(pipeline, counter.bytes, first, end, byteCount));
  return () => {
    for (const u of undo) u();
  };
}

export function readCounters(pipeline: Pipeline, filter: CounterEntry): Iterable<Entity> {
  if (filter.counterId === 0) {
    if (filter.index) throw invalid('a read of all counters takes no index');
    return [...pipeline.layout.counters.values()].flatMap((c) => [...readCounter(pipeline, c, undefined)]);
  }
  return [...readCounter(pipeline, counterOf(pipeline, filter.counterId), filter.index)];
}

function* readCounter(
  pipeline: Pipeline,
  counter: CounterLayout,
  index: Index | undefined,
): Iterable<Entity> {
  const { engine } = pipeline;
  const { first, end } = cells(`counter ${counter.name}`, counter.size, index);
  const count = (array: string | undefined, i: number): bigint =>
    array === undefined ? 0n : BigInt.asIntN(64, engine.readRegister(array, i));
  for (let i = first; i < end; i++) {
    yield {
      entity: {
        $case: 'counterEntry',
        value: {
          counterId: counter.id,
          index: { index: BigInt(i) },
          data: { byteCount: count(counter.bytes, i), packetCount: count(counter.packets, i) },
        },
      },
    };
  }
}

function registerOf(pipeline: Pipeline, id: number): RegisterLayout {
  const register = pipeline.layout.registers.get(id);
  if (!register) throw invalid(`the p4info has no register with id ${id}`);
  return register;
}

export function writeRegister(pipeline: Pipeline, type: Update_Type, entry: RegisterEntry): Undo {
  const register = registerOf(pipeline, entry.registerId);
  const what = `register ${register.name}`;
  mustModify(what, type);
  const { first, end } = cells(what, register.size, entry.index);
  const data = entry.data?.data;
  if (data?.$case !== 'bitstring') throw invalid(`${what}: the data must be a bitstring`);
  return fill(pipeline, register.array, first, end, decodeValue(data.value, register.bits, what));
}

export function readRegisters(pipeline: Pipeline, filter: RegisterEntry): Iterable<Entity> {
  if (filter.registerId === 0) {
    if (filter.index) throw invalid('a read of all registers takes no index');
    return [...pipeline.layout.registers.values()].flatMap((r) => [...readRegister(pipeline, r, undefined)]);
  }
  return [...readRegister(pipeline, registerOf(pipeline, filter.registerId), filter.index)];
}

function* readRegister(
  pipeline: Pipeline,
  register: RegisterLayout,
  index: Index | undefined,
): Iterable<Entity> {
  const { first, end } = cells(`register ${register.name}`, register.size, index);
  for (let i = first; i < end; i++) {
    const content = pipeline.engine.readRegister(register.array, i) & ones(register.bits);
    const value = encodeValue(content, register.bits, pipeline.behaviour.padsReplies);
    yield {
      entity: {
        $case: 'registerEntry',
        value: {
          registerId: register.id,
          index: { index: BigInt(i) },
          data: { data: { $case: 'bitstring', value } },
        },
      },
    };
  }
}

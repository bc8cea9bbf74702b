import type { Instruction, Operand, Spec } from '../spec/ast';
import { CHECKSUM_BIAS, alu, checksum, compare, crc32, result } from './alu';
import type { MeterArray } from './meters';
import { type Place, fieldAccess } from './memory';
import { drop, emit, extract, pointAtPacket, transmit, validate } from './packet';
import { type CompiledAction, RETURN, type State, type Step, access, placeOf } from './state';

/** What instructions reach beside the packet. */
export interface Machine {
  readonly spec: Spec;
  readonly state: State;
  readonly registers: ReadonlyMap<string, BigUint64Array>;
  readonly meters: ReadonlyMap<string, MeterArray>;
  readonly actions: ReadonlyMap<string, CompiledAction>;
  /** Looks up a table, learner or selector and runs the action; true when the packet ended in it. */
  readonly lookups: ReadonlyMap<string, () => boolean>;
  readonly isPort: (port: number) => boolean;
}

interface Value {
  readonly low: () => number;
  readonly high: () => number;
}

/** One closure for each instruction. */
export function compile(machine: Machine, instructions: readonly Instruction[]): Step[] {
  return instructions.map((instruction, index) => compileOne(machine, instruction, index + 1));
}

function value(state: State, operand: Operand): Value {
  if (operand.in !== 'const') return access(state, operand);
  const low = Number(operand.value & 0xffffffffn);
  const high = Number(operand.value >> 32n);
  return { low: () => low, high: () => high };
}

function compileOne(machine: Machine, i: Instruction, next: number): Step {
  const { state } = machine;
  const header = (name: string): NonNullable<ReturnType<State['headers']['get']>> => state.headers.get(name)!;
  const step = (run: () => void): Step => {
    return () => {
      run();
      return next;
    };
  };
  const jump = (target: number, condition: () => boolean): Step => {
    return () => (condition() ? target : next);
  };
  switch (i.op) {
    case 'rx': {
      const port = access(state, i.port);
      // A recirculated packet keeps the metadata of its first pass, the port included.
      return step(() => {
        if (state.pass === 0) port.write(0, state.inPort);
      });
    }
    case 'tx': {
      const port = value(state, i.port);
      return () => transmit(state, port.high() * 2 ** 32 + port.low(), machine.isPort);
    }
    case 'drop':
      return () => drop(state);
    case 'recirculate':
      return step(() => {
        state.recirculate = true;
      });
    case 'recircid': {
      const dst = access(state, i.dst);
      return step(() => {
        dst.write(0, state.pass);
      });
    }
    case 'extract': {
      const h = header(i.header);
      const extra = i.variableBytes && access(state, i.variableBytes);
      return step(() => {
        extract(state, h, extra ? extra.low() : 0);
      });
    }
    case 'lookahead': {
      const h = header(i.header);
      return step(() => {
        pointAtPacket(state, h, h.bytes);
      });
    }
    case 'emit': {
      const h = header(i.header);
      return step(() => {
        emit(state, h);
      });
    }
    case 'validate': {
      const h = header(i.header);
      return step(() => {
        validate(state, h);
      });
    }
    case 'invalidate': {
      const h = header(i.header);
      return step(() => {
        state.valid[h.index] = 0;
      });
    }
    case 'mov':
      return step(i.dst.bits > 64 ? moveWide(state, i) : moveNarrow(state, i));
    case 'add':
    case 'sub':
    case 'and':
    case 'or':
    case 'xor':
    case 'shl':
    case 'shr': {
      const dst = access(state, i.dst);
      const src = value(state, i.src);
      const operate = alu[i.op];
      return step(() => {
        operate(dst.high(), dst.low(), src.high(), src.low());
        dst.write(result.high, result.low);
      });
    }
    case 'ckadd':
    case 'cksub': {
      const dst = rawAccess(placeOf(state, i.dst), i.dst.offset, 2);
      const src = rawAccess(placeOf(state, i.src), i.src.offset, i.src.bits / 8);
      const add = i.op === 'ckadd';
      return step(() => {
        const sum = src.high() + src.low();
        dst.write(0, checksum(dst.low(), add ? sum : CHECKSUM_BIAS - sum));
      });
    }
    case 'ckaddheader': {
      const dst = rawAccess(placeOf(state, i.dst), i.dst.offset, 2);
      const h = header(i.header);
      // Whole 32-bit words only, whether or not the header is valid: what SWX does.
      const words = Array.from({ length: Math.floor(h.storage.length / 4) }, (_, w) =>
        rawAccess(h.place, w * 4, 4),
      );
      return step(() => {
        let sum = 0;
        for (let w = 0; w < Math.floor(h.bytes / 4); w++) sum += words[w]!.low();
        dst.write(0, checksum(dst.low(), sum));
      });
    }
    case 'hash': {
      const dst = access(state, i.dst);
      const src = placeOf(state, i.first);
      const from = i.first.offset;
      const length = i.last.offset + i.last.bits / 8 - from;
      return step(() => {
        dst.write(0, crc32(src.bytes, src.at + from, length));
      });
    }
    case 'regprefetch':
      return () => next;
    case 'regrd': {
      const { index, cells } = register(machine, i.array, i.index);
      const dst = access(state, i.dst);
      return step(() => {
        const cell = cells[index()]!;
        dst.write(Number(cell >> 32n), Number(cell & 0xffffffffn));
      });
    }
    case 'regwr': {
      const { index, cells } = register(machine, i.array, i.index);
      const src = value(state, i.src);
      return step(() => {
        cells[index()] = (BigInt(src.high()) << 32n) | BigInt(src.low());
      });
    }
    case 'regadd': {
      const { index, cells } = register(machine, i.array, i.index);
      const src = value(state, i.src);
      const name = i.array;
      return step(() => {
        const at = index();
        cells[at]! += (BigInt(src.high()) << 32n) | BigInt(src.low());
        state.trace?.push({ kind: 'counter', name, index: at });
      });
    }
    case 'metprefetch':
      return () => next;
    case 'meter': {
      const meters = machine.meters.get(i.array)!;
      const index = value(state, i.index);
      const amount = access(state, i.amount);
      const colour = value(state, i.colour);
      const dst = access(state, i.dst);
      return step(() => {
        // SWX takes 32 bits of the amount.
        dst.write(0, meters.run(index.low(), amount.low(), colour.low()));
      });
    }
    case 'table':
    case 'learner':
    case 'selector': {
      const lookup = machine.lookups.get(i.name)!;
      return () => (lookup() ? -1 : next);
    }
    case 'learn':
      return compileLearn(machine, i, step);
    case 'rearm': {
      const timeoutId = i.timeoutId && access(state, i.timeoutId);
      return step(() => state.learner?.rearm(timeoutId?.low(), state.learnerTime));
    }
    case 'forget':
      return step(() => state.learner?.forget());
    case 'entryid': {
      const dst = access(state, i.dst);
      return step(() => {
        dst.write(0, state.entryId);
      });
    }
    case 'jmp':
      return () => i.target;
    case 'jmph':
      return jump(i.target, () => state.hit);
    case 'jmpnh':
      return jump(i.target, () => !state.hit);
    case 'jmpv':
    case 'jmpnv': {
      const { index } = header(i.header);
      const wanted = i.op === 'jmpv' ? 1 : 0;
      return jump(i.target, () => state.valid[index] === wanted);
    }
    case 'jmpa':
      return jump(i.target, () => state.action === i.action);
    case 'jmpna':
      return jump(i.target, () => state.action !== i.action);
    case 'jmpcmp': {
      const a = access(state, i.a);
      const b = comparand(state, i);
      const test = compare[i.compare];
      return () => (test(a.high(), a.low(), b.high(), b.low()) ? i.target : next);
    }
    case 'return':
      return () => RETURN;
  }
}

/** For equality with a header field SWX cuts a constant to the field's width; everywhere else it compares all 64 bits. */
function comparand(state: State, i: Extract<Instruction, { op: 'jmpcmp' }>): Value {
  const cut = i.b.in === 'const' && i.a.in === 'header' && (i.compare === 'eq' || i.compare === 'neq');
  return value(state, cut ? { in: 'const', value: BigInt.asUintN(i.a.bits, i.b.value) } : i.b);
}

function moveNarrow(state: State, i: Extract<Instruction, { op: 'mov' }>): () => void {
  const dst = access(state, i.dst);
  const src = value(state, i.src);
  if (dst.bytes <= 4)
    return () => {
      dst.write(0, src.low());
    };
  return () => {
    dst.write(src.high(), src.low());
  };
}

/** Over 64 bits: bytes as they lie; the parser made sure that both have one width. */
function moveWide(state: State, i: Extract<Instruction, { op: 'mov' }>): () => void {
  if (i.src.in === 'const') throw new Error('a constant can not fill a field over 64 bits');
  const dst = placeOf(state, i.dst);
  const src = placeOf(state, i.src);
  const from = i.src.offset;
  const to = i.dst.offset;
  const bytes = i.dst.bits / 8;
  return () => {
    for (let k = 0; k < bytes; k++) dst.bytes[dst.at + to + k] = src.bytes[src.at + from + k] ?? 0;
  };
}

/** Checksums work on memory as a little-endian machine loads it; one's-complement sums do not mind. */
function rawAccess(place: Place, offset: number, bytes: number): ReturnType<typeof fieldAccess> {
  return fieldAccess(place, offset, bytes, false);
}

/** Register indices wrap at the array's size, which SWX rounds up to a power of two. */
function register(
  machine: Machine,
  name: string,
  index: Operand,
): { readonly index: () => number; readonly cells: BigUint64Array } {
  const cells = machine.registers.get(name)!;
  const mask = cells.length - 1;
  const operand = value(machine.state, index);
  return { index: () => (operand.low() & mask) >>> 0, cells };
}

function compileLearn(
  machine: Machine,
  i: Extract<Instruction, { op: 'learn' }>,
  step: (run: () => void) => Step,
): Step {
  const { state } = machine;
  const timeoutId = access(state, i.timeoutId);
  const from = i.firstArg?.offset ?? 0;
  let action: CompiledAction | undefined;
  return step(() => {
    // Actions may learn each other, so this one may have been compiled later.
    action ??= machine.actions.get(i.action)!;
    if (state.learner === undefined || state.learnerKey === undefined) return;
    const { name, bytes, values } = state.learnerKey();
    const data = state.metadata.bytes.slice(from, from + action.argBytes);
    const done = state.learner.learn(i.action, action, data, timeoutId.low(), state.learnerTime, bytes);
    if (done && state.trace)
      state.trace.push({ kind: 'learn', table: name, keys: values(), action: i.action });
  });
}

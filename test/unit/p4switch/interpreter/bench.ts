import type { SpecKey } from '../../../../src/p4switch/engine';
import {
  type Interpreter,
  type InterpreterOptions,
  createInterpreter,
} from '../../../../src/p4switch/interpreter/interpreter';
import { parseSpec } from '../../../../src/p4switch/spec/parser';

/**
 * A pipeline of a test's own instructions. A packet is header h (two bytes a8 pad8, a16, a24 with pad8, a32, a48 with
 * pad16, a64: 27 bytes) and a payload; metadata has the same widths. `body` runs between extract and emit.
 */
export interface Bench {
  readonly declarations?: string;
  readonly metadata?: string;
  readonly body: string;
}

export function benchSpec({ declarations = '', metadata = '', body }: Bench): string {
  return `
struct wide_t {
	bit<8> f8
	bit<16> f16
	bit<24> f24
	bit<32> f32
	bit<48> f48
	bit<64> f64
}
struct meta_t {
	bit<32> port
	bit<8> f8
	bit<16> f16
	bit<24> f24
	bit<32> f32
	bit<48> f48
	bit<64> f64
	bit<64> g64
	bit<32> g32
	bit<8> timeout
${metadata}
}
header h instanceof wide_t
header g instanceof wide_t
metadata instanceof meta_t
${declarations}
apply {
	rx m.port
${body}
	tx m.port
}`;
}

export function bench(parts: Bench, options: Partial<InterpreterOptions> = {}): Interpreter {
  return createInterpreter(parseSpec(benchSpec(parts)), { now: () => 0, ...options });
}

export const WIDTHS = [8, 16, 24, 32, 48, 64] as const;

/** The bytes of a wide_t header with these values. */
export function wide(values: Partial<Record<(typeof WIDTHS)[number], bigint>>): Uint8Array {
  const hex = WIDTHS.map((w) => (values[w] ?? 0n).toString(16).padStart(w / 4, '0')).join('');
  return Buffer.from(hex, 'hex');
}

export function exact(value: bigint | number, bits: number): SpecKey {
  return { value: BigInt(value), mask: (1n << BigInt(bits)) - 1n };
}

export function hex(frame: Uint8Array | undefined): string {
  return Buffer.from(frame ?? []).toString('hex');
}

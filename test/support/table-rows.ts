/** Rows of the compiled program as tests write them. Addresses are two halves, IPv4 as ::ffff:a.b.c.d. */
import type { SpecEntry, SpecKey } from '../../src/p4switch/engine';
import { parseCidr } from '../../src/translators/address';

export interface TableRow {
  readonly table: string;
  readonly entry: SpecEntry;
}

/** Both halves of an address. */
export function halves(address: string): readonly [bigint, bigint] {
  const { hi, lo } = parseCidr(address)!;
  return [hi, lo];
}

export function exact(value: number | bigint, bits: number): SpecKey {
  return { value: BigInt(value), mask: (1n << BigInt(bits)) - 1n };
}

export function address(text: string): readonly SpecKey[] {
  return halves(text).map((half) => exact(half, 64));
}

export function row(
  table: string,
  keys: readonly SpecKey[],
  action: string,
  ...params: readonly (number | bigint)[]
): TableRow {
  return prioritised(table, keys, 0, action, ...params);
}

/** 0 is the highest priority. */
export function prioritised(
  table: string,
  keys: readonly SpecKey[],
  priority: number,
  action: string,
  ...params: readonly (number | bigint)[]
): TableRow {
  return { table, entry: { keys, priority, action: { name: action, params: params.map(BigInt) } } };
}

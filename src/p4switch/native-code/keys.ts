import type { KeyField, Table } from '../spec/ast';
import { type Fields, place } from './operands';

/** Tables that the engine keeps itself (native/engine/exact.h): their keys are exact and lie side by side. */
export function isExact({ keys }: Table): boolean {
  const bits = keys.reduce((sum, { field }) => sum + field.bits, 0);
  return keys.length > 0 && keys.every(({ match }) => match === 'exact') && bits === 8 * keyRange(keys).bytes;
}

/** Where a key begins in its struct, and its bytes, with what lies between the fields. */
export function keyRange(keys: readonly KeyField[]): { readonly from: number; readonly bytes: number } {
  if (keys.length === 0) return { from: 0, bytes: 0 };
  const from = Math.min(...keys.map(({ field }) => field.offset));
  const to = Math.max(...keys.map(({ field }) => field.offset + field.bits / 8));
  return { from, bytes: to - from };
}

/** A key is looked up in words of 8 bytes. */
export function keyWords(keys: readonly KeyField[]): number {
  return Math.ceil(keyRange(keys).bytes / 8);
}

/** A function that makes the key of table number `n`: its bytes as they lie in memory, the last word filled up with zeros. */
export function writeKey(table: Table, fields: Fields, n: number): string {
  const base = place(fields, table.keys[0]!.field);
  const { from, bytes } = keyRange(table.keys);
  const words = Array.from({ length: keyWords(table.keys) }, (_, word) => {
    const at = 8 * word;
    return `\tk[${word}] = get_le(${base} + ${from + at}, ${Math.min(8, bytes - at)});\n`;
  });
  const head = `static __rte_always_inline void key_${n}(const struct lane *l, uint64_t *k)`;
  return `/* ${table.name} */\n${head}\n{\n${words.join('')}}`;
}

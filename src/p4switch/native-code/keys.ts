import type { KeyField, Table } from '../spec/ast';
import { type Fields, place } from './operands';

/** Tables that the engine keeps itself (native/engine/exact.h). */
export function isExact(table: Table): boolean {
  return table.keys.length > 0 && table.keys.every(({ match }) => match === 'exact');
}

/** Where a key begins in its struct, and its bytes, with what lies between the fields. */
export function keyRange(keys: readonly KeyField[]): { readonly from: number; readonly bytes: number } {
  if (keys.length === 0) return { from: 0, bytes: 0 };
  const from = Math.min(...keys.map(({ field }) => field.offset));
  const to = Math.max(...keys.map(({ field }) => field.offset + field.bits / 8));
  return { from, bytes: to - from };
}

export interface KeyWord {
  /** In the struct. */
  readonly offset: number;
  readonly bytes: number;
  /** Bits that belong to the key, as the word lies in memory of a little-endian machine. */
  readonly mask: bigint;
}

/** A key as DPDK has it, in words of 8 bytes: the last one may be shorter. */
export function keyWords(keys: readonly KeyField[]): readonly KeyWord[] {
  const { from, bytes } = keyRange(keys);
  return Array.from({ length: Math.ceil(bytes / 8) }, (_, word) => {
    const length = Math.min(8, bytes - word * 8);
    let mask = 0n;
    for (let b = 0; b < length; b++) {
      const at = from + word * 8 + b;
      if (keys.some(({ field }) => field.offset <= at && at < field.offset + field.bits / 8))
        mask |= 0xffn << BigInt(8 * b);
    }
    return { offset: from + word * 8, bytes: length, mask };
  });
}

/** A function that makes the key of table number `n`. */
export function writeKey(table: Table, fields: Fields, n: number): string {
  const from = place(fields, table.keys[0]!.field);
  const words = keyWords(table.keys).map(({ offset, bytes, mask }, word) => {
    const whole = mask === (1n << BigInt(8 * bytes)) - 1n;
    const cut = whole ? '' : ` & UINT64_C(0x${mask.toString(16)})`;
    return `\tk[${word}] = get_le(${from} + ${offset}, ${bytes})${cut};\n`;
  });
  const head = `static __rte_always_inline void key_${n}(const struct lane *l, uint64_t *k)`;
  return `/* ${table.name} */\n${head}\n{\n${words.join('')}}`;
}

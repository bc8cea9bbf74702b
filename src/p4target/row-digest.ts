import { createHash } from 'node:crypto';
import { rowContent, rowKey, type Row } from '../translators/rows';

/** Names a set of rows, whatever their order: equal sets have equal digests, and other sets other ones. */
export interface RowDigest {
  add(row: Row): void;
  /** One that was added, or an equal one. */
  remove(row: Row): void;
  /** 32 hexadecimal digits. */
  text(): string;
}

const BITS = 128;

/** The sum of the rows' hashes, so that a row more or less costs one hash. */
export function createRowDigest(): RowDigest {
  let sum = 0n;
  return {
    add(row) {
      sum = BigInt.asUintN(BITS, sum + hashOf(row));
    },
    remove(row) {
      sum = BigInt.asUintN(BITS, sum - hashOf(row));
    },
    text: () => sum.toString(16).padStart(BITS / 4, '0'),
  };
}

function hashOf(row: Row): bigint {
  const hash = createHash('sha256')
    .update(`${rowKey(row)} ${rowContent(row)}`)
    .digest();
  return (hash.readBigUInt64LE(0) << 64n) | hash.readBigUInt64LE(8);
}

import { invalid } from './refusal';

/** 2^bits - 1. */
export function ones(bits: number): bigint {
  return (1n << BigInt(bits)) - 1n;
}

/**
 * An unsigned value from a P4Runtime byte string (big-endian, any number of leading zero bytes). It must fit `bits`.
 * Refuses with INVALID_ARGUMENT: the sections on matches and on action parameters say so of every violation, and are
 * more specific than the general OUT_OF_RANGE of the section on byte strings.
 */
export function decodeValue(bytes: Uint8Array, bits: number, what: string): bigint {
  if (bytes.length === 0) throw invalid(`${what}: the value is empty; zero is one byte`);
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start++;
  // 2^16 bits is beyond any P4 field: do not convert what can not fit anyhow.
  const tooLong = (bytes.length - start) * 8 > bits + 7;
  const value = tooLong ? undefined : toBigInt(bytes, start);
  if (value === undefined || value >> BigInt(bits) !== 0n) {
    throw invalid(`${what}: the value does not fit ${bits} bits`);
  }
  return value;
}

function toBigInt(bytes: Uint8Array, start: number): bigint {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.length - start <= 6) return BigInt(view.readUIntBE(start, view.length - start));
  return BigInt(`0x${view.toString('hex', start)}`);
}

/**
 * The byte string of an unsigned value: canonical (no leading zero byte, zero itself is one byte), or as long as a value
 * of `bits` can be.
 */
export function encodeValue(value: bigint, bits: number, padded: boolean): Buffer {
  const hex = value.toString(16);
  const digits = padded ? Math.ceil(bits / 8) * 2 : hex.length + (hex.length % 2);
  return Buffer.from(hex.padStart(digits, '0'), 'hex');
}

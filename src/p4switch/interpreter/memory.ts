/**
 * Where the fields of a struct lie right now. Headers move: `extract` points them into the packet, `validate` to their
 * own storage. Nothing is ever cleared, as in SWX.
 */
export interface Place {
  bytes: Uint8Array;
  at: number;
}

/**
 * A field at a place. 64-bit values are two unsigned 32-bit halves: BigInt would cost more than all the rest of an
 * instruction. Writes keep the low bits that fit and touch no byte beside the field. Bytes beyond the buffer read as 0.
 */
export interface FieldAccess {
  readonly bytes: number;
  /** Bits 0..31. */
  readonly low: () => number;
  /** Bits 32..63; 0 for narrow fields. */
  readonly high: () => number;
  readonly write: (high: number, low: number) => void;
}

const zero = (): number => 0;

/** Header fields are big-endian, metadata and action arguments little-endian (the host order of the target). */
export function fieldAccess(place: Place, offset: number, bytes: number, bigEndian: boolean): FieldAccess {
  // Index of the byte of significance `i`.
  const index = (i: number): number => (bigEndian ? offset + bytes - 1 - i : offset + i);
  const half = (from: number, to: number): (() => number) => {
    if (to <= from) return zero;
    const i0 = index(from);
    const step = bigEndian ? -1 : 1;
    switch (to - from) {
      case 1:
        return () => place.bytes[place.at + i0]!;
      case 2:
        return () => {
          const at = place.at + i0;
          return place.bytes[at]! | (place.bytes[at + step]! << 8);
        };
      case 4:
        return () => {
          const { bytes: b, at: base } = place;
          const at = base + i0;
          return (
            (b[at]! | (b[at + step]! << 8) | (b[at + 2 * step]! << 16) | (b[at + 3 * step]! << 24)) >>> 0
          );
        };
      default:
        return () => {
          const at = place.at + i0;
          return place.bytes[at]! | (place.bytes[at + step]! << 8) | (place.bytes[at + 2 * step]! << 16);
        };
    }
  };
  const lowBytes = Math.min(bytes, 4);
  const step = bigEndian ? -1 : 1;
  const first = index(0);
  return {
    bytes,
    low: half(0, lowBytes),
    high: half(4, Math.min(bytes, 8)),
    write(high, low) {
      const b = place.bytes;
      let at = place.at + first;
      let value = low;
      for (let i = 0; i < lowBytes; i++, at += step, value >>>= 8) b[at] = value;
      value = high;
      for (let i = 4; i < bytes; i++, at += step, value >>>= 8) b[at] = value;
    },
  };
}

/** An unsigned value of any width out of `bytes`. */
export function readBig(bytes: Uint8Array, at: number, length: number, bigEndian: boolean): bigint {
  if (length <= 4) return BigInt(readNarrow(bytes, at, length, bigEndian));
  if (length <= 8) {
    const high = readNarrow(bytes, bigEndian ? at : at + 4, length - 4, bigEndian);
    const low = readNarrow(bytes, bigEndian ? at + length - 4 : at, 4, bigEndian);
    return high === 0 ? BigInt(low) : (BigInt(high) << 32n) | BigInt(low);
  }
  let value = 0n;
  for (let i = 0; i < length; i++) {
    const byte = bytes[at + (bigEndian ? i : length - 1 - i)] ?? 0;
    value = (value << 8n) | BigInt(byte);
  }
  return value;
}

/** Writes an unsigned value of any width; bits beyond `length` bytes are lost. */
export function writeBig(
  bytes: Uint8Array,
  at: number,
  length: number,
  bigEndian: boolean,
  value: bigint,
): void {
  // Most keys and arguments: plain numbers are many times faster than BigInt.
  if (length <= 4) {
    writeNarrow(bytes, at, length, bigEndian, Number(BigInt.asUintN(32, value)));
    return;
  }
  if (length <= 8) {
    const high = value === 0n ? 0 : Number(BigInt.asUintN(32, value >> 32n));
    const low = value === 0n ? 0 : Number(BigInt.asUintN(32, value));
    writeNarrow(bytes, bigEndian ? at : at + 4, length - 4, bigEndian, high);
    writeNarrow(bytes, bigEndian ? at + length - 4 : at, 4, bigEndian, low);
    return;
  }
  let rest = value;
  for (let i = 0; i < length; i++) {
    bytes[at + (bigEndian ? length - 1 - i : i)] = Number(rest & 0xffn);
    rest >>= 8n;
  }
}

/** Up to four bytes. */
function readNarrow(bytes: Uint8Array, at: number, length: number, bigEndian: boolean): number {
  let value = 0;
  for (let i = 0; i < length; i++) value = (value << 8) | (bytes[at + (bigEndian ? i : length - 1 - i)] ?? 0);
  return value >>> 0;
}

/** Up to four bytes. */
function writeNarrow(bytes: Uint8Array, at: number, length: number, bigEndian: boolean, value: number): void {
  let rest = value;
  for (let i = 0; i < length; i++, rest >>>= 8) bytes[at + (bigEndian ? length - 1 - i : i)] = rest;
}

/**
 * Byte order of a field. Fields over 64 bits are only ever moved whole between structs, byte by byte, so they stay in
 * network order wherever they lie.
 */
export function isBigEndian(inHeader: boolean, bits: number): boolean {
  return inHeader || bits > 64;
}

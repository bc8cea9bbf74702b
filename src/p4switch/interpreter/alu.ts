import type { AluOp, Comparison } from '../spec/ast';

/** An unsigned 64-bit result in two halves; one shared object, so that arithmetic allocates nothing. */
export const result = { high: 0, low: 0 };

type Alu = (ah: number, al: number, bh: number, bl: number) => void;

function set(high: number, low: number): void {
  result.high = high >>> 0;
  result.low = low >>> 0;
}

/** Unsigned 64-bit arithmetic into `result`. Shift counts wrap at 64, as on the target's CPU. */
export const alu: Readonly<Record<AluOp, Alu>> = {
  add(ah, al, bh, bl) {
    const low = al + bl;
    set(ah + bh + (low > 0xffffffff ? 1 : 0), low);
  },
  sub(ah, al, bh, bl) {
    const low = al - bl;
    set(ah - bh - (low < 0 ? 1 : 0), low);
  },
  and(ah, al, bh, bl) {
    set(ah & bh, al & bl);
  },
  or(ah, al, bh, bl) {
    set(ah | bh, al | bl);
  },
  xor(ah, al, bh, bl) {
    set(ah ^ bh, al ^ bl);
  },
  shl(ah, al, _bh, bl) {
    const n = bl & 63;
    if (n === 0) set(ah, al);
    else if (n >= 32) set(al << (n - 32), 0);
    else set((ah << n) | (al >>> (32 - n)), al << n);
  },
  shr(ah, al, _bh, bl) {
    const n = bl & 63;
    if (n === 0) set(ah, al);
    else if (n >= 32) set(0, ah >>> (n - 32));
    else set(ah >>> n, (al >>> n) | (ah << (32 - n)));
  },
};

/** Unsigned 64-bit comparisons. */
export const compare: Readonly<
  Record<Comparison, (ah: number, al: number, bh: number, bl: number) => boolean>
> = {
  eq: (ah, al, bh, bl) => al === bl && ah === bh,
  neq: (ah, al, bh, bl) => al !== bl || ah !== bh,
  lt: (ah, al, bh, bl) => ah < bh || (ah === bh && al < bl),
  gt: (ah, al, bh, bl) => ah > bh || (ah === bh && al > bl),
};

/** One's-complement sum of a checksum field (as it lies in memory) and a number that may have up to 50 bits. */
export function checksum(field: number, addend: number): number {
  let sum = (~field & 0xffff) + addend;
  while (sum > 0xffff) sum = (sum % 0x10000) + Math.floor(sum / 0x10000);
  const folded = ~sum & 0xffff;
  // SWX never stores 0: it stands for "no checksum" in UDP, and 0xffff is its equal.
  return folded === 0 ? 0xffff : folded;
}

/** A multiple of 0xffff that keeps a subtraction of two 32-bit halves positive. */
export const CHECKSUM_BIAS = 0xffff00000;

const CRC32C_TABLE = Uint32Array.from({ length: 256 }, (_, i) => {
  let c = i;
  for (let bit = 0; bit < 8; bit++) c = c & 1 ? (c >>> 1) ^ 0x82f63b78 : c >>> 1;
  return c;
});

/** CRC-32C without initial or final inversion: what DPDK calls crc32 (rte_hash_crc with seed 0). */
export function crc32(bytes: Uint8Array, at: number, length: number): number {
  let crc = 0;
  for (let i = at; i < at + length; i++) crc = CRC32C_TABLE[(crc ^ (bytes[i] ?? 0)) & 0xff]! ^ (crc >>> 8);
  return crc >>> 0;
}

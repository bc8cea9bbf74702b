/** P4Runtime's canonical byte string of an unsigned value: the shortest, at least one byte, big-endian. */
export function toCanonical(value: bigint): Buffer {
  if (value < 0n) throw new RangeError(`negative value ${value}`);
  const hex = value.toString(16);
  return Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex');
}

/** The value of a byte string, padded or not; an empty one is 0. */
export function fromBytes(bytes: Uint8Array): bigint {
  if (bytes.length === 0) return 0n;
  return BigInt(`0x${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex')}`);
}

/** The mask of an LPM prefix in a field of `width` bits. */
export function prefixMask(width: number, prefixLen: number): bigint {
  return ((1n << BigInt(prefixLen)) - 1n) << BigInt(width - prefixLen);
}

/**
 * Checksums by another way than src/packet and the pipeline: one's complement sums are numbers modulo 65,535, and a sum over a whole
 * that holds its own checksum is 0.
 */

/** Of the IPv4 header of a frame; false when there is none. */
export function ipv4HeaderIsRight(frame: Uint8Array): boolean {
  if (frame.length < 34 || frame[12] !== 0x08 || frame[13] !== 0x00) return false;
  const end = 14 + (frame[14]! & 0xf) * 4;
  return end <= frame.length && isZero(frame.subarray(14, end));
}

/** Of an ICMPv6 message right behind the IPv6 header of a frame; false when there is none. */
export function icmpv6IsRight(frame: Uint8Array): boolean {
  if (frame.length < 58 || frame[12] !== 0x86 || frame[13] !== 0xdd || frame[20] !== 58) return false;
  const length = frame[18]! * 256 + frame[19]!;
  if (54 + length > frame.length) return false;
  const addresses = frame.subarray(22, 54);
  const message = frame.subarray(54, 54 + length);
  const padded = message.length % 2 === 0 ? message : Uint8Array.from([...message, 0]);
  return isZero(Uint8Array.from([...addresses, length >> 8, length & 0xff, 0, 58, ...padded]));
}

function isZero(bytes: Uint8Array): boolean {
  return BigInt(`0x${Buffer.from(bytes).toString('hex')}`) % 0xffffn === 0n;
}

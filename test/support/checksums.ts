/**
 * Checksums by another way than src/packet and the pipeline: one's complement sums are numbers modulo 65,535, and a sum over a whole
 * that holds its own checksum is 0.
 */

/** Of the IPv4 header of a frame; false when there is none. */
export function ipv4HeaderIsRight(frame: Uint8Array): boolean {
  if (frame.length < 34 || frame[12] !== 0x08 || frame[13] !== 0x00) return false;
  const end = 14 + (frame[14]! & 0xf) * 4;
  return end >= 34 && end <= frame.length && isZero(frame.subarray(14, end));
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

/**
 * Of TCP, UDP, UDP-Lite, ICMP or ICMPv6 right behind the IP header of a frame that is no later fragment; false when there is none. UDP
 * without a checksum has none.
 */
export function transportIsRight(frame: Uint8Array): boolean {
  const view = Buffer.from(frame);
  const is4 = frame.length >= 34 && frame[12] === 0x08 && frame[13] === 0x00 && frame[14] === 0x45;
  const is6 = frame.length >= 54 && frame[12] === 0x86 && frame[13] === 0xdd;
  if (!is4 && !is6) return false;
  if (is4 && (view.readUInt16BE(20) & 0x1fff) !== 0) return false;
  const [at, proto] = is4 ? [34, frame[23]!] : [54, frame[20]!];
  const end = is4 ? 14 + view.readUInt16BE(16) : 54 + view.readUInt16BE(18);
  const message = frame.subarray(at, end);
  const checksumAt = new Map([[6, 16], [17, 6], [136, 6], is4 ? [1, 2] : [58, 2]]).get(proto);
  if (checksumAt === undefined || end > frame.length || message.length < checksumAt + 2) return false;
  if (view.readUInt16BE(at + checksumAt) === 0) return false;
  const covered = is4 ? frame.subarray(26, 34) : frame.subarray(22, 54);
  const pseudo = proto === 1 ? [] : [...covered, message.length >> 8, message.length & 0xff, 0, proto];
  return isZero(Uint8Array.from([...pseudo, ...message, ...(message.length % 2 === 0 ? [] : [0])]));
}

function isZero(bytes: Uint8Array): boolean {
  return BigInt(`0x${Buffer.from(bytes).toString('hex')}`) % 0xffffn === 0n;
}

/** Frames that are wrong or unusual, made from right ones. */
import type { Random } from './random';

/** IPv4: options of NOPs. */
export function addOptions(frame: Uint8Array, random: Random): Uint8Array {
  const words = 1 + random.below(10);
  const out = splice(
    frame,
    34,
    Uint8Array.from({ length: 4 * words }, () => 1),
  );
  out[14] = 0x45 + words;
  setLength(out, 16, out.length - 14);
  return out;
}

/** IPv6: an extension header of 8 bytes in front of what was there. */
export function addExtension(frame: Uint8Array, random: Random): Uint8Array {
  const header = new Uint8Array(8);
  header[0] = frame[20]!;
  // A fragment header here may be an atomic fragment, or hide another extension header behind it.
  const type = random.pick([0, 43, 44, 44, 51, 60, 135, 139, 140]);
  if (type === 44 && random.chance(0.5)) header[0] = random.pick([0, 43, 44, 51, 60, 58, 1]);
  const out = splice(frame, 54, header);
  out[20] = type;
  setLength(out, 18, out.length - 54);
  return out;
}

/** IPv6: source or destination becomes a v4-mapped address. */
export function mapAddress(frame: Uint8Array, random: Random): Uint8Array {
  const at = random.pick([22, 38]);
  frame.fill(0, at, at + 10);
  frame.fill(0xff, at + 10, at + 12);
  frame.set(
    random.pick([
      [10, 0, 0, 1],
      [10, 0, 0, 2],
      [0, 0, 0, 0],
      [255, 255, 255, 255],
    ]),
    at + 12,
  );
  return frame;
}

/** One wrong thing in the first 80 bytes behind the Ethernet header. */
export function damage(frame: Uint8Array, random: Random): Uint8Array {
  const v4 = frame[12] === 0x08;
  const at = random.pick([14, v4 ? 20 : 18, v4 ? 21 : 19, v4 ? 16 : 20, v4 ? 17 : 21, v4 ? 23 : 54]);
  const damaged = random.chance(0.6) ? at : 14 + random.below(Math.min(80, frame.length - 14));
  frame[damaged] = random.chance(0.5) ? random.below(256) : frame[damaged]! ^ (1 << random.below(8));
  return frame;
}

function splice(frame: Uint8Array, at: number, insert: Uint8Array): Uint8Array {
  const out = new Uint8Array(frame.length + insert.length);
  out.set(frame.subarray(0, at));
  out.set(insert, at);
  out.set(frame.subarray(at), at + insert.length);
  return out;
}

function setLength(frame: Uint8Array, at: number, length: number): void {
  frame[at] = length >> 8;
  frame[at + 1] = length & 0xff;
}

import type { FieldRef } from '../spec/ast';
import { type Place, isBigEndian, readBig, writeBig } from './memory';

/** Key bytes in a form that a Map can hash: a number up to 6 bytes, else a string of their bytes. */
export type PackedKey = number | string;

interface Part {
  readonly place: Place;
  readonly offset: number;
  readonly bytes: number;
  readonly bigEndian: boolean;
  /** Where the part begins in the gathered key. */
  readonly to: number;
}

/** The key of a table: its fields, gathered byte by byte in the spec's order. */
export interface KeyLayout {
  readonly bytes: number;
  readonly parts: readonly Part[];
  /** Holds the key last gathered. */
  readonly scratch: Buffer;
}

export function keyLayout(fields: readonly FieldRef[], placeOf: (field: FieldRef) => Place): KeyLayout {
  let to = 0;
  const parts = fields.map((field): Part => {
    const bytes = field.bits / 8;
    const part = {
      place: placeOf(field),
      offset: field.offset,
      bytes,
      bigEndian: isBigEndian(field.in === 'header', field.bits),
      to,
    };
    to += bytes;
    return part;
  });
  return { bytes: to, parts, scratch: Buffer.alloc(to) };
}

/** Copies the packet's key into the layout's scratch buffer. */
export function gather(layout: KeyLayout): void {
  const { parts, scratch } = layout;
  for (const part of parts) {
    const from = part.place.bytes;
    const at = part.place.at + part.offset;
    for (let i = 0; i < part.bytes; i++) scratch[part.to + i] = from[at + i]!;
  }
}

/** Key bytes of values given in the order of the fields. */
export function encode(layout: KeyLayout, values: readonly bigint[]): Buffer {
  const bytes = Buffer.alloc(layout.bytes);
  layout.parts.forEach((part, i) => {
    writeBig(bytes, part.to, part.bytes, part.bigEndian, values[i]!);
  });
  return bytes;
}

/** The values of key bytes, in the order of the fields. */
export function decode(layout: KeyLayout, bytes: Uint8Array): bigint[] {
  return layout.parts.map((part) => readBig(bytes, part.to, part.bytes, part.bigEndian));
}

/** A form for hashing; injective for keys of one length. */
export function pack(bytes: Buffer): PackedKey {
  switch (bytes.length) {
    case 1:
      return bytes[0]!;
    case 2:
      return bytes[0]! | (bytes[1]! << 8);
    case 4:
      return (bytes[0]! | (bytes[1]! << 8) | (bytes[2]! << 16) | (bytes[3]! << 24)) >>> 0;
    case 3:
    case 5:
    case 6: {
      let value = 0;
      for (const byte of bytes) value = value * 256 + byte;
      return value;
    }
    case 8:
      return String.fromCharCode(
        bytes[0]! | (bytes[1]! << 8),
        bytes[2]! | (bytes[3]! << 8),
        bytes[4]! | (bytes[5]! << 8),
        bytes[6]! | (bytes[7]! << 8),
      );
    default:
      return bytes.toString('latin1');
  }
}

/** The inverse of pack, for keys of `length` bytes. */
export function unpack(length: number, key: PackedKey): Buffer {
  const bytes = Buffer.alloc(length);
  if (typeof key === 'string') {
    if (length !== 8) bytes.write(key, 'latin1');
    else for (let i = 0; i < 4; i++) bytes.writeUInt16LE(key.charCodeAt(i), 2 * i);
  } else if (length === 2 || length === 4) bytes.writeUIntLE(key, 0, length);
  else bytes.writeUIntBE(key, 0, length);
  return bytes;
}

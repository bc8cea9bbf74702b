/**
 * The protobuf wire format, as far as one must look at bytes before one knows their schema: to read the envelope, and to
 * tell the forms of the contract apart. Everything else is decoded by protobufjs.
 */

/** Varint, 64-bit, length-delimited, 32-bit. Groups (3, 4) are in no Felix message and are refused. */
export type WireType = 0 | 1 | 2 | 5;

export interface WireField {
  readonly number: number;
  readonly wireType: WireType;
  /** Where the value lies: for length-delimited fields without the length. */
  readonly from: number;
  readonly to: number;
  /** Varints only, else 0. Exact up to 2^53 - 1; larger ones are rounded, so compare with Number.MAX_SAFE_INTEGER. */
  readonly value: number;
}

/** The bytes are not protobuf. Callers turn it into an error that names the message. */
export class WireError extends Error {}

/** The fields of the message in bytes[from, to), in order. @throws WireError */
export function readFields(bytes: Uint8Array, from = 0, to = bytes.length): WireField[] {
  const fields: WireField[] = [];
  let at = from;

  function varint(): number {
    let value = 0;
    let scale = 1;
    for (let i = 0; i < 10; i++) {
      if (at >= to) {
        throw new WireError('a number is cut off');
      }
      const byte = bytes[at++]!;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        return value;
      }
      scale *= 128;
    }
    throw new WireError('a number has more than 64 bits');
  }

  while (at < to) {
    const tag = varint();
    const number = Math.floor(tag / 8);
    const wireType = tag % 8;
    if (number < 1 || number > 0x1fffffff) {
      throw new WireError(`field number ${number} is impossible`);
    }
    switch (wireType) {
      case 0: {
        const start = at;
        const value = varint();
        fields.push({ number, wireType, from: start, to: at, value });
        break;
      }
      case 1:
      case 2:
      case 5: {
        const length = wireType === 2 ? varint() : wireType === 1 ? 8 : 4;
        if (length > to - at) {
          throw new WireError(`field ${number} is longer than its message`);
        }
        fields.push({ number, wireType, from: at, to: at + length, value: 0 });
        at += length;
        break;
      }
      default:
        throw new WireError(`field ${number} has wire type ${wireType}, which Felix does not use`);
    }
  }
  return fields;
}

/** Mutations of protobuf messages that keep most of the structure, so that they get past the first check. */
import { readFields, type WireField } from '../../../src/driver/felix/wire';

export const MUTATIONS = [
  'flip',
  'truncate',
  'remove-field',
  'repeat-field',
  'renumber-field',
  'other-number',
  'hostile-text',
  'invalid-utf8',
  'random-content',
  'nest',
  'huge-length',
  'unknown-field',
] as const;
export type MutationKind = (typeof MUTATIONS)[number];

export interface Mutation {
  readonly kind: MutationKind;
  /** Where: taken modulo what there is. */
  readonly at: number;
  /** How deep to look for a field. */
  readonly depth: number;
  readonly value: number;
}

/** Text that is almost what Felix sends. */
export const HOSTILE_TEXTS = [
  '',
  '/',
  '0.0.0.0/0',
  '::/0',
  '::ffff:10.0.0.1',
  '::ffff:0:0/96',
  '10.0.0.1/33',
  '10.0.0.1/-1',
  '10.0.0.1/08',
  '10.0.0.256',
  '010.0.0.1',
  '0x0a000001',
  '10.1',
  '10.0.0.1/',
  '10.0.0.1/24/24',
  'fe80::1%eth0',
  'fd00::/129',
  ':::',
  '10.0.0.1,tcp:80',
  '10.0.0.1,tcp:65536',
  '10.0.0.1,:80',
  '10.0.0.1,tcp:',
  '10.0.0.1,999:80',
  '10.0.0.1,tcp:80,tcp:81',
  ',tcp:80',
  '__proto__',
  'constructor',
  'toString',
  'staged:x.y',
  'a/b/c',
  'default.',
  'pass',
  'DENY',
  'allow\0',
  'permit',
  ' 10.0.0.1',
  '10.0.0.1\n',
  '\ud7ff\u{10ffff}',
  'x'.repeat(5000),
] as const;

const INVALID_UTF8 = [[0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xe2, 0x82]];
const NUMBERS = [0, 1, 3, 5, 7, 41, 255, 256, 65535, 65536, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 2 ** 53];

/** The message with one thing changed; the same one for the same arguments. */
export function mutate(message: Uint8Array, mutation: Mutation): Uint8Array {
  const { kind, at, depth, value } = mutation;
  if (kind === 'flip') {
    const out = Uint8Array.from(message);
    if (out.length > 0) out[at % out.length]! ^= 1 << (value % 8);
    return out;
  }
  if (kind === 'truncate') return message.slice(0, at % (message.length + 1));
  return mutateField(message, mutation, depth);
}

function mutateField(message: Uint8Array, mutation: Mutation, depth: number): Uint8Array {
  const fields = fieldsOf(message);
  const { at, kind, value } = mutation;
  if (kind === 'unknown-field') {
    return Buffer.concat([message, encodeTag(200 + (value % 1000), 0), encodeVarint(at)]);
  }
  if (fields === undefined || fields.length === 0) return message;
  const index = at % fields.length;
  const field = fields[index]!;
  const content = message.subarray(field.from, field.to);
  if (depth > 0 && field.wireType === 2 && fieldsOf(content)?.length) {
    const inner = mutateField(content, { ...mutation, at: Math.floor(at / fields.length) }, depth - 1);
    return join(message, fields, index, encodeBytes(field.number, inner));
  }
  return join(message, fields, index, changed(field, content, mutation));
}

function changed(field: WireField, content: Uint8Array, { kind, value }: Mutation): Uint8Array {
  const whole = encodeField(field, content);
  switch (kind) {
    case 'remove-field':
      return new Uint8Array();
    case 'repeat-field': {
      // Up to some megabytes, as a hostile sender might.
      const times = Math.min(2 + (value % 20_000), Math.ceil(2_000_000 / Math.max(1, whole.length)));
      return Buffer.concat(Array.from({ length: times }, () => whole));
    }
    case 'renumber-field':
      return encodeField({ ...field, number: 1 + (value % 40) }, content);
    case 'other-number':
      return Buffer.concat([encodeTag(field.number, 0), encodeVarint(NUMBERS[value % NUMBERS.length]!)]);
    case 'hostile-text':
      return encodeBytes(field.number, Buffer.from(HOSTILE_TEXTS[value % HOSTILE_TEXTS.length]!));
    case 'invalid-utf8': {
      const bad = INVALID_UTF8[value % INVALID_UTF8.length]!;
      return encodeBytes(field.number, Buffer.concat([content, Uint8Array.from(bad)]));
    }
    case 'random-content':
      return encodeBytes(
        field.number,
        Uint8Array.from({ length: value % 40 }, (_, i) => (value * (i + 7)) & 0xff),
      );
    case 'nest': {
      let inner: Uint8Array = content.slice(0, 100);
      for (let i = 0; i < 1 + (value % 2000); i++) inner = encodeBytes(1 + (value % 15), inner);
      return encodeBytes(field.number, inner);
    }
    case 'huge-length':
      return Buffer.concat([
        encodeTag(field.number, 2),
        encodeVarint(NUMBERS[value % NUMBERS.length]!),
        content,
      ]);
    default:
      return whole;
  }
}

/** ToDataplane.sequence_number set to what the stream asks for. */
export function withSequence(message: Uint8Array, sequence: number): Uint8Array {
  const fields = fieldsOf(message);
  if (fields === undefined) return message;
  const kept = fields
    .filter((f) => f.number !== 15)
    .map((f) => encodeField(f, message.subarray(f.from, f.to)));
  if (sequence > 0) kept.push(encodeTag(15, 0), encodeVarint(sequence));
  return Buffer.concat(kept);
}

function fieldsOf(message: Uint8Array): readonly WireField[] | undefined {
  try {
    return readFields(message);
  } catch {
    return undefined;
  }
}

function join(
  message: Uint8Array,
  fields: readonly WireField[],
  index: number,
  instead: Uint8Array,
): Uint8Array {
  return Buffer.concat(
    fields.map((f, i) => (i === index ? instead : encodeField(f, message.subarray(f.from, f.to)))),
  );
}

function encodeField(field: Pick<WireField, 'number' | 'wireType'>, content: Uint8Array): Uint8Array {
  return field.wireType === 2
    ? encodeBytes(field.number, content)
    : Buffer.concat([encodeTag(field.number, field.wireType), content]);
}

function encodeBytes(number: number, content: Uint8Array): Uint8Array {
  return Buffer.concat([encodeTag(number, 2), encodeVarint(content.length), content]);
}

function encodeTag(number: number, wireType: number): Uint8Array {
  return encodeVarint(number * 8 + wireType);
}

function encodeVarint(value: number): Uint8Array {
  const out: number[] = [];
  let left = value;
  while (left >= 128) {
    out.push((left % 128) | 0x80);
    left = Math.floor(left / 128);
  }
  out.push(left);
  return Uint8Array.from(out);
}

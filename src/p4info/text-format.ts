import path from 'node:path';
import protobuf from 'protobufjs';
import { P4Info } from 'p4runtime-js-bindings';
import { CalicoP4Error } from '../errors';
import { tokenize, type Token } from './text-tokens';

let p4infoType: protobuf.Type | undefined;

/** The message type, reflected from the .proto files that the bindings carry. */
function loadP4InfoType(): protobuf.Type {
  if (p4infoType) return p4infoType;
  const root = new protobuf.Root();
  const protoDir = path.join(path.dirname(require.resolve('p4runtime-js-bindings/package.json')), 'proto');
  root.resolvePath = (_origin, target) => path.join(protoDir, target);
  root.loadSync('p4/config/v1/p4info.proto', { keepCase: true }).resolveAll();
  p4infoType = root.lookupType('p4.config.v1.P4Info');
  return p4infoType;
}

/**
 * Reads p4info in the protobuf text format, as p4c writes it. Strict: a field that P4Runtime 1.5 does not know, a value
 * of the wrong type or a second value for a singular field is an error (PIPELINE_MISMATCH, with line and column).
 * Extensions and expanded Any values (`[type.url] {...}`) are not supported.
 */
export function parseP4InfoText(text: string): P4Info {
  const type = loadP4InfoType();
  const reader = new MessageReader(tokenize(text));
  const message = reader.message(type, undefined);
  // Through the wire, so that both libraries agree on what the message is.
  return P4Info.decode(type.encode(type.fromObject(message)).finish());
}

type Value = string | number | boolean | Uint8Array | Fields;
interface Fields {
  [name: string]: Value | Value[];
}

/** p4info nests at most a handful of levels; more is an attack on the stack. */
const MAX_DEPTH = 64;

class MessageReader {
  private at = 0;
  private depth = 0;

  constructor(private readonly tokens: readonly Token[]) {}

  /** Reads fields up to `close`, or to the end of the text when it is undefined. */
  message(type: protobuf.Type, close: string | undefined): Fields {
    if (++this.depth > MAX_DEPTH) throw this.error('messages are nested too deeply');
    const fields: Fields = {};
    const maps: Record<string, Fields> = {};
    for (;;) {
      const token = this.next();
      if (token.kind === 'end' ? close === undefined : token.text === close && token.kind === 'punctuation')
        break;
      if (token.kind !== 'word') throw this.error('expected a field name', token);
      const field = Object.hasOwn(type.fields, token.text) ? type.fields[token.text] : undefined;
      if (!field) throw this.error(`${type.name} has no field ${token.text}`, token);
      for (const value of this.fieldValues(field)) {
        if (field instanceof protobuf.MapField) {
          const entry = value as { key?: string; value?: Fields };
          const map = (maps[field.name] ??= {});
          map[entry.key ?? ''] = entry.value ?? {};
          fields[field.name] = map;
        } else if (field.repeated) {
          const list = (fields[field.name] ??= []) as Value[];
          list.push(value);
        } else {
          if (Object.hasOwn(fields, field.name)) throw this.error(`${field.name} is given twice`, token);
          const rival = field.partOf?.fieldsArray.find((f) => Object.hasOwn(fields, f.name));
          if (rival) throw this.error(`${field.name} and ${rival.name} exclude each other`, token);
          fields[field.name] = value;
        }
      }
      if (this.peek(',') || this.peek(';')) this.at++;
    }
    this.depth--;
    return fields;
  }

  private fieldValues(field: protobuf.Field): Value[] {
    const colon = this.peek(':');
    if (colon) this.at++;
    if (!this.peek('[')) return [this.value(field, colon)];
    if (!field.repeated) throw this.error(`${field.name} takes one value, not a list`);
    this.at++;
    const values: Value[] = [];
    while (!this.peek(']')) {
      if (values.length > 0) this.expect(',');
      values.push(this.value(field, colon));
    }
    this.at++;
    return values;
  }

  private value(field: protobuf.Field, colon: boolean): Value {
    if (field instanceof protobuf.MapField || field.resolvedType instanceof protobuf.Type) {
      const open = this.next();
      if (open.kind !== 'punctuation' || (open.text !== '{' && open.text !== '<'))
        throw this.error('expected {', open);
      const type =
        field instanceof protobuf.MapField ? mapEntryType(field) : (field.resolvedType as protobuf.Type);
      return this.message(type, open.text === '{' ? '}' : '>');
    }
    if (!colon) throw this.error(`expected : after ${field.name}`);
    const token = this.next();
    if (field.resolvedType instanceof protobuf.Enum) return this.enumValue(field.resolvedType, token);
    switch (field.type) {
      case 'string':
        return this.utf8(this.bytes(token), token);
      case 'bytes':
        return this.bytes(token);
      case 'bool':
        if (token.text === 'true' || token.text === 'false') return token.text === 'true';
        throw this.error('expected true or false', token);
      case 'int32':
        return this.integer(token, -(2 ** 31), 2 ** 31 - 1);
      case 'uint32':
        return this.integer(token, 0, 2 ** 32 - 1);
      case 'int64':
        return this.integer(token, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);
      default:
        throw this.error(`fields of type ${field.type} are not supported`, token);
    }
  }

  private enumValue(type: protobuf.Enum, token: Token): number {
    if (token.kind === 'number') return this.integer(token, -(2 ** 31), 2 ** 31 - 1);
    const value = Object.hasOwn(type.values, token.text) ? type.values[token.text] : undefined;
    if (token.kind !== 'word' || value === undefined)
      throw this.error(`${type.name} has no value ${token.text}`, token);
    return value;
  }

  private integer(token: Token, min: number, max: number): number {
    const negative = token.text.startsWith('-');
    const digits = negative ? token.text.slice(1) : token.text;
    const octal = /^0[0-7]+$/.test(digits);
    if (token.kind !== 'number' || !/^(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9]\d*)$/.test(digits)) {
      throw this.error('expected an integer', token);
    }
    const magnitude = octal ? parseInt(digits, 8) : Number(digits);
    const value = negative ? -magnitude : magnitude;
    if (value < min || value > max) throw this.error(`${token.text} is out of range`, token);
    return value;
  }

  /** Strings that follow each other are one, as in C. */
  private bytes(token: Token): Uint8Array {
    if (token.kind !== 'string') throw this.error('expected a string', token);
    const parts = [token.bytes];
    for (let more = this.tokens[this.at]!; more.kind === 'string'; more = this.tokens[++this.at]!)
      parts.push(more.bytes);
    return Buffer.concat(parts);
  }

  private utf8(bytes: Uint8Array, token: Token): string {
    try {
      return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch {
      throw this.error('the string is not valid UTF-8', token);
    }
  }

  private next(): Token {
    const token = this.tokens[this.at]!;
    if (token.kind !== 'end') this.at++;
    return token;
  }

  private peek(text: string): boolean {
    const token = this.tokens[this.at]!;
    return token.kind === 'punctuation' && token.text === text;
  }

  private expect(text: string): void {
    if (!this.peek(text)) throw this.error(`expected ${text}`);
    this.at++;
  }

  private error(what: string, token: Token = this.tokens[this.at]!): CalicoP4Error {
    const found = token.kind === 'end' ? 'end of text' : token.text;
    return new CalicoP4Error(
      'PIPELINE_MISMATCH',
      `p4info line ${token.line}, column ${token.column}: ${what} (at ${found})`,
    );
  }
}

/** A map<string, Message> in text is a repeated message with the fields key and value. */
function mapEntryType(field: protobuf.MapField): protobuf.Type {
  const entry = new protobuf.Type(`${field.name} entry`);
  const key = new protobuf.Field('key', 1, field.keyType);
  const value = new protobuf.Field('value', 2, field.type);
  value.resolvedType = field.resolvedType;
  return entry.add(key).add(value);
}

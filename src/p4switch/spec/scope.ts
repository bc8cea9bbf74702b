import type { FieldRef, Header, Operand, StructType } from './ast';
import { type Line, parseNumber, specError } from './lines';

/** What the names in an instruction or a key can mean. */
export interface Scope {
  readonly headers: ReadonlyMap<string, Header>;
  readonly metadata: StructType;
  /** Argument structs by action name; undefined where an action has no arguments. */
  readonly actionArgs: ReadonlyMap<string, StructType | undefined>;
  readonly regarrays: ReadonlySet<string>;
  readonly metarrays: ReadonlySet<string>;
  readonly tables: ReadonlySet<string>;
  readonly selectors: ReadonlySet<string>;
  readonly learners: ReadonlySet<string>;
}

/** The widest operand of arithmetic, comparisons and register access. */
export const OPERAND_BITS_MAX = 64;

/** A field by its written name, or undefined when the word does not look like a field at all. */
function lookup(scope: Scope, args: StructType | undefined, line: Line, word: string): FieldRef | undefined {
  const parts = word.split('.');
  const root = parts[0];
  const find = (struct: StructType, name: string): { text: string; bits: number; offset: number } => {
    const field = struct.fields.find((f) => f.name === name);
    if (field === undefined)
      throw specError(line.number, `${word}: struct ${struct.name} has no field ${name}`);
    if (field.variable)
      throw specError(line.number, `${word} has a variable width and can not be an operand`);
    return { text: word, bits: field.bits, offset: field.offset };
  };
  if (root === 'h' && parts.length === 3)
    return {
      in: 'header',
      header: parts[1]!,
      ...find(headerNamed(scope, line, `h.${parts[1]!}`).type, parts[2]!),
    };
  if (root === 'm' && parts.length === 2) return { in: 'metadata', ...find(scope.metadata, parts[1]!) };
  if (root === 't' && parts.length === 2) {
    if (args === undefined) throw specError(line.number, `${word}: there are no action arguments here`);
    return { in: 'args', ...find(args, parts[1]!) };
  }
  return undefined;
}

/** The field that `word` names; `widthMax` bounds its width. */
export function fieldNamed(
  scope: Scope,
  args: StructType | undefined,
  line: Line,
  word: string | undefined,
  widthMax: number = OPERAND_BITS_MAX,
): FieldRef {
  const field = word === undefined ? undefined : lookup(scope, args, line, word);
  if (field === undefined) throw specError(line.number, `expected a field, found '${word ?? 'nothing'}'`);
  if (field.bits > widthMax)
    throw specError(line.number, `${field.text} is ${field.bits} bits wide: at most ${widthMax} here`);
  return field;
}

/** A field of the metadata. */
export function metadataField(scope: Scope, line: Line, word: string | undefined): FieldRef {
  const field = fieldNamed(scope, undefined, line, word);
  if (field.in !== 'metadata') throw specError(line.number, `${field.text} must be a metadata field`);
  return field;
}

/** A field of a header. */
export function headerField(scope: Scope, line: Line, word: string | undefined): FieldRef {
  const field = fieldNamed(scope, undefined, line, word);
  if (field.in !== 'header') throw specError(line.number, `${field.text} must be a header field`);
  return field;
}

/** A field or a constant. */
export function operand(
  scope: Scope,
  args: StructType | undefined,
  line: Line,
  word: string | undefined,
  widthMax: number = OPERAND_BITS_MAX,
): Operand {
  if (word !== undefined && /^[0-9-]/.test(word)) {
    const value = parseNumber(word);
    if (value === undefined)
      throw specError(line.number, `'${word}' is not an unsigned number of up to 64 bits`);
    return { in: 'const', value };
  }
  return fieldNamed(scope, args, line, word, widthMax);
}

/** The header instance that a word like `h.ipv4` names. */
export function headerNamed(scope: Scope, line: Line, word: string | undefined): Header {
  const header = word?.startsWith('h.') ? scope.headers.get(word.slice(2)) : undefined;
  if (header === undefined) throw specError(line.number, `there is no header '${word ?? ''}'`);
  return header;
}

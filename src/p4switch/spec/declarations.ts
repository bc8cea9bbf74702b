import { type Line, parseSize, specError } from './lines';
import type { Field, StructType } from './ast';

/** A `{ ... }` of a table, action or apply: the lines between, blocks inside still unread. */
export interface Block {
  readonly name: string;
  readonly line: Line;
  readonly body: readonly Line[];
}

/** The text in declarations, nothing resolved yet: a spec may use what it declares further down. */
export interface Declarations {
  readonly structs: Map<string, StructType>;
  readonly headers: { readonly name: string; readonly struct: string; readonly line: number }[];
  metadata: { readonly struct: string; readonly line: number } | undefined;
  readonly actions: (Block & { readonly args: string | undefined })[];
  readonly tables: Block[];
  readonly selectors: Block[];
  readonly learners: Block[];
  readonly regarrays: Line[];
  readonly metarrays: Line[];
  apply: Block | undefined;
}

/** Reads the top level of a spec. */
export function readDeclarations(lines: readonly Line[]): Declarations {
  const found: Declarations = {
    structs: new Map(),
    headers: [],
    metadata: undefined,
    actions: [],
    tables: [],
    selectors: [],
    learners: [],
    regarrays: [],
    metarrays: [],
    apply: undefined,
  };
  for (let i = 0; i < lines.length; i++) {
    const line = lines[i]!;
    const words = line.words;
    const block = (): Block => {
      const end = endOfBlock(lines, i);
      const body = lines.slice(i + 1, end);
      i = end;
      return { name: words[1]!, line, body };
    };
    switch (words[0]) {
      case 'struct': {
        expectWords(line, words.length === 3 && words[2] === '{', 'struct NAME {');
        const struct = readStruct(block());
        if (found.structs.has(struct.name))
          throw specError(line.number, `struct ${struct.name} is declared twice`);
        found.structs.set(struct.name, struct);
        break;
      }
      case 'header':
        expectWords(line, words.length === 4 && words[2] === 'instanceof', 'header NAME instanceof STRUCT');
        found.headers.push({ name: words[1]!, struct: words[3]!, line: line.number });
        break;
      case 'metadata':
        expectWords(line, words.length === 3 && words[1] === 'instanceof', 'metadata instanceof STRUCT');
        if (found.metadata !== undefined) throw specError(line.number, 'metadata is declared twice');
        found.metadata = { struct: words[2]!, line: line.number };
        break;
      case 'action': {
        const none = words.length === 5 && words[3] === 'none';
        const some = words.length === 6 && words[3] === 'instanceof';
        expectWords(
          line,
          words[2] === 'args' && words.at(-1) === '{' && (none || some),
          'action NAME args none { or action NAME args instanceof STRUCT {',
        );
        found.actions.push({ ...block(), args: some ? words[4]! : undefined });
        break;
      }
      case 'table':
      case 'selector':
      case 'learner': {
        expectWords(line, words.length === 3 && words[2] === '{', `${words[0]} NAME {`);
        const list = { table: found.tables, selector: found.selectors, learner: found.learners }[words[0]];
        list.push(block());
        break;
      }
      case 'regarray':
        expectWords(
          line,
          words.length === 6 && words[2] === 'size' && words[4] === 'initval',
          'regarray NAME size N initval N',
        );
        found.regarrays.push(line);
        break;
      case 'metarray':
        expectWords(line, words.length === 4 && words[2] === 'size', 'metarray NAME size N');
        found.metarrays.push(line);
        break;
      case 'apply':
        expectWords(line, words.length === 2 && words[1] === '{', 'apply {');
        if (found.apply !== undefined) throw specError(line.number, 'apply is declared twice');
        found.apply = block();
        break;
      default:
        throw specError(line.number, `declaration ${words[0]!} is not supported`);
    }
  }
  return found;
}

/** Throws unless `ok`; `form` shows how the statement must look. */
export function expectWords(line: Line, ok: boolean, form: string): void {
  if (!ok) throw specError(line.number, `expected '${form}', found '${line.words.join(' ')}'`);
}

/** Index of the `}` that closes the block opened at `start`. */
export function endOfBlock(lines: readonly Line[], start: number): number {
  let depth = 0;
  for (let i = start; i < lines.length; i++) {
    if (lines[i]!.words.at(-1) === '{') depth++;
    else if (lines[i]!.words[0] === '}') {
      if (lines[i]!.words.length > 1) throw specError(lines[i]!.number, "'}' must stand alone");
      if (--depth === 0) return i;
    }
  }
  throw specError(lines[start]!.number, `block '${lines[start]!.words.join(' ')}' is never closed`);
}

function readStruct(block: Block): StructType {
  const fields: Field[] = [];
  let bytes = 0;
  for (const line of block.body) {
    const type = /^(bit|varbit)<([0-9]+)>$/.exec(line.words[0]!);
    expectWords(line, type !== null && line.words.length === 2, 'bit<N> NAME');
    const bits = parseSize(line, type![2], 'a field width');
    const name = line.words[1]!;
    if (bits === 0 || bits % 8 !== 0)
      throw specError(line.number, `field ${name} is ${bits} bits wide: SWX wants a multiple of 8`);
    if (fields.some((f) => f.name === name)) throw specError(line.number, `field ${name} is declared twice`);
    if (fields.at(-1)?.variable) throw specError(line.number, 'a varbit field must be the last one');
    const variable = type![1] === 'varbit';
    fields.push({ name, bits, offset: bytes, variable });
    if (!variable) bytes += bits / 8;
  }
  if (fields.length === 0) throw specError(block.line.number, `struct ${block.name} has no fields`);
  const last = fields.at(-1)!;
  const maxBytes = bytes + (last.variable ? last.bits / 8 : 0);
  return { name: block.name, fields, bytes, maxBytes, line: block.line.number };
}

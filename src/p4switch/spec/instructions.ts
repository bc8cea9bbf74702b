import type { AluOp, Comparison, FieldRef, Instruction, Operation, StructType } from './ast';
import { type Line, specError } from './lines';
import { type Scope, fieldNamed, headerField, headerNamed, metadataField, operand } from './scope';

const ALU_OPS: readonly string[] = ['add', 'sub', 'and', 'or', 'xor', 'shl', 'shr'] satisfies AluOp[];
const COMPARISONS: Readonly<Record<string, Comparison>> = {
  jmpeq: 'eq',
  jmpneq: 'neq',
  jmplt: 'lt',
  jmpgt: 'gt',
};
/** Instructions that only the pipeline's own block may hold. */
const APPLY_ONLY: ReadonlySet<string> = new Set(['rx', 'extract', 'lookahead', 'emit', 'table']);
/** Instructions that only an action may hold. */
const ACTION_ONLY: ReadonlySet<string> = new Set(['learn', 'rearm', 'forget', 'return']);

/** Where instructions stand: in an action (with its arguments) or in `apply`. */
export type Place =
  { readonly kind: 'apply' } | { readonly kind: 'action'; readonly args: StructType | undefined };

/** Reads a body of instructions; jumps become indices into the result. */
export function readInstructions(
  scope: Scope,
  place: Place,
  body: readonly Line[],
  owner: Line,
): Instruction[] {
  const labels = new Map<string, number>();
  const unlabelled = body.map((line, index) => {
    if (line.words[1] !== ':') return { line, label: undefined };
    const label = line.words[0]!;
    if (labels.has(label)) throw specError(line.number, `label ${label} is used twice`);
    if (line.words.length === 2) throw specError(line.number, `label ${label} has no instruction`);
    labels.set(label, index);
    return { line: { number: line.number, words: line.words.slice(2) }, label };
  });
  const instructions = unlabelled.map(({ line, label }): Instruction => {
    const target = (name: string | undefined): number => {
      const index = name === undefined ? undefined : labels.get(name);
      if (index === undefined)
        throw specError(line.number, `there is no label '${name ?? ''}' in this block`);
      return index;
    };
    return { ...readOperation(scope, place, line, target), line: line.number, label };
  });
  checkFlow(instructions, place, owner);
  return instructions;
}

/** The block must not run off its end; DPDK checks less and would execute what lies behind. */
function checkFlow(instructions: readonly Instruction[], place: Place, owner: Line): void {
  const last = instructions.at(-1)?.op;
  const ends = ['tx', 'drop', 'jmp', ...(place.kind === 'action' ? ['return'] : [])];
  if (last === undefined || !ends.includes(last))
    throw specError(
      owner.number,
      `'${owner.words.join(' ')}': the last instruction must be ${ends.join(', ')}`,
    );
  if (place.kind === 'apply' && instructions[0]!.op !== 'rx')
    throw specError(owner.number, 'the first instruction of apply must be rx');
}

function readOperation(
  scope: Scope,
  place: Place,
  line: Line,
  target: (label: string | undefined) => number,
): Operation {
  const [name, a, b, c] = line.words as [string, ...(string | undefined)[]];
  const args = place.kind === 'action' ? place.args : undefined;
  if (place.kind === 'action' && APPLY_ONLY.has(name))
    throw specError(line.number, `${name} can not stand in an action`);
  if (place.kind === 'apply' && ACTION_ONLY.has(name))
    throw specError(line.number, `${name} can only stand in an action`);
  const count = (...allowed: number[]): void => {
    if (!allowed.includes(line.words.length - 1))
      throw specError(
        line.number,
        `${name} takes ${allowed.join(' or ')} operands, found ${line.words.length - 1}`,
      );
  };
  const any = (word: string | undefined): FieldRef => fieldNamed(scope, args, line, word);
  const value = (word: string | undefined): ReturnType<typeof operand> => operand(scope, args, line, word);
  // Arguments of actions can be read, never written.
  const writable = (word: string | undefined, widthMax?: number): FieldRef =>
    fieldNamed(scope, undefined, line, word, widthMax);

  if (ALU_OPS.includes(name)) {
    count(2);
    return { op: name as AluOp, dst: writable(a), src: value(b) };
  }
  const compare = COMPARISONS[name];
  if (compare !== undefined) {
    count(3);
    return { op: 'jmpcmp', compare, target: target(a), a: any(b), b: value(c) };
  }
  switch (name) {
    case 'rx':
      count(1);
      return { op: name, port: metadataField(scope, line, a) };
    case 'tx': {
      count(1);
      const port = operand(scope, undefined, line, a);
      if (port.in !== 'metadata' && port.in !== 'const')
        throw specError(line.number, 'tx takes a metadata field or a constant');
      return { op: name, port };
    }
    case 'drop':
    case 'recirculate':
    case 'forget':
    case 'return':
      count(0);
      return { op: name };
    case 'recircid':
    case 'entryid':
      count(1);
      return { op: name, dst: metadataField(scope, line, a) };
    case 'extract':
      return readExtract(scope, line);
    case 'lookahead':
    case 'emit':
    case 'validate':
    case 'invalidate':
      count(1);
      return { op: name, header: headerNamed(scope, line, a).name };
    case 'mov':
      count(2);
      return readMov(scope, args, line);
    case 'ckadd': {
      count(2);
      const dst = checksumField(scope, line, a);
      if (b?.split('.').length === 2)
        return { op: 'ckaddheader', dst, header: headerNamed(scope, line, b).name };
      return { op: name, dst, src: headerField(scope, line, b) };
    }
    case 'cksub':
      count(2);
      return { op: name, dst: checksumField(scope, line, a), src: headerField(scope, line, b) };
    case 'hash':
      count(4);
      return readHash(scope, args, line);
    case 'regprefetch':
      count(2);
      return { op: name, array: regarray(scope, line, a), index: value(b) };
    case 'regrd':
      count(3);
      return { op: name, dst: writable(a), array: regarray(scope, line, b), index: value(c) };
    case 'regwr':
    case 'regadd':
      count(3);
      return { op: name, array: regarray(scope, line, a), index: value(b), src: value(c) };
    case 'metprefetch':
      count(2);
      return { op: name, array: metarray(scope, line, a), index: value(b) };
    case 'meter': {
      count(5);
      const [, , , amount, colour, dst] = line.words;
      return {
        op: name,
        array: metarray(scope, line, a),
        index: value(b),
        // DPDK does not build one with a constant here.
        amount: any(amount),
        colour: value(colour),
        dst: metadataField(scope, line, dst),
      };
    }
    case 'table': {
      count(1);
      if (scope.tables.has(a!)) return { op: 'table', name: a! };
      if (scope.selectors.has(a!)) return { op: 'selector', name: a! };
      if (scope.learners.has(a!)) return { op: 'learner', name: a! };
      throw specError(line.number, `there is no table, selector or learner '${a!}'`);
    }
    case 'learn':
      count(2, 3);
      return readLearn(scope, line);
    case 'rearm':
      count(0, 1);
      return { op: name, timeoutId: a === undefined ? undefined : metadataField(scope, line, a) };
    case 'jmp':
    case 'jmph':
    case 'jmpnh':
      count(1);
      return { op: name, target: target(a) };
    case 'jmpv':
    case 'jmpnv':
      count(2);
      return { op: name, target: target(a), header: headerNamed(scope, line, b).name };
    case 'jmpa':
    case 'jmpna':
      count(2);
      return { op: name, target: target(a), action: actionNamed(scope, line, b) };
    default:
      throw specError(line.number, `instruction ${name} is not supported`);
  }
}

function readExtract(scope: Scope, line: Line): Operation {
  const [, name, length, extra] = line.words;
  const header = headerNamed(scope, line, name);
  const variable = header.type.maxBytes > header.type.bytes;
  if (extra !== undefined || (length !== undefined) !== variable)
    throw specError(
      line.number,
      `extract h.${header.name} takes ${variable ? 'a length field' : 'no length'}`,
    );
  return {
    op: 'extract',
    header: header.name,
    variableBytes: length === undefined ? undefined : metadataField(scope, line, length),
  };
}

/** Fields over 64 bits can be moved between fields of equal width only. */
function readMov(scope: Scope, args: StructType | undefined, line: Line): Operation {
  const dst = fieldNamed(scope, undefined, line, line.words[1], Infinity);
  const src = operand(scope, args, line, line.words[2], Infinity);
  const width = src.in === 'const' ? 0 : src.bits;
  if ((dst.bits > 64 || width > 64) && dst.bits !== width)
    throw specError(
      line.number,
      `mov over 64 bits needs two fields of equal width, not ${dst.bits} and ${width} bits`,
    );
  return { op: 'mov', dst, src };
}

function checksumField(scope: Scope, line: Line, word: string | undefined): FieldRef {
  const field = headerField(scope, line, word);
  if (field.bits !== 16) throw specError(line.number, `${field.text} must be 16 bits wide`);
  return field;
}

function readHash(scope: Scope, args: StructType | undefined, line: Line): Operation {
  const [, func, dst, firstName, lastName] = line.words;
  if (func !== 'crc32')
    throw specError(line.number, `hash function ${func ?? ''} is not supported (crc32 is)`);
  const first = fieldNamed(scope, args, line, firstName, Infinity);
  const last = fieldNamed(scope, args, line, lastName, Infinity);
  const structOf = (f: FieldRef): string => (f.in === 'header' ? `h.${f.header}` : f.in);
  if (structOf(first) !== structOf(last) || last.offset < first.offset)
    throw specError(
      line.number,
      `hash: ${first.text} and ${last.text} must be fields of one struct, in its order`,
    );
  return { op: 'hash', dst: metadataField(scope, line, dst), first, last };
}

/** The arguments of a learned action are copied from consecutive metadata fields: their widths must agree one by one. */
function readLearn(scope: Scope, line: Line): Operation {
  const [, name, a, b] = line.words;
  const action = actionNamed(scope, line, name);
  const wanted = scope.actionArgs.get(action);
  const firstArg = b === undefined ? undefined : metadataField(scope, line, a);
  const timeoutId = metadataField(scope, line, b ?? a);
  if ((wanted !== undefined) !== (firstArg !== undefined))
    throw specError(line.number, `learn ${action}: the action ${wanted ? 'has' : 'has no'} arguments`);
  if (wanted !== undefined && firstArg !== undefined) {
    const from = scope.metadata.fields.findIndex((f) => f.offset === firstArg.offset);
    wanted.fields.forEach((arg, i) => {
      const field = scope.metadata.fields[from + i];
      if (field?.bits !== arg.bits)
        throw specError(
          line.number,
          `learn ${action}: argument ${arg.name} has ${arg.bits} bits, metadata field ${field?.name ?? '(none)'} has ${field?.bits ?? 0}`,
        );
    });
  }
  return { op: 'learn', action, firstArg, timeoutId };
}

function regarray(scope: Scope, line: Line, word: string | undefined): string {
  if (word === undefined || !scope.regarrays.has(word))
    throw specError(line.number, `there is no regarray '${word ?? ''}'`);
  return word;
}

function metarray(scope: Scope, line: Line, word: string | undefined): string {
  if (word === undefined || !scope.metarrays.has(word))
    throw specError(line.number, `there is no metarray '${word ?? ''}'`);
  return word;
}

function actionNamed(scope: Scope, line: Line, word: string | undefined): string {
  if (word === undefined || !scope.actionArgs.has(word))
    throw specError(line.number, `there is no action '${word ?? ''}'`);
  return word;
}

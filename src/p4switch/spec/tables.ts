import type {
  DefaultAction,
  FieldRef,
  KeyField,
  Learner,
  MatchKind,
  Selector,
  Table,
  TableAction,
} from './ast';
import { type Block, endOfBlock, expectWords } from './declarations';
import { type Line, parseNumber, parseSize, specError } from './lines';
import { type Scope, fieldNamed, metadataField } from './scope';

/** Size of a table that gives none: what p4c writes for a P4 table without a size. */
const DEFAULT_TABLE_SIZE = 65536;

/** The statements of a table-like block by their first word, nested blocks as lists of lines. */
type Statements = ReadonlyMap<string, { readonly line: Line; readonly body: readonly Line[] | undefined }>;

function readStatements(block: Block, allowed: readonly string[]): Statements {
  const statements = new Map<string, { line: Line; body: readonly Line[] | undefined }>();
  for (let i = 0; i < block.body.length; i++) {
    const line = block.body[i]!;
    const word = line.words[0]!;
    if (!allowed.includes(word))
      throw specError(line.number, `'${word}' is not supported in ${block.line.words[0]!}`);
    if (statements.has(word)) throw specError(line.number, `'${word}' is given twice`);
    if (line.words.at(-1) === '{') {
      const end = endOfBlock(block.body, i);
      statements.set(word, { line, body: block.body.slice(i + 1, end) });
      i = end;
    } else statements.set(word, { line, body: undefined });
  }
  return statements;
}

function bodyOf(block: Block, statements: Statements, word: string): readonly Line[] {
  const body = statements.get(word)?.body;
  if (body === undefined) throw specError(block.line.number, `${block.name} needs a block '${word} { ... }'`);
  return body;
}

function wordOf(block: Block, statements: Statements, word: string): { line: Line; value: string } {
  const line = statements.get(word)?.line;
  if (line === undefined) throw specError(block.line.number, `${block.name} needs '${word}'`);
  expectWords(line, line.words.length === 2, `${word} VALUE`);
  return { line, value: line.words[1]! };
}

export function readTable(scope: Scope, block: Block): Table {
  const statements = readStatements(block, ['key', 'actions', 'default_action', 'size']);
  const keyLines = statements.get('key')?.body ?? [];
  const keys = keyLines.map((line): KeyField => {
    const match = line.words[1];
    expectWords(line, line.words.length === 2 && isMatchKind(match), 'FIELD exact|lpm|wildcard');
    return { field: keyField(scope, line), match: match as MatchKind };
  });
  const actions = readActions(scope, bodyOf(block, statements, 'actions'));
  return {
    name: block.name,
    keys,
    actions,
    defaultAction: readDefaultAction(scope, block, statements, actions),
    size: statements.has('size') ? readSize(block, statements, 'size') : DEFAULT_TABLE_SIZE,
    line: block.line.number,
  };
}

export function readLearner(scope: Scope, block: Block): Learner {
  const statements = readStatements(block, ['key', 'actions', 'default_action', 'size', 'timeout']);
  const keys = bodyOf(block, statements, 'key').map((line): KeyField => {
    expectWords(line, line.words.length === 1, 'FIELD');
    return { field: keyField(scope, line), match: 'exact' };
  });
  if (keys.length === 0) throw specError(block.line.number, `learner ${block.name} has no key`);
  const actions = readActions(scope, bodyOf(block, statements, 'actions'));
  const timeouts = bodyOf(block, statements, 'timeout').map((line) => {
    const seconds = parseSize(line, line.words[0], 'a timeout');
    if (seconds === 0) throw specError(line.number, 'a timeout must be at least a second');
    return seconds;
  });
  if (timeouts.length === 0) throw specError(block.line.number, `learner ${block.name} has no timeout`);
  return {
    name: block.name,
    keys,
    actions,
    defaultAction: readDefaultAction(scope, block, statements, actions),
    size: readSize(block, statements, 'size'),
    timeouts,
    line: block.line.number,
  };
}

export function readSelector(scope: Scope, block: Block): Selector {
  const statements = readStatements(block, [
    'group_id',
    'selector',
    'member_id',
    'n_groups_max',
    'n_members_per_group_max',
  ]);
  const field = (word: string): FieldRef => {
    const { line, value } = wordOf(block, statements, word);
    const found = metadataField(scope, line, value);
    if (found.bits !== 32) throw specError(line.number, `${found.text} must be 32 bits wide`);
    return found;
  };
  return {
    name: block.name,
    groupId: field('group_id'),
    fields: bodyOf(block, statements, 'selector').map((line) => keyField(scope, line)),
    memberId: field('member_id'),
    groupsMax: readSize(block, statements, 'n_groups_max'),
    membersPerGroupMax: readSize(block, statements, 'n_members_per_group_max'),
    line: block.line.number,
  };
}

function isMatchKind(word: string | undefined): boolean {
  return word === 'exact' || word === 'lpm' || word === 'wildcard';
}

function keyField(scope: Scope, line: Line): FieldRef {
  return fieldNamed(scope, undefined, line, line.words[0], Infinity);
}

function readSize(block: Block, statements: Statements, word: string): number {
  const { line, value } = wordOf(block, statements, word);
  const size = parseSize(line, value, word);
  if (size === 0) throw specError(line.number, `${word} must not be 0`);
  return size;
}

function readActions(scope: Scope, lines: readonly Line[]): readonly TableAction[] {
  return lines.map((line) => {
    const [name, annotation] = line.words;
    expectWords(
      line,
      line.words.length === 1 || (line.words.length === 2 && /^@(tableonly|defaultonly)$/.test(annotation!)),
      'ACTION [@tableonly|@defaultonly]',
    );
    if (!scope.actionArgs.has(name!)) throw specError(line.number, `there is no action '${name!}'`);
    return { name: name!, inEntries: annotation !== '@defaultonly', asDefault: annotation !== '@tableonly' };
  });
}

function readDefaultAction(
  scope: Scope,
  block: Block,
  statements: Statements,
  actions: readonly TableAction[],
): DefaultAction {
  const line = statements.get('default_action')?.line;
  if (line === undefined) throw specError(block.line.number, `${block.name} needs a default_action`);
  const isConst = line.words.at(-1) === 'const';
  const words = isConst ? line.words.slice(0, -1) : line.words;
  const name = words[1];
  const noArgs = words.length === 4 && words[3] === 'none';
  expectWords(
    line,
    words[2] === 'args' && (noArgs || (words.length >= 5 && words.length % 2 === 1)),
    'default_action NAME args none|(FIELD VALUE)... [const]',
  );
  if (!actions.some((a) => a.name === name && a.asDefault))
    throw specError(line.number, `${name!} is not in the actions of ${block.name}, or is @tableonly`);
  const fields = scope.actionArgs.get(name!)?.fields ?? [];
  const given = new Map<string, bigint>();
  for (let i = 3; i + 1 < words.length; i += 2) {
    const value = parseNumber(words[i + 1]!);
    const field = fields.find((f) => f.name === words[i]);
    if (field === undefined || value === undefined || value >> BigInt(field.bits) !== 0n)
      throw specError(line.number, `'${words[i]!} ${words[i + 1]!}' is no argument of action ${name!}`);
    given.set(field.name, value);
  }
  if (!noArgs && given.size !== fields.length)
    throw specError(line.number, `action ${name!} has ${fields.length} arguments, ${given.size} are given`);
  return { name: name!, params: fields.map((f) => given.get(f.name) ?? 0n), isConst };
}

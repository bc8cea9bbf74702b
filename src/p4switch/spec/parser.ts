import type { Action, Header, MetArray, RegArray, Spec, StructType } from './ast';
import { type Declarations, readDeclarations } from './declarations';
import { readInstructions } from './instructions';
import { NAME_LENGTH_MAX, parseNumber, parseSize, specError, splitLines } from './lines';
import type { Scope } from './scope';
import { readLearner, readSelector, readTable } from './tables';

/**
 * Reads a `.spec`. What the interpreter does not do is refused here, never skipped.
 *
 * @throws CalicoP4Error SPEC_INVALID with the line number in the message and in `context.line`
 */
export function parseSpec(text: string): Spec {
  const lines = splitLines(text);
  for (const line of lines)
    for (const word of line.words)
      if (word.length > NAME_LENGTH_MAX)
        throw specError(line.number, `'${word}' is longer than ${NAME_LENGTH_MAX} characters`);
  const found = readDeclarations(lines);
  if (found.metadata === undefined) throw specError(lines.at(-1)?.number ?? 1, 'metadata is not declared');
  if (found.apply === undefined) throw specError(lines.at(-1)?.number ?? 1, "there is no 'apply { ... }'");
  const metadata = structNamed(found, found.metadata.struct, found.metadata.line);
  if (metadata.maxBytes !== metadata.bytes)
    throw specError(found.metadata.line, 'metadata can not hold a varbit');

  const headers = readHeaders(found);
  const regarrays = readRegArrays(found);
  const metarrays = readMetArrays(found);
  const actionArgs = new Map<string, StructType | undefined>();
  for (const action of found.actions) {
    if (actionArgs.has(action.name))
      throw specError(action.line.number, `action ${action.name} is declared twice`);
    const args = action.args === undefined ? undefined : structNamed(found, action.args, action.line.number);
    if (args && args.maxBytes !== args.bytes)
      throw specError(action.line.number, 'action arguments can not hold a varbit');
    actionArgs.set(action.name, args);
  }
  const scope: Scope = {
    headers,
    metadata,
    actionArgs,
    regarrays: new Set(regarrays.keys()),
    metarrays: new Set(metarrays.keys()),
    tables: new Set(found.tables.map((t) => t.name)),
    selectors: new Set(found.selectors.map((s) => s.name)),
    learners: new Set(found.learners.map((l) => l.name)),
  };
  const seen = new Set<string>();
  for (const block of [...found.tables, ...found.selectors, ...found.learners]) {
    if (seen.has(block.name)) throw specError(block.line.number, `${block.name} is declared twice`);
    seen.add(block.name);
  }

  const actions = new Map<string, Action>();
  for (const action of found.actions) {
    const args = actionArgs.get(action.name);
    const instructions = readInstructions(scope, { kind: 'action', args }, action.body, action.line);
    actions.set(action.name, { name: action.name, args, instructions, line: action.line.number });
  }
  return {
    structs: found.structs,
    headers,
    metadata,
    actions,
    tables: byName(found.tables.map((block) => readTable(scope, block))),
    selectors: byName(found.selectors.map((block) => readSelector(scope, block))),
    learners: byName(found.learners.map((block) => readLearner(scope, block))),
    regarrays,
    metarrays,
    apply: readInstructions(scope, { kind: 'apply' }, found.apply.body, found.apply.line),
  };
}

function byName<T extends { readonly name: string }>(items: readonly T[]): ReadonlyMap<string, T> {
  return new Map(items.map((item) => [item.name, item]));
}

function structNamed(found: Declarations, name: string, line: number): StructType {
  const struct = found.structs.get(name);
  if (struct === undefined) throw specError(line, `there is no struct ${name}`);
  return struct;
}

function readHeaders(found: Declarations): ReadonlyMap<string, Header> {
  const headers = new Map<string, Header>();
  for (const { name, struct, line } of found.headers) {
    if (headers.has(name)) throw specError(line, `header ${name} is declared twice`);
    headers.set(name, { name, type: structNamed(found, struct, line), line });
  }
  return headers;
}

function readRegArrays(found: Declarations): ReadonlyMap<string, RegArray> {
  const arrays = new Map<string, RegArray>();
  for (const line of found.regarrays) {
    const name = line.words[1]!;
    if (arrays.has(name)) throw specError(line.number, `regarray ${name} is declared twice`);
    const initial = parseNumber(line.words[5]!);
    const size = parseSize(line, line.words[3], 'a regarray size');
    if (initial === undefined || size === 0)
      throw specError(line.number, `regarray ${name}: invalid size or initval`);
    arrays.set(name, { name, size, initial, line: line.number });
  }
  return arrays;
}

function readMetArrays(found: Declarations): ReadonlyMap<string, MetArray> {
  const arrays = new Map<string, MetArray>();
  for (const line of found.metarrays) {
    const name = line.words[1]!;
    if (arrays.has(name)) throw specError(line.number, `metarray ${name} is declared twice`);
    const size = parseSize(line, line.words[3], 'a metarray size');
    if (size === 0) throw specError(line.number, `metarray ${name}: invalid size`);
    arrays.set(name, { name, size, line: line.number });
  }
  return arrays;
}

import type { Action, Instruction, KeyField, Spec } from '../spec/ast';
import { checkSpecLimits } from '../spec/limits';
import { specError } from '../spec/lines';
import { type Fields, fieldsOf, identifier } from './operands';
import { isExact, keyRange, writeKey } from './keys';
import { label, type Names, writeInstruction } from './instructions';

/** A spec that is to be compiled. */
export interface Source {
  /** For messages. */
  readonly name: string;
  readonly text: string;
  readonly spec: Spec;
}

/** The library reads keys in whole words, up to the next power of two, and what a packet learns in words. */
const SLACK = 512;

/**
 * C that runs packets as the spec says, for native/engine/compiled.h. Made at build time, never kept: the engine uses it
 * for a program whose text is `source.text`, byte for byte.
 *
 * @param prefix of the names in C: one file may hold several programs
 * @throws CalicoP4Error SPEC_INVALID with the line, where the spec holds what only the interpreter does
 */
export function writeProgram(source: Source, prefix: string): string {
  const { spec } = source;
  const [violation] = checkSpecLimits(spec);
  if (violation !== undefined) throw specError(violation.line, violation.problem);
  const fields = fieldsOf(spec);
  const names = namesOf(spec, fields);
  // A program's names are its own: lanes and actions of several do not meet.
  const scoped = (code: string): string =>
    code
      .replaceAll(/\bstruct lane\b/g, `struct ${prefix}_lane`)
      .replaceAll(/\b(action|key)_(\d+)\b/g, `${prefix}_$1_$2`);
  return scoped(
    [
      writeLane(spec, fields),
      ...[...spec.tables.values()].filter(isExact).map((t) => writeKey(t, fields, names.table(t.name))),
      ...[...spec.actions.values()]
        .filter(({ name }) => !names.idle(name))
        .map((a) => writeAction(spec, names, a)),
      writeRun(spec, names, fields, prefix),
      writeTables(source, prefix),
    ].join('\n\n'),
  );
}

function namesOf(spec: Spec, fields: Fields): Names {
  const numbers = (of: ReadonlyMap<string, unknown>): ((name: string) => number) => {
    const all = new Map([...of.keys()].map((name, n) => [name, n]));
    return (name) => all.get(name)!;
  };
  return {
    fields,
    action: numbers(spec.actions),
    table: numbers(spec.tables),
    learner: numbers(spec.learners),
    selector: numbers(spec.selectors),
    register: numbers(spec.regarrays),
    meter: numbers(spec.metarrays),
    idle: (name) => spec.actions.get(name)!.instructions[0]!.op === 'return',
    drops: (name) => spec.actions.get(name)!.instructions.some(({ op }) => op === 'drop'),
  };
}

function writeLane(spec: Spec, fields: Fields): string {
  const headers = [...spec.headers.values()];
  const members = [
    'struct lane_head head;',
    ...[...fields.moving].map((name) => `uint8_t *at_${identifier(name)};`),
    ...[...fields.variable].map((name) => `uint32_t bytes_${identifier(name)};`),
    `uint8_t metadata[${spec.metadata.bytes}] __rte_aligned(8);`,
    ...headers.map(
      ({ name, type }) => `uint8_t header_${identifier(name)}[${type.maxBytes}] __rte_aligned(8);`,
    ),
    `struct emitted emitted[${headers.length + 1}];`,
    `uint8_t slack[${SLACK}];`,
  ];
  return `struct lane {\n${members.map((m) => `\t${m}\n`).join('')}} __rte_cache_aligned;`;
}

/** Labels stand where something jumps to. */
function writeBlock(spec: Spec, names: Names, block: readonly Instruction[], inAction: boolean): string {
  const targets = new Set(block.flatMap((i) => ('target' in i ? [i.target] : [])));
  return block
    .map((i, index) => {
      const code = writeInstruction(spec, names, i, index, inAction);
      return `${targets.has(index) ? `${label(index)}:\n` : ''}\t${code}\n`;
    })
    .join('');
}

function writeAction(spec: Spec, names: Names, action: Action): string {
  const parameters =
    'struct machine *m __rte_unused, struct lane *l __rte_unused, const uint8_t *t __rte_unused';
  const body = writeBlock(spec, names, action.instructions, true);
  return `/* ${action.name} */\nstatic inline bool action_${names.action(action.name)}(${parameters})\n{\n${body}}`;
}

function writeRun(spec: Spec, names: Names, fields: Fields, prefix: string): string {
  const storage = [...fields.moving].map((name) => {
    const id = identifier(name);
    return `\t\tif (!lanes[n].at_${id})\n\t\t\tlanes[n].at_${id} = lanes[n].header_${id};\n`;
  });
  const lengths = [...fields.variable].map((name) => {
    const { bytes } = spec.headers.get(name)!.type;
    const id = identifier(name);
    return `\t\tif (!lanes[n].bytes_${id})\n\t\t\tlanes[n].bytes_${id} = ${bytes};\n`;
  });
  return `static void ${prefix}_run(struct machine *m, struct compiled_packet *packets, uint32_t count)
{
	struct lane *lanes = (struct lane *)(void *)m->lanes, *l = lanes;
	struct compiled_packet *next = packets, *end = packets + count;
	uint32_t used = RTE_MIN(count, (uint32_t)COMPILED_LANES);

	for (uint32_t n = 0; n < used; n++) {
		lanes[n].head.next = &lanes[n + 1 < used ? n + 1 : 0].head;
		lanes[n].head.before = &lanes[n ? n - 1 : used - 1].head;
		lanes[n].head.mailbox = m->mailboxes + n * m->lane_mailbox_bytes;
		lanes[n].head.resume = &&begin;
${storage.join('')}${lengths.join('')}	}
	if (!used)
		return;
begin:
	/* A lane whose turn comes first when all packets are taken finds none either. */
	if (next == end)
		goto leave;
	start(&l->head, next++);
${writeBlock(spec, names, spec.apply, false)}done:
	goto begin;
leave:
	if (l->head.next == &l->head)
		return;
	l->head.before->next = l->head.next;
	l->head.next->before = l->head.before;
	l = (struct lane *)(void *)l->head.next;
	goto *l->head.resume;
}`;
}

function writeTables({ name, text, spec }: Source, prefix: string): string {
  const keyed = (of: Iterable<{ readonly name: string; readonly keys: readonly KeyField[] }>): string =>
    [...of].map((t) => `\t{ ${quote(t.name)}, ${keyOf(t.keys)} },\n`).join('');
  const exact = [...spec.tables.values()].map(
    (t) => `\t{ ${quote(t.name)}, ${keyOf(t.keys)}, ${isExact(t)} },\n`,
  );
  const array = (
    of: Iterable<{ readonly name: string; readonly size: number; readonly initial?: bigint }>,
  ): string =>
    [...of].map((a) => `\t{ ${quote(a.name)}, ${a.size}, UINT64_C(${a.initial ?? 0n}) },\n`).join('');
  const strings = (of: Iterable<string>): string => [...of].map((s) => `\t${quote(s)},\n`).join('');
  const lists: readonly (readonly [string, string, string, number])[] = [
    ['const char *const', 'actions', strings(spec.actions.keys()), spec.actions.size],
    ['const struct compiled_keyed', 'tables', exact.join(''), spec.tables.size],
    ['const struct compiled_keyed', 'learners', keyed(spec.learners.values()), spec.learners.size],
    ['const char *const', 'selectors', strings(spec.selectors.keys()), spec.selectors.size],
    ['const struct compiled_array', 'registers', array(spec.regarrays.values()), spec.regarrays.size],
    ['const struct compiled_array', 'meters', array(spec.metarrays.values()), spec.metarrays.size],
  ];
  const lines = text.split('\n').map((line, n, all) => quote(n + 1 < all.length ? `${line}\n` : line));
  return `static const char ${prefix}_spec[] =
${lines.map((line) => `\t${line}\n`).join('')};
${lists.map(([type, list, items]) => `static ${type} ${prefix}_${list}[] = {\n${items}\t${type.endsWith('*const') ? 'NULL' : '{ 0 }'},\n};\n`).join('')}
static const struct compiled_code ${prefix} = {
	.name = ${quote(name)},
	.spec = ${prefix}_spec,
	.spec_length = sizeof(${prefix}_spec) - 1,
${lists
  .map(([, list, , size]) => `\t.${list} = ${prefix}_${list},\n\t.${list.slice(0, -1)}_count = ${size},\n`)
  .join('')}	.lane_bytes = sizeof(struct lane),
	.run = ${prefix}_run,
};`;
}

function keyOf(keys: readonly KeyField[]): string {
  const { from, bytes } = keyRange(keys);
  return `${from}, ${bytes}`;
}

/** A string of C. Octal, as a hexadecimal escape would go on into what follows. */
function quote(text: string): string {
  const bytes = [...Buffer.from(text, 'utf8')].map((b) =>
    b >= 0x20 && b < 0x7f && b !== 0x22 && b !== 0x5c && b !== 0x3f
      ? String.fromCharCode(b)
      : `\\${b.toString(8).padStart(3, '0')}`,
  );
  return `"${bytes.join('')}"`;
}

import type { AluOp, Comparison, FieldRef, Instruction, Operand, Spec } from '../spec/ast';
import { specError } from '../spec/lines';
import { isExact, keyWords } from './keys';
import { address, assign, type Fields, identifier, place, value } from './operands';

/** What the C of a program's blocks is written with. */
export interface Names {
  readonly fields: Fields;
  /** Numbers of things, as DPDK counts them: in the order of the spec, each kind by itself. */
  readonly action: (name: string) => number;
  readonly table: (name: string) => number;
  readonly learner: (name: string) => number;
  readonly selector: (name: string) => number;
  readonly register: (name: string) => number;
  readonly meter: (name: string) => number;
  /** Actions that do nothing need no call, and only those that drop can end a packet. */
  readonly idle: (action: string) => boolean;
  readonly drops: (action: string) => boolean;
}

const ALU: Readonly<Record<AluOp, (a: string, b: string) => string>> = {
  add: (a, b) => `${a} + ${b}`,
  sub: (a, b) => `${a} - ${b}`,
  and: (a, b) => `${a} & ${b}`,
  or: (a, b) => `${a} | ${b}`,
  xor: (a, b) => `${a} ^ ${b}`,
  // Counts wrap at 64, as on the target's CPU.
  shl: (a, b) => `${a} << (${b} & 63)`,
  shr: (a, b) => `${a} >> (${b} & 63)`,
};
const COMPARE: Readonly<Record<Comparison, string>> = { eq: '==', neq: '!=', lt: '<', gt: '>' };

/**
 * One instruction as C. It does what src/p4switch/interpreter/compile.ts does.
 *
 * @param index of the instruction in its block
 * @throws CalicoP4Error SPEC_INVALID for what is left to the interpreter
 */
export function writeInstruction(
  spec: Spec,
  names: Names,
  i: Instruction,
  index: number,
  inAction: boolean,
): string {
  const { fields } = names;
  const read = (operand: Operand): string => value(fields, operand);
  const refuse = (what: string): never => {
    throw specError(i.line, `${what} is not compiled to machine code`);
  };
  const valid = (name: string): string => `(l->head.valid >> ${fields.bit(name)} & 1)`;
  const bit = (name: string): string => `UINT64_C(1) << ${fields.bit(name)}`;
  const cell = (name: string, at: Operand): string => {
    const n = names.register(name);
    return `m->registers[${n}][${read(at)} & m->register_mask[${n}]]`;
  };
  switch (i.op) {
    case 'rx':
      return assign(fields, i.port, 'l->head.packet->port');
    case 'tx':
      if (inAction) return refuse('tx in an action');
      return `transmit(&l->head, l->emitted, ${read(i.port)}); goto done;`;
    case 'drop':
      return `l->head.packet->port = COMPILED_DROP; ${inAction ? 'return true;' : 'goto done;'}`;
    case 'recirculate':
    case 'recircid':
      return refuse(i.op);
    case 'extract': {
      const { bytes, maxBytes } = spec.headers.get(i.header)!.type;
      const at = `l->at_${identifier(i.header)} = l->head.at; l->head.valid |= ${bit(i.header)};`;
      if (i.variableBytes === undefined) return `${at} l->head.at += ${bytes}; l->head.length -= ${bytes};`;
      const length = `l->bytes_${identifier(i.header)}`;
      const extra = `RTE_MIN(${read(i.variableBytes)}, UINT64_C(${maxBytes - bytes}))`;
      return `${at} ${length} = ${bytes} + (uint32_t)${extra}; l->head.at += ${length}; l->head.length -= ${length};`;
    }
    case 'lookahead':
      return `l->at_${identifier(i.header)} = l->head.at; l->head.valid |= ${bit(i.header)};`;
    case 'emit': {
      const { bytes } = spec.headers.get(i.header)!.type;
      const length = fields.variable.has(i.header) ? `l->bytes_${identifier(i.header)}` : String(bytes);
      const what = `(struct emitted){ ${fields.header(i.header)}, ${length} }`;
      return `if (${valid(i.header)}) l->emitted[l->head.emitted_count++] = ${what};`;
    }
    case 'validate': {
      if (!fields.moving.has(i.header)) return `l->head.valid |= ${bit(i.header)};`;
      const name = identifier(i.header);
      return `if (!${valid(i.header)}) { l->at_${name} = l->header_${name}; l->head.valid |= ${bit(i.header)}; }`;
    }
    case 'invalidate':
      return `l->head.valid &= ~(${bit(i.header)});`;
    case 'mov':
      if (i.dst.bits <= 64) return assign(fields, i.dst, read(i.src));
      if (i.src.in === 'const') return refuse('a constant over 64 bits');
      return `memmove(${address(fields, i.dst)}, ${address(fields, i.src)}, ${i.dst.bits / 8});`;
    case 'add':
    case 'sub':
    case 'and':
    case 'or':
    case 'xor':
    case 'shl':
    case 'shr':
      return assign(fields, i.dst, ALU[i.op](read(i.dst), read(i.src)));
    case 'ckadd':
    case 'cksub': {
      const raw = `get_le(${address(fields, i.src)}, ${i.src.bits / 8})`;
      return `checksum_${i.op === 'ckadd' ? 'add' : 'subtract'}(${address(fields, i.dst)}, ${raw});`;
    }
    case 'ckaddheader': {
      const { bytes } = spec.headers.get(i.header)!.type;
      const length = fields.variable.has(i.header) ? `l->bytes_${identifier(i.header)}` : String(bytes);
      return `checksum_add_words(${address(fields, i.dst)}, ${fields.header(i.header)}, ${length});`;
    }
    case 'hash': {
      const length = i.last.offset + i.last.bits / 8 - i.first.offset;
      return assign(fields, i.dst, `rte_hash_crc(${address(fields, i.first)}, ${length}, 0)`);
    }
    case 'regprefetch':
      return `rte_prefetch0(&${cell(i.array, i.index)});`;
    case 'regrd':
      return assign(fields, i.dst, cell(i.array, i.index));
    case 'regwr':
      return `${cell(i.array, i.index)} = ${read(i.src)};`;
    case 'regadd':
      return `${cell(i.array, i.index)} += ${read(i.src)};`;
    case 'metprefetch':
      return ';';
    case 'meter': {
      const n = names.meter(i.array);
      const at = `&m->meters[${n}][${read(i.index)} & m->meter_mask[${n}]]`;
      return assign(fields, i.dst, `meter_run(${at}, ${read(i.amount)}, ${read(i.colour)})`);
    }
    case 'table':
      return writeTable(spec, names, i.name, index);
    case 'learner':
      return writeLearner(spec, names, i.name, index);
    case 'selector':
      return writeSelector(spec, names, i.name, index);
    case 'learn': {
      const data = `l->metadata + ${i.firstArg?.offset ?? 0}`;
      return `learn(m, &l->head, ${names.action(i.action)}, ${data}, ${read(i.timeoutId)});`;
    }
    case 'rearm':
      return i.timeoutId === undefined
        ? 'renew(m, &l->head);'
        : `renew_with(m, &l->head, ${read(i.timeoutId)});`;
    case 'forget':
      return 'forget(m, &l->head);';
    case 'entryid':
      return assign(fields, i.dst, 'l->head.entry');
    case 'jmp':
      return `goto ${label(i.target)};`;
    case 'jmph':
      return `if (l->head.hit) goto ${label(i.target)};`;
    case 'jmpnh':
      return `if (!l->head.hit) goto ${label(i.target)};`;
    case 'jmpv':
      return `if (${valid(i.header)}) goto ${label(i.target)};`;
    case 'jmpnv':
      return `if (!${valid(i.header)}) goto ${label(i.target)};`;
    case 'jmpa':
    case 'jmpna':
      return `if (l->head.action ${i.op === 'jmpa' ? '==' : '!='} ${names.action(i.action)}) goto ${label(i.target)};`;
    case 'jmpcmp': {
      // For equality with a header field a constant is cut to the field's width; everywhere else all 64 bits count.
      const cut = i.b.in === 'const' && i.a.in === 'header' && (i.compare === 'eq' || i.compare === 'neq');
      const b: Operand = cut ? { in: 'const', value: BigInt.asUintN(i.a.bits, i.b.value) } : i.b;
      return `if (${read(i.a)} ${COMPARE[i.compare]} ${read(b)}) goto ${label(i.target)};`;
    }
    case 'return':
      return 'return false;';
  }
}

/** The label of an instruction, in its block. */
export function label(index: number): string {
  return `i${index}`;
}

function keyPlace(names: Names, keys: readonly { readonly field: FieldRef }[]): string {
  return place(names.fields, keys[0]!.field);
}

/** Runs the action that a look-up came to. */
function writeDispatch(names: Names, actions: readonly { readonly name: string }[]): string {
  const busy = actions.filter(({ name }) => !names.idle(name));
  if (busy.length === 0) return '';
  const cases = busy.map(({ name }) => {
    const n = names.action(name);
    const call = `action_${n}(m, l, l->head.data)`;
    return `case ${n}: ${names.drops(name) ? `if (${call}) goto done;` : `${call};`} break;`;
  });
  return `\n\tswitch (l->head.action) {\n\t${cases.join('\n\t')}\n\t}`;
}

function writeTable(spec: Spec, names: Names, name: string, index: number): string {
  const table = spec.tables.get(name)!;
  const n = names.table(name);
  const look =
    table.keys.length === 0
      ? `l->head.hit = 0; found(m, &l->head, ${n}, ${n});`
      : isExact(table)
        ? `LOOK_UP_EXACT(turn${index}, last_turn${index}, ${n}, ${keyWords(table.keys)}, key_${n});`
        : `LOOK_UP(turn${index}, ${n}, ${keyPlace(names, table.keys)});`;
  return `/* ${name} */ ${look}${writeDispatch(names, table.actions)}`;
}

function writeLearner(spec: Spec, names: Names, name: string, index: number): string {
  const learner = spec.learners.get(name)!;
  const counts = `${spec.tables.size}, ${spec.selectors.size}`;
  const look = `LOOK_UP_LEARNED(turn${index}, ${names.learner(name)}, ${counts}, ${keyPlace(names, learner.keys)});`;
  return `/* ${name} */ ${look}${writeDispatch(names, learner.actions)}`;
}

function writeSelector(spec: Spec, names: Names, name: string, index: number): string {
  const selector = spec.selectors.get(name)!;
  const where = [selector.groupId, selector.fields[0]!, selector.memberId].map((f) => place(names.fields, f));
  return `/* ${name} */ SELECT(turn${index}, ${spec.tables.size + names.selector(name)}, ${where.join(', ')});`;
}

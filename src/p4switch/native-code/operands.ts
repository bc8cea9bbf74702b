import { isBigEndian } from '../interpreter/memory';
import type { FieldRef, Operand, Spec } from '../spec/ast';

/** How a program's fields are written in C. In it `l` is the packet's lane, `t` the arguments of the running action. */
export interface Fields {
  /** C expression: where a header lies, as bytes. */
  readonly header: (name: string) => string;
  /** The number of a header in the mask of valid ones. */
  readonly bit: (name: string) => number;
  /** Headers that extract or lookahead point into the packet; all others never leave their storage. */
  readonly moving: ReadonlySet<string>;
  /** Headers whose length extract decides. */
  readonly variable: ReadonlySet<string>;
}

export function fieldsOf(spec: Spec): Fields {
  const moving = new Set<string>();
  for (const i of spec.apply) if (i.op === 'extract' || i.op === 'lookahead') moving.add(i.header);
  const variable = [...spec.headers.values()].filter(({ type }) => type.maxBytes > type.bytes);
  const numbers = new Map([...spec.headers.keys()].map((name, n) => [name, n]));
  return {
    header: (name) => (moving.has(name) ? `l->at_${identifier(name)}` : `l->header_${identifier(name)}`),
    bit: (name) => numbers.get(name)!,
    moving,
    variable: new Set(variable.map(({ name }) => name)),
  };
}

/** A name of a spec as part of one in C. */
export function identifier(name: string): string {
  return name.replace(/[^A-Za-z0-9_]/g, (c) => `_${c.charCodeAt(0).toString(16)}_`);
}

/** The struct that a field is in, as bytes. */
export function place(fields: Fields, field: FieldRef): string {
  switch (field.in) {
    case 'header':
      return fields.header(field.header);
    case 'metadata':
      return 'l->metadata';
    case 'args':
      return 't';
  }
}

/** Where a field begins. */
export function address(fields: Fields, field: FieldRef): string {
  return `${place(fields, field)} + ${field.offset}`;
}

const order = (field: FieldRef): string => (isBigEndian(field.in === 'header', field.bits) ? 'be' : 'le');

/** The value of a field of up to 64 bits, or of a constant. */
export function value(fields: Fields, operand: Operand): string {
  if (operand.in === 'const') return `UINT64_C(0x${operand.value.toString(16)})`;
  return `get_${order(operand)}(${address(fields, operand)}, ${operand.bits / 8})`;
}

/** Sets a field of up to 64 bits; what does not fit is lost. */
export function assign(fields: Fields, field: FieldRef, to: string): string {
  return `put_${order(field)}(${address(fields, field)}, ${field.bits / 8}, ${to});`;
}

import type { FieldRef, KeyField, Spec, StructType } from './ast';

/** What DPDK 22.11 would refuse, or worse, silently get wrong. */
export interface SpecViolation {
  readonly line: number;
  readonly problem: string;
}

/** An operand's offset is a uint8 in SWX and is truncated silently: fields beyond alias those at the start. */
const STRUCT_BYTES_MAX = 255;
/** A header with a variable part; IP's largest packet. Not SWX's limit: the interpreter allocates this much for each header. */
const HEADER_BYTES_MAX = 65_535;
/** Cells of all register arrays together, 128 MiB. Not SWX's limit: a spec must not ask for more memory than there is. */
const REGISTERS_MAX = 2 ** 24;
/** Meters of all meter arrays together. Not SWX's limit either. */
const METERS_MAX = 2 ** 20;
/** The validity of headers is a 64-bit mask. */
const HEADERS_MAX = 64;
/** RTE_SWX_TABLE_LEARNER_N_KEY_TIMEOUTS_MAX. */
const LEARNER_TIMEOUTS_MAX = 16;
/** Ids of tables, learners, selectors, actions and register arrays are uint8. */
const IDS_MAX = 256;

/**
 * The limits of DPDK 22.11's SWX pipeline that a well-formed spec can still break, and two of memory; empty when it breaks none.
 * Names of 64 characters and more are already refused by parseSpec.
 */
export function checkSpecLimits(spec: Spec): readonly SpecViolation[] {
  const violations: SpecViolation[] = [];
  const report = (line: number, problem: string): void => {
    violations.push({ line, problem });
  };
  const structSize = (struct: StructType, use: string): void => {
    if (struct.bytes > STRUCT_BYTES_MAX)
      report(
        struct.line,
        `struct ${struct.name} (${use}) has ${struct.bytes} bytes, at most ${STRUCT_BYTES_MAX} fit`,
      );
  };
  structSize(spec.metadata, 'metadata');
  for (const header of spec.headers.values()) {
    structSize(header.type, `header ${header.name}`);
    if (header.type.maxBytes > HEADER_BYTES_MAX)
      report(
        header.line,
        `header ${header.name} may have ${header.type.maxBytes} bytes, at most ${HEADER_BYTES_MAX} fit`,
      );
  }
  for (const action of spec.actions.values())
    if (action.args) structSize(action.args, `arguments of action ${action.name}`);

  if (spec.headers.size > HEADERS_MAX)
    report(
      [...spec.headers.values()][HEADERS_MAX]!.line,
      `${spec.headers.size} headers, at most ${HEADERS_MAX} fit`,
    );
  const counted = {
    tables: spec.tables,
    selectors: spec.selectors,
    learners: spec.learners,
    actions: spec.actions,
    regarrays: spec.regarrays,
    metarrays: spec.metarrays,
  };
  for (const [what, items] of Object.entries(counted))
    if (items.size > IDS_MAX)
      report([...items.values()][IDS_MAX]!.line, `${items.size} ${what}, at most ${IDS_MAX} fit`);

  let registers = 0;
  for (const array of spec.regarrays.values()) {
    registers += array.size;
    if (registers > REGISTERS_MAX) {
      report(array.line, `the register arrays have more than ${REGISTERS_MAX} cells together`);
      break;
    }
  }

  let meters = 0;
  for (const array of spec.metarrays.values()) {
    meters += array.size;
    if (meters > METERS_MAX) {
      report(array.line, `the meter arrays have more than ${METERS_MAX} meters together`);
      break;
    }
  }

  for (const table of spec.tables.values()) {
    checkKeys(table.name, table.line, table.keys, report);
    const lpm = table.keys.filter((k) => k.match === 'lpm').length;
    const exact = table.keys.filter((k) => k.match === 'exact').length;
    if (lpm > 1 || (lpm === 1 && exact !== table.keys.length - 1))
      report(table.line, `table ${table.name}: one lpm key at most, and only exact keys beside it`);
  }
  for (const learner of spec.learners.values()) {
    checkKeys(learner.name, learner.line, learner.keys, report);
    if (!contiguous(learner.keys))
      report(learner.line, `learner ${learner.name}: its keys must lie side by side`);
    if (learner.timeouts.length > LEARNER_TIMEOUTS_MAX)
      report(
        learner.line,
        `learner ${learner.name} has ${learner.timeouts.length} timeouts, at most ${LEARNER_TIMEOUTS_MAX} fit`,
      );
  }
  for (const selector of spec.selectors.values())
    checkKeys(
      selector.name,
      selector.line,
      selector.fields.map((field) => ({ field, match: 'exact' })),
      report,
    );
  return violations;
}

function checkKeys(
  name: string,
  line: number,
  keys: readonly KeyField[],
  report: (line: number, problem: string) => void,
): void {
  const structs = new Set(keys.map((k) => structOf(k.field)));
  if (structs.size > 1)
    report(line, `the keys of ${name} lie in several structs (${[...structs].join(', ')})`);
  if (new Set(keys.map((k) => k.field.text)).size < keys.length)
    report(line, `a key of ${name} is given twice`);
}

function structOf(field: FieldRef): string {
  return field.in === 'header' ? `h.${field.header}` : field.in;
}

function contiguous(keys: readonly KeyField[]): boolean {
  const sorted = keys.map((k) => k.field).sort((a, b) => a.offset - b.offset);
  return sorted.every((f, i) => i === 0 || sorted[i - 1]!.offset + sorted[i - 1]!.bits / 8 === f.offset);
}

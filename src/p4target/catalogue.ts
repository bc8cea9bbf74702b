import { p4info as info, type P4Info } from 'p4runtime-js-bindings';
import { CalicoP4Error } from '../errors';
import type { MatchValue } from '../translators/rows';

/** A match field of a table. */
export interface FieldInfo {
  readonly id: number;
  readonly name: string;
  /** Bits. */
  readonly width: number;
  readonly kind: MatchValue['kind'];
}

export interface ParamInfo {
  readonly id: number;
  readonly name: string;
  /** Bits. */
  readonly width: number;
}

export interface ActionInfo {
  readonly id: number;
  readonly name: string;
  readonly params: readonly ParamInfo[];
  /** False for actions that only the default may be. */
  readonly inEntries: boolean;
}

export interface TableInfo {
  readonly id: number;
  /** The alias, which the rest of the program uses. */
  readonly name: string;
  readonly size: number;
  readonly fields: readonly FieldInfo[];
  /** Entries of the table carry a priority. */
  readonly hasPriority: boolean;
  readonly fieldById: ReadonlyMap<number, FieldInfo>;
  /** By alias and by full name. */
  readonly actionByName: ReadonlyMap<string, ActionInfo>;
  readonly actionById: ReadonlyMap<number, ActionInfo>;
}

/**
 * An indexed meter. To rows it is a table with the one exact field `index` and the one action `limit(rate, burst, peak_rate, peak_burst)`;
 * a cell at its default, in which everything is green, is no row.
 */
export interface MeterInfo {
  readonly id: number;
  readonly name: string;
  readonly size: number;
}

export interface CounterInfo {
  readonly id: number;
  readonly name: string;
  readonly size: number;
}

/** What a pipeline's p4info says, by name. Names are aliases or full names, whichever the caller has. */
export interface Catalogue {
  readonly tables: readonly TableInfo[];
  readonly counters: readonly CounterInfo[];
  /** undefined when it is no meter. */
  meter(name: string): MeterInfo | undefined;
  /** @throws CalicoP4Error PIPELINE_MISMATCH */
  table(name: string): TableInfo;
  tableById(id: number): TableInfo | undefined;
  /** @throws CalicoP4Error PIPELINE_MISMATCH */
  counter(name: string): CounterInfo;
  /** @throws CalicoP4Error PIPELINE_MISMATCH that names all tables that are missing, and those that there are */
  requireTables(names: readonly string[]): void;
}

/**
 * Builds the catalogue. Tables with fields that no row can express (range, optional) are there; their fields of such a
 * kind make the build fail, because an entry without them would match more than meant.
 *
 * @throws CalicoP4Error PIPELINE_MISMATCH for a p4info that contradicts itself or has such a field
 */
export function buildCatalogue(p4info: P4Info): Catalogue {
  const actions = new Map(p4info.actions.map((a) => [a.preamble?.id ?? 0, a]));
  const tables = p4info.tables.map((table) => tableInfo(table, actions));
  const counters = p4info.counters.map((c) => ({ ...named(c.preamble, 'counter'), size: Number(c.size) }));
  const meters = p4info.meters.map((m) => ({ ...named(m.preamble, 'meter'), size: Number(m.size) }));
  const meterByName = new Map(meters.map((meter) => [meter.name, meter]));
  const byName = new Map<string, TableInfo>();
  for (const [i, table] of tables.entries()) {
    byName.set(table.name, table);
    byName.set(p4info.tables[i]!.preamble!.name, table);
  }
  const byId = new Map(tables.map((t) => [t.id, t]));
  const counterByName = new Map<string, CounterInfo>();
  for (const [i, counter] of counters.entries()) {
    counterByName.set(counter.name, counter);
    counterByName.set(p4info.counters[i]!.preamble!.name, counter);
  }
  const missing = (what: string, names: readonly string[], has: readonly { name: string }[]): CalicoP4Error =>
    new CalicoP4Error(
      'PIPELINE_MISMATCH',
      `the pipeline has no ${what} ${names.join(', ')}; it has ${has.map((h) => h.name).join(', ') || 'none'}: ` +
        'use the p4info and the program of this release',
      { missing: names },
    );
  return {
    tables,
    counters,
    meter: (name) => meterByName.get(name),
    tableById: (id) => byId.get(id),
    table(name) {
      const found = byName.get(name);
      if (!found) throw missing('table', [name], tables);
      return found;
    },
    counter(name) {
      const found = counterByName.get(name);
      if (!found) throw missing('counter', [name], counters);
      return found;
    },
    requireTables(names) {
      const absent = names.filter((name) => !byName.has(name));
      if (absent.length > 0) throw missing(absent.length > 1 ? 'tables' : 'table', absent, tables);
    },
  };
}

function tableInfo(table: info.Table, actions: ReadonlyMap<number, info.Action>): TableInfo {
  const { id, name } = named(table.preamble, 'table');
  const fields = table.matchFields.map((field) => ({
    id: field.id,
    name: field.name,
    width: field.bitwidth,
    kind: kindOf(name, field),
  }));
  const actionByName = new Map<string, ActionInfo>();
  const actionById = new Map<number, ActionInfo>();
  for (const ref of table.actionRefs) {
    const action = actions.get(ref.id);
    if (!action)
      throw new CalicoP4Error('PIPELINE_MISMATCH', `p4info: table ${name} refers to no action ${ref.id}`);
    const made: ActionInfo = {
      ...named(action.preamble, 'action'),
      params: action.params.map((p) => ({ id: p.id, name: p.name, width: p.bitwidth })),
      inEntries: ref.scope !== info.ActionRef_Scope.DEFAULT_ONLY,
    };
    actionById.set(made.id, made);
    actionByName.set(made.name, made);
    actionByName.set(action.preamble!.name, made);
  }
  return {
    id,
    name,
    size: Number(table.size),
    fields,
    hasPriority: fields.some((f) => f.kind === 'ternary'),
    fieldById: new Map(fields.map((f) => [f.id, f])),
    actionByName,
    actionById,
  };
}

function named(
  preamble: info.Preamble | undefined,
  what: string,
): { readonly id: number; readonly name: string } {
  if (!preamble || preamble.id === 0 || preamble.name === '') {
    throw new CalicoP4Error(
      'PIPELINE_MISMATCH',
      `p4info: a ${what} without an id or a name; is the file complete?`,
    );
  }
  return { id: preamble.id, name: preamble.alias === '' ? preamble.name : preamble.alias };
}

function kindOf(table: string, field: info.MatchField): MatchValue['kind'] {
  const match = field.match?.$case === 'matchType' ? field.match.value : undefined;
  switch (match) {
    case info.MatchField_MatchType.EXACT:
      return 'exact';
    case info.MatchField_MatchType.LPM:
      return 'lpm';
    case info.MatchField_MatchType.TERNARY:
      return 'ternary';
    default:
      throw new CalicoP4Error(
        'PIPELINE_MISMATCH',
        `p4info: field ${field.name} of table ${table} has a match kind that rows can not express (exact, lpm, ternary)`,
      );
  }
}

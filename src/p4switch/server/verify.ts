import { p4info as info, type P4Info } from 'p4runtime-js-bindings';
import type { KeyField, Spec, TableAction } from '../spec/ast';
import type { Behaviour } from './behaviour';
import type { FieldLayout, PipelineLayout, TableLayout } from './layout';
import { findSpecName, nameOf } from './names';
import { invalid } from './refusal';
import { actionLayouts } from './verify-actions';
import { counterLayout, meterLayout, registerLayout } from './verify-arrays';
import { indirection, profileLayout } from './verify-profiles';

const KINDS: Readonly<Record<FieldLayout['kind'], KeyField['match']>> = {
  exact: 'exact',
  lpm: 'lpm',
  ternary: 'wildcard',
  optional: 'wildcard',
};

/**
 * Checks that a p4info describes a spec, and gives the mapping between them. Every table, action, counter, register and meter
 * of the p4info must be in the spec with the same shape; refuses with INVALID_ARGUMENT. The spec may hold more.
 */
export function verifyPipeline(p4info: P4Info, spec: Spec, behaviour: Behaviour): PipelineLayout {
  if (p4info.tables.length === 0) throw invalid('the p4info has no tables');
  const unsupported: readonly (readonly [string, number])[] = [
    ['direct counters', behaviour.stubsDirect ? 0 : p4info.directCounters.length],
    ['direct meters', behaviour.stubsDirect ? 0 : p4info.directMeters.length],
    ['value sets', p4info.valueSets.length],
    ['digests', p4info.digests.length],
    ['externs', p4info.externs.length],
  ];
  for (const [what, count] of unsupported)
    if (count > 0) throw invalid(`this switch has no ${what}; the p4info does`);
  const actions = byId(p4info.actions, 'action');
  const tables = byId(p4info.tables, 'table');
  const profiles = mapById(byId(p4info.actionProfiles, 'action profile'), (p) =>
    profileLayout(p, tables, actions, spec),
  );
  return {
    tables: mapById(tables, (t) => tableLayout(t, actions, profiles, spec)),
    counters: mapById(byId(p4info.counters, 'counter'), (c) => counterLayout(c, spec)),
    registers: mapById(byId(p4info.registers, 'register'), (r) => registerLayout(r, spec)),
    meters: behaviour.stubsDirect
      ? new Map()
      : mapById(byId(p4info.meters, 'meter'), (m) => meterLayout(m, spec)),
    profiles,
  };
}

function byId<T extends { preamble?: info.Preamble | undefined }>(
  list: readonly T[],
  what: string,
): Map<number, T> {
  const map = new Map<number, T>();
  for (const item of list) {
    const id = item.preamble?.id ?? 0;
    if (id === 0) throw invalid(`${what} ${item.preamble?.name ?? ''} of the p4info has no id`);
    if (map.has(id)) throw invalid(`the p4info has two ${what}s with id ${id}`);
    map.set(id, item);
  }
  return map;
}

function mapById<T, R>(map: ReadonlyMap<number, T>, f: (item: T) => R): Map<number, R> {
  return new Map([...map].map(([id, item]) => [id, f(item)]));
}

function tableLayout(
  table: info.Table,
  actions: ReadonlyMap<number, info.Action>,
  profiles: PipelineLayout['profiles'],
  spec: Spec,
): TableLayout {
  const { name } = nameOf(table);
  const specName = findSpecName(nameOf(table), [...spec.tables.keys(), ...spec.learners.keys()]);
  const learner = specName === undefined ? undefined : spec.learners.get(specName);
  const specTable = learner ?? (specName === undefined ? undefined : spec.tables.get(specName));
  if (specName === undefined || !specTable) throw invalid(`table ${name} of the p4info is not in the spec`);
  if (table.matchFields.length !== specTable.keys.length) {
    throw invalid(
      `table ${name} has ${table.matchFields.length} match fields in the p4info, ${specTable.keys.length} in the spec`,
    );
  }
  // p4c writes them to a file of their own, which a pipeline config does not carry.
  if (table.hasInitialEntries)
    throw invalid(`table ${name} has initial entries; this switch can not make them`);
  const fields = table.matchFields.map((f, i) => fieldLayout(name, f, specTable.keys[i]!));
  const positionOfField = new Map(fields.map((f, i) => [f.id, i]));
  if (positionOfField.size !== fields.length)
    throw invalid(`table ${name} has two match fields with the same id`);
  const indirect = indirection(table, specTable, profiles);
  // Entries of an indirect table have none of the actions; its default entry has one of them.
  const own = indirect ? { ...table, actionRefs: refsInSpec(table, actions, specTable.actions) } : table;
  const layouts = actionLayouts(name, own, actions, specTable.actions, spec);
  return {
    id: table.preamble!.id,
    name,
    specName,
    learned: learner !== undefined,
    isConst: table.isConstTable,
    constDefault:
      learner !== undefined ||
      indirect !== undefined ||
      table.constDefaultActionId !== 0 ||
      specTable.defaultAction.isConst,
    size: table.size > 0n ? Math.min(Number(table.size), specTable.size) : specTable.size,
    fields,
    positionOfField,
    hasPriority: fields.some((f) => f.kind === 'ternary' || f.kind === 'optional'),
    actions: new Map(layouts.map((a) => [a.id, a])),
    actionsBySpecName: new Map(layouts.map((a) => [a.specName, a])),
    indirect,
  };
}

function fieldLayout(table: string, field: info.MatchField, key: KeyField): FieldLayout {
  const where = `field ${field.name} of table ${table}`;
  const kind = field.match?.$case === 'matchType' ? kindOf(field.match.value) : undefined;
  if (kind === undefined)
    throw invalid(`${where}: this kind of match is not supported (exact, lpm, ternary, optional are)`);
  if (KINDS[kind] !== key.match) throw invalid(`${where} is ${kind} in the p4info, ${key.match} in the spec`);
  if (field.bitwidth <= 0 || field.bitwidth > key.field.bits) {
    throw invalid(`${where} has ${field.bitwidth} bits in the p4info, ${key.field.bits} in the spec`);
  }
  return { id: field.id, name: field.name, kind, bits: field.bitwidth, specBits: key.field.bits };
}

function kindOf(type: info.MatchField_MatchType): FieldLayout['kind'] | undefined {
  switch (type) {
    case info.MatchField_MatchType.EXACT:
      return 'exact';
    case info.MatchField_MatchType.LPM:
      return 'lpm';
    case info.MatchField_MatchType.TERNARY:
      return 'ternary';
    case info.MatchField_MatchType.OPTIONAL:
      return 'optional';
    default:
      return undefined;
  }
}

function refsInSpec(
  table: info.Table,
  actions: ReadonlyMap<number, info.Action>,
  specActions: readonly TableAction[],
): info.ActionRef[] {
  const names = specActions.map((a) => a.name);
  return table.actionRefs.filter((ref) => {
    const action = actions.get(ref.id);
    return action && findSpecName(nameOf(action), names) !== undefined;
  });
}

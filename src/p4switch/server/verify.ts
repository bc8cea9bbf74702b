import { p4info as info, type P4Info } from 'p4runtime-js-bindings';
import type { KeyField, Spec, TableAction } from '../spec/ast';
import type {
  ActionLayout,
  CounterLayout,
  FieldLayout,
  PipelineLayout,
  RegisterLayout,
  TableLayout,
} from './layout';
import { findSpecName, matchSpecNames, type P4Name } from './names';
import { invalid } from './refusal';

const KINDS: Readonly<Record<FieldLayout['kind'], KeyField['match']>> = {
  exact: 'exact',
  lpm: 'lpm',
  ternary: 'wildcard',
  optional: 'wildcard',
};

/**
 * Checks that a p4info describes a spec, and gives the mapping between them. Every table, action, counter and register
 * of the p4info must be in the spec with the same shape; refuses with INVALID_ARGUMENT. The spec may hold more.
 */
export function verifyPipeline(p4info: P4Info, spec: Spec): PipelineLayout {
  if (p4info.tables.length === 0) throw invalid('the p4info has no tables');
  const unsupported: readonly (readonly [string, number])[] = [
    ['action profiles', p4info.actionProfiles.length],
    ['direct counters', p4info.directCounters.length],
    ['meters', p4info.meters.length + p4info.directMeters.length],
    ['value sets', p4info.valueSets.length],
    ['digests', p4info.digests.length],
    ['externs', p4info.externs.length],
  ];
  for (const [what, count] of unsupported)
    if (count > 0) throw invalid(`this switch has no ${what}; the p4info does`);
  const actions = byId(p4info.actions, 'action');
  return {
    tables: mapById(byId(p4info.tables, 'table'), (t) => tableLayout(t, actions, spec)),
    counters: mapById(byId(p4info.counters, 'counter'), (c) => counterLayout(c, spec)),
    registers: mapById(byId(p4info.registers, 'register'), (r) => registerLayout(r, spec)),
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

function nameOf(item: { preamble?: info.Preamble | undefined }): P4Name {
  return { name: item.preamble?.name ?? '', alias: item.preamble?.alias ?? '' };
}

function tableLayout(table: info.Table, actions: ReadonlyMap<number, info.Action>, spec: Spec): TableLayout {
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
  const layouts = actionLayouts(name, table, actions, specTable.actions, spec);
  return {
    id: table.preamble!.id,
    name,
    specName,
    learned: learner !== undefined,
    isConst: table.isConstTable,
    constDefault:
      learner !== undefined || table.constDefaultActionId !== 0 || specTable.defaultAction.isConst,
    size: table.size > 0n ? Math.min(Number(table.size), specTable.size) : specTable.size,
    fields,
    positionOfField,
    hasPriority: fields.some((f) => f.kind === 'ternary' || f.kind === 'optional'),
    actions: new Map(layouts.map((a) => [a.id, a])),
    actionsBySpecName: new Map(layouts.map((a) => [a.specName, a])),
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

function actionLayouts(
  tableName: string,
  table: info.Table,
  actions: ReadonlyMap<number, info.Action>,
  specActions: readonly TableAction[],
  spec: Spec,
): ActionLayout[] {
  const referenced = table.actionRefs.map((ref) => {
    const action = actions.get(ref.id);
    if (!action)
      throw invalid(`table ${tableName} refers to action ${ref.id}, which the p4info does not have`);
    return action;
  });
  const specNames = matchSpecNames(
    referenced.map(nameOf),
    specActions.map((a) => a.name),
  );
  if (new Set(specNames).size !== specNames.length) {
    throw invalid(`table ${tableName}: can not tell its actions apart in the spec`);
  }
  return table.actionRefs.map((ref, i) => {
    const action = referenced[i]!;
    const { name } = nameOf(action);
    const specName = specNames[i];
    const inTable = specActions.find((a) => a.name === specName);
    const struct = specName === undefined ? undefined : spec.actions.get(specName);
    if (specName === undefined || !inTable || !struct) {
      throw invalid(`action ${name} of table ${tableName} is not in the spec`);
    }
    const args = struct.args?.fields ?? [];
    const where = `action ${name} of table ${tableName}`;
    if (args.length !== action.params.length) {
      throw invalid(
        `${where} has ${action.params.length} parameters in the p4info, ${args.length} in the spec`,
      );
    }
    const byName = action.params.map((p) => args.findIndex((a) => a.name === p.name));
    const positions = byName.includes(-1) ? action.params.map((_, at) => at) : byName;
    action.params.forEach((p, at) => {
      const bits = args[positions[at]!]!.bits;
      if (p.bitwidth <= 0 || p.bitwidth > bits) {
        throw invalid(
          `parameter ${p.name} of ${where} has ${p.bitwidth} bits in the p4info, ${bits} in the spec`,
        );
      }
    });
    return {
      id: ref.id,
      name,
      specName,
      params: action.params.map((p) => ({ id: p.id, name: p.name, bits: p.bitwidth })),
      positions,
      inEntries: inTable.inEntries && ref.scope !== info.ActionRef_Scope.DEFAULT_ONLY,
      asDefault: inTable.asDefault && ref.scope !== info.ActionRef_Scope.TABLE_ONLY,
    };
  });
}

/** p4c turns a counter into a register array; one that counts both into `<name>_packets` and `<name>_bytes`. */
function counterLayout(counter: info.Counter, spec: Spec): CounterLayout {
  const { name } = nameOf(counter);
  const unit = counter.spec?.unit;
  const array = (suffix: string): string => {
    const found = findSpecName(nameOf(counter), spec.regarrays.keys(), suffix);
    if (found === undefined) throw invalid(`counter ${name} has no register array *${suffix} in the spec`);
    return found;
  };
  const both = unit === info.CounterSpec_Unit.BOTH;
  const packets = unit === info.CounterSpec_Unit.BYTES ? undefined : array(both ? '_packets' : '');
  const bytes = unit === info.CounterSpec_Unit.PACKETS ? undefined : array(both ? '_bytes' : '');
  const specSize = spec.regarrays.get((packets ?? bytes)!)!.size;
  if (counter.size > BigInt(specSize)) {
    throw invalid(`counter ${name} has ${counter.size} cells in the p4info, ${specSize} in the spec`);
  }
  return {
    id: counter.preamble!.id,
    name,
    size: counter.size > 0n ? Number(counter.size) : specSize,
    packets,
    bytes,
  };
}

function registerLayout(register: info.Register, spec: Spec): RegisterLayout {
  const { name } = nameOf(register);
  const array = findSpecName(nameOf(register), spec.regarrays.keys());
  const regarray = array === undefined ? undefined : spec.regarrays.get(array);
  if (array === undefined || !regarray) throw invalid(`register ${name} of the p4info is not in the spec`);
  const type = register.typeSpec?.typeSpec;
  const bit =
    type?.$case === 'bitstring' && type.value.typeSpec?.$case === 'bit'
      ? type.value.typeSpec.value
      : undefined;
  if (!bit || bit.bitwidth <= 0 || bit.bitwidth > 64)
    throw invalid(`register ${name}: only bit<1> to bit<64> are supported`);
  if (register.size > regarray.size) {
    throw invalid(`register ${name} has ${register.size} cells in the p4info, ${regarray.size} in the spec`);
  }
  const size = register.size > 0 ? register.size : regarray.size;
  return { id: register.preamble!.id, name, array, size, bits: bit.bitwidth };
}

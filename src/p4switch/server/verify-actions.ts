import { p4info as info } from 'p4runtime-js-bindings';
import type { Spec, TableAction } from '../spec/ast';
import type { ActionLayout } from './layout';
import { matchSpecNames, nameOf } from './names';
import { invalid } from './refusal';

/** The actions that p4info gives a table, in its order, each with its copy among the table's actions in the spec. */
export function actionLayouts(
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

import type { p4info as info } from 'p4runtime-js-bindings';
import type { Learner, Spec, Table } from '../spec/ast';
import type { Indirection, ProfileLayout, SelectorLayout } from './layout';
import { findSpecName, nameOf } from './names';
import { invalid } from './refusal';
import { actionLayouts } from './verify-actions';

/**
 * p4c makes of an action profile a table of its name, keyed by member id, that holds the actions of the tables that use
 * it; with a selector also a `selector` of that name with `_sel` behind.
 */
export function profileLayout(
  profile: info.ActionProfile,
  tables: ReadonlyMap<number, info.Table>,
  actions: ReadonlyMap<number, info.Action>,
  spec: Spec,
): ProfileLayout {
  const { name } = nameOf(profile);
  const memberTable = findSpecName(nameOf(profile), spec.tables.keys());
  const specTable = memberTable === undefined ? undefined : spec.tables.get(memberTable);
  const key = specTable?.keys[0];
  if (memberTable === undefined || !specTable || specTable.keys.length !== 1 || key?.match !== 'exact') {
    throw invalid(`action profile ${name} has no table of members in the spec`);
  }
  const user = tables.get(profile.tableIds[0] ?? 0);
  if (!user) throw invalid(`action profile ${name} is used by no table`);
  const layouts = actionLayouts(name, user, actions, specTable.actions, spec);
  return {
    id: profile.preamble!.id,
    name,
    memberTable,
    memberIdBits: key.field.bits,
    size: profile.size > 0n ? Math.min(Number(profile.size), specTable.size) : specTable.size,
    actions: new Map(layouts.map((a) => [a.id, a])),
    actionsBySpecName: new Map(layouts.map((a) => [a.specName, a])),
    tableIds: profile.tableIds,
    selector: profile.withSelector ? selectorLayout(name, `${memberTable}_sel`, profile, spec) : undefined,
  };
}

function selectorLayout(
  name: string,
  specName: string,
  profile: info.ActionProfile,
  spec: Spec,
): SelectorLayout {
  const selector = spec.selectors.get(specName);
  if (!selector) throw invalid(`action profile ${name} has no selector ${specName} in the spec`);
  if (profile.maxGroupSize < 0 || profile.maxGroupSize > selector.membersPerGroupMax) {
    throw invalid(
      `action profile ${name}: groups of ${profile.maxGroupSize} in the p4info, of ${selector.membersPerGroupMax} in the spec`,
    );
  }
  return {
    specName,
    groupsMax: selector.groupsMax,
    groupSizeMax: profile.maxGroupSize > 0 ? profile.maxGroupSize : selector.membersPerGroupMax,
    maxGroupSize: profile.maxGroupSize,
    countsMembers: profile.selectorSizeSemantics?.$case === 'sumOfMembers',
    weightsDisallowed: profile.weightsDisallowed,
  };
}

/** How a table refers to its action profile; undefined for a direct one. */
export function indirection(
  table: info.Table,
  specTable: Table | Learner,
  profiles: ReadonlyMap<number, ProfileLayout>,
): Indirection | undefined {
  if (table.implementationId === 0) return undefined;
  const { name } = nameOf(table);
  const profile = profiles.get(table.implementationId);
  if (!profile)
    throw invalid(
      `table ${name} is implemented by ${table.implementationId}, which the p4info does not have`,
    );
  const action = (suffix: string): string => {
    const found = specTable.actions.find((a) => a.name === `${specTable.name}_${suffix}`);
    if (!found) throw invalid(`table ${name} has no action *_${suffix} in the spec`);
    return found.name;
  };
  return {
    profile,
    setMember: action('set_member_id'),
    setGroup: profile.selector ? action('set_group_id') : undefined,
  };
}

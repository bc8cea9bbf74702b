import { status } from '@grpc/grpc-js';
import {
  type ActionProfileGroup,
  type ActionProfileMember,
  type Entity,
  type TableAction,
  Update_Type,
} from 'p4runtime-js-bindings';
import type { SpecAction, SpecEntry, SpecKey } from '../engine';
import { decodeActionOf, encodeActionOf } from './actions';
import type { Group, Pipeline } from './device-state';
import { weigh } from './group-members';
import type { Indirection, ProfileLayout } from './layout';
import { invalid, Refusal, unimplemented } from './refusal';
import type { Undo } from './undo';
import { ones } from './values';

/** Members and groups of action profiles, and the table entries that refer to them. */

function profileOf(pipeline: Pipeline, id: number): ProfileLayout {
  const profile = pipeline.layout.profiles.get(id);
  if (!profile) throw invalid(`the p4info has no action profile with id ${id}`);
  return profile;
}

function memberKey(profile: ProfileLayout, memberId: number): SpecKey[] {
  return [{ value: BigInt(memberId), mask: ones(profile.memberIdBits) }];
}

function findMember(pipeline: Pipeline, profile: ProfileLayout, memberId: number): SpecEntry | undefined {
  return pipeline.engine.find(profile.memberTable, memberKey(profile, memberId), 0);
}

function groupsOf(pipeline: Pipeline, profile: ProfileLayout): Map<number, Group> {
  const known = pipeline.groups.get(profile.id);
  if (known) return known;
  const groups = new Map<number, Group>();
  pipeline.groups.set(profile.id, groups);
  return groups;
}

/** True when an entry of a table that uses the profile has this action parameter. */
function isReferenced(
  pipeline: Pipeline,
  profile: ProfileLayout,
  kind: 'setMember' | 'setGroup',
  id: number,
): boolean {
  return profile.tableIds.some((tableId) => {
    const table = pipeline.layout.tables.get(tableId);
    const action = table?.indirect?.[kind];
    if (!table || action === undefined) return false;
    for (const entry of pipeline.engine.entries(table.specName)) {
      if (entry.action.name === action && entry.action.params[0] === BigInt(id)) return true;
    }
    return false;
  });
}

export function writeMember(pipeline: Pipeline, type: Update_Type, member: ActionProfileMember): Undo {
  const { engine } = pipeline;
  const profile = profileOf(pipeline, member.actionProfileId);
  const what = `member ${member.memberId} of ${profile.name}`;
  if (member.memberId === 0) throw invalid(`a member of ${profile.name} needs an id other than 0`);
  const table = profile.memberTable;
  const keys = memberKey(profile, member.memberId);
  const before = engine.find(table, keys, 0);
  const missing = new Refusal(status.NOT_FOUND, `there is no ${what}`);
  if (type === Update_Type.DELETE) {
    if (!before) throw missing;
    const grouped = [...groupsOf(pipeline, profile).values()].some((g) =>
      g.members.some((m) => m.memberId === member.memberId),
    );
    if (grouped || isReferenced(pipeline, profile, 'setMember', member.memberId)) {
      throw new Refusal(status.FAILED_PRECONDITION, `${what} is in use by a group or a table entry`);
    }
    engine.apply({ kind: 'delete', table, keys, priority: 0 });
    return () => {
      engine.apply({ kind: 'insert', table, entry: before });
    };
  }
  if (!member.action) throw invalid(`${what} needs an action`);
  const action = decodeActionOf(
    `action profile ${profile.name}`,
    profile.actions,
    member.action,
    'entry',
    pipeline.behaviour,
  );
  const entry: SpecEntry = { keys, priority: 0, action };
  if (type === Update_Type.MODIFY) {
    if (!pipeline.behaviour.modifies) return () => undefined;
    if (!before) throw missing;
    engine.apply({ kind: 'modify', table, entry });
    return () => {
      engine.apply({ kind: 'modify', table, entry: before });
    };
  }
  if (before) throw new Refusal(status.ALREADY_EXISTS, `${what} is there already`);
  if (engine.entryCount(table) >= profile.size) {
    throw new Refusal(
      status.RESOURCE_EXHAUSTED,
      `action profile ${profile.name} is full: ${profile.size} members`,
    );
  }
  engine.apply({ kind: 'insert', table, entry });
  return () => {
    engine.apply({ kind: 'delete', table, keys, priority: 0 });
  };
}

export function writeGroup(pipeline: Pipeline, type: Update_Type, group: ActionProfileGroup): Undo {
  const profile = profileOf(pipeline, group.actionProfileId);
  const { selector } = profile;
  if (!selector) throw invalid(`action profile ${profile.name} has no selector, so no groups`);
  const what = `group ${group.groupId} of ${profile.name}`;
  if (group.groupId === 0) throw invalid(`a group of ${profile.name} needs an id other than 0`);
  const groups = groupsOf(pipeline, profile);
  const before = groups.get(group.groupId);
  const set = (from: Group | undefined, to: Group | undefined): void => {
    const slot = (to ?? from)!.slot;
    const members = (to?.members ?? []).map((m) => ({ id: m.memberId, weight: Math.max(1, m.weight) }));
    pipeline.engine.apply({ kind: 'group', selector: selector.specName, group: slot, members });
    if (to) groups.set(group.groupId, to);
    else groups.delete(group.groupId);
  };
  const change = (to: Group | undefined): Undo => {
    set(before, to);
    return () => {
      set(to, before);
    };
  };
  if (type !== Update_Type.INSERT && !before) throw new Refusal(status.NOT_FOUND, `there is no ${what}`);
  if (type === Update_Type.DELETE) {
    if (isReferenced(pipeline, profile, 'setGroup', before!.slot)) {
      throw new Refusal(status.FAILED_PRECONDITION, `${what} is in use by a table entry`);
    }
    return change(undefined);
  }
  if (type === Update_Type.INSERT && before)
    throw new Refusal(status.ALREADY_EXISTS, `${what} is there already`);
  if (before && before.maxSize !== group.maxSize) throw invalid(`${what}: max_size can not change`);
  weigh(what, selector, group);
  for (const m of group.members) {
    if (!findMember(pipeline, profile, m.memberId)) {
      throw new Refusal(status.NOT_FOUND, `${what}: there is no member ${m.memberId}`);
    }
  }
  const slot = before?.slot ?? freeSlot(groups, selector.groupsMax);
  if (slot === undefined) {
    throw new Refusal(
      status.RESOURCE_EXHAUSTED,
      `action profile ${profile.name} takes ${selector.groupsMax} groups`,
    );
  }
  const members = group.members.map(({ memberId, weight }) => ({ memberId, weight }));
  return change({ slot, maxSize: group.maxSize, members });
}

/** The spec numbers groups from 0; P4Runtime's ids are any 32-bit numbers. */
function freeSlot(groups: ReadonlyMap<number, Group>, max: number): number | undefined {
  const used = new Set([...groups.values()].map((g) => g.slot));
  for (let slot = 0; slot < max; slot++) if (!used.has(slot)) return slot;
  return undefined;
}

/** What an entry of an indirect table does in the spec: put a member's id, or a group's number, into metadata. */
export function decodeReference(
  pipeline: Pipeline,
  table: string,
  to: Indirection,
  action: TableAction,
): SpecAction {
  const { profile } = to;
  switch (action.type?.$case) {
    case 'actionProfileMemberId':
      if (!findMember(pipeline, profile, action.type.value)) {
        throw new Refusal(
          status.NOT_FOUND,
          `action profile ${profile.name} has no member ${action.type.value}`,
        );
      }
      return { name: to.setMember, params: [BigInt(action.type.value)] };
    case 'actionProfileGroupId': {
      if (to.setGroup === undefined)
        throw invalid(`action profile ${profile.name} has no selector, so no groups`);
      const group = groupsOf(pipeline, profile).get(action.type.value);
      if (!group) {
        throw new Refusal(
          status.NOT_FOUND,
          `action profile ${profile.name} has no group ${action.type.value}`,
        );
      }
      return { name: to.setGroup, params: [BigInt(group.slot)] };
    }
    case 'actionProfileActionSet':
      throw unimplemented('one-shot action sets are not supported; write members and groups');
    default:
      throw invalid(`entries of table ${table} take a member or a group of action profile ${profile.name}`);
  }
}

/** The inverse of decodeReference; undefined when the action is no reference. */
export function encodeReference(
  pipeline: Pipeline,
  to: Indirection,
  action: SpecAction,
): TableAction | undefined {
  const number = Number(action.params[0] ?? 0n);
  if (action.name === to.setMember) return { type: { $case: 'actionProfileMemberId', value: number } };
  if (action.name !== to.setGroup) return undefined;
  const group = [...groupsOf(pipeline, to.profile)].find(([, g]) => g.slot === number);
  return group && { type: { $case: 'actionProfileGroupId', value: group[0] } };
}

/** Profiles that a read selects: all for id 0. */
function selected(pipeline: Pipeline, id: number, itemId: number): ProfileLayout[] {
  if (id !== 0) return [profileOf(pipeline, id)];
  if (itemId !== 0) throw invalid('a read of all action profiles takes no id of a member or a group');
  return [...pipeline.layout.profiles.values()];
}

export function readMembers(pipeline: Pipeline, filter: ActionProfileMember): Entity[] {
  return selected(pipeline, filter.actionProfileId, filter.memberId).flatMap((profile) =>
    [...pipeline.engine.entries(profile.memberTable)].flatMap((entry): Entity[] => {
      const memberId = Number(entry.keys[0]!.value);
      if (filter.memberId !== 0 && filter.memberId !== memberId) return [];
      const action = encodeActionOf(profile.actionsBySpecName, entry.action, pipeline.behaviour);
      return [
        {
          entity: { $case: 'actionProfileMember', value: { actionProfileId: profile.id, memberId, action } },
        },
      ];
    }),
  );
}

export function readGroups(pipeline: Pipeline, filter: ActionProfileGroup): Entity[] {
  return selected(pipeline, filter.actionProfileId, filter.groupId).flatMap((profile) =>
    [...groupsOf(pipeline, profile)].flatMap(([groupId, group]): Entity[] => {
      if (filter.groupId !== 0 && filter.groupId !== groupId) return [];
      const members = group.members.map((m) => ({ ...m, watchKind: undefined }));
      const value = { actionProfileId: profile.id, groupId, members, maxSize: group.maxSize };
      return [{ entity: { $case: 'actionProfileGroup', value } }];
    }),
  );
}

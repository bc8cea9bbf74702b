/** A member of a group with its weight. */
export interface GroupMember {
  readonly id: number;
  readonly weight: number;
}

/** The groups of one selector. */
export interface SelectorGroups {
  /** Replaces a group's members; an empty list removes the group. */
  set(group: number, members: readonly GroupMember[]): void;
  members(group: number): readonly GroupMember[];
  /**
   * The member that `hash` falls on. As in SWX: a group that was never filled gives member 0, and group ids wrap at the
   * (power of two) number of groups.
   */
  select(group: number, hash: number): number;
}

export function selectorGroups(groupsMax: number, membersPerGroupMax: number): SelectorGroups {
  const groups = new Map<number, { readonly members: readonly GroupMember[]; readonly slots: Uint32Array }>();
  const groupMask = nextPowerOfTwo(groupsMax) - 1;
  return {
    set(group, members) {
      if (members.length === 0) {
        groups.delete(group);
        return;
      }
      groups.set(group, { members, slots: slotsOf(members, membersPerGroupMax) });
    },
    members: (group) => groups.get(group)?.members ?? [],
    select(group, hash) {
      const found = groups.get((group & groupMask) >>> 0);
      return found === undefined ? 0 : found.slots[hash % found.slots.length]!;
    },
  };
}

export function nextPowerOfTwo(n: number): number {
  return 2 ** Math.ceil(Math.log2(n));
}

/** Each member as often as its weight, weights scaled down together when they exceed the room. */
function slotsOf(members: readonly GroupMember[], room: number): Uint32Array {
  const total = members.reduce((sum, m) => sum + m.weight, 0);
  const scale = Math.max(1, total / Math.min(room, 4096));
  return Uint32Array.from(
    members.flatMap((m) => Array<number>(Math.max(1, Math.round(m.weight / scale))).fill(m.id)),
  );
}

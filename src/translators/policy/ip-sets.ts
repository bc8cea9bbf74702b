import type { IpSet, IpSetChange } from '../../model/model';
import type { Prefix, PrefixCache } from './address';
import type { Labels } from './labels';
import { hasPorts, protocolNumber } from './protocols';

/**
 * Which prefixes have which label, for one group (one label for a plain group, one for each slice of an IP_AND_PORT set). What
 * `IpSets` hands out is live: it changes with its set.
 */
export type Membership = ReadonlyMap<number, ReadonlySet<Prefix>>;

/** A prefix that got or lost a label. */
export interface MemberChange {
  readonly label: number;
  readonly prefix: Prefix;
  readonly added: boolean;
}

export const NO_MEMBERS: Membership = new Map();

/** How a rule names a set: as addresses, or as (address, protocol, port). */
export type SetUse = 'addresses' | 'ports';

/**
 * `partial`: some member could not be read, so membership is certain only where it is true.
 * `unusable`: the model has no such set, or one of a type that the rule can not use.
 */
export type SetState = 'good' | 'partial' | 'unusable';

export interface IpSets {
  /** Of a set that a rule names. */
  state(id: string, use: SetUse): SetState;
  /** What is wrong with it, for people; undefined when its state is `good`. */
  problem(id: string, use: SetUse): string | undefined;
  membership(id: string, use: SetUse): Membership;
  /** Starts a compile: takes the model's sets, and brings those that rules name to what they are now. */
  begin(sets: ReadonlyMap<string, IpSet>): SetChanges;
  /** All rules are read again: what none of them names by the next `begin` is forgotten. */
  askAgain(): void;
  /** The prefixes of all sets that are read. */
  prefixes(): Iterable<Prefix>;
  /** Their labels and groups. */
  labels(): Iterable<number>;
}

export interface SetChanges {
  /**
   * What changed in memberships, in order: whoever had taken in a membership has it as it is now after applying these. A set that
   * was read anew is another Membership, with no changes.
   */
  readonly members: ReadonlyMap<Membership, readonly MemberChange[]>;
  /** False: some set was read anew, is in another state than it was, or has other ports. */
  readonly onlyMembers: boolean;
}

interface ReadSet {
  source: IpSet;
  readonly members: Map<number, Set<Prefix>>;
  readonly bad: Set<string>;
  /** Some members mean the same: then a member that goes does not tell whether its prefix does. */
  ambiguous: boolean;
  changes: MemberChange[];
}

interface Answer {
  readonly id: string;
  readonly use: SetUse;
  readonly state: SetState;
  readonly problem: string | undefined;
}

type Slot = { readonly label: number; readonly prefix: Prefix } | 'nowhere' | undefined;

export function createIpSets(prefixes: PrefixCache, labels: Labels): IpSets {
  const read = new Map<string, ReadSet>();
  let sets: ReadonlyMap<string, IpSet> = new Map();
  /** What rules were told, and go by. */
  let answers = new Map<string, Answer>();

  const slotOf = (source: IpSet, member: string): Slot => {
    if (source.type !== 'IP_AND_PORT') {
      const prefix = prefixes.parse(member);
      return typeof prefix === 'object' ? { label: labels.set(source.id), prefix } : prefix;
    }
    const slice = readPortMember(member, prefixes);
    if (slice === undefined) return undefined;
    // Packets of other protocols have no port that could be in the set.
    if (slice.prefix === 'nowhere' || !hasPorts(slice.protocol)) return 'nowhere';
    return {
      label: labels.slice(labels.ports(source.id), slice.protocol, slice.port),
      prefix: slice.prefix,
    };
  };

  const add = (set: ReadSet, member: string): void => {
    const slot = slotOf(set.source, member);
    if (slot === undefined) set.bad.add(member);
    if (typeof slot !== 'object') return;
    const at = set.members.get(slot.label);
    if (at?.has(slot.prefix) === true) {
      set.ambiguous = true;
      return;
    }
    if (at === undefined) set.members.set(slot.label, new Set([slot.prefix]));
    else at.add(slot.prefix);
    set.changes.push({ ...slot, added: true });
  };

  const remove = (set: ReadSet, member: string): void => {
    const slot = slotOf(set.source, member);
    if (slot === undefined) set.bad.delete(member);
    if (typeof slot !== 'object') return;
    const at = set.members.get(slot.label);
    if (at?.delete(slot.prefix) !== true) return;
    // A plain set keeps its one label when it is empty.
    if (at.size === 0 && set.source.type === 'IP_AND_PORT') set.members.delete(slot.label);
    set.changes.push({ ...slot, added: false });
  };

  const readAnew = (source: IpSet): ReadSet => {
    const members = new Map<number, Set<Prefix>>();
    if (source.type !== 'IP_AND_PORT') members.set(labels.set(source.id), new Set());
    const set: ReadSet = { source, members, bad: new Set(), ambiguous: false, changes: [] };
    for (const member of source.members) add(set, member);
    // Whoever takes it in takes all of it.
    set.changes = [];
    read.set(source.id, set);
    return set;
  };

  /** Undefined: the set was read anew. */
  const follow = (set: ReadSet, source: IpSet): readonly MemberChange[] | undefined => {
    const steps: IpSetChange[] = [];
    let at: IpSet | undefined = set.ambiguous || set.source.type !== source.type ? undefined : source;
    while (at !== undefined && at !== set.source) {
      if (at.change !== undefined) steps.push(at.change);
      at = at.change?.before;
    }
    if (at === undefined) {
      readAnew(source);
      return undefined;
    }
    set.source = source;
    for (const { added, removed } of steps.reverse()) {
      for (const member of removed) remove(set, member);
      for (const member of added) add(set, member);
    }
    const { changes } = set;
    set.changes = [];
    if (!isAmbiguous(set)) return changes;
    // Whoever has taken it in must find it as it was.
    for (const { label, prefix, added } of [...changes].reverse()) {
      const members = set.members.get(label) ?? new Set();
      if (added) members.delete(prefix);
      else members.add(prefix);
      set.members.set(label, members);
    }
    readAnew(source);
    return undefined;
  };

  const get = (id: string, use: SetUse): ReadSet | undefined => {
    const source = sets.get(id);
    if (source === undefined || (source.type === 'IP_AND_PORT') !== (use === 'ports')) return undefined;
    return read.get(id) ?? readAnew(source);
  };

  const answerOf = (id: string, use: SetUse): Answer => {
    const known = get(id, use);
    if (known !== undefined) {
      const { bad } = known;
      if (bad.size === 0) return { id, use, state: 'good', problem: undefined };
      const problem = `IP set ${id}: ${bad.size} members can not be read and match nothing, the first is "${[...bad][0]!}"`;
      return { id, use, state: 'partial', problem };
    }
    const type = sets.get(id)?.type;
    const what =
      type === undefined ? 'is named by a rule but unknown' : `of type ${type} is used as a set of ${use}`;
    const problem = `IP set ${id} ${what}: allow rules that name it do not match, deny rules do`;
    return { id, use, state: 'unusable', problem };
  };

  const answer = (id: string, use: SetUse): Answer => {
    const key = `${id} ${use}`;
    let known = answers.get(key);
    if (known === undefined) {
      known = answerOf(id, use);
      answers.set(key, known);
    }
    return known;
  };

  return {
    *prefixes() {
      for (const { members } of read.values()) for (const some of members.values()) yield* some;
    },
    *labels() {
      for (const { source, members } of read.values()) {
        if (source.type === 'IP_AND_PORT') yield labels.ports(source.id);
        yield* members.keys();
      }
    },
    begin(now) {
      sets = now;
      const named = new Set([...answers.values()].map(({ id }) => id));
      const members = new Map<Membership, readonly MemberChange[]>();
      let onlyMembers = true;
      for (const [id, known] of read) {
        const source = now.get(id);
        if (!named.has(id) || source === undefined) read.delete(id);
        else if (source !== known.source) {
          const ports = [...known.members.keys()].join();
          const changes = follow(known, source);
          if (changes !== undefined) members.set(known.members, changes);
          onlyMembers &&= changes !== undefined && ports === [...known.members.keys()].join();
        }
      }
      for (const { id, use, problem } of answers.values()) {
        onlyMembers &&= answerOf(id, use).problem === problem;
      }
      return { members, onlyMembers };
    },
    askAgain() {
      answers = new Map();
    },
    state: (id, use) => answer(id, use).state,
    problem: (id, use) => answer(id, use).problem,
    membership: (id, use) => get(id, use)?.members ?? NO_MEMBERS,
  };
}

/** Read again after a call that may have changed it. */
function isAmbiguous({ ambiguous }: ReadSet): boolean {
  return ambiguous;
}

/** `10.0.0.1,tcp:80`; the address may be a CIDR, the protocol a number. */
function readPortMember(
  text: string,
  prefixes: PrefixCache,
): { readonly prefix: Prefix | 'nowhere'; readonly protocol: number; readonly port: number } | undefined {
  const m = /^([^,]+),([^,:]+):(\d{1,5})$/.exec(text);
  if (m === null) return undefined;
  const prefix = prefixes.parse(m[1]!);
  const protocol = protocolNumber(m[2]!);
  const port = Number(m[3]);
  if (prefix === undefined || protocol === undefined || port > 65535) return undefined;
  return { prefix, protocol, port };
}

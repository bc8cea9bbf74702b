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
  /** Brings what is known of the set to the model's. */
  state(id: string, use: SetUse): SetState;
  membership(id: string, use: SetUse): Membership;
  /**
   * What changed in memberships since the last call, in order: whoever had taken in a membership by then has it as it is now after
   * applying these. A set that was read anew is another Membership, with no changes.
   */
  takeChanges(): ReadonlyMap<Membership, readonly MemberChange[]>;
  /** The prefixes of all sets that are read. */
  prefixes(): Iterable<Prefix>;
  /** Starts a compile: takes the model's sets; what was read of sets that nobody asked for since the last call is forgotten. */
  begin(sets: ReadonlyMap<string, IpSet>, onProblem: (message: string) => void): void;
}

interface ReadSet {
  source: IpSet;
  readonly members: Map<number, Set<Prefix>>;
  readonly bad: Set<string>;
  /** Some members mean the same: then a member that goes does not tell whether its prefix does. */
  ambiguous: boolean;
  changes: MemberChange[];
  asked: boolean;
}

type Slot = { readonly label: number; readonly prefix: Prefix } | 'nowhere' | undefined;

export function createIpSets(prefixes: PrefixCache, labels: Labels): IpSets {
  const read = new Map<string, ReadSet>();
  let sets: ReadonlyMap<string, IpSet> = new Map();
  let reported = new Set<string>();
  let onProblem: (message: string) => void = () => undefined;

  const report = (key: string, message: () => string): void => {
    if (reported.has(key)) return;
    reported.add(key);
    onProblem(message());
  };

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
    const set: ReadSet = { source, members, bad: new Set(), ambiguous: false, changes: [], asked: true };
    for (const member of source.members) add(set, member);
    // Whoever takes it in takes all of it.
    set.changes = [];
    return set;
  };

  /** False when the set must be read anew. */
  const follow = (set: ReadSet, source: IpSet): boolean => {
    if (set.ambiguous || set.source.type !== source.type) return false;
    const steps: IpSetChange[] = [];
    for (let at: IpSet = source; at !== set.source; at = at.change.before) {
      if (at.change === undefined) return false;
      steps.push(at.change);
    }
    set.source = source;
    const before = set.changes.length;
    for (const { added, removed } of steps.reverse()) {
      for (const member of removed) remove(set, member);
      for (const member of added) add(set, member);
    }
    if (!set.ambiguous) return true;
    // Whoever has taken it in must find it as it was.
    for (const { label, prefix, added } of set.changes.splice(before).reverse()) {
      const at = set.members.get(label) ?? new Set();
      if (added) at.delete(prefix);
      else at.add(prefix);
      set.members.set(label, at);
    }
    return false;
  };

  const get = (id: string, use: SetUse): ReadSet | undefined => {
    const source = sets.get(id);
    if (source === undefined) {
      report(
        id,
        () =>
          `IP set ${id} is named by a rule but unknown: allow rules that name it do not match, deny rules do`,
      );
      return undefined;
    }
    if ((source.type === 'IP_AND_PORT') !== (use === 'ports')) {
      report(
        `${id} ${use}`,
        () =>
          `IP set ${id} of type ${source.type} is used as a set of ${use}: allow rules that name it do not match, deny rules do`,
      );
      return undefined;
    }
    let known = read.get(id);
    if (known === undefined || (known.source !== source && !follow(known, source))) {
      known = readAnew(source);
      read.set(id, known);
    }
    known.asked = true;
    if (known.bad.size > 0) {
      const { bad } = known;
      report(
        id,
        () =>
          `IP set ${id}: ${bad.size} members can not be read and match nothing, the first is "${[...bad][0]!}"`,
      );
    }
    return known;
  };

  return {
    *prefixes() {
      for (const { members } of read.values()) for (const some of members.values()) yield* some;
    },
    begin(now, problem) {
      sets = now;
      onProblem = problem;
      reported = new Set();
      for (const [id, known] of read) {
        if (!known.asked) read.delete(id);
        known.asked = false;
      }
    },
    state(id, use) {
      const known = get(id, use);
      return known === undefined ? 'unusable' : known.bad.size > 0 ? 'partial' : 'good';
    },
    membership: (id, use) => get(id, use)?.members ?? NO_MEMBERS,
    takeChanges() {
      const taken = new Map<Membership, readonly MemberChange[]>();
      for (const set of read.values()) {
        if (set.changes.length === 0) continue;
        taken.set(set.members, set.changes);
        set.changes = [];
      }
      return taken;
    },
  };
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

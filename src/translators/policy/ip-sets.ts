import type { IpSet } from '../../model/model';
import type { Prefix, PrefixCache } from './address';
import type { Labels } from './labels';
import { hasPorts, protocolNumber } from './protocols';

/** Which prefixes have which label, for one group (one label for a plain group, one for each slice of an IP_AND_PORT set). */
export type Membership = ReadonlyMap<number, ReadonlySet<Prefix>>;

export const NO_MEMBERS: Membership = new Map();

/** How a rule names a set: as addresses, or as (address, protocol, port). */
export type SetUse = 'addresses' | 'ports';

/**
 * `partial`: some member could not be read, so membership is certain only where it is true.
 * `unusable`: the model has no such set, or one of a type that the rule can not use.
 */
export type SetState = 'good' | 'partial' | 'unusable';

export interface IpSets {
  /** Reads the set again if the model's object is another one than last time. */
  state(id: string, use: SetUse): SetState;
  membership(id: string, use: SetUse): Membership;
  /** The prefixes of all sets that are read. */
  prefixes(): Iterable<Prefix>;
  /** Starts a compile: takes the model's sets; what was read of sets that nobody asked for since the last call is forgotten. */
  begin(sets: ReadonlyMap<string, IpSet>, onProblem: (message: string) => void): void;
}

interface ReadSet {
  readonly source: IpSet;
  readonly members: Membership;
  readonly bad: readonly string[];
  asked: boolean;
}

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
    if (known?.source !== source) {
      known = readSet(source, prefixes, labels);
      read.set(id, known);
    }
    known.asked = true;
    if (known.bad.length > 0) {
      const bad = known.bad;
      report(
        id,
        () =>
          `IP set ${id}: ${bad.length} members can not be read and match nothing, the first is "${bad[0]!}"`,
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
      return known === undefined ? 'unusable' : known.bad.length > 0 ? 'partial' : 'good';
    },
    membership: (id, use) => get(id, use)?.members ?? NO_MEMBERS,
  };
}

function readSet(source: IpSet, prefixes: PrefixCache, labels: Labels): ReadSet {
  const bad: string[] = [];
  const members = new Map<number, Set<Prefix>>();
  if (source.type !== 'IP_AND_PORT') {
    const all = new Set<Prefix>();
    for (const member of source.members) {
      const prefix = prefixes.parse(member);
      if (prefix === undefined) bad.push(member);
      else if (prefix !== 'nowhere') all.add(prefix);
    }
    members.set(labels.set(source.id), all);
    return { source, members, bad, asked: true };
  }
  const group = labels.ports(source.id);
  for (const member of source.members) {
    const slice = readPortMember(member, prefixes);
    if (slice === undefined) {
      bad.push(member);
      continue;
    }
    // Packets of other protocols have no port that could be in the set.
    if (slice.prefix === 'nowhere' || !hasPorts(slice.protocol)) continue;
    const label = labels.slice(group, slice.protocol, slice.port);
    const at = members.get(label);
    if (at === undefined) members.set(label, new Set([slice.prefix]));
    else at.add(slice.prefix);
  }
  return { source, members, bad, asked: true };
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

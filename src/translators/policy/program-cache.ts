import type { FelixModel, Policy, Profile, WorkloadEndpoint } from '../../model/model';
import { isStaged, policyKey } from '../../model/model';
import type { Prefix, PrefixCache } from './address';
import type { Membership, SetChanges } from './ip-sets';
import type { Labels } from './labels';
import type { Direction } from './outcomes';
import { ownAddresses, ownPrefixes } from './own-addresses';
import type { ProgramRule, Programs } from './programs';
import { reachable } from './reachable';
import type { SrcForm } from './rule-form';

/** One endpoint in one direction. */
export interface EndpointProgram {
  readonly rules: readonly ProgramRule[];
  /** Groups that some rule asks of addresses. */
  readonly groups: ReadonlySet<number>;
  /** Their labels. */
  readonly labels: ReadonlySet<number>;
}

/**
 * The programs of all endpoints, made again only where something changed that they are made of: the endpoint, a policy or profile that it
 * names, the sets that its own addresses are in, the configuration. A program that is the same object is the same program.
 */
export interface ProgramCache {
  /** Starts a compile. */
  begin(model: FelixModel, changes: SetChanges, onProblem: (message: string) => void): void;
  of(ep: number, workload: WorkloadEndpoint): Readonly<Record<Direction, EndpointProgram>>;
  /**
   * Instead of asking for each: all programs are what they were at the last compile, if the endpoints are. Their problems are
   * reported then.
   */
  unchanged(): boolean;
  forget(ep: number): void;
}

interface Entry {
  readonly workload: WorkloadEndpoint;
  /** Policies and profiles by the keys under which they were looked up. */
  readonly names: ReadonlySet<string>;
  readonly own: readonly Prefix[];
  readonly programs: Readonly<Record<Direction, EndpointProgram>>;
  readonly problems: readonly string[];
}

export function createProgramCache(
  programs: Programs,
  context: {
    readonly prefixes: PrefixCache;
    readonly labels: Labels;
    readonly membership: (group: number) => Membership;
    readonly labelsOf: (group: number) => readonly number[];
  },
): ProgramCache {
  const { prefixes, labels, membership, labelsOf } = context;
  const entries = new Map<number, Entry>();
  const last = {
    policies: new Map<string, Policy>(),
    profiles: new Map<string, Profile>(),
    config: undefined as ReadonlyMap<string, string> | undefined,
  };
  let stale: 'all' | ReadonlySet<string> = 'all';
  /** Prefixes that got or lost a label: single addresses by key, and CIDRs. */
  let movedHosts: ReadonlySet<string> = new Set();
  let movedNets: readonly Prefix[] = [];
  let report: (message: string) => void = () => undefined;
  let problems = new Set<string>();

  const make = (workload: WorkloadEndpoint): Entry => {
    problems = new Set();
    const own = ownAddresses(workload, prefixes, labels, membership);
    const program = (direction: Direction): EndpointProgram => {
      // Sources that the endpoint may spoof can be anything.
      const spoofs = direction === 'egress' && workload.allowSpoofedSourcePrefixes.length > 0;
      const rules = programs.of(workload, direction, spoofs ? [] : own);
      const groups = groupsOf(reachable(rules));
      return { rules, groups, labels: new Set([...groups].flatMap(labelsOf)) };
    };
    return {
      workload,
      names: namesIn(workload),
      own: ownPrefixes(workload, prefixes),
      programs: { ingress: program('ingress'), egress: program('egress') },
      problems: [...problems],
    };
  };

  const isFresh = ({ names, own }: Entry): boolean => {
    if (stale === 'all') return false;
    const [few, many] = stale.size < names.size ? [stale, names] : [names, stale];
    for (const name of few) if (many.has(name)) return false;
    if (movedHosts.size === 0 && movedNets.length === 0) return true;
    return !own.some(
      (address) => movedHosts.has(address.key) || movedNets.some((net) => contains(prefixes, net, address)),
    );
  };

  return {
    begin(model, { members, onlyMembers }, onProblem) {
      report = onProblem;
      programs.begin(model, (message) => problems.add(message));
      // The model's maps are live.
      const policies = follow(last.policies, model.policies);
      const profiles = follow(last.profiles, model.profiles);
      const certain = onlyMembers && sameEntries(last.config, model.config);
      stale = certain ? new Set([...policies.map(policyName), ...profiles.map(profileName)]) : 'all';
      if (!certain) last.config = new Map(model.config);
      const moved = [...members.values()].flatMap((some) => some.map(({ prefix }) => prefix));
      movedHosts = new Set(moved.filter(({ host }) => host).map(({ key }) => key));
      movedNets = [...new Set(moved.filter(({ host }) => !host))];
    },
    of(ep, workload) {
      let entry = entries.get(ep);
      if (entry?.workload !== workload || !isFresh(entry)) {
        entry = make(workload);
        entries.set(ep, entry);
      }
      for (const problem of entry.problems) report(problem);
      return entry.programs;
    },
    unchanged() {
      for (const entry of entries.values()) if (!isFresh(entry)) return false;
      for (const entry of entries.values()) for (const problem of entry.problems) report(problem);
      return true;
    },
    forget(ep) {
      entries.delete(ep);
    },
  };
}

const policyName = (key: string): string => `policy ${key}`;
const profileName = (key: string): string => `profile ${key}`;

function namesIn({ tiers, profileIds }: WorkloadEndpoint): ReadonlySet<string> {
  const policies = tiers.flatMap((tier) => [...tier.ingressPolicies, ...tier.egressPolicies]);
  return new Set([
    ...policies.filter((id) => !isStaged(id)).map((id) => policyName(policyKey(id))),
    ...profileIds.map(profileName),
  ]);
}

function groupsOf(forms: readonly SrcForm[]): ReadonlySet<number> {
  const groups = new Set<number>();
  for (const form of forms) {
    for (const group of form.groups) groups.add(group);
    for (const group of form.tail.groups) groups.add(group);
  }
  return groups;
}

function contains(cache: PrefixCache, net: Prefix, address: Prefix): boolean {
  return (
    net.family === address.family && net.len <= address.len && cache.ancestorKey(address, net.len) === net.key
  );
}

/**
 * Makes a copy equal again, in the order of the original. Returns the keys that came, went or have another value. Quick while the two
 * are in one order, as they are after most changes: what comes goes to the end.
 */
function follow<T>(copy: Map<string, T>, now: ReadonlyMap<string, T>): readonly string[] {
  if (sameValues(copy, now)) return [];
  const changed: string[] = [];
  const [keys, values] = [copy.keys(), copy.values()];
  let inOrder = true;
  for (const [key, value] of now) {
    const before: string | undefined = inOrder ? keys.next().value : undefined;
    inOrder &&= before === key || before === undefined;
    const valueBefore: T | undefined = inOrder ? values.next().value : copy.get(key);
    if (valueBefore !== value) changed.push(key);
  }
  const came = changed.filter((key) => !copy.has(key)).length;
  if (copy.size + came !== now.size) for (const key of copy.keys()) if (!now.has(key)) changed.push(key);
  if (!inOrder) copy.clear();
  for (const key of inOrder ? changed : now.keys()) {
    const value = now.get(key);
    if (value === undefined) copy.delete(key);
    else copy.set(key, value);
  }
  return changed;
}

/** The common case, quickly: the same values in the same order. A model never moves a value to another key. */
function sameValues<T>(a: ReadonlyMap<string, T>, b: ReadonlyMap<string, T>): boolean {
  if (a.size !== b.size) return false;
  const others = b.values();
  for (const value of a.values()) if (others.next().value !== value) return false;
  return true;
}

function sameEntries(a: ReadonlyMap<string, string> | undefined, b: ReadonlyMap<string, string>): boolean {
  return a?.size === b.size && [...a].every(([key, value]) => b.get(key) === value);
}

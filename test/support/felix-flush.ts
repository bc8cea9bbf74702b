/**
 * What Felix sends so that a driver that knows one view of a node knows another, and in which order: config, IP sets, deltas, policies,
 * profiles, endpoints, then the removals of endpoints, profiles, policies, IP sets. Inside a class the order is random (Felix's is that of a Go map).
 */
import { isDeepStrictEqual } from 'node:util';
import type { IpSet, Policy, Profile, WorkloadEndpoint } from '../../src/model/model';
import type { NodeView } from './cluster';
import {
  configPayload,
  ipSetPayload,
  policyId,
  policyPayload,
  profilePayload,
  workloadPayload,
  type Payload,
} from './felix-stream';

export interface FlushOptions {
  /** Decides orders and choices. */
  readonly seed: number;
  /** Of four: how many of the objects that did not change are said again. */
  readonly again: number;
  /** Sets that changed come whole, which is a full replace. Default: the differences. */
  readonly wholeSets: boolean;
  /** Removals first, then endpoints before what they name: Felix does not do that, and nothing may open if it does. */
  readonly backwards: boolean;
}

/** All of a view, once more or for the first time. */
export const PLAIN: FlushOptions = { seed: 1, again: 0, wholeSets: false, backwards: false };

export function flush(before: NodeView, after: NodeView, options: FlushOptions): readonly Payload[] {
  const random = randomOf(options.seed);
  const shuffled = <T>(items: readonly T[]): T[] =>
    items
      .map((item) => ({ item, at: random() }))
      .sort((a, b) => a.at - b.at)
      .map(({ item }) => item);
  const again = (): boolean => random() * 4 < options.again;
  const news = <T>(
    old: ReadonlyMap<string, T>,
    now: ReadonlyMap<string, T>,
    payloads: (value: T, known: T | undefined) => readonly Payload[],
  ): Payload[] =>
    shuffled(
      [...now]
        .filter(([key, value]) => !isDeepStrictEqual(old.get(key), value) || again())
        .map(([key, value]) => payloads(value, old.get(key))),
    ).flat();
  const gone = <T>(
    old: ReadonlyMap<string, T>,
    now: ReadonlyMap<string, unknown>,
    payload: (value: T) => Payload,
  ): Payload[] => shuffled([...old].flatMap(([key, value]) => (now.has(key) ? [] : [payload(value)])));

  const config =
    isDeepStrictEqual(before.config, after.config) && !again() ? [] : [configPayload(after.config)];
  const classes = [
    config,
    news(before.ipSets, after.ipSets, (set, known) =>
      known === undefined || options.wholeSets || isDeepStrictEqual(known, set)
        ? [ipSetPayload(set)]
        : deltas(known, set, random() < 0.5),
    ),
    news(before.policies, after.policies, (policy) => [policyPayload(policy)]),
    news(before.profiles, after.profiles, (profile) => [profilePayload(profile)]),
    news(before.workloads, after.workloads, (workload) => [workloadPayload(workload)]),
    gone(before.workloads, after.workloads, removeWorkload),
    gone(before.profiles, after.profiles, removeProfile),
    gone(before.policies, after.policies, removePolicy),
    gone(before.ipSets, after.ipSets, removeIpSet),
  ];
  return (options.backwards ? classes.reverse() : classes).flat();
}

export function removePolicy({ id }: Pick<Policy, 'id'>): Payload {
  return { activePolicyRemove: { id: policyId(id) } };
}

export function removeProfile({ name }: Pick<Profile, 'name'>): Payload {
  return { activeProfileRemove: { id: { name } } };
}

export function removeIpSet({ id }: Pick<IpSet, 'id'>): Payload {
  return { ipsetRemove: { id } };
}

export function removeWorkload({ id }: Pick<WorkloadEndpoint, 'id'>): Payload {
  return { workloadEndpointRemove: { id } };
}

function deltas({ members: old }: IpSet, { id, members }: IpSet, inTwo: boolean): readonly Payload[] {
  const addedMembers = [...members].filter((member) => !old.has(member));
  const removedMembers = [...old].filter((member) => !members.has(member));
  return inTwo
    ? [{ ipsetDeltaUpdate: { id, addedMembers } }, { ipsetDeltaUpdate: { id, removedMembers } }]
    : [{ ipsetDeltaUpdate: { id, addedMembers, removedMembers } }];
}

/** Numbers from 0 up to 1, the same for one seed (xorshift). */
export function randomOf(seed: number): () => number {
  let state = (seed * 2654435761 + 1) >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state >>>= 0;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state / 0x1_0000_0000;
  };
}

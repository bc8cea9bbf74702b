/** What Felix may say next: parts of one state go over into another, one kind of object or several at once. */
import fc from 'fast-check';
import type { FelixModel } from '../../src/model/model';

const PARTS = ['config', 'ipSets', 'policies', 'profiles', 'workloads', 'hostEndpoints'] as const;
type Part = (typeof PARTS)[number];

export interface Change {
  readonly parts: readonly Part[];
  /** Bit n: the n-th object of the parts changes. */
  readonly objects: number;
  /** Workloads and host endpoints that both states have go, instead of changing. */
  readonly remove: boolean;
}

export const arbitraryChange: fc.Arbitrary<Change> = fc.record({
  parts: fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom(...PARTS).map((part) => [part]) },
    { weight: 2, arbitrary: fc.subarray([...PARTS], { minLength: 1 }) },
  ),
  objects: fc.nat(),
  remove: fc.boolean(),
});

export function changed(from: FelixModel, to: FelixModel, { parts, objects, remove }: Change): FelixModel {
  let n = 0;
  const mixed = <V>(part: Part, a: ReadonlyMap<string, V>, b: ReadonlyMap<string, V>, mayGo: boolean) => {
    if (!parts.includes(part)) return a;
    const out = new Map(a);
    for (const key of new Set([...a.keys(), ...b.keys()])) {
      if (!((objects >> (n++ % 24)) & 1)) continue;
      const value = b.get(key);
      if (value !== undefined && !(remove && mayGo && a.has(key))) out.set(key, value);
      else if (mayGo) out.delete(key);
    }
    return out;
  };
  return {
    ...from,
    config: parts.includes('config') ? to.config : from.config,
    ipSets: mixed('ipSets', from.ipSets, to.ipSets, false),
    policies: mixed('policies', from.policies, to.policies, false),
    profiles: mixed('profiles', from.profiles, to.profiles, false),
    workloads: mixed('workloads', from.workloads, to.workloads, true),
    hostEndpoints: mixed('hostEndpoints', from.hostEndpoints, to.hostEndpoints, true),
  };
}

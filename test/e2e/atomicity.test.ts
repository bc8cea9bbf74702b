/** No packet is ever judged by what neither the old nor the new state says: looked at after every single write. */
import fc from 'fast-check';
import type { FelixModel } from '../../src/model/model';
import { arbitraryModel, arbitraryNodePacket, type NodePacket } from '../support/arbitraries';
import { TARGET_KINDS } from './support/embedded-node';
import { startAtomicNode, statsText } from './support/atomicity';

const PACKETS = 40;
const RUNS = Number(process.env['CALICO_P4_TEST_RUNS'] ?? 30);
/** CALICO_P4_TEST_SEED repeats a run. */
const seed = Number(process.env['CALICO_P4_TEST_SEED'] ?? Date.now() % 1_000_000);

const PARTS = ['config', 'ipSets', 'policies', 'profiles', 'workloads'] as const;
type Part = (typeof PARTS)[number];

/** Which parts of the next state change, and which of their objects: Felix sends one change, or many at once. */
interface Change {
  readonly parts: readonly Part[];
  readonly objects: number;
  readonly remove: boolean;
}

const change: fc.Arbitrary<Change> = fc.record({
  parts: fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom(...PARTS).map((part) => [part]) },
    { weight: 2, arbitrary: fc.subarray([...PARTS], { minLength: 1 }) },
  ),
  objects: fc.nat(),
  remove: fc.boolean(),
});

function changed(from: FelixModel, to: FelixModel, { parts, objects, remove }: Change): FelixModel {
  let n = 0;
  const mixed = <V>(
    part: Part,
    a: ReadonlyMap<string, V>,
    b: ReadonlyMap<string, V>,
    mayGo: boolean,
  ): ReadonlyMap<string, V> => {
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
  };
}

describe.each(TARGET_KINDS)('on a target of kind %s', (kind) => {
  test('random updates', async () => {
    const atomic = await startAtomicNode({ kind });
    const property = fc.asyncProperty(
      fc.array(arbitraryModel(), { minLength: 2, maxLength: 3 }),
      fc.array(change, { minLength: 1, maxLength: 6 }),
      fc.array(arbitraryNodePacket, { minLength: PACKETS, maxLength: PACKETS }),
      async (models, changes, packets: readonly NodePacket[]) => {
        let model = models[0]!;
        await atomic.step(model, []);
        for (const [i, one] of changes.entries()) {
          model = changed(model, models[(i + 1) % models.length]!, one);
          const { applied } = await atomic.step(model, packets);
          expect([...applied.failed.values()]).toEqual([]);
        }
      },
    );
    try {
      await fc.assert(property, { numRuns: RUNS, seed });
    } finally {
      console.info(`seed ${seed}, ${kind}: ${statsText(atomic.stats)}`);
      await atomic.stop();
    }
  }, 600_000);
});

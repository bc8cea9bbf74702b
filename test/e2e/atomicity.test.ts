/** No packet is ever judged by what neither the old nor the new state says: looked at after every single write. */
import fc from 'fast-check';
import { arbitraryChange, changed } from '../support/changes';
import { arbitraryModel, arbitraryNodePacket, type NodePacket } from '../support/arbitraries';
import { TARGET_KINDS } from './support/embedded-node';
import { SEED as seed } from '../seed';
import { startAtomicNode, statsText } from './support/atomicity';

const PACKETS = 40;
const RUNS = Number(process.env['CALICO_P4_TEST_RUNS'] ?? 30);
/** CALICO_P4_TEST_SEED repeats a run. */

describe.each(TARGET_KINDS)('on a target of kind %s', (kind) => {
  test('random updates', async () => {
    const atomic = await startAtomicNode({ kind });
    const property = fc.asyncProperty(
      fc.array(arbitraryModel(), { minLength: 2, maxLength: 3 }),
      fc.array(arbitraryChange, { minLength: 1, maxLength: 6 }),
      fc.array(arbitraryNodePacket, { minLength: PACKETS, maxLength: PACKETS }),
      async (models, changes, packets: readonly NodePacket[]) => {
        let model = models[0]!;
        await atomic.step(model, []);
        for (const [i, one] of changes.entries()) {
          model = changed(model, models[(i + 1) % models.length]!, one);
          const { applied } = await atomic.step(model, packets);
          expect([...applied.failed.values()]).toEqual([]);
          // Felix says it all again: equal, and not the same objects.
          expect((await atomic.step(structuredClone(model), [])).applied.written).toBe(0);
        }
      },
    );
    try {
      await fc.assert(property, {
        numRuns: RUNS,
        seed,
        interruptAfterTimeLimit: 240_000,
        markInterruptAsFailure: true,
      });
    } finally {
      console.info(`seed ${seed}, ${kind}: ${statsText(atomic.stats)}`);
      await atomic.stop();
    }
  }, 600_000);
});

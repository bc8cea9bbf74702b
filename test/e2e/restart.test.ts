/**
 * Restarts of the driver, with a target that keeps its rows: the same policy again writes nothing, another one the difference, and between any
 * two writes no packet meets a verdict that neither state gives. The reference evaluator is the judge.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import type { FelixModel } from '../../src/model/model';
import { rowContent } from '../../src/translators/rows';
import { arbitraryModel, arbitraryNodePacket, type NodePacket } from '../support/arbitraries';
import { arbitraryChange, changed } from '../support/changes';
import { SEED as seed } from '../seed';
import { startAtomicNode, statsText, type AtomicNode } from './support/atomicity';
import { TARGET_KINDS } from './support/embedded-node';

const RUNS = Number(process.env['CALICO_P4_TEST_RUNS'] ?? 15);
const PACKETS = 40;
const folder = mkdtempSync(path.join(tmpdir(), 'calico-p4-restart-'));
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** Rows as text, by key. */
function rowsOf({ embedded: { node } }: AtomicNode): ReadonlyMap<string, string> {
  return new Map(node.rows.map((row) => [JSON.stringify([row.table, words(row.match)]), rowContent(row)]));
}

function words(match: object): string {
  return JSON.stringify(match, (_, value: unknown) =>
    typeof value === 'bigint' ? value.toString(16) : value,
  );
}

function difference(a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): number {
  const keys = new Set([...a.keys(), ...b.keys()]);
  return [...keys].filter((key) => a.get(key) !== b.get(key)).length;
}

describe.each(TARGET_KINDS)('on a target of kind %s', (kind) => {
  const scenario = {
    models: fc.array(arbitraryModel(), { minLength: 2, maxLength: 3 }),
    changes: fc.array(arbitraryChange, { minLength: 1, maxLength: 6 }),
    packets: fc.array(arbitraryNodePacket, { minLength: PACKETS, maxLength: PACKETS }),
  };

  async function check(
    numRuns: number,
    name: string,
    run: (
      atomic: AtomicNode,
      models: readonly FelixModel[],
      changes: readonly Parameters<typeof changed>[2][],
      packets: readonly NodePacket[],
    ) => Promise<void>,
  ): Promise<void> {
    const atomic = await startAtomicNode({ kind, journal: path.join(folder, `${kind}-${name}`) });
    try {
      const property = fc.asyncProperty(scenario.models, scenario.changes, scenario.packets, (m, c, p) =>
        run(atomic, m, c, p),
      );
      await fc.assert(property, {
        numRuns,
        seed,
        interruptAfterTimeLimit: 240_000,
        markInterruptAsFailure: true,
      });
    } finally {
      console.info(`seed ${seed}, ${kind}, ${name}: ${statsText(atomic.stats)}`);
      await atomic.stop();
    }
  }

  test('after random churn, the same policy again writes 0 rows', async () => {
    let restarts = 0;
    await check(RUNS, 'same', async (atomic, models, changes) => {
      let model = models[0]!;
      await atomic.step(model, []);
      for (const [i, one] of changes.entries()) {
        model = changed(model, models[(i + 1) % models.length]!, one);
        await atomic.step(model, []);
        if (i % 2 === 1) continue;
        const before = rowsOf(atomic);
        await atomic.embedded.restartDriver();
        restarts++;
        expect((await atomic.step(structuredClone(model), [])).applied.written).toBe(0);
        expect(difference(before, rowsOf(atomic))).toBe(0);
      }
    });
    expect(restarts).toBeGreaterThan(RUNS);
  }, 300_000);

  test('a policy that has changed meanwhile: the difference is written, and nothing opens before', async () => {
    let [open, closed, exact] = [0, 0, 0];
    await check(RUNS, 'changed', async (atomic, models, changes, packets) => {
      let model = models[0]!;
      await atomic.step(model, []);
      for (const [i, one] of changes.entries()) {
        const before = rowsOf(atomic);
        model = changed(model, models[(i + 1) % models.length]!, one);
        await atomic.embedded.restartDriver();
        const held = atomic.stats.gatesHeld;
        const { applied } = await atomic.step(model, packets);
        if (applied.closedBecause === '') open++;
        else closed++;
        const different = difference(before, rowsOf(atomic));
        if (applied.closedBecause !== '' || kind === 'p4-dpdk' || atomic.stats.gatesHeld > held) continue;
        exact++;
        // A row of a path that changes is taken away and put back.
        expect(applied.written).toBeGreaterThanOrEqual(different);
        expect(applied.inserted + applied.modified).toBeLessThanOrEqual(different);
      }
    });
    console.info(
      `${kind}: ${open} restarts without all gates shut, ${closed} with; ${exact} with no gate shut`,
    );
    if (kind === 'embedded') expect(open).toBeGreaterThan(10 * closed);
  }, 300_000);

  test('a journal that lies opens nothing', async () => {
    let [lies, caught, written] = [0, 0, 0];
    const file = path.join(folder, `${kind}-lies`);
    await check(RUNS, 'lies', async (atomic, models, changes, packets) => {
      let model = models[0]!;
      await atomic.step(model, []);
      for (const [i, one] of changes.entries()) {
        if (lie(file, i)) lies++;
        model = changed(model, models[(i + 1) % models.length]!, one);
        await atomic.embedded.restartDriver();
        // In the end every packet gets what the new state says; on the way nothing that neither says.
        const { applied } = await atomic.step(model, packets);
        written += applied.written;
        if (applied.closedBecause !== '') caught++;
      }
    });
    console.info(`${kind}: ${lies} lies, ${caught} updates with all gates shut, ${written} writes`);
    expect(lies).toBeGreaterThan(RUNS);
    expect(caught).toBeGreaterThan(0);
  }, 300_000);

  test('a driver that was killed in the middle of an update', async () => {
    let cuts = 0;
    await check(RUNS, 'killed', async (atomic, models, changes, packets) => {
      let model = models[0]!;
      await atomic.step(model, []);
      for (const [i, one] of changes.entries()) {
        model = changed(model, models[(i + 1) % models.length]!, one);
        if (!(await atomic.interrupt(model, 1 + (one.objects % 30)))) cuts++;
        await atomic.step(model, packets);
      }
    });
    expect(cuts).toBeGreaterThan(RUNS / 2);
  }, 300_000);
});

/** Gives some numbers of one kind each other's meaning, with checksums that are right. */
function lie(file: string, which: number): boolean {
  const lines = readFileSync(file, 'latin1').trimEnd().split('\n');
  const records = lines.map((line) => JSON.parse(line.slice(17)) as Record<string, unknown>);
  const space = ['node', 'label', 'dport', 'outcome', 'endpoint', 'sport'][which % 6]!;
  const last = new Map<number, string>();
  for (const { note } of records) {
    const some = (note as Record<string, (number | string)[]> | undefined)?.[space] ?? [];
    for (let i = 0; i < some.length; i += 2) last.set(some[i] as number, some[i + 1] as string);
  }
  const numbers = [...last.keys()];
  if (numbers.length < 2) return false;
  const turned = numbers.flatMap((number, i) => [number, last.get(numbers[(i + 1) % numbers.length]!)!]);
  records.splice(records.length - 1, 0, { note: { [space]: turned } });
  let chain = '';
  const text = records.map((record) => {
    const json = JSON.stringify(record);
    chain = createHash('sha256').update(`${chain} ${json}`).digest('base64').slice(0, 16);
    return `${chain} ${json}\n`;
  });
  writeFileSync(file, text.join(''), 'latin1');
  return true;
}

/** A new compiler that is told what an earlier one's numbers stood for gives the same rows, to the last number. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { createFelixSession } from '../../../src/driver/felix/felix-session';
import { openJournal, type Journal } from '../../../src/driver/journal';
import { createPlacement } from '../../../src/driver/placement';
import { logger } from '../../../src/log';
import type { FelixModel } from '../../../src/model/model';
import {
  createPolicyCompiler,
  type EndpointPrograms,
  type PolicyCompiler,
} from '../../../src/translators/policy/compiler';
import { activeWorkloads } from '../../../src/translators/endpoints';
import { rowContent, type Row } from '../../../src/translators/rows';
import { arbitraryModel } from '../../support/arbitraries';
import { arbitraryChange, changed } from '../../support/changes';
import { modelOf, policyOf, ruleOf, tierOf, workloadOf } from '../../support/models';
import { SEED as seed } from '../../seed';
import { framesOf, recording, testWith } from '../driver/felix/recordings';

const folder = mkdtempSync(path.join(tmpdir(), 'calico-p4-numbers-'));
let count = 0;
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

const open = (file: string): Journal => openJournal({ path: file, of: 'test', log: logger('test') });

function endpointsOf(model: FelixModel): EndpointPrograms[] {
  return [...model.workloads.values()].map((workload, i) => ({ ep: 1 + i, workload }));
}

const text = (rows: ReadonlyMap<string, Row>): readonly string[] =>
  [...rows].map(([key, row]) => `${key} ${rowContent(row)}`).sort();

interface Run {
  readonly compiler: PolicyCompiler;
  readonly journal: Journal;
}

function start(file: string): Run {
  const journal = open(file);
  return { journal, compiler: createPolicyCompiler({ memory: journal }) };
}

/** As the driver does it. */
function program(
  { compiler, journal }: Run,
  model: FelixModel,
  transition: boolean,
  endpoints: readonly EndpointPrograms[] = endpointsOf(model),
): readonly string[] {
  if (transition) {
    compiler.compile(model, endpoints, 'transition');
    journal.save();
  }
  const { rows } = compiler.compile(model, endpoints);
  journal.save();
  compiler.settle();
  journal.settle('rows');
  return text(rows);
}

test('after any updates', () => {
  let rows = 0;
  fc.assert(
    fc.property(
      fc.array(arbitraryModel({ missing: true }), { minLength: 2, maxLength: 3 }),
      fc.array(fc.tuple(arbitraryChange, fc.boolean(), fc.boolean()), { minLength: 1, maxLength: 8 }),
      (models, changes) => {
        const file = path.join(folder, `random-${count++}`);
        let run = start(file);
        let model = models[0]!;
        program(run, model, false);
        for (const [i, [one, transition, restart]] of changes.entries()) {
          model = changed(model, models[(i + 1) % models.length]!, one);
          const before = program(run, model, transition);
          rows += before.length;
          if (!restart) continue;
          run.journal.close();
          run = start(file);
          expect(program(run, structuredClone(model), false)).toEqual(before);
        }
        run.journal.close();
        rmSync(file);
      },
    ),
    { numRuns: Number(process.env['CALICO_P4_TEST_RUNS'] ?? 80), seed },
  );
  console.info(`seed ${seed}: ${rows} rows compared`);
});

describe('real streams, with a restart now and then', () => {
  for (const [name, batch, restarts] of [
    ['02-policy', 1, 10],
    ['06-config-changes', 1, 2],
    ['07-k8s-via-typha', 1, 10],
    ['release-3.33.0-pre', 1, 20],
    ['08s-scale-small', 200, 3],
  ] as const) {
    testWith(name)(
      name,
      () => {
        const file = path.join(folder, name);
        const session = createFelixSession();
        let run = start(file);
        let placement = createPlacement(2, [], run.journal, true);
        let count = 0;
        for (const frame of framesOf(recording(name))) {
          session.push(frame);
          if (!session.model.inSync || session.frames % batch > 0) continue;
          const endpoints = placement.place(activeWorkloads(session.model));
          const before = program(run, session.model, count % 2 === 1, endpoints);
          if (++count % restarts > 0) continue;
          run.journal.close();
          run = start(file);
          placement = createPlacement(2, [], run.journal, true);
          const model = structuredClone(session.model);
          const again = placement.place(activeWorkloads(model));
          expect(again.map(({ ep, port }) => [ep, port])).toEqual(
            endpoints.map(({ ep, port }) => [ep, port]),
          );
          expect(program(run, model, false, again)).toEqual(before);
        }
        expect(count).toBeGreaterThan(restarts);
        run.journal.close();
      },
      120_000,
    );
  }
});

/** Sets and ranges of ports beyond one page, each in rules of some endpoints, which come and go. */
function large(first: number, endpoints: number): FelixModel {
  const sets = Array.from({ length: 900 }, (_, i) => `s${i}`);
  const ids = Array.from({ length: endpoints }, (_, i) => ({
    kind: 'NetworkPolicy',
    namespace: 'shop',
    name: `p${first + i}`,
  }));
  return modelOf({
    ipSets: sets.map((id, i) => ({
      id,
      type: 'IP' as const,
      members: new Set([`10.1.${i >> 8}.${i & 255}`]),
    })),
    policies: ids.map((id, i) =>
      policyOf({
        id,
        inboundRules: Array.from({ length: 60 }, (_, n) =>
          ruleOf({
            action: n % 2 === 0 ? 'allow' : 'deny',
            protocol: 6,
            srcIpSetIds: [sets[((first + i) * 60 + n) % sets.length]!],
            dstPorts: [
              {
                first: 1000 + (((first + i) * 60 + n) % 700) * 20,
                last: 1010 + (((first + i) * 60 + n) % 700) * 20,
              },
            ],
          }),
        ),
      }),
    ),
    workloads: ids.map((id, i) =>
      workloadOf({
        name: `cali${first + i}`,
        ipv4Nets: [`10.0.0.${first + i}/32`],
        tiers: [tierOf({ name: 'default', ingressPolicies: [id], egressPolicies: [] })],
      }),
    ),
  });
}

test('where labels of addresses and of ports take several pages', () => {
  const file = path.join(folder, 'large');
  let run = start(file);
  let before: readonly string[] = [];
  for (const [first, endpoints] of [
    [0, 14],
    [4, 14],
    [2, 10],
    [6, 12],
  ] as const) {
    const model = large(first, endpoints);
    before = program(run, model, false);
    run.journal.close();
    run = start(file);
    expect(program(run, structuredClone(model), false)).toEqual(before);
  }
  run.journal.close();
  const pages = new Set(
    before.flatMap((row) => /^(addr_labels|dport_labels)\|.*page=(\w+)/.exec(row)?.slice(1).join() ?? []),
  );
  expect(pages.size).toBeGreaterThanOrEqual(4);
});

test('a number of what is not asked for again is not given to anything else before the target has let go of it', () => {
  const file = path.join(folder, 'quarantine');
  const run = start(file);
  program(run, large(0, 4), false);
  const numbers = (journal: Journal, space: 'node' | 'label' | 'dport' | 'outcome'): Map<number, string> =>
    new Map(journal.remembered(space));
  run.journal.close();
  const before = open(file);
  const next = start(file);
  const model = large(20, 4);
  next.compiler.compile(model, endpointsOf(model));
  next.journal.save();
  next.journal.close();
  const after = open(file);
  for (const space of ['node', 'label', 'dport', 'outcome'] as const) {
    const old = numbers(before, space);
    expect(old.size).toBeGreaterThan(0);
    for (const [number, content] of old)
      expect([number, numbers(after, space).get(number)]).toEqual([number, content]);
  }
});

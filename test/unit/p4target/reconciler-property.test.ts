import fc from 'fast-check';
import type { RowUpdate } from '../../../src/p4target/plan';
import { Reconciler } from '../../../src/p4target/reconciler';
import { rowContent, rowKey, type Row } from '../../../src/translators/rows';
import {
  ADDRESSES,
  evaluate,
  labelsOf,
  TOY_ORDER,
  ToyCompiler,
  ToyTarget,
  type Page,
  type Rule,
  type ToyState,
} from './toy-policy';

const RUNS = Number(process.env['PROPERTY_RUNS'] ?? 40);

const labelBits = fc.integer({ min: 0, max: 7 });
const rule: fc.Arbitrary<Rule> = fc
  .record({
    src: fc.option(fc.integer({ min: 0, max: 2 }), { nil: undefined }),
    dst: fc.option(fc.integer({ min: 0, max: 2 }), { nil: undefined }),
    allow: fc.boolean(),
  })
  .map(({ src, dst, allow }) => ({
    ...(src === undefined ? {} : { src }),
    ...(dst === undefined ? {} : { dst }),
    allow,
  }));
/** Half of them end in "allow the rest": there a row that is missing lets packets through. */
const program = fc.option(
  fc
    .tuple(fc.array(rule, { maxLength: 4 }), fc.boolean())
    .map(([rules, open]) => (open ? [...rules, { allow: true }] : rules)),
  { nil: undefined, freq: 8 },
);
const page = fc.constantFrom<Page>(1, 1, 1, 2);
const state: fc.Arbitrary<ToyState> = fc.record({
  labels: fc.tuple(labelBits, labelBits, labelBits, labelBits),
  prefixLabels: fc.tuple(labelBits, labelBits),
  programs: fc.tuple(program, program),
  pages: fc.tuple(page, page),
});
/** States in which, half of the time, an endpoint or an address stays as it was. */
const history = fc
  .array(fc.tuple(state, fc.array(fc.boolean(), { minLength: 10, maxLength: 10 })), {
    minLength: 1,
    maxLength: 5,
  })
  .map((steps) => {
    const made: ToyState[] = [];
    for (const [next, keep] of steps) {
      const last = made.at(-1) ?? EMPTY;
      const merge = <T>(now: readonly T[], before: readonly T[], from: number): T[] =>
        now.map((value, i) => (keep[from + i] === true ? before[i]! : value));
      made.push({
        labels: merge(next.labels, last.labels, 0),
        prefixLabels: merge(next.prefixLabels, last.prefixLabels, 4),
        programs: merge(next.programs, last.programs, 6),
        pages: merge(next.pages, last.pages, 8),
      });
    }
    return made;
  });
const EMPTY: ToyState = {
  labels: [0, 0, 0, 0],
  prefixLabels: [0, 0],
  programs: [undefined, undefined],
  pages: [1, 1],
};

/** Complains when a packet gets what none of `states`, mixed per address and endpoint, gives. */
function checkVerdicts(
  target: ToyTarget,
  states: readonly ToyState[],
  defaults: ReadonlyMap<bigint, bigint>,
): void {
  for (const ep of [0, 1]) {
    for (const src of ADDRESSES) {
      for (const dst of ADDRESSES) {
        const got = target.verdict(ep, src, dst, defaults);
        if (got !== 'allow') continue; // a drop is never wrong while things change
        const possible = states.some((p) =>
          states.some((s) =>
            states.some((d) => evaluate(p.programs[ep], labelsOf(s, src), labelsOf(d, dst)) === 'allow'),
          ),
        );
        if (!possible)
          throw new Error(`endpoint ${ep}, ${src} -> ${dst}: allowed, though no state allows it`);
      }
    }
  }
}

function exactVerdicts(
  target: ToyTarget,
  at: ToyState,
  defaults: ReadonlyMap<bigint, bigint>,
  eps: readonly number[] = [0, 1],
): void {
  for (const ep of eps) {
    for (const src of ADDRESSES) {
      for (const dst of ADDRESSES) {
        const want = evaluate(at.programs[ep], labelsOf(at, src), labelsOf(at, dst));
        const got = target.verdict(ep, src, dst, defaults);
        if ((got === 'shut' ? 'deny' : got) !== want)
          throw new Error(`endpoint ${ep}, ${src} -> ${dst}: ${got}, not ${want}`);
      }
    }
  }
}

function asText(rows: Iterable<Row>): string[] {
  return [...rows].map((row) => `${rowKey(row)} ${rowContent(row)}`).sort();
}

describe.each([
  ['can modify', true],
  ['answers OK to MODIFY and does nothing', false],
])('on a target that %s', (_, modify) => {
  it('no packet is ever let through by half a state', async () => {
    await fc.assert(
      fc.asyncProperty(history, async (states) => {
        const compiler = new ToyCompiler();
        const target = new ToyTarget({ modify });
        const reconciler = new Reconciler(target, TOY_ORDER);
        let before = EMPTY;
        for (const next of states) {
          const rows = compiler.rows(next);
          reconciler.replaceDesired(rows);
          target.watch = (t) => {
            checkVerdicts(t, [before, next], compiler.defaults);
          };
          const result = await reconciler.apply();
          expect(result.error).toBeUndefined();
          expect(asText(target.rows.values())).toEqual(asText(rows));
          exactVerdicts(target, next, compiler.defaults);
          before = next;
        }
      }),
      { numRuns: RUNS },
    );
  });

  it('with refused updates, stays closed where it must and ends as desired once they are taken', async () => {
    const refusedAt = fc.array(fc.array(fc.integer({ min: 0, max: 30 }), { maxLength: 4 }), {
      minLength: 5,
      maxLength: 5,
    });
    await fc.assert(
      fc.asyncProperty(history, refusedAt, async (states, refused) => {
        const compiler = new ToyCompiler();
        const target = new ToyTarget({ modify });
        const reconciler = new Reconciler(target, TOY_ORDER);
        let mixed: ToyState[] = [EMPTY];
        let last: Row[] = [];
        for (const [step, next] of states.entries()) {
          const refusals = refused[step]!;
          mixed.push(next);
          last = compiler.rows(next);
          reconciler.replaceDesired(last);
          let seen = 0;
          // A refused delete of a gate or port would leave it open; nobody can close it then.
          target.refuse = (u: RowUpdate) => u.type !== 'delete' && refusals.includes(seen++);
          target.watch = (t) => {
            checkVerdicts(t, mixed, compiler.defaults);
          };
          const result = await reconciler.apply();
          const wrong = asText(target.rows.values()).join() !== asText(last).join();
          expect(result.error !== undefined).toBe(wrong);
          // Who has no failed gate is served exactly as desired, whatever else failed.
          const failedEps = [...result.failed.values()].flatMap(({ row }) => row.match['ep']?.value ?? []);
          exactVerdicts(
            target,
            next,
            compiler.defaults,
            [0, 1].filter((ep) => !failedEps.includes(BigInt(ep))),
          );
          if (!wrong) mixed = [next];
        }
        target.refuse = () => false;
        const result = await reconciler.apply();
        expect([...result.failed.values()].map((f) => f.message)).toEqual([]);
        expect(asText(target.rows.values())).toEqual(asText(last));
        expect((await reconciler.apply()).written).toBe(0);
      }),
      { numRuns: RUNS },
    );
  });

  it('takes over what another run left, with numbers that meant something else', async () => {
    await fc.assert(
      fc.asyncProperty(state, state, async (before, next) => {
        const first = new ToyCompiler();
        const target = new ToyTarget({ modify });
        const earlier = new Reconciler(target, TOY_ORDER);
        earlier.replaceDesired(first.rows(before));
        await earlier.apply();

        // Compiled in another order, so that the same ids stand for other things.
        const second = new ToyCompiler();
        second.rows({ ...next, labels: [...next.labels].reverse() });
        const rows = second.rows(next);
        const reconciler = new Reconciler(target, TOY_ORDER);
        reconciler.replaceDesired(rows);
        target.watch = (t) => {
          // Gates are shut as long as numbers of both runs are there: only end states may be seen.
          const open = [...t.rows.values()].some((row) => row.table === 'endpoint_root');
          const mixedUp = open && !isSubset(t.rows, first.rows(before)) && !isSubset(t.rows, rows);
          if (mixedUp) throw new Error('a gate is open over rows of two runs');
        };
        await reconciler.apply();
        expect(asText(target.rows.values())).toEqual(asText(rows));
      }),
      { numRuns: RUNS },
    );
  });

  it('finishes when a table has no room for the old and the new rows at once', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(state, { minLength: 2, maxLength: 4 }), async (states) => {
        const compiler = new ToyCompiler();
        const all = states.map((s) => compiler.rows(s));
        const sizes: Record<string, number> = {};
        for (const rows of all) {
          for (const row of rows) {
            const count = rows.filter((r) => r.table === row.table).length;
            sizes[row.table] = Math.max(sizes[row.table] ?? 0, count);
          }
        }
        // Covers need a place of their own.
        sizes['addr_labels_prefix'] = (sizes['addr_labels_prefix'] ?? 0) + 2 * ADDRESSES.length;
        const target = new ToyTarget({ modify, sizes });
        const reconciler = new Reconciler(target, TOY_ORDER);
        let before = EMPTY;
        for (const [i, rows] of all.entries()) {
          target.watch = (t) => {
            checkVerdicts(t, [before, states[i]!], compiler.defaults);
          };
          reconciler.replaceDesired(rows);
          expect((await reconciler.apply()).error).toBeUndefined();
          expect(asText(target.rows.values())).toEqual(asText(rows));
          before = states[i]!;
        }
      }),
      { numRuns: RUNS },
    );
  });
});

function isSubset(held: ReadonlyMap<string, Row>, rows: readonly Row[]): boolean {
  const wanted = new Map(rows.map((row) => [rowKey(row), rowContent(row)]));
  return [...held].every(([key, row]) => row.table === 'port_in' || wanted.get(key) === rowContent(row));
}

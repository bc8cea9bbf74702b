/** What always new policies leave behind in session and compiler: nothing. */
import { createFelixSession } from '../../../src/driver/felix/felix-session';
import { createPlacement } from '../../../src/driver/placement';
import { activeWorkloads } from '../../../src/translators/endpoints';
import { createPolicyCompiler } from '../../../src/translators/policy/compiler';
import { framesOfCycle, heapInUse, leastOf } from '../../support/always-new';

const CYCLES = 1500;
const WINDOW = 500;
/** Bytes that 500 cycles may add to the least that is in use: 2 kB each. One label, interval set and prefix more take as much. */
const GROWTH = 1_000_000;

test(`${CYCLES} times everything is new, and nothing is kept`, () => {
  const session = createFelixSession();
  const placement = createPlacement(2);
  const compiler = createPolicyCompiler();
  const samples = new Map<number, number>();
  let rows = 0;
  for (let cycle = 1; cycle <= CYCLES; cycle++) {
    session.push(framesOfCycle(cycle, session.frames));
    session.takeChanges();
    const endpoints = placement.place(activeWorkloads(session.model));
    compiler.compile(session.model, endpoints, 'transition');
    const compiled = compiler.compile(session.model, endpoints);
    if (cycle === WINDOW) rows = compiled.rows.size;
    if (cycle > WINDOW) expect(compiled.rows.size).toBeLessThanOrEqual(rows * 1.25);
    if (cycle % 10 === 0) samples.set(cycle, heapInUse());
  }
  const before = leastOf(samples, WINDOW, 2 * WINDOW);
  const after = leastOf(samples, CYCLES - WINDOW, CYCLES);
  console.info(
    `${rows} rows; ${(before / 1e6).toFixed(1)} MB, ${(after / 1e6).toFixed(1)} MB at the end, ` +
      `${(Math.max(...samples.values()) / 1e6).toFixed(1)} MB at most`,
  );
  expect(rows).toBeGreaterThan(20);
  expect(after - before).toBeLessThan(GROWTH);
}, 120_000);

/**
 * How long the fuzz tests run. In `make test` each property has a number of runs that takes a few seconds;
 * CALICO_P4_FUZZ_RUNS multiplies it. `make fuzz` gives CALICO_P4_FUZZ_SECONDS instead, which the properties share by weight: they go on
 * with new seeds until their time is up. CALICO_P4_FUZZ_SEED repeats a run from the seed that it printed.
 */
import { SEED } from '../../seed';
import fc from 'fast-check';

const WEIGHTS = {
  'felix streams': 5,
  'felix bytes': 1,
  'felix sequences': 4,
  'p4runtime writes': 3,
  'p4runtime bytes': 2,
  packets: 4,
  'packet sequences': 1,
  configuration: 1,
  'packet files': 1,
  'names files': 1,
  p4info: 1,
  spec: 2,
  'engine messages': 3,
  'engine packets': 1,
  'engine specs': 2,
} as const;
export type Target = keyof typeof WEIGHTS;

const TOTAL = Object.values(WEIGHTS).reduce((sum, weight) => sum + weight, 0);
const SECONDS = numberOf('CALICO_P4_FUZZ_SECONDS');
const MULTIPLIER = numberOf('CALICO_P4_FUZZ_RUNS') ?? 1;
const FIRST_SEED =
  numberOf('CALICO_P4_FUZZ_SEED') ??
  (numberOf('CALICO_P4_FUZZ_SECONDS') === undefined ? SEED : Math.floor(Math.random() * 0x7fff_ffff));
/** Runs between two looks at the clock. */
const BATCH = 50;

/** For jest: the time that a target may take in milliseconds, start-up included. */
export function timeoutOf(target: Target): number {
  return SECONDS === undefined ? 60_000 * Math.max(1, MULTIPLIER) : (secondsOf(target) + 120) * 1000;
}

type Property<T> = fc.IRawProperty<T>;

/**
 * Runs a property for its budget; a failure carries fast-check's seed and path. A property that takes long for one run says how many are
 * between two looks at the clock, and how long (ms) each such batch may look for a smaller failure.
 */
export async function fuzz<T>(
  target: Target,
  runs: number,
  property: Property<T>,
  { batch = BATCH, milliseconds }: { readonly batch?: number; readonly milliseconds?: number } = {},
): Promise<void> {
  const started = performance.now();
  const wanted = SECONDS === undefined ? runs * MULTIPLIER : Infinity;
  const until = SECONDS === undefined ? Infinity : started + secondsOf(target) * 1000;
  let done = 0;
  process.stderr.write(`fuzz ${target}: seed ${FIRST_SEED}\n`);
  while (done < wanted && performance.now() < until) {
    const numRuns = Math.min(batch, wanted - done);
    await fc.assert(property, {
      numRuns,
      seed: (FIRST_SEED + done) | 0,
      ...(milliseconds === undefined ? {} : { interruptAfterTimeLimit: milliseconds }),
    });
    done += numRuns;
  }
  if (SECONDS !== undefined) process.stderr.write(`fuzz ${target}: ${done} runs\n`);
}

function secondsOf(target: Target): number {
  return ((SECONDS ?? 0) * WEIGHTS[target]) / TOTAL;
}

function numberOf(name: string): number | undefined {
  const text = process.env[name];
  return text === undefined || !/^\d+$/.test(text) ? undefined : Number(text);
}

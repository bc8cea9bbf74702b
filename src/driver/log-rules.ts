/** Calico's log action: P4 targets have no log, so its packets are counted, and the counters are read and reported. */
import type { Logger } from '../log';
import { describeStep, type Outcome, type RuleRef } from '../translators/policy/outcomes';

/** Something with indexed counters, such as a target's rows. */
export interface CounterReader {
  /** Packets by index; indices at 0 may be left out. */
  readCounter(name: string): Promise<ReadonlyMap<number, bigint>>;
}

const INTERVAL_MS = 10_000;

/** Packets that hit log rules, since the counters were read before. */
export interface LogHits {
  readonly rule: RuleRef;
  readonly packets: bigint;
}

/**
 * Reads the counters every ten seconds as long as some outcome holds a log rule, and logs one line for each that was hit.
 * @returns a function that ends it
 */
export function watchLogRules(
  counters: CounterReader,
  outcomes: () => ReadonlyMap<number, Outcome>,
  log: Logger,
): () => void {
  let before: ReadonlyMap<number, bigint> = new Map();
  let reading = false;
  const timer = setInterval(() => {
    if (reading || ![...outcomes().values()].some(hasLogRule)) return;
    reading = true;
    counters
      .readCounter('outcomes')
      .then((now) => {
        for (const { rule, packets } of logHits(outcomes(), before, now)) {
          log.info('packets hit a log rule', { ...rule, packets: Number(packets) });
        }
        before = now;
      })
      .catch((error: unknown) => {
        log.warn('can not read the counters of log rules', { reason: String(error) });
      })
      .finally(() => {
        reading = false;
      });
  }, INTERVAL_MS);
  return () => {
    clearInterval(timer);
  };
}

/** A counter that went back was cleared: all of it is new. */
export function logHits(
  outcomes: ReadonlyMap<number, Outcome>,
  before: ReadonlyMap<number, bigint>,
  now: ReadonlyMap<number, bigint>,
): LogHits[] {
  const hits = new Map<string, { rule: RuleRef; packets: bigint }>();
  for (const [index, count] of now) {
    const old = before.get(index) ?? 0n;
    const packets = count >= old ? count - old : count;
    if (packets === 0n) continue;
    for (const step of outcomes.get(index)?.rules ?? []) {
      if (step.kind !== 'rule' || step.action !== 'log') continue;
      const key = JSON.stringify(step);
      const sum = hits.get(key) ?? { rule: step, packets: 0n };
      sum.packets += packets;
      hits.set(key, sum);
    }
  }
  return [...hits.values()];
}

/** Packets by rule, in words: a rule's packets are the sum over the outcomes that hold it. Outcomes without a name show their number. */
export function packetsByRule(
  outcomes: ReadonlyMap<number, Outcome>,
  counts: ReadonlyMap<number, bigint>,
): { readonly rule: string; readonly packets: bigint }[] {
  const sums = new Map<string, bigint>();
  for (const [index, packets] of counts) {
    const steps = outcomes.get(index)?.rules.map(describeStep) ?? [`outcome ${index}`];
    for (const step of new Set(steps)) sums.set(step, (sums.get(step) ?? 0n) + packets);
  }
  return [...sums].map(([rule, packets]) => ({ rule, packets })).sort((a, b) => a.rule.localeCompare(b.rule));
}

function hasLogRule(outcome: Outcome): boolean {
  return outcome.rules.some((step) => step.kind === 'rule' && step.action === 'log');
}

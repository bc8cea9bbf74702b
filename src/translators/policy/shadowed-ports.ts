import type { Forms } from './forms';
import type { Intervals, IntervalSet } from './intervals';
import type { DportForm } from './rule-form';
import { skips, type Turn, type TurnedForms } from './turns';

/** Ports of packets that skip to one turn. */
interface Skipped {
  readonly to: number;
  /** Ports of which every packet skips. */
  all: IntervalSet;
  /** Ports of which every packet, or some, does. */
  some: IntervalSet;
}

/**
 * Takes from each rule the ports that an earlier rule takes for certain, so that programs which differ only in what no packet
 * reaches come to the same node.
 */
export function unshadowed(
  { forms: left, turns }: TurnedForms<DportForm>,
  forms: Pick<Forms, 'without'>,
  intervals: Intervals,
): TurnedForms<DportForm> {
  const out: DportForm[] = [];
  const outTurns: Turn[] = [];
  const { empty, full } = intervals;
  /** Ports of which every packet has its verdict. */
  let decided = empty;
  /** Skips to where the rules have not come yet. */
  let pending: Skipped[] = [];
  const outside = (ports: IntervalSet, others: readonly Skipped[]): IntervalSet =>
    others.reduce((rest, { some }) => intervals.intersect(rest, intervals.complement(some)), ports);
  left.forEach((form, i) => {
    const { at, to } = turns[i]!;
    pending = pending.filter((skipped) => skipped.to > at);
    const taken = pending.reduce((sum, { all }) => intervals.union(sum, all), decided);
    const reached = forms.without(form, taken);
    // The last word stays, for values that stand for no port at all.
    if (reached === undefined && i < left.length - 1) return;
    out.push(form.certain || reached === undefined ? form : reached);
    outTurns.push(turns[i]!);
    if (reached === undefined) return;
    const { action } = form.hit;
    if (action === 'log') return;
    const always = form.sports === full;
    if (!skips(action)) {
      if (always) decided = intervals.union(decided, outside(reached.dports, pending));
      return;
    }
    let own = pending.find((skipped) => skipped.to === to);
    if (own === undefined) {
      own = { to, all: empty, some: empty };
      pending.push(own);
    }
    // Who skips less far comes back before.
    const nearer = pending.filter((skipped) => skipped.to < to);
    own.some = intervals.union(own.some, reached.dports);
    if (always) own.all = intervals.union(own.all, outside(reached.dports, nearer));
  });
  return { forms: out, turns: outTurns };
}

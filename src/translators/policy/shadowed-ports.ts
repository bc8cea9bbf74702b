import type { Forms } from './forms';
import type { Intervals } from './intervals';
import type { DportForm } from './rule-form';

/** Rules in order; those of one tier have the same number, and stand together. */
export interface TieredForms<F> {
  readonly forms: readonly F[];
  readonly tiers: readonly number[];
}

/**
 * Takes from each rule the ports that an earlier rule takes for certain, so that programs which differ only in what no packet
 * reaches come to the same node.
 */
export function unshadowed(
  { forms: left, tiers }: TieredForms<DportForm>,
  forms: Pick<Forms, 'without'>,
  intervals: Intervals,
): TieredForms<DportForm> {
  const out: DportForm[] = [];
  const outTiers: number[] = [];
  const { empty, full } = intervals;
  /** Ports of which every packet has its verdict. */
  let decided = empty;
  /** Ports of which every packet, or some, has passed the rest of the tier. */
  let passed = empty;
  let maybePassed = empty;
  left.forEach((form, i) => {
    if (tiers[i] !== tiers[i - 1]) passed = maybePassed = empty;
    const reached = forms.without(form, intervals.union(decided, passed));
    // The last word stays, for values that stand for no port at all.
    if (reached === undefined && i < left.length - 1) return;
    out.push(form.certain || reached === undefined ? form : reached);
    outTiers.push(tiers[i]!);
    if (reached === undefined) return;
    if (form.hit.action === 'log') return;
    if (form.hit.action === 'pass') {
      maybePassed = intervals.union(maybePassed, reached.dports);
      if (form.sports === full) passed = intervals.union(passed, reached.dports);
    } else if (form.sports === full) {
      decided = intervals.union(
        decided,
        intervals.intersect(reached.dports, intervals.complement(maybePassed)),
      );
    }
  });
  return { forms: out, tiers: outTiers };
}

import type { Hit, HitAction } from './rule-form';

/**
 * When a rule's turn comes. Rules stand in the order of `at`, those of a tier with the same number; a hit that skips goes on with the
 * first rule from `to` on: that of the next tier (`pass`), or of what comes after the host endpoint's rules (`accept`).
 */
export interface Turn {
  readonly at: number;
  /** Greater than `at`. It has no meaning for rules that do not skip. */
  readonly to: number;
}

/** Rules with their turns, in order. */
export interface TurnedForms<F> {
  readonly forms: readonly F[];
  readonly turns: readonly Turn[];
}

export function skips(action: HitAction): boolean {
  return action === 'pass' || action === 'accept';
}

/**
 * From where on rules can be reached behind the last of `rules`, which always matches: Infinity when none can. It stops everything that is
 * asked in its turn unless it only logs; what stands behind is reached only by a skip, its own or that of a rule before it.
 */
export function nextReached(rules: readonly { readonly hit: Hit }[], turns: readonly Turn[]): number {
  const { at } = turns[turns.length - 1]!;
  if (rules[rules.length - 1]!.hit.action === 'log') return at;
  let next = Infinity;
  rules.forEach(({ hit }, i) => {
    const { to } = turns[i]!;
    if (skips(hit.action) && to > at && to < next) next = to;
  });
  return next;
}

/** Turns by position, so that those of equal rules with equal skips are equal, whatever stood between them in the program. */
export function numbered(rules: readonly { readonly hit: Hit }[], turns: readonly Turn[]): readonly Turn[] {
  return rules.map(({ hit }, i) => {
    if (!skips(hit.action)) return single(i);
    let to = i + 1;
    while (to < rules.length && turns[to]!.at < turns[i]!.to) to++;
    return to === i + 1 ? single(i) : { at: i, to };
  });
}

/** Most rules have one of these, which take no memory of their own. */
const singles: Turn[] = [];

function single(at: number): Turn {
  return (singles[at] ??= { at, to: at + 1 });
}

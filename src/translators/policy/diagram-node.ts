import type { Step, Verdict } from './outcomes';
import type { AnyForm, Hit } from './rule-form';

/** A node of a decision diagram (diagram.ts). Equal nodes are the same object. */
export type Node = Leaf | Branch;

export interface Leaf {
  readonly kind: 'leaf';
  readonly verdict: Verdict;
  /** What the packet hit, the deciding one first. */
  readonly hits: HitList;
}

/** 0 source, 1 destination, 2 protocol, 3 destination port, 4 source port. */
export type Level = 0 | 1 | 2 | 3 | 4;

export interface Branch {
  readonly kind: 'branch';
  readonly level: Level;
  /** Levels 3 and 4: the packet's protocol, since ports have labels per protocol. 0 above. */
  readonly protocol: number;
  /** What the packet has hit already, last first. */
  readonly hits: HitList | null;
  /** The undecided rules in order; `tiers` says which belong together for a pass. */
  readonly forms: readonly AnyForm[];
  readonly tiers: readonly number[];
  /** Levels 0 and 1: the page that gives labels their bits; 0 below. */
  readonly page: number;
  /**
   * Levels 0 and 1: the labels that some rule asks for at this level, sorted. A set of ports that gets a port which it never had
   * makes another branch.
   */
  readonly labels: readonly number[];
  readonly labelSet: ReadonlySet<number>;
  /** Levels 0 and 1: AskedLabels.slices. */
  readonly slices: readonly number[];
}

/** Equal lists are the same object. */
export interface HitList {
  readonly id: number;
  readonly hit: Hit;
  readonly before: HitList | null;
}

/** What a leaf's packet hit, in order. */
export function stepsOf(leaf: Leaf): readonly Step[] {
  const steps: Step[] = [];
  for (let at: HitList | null = leaf.hits; at !== null; at = at.before) steps.unshift(at.hit.step);
  return steps;
}

import type { Node } from './diagram-node';
import type { LiveBranch, LiveLeaf, LiveNodes } from './live-nodes';
import type { DiagramSize } from './size-limits';

/** All that is reachable from the root of a program. */
export interface Closure {
  readonly branches: readonly LiveBranch[];
  readonly leaves: readonly LiveLeaf[];
  /** Of all its branches. */
  readonly size: DiagramSize;
  /** Something in it changed since it was taken. */
  stale: boolean;
  /** The last round that asked for it. */
  round: number;
}

/**
 * What the programs in use consist of, so that one where nothing changed need not be walked, and what none of them consists of is known
 * without looking at all that is in use.
 */
export interface Closures {
  /** That of the root, if nothing in it changed since it was taken. */
  of(root: Node): Closure | undefined;
  /** Everything in it must be filled. Takes the place of what the root had. */
  take(root: Node, parts: Pick<Closure, 'branches' | 'leaves' | 'size'>): Closure;
  /** To be called when branches were touched (live-nodes.ts). */
  expire(): void;
  /** Gives back those that are stale or were not asked for in this round. */
  keepOnly(round: number): void;
}

export function createClosures(nodes: LiveNodes): Closures {
  const closures = new Map<Node, Closure>();
  const { unused } = nodes;

  const release = (closure: Closure): void => {
    for (const branch of closure.branches) {
      branch.within.delete(closure);
      if (branch.within.size === 0) unused.branches.add(branch);
    }
    for (const leaf of closure.leaves) if (--leaf.uses === 0) unused.leaves.add(leaf);
  };

  return {
    of(root) {
      const closure = closures.get(root);
      return closure === undefined || closure.stale ? undefined : closure;
    },
    take(root, parts) {
      const closure: Closure = { ...parts, stale: false, round: 0 };
      for (const branch of closure.branches) {
        if (branch.within.size === 0) unused.branches.delete(branch);
        branch.within.add(closure);
      }
      for (const leaf of closure.leaves) if (leaf.uses++ === 0) unused.leaves.delete(leaf);
      const before = closures.get(root);
      if (before !== undefined) release(before);
      closures.set(root, closure);
      return closure;
    },
    expire() {
      for (const branch of nodes.takeTouched()) for (const closure of branch.within) closure.stale = true;
    },
    keepOnly(round) {
      for (const [root, closure] of closures) {
        if (closure.round === round && !closure.stale) continue;
        closures.delete(root);
        release(closure);
      }
    },
  };
}

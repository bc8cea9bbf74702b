import type { Node } from './diagram-node';
import type { LiveBranch, LiveLeaf, LiveNodes } from './live-nodes';
import type { DiagramSize } from './size-limits';
import { NO_SIZE } from './size-limits';

/** All that is reachable from the root of a program. */
export interface Closure {
  readonly branches: readonly LiveBranch[];
  readonly leaves: readonly LiveLeaf[];
  /** Of all its branches. */
  readonly size: DiagramSize;
  /** How many programs consist of it. */
  uses: number;
}

export type ClosureParts = Omit<Closure, 'uses'>;

/**
 * What the programs in use consist of, so that one where nothing changed need not be walked, and what none of them consists of is known
 * without looking at all that is in use.
 */
export interface Closures {
  /** That of the root, if nothing in it changed since it was taken. */
  of(root: Node): Closure | undefined;
  /** Takes the place of what the root had. Everything in it must be filled. */
  take(root: Node, parts: ClosureParts): Closure;
  use(closure: Closure): void;
  /** One use less. */
  leave(root: Node): void;
  /** To be called when branches were touched (live-nodes.ts). Returns the roots of what is in use, and must be taken anew. */
  expire(): Iterable<Node>;
  /** Nothing is in use. */
  leaveAll(): void;
  /** Gives back what is not in use. */
  sweep(): void;
  /** Of all that is in use, once for each use. */
  readonly size: DiagramSize;
}

export function createClosures(nodes: LiveNodes): Closures {
  const closures = new Map<Node, Closure>();
  const roots = new Map<Closure, Node>();
  const stale = new Set<Closure>();
  const idle = new Set<Closure>();
  const { unused } = nodes;
  let size = NO_SIZE;

  const add = (part: DiagramSize, times: number): void => {
    size = {
      rows: size.rows + times * part.rows,
      rules: size.rules + times * part.rules,
      questions: size.questions + times * part.questions,
    };
  };

  const giveBack = (closure: Closure): void => {
    roots.delete(closure);
    stale.delete(closure);
    idle.delete(closure);
    for (const branch of closure.branches) {
      branch.within.delete(closure);
      if (branch.within.size === 0) unused.branches.add(branch);
    }
    for (const leaf of closure.leaves) if (--leaf.uses === 0) unused.leaves.add(leaf);
  };

  const hold = (closure: Closure): void => {
    for (const branch of closure.branches) {
      if (branch.within.size === 0) unused.branches.delete(branch);
      branch.within.add(closure);
    }
    for (const leaf of closure.leaves) if (leaf.uses++ === 0) unused.leaves.delete(leaf);
  };

  return {
    of(root) {
      const closure = closures.get(root);
      return closure === undefined || stale.has(closure) ? undefined : closure;
    },
    take(root, parts) {
      const before = closures.get(root);
      const uses = before?.uses ?? 0;
      const closure: Closure = { ...parts, uses };
      hold(closure);
      if (before !== undefined) {
        add(before.size, -uses);
        giveBack(before);
      }
      add(closure.size, uses);
      if (uses === 0) idle.add(closure);
      closures.set(root, closure);
      roots.set(closure, root);
      return closure;
    },
    use(closure) {
      if (closure.uses++ === 0) idle.delete(closure);
      add(closure.size, 1);
    },
    leave(root) {
      const closure = closures.get(root)!;
      add(closure.size, -1);
      if (--closure.uses === 0) idle.add(closure);
    },
    expire() {
      for (const branch of nodes.takeTouched()) for (const closure of branch.within) stale.add(closure);
      return [...stale].filter(({ uses }) => uses > 0).map((closure) => roots.get(closure)!);
    },
    leaveAll() {
      size = NO_SIZE;
      for (const closure of closures.values()) {
        closure.uses = 0;
        idle.add(closure);
      }
    },
    sweep() {
      for (const closure of idle) {
        closures.delete(roots.get(closure)!);
        giveBack(closure);
      }
    },
    get size() {
      return size;
    },
  };
}

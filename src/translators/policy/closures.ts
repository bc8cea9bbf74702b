import { branchSize } from './branch-rows';
import type { Diagram } from './diagram';
import type { Node } from './diagram-node';
import type { LiveBranch, LiveLeaf, LiveNodes } from './live-nodes';
import type { DiagramSize } from './size-limits';
import { NO_SIZE, sumOf } from './size-limits';

/** All that is reachable from a root. */
export interface Closure {
  readonly branches: readonly LiveBranch[];
  readonly leaves: readonly LiveLeaf[];
  /** Of all its branches. */
  readonly size: DiagramSize;
}

/** What programs consist of, so that one where nothing changed need not be walked. */
export interface Closures {
  /** Remembers what is reachable from the root now. Everything there must be filled. */
  remember(root: Node): void;
  /** What was remembered, if nothing of it changed since. */
  unchanged(root: Node): Closure | undefined;
}

export function createClosures(diagram: Diagram, nodes: LiveNodes): Closures {
  const closures = new WeakMap<Node, Closure & { readonly at: number }>();
  return {
    remember(root) {
      const branches = new Set<LiveBranch>();
      const leaves = new Set<LiveLeaf>();
      const collect = (node: Node): void => {
        if (node.kind === 'leaf') {
          leaves.add(nodes.leaf(node));
          return;
        }
        const branch = nodes.branch(node);
        if (branches.has(branch)) return;
        branches.add(branch);
        collect(diagram.fallback(node));
        for (const child of branch.children.values()) collect(child);
      };
      collect(root);
      let size = NO_SIZE;
      for (const branch of branches) size = sumOf(size, branchSize(branch));
      closures.set(root, { at: nodes.clock, branches: [...branches], leaves: [...leaves], size });
    },
    unchanged(root) {
      const closure = closures.get(root);
      if (closure === undefined) return undefined;
      const { at, branches, leaves } = closure;
      for (const leaf of leaves) if (leaf.dropped) return undefined;
      for (const branch of branches) if (branch.changed > at) return undefined;
      return closure;
    },
  };
}

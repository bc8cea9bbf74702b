import type { BranchRows } from './branch-rows';
import { branchSize } from './branch-rows';
import { createClosures, type Closure, type ClosureParts } from './closures';
import type { Diagram } from './diagram';
import type { Leaf, Node } from './diagram-node';
import type { LiveBranch, LiveLeaf, LiveNodes, MadeNodes } from './live-nodes';
import type { DiagramSize, SizeLimits } from './size-limits';
import { exceeded, NO_SIZE, sumOf } from './size-limits';

/**
 * Goes through programs from their roots, gives every branch that it reaches its rows, and knows what no program reaches any more.
 * A program is taken as a whole or not at all; one that was taken, and where nothing changed, is not walked again.
 */
export interface ProgramVisits {
  /**
   * Begins a round: nothing is reached. Unless `exact`, what several programs reach is counted for each of them, which is quicker:
   * a round in which that is too much together must be begun again.
   */
  begin(exact: boolean): void;
  /**
   * Reaches everything below the root, if the program is within the limits: alone, and together with `before`, the size of
   * what the round's other programs reach. Otherwise leaves everything as it was.
   */
  program(root: Node, before: DiagramSize): Visit;
  leaf(leaf: Leaf): void;
  /**
   * Instead of a round, where the last one took every program: what was reached stays so, but for what branches that changed lead to,
   * and `added` is reached too. False: not all of that is within the limits, and a round must find out what is.
   */
  extend(added: Iterable<Node>): boolean;
  /** Gives up what was reached from these roots, each as often as it was asked for. */
  give(roots: Iterable<Node>): void;
  /** What is in use and is not reached any more. */
  end(): { readonly branches: readonly LiveBranch[]; readonly leaves: readonly LiveLeaf[] };
}

export type Visit =
  /** `size` of what no other program of the round had reached, or of all that this one reaches (`begin`). */
  | { readonly kind: 'taken'; readonly size: DiagramSize }
  | (TooLarge & {
      readonly kind: 'too-large';
      /** Undecided rules of nodes that the diagram remembers now although nothing leads to them. */
      readonly remembered: number;
    });

/** Whether a program is too large alone, or together with those before it. */
export interface TooLarge {
  readonly scope: 'program' | 'node';
}

/** What the walk through one program changed. */
interface Attempt {
  readonly made: MadeNodes;
  readonly filled: LiveBranch[];
}

export function createProgramVisits(
  diagram: Diagram,
  nodes: LiveNodes,
  rows: BranchRows,
  limits: SizeLimits,
): ProgramVisits {
  const closures = createClosures(nodes);
  let round = 0;
  let isExact = true;
  let lastWalk = 0;

  /** Everything below the root, filled. Undefined: it is more than one program may have. */
  const walk = ({ filled }: Attempt, root: Node): ClosureParts | undefined => {
    const stamp = ++lastWalk;
    const branches: LiveBranch[] = [];
    const leaves: LiveLeaf[] = [];
    let size = NO_SIZE;
    const visit = (node: Node): boolean => {
      if (node.kind === 'leaf') {
        const leaf = nodes.leaf(node);
        if (leaf.walked !== stamp) leaves.push(leaf);
        leaf.walked = stamp;
        return true;
      }
      const branch = nodes.branch(node);
      if (branch.walked === stamp) return true;
      branch.walked = stamp;
      branches.push(branch);
      if (!branch.filled) {
        filled.push(branch);
        if (!rows.fill(branch)) return false;
      }
      size = sumOf(size, branchSize(branch));
      if (exceeded(size, limits.program) || !visit(diagram.fallback(node))) return false;
      for (const child of branch.children.values()) if (!visit(child)) return false;
      return true;
    };
    return visit(root) ? { branches, leaves, size } : undefined;
  };

  /** Of what no other program of the round had reached. */
  const newSize = ({ branches }: ClosureParts): DiagramSize => {
    let size = NO_SIZE;
    for (const branch of branches) if (branch.counted !== round) size = sumOf(size, branchSize(branch));
    return size;
  };

  /** Nothing of the attempt is left: what it made goes, what it filled is empty. */
  const undo = ({ made, filled }: Attempt): void => {
    for (const branch of filled) rows.empty(branch);
    for (const branch of made.branches) {
      rows.clear(branch);
      nodes.dropBranch(branch);
    }
    for (const leaf of made.leaves) nodes.dropLeaf(leaf);
  };

  const begin = (): Attempt => ({ made: nodes.watch(), filled: [] });

  /** Undefined: the program is too large alone, and nothing is left of the attempt. */
  const closureOf = (attempt: Attempt, root: Node): Closure | undefined => {
    const known = closures.of(root);
    if (known !== undefined) return known;
    const parts = walk(attempt, root);
    if (parts !== undefined) return closures.take(root, parts);
    undo(attempt);
    return undefined;
  };

  return {
    begin(exact) {
      round++;
      isExact = exact;
      closures.expire();
      closures.leaveAll();
    },
    program(root, before) {
      const attempt = begin();
      const known = closures.of(root);
      const parts = known ?? walk(attempt, root);
      const size = isExact && parts !== undefined ? newSize(parts) : parts?.size;
      if (parts === undefined || size === undefined || exceeded(sumOf(before, size), limits.node)) {
        undo(attempt);
        const scope = parts === undefined ? 'program' : 'node';
        return { kind: 'too-large', scope, remembered: attempt.made.rules };
      }
      if (isExact) for (const branch of parts.branches) branch.counted = round;
      closures.use(known ?? closures.take(root, parts));
      return { kind: 'taken', size };
    },
    leaf(leaf) {
      const parts = { branches: [], leaves: [nodes.leaf(leaf)], size: NO_SIZE };
      closures.use(closures.of(leaf) ?? closures.take(leaf, parts));
    },
    extend(added) {
      for (const root of closures.expire()) if (closureOf(begin(), root) === undefined) return false;
      for (const root of added) {
        const closure = closureOf(begin(), root);
        if (closure === undefined) return false;
        closures.use(closure);
      }
      return !exceeded(closures.size, limits.node);
    },
    give(roots) {
      for (const root of roots) closures.leave(root);
    },
    end() {
      nodes.watch();
      closures.sweep();
      const { branches, leaves } = nodes.unused;
      return { branches: [...branches], leaves: [...leaves] };
    },
  };
}

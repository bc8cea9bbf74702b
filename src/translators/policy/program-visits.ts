import type { BranchRows } from './branch-rows';
import { branchSize } from './branch-rows';
import { createClosures } from './closures';
import type { Diagram } from './diagram';
import type { Leaf, Node } from './diagram-node';
import type { LiveBranch, LiveLeaf, LiveNodes, MadeNodes } from './live-nodes';
import type { DiagramSize, SizeLimits } from './size-limits';
import { exceeded, NO_SIZE, sumOf } from './size-limits';

/**
 * Goes through programs from their roots, gives every branch that it reaches its rows, and knows what was reached and what was not.
 * A program is taken as a whole or not at all.
 */
export interface ProgramVisits {
  /**
   * Begins a round: nothing is reached. Unless `exact`, what several programs reach may be counted for each of them, which is quicker:
   * a round in which that is too much together must be begun again.
   */
  begin(exact: boolean): void;
  /**
   * Reaches everything below the root, if the program is within the limits: alone, and together with `before`, the size of
   * what the round's other programs reach. Otherwise leaves everything as it was.
   */
  program(root: Node, before: DiagramSize): Visit;
  leaf(leaf: Leaf): void;
  /** Ends the round: what is in use and was not reached. */
  end(): { readonly branches: readonly LiveBranch[]; readonly leaves: readonly LiveLeaf[] };
}

export type Visit =
  /** `size` of what no other program of the round had reached. */
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

/** What the visit of one program changed. */
interface Attempt {
  readonly made: MadeNodes;
  readonly filled: LiveBranch[];
  readonly branches: LiveBranch[];
  readonly leaves: LiveLeaf[];
  /** Of the branches that it reached, and nobody before it. */
  size: DiagramSize;
}

export function createProgramVisits(
  diagram: Diagram,
  nodes: LiveNodes,
  rows: BranchRows,
  limits: SizeLimits,
): ProgramVisits {
  const closures = createClosures(diagram, nodes);
  let round = 0;
  let isExact = true;
  let lastVisitor = 0;

  const reachBranch = (attempt: Attempt, branch: LiveBranch): void => {
    branch.reached = round;
    attempt.branches.push(branch);
  };

  const reachLeaf = (attempt: Attempt, leaf: LiveLeaf): void => {
    if (leaf.reached === round) return;
    leaf.reached = round;
    attempt.leaves.push(leaf);
  };

  /** `too-large` is certain, the opposite is not: what is below may be larger than all that was reached for the first time. */
  const visit = (attempt: Attempt, node: Node): LiveBranch | 'leaf' | 'too-large' => {
    if (node.kind === 'leaf') {
      reachLeaf(attempt, nodes.leaf(node));
      return 'leaf';
    }
    const branch = nodes.branch(node);
    if (branch.reached === round) return branch;
    reachBranch(attempt, branch);
    const complete = branch.filled || fill(attempt, branch);
    const own = branchSize(branch);
    attempt.size = sumOf(attempt.size, own);
    if (!complete || exceeded(attempt.size, limits.program)) return 'too-large';
    const visitor = ++lastVisitor;
    let { rows: belowRows, rules, questions } = own;
    const under = (child: Node): boolean => {
      const live = visit(attempt, child);
      if (live === 'too-large') return false;
      if (live === 'leaf' || live.countedBy === visitor) return true;
      live.countedBy = visitor;
      belowRows += live.below.rows;
      rules += live.below.rules;
      questions += live.below.questions;
      return true;
    };
    if (!under(diagram.fallback(node))) return 'too-large';
    for (const child of branch.children.values()) if (!under(child)) return 'too-large';
    branch.below = { rows: belowRows, rules, questions };
    return branch;
  };

  const fill = (attempt: Attempt, branch: LiveBranch): boolean => {
    attempt.filled.push(branch);
    return rows.fill(branch);
  };

  /** The exact size of what is below a node that was visited, as far as the limit. */
  const measure = (root: Node): DiagramSize => {
    let size = NO_SIZE;
    const counted = new Set<LiveBranch>();
    const count = (node: Node): void => {
      const branch = node.kind === 'leaf' ? undefined : nodes.branches.get(node);
      if (branch === undefined || counted.has(branch) || exceeded(size, limits.program)) return;
      counted.add(branch);
      size = sumOf(size, branchSize(branch));
      count(diagram.fallback(branch.node));
      for (const child of branch.children.values()) count(child);
    };
    count(root);
    return size;
  };

  /** Whether the program alone is too large. */
  const visitAll = (attempt: Attempt, root: Node): boolean => {
    const top = visit(attempt, root);
    if (top === 'leaf') return false;
    if (top !== 'too-large') {
      return exceeded(top.below, limits.program) && exceeded(measure(root), limits.program);
    }
    const rules = Math.max(attempt.size.rules, attempt.made.rules);
    return exceeded({ ...attempt.size, rules }, limits.program);
  };

  /** Reaches what is below a root where nothing changed since it was last found to be within the limits. False: there is none such. */
  const reachUnchanged = (attempt: Attempt, root: Node): boolean => {
    const closure = closures.unchanged(root);
    if (closure === undefined) return false;
    for (const branch of closure.branches) {
      if (branch.reached === round) continue;
      reachBranch(attempt, branch);
      if (isExact) attempt.size = sumOf(attempt.size, branchSize(branch));
    }
    if (!isExact) attempt.size = closure.size;
    for (const leaf of closure.leaves) reachLeaf(attempt, leaf);
    return true;
  };

  /** Nothing of the attempt is left: what it made goes, what it filled is empty, what it reached was not reached. */
  const undo = ({ made, filled, branches, leaves }: Attempt): void => {
    for (const branch of branches) branch.reached = 0;
    for (const leaf of leaves) leaf.reached = 0;
    for (const branch of filled) rows.empty(branch);
    for (const branch of made.branches) {
      rows.clear(branch);
      nodes.dropBranch(branch);
    }
    for (const leaf of made.leaves) nodes.dropLeaf(leaf);
  };

  const begin = (): Attempt => ({
    made: nodes.watch(),
    filled: [],
    branches: [],
    leaves: [],
    size: NO_SIZE,
  });

  return {
    begin(exact) {
      round++;
      isExact = exact;
    },
    program(root, before) {
      const attempt = begin();
      const unchanged = reachUnchanged(attempt, root);
      const alone = !unchanged && visitAll(attempt, root);
      if (alone || exceeded(sumOf(before, attempt.size), limits.node)) {
        undo(attempt);
        return {
          kind: 'too-large',
          scope: alone ? 'program' : 'node',
          remembered: attempt.made.rules,
        };
      }
      if (!unchanged) closures.remember(root);
      return { kind: 'taken', size: attempt.size };
    },
    leaf(leaf) {
      nodes.leaf(leaf).reached = round;
    },
    end() {
      nodes.watch();
      return {
        branches: [...nodes.branches.values()].filter(({ reached }) => reached !== round),
        leaves: [...nodes.leaves.values()].filter(({ reached }) => reached !== round),
      };
    },
  };
}

import type { MatchValue } from '../rows';
import type { Signature, SignatureKey } from './branch-values';
import type { Closure } from './closures';
import type { Diagram } from './diagram';
import type { Branch, Leaf, Node } from './diagram-node';
import { stepsOf } from './diagram-node';
import type { NodeNumbers } from './node-numbers';
import type { Outcome } from './outcomes';
import { leafId, OUTCOME_MISS, OUTCOME_OVERFLOW_ALLOW, OUTCOME_OVERFLOW_DENY } from './outcomes';
import type { PortMask } from './port-labels';

/** Parameters of an action that leads to a node: `node`, and `d1`, `d2`, … for its chain of fallbacks. */
export type NextParams = Readonly<Record<string, bigint>>;

/** A branch in use. Each group of fields is written by one module only. */
export interface LiveBranch {
  readonly node: Branch;
  readonly id: number;
  /** The number as the rows' key field `node`. */
  readonly match: MatchValue;
  /** By the level above which a row stands that leads here. */
  readonly params: (NextParams | undefined)[];

  // branch-rows.ts
  /** False: rows may be missing, or too many. */
  filled: boolean;
  /** Where values with a row lead, by the row's key. */
  readonly children: Map<string, Node>;
  /** How many values the branch was asked for. */
  asked: number;
  /** Address levels. */
  signatures: Map<SignatureKey, Signature>;
  /** Port levels, once filled. */
  ports: PortMask | undefined;

  // closures.ts
  /** Those that it is part of. */
  readonly within: Set<Closure>;

  // program-visits.ts
  /** The last walk that came by. */
  walked: number;
  /** The last exact round that counted it. */
  counted: number;
}

/** A leaf in use. */
export interface LiveLeaf {
  readonly leaf: Leaf;
  readonly outcome: Outcome;
  /** As a branch's. */
  readonly params: (NextParams | undefined)[];
  /** closures.ts: of how many it is part. */
  uses: number;
  /** program-visits.ts: the last walk that came by. */
  walked: number;
}

/** What came into use since LiveNodes.watch. */
export interface MadeNodes {
  readonly branches: readonly LiveBranch[];
  readonly leaves: readonly LiveLeaf[];
  /** Undecided rules of the branches. */
  readonly rules: number;
}

/** The nodes of the diagram that are in use, and the numbers they have for as long. */
export interface LiveNodes {
  /** Takes the branch into use, if it is not. */
  branch(node: Branch): LiveBranch;
  leaf(leaf: Leaf): LiveLeaf;
  /** The parameters of an action that leads to `node` from above `level`. Takes what it names into use. */
  params(node: Node, level: number): NextParams;
  /** Says that the branch's children are others. */
  touch(branch: LiveBranch): void;
  /** Out of use: the number is free. The rows must be gone (branch-rows.ts). */
  dropBranch(branch: LiveBranch): void;
  dropLeaf(leaf: LiveLeaf): void;
  /** Branches whose children changed since this was last called. */
  takeTouched(): ReadonlySet<LiveBranch>;
  /** Begins a new `made`, which it returns. */
  watch(): MadeNodes;
  readonly made: MadeNodes;
  /** What is part of no closure; what came into use is, until a closure takes it. Written by closures.ts. */
  readonly unused: { readonly branches: Set<LiveBranch>; readonly leaves: Set<LiveLeaf> };
  readonly branches: ReadonlyMap<Branch, LiveBranch>;
  readonly leaves: ReadonlyMap<Leaf, LiveLeaf>;
  /** Branches by number. */
  readonly byId: ReadonlyMap<number, Branch>;
  /** Outcomes by id: that of a miss, and those of the leaves. */
  readonly outcomes: ReadonlyMap<number, Outcome>;
  /** How many leaves share an overflow outcome. */
  readonly overflowing: number;
}

/** The port levels lead to leaves. */
const LEVELS = 5;
const PARAM_NAMES = ['node', 'd1', 'd2', 'd3', 'd4', 'd5'] as const;

export function createLiveNodes(diagram: Diagram, numbers: NodeNumbers): LiveNodes {
  const branches = new Map<Branch, LiveBranch>();
  const leaves = new Map<Leaf, LiveLeaf>();
  const byId = new Map<number, Branch>();
  const outcomes = new Map<number, Outcome>([[OUTCOME_MISS.id, OUTCOME_MISS]]);
  let overflowing = 0;
  const unused = { branches: new Set<LiveBranch>(), leaves: new Set<LiveLeaf>() };
  let touched = new Set<LiveBranch>();
  let made = nothingMade();

  const branchOf = (node: Branch): LiveBranch => {
    let found = branches.get(node);
    if (found === undefined) {
      const id = numbers.branch(node);
      found = {
        node,
        id,
        match: { kind: 'exact', value: BigInt(id) },
        params: [],
        filled: false,
        children: new Map(),
        asked: 0,
        signatures: new Map(),
        ports: undefined,
        within: new Set(),
        walked: 0,
        counted: 0,
      };
      branches.set(node, found);
      byId.set(id, node);
      unused.branches.add(found);
      made.branches.push(found);
      made.rules += node.forms.length;
    }
    return found;
  };

  /** Where the counters are used up, leaves share one for each verdict. */
  const takeOutcome = (leaf: Leaf): Outcome => {
    const id = numbers.leaf(leaf);
    const { verdict } = leaf;
    if (id !== undefined) return { id, verdict, rules: stepsOf(leaf) };
    overflowing++;
    return verdict === 'allow' ? OUTCOME_OVERFLOW_ALLOW : OUTCOME_OVERFLOW_DENY;
  };

  const leafOf = (leaf: Leaf): LiveLeaf => {
    let found = leaves.get(leaf);
    if (found === undefined) {
      const outcome = takeOutcome(leaf);
      found = { leaf, outcome, params: [], uses: 0, walked: 0 };
      leaves.set(leaf, found);
      outcomes.set(outcome.id, outcome);
      unused.leaves.add(found);
      made.leaves.push(found);
    }
    return found;
  };

  const numberOf = (node: Node): bigint =>
    BigInt(node.kind === 'leaf' ? leafId(leafOf(node).outcome) : branchOf(node).id);

  return {
    branch: branchOf,
    leaf: leafOf,
    params(node, level) {
      const known = (node.kind === 'leaf' ? leafOf(node) : branchOf(node)).params;
      const found = known[level];
      if (found !== undefined) return found;
      const params: Record<string, bigint> = { node: numberOf(node) };
      let at = node;
      for (let l = level; l < LEVELS; l++) {
        if (at.kind === 'branch' && at.level === l) at = diagram.fallback(at);
        params[PARAM_NAMES[l - level + 1]!] = numberOf(at);
      }
      known[level] = params;
      return params;
    },
    touch(branch) {
      touched.add(branch);
    },
    takeTouched() {
      const taken = touched;
      if (taken.size > 0) touched = new Set();
      return taken;
    },
    dropBranch(branch) {
      unused.branches.delete(branch);
      branches.delete(branch.node);
      byId.delete(branch.id);
      numbers.freeBranch(branch.id);
    },
    dropLeaf(live) {
      const { id } = live.outcome;
      unused.leaves.delete(live);
      leaves.delete(live.leaf);
      if (id !== OUTCOME_OVERFLOW_ALLOW.id && id !== OUTCOME_OVERFLOW_DENY.id) {
        outcomes.delete(id);
        numbers.freeLeaf(id);
      } else if (--overflowing === 0) {
        outcomes.delete(OUTCOME_OVERFLOW_ALLOW.id);
        outcomes.delete(OUTCOME_OVERFLOW_DENY.id);
      }
    },
    watch() {
      made = nothingMade();
      return made;
    },
    get made() {
      return made;
    },
    unused,
    branches,
    leaves,
    byId,
    outcomes,
    get overflowing() {
      return overflowing;
    },
  };
}

function nothingMade(): { branches: LiveBranch[]; leaves: LiveLeaf[]; rules: number } {
  return { branches: [], leaves: [], rules: 0 };
}

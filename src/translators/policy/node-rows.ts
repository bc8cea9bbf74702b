import type { ClassChanges } from './address-classes';
import type { Values } from './branch-rows';
import { createBranchRows } from './branch-rows';
import type { Diagram } from './diagram';
import type { Branch, Leaf, Node } from './diagram-node';
import type { IntervalSet } from './intervals';
import type { NextParams } from './live-nodes';
import { createLiveNodes } from './live-nodes';
import type { NodeNumbers } from './node-numbers';
import type { Outcome } from './outcomes';
import { listChanges } from './list-changes';
import type { TooLarge } from './program-visits';
import { createProgramVisits } from './program-visits';
import type { RowStore } from './row-store';
import { intervalSetsOf } from './rule-form';
import type { SizeLimits } from './size-limits';
import { NO_SIZE, sumOf } from './size-limits';

/**
 * The diagrams as rows of the step tables. A row is `(node, value) -> next node and its chain of fallbacks`; it never changes,
 * it only comes and goes. Nodes and outcomes have a number as long as they are in use.
 *
 *      update ─► program-visits.ts ─► branch-rows.ts ─► row-store.ts
 *                what is reachable,   the rows of       all rows, and
 *                within the limits    one branch        what changed
 *                       └───────┬───────────┘
 *                         live-nodes.ts
 *                         nodes in use, their numbers
 */
export interface NodeRows {
  /**
   * Makes the rows those of everything that is reachable from the programs' roots, in their order: one that is too large, alone or
   * with those before it, is left out, and its `instead` taken. With `keep` also those of what the last update was asked for, all or
   * none of them. A program that is the same object has the same roots.
   * `classes` are what changed by page; the ports' labels must be updated after this.
   */
  update(
    programs: readonly ProgramRoot[],
    keep: boolean,
    classes: ReadonlyMap<number, ClassChanges>,
  ): UpdateResult;
  /** Forgets what no row comes of. Returns the sets of ports that are still in use. */
  forget(): Iterable<IntervalSet>;
  /** The parameters of an action that leads to `node` from above `level`. */
  params(node: Node, level: number): NextParams;
  /** Outcomes in use, by id. */
  readonly outcomes: ReadonlyMap<number, Outcome>;
  /** Branches in use, by id. */
  readonly nodes: ReadonlyMap<number, Branch>;
  /** How many leaves share an overflow outcome. */
  readonly overflowing: number;
  /** How often the diagram has forgotten what no row comes of: rules that were read before may not be the same objects any more. */
  readonly forgotten: number;
}

export interface ProgramRoot {
  readonly node: Node;
  readonly instead: Leaf;
}

export interface UpdateResult {
  /** By root. */
  readonly refused: ReadonlyMap<Node, TooLarge>;
  /** False: what was to be kept was too large. */
  readonly kept: boolean;
}

/** `numbers` are for this one alone. */
export function createNodeRows(
  diagram: Diagram,
  rows: RowStore,
  values: Values,
  numbers: NodeNumbers,
  limits: SizeLimits,
): NodeRows {
  const nodes = createLiveNodes(diagram, numbers);
  const branchRows = createBranchRows(diagram, nodes, rows, values, limits.program);
  const visits = createProgramVisits(diagram, nodes, branchRows, limits);
  let last: Last = { programs: [], kept: [], refused: NONE_REFUSED, all: true };
  /** Undecided rules in nodes that the diagram remembers of programs that were left out. */
  let remembered = 0;
  let forgotten = 0;
  /** Classes that went so far: a program that has only grown since it was too large still is. */
  let losses = 0;
  const refusals = new WeakMap<Node, TooLarge & { readonly losses: number }>();

  const forget = (keep: readonly Node[]): void => {
    remembered = 0;
    forgotten++;
    diagram.forget(new Set<Node>([...nodes.branches.keys(), ...nodes.leaves.keys(), ...keep]));
  };

  const setsInUse = function* (): Iterable<IntervalSet> {
    for (const { node, ports } of nodes.branches.values()) {
      for (const form of node.forms) yield* intervalSetsOf(form);
      if (ports !== undefined) yield* ports.sets;
    }
  };

  const stillTooLarge = (root: Node): boolean => {
    const refusal = refusals.get(root);
    return refusal?.scope === 'program' && refusal.losses === losses;
  };

  const visitPrograms = (programs: readonly ProgramRoot[]): ReadonlyMap<Node, TooLarge> => {
    const refused = new Map<Node, TooLarge>();
    const refuse = (root: Node, scope: TooLarge['scope']): void => {
      refusals.set(root, { scope, losses });
      refused.set(root, { scope });
    };
    let size = NO_SIZE;
    for (const { node, instead } of programs) {
      if (refused.has(node)) continue;
      if (stillTooLarge(node)) refuse(node, 'program');
      else {
        const visit = visits.program(node, size);
        if (visit.kind === 'taken') {
          size = sumOf(size, visit.size);
          continue;
        }
        remembered += visit.remembered;
        refuse(node, visit.scope);
      }
      visits.leaf(instead);
      if (remembered > 4 * limits.program.rules) {
        forget(programs.flatMap((program) => [program.node, program.instead]));
      }
    }
    return refused;
  };

  /** False: they are too large together, and what was not visited yet is left out. */
  const visitKept = (roots: readonly Node[]): boolean => {
    let size = NO_SIZE;
    for (const root of roots) {
      const visit = visits.program(root, size);
      if (visit.kind === 'too-large') {
        remembered += visit.remembered;
        return false;
      }
      size = sumOf(size, visit.size);
    }
    return true;
  };

  const sweep = (): void => {
    const { branches, leaves } = visits.end();
    for (const branch of branches) {
      branchRows.clear(branch);
      nodes.dropBranch(branch);
    }
    for (const leaf of leaves) nodes.dropLeaf(leaf);
    // What is in use is complete now.
    nodes.takeTouched();
  };

  /** In a round: everything is asked for again, so that what is too large is found. */
  const updateAll = (programs: readonly ProgramRoot[], keep: boolean): UpdateResult => {
    const kept = keep ? last.programs.map(rootTaken) : [];
    visits.begin(false);
    let refused = visitPrograms(programs);
    let all = visitKept(kept);
    if (!all || [...refused.values()].some(({ scope }) => scope === 'node')) {
      visits.begin(true);
      refused = visitPrograms(programs);
      all = visitKept(kept);
    }
    last = { programs, kept, refused, all: refused.size === 0 && all };
    return { refused, kept: all };
  };

  const rootTaken = ({ node, instead }: ProgramRoot): Node => (last.refused.has(node) ? instead : node);

  /** Where everything could be taken so far, by what changed. False: now it can not, or could not before. */
  const updateChanged = (programs: readonly ProgramRoot[], keep: boolean): boolean => {
    if (!last.all) return false;
    const { removed, added } = listChanges(last.programs, programs);
    if (!visits.extend(rootsOf(added))) return false;
    visits.give(last.kept);
    if (!keep) visits.give(rootsOf(removed));
    last = { programs, kept: keep ? rootsOf(removed) : [], refused: NONE_REFUSED, all: true };
    return true;
  };

  return {
    forget() {
      forget([]);
      return setsInUse();
    },
    params: (node, level) => nodes.params(node, level),
    outcomes: nodes.outcomes,
    nodes: nodes.byId,
    get overflowing() {
      return nodes.overflowing;
    },
    get forgotten() {
      return forgotten;
    },
    update(programs, keep, classes) {
      for (const [page, changes] of classes) {
        losses += changes.dead.length;
        branchRows.applyClasses(page, changes);
      }
      const result = updateChanged(programs, keep) ? ALL_TAKEN : updateAll(programs, keep);
      sweep();
      if (diagram.size > 4 * (nodes.branches.size + nodes.leaves.size) + 2_000) {
        forget([...result.refused.keys(), ...programs.map(({ instead }) => instead)]);
      }
      return result;
    },
  };
}

/** What was asked for last, and became of it. */
interface Last {
  readonly programs: readonly ProgramRoot[];
  /** What is there beside them. */
  readonly kept: readonly Node[];
  readonly refused: UpdateResult['refused'];
  /** All of it is there, and nothing else. */
  readonly all: boolean;
}

const NONE_REFUSED: UpdateResult['refused'] = new Map();
const ALL_TAKEN: UpdateResult = { refused: NONE_REFUSED, kept: true };

function rootsOf(programs: readonly ProgramRoot[]): readonly Node[] {
  return programs.map(({ node }) => node);
}

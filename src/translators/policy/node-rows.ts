import type { MatchValue } from '../rows';
import { keyedRow } from '../rows';
import type { AddressClass, AddressClasses, ClassChanges } from './address-classes';
import type { Branch, Diagram, Leaf, Node } from './diagram';
import { stepsOf } from './diagram';
import type { IdSpace } from './ids';
import { FAMILY_4, FAMILY_6 } from './labels';
import type { Outcome } from './outcomes';
import { leafId, OUTCOME_MISS, OUTCOME_OVERFLOW_ALLOW, OUTCOME_OVERFLOW_DENY } from './outcomes';
import type { PortClass, PortClassChanges, PortClasses } from './port-classes';
import type { RowStore } from './row-store';
import type { DiagramSize, SizeLimits } from './size-limits';
import { exceeded, NO_SIZE } from './size-limits';

/**
 * The diagrams as rows of the step tables. A row is `(node, value) -> next node and its chain of fallbacks`; it never changes,
 * it only comes and goes. Nodes and outcomes have a number as long as they are in use.
 */
export interface NodeRows {
  /**
   * Makes the rows those of everything that is reachable from the programs' roots, in their order: one that is too large, alone or
   * with those before it, is left out, and its `instead` taken. Then those of `also`, all or none of them.
   * Call after the classes were updated. `portsChanged` are the port classes that changed.
   */
  update(
    programs: readonly ProgramRoot[],
    also: readonly Node[],
    classes: ClassChanges,
    portsChanged: PortsChanged,
  ): UpdateResult;
  /** The parameters of an action that leads to `node` from above `level`: node, d1, … */
  params(node: Node, level: number): Readonly<Record<string, bigint>>;
  /** Outcomes in use, by id. */
  readonly outcomes: ReadonlyMap<number, Outcome>;
  /** Branches in use, by id. */
  readonly nodes: ReadonlyMap<number, Branch>;
  /** How many leaves share an overflow outcome. */
  readonly overflowing: number;
}

export interface ProgramRoot {
  readonly node: Node;
  readonly instead: Leaf;
}

export interface UpdateResult {
  /** By root. */
  readonly refused: ReadonlyMap<Node, TooLarge>;
  /** False: `also` was too large. */
  readonly also: boolean;
}

export interface TooLarge {
  readonly scope: 'program' | 'node';
}

export interface PortsChanged {
  /** By protocol. */
  readonly dport: ReadonlyMap<number, PortClassChanges>;
  readonly sport: ReadonlyMap<number, PortClassChanges>;
}

const LEVELS = 5;
const TABLES = ['step_src', 'step_dst', 'step_proto', 'step_dport', 'step_sport'] as const;
const ACTIONS = ['src_next', 'dst_next', 'proto_next', 'dport_next', 'sport_next'] as const;
const PARAM_NAMES = ['node', 'd1', 'd2', 'd3', 'd4', 'd5'] as const;

/** Rows that may be looked at again because classes changed; when it would be more, the branches are filled anew. */
const TOUCHED_MAX = 500_000;

/** A value with a row: an address class, a port class or a protocol. */
type Value = AddressClass | PortClass | number;

interface LiveBranch {
  readonly node: Branch;
  readonly id: number;
  readonly match: MatchValue;
  /** Where values with a row lead. */
  readonly children: Map<number, Node>;
  /** By the level above which a row stands that leads here. */
  readonly params: (Readonly<Record<string, bigint>> | undefined)[];
  /** False: rows may be missing, or too many. */
  filled: boolean;
  /** How many values the branch was asked for. */
  asked: number;
  mark: number;
  /** Of the branch and everything below it; what is reached twice may be counted twice. */
  below: DiagramSize;
  /** Which visit counted this one last. */
  countedBy: number;
  stamp: number;
}

interface LiveLeaf {
  readonly outcome: Outcome;
  readonly params: (Readonly<Record<string, bigint>> | undefined)[];
  mark: number;
}

export function createNodeRows(
  diagram: Diagram,
  rows: RowStore,
  addresses: AddressClasses,
  dports: PortClasses,
  sports: PortClasses,
  nodeIds: IdSpace,
  outcomeIds: IdSpace,
  limits: SizeLimits,
): NodeRows {
  const branches = new Map<Branch, LiveBranch>();
  const leaves = new Map<Leaf, LiveLeaf>();
  const nodes = new Map<number, Branch>();
  const outcomes = new Map<number, Outcome>([[OUTCOME_MISS.id, OUTCOME_MISS]]);
  /** Filled branches of the two address levels, by the groups they ask for. */
  const byGroup = new Map<number, Set<LiveBranch>>();
  let overflowing = 0;
  let mark = 0;
  let stamp = 0;
  let visits = 0;
  /** Undecided rules in nodes that the diagram remembers of programs that were left out. */
  let remembered = 0;
  let attempt = newAttempt();
  /** Classes and ports that went so far: what has only grown since it was too large still is. */
  let losses = 0;
  const refusals = new WeakMap<Node, TooLarge & { readonly losses: number }>();

  const liveBranch = (node: Branch): LiveBranch => {
    let found = branches.get(node);
    if (found === undefined) {
      const id = nodeIds.take()!;
      found = {
        node,
        id,
        match: { kind: 'exact', value: BigInt(id) },
        children: new Map(),
        params: [],
        filled: false,
        asked: 0,
        mark: 0,
        below: NO_SIZE,
        countedBy: 0,
        stamp: 0,
      };
      branches.set(node, found);
      nodes.set(id, node);
      attempt.branches.push(found);
      attempt.rules += node.forms.length;
    }
    return found;
  };

  const liveLeaf = (leaf: Leaf): LiveLeaf => {
    let found = leaves.get(leaf);
    if (found === undefined) {
      const id = outcomeIds.take();
      const { verdict } = leaf;
      if (id === undefined) overflowing++;
      const outcome: Outcome =
        id !== undefined
          ? { id, verdict, rules: stepsOf(leaf) }
          : verdict === 'allow'
            ? OUTCOME_OVERFLOW_ALLOW
            : OUTCOME_OVERFLOW_DENY;
      found = { outcome, params: [], mark: 0 };
      leaves.set(leaf, found);
      outcomes.set(outcome.id, outcome);
      attempt.leaves.push(leaf);
    }
    return found;
  };

  const idOf = (node: Node): number =>
    node.kind === 'leaf' ? leafId(liveLeaf(node).outcome) : liveBranch(node).id;

  const params: NodeRows['params'] = (node, level) => {
    const cache = node.kind === 'leaf' ? liveLeaf(node).params : liveBranch(node).params;
    const known = cache[level];
    if (known !== undefined) return known;
    const out: Record<string, bigint> = { node: BigInt(idOf(node)) };
    let at = node;
    for (let l = level; l < LEVELS; l++) {
      if (at.kind === 'branch' && at.level === l) at = diagram.fallback(at);
      out[PARAM_NAMES[l - level + 1]!] = BigInt(idOf(at));
    }
    cache[level] = out;
    return out;
  };

  const keyOf = (branch: LiveBranch, value: number): string =>
    // As rowKey would make it.
    `${TABLES[branch.node.level]}|node=${branch.id.toString(16)},value=${value.toString(16)}|0`;

  const setChild = (branch: LiveBranch, value: Value, child: Node): void => {
    const number = typeof value === 'number' ? value : value.id;
    if (child === diagram.fallback(branch.node)) {
      // Only when the meaning of a value changed, which no value in use does.
      if (branch.children.delete(number)) rows.delete(keyOf(branch, number));
      return;
    }
    if (branch.children.get(number) === child) return;
    branch.children.set(number, child);
    const { level } = branch.node;
    const match = typeof value === 'number' ? { kind: 'exact' as const, value: BigInt(value) } : value.match;
    const key = keyOf(branch, number);
    rows.set(
      key,
      keyedRow(key, {
        table: TABLES[level],
        match: { node: branch.match, value: match },
        action: ACTIONS[level],
        params: params(child, level + 1),
      }),
    );
  };

  const removeChild = (branch: LiveBranch, value: number): void => {
    if (branch.children.delete(value)) rows.delete(keyOf(branch, value));
  };

  /** False when the branch alone has too many rows: then it is not filled. */
  const fillWith = (branch: LiveBranch, values: Iterable<Value>, to: (value: Value) => Node): boolean => {
    const stay = new Set<number>();
    attempt.filled.push(branch);
    for (const value of values) {
      const number = typeof value === 'number' ? value : value.id;
      if (stay.has(number)) continue;
      stay.add(number);
      setChild(branch, value, to(value));
      branch.asked = stay.size;
      // What was made is reachable, so that its rules count although it was not visited yet.
      if (attempt.rules > limits.program.rules || exceeded(ownSize(branch), limits.program)) return false;
    }
    for (const value of [...branch.children.keys()]) if (!stay.has(value)) removeChild(branch, value);
    branch.asked = stay.size;
    branch.filled = true;
    return true;
  };

  const fill = (branch: LiveBranch): boolean => {
    const { node } = branch;
    if (node.level === 2) {
      return fillWith(branch, diagram.protocolsOf(node), (p) => diagram.atProtocol(node, p as number));
    }
    if (node.level > 2) {
      const classes = (node.level === 3 ? dports : sports).of(node.protocol);
      return fillWith(branch, classes, (c) => diagram.atPort(node, (c as PortClass).port));
    }
    const groups = askedGroups(node);
    for (const group of groups) {
      const at = byGroup.get(group);
      if (at === undefined) byGroup.set(group, new Set([branch]));
      else at.add(branch);
    }
    return fillWith(branch, classesOf(groups), (c) => diagram.atClass(node, c as AddressClass));
  };

  const classesOf = function* (groups: Iterable<number>): Iterable<AddressClass> {
    for (const group of groups) yield* addresses.withGroup(group);
  };

  const ownSize = ({ node, children, asked }: LiveBranch): DiagramSize => ({
    rows: children.size,
    rules: node.forms.length,
    questions: (asked + 1) * node.forms.length,
  });

  /** Marks everything that is reachable, filling what is not filled. `too-large` is certain, the opposite is not. */
  const visit = (node: Node): LiveBranch | 'leaf' | 'too-large' => {
    if (node.kind === 'leaf') {
      const leaf = liveLeaf(node);
      if (leaf.mark !== mark) attempt.markedLeaves.push(leaf);
      leaf.mark = mark;
      return 'leaf';
    }
    const branch = liveBranch(node);
    if (branch.mark === mark) return branch;
    branch.mark = mark;
    attempt.marked.push(branch);
    const complete = branch.filled || fill(branch);
    const own = ownSize(branch);
    attempt.size = sum(attempt.size, own);
    if (!complete || exceeded(attempt.size, limits.program)) return 'too-large';
    const visitor = ++visits;
    let { rows: below, rules, questions } = own;
    const under = (child: Node): boolean => {
      const live = visit(child);
      if (live === 'too-large') return false;
      if (live === 'leaf' || live.countedBy === visitor) return true;
      live.countedBy = visitor;
      below += live.below.rows;
      rules += live.below.rules;
      questions += live.below.questions;
      return true;
    };
    if (!under(diagram.fallback(node))) return 'too-large';
    for (const child of branch.children.values()) if (!under(child)) return 'too-large';
    branch.below = { rows: below, rules, questions };
    return branch;
  };

  /** The exact size of what is below a node that was visited. */
  const measure = (root: Node): DiagramSize => {
    let size = NO_SIZE;
    stamp++;
    const go = (node: Node): void => {
      const branch = node.kind === 'leaf' ? undefined : branches.get(node);
      if (branch === undefined || branch.stamp === stamp || exceeded(size, limits.program)) return;
      branch.stamp = stamp;
      size = sum(size, ownSize(branch));
      go(diagram.fallback(branch.node));
      for (const child of branch.children.values()) go(child);
    };
    go(root);
    return size;
  };

  /** Visits a program within its limits, or leaves everything as it was. */
  const visitProgram = (root: Node, before: DiagramSize): TooLarge | undefined => {
    attempt = newAttempt();
    const top = visit(root);
    const certain = top === 'too-large';
    const size = certain
      ? { ...attempt.size, rules: Math.max(attempt.size.rules, attempt.rules) }
      : top !== 'leaf' && exceeded(top.below, limits.program)
        ? measure(root)
        : NO_SIZE;
    const alone = exceeded(size, limits.program);
    const together = exceeded(sum(before, attempt.size), limits.node);
    if (!alone && !together) return undefined;
    undo();
    return { scope: alone ? 'program' : 'node' };
  };

  /** Nothing of the attempt is left: what it made goes, what it filled is empty, what it marked was not reached. */
  const undo = (): void => {
    const { branches: made, leaves: madeLeaves, filled, marked, markedLeaves } = attempt;
    remembered += attempt.rules;
    for (const branch of marked) branch.mark = 0;
    for (const leaf of markedLeaves) leaf.mark = 0;
    for (const branch of filled) {
      for (const value of [...branch.children.keys()]) removeChild(branch, value);
      branch.filled = false;
    }
    for (const branch of made) drop(branch);
    for (const leaf of madeLeaves) dropLeaf(leaf, leaves.get(leaf)!);
  };

  const drop = (branch: LiveBranch): void => {
    for (const value of [...branch.children.keys()]) removeChild(branch, value);
    if (branch.node.level <= 1) {
      for (const group of askedGroups(branch.node)) {
        const at = byGroup.get(group);
        at?.delete(branch);
        if (at?.size === 0) byGroup.delete(group);
      }
    }
    branches.delete(branch.node);
    nodes.delete(branch.id);
    nodeIds.release(branch.id);
  };

  const dropLeaf = (leaf: Leaf, { outcome: { id } }: LiveLeaf): void => {
    leaves.delete(leaf);
    if (id === OUTCOME_OVERFLOW_ALLOW.id || id === OUTCOME_OVERFLOW_DENY.id) overflowing--;
    else {
      outcomes.delete(id);
      outcomeIds.release(id);
    }
  };

  const applyClasses = ({ born, dead }: ClassChanges): void => {
    const asking = (addressClass: AddressClass): readonly LiveBranch[] => [
      ...new Set([...addressClass.groups].flatMap((group) => [...(byGroup.get(group) ?? [])])),
    ];
    let touched = 0;
    for (const { groups } of [...born, ...dead]) {
      for (const group of groups) touched += byGroup.get(group)?.size ?? 0;
    }
    if (touched > TOUCHED_MAX) {
      for (const addressClass of [...born, ...dead]) {
        for (const group of addressClass.groups) {
          for (const branch of byGroup.get(group) ?? []) branch.filled = false;
        }
      }
      return;
    }
    for (const addressClass of dead) {
      for (const branch of asking(addressClass)) {
        removeChild(branch, addressClass.id);
        branch.asked--;
      }
    }
    for (const addressClass of born) {
      for (const branch of asking(addressClass)) {
        setChild(branch, addressClass, diagram.atClass(branch.node, addressClass));
        branch.asked++;
      }
    }
  };

  const applyPorts = (changed: PortsChanged): void => {
    if (changed.dport.size === 0 && changed.sport.size === 0) return;
    for (const branch of [...branches.values()]) {
      const { level, protocol } = branch.node;
      if (level < 3 || !branch.filled) continue;
      const changes = (level === 3 ? changed.dport : changed.sport).get(protocol);
      if (changes === undefined) continue;
      for (const id of changes.dead) removeChild(branch, id);
      for (const portClass of changes.born)
        setChild(branch, portClass, diagram.atPort(branch.node, portClass.port));
      branch.asked += changes.born.length - changes.dead.length;
    }
  };

  const forget = (keep: readonly Node[]): void => {
    remembered = 0;
    diagram.forget(new Set<Node>([...branches.keys(), ...leaves.keys(), ...keep]));
  };

  const visitPrograms = (programs: readonly ProgramRoot[]): ReadonlyMap<Node, TooLarge> => {
    const refused = new Map<Node, TooLarge>();
    let size = NO_SIZE;
    for (const { node, instead } of programs) {
      if (refused.has(node)) continue;
      const before = refusals.get(node);
      const still = before?.scope === 'program' && before.losses === losses;
      const tooLarge = still ? before : visitProgram(node, size);
      if (tooLarge === undefined) {
        size = sum(size, attempt.size);
        continue;
      }
      refusals.set(node, { ...tooLarge, losses });
      refused.set(node, tooLarge);
      attempt = newAttempt();
      visit(instead);
      if (remembered > 4 * limits.program.rules)
        forget(programs.flatMap((program) => [program.node, program.instead]));
    }
    return refused;
  };

  return {
    params,
    outcomes,
    nodes,
    get overflowing() {
      return overflowing;
    },
    update(programs, also, classes, portsChanged) {
      mark++;
      losses += classes.dead.length + portsChanged.dport.size + portsChanged.sport.size;
      attempt = newAttempt();
      applyClasses(classes);
      applyPorts(portsChanged);
      const refused = visitPrograms(programs);
      let kept = true;
      let size = NO_SIZE;
      for (const root of also) {
        kept &&= visitProgram(root, size) === undefined;
        size = sum(size, attempt.size);
      }
      for (const branch of [...branches.values()]) if (branch.mark !== mark) drop(branch);
      for (const [leaf, live] of leaves) if (live.mark !== mark) dropLeaf(leaf, live);
      if (overflowing === 0) {
        outcomes.delete(OUTCOME_OVERFLOW_ALLOW.id);
        outcomes.delete(OUTCOME_OVERFLOW_DENY.id);
      }
      if (diagram.size > 4 * (branches.size + leaves.size) + 50_000) {
        forget([...refused.keys()]);
      }
      attempt = newAttempt();
      return { refused, also: kept };
    },
  };
}

/** What the visit of one program changed. */
interface Attempt {
  readonly branches: LiveBranch[];
  readonly leaves: Leaf[];
  readonly filled: LiveBranch[];
  readonly marked: LiveBranch[];
  readonly markedLeaves: LiveLeaf[];
  /** Of what was marked. */
  size: DiagramSize;
  /** Undecided rules of the branches that it made. */
  rules: number;
}

function newAttempt(): Attempt {
  return { branches: [], leaves: [], filled: [], marked: [], markedLeaves: [], size: NO_SIZE, rules: 0 };
}

function sum(a: DiagramSize, b: DiagramSize): DiagramSize {
  return { rows: a.rows + b.rows, rules: a.rules + b.rules, questions: a.questions + b.questions };
}

/** IPv4 is what the fallback stands for; a branch that asks for a family has rows for the other one. */
function askedGroups(node: Branch): ReadonlySet<number> {
  if (!node.groups.has(FAMILY_4) && !node.groups.has(FAMILY_6)) return node.groups;
  const out = new Set(node.groups);
  out.delete(FAMILY_4);
  out.add(FAMILY_6);
  return out;
}

import type { MatchValue, Row } from '../rows';
import { keyedRow } from '../rows';
import type { AddressClass, AddressClasses, ClassChanges } from './address-classes';
import type { BranchValue, Signature, SignatureKey } from './branch-values';
import {
  labelsValue,
  portQuestions,
  protocolValues,
  rangeValues,
  signatureOf,
  signaturesOf,
  singleValues,
} from './branch-values';
import type { Branch, Diagram, Leaf, Node } from './diagram';
import { stepsOf } from './diagram';
import type { IdSpace } from './ids';
import { intervalSetsOf } from './conditions';
import type { Intervals, IntervalSet } from './intervals';
import type { Outcome } from './outcomes';
import { leafId, OUTCOME_MISS, OUTCOME_OVERFLOW_ALLOW, OUTCOME_OVERFLOW_DENY } from './outcomes';
import type { Page } from './pages';
import type { PortLabels, PortMask } from './port-labels';
import type { RowStore } from './row-store';
import type { DiagramSize, SizeLimits } from './size-limits';
import { exceeded, NO_SIZE } from './size-limits';
import { wordsOf } from './words';

/**
 * The diagrams as rows of the step tables. A row is `(node, value) -> next node and its chain of fallbacks`; it never changes,
 * it only comes and goes. Nodes and outcomes have a number as long as they are in use.
 */
export interface NodeRows {
  /**
   * Makes the rows those of everything that is reachable from the programs' roots, in their order: one that is too large, alone or
   * with those before it, is left out, and its `instead` taken. Then those of `also`, all or none of them.
   * `classes` are what changed by page; the ports' labels must be updated after this.
   */
  update(
    programs: readonly ProgramRoot[],
    also: readonly Node[],
    classes: ReadonlyMap<number, ClassChanges>,
  ): UpdateResult;
  /** Forgets what no row comes of. Returns the sets of ports that are still in use. */
  forget(): Iterable<IntervalSet>;
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

/** What packets can bring: labels of addresses, by page, and of ports. */
export interface Values {
  readonly page: (number: number) => { readonly page: Page; readonly classes: AddressClasses };
  readonly dport: PortLabels;
  readonly sport: PortLabels;
  readonly intervals: Intervals;
}

const LEVELS = 5;
const PARAM_NAMES = ['node', 'd1', 'd2', 'd3', 'd4', 'd5'] as const;

const MASK_TABLES = ['src_mask', 'dst_mask', undefined, 'dport_mask', 'sport_mask'] as const;
const MASK_ACTIONS = ['ask_src', 'ask_dst', undefined, 'ask_dport', 'ask_sport'] as const;

/** Questions of branches that may be looked at again because classes changed; when it would be more, the branches are filled anew. */
const TOUCHED_MAX = 100_000;

interface LiveBranch {
  readonly node: Branch;
  readonly id: number;
  readonly match: MatchValue;
  /** Where values with a row lead, by the row's key. */
  readonly children: Map<string, Node>;
  /** Address levels. */
  signatures: Map<SignatureKey, Signature>;
  /** Port levels, once filled. */
  ports: PortMask | undefined;
  /** By the level above which a row stands that leads here. */
  readonly params: (Readonly<Record<string, bigint>> | undefined)[];
  /** False: rows may be missing, or too many. */
  filled: boolean;
  /** How many values the branch was asked for. */
  asked: number;
  /** When its children last changed. */
  changed: number;
  mark: number;
  /** Of the branch and everything below it; what is reached twice may be counted twice. */
  below: DiagramSize;
  /** Which visit counted this one last. */
  countedBy: number;
  stamp: number;
}

interface Closure {
  readonly at: number;
  readonly branches: readonly LiveBranch[];
  readonly leaves: readonly LiveLeaf[];
}

interface LiveLeaf {
  /** True once nothing leads to it any more. */
  dropped: boolean;
  readonly outcome: Outcome;
  readonly params: (Readonly<Record<string, bigint>> | undefined)[];
  mark: number;
}

export function createNodeRows(
  diagram: Diagram,
  rows: RowStore,
  values: Values,
  nodeIds: IdSpace,
  outcomeIds: IdSpace,
  limits: SizeLimits,
): NodeRows {
  const branches = new Map<Branch, LiveBranch>();
  const leaves = new Map<Leaf, LiveLeaf>();
  const nodes = new Map<number, Branch>();
  const outcomes = new Map<number, Outcome>([[OUTCOME_MISS.id, OUTCOME_MISS]]);
  /** Branches of the two address levels, by page and by the labels that they ask for. */
  const asking = new Map<string, Set<LiveBranch>>();
  let overflowing = 0;
  let mark = 0;
  let stamp = 0;
  let visits = 0;
  let clock = 0;
  /** By root, everything below it, as it was when it was last looked at. */
  /** The last update, if all that it was asked for is there. */
  let last: { readonly programs: readonly ProgramRoot[]; readonly clock: number } | undefined;
  const closures = new WeakMap<Node, Closure>();
  /** Undecided rules in nodes that the diagram remembers of programs that were left out. */
  let remembered = 0;
  let attempt = newAttempt();
  /** Classes that went so far: what has only grown since it was too large still is. */
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
        signatures: new Map(),
        ports: undefined,
        params: [],
        filled: false,
        asked: 0,
        changed: ++clock,
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
      found = { outcome, params: [], mark: 0, dropped: false };
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

  const keyOf = (branch: LiveBranch, { table, keyText }: BranchValue): string =>
    // As rowKey would make it: the other fields come after `node` in the alphabet.
    `${table}|node=${branch.id.toString(16)},${keyText}|0`;

  const setChild = (branch: LiveBranch, key: string, value: BranchValue): void => {
    const { table, action, fields, child } = value;
    if (branch.children.get(key) === child) return;
    branch.changed = ++clock;
    branch.children.set(key, child);
    const match = { node: branch.match, ...fields };
    const row = { table, match, action, params: params(child, branch.node.level + 1) };
    rows.set(key, keyedRow(key, row));
  };

  const removeChild = (branch: LiveBranch, key: string): void => {
    if (!branch.children.delete(key)) return;
    branch.changed = ++clock;
    rows.delete(key);
  };

  /** Single ports are asked before the ranges, and so have a row even where they lead to the fallback. */
  const needsRow = (branch: LiveBranch, { table, child }: BranchValue): boolean =>
    table === 'step_dport' || table === 'step_sport' || child !== diagram.fallback(branch.node);

  /** False when the branch alone has too many rows: then it is not filled. */
  const fillWith = (branch: LiveBranch, wanted: Iterable<BranchValue>): boolean => {
    const stay = new Set<string>();
    attempt.filled.push(branch);
    branch.asked = 0;
    for (const value of wanted) {
      branch.asked++;
      if (needsRow(branch, value)) {
        const key = keyOf(branch, value);
        stay.add(key);
        setChild(branch, key, value);
      }
      // What was made is reachable, so that its rules count although it was not visited yet.
      if (attempt.rules > limits.program.rules || exceeded(ownSize(branch), limits.program)) return false;
    }
    for (const key of [...branch.children.keys()]) if (!stay.has(key)) removeChild(branch, key);
    branch.filled = true;
    return true;
  };

  const fill = (branch: LiveBranch): boolean => {
    const { node } = branch;
    switch (node.level) {
      case 0:
      case 1: {
        const { page, classes } = values.page(node.page);
        branch.signatures = signaturesOf(node, classes);
        askFor(branch, page);
        const found = branch.signatures.values();
        return fillWith(
          branch,
          mapped(found, (signature) => labelsValue(diagram, node, page, signature)),
        );
      }
      case 2:
        return fillWith(branch, protocolValues(diagram, node));
      case 3:
      case 4:
        return fillPorts(branch, node.level);
    }
  };

  const fillPorts = (branch: LiveBranch, level: 3 | 4): boolean => {
    const { node } = branch;
    const questions = portQuestions(diagram, values.intervals, node);
    if (questions.sets.length === 0) return fillWith(branch, singleValues(level, questions));
    branch.ports ??= values[level === 3 ? 'dport' : 'sport'].take(node.protocol, questions.sets);
    const { ports } = branch;
    setMask(branch, { page: BigInt(ports.page), ...ports.words(ports.sets.keys()) });
    return fillWith(branch, [...singleValues(level, questions), ...rangeValues(level, questions, ports)]);
  };

  const maskKey = ({ id, node: { level } }: LiveBranch): string =>
    `${MASK_TABLES[level]}|node=${id.toString(16)}|0`;

  const setMask = (branch: LiveBranch, params: Row['params']): void => {
    const key = maskKey(branch);
    // A branch is what it asks: its mask never changes.
    if (rows.rows.has(key)) return;
    const { level } = branch.node;
    const row: Row = {
      table: MASK_TABLES[level]!,
      match: { node: branch.match },
      action: MASK_ACTIONS[level]!,
      params,
    };
    rows.set(key, keyedRow(key, row));
  };

  /** The branch's mask. A branch without labels leads to one child only, its fallback, and needs none. */
  const askFor = (branch: LiveBranch, page: Page): void => {
    const { node } = branch;
    if (node.labels.length === 0) return;
    for (const label of node.labels) {
      const key = askKey(node.page, label);
      const at = asking.get(key);
      if (at === undefined) asking.set(key, new Set([branch]));
      else at.add(branch);
    }
    setMask(branch, wordsOf(page, node.labels));
  };

  const stopAsking = (branch: LiveBranch): void => {
    const { node } = branch;
    for (const label of node.labels) {
      const key = askKey(node.page, label);
      const at = asking.get(key);
      at?.delete(branch);
      if (at?.size === 0) asking.delete(key);
    }
    if (branch.ports !== undefined) values[node.level === 3 ? 'dport' : 'sport'].release(branch.ports);
    branch.ports = undefined;
    if (MASK_TABLES[node.level] !== undefined) rows.delete(maskKey(branch));
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

  /** Marks what is reachable from a root where nothing changed since it was last found to be within the limits. */
  const visitUnchanged = (root: Node): boolean => {
    const closure = closures.get(root);
    if (closure === undefined) return false;
    for (const leaf of closure.leaves) if (leaf.dropped) return false;
    for (const branch of closure.branches) if (branch.changed > closure.at) return false;
    for (const branch of closure.branches) {
      if (branch.mark === mark) continue;
      branch.mark = mark;
      attempt.marked.push(branch);
      attempt.size = sum(attempt.size, ownSize(branch));
    }
    for (const leaf of closure.leaves) {
      if (leaf.mark === mark) continue;
      leaf.mark = mark;
      attempt.markedLeaves.push(leaf);
    }
    return true;
  };

  /** Everything below a root that was visited. */
  const closureOf = (root: Node): Closure => {
    const found = new Set<LiveBranch>();
    const ends = new Set<LiveLeaf>();
    const go = (node: Node): void => {
      if (node.kind === 'leaf') {
        ends.add(liveLeaf(node));
        return;
      }
      const branch = liveBranch(node);
      if (found.has(branch)) return;
      found.add(branch);
      go(diagram.fallback(node));
      for (const child of branch.children.values()) go(child);
    };
    go(root);
    return { at: clock, branches: [...found], leaves: [...ends] };
  };

  /** Visits a program within its limits, or leaves everything as it was. */
  const visitProgram = (root: Node, before: DiagramSize): TooLarge | undefined => {
    attempt = newAttempt();
    if (visitUnchanged(root)) {
      if (!exceeded(sum(before, attempt.size), limits.node)) return undefined;
      undo();
      return { scope: 'node' };
    }
    const top = visit(root);
    const certain = top === 'too-large';
    const size = certain
      ? { ...attempt.size, rules: Math.max(attempt.size.rules, attempt.rules) }
      : top !== 'leaf' && exceeded(top.below, limits.program)
        ? measure(root)
        : NO_SIZE;
    const alone = exceeded(size, limits.program);
    const together = exceeded(sum(before, attempt.size), limits.node);
    if (!alone && !together) {
      closures.set(root, closureOf(root));
      return undefined;
    }
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
      for (const key of [...branch.children.keys()]) removeChild(branch, key);
      branch.filled = false;
      branch.changed = ++clock;
    }
    for (const branch of made) drop(branch);
    for (const leaf of madeLeaves) dropLeaf(leaf, leaves.get(leaf)!);
  };

  const drop = (branch: LiveBranch): void => {
    branch.changed = ++clock;
    for (const key of [...branch.children.keys()]) removeChild(branch, key);
    stopAsking(branch);
    branches.delete(branch.node);
    nodes.delete(branch.id);
    nodeIds.release(branch.id);
  };

  const dropLeaf = (leaf: Leaf, live: LiveLeaf): void => {
    const { id } = live.outcome;
    live.dropped = true;
    clock++;
    leaves.delete(leaf);
    if (id === OUTCOME_OVERFLOW_ALLOW.id || id === OUTCOME_OVERFLOW_DENY.id) overflowing--;
    else {
      outcomes.delete(id);
      outcomeIds.release(id);
    }
  };

  /** Filled branches that tell the class from one without labels. */
  const askedAbout = (page: number, addressClass: AddressClass): ReadonlySet<LiveBranch> => {
    const found = new Set<LiveBranch>();
    for (const label of addressClass.labels) {
      for (const branch of asking.get(askKey(page, label)) ?? []) if (branch.filled) found.add(branch);
    }
    return found;
  };

  const applyClasses = (number: number, { born, dead }: ClassChanges): void => {
    let touched = 0;
    for (const { labels } of [...born, ...dead]) {
      for (const label of labels) touched += asking.get(askKey(number, label))?.size ?? 0;
    }
    if (touched > TOUCHED_MAX) {
      for (const addressClass of [...born, ...dead]) {
        for (const branch of askedAbout(number, addressClass)) {
          branch.filled = false;
          branch.changed = ++clock;
        }
      }
      return;
    }
    const { page } = values.page(number);
    for (const like of born) {
      for (const branch of askedAbout(number, like)) {
        const key = signatureOf(branch.node, like);
        const known = branch.signatures.get(key);
        if (known !== undefined) {
          known.count++;
          continue;
        }
        const signature = { key, like, count: 1 };
        branch.signatures.set(key, signature);
        branch.asked++;
        const value = labelsValue(diagram, branch.node, page, signature);
        if (needsRow(branch, value)) setChild(branch, keyOf(branch, value), value);
      }
    }
    for (const like of dead) {
      for (const branch of askedAbout(number, like)) {
        const signature = branch.signatures.get(signatureOf(branch.node, like));
        if (signature === undefined || --signature.count > 0) continue;
        branch.signatures.delete(signature.key);
        branch.asked--;
        removeChild(branch, keyOf(branch, labelsValue(diagram, branch.node, page, signature)));
      }
    }
  };

  const forget = (keep: readonly Node[]): void => {
    remembered = 0;
    diagram.forget(new Set<Node>([...branches.keys(), ...leaves.keys(), ...keep]));
  };

  const setsInUse = function* (): Iterable<IntervalSet> {
    for (const { node, ports } of branches.values()) {
      for (const form of node.forms) yield* intervalSetsOf(form);
      if (ports !== undefined) yield* ports.sets;
    }
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
    forget() {
      forget([]);
      return setsInUse();
    },
    params,
    outcomes,
    nodes,
    get overflowing() {
      return overflowing;
    },
    update(programs, also, classes) {
      const clockBefore = clock;
      attempt = newAttempt();
      for (const [page, changes] of classes) {
        losses += changes.dead.length;
        applyClasses(page, changes);
      }
      // Nothing that was reachable has changed, and the roots are the same: nothing else can be reachable.
      const same =
        clock === clockBefore &&
        also.length === 0 &&
        last?.clock === clockBefore &&
        last.programs.length === programs.length &&
        programs.every((program, i) => program.node === last!.programs[i]!.node);
      if (same) return { refused: new Map(), also: true };
      mark++;
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
      if (diagram.size > 4 * (branches.size + leaves.size) + 2_000) {
        forget([...refused.keys()]);
      }
      attempt = newAttempt();
      last = refused.size === 0 && also.length === 0 ? { programs, clock } : undefined;
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

function askKey(page: number, label: number): string {
  return `${page}/${label}`;
}

function* mapped<T, U>(items: Iterable<T>, to: (item: T) => U): Iterable<U> {
  for (const item of items) yield to(item);
}

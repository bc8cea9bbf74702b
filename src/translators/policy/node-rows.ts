import type { MatchValue, Row } from '../rows';
import type { AddressClass, AddressClasses, ClassChanges } from './address-classes';
import type { Branch, Diagram, Leaf, Node } from './diagram';
import { stepsOf } from './diagram';
import type { IdSpace } from './ids';
import { FAMILY_4, FAMILY_6 } from './labels';
import type { Outcome } from './outcomes';
import { leafId, OUTCOME_MISS, OUTCOME_OVERFLOW_ALLOW, OUTCOME_OVERFLOW_DENY } from './outcomes';
import type { PortClass, PortClasses } from './port-classes';
import type { RowStore } from './row-store';

/**
 * The diagrams as rows of the step tables. A row is `(node, value) -> next node and its chain of fallbacks`; it never changes,
 * it only comes and goes. Nodes and outcomes have a number as long as they are in use.
 */
export interface NodeRows {
  /**
   * Makes the rows those of everything that is reachable from `roots`. Call after the classes were updated.
   * `portsChanged` are the protocols whose port classes changed.
   */
  update(roots: Iterable<Node>, classes: ClassChanges, portsChanged: PortsChanged): void;
  /** The parameters of an action that leads to `node` from above `level`: node, d1, … */
  params(node: Node, level: number): Readonly<Record<string, bigint>>;
  /** Outcomes in use, by id. */
  readonly outcomes: ReadonlyMap<number, Outcome>;
  /** Branches in use, by id. */
  readonly nodes: ReadonlyMap<number, Branch>;
  /** How many leaves share an overflow outcome. */
  readonly overflowing: number;
}

export interface PortsChanged {
  readonly dport: ReadonlySet<number>;
  readonly sport: ReadonlySet<number>;
}

const LEVELS = 5;
const TABLES = ['step_src', 'step_dst', 'step_proto', 'step_dport', 'step_sport'] as const;
const ACTIONS = ['src_next', 'dst_next', 'proto_next', 'dport_next', 'sport_next'] as const;
const PARAM_NAMES = ['node', 'd1', 'd2', 'd3', 'd4', 'd5'] as const;

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
  filled: boolean;
  mark: number;
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
): NodeRows {
  const branches = new Map<Branch, LiveBranch>();
  const leaves = new Map<Leaf, LiveLeaf>();
  const nodes = new Map<number, Branch>();
  const outcomes = new Map<number, Outcome>([[OUTCOME_MISS.id, OUTCOME_MISS]]);
  /** Filled branches of the two address levels, by the groups they ask for. */
  const byGroup = new Map<number, Set<LiveBranch>>();
  let overflowing = 0;
  let mark = 0;

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
        mark: 0,
      };
      branches.set(node, found);
      nodes.set(id, node);
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
    const row: Row = {
      table: TABLES[level],
      match: { node: branch.match, value: match },
      action: ACTIONS[level],
      params: params(child, level + 1),
    };
    rows.set(keyOf(branch, number), row);
  };

  const removeChild = (branch: LiveBranch, value: number): void => {
    if (branch.children.delete(value)) rows.delete(keyOf(branch, value));
  };

  const fillPorts = (branch: LiveBranch): void => {
    const { node } = branch;
    const classes = (node.level === 3 ? dports : sports).of(node.protocol);
    const stay = new Set<number>();
    for (const portClass of classes) {
      stay.add(portClass.id);
      setChild(branch, portClass, diagram.atPort(node, portClass.port));
    }
    for (const value of [...branch.children.keys()]) if (!stay.has(value)) removeChild(branch, value);
  };

  const fill = (branch: LiveBranch): void => {
    const { node } = branch;
    branch.filled = true;
    if (node.level === 2) {
      for (const p of diagram.protocolsOf(node)) setChild(branch, p, diagram.atProtocol(node, p));
    } else if (node.level > 2) fillPorts(branch);
    else {
      const seen = new Set<AddressClass>();
      for (const group of askedGroups(node)) {
        let at = byGroup.get(group);
        if (at === undefined) {
          at = new Set();
          byGroup.set(group, at);
        }
        at.add(branch);
        for (const addressClass of addresses.withGroup(group)) {
          if (seen.has(addressClass)) continue;
          seen.add(addressClass);
          setChild(branch, addressClass, diagram.atClass(node, addressClass));
        }
      }
    }
  };

  const visit = (node: Node): void => {
    if (node.kind === 'leaf') {
      liveLeaf(node).mark = mark;
      return;
    }
    const branch = liveBranch(node);
    if (branch.mark === mark) return;
    branch.mark = mark;
    if (!branch.filled) fill(branch);
    visit(diagram.fallback(node));
    for (const child of branch.children.values()) visit(child);
  };

  const drop = (branch: LiveBranch): void => {
    for (const value of [...branch.children.keys()]) removeChild(branch, value);
    if (branch.filled && branch.node.level <= 1) {
      for (const group of askedGroups(branch.node)) {
        const at = byGroup.get(group)!;
        at.delete(branch);
        if (at.size === 0) byGroup.delete(group);
      }
    }
    branches.delete(branch.node);
    nodes.delete(branch.id);
    nodeIds.release(branch.id);
  };

  const applyClasses = ({ born, dead }: ClassChanges): void => {
    for (const addressClass of dead) {
      for (const group of addressClass.groups) {
        for (const branch of byGroup.get(group) ?? []) removeChild(branch, addressClass.id);
      }
    }
    for (const addressClass of born) {
      const seen = new Set<LiveBranch>();
      for (const group of addressClass.groups) {
        for (const branch of byGroup.get(group) ?? []) {
          if (seen.has(branch)) continue;
          seen.add(branch);
          setChild(branch, addressClass, diagram.atClass(branch.node, addressClass));
        }
      }
    }
  };

  return {
    params,
    outcomes,
    nodes,
    get overflowing() {
      return overflowing;
    },
    update(roots, classes, portsChanged) {
      mark++;
      applyClasses(classes);
      for (const branch of branches.values()) {
        const { level, protocol } = branch.node;
        if (!branch.filled || level < 3) continue;
        if ((level === 3 ? portsChanged.dport : portsChanged.sport).has(protocol)) fillPorts(branch);
      }
      for (const root of roots) visit(root);
      for (const branch of [...branches.values()]) if (branch.mark !== mark) drop(branch);
      for (const [leaf, live] of leaves) {
        if (live.mark === mark) continue;
        leaves.delete(leaf);
        const { id } = live.outcome;
        if (id === OUTCOME_OVERFLOW_ALLOW.id || id === OUTCOME_OVERFLOW_DENY.id) overflowing--;
        else {
          outcomes.delete(id);
          outcomeIds.release(id);
        }
      }
      if (overflowing === 0) {
        outcomes.delete(OUTCOME_OVERFLOW_ALLOW.id);
        outcomes.delete(OUTCOME_OVERFLOW_DENY.id);
      }
      if (diagram.size > 4 * (branches.size + leaves.size) + 50_000) {
        diagram.forget(new Set<Node>([...branches.keys(), ...leaves.keys()]));
      }
    },
  };
}

/** IPv4 is what the fallback stands for; a branch that asks for a family has rows for the other one. */
function askedGroups(node: Branch): ReadonlySet<number> {
  if (!node.groups.has(FAMILY_4) && !node.groups.has(FAMILY_6)) return node.groups;
  const out = new Set(node.groups);
  out.delete(FAMILY_4);
  out.add(FAMILY_6);
  return out;
}

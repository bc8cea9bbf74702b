import { CalicoP4Error } from '../../errors';
import type { AddressView, Forms } from './forms';
import { holds } from './forms';
import type { Intervals, IntervalSet } from './intervals';
import { contains, PORT_MAX } from './intervals';
import { FAMILY_4, FAMILY_6 } from './labels';
import type { Action, Step, Verdict } from './outcomes';
import type { AnyForm, DportForm, DstForm, Hit, ProtoForm, SportForm, SrcForm } from './rule-form';

/**
 * The decision diagram: what is left of a program once the packet's source class is known, then its destination class,
 * its protocol, the class of its destination port, of its source port.
 *
 *      ┌────────┐ class 7  ┌────────┐ proto 6  ┌──────────┐ class 3 ┌───────────┐
 *      │ 0 src  ├─────────►│ 1 dst  ├─────────►│ 3 dport  ├────────►│ leaf allow│
 *      └───┬────┘          └───┬────┘          └────┬─────┘         └───────────┘
 *          └ fallback ► …      └ fallback ► …       └ fallback ► …
 *
 * A branch *is* its undecided rules, never its present rows: a class that appears later adds a row and changes nothing else.
 */
export type Node = Leaf | Branch;

export interface Leaf {
  readonly kind: 'leaf';
  readonly verdict: Verdict;
  /** What the packet hit, the deciding one first. */
  readonly hits: HitList;
}

/** What a leaf's packet hit, in order. */
export function stepsOf(leaf: Leaf): readonly Step[] {
  const steps: Step[] = [];
  for (let at: HitList | null = leaf.hits; at !== null; at = at.before) steps.unshift(at.hit.step);
  return steps;
}

/** 0 source, 1 destination, 2 protocol, 3 destination port, 4 source port. */
export type Level = 0 | 1 | 2 | 3 | 4;

export interface Branch {
  readonly kind: 'branch';
  readonly level: Level;
  /** Levels 3 and 4: the packet's protocol, since port classes are per protocol. 0 above. */
  readonly protocol: number;
  /** What the packet has hit already, last first. */
  readonly hits: HitList | null;
  /** The undecided rules in order; `tiers` says which belong together for a pass. */
  readonly forms: readonly AnyForm[];
  readonly tiers: readonly number[];
  /** Levels 0 and 1: the page that gives labels their bits; 0 below. */
  readonly page: number;
  /**
   * Levels 0 and 1: the labels that some rule asks for at this level, sorted. A set of ports that gets a port which it never had
   * makes another branch.
   */
  readonly labels: readonly number[];
  readonly labelSet: ReadonlySet<number>;
}

export interface HitList {
  readonly id: number;
  readonly hit: Hit;
  readonly before: HitList | null;
}

/** An address class. */
export interface LabelledView extends AddressView {
  /** Sorted. */
  readonly labels: readonly number[];
}

export interface ProgramRule {
  readonly form: SrcForm;
  /** Rules of one tier have the same number, and stand together. */
  readonly tier: number;
}

export interface Diagram {
  /** The program must end in a rule that always matches and decides. `page` is where its labels have their bits. */
  root(program: readonly ProgramRule[], page: number): Node;
  /**
   * Where a value without a row leads. It depends on the branch alone: for an address, what an IPv4 address without any label
   * gives; for a protocol, what one gives that no rule names; for a port, what one gives that is in the large port sets
   * (more than half of all ports) and in none of the small ones. What does not fit it, IPv6 say, has rows.
   */
  fallback(branch: Branch): Node;
  /** Depends on the labels of the address that the branch asks for, and on nothing else. */
  atClass(branch: Branch, view: LabelledView): Node;
  atProtocol(branch: Branch, protocol: number): Node;
  /** Protocols that may lead elsewhere than the fallback. */
  protocolsOf(branch: Branch): readonly number[];
  atPort(branch: Branch, port: number): Node;
  /** Port sets that the branch asks for. */
  portSetsOf(branch: Branch): readonly IntervalSet[];
  /** Forgets what is neither kept nor reachable from it at once, when there is a lot of it. */
  forget(keep: ReadonlySet<Node>): void;
  /** Branches and leaves remembered. */
  readonly size: number;
}

interface AskedLabels {
  readonly labels: readonly number[];
  /** Those of IP_AND_PORT sets, here and at the destination's level: what is below follows from the branch. */
  readonly slices: readonly number[];
}

const NO_LABELS: AskedLabels = { labels: [], slices: [] };

const PLAIN_IPV4: LabelledView = {
  labels: [FAMILY_4],
  has: (label) => label === FAMILY_4,
  slices: () => [],
};

/**
 * `labelsOf` gives the labels of a group, sorted: of an IP_AND_PORT set's group one for each (protocol, port) that it has now, of
 * any other group the group itself.
 */
export function createDiagram(
  forms: Forms,
  intervals: Intervals,
  labelsOf: (group: number) => readonly number[],
): Diagram {
  let nodes = new Map<string, Node>();
  let hitLists = new Map<string, HitList>();
  let lastHitList = 0;
  let children = new WeakMap<Branch, Map<string, Node>>();
  /** Every row of a branch is compared with it. */
  let fallbacks = new WeakMap<Branch, Node>();
  const keys = new WeakMap<Node, string>();

  const push = (before: HitList | null, hit: Hit): HitList => {
    const key = `${before?.id ?? 0}:${hit.id}`;
    let list = hitLists.get(key);
    if (list === undefined) {
      list = { id: ++lastHitList, hit, before };
      hitLists.set(key, list);
    }
    return list;
  };

  const leaf = (hits: HitList): Leaf => {
    const key = `L${hits.id}`;
    const known = nodes.get(key);
    if (known?.kind === 'leaf') return known;
    const made: Leaf = { kind: 'leaf', verdict: hits.hit.action === 'allow' ? 'allow' : 'deny', hits };
    nodes.set(key, made);
    keys.set(made, key);
    return made;
  };

  /**
   * Takes from each rule the ports that an earlier rule takes for certain, so that programs which differ only in what no packet
   * reaches come to the same node.
   */
  const unshadowed = (left: readonly DportForm[], tiers: readonly number[]): [DportForm[], number[]] => {
    const out: DportForm[] = [];
    const outTiers: number[] = [];
    const { empty, full } = intervals;
    /** Ports of which every packet has its verdict. */
    let decided = empty;
    /** Ports of which every packet, or some, has passed the rest of the tier. */
    let passed = empty;
    let maybePassed = empty;
    left.forEach((form, i) => {
      if (tiers[i] !== tiers[i - 1]) passed = maybePassed = empty;
      const reached = forms.without(form, intervals.union(decided, passed));
      // The last word stays, for values that stand for no port at all.
      if (reached === undefined && i < left.length - 1) return;
      out.push(form.certain || reached === undefined ? form : reached);
      outTiers.push(tiers[i]!);
      if (reached === undefined) return;
      if (form.hit.action === 'log') return;
      if (form.hit.action === 'pass') {
        maybePassed = intervals.union(maybePassed, reached.dports);
        if (form.sports === full) passed = intervals.union(passed, reached.dports);
      } else if (form.sports === full) {
        decided = intervals.union(
          decided,
          intervals.intersect(reached.dports, intervals.complement(maybePassed)),
        );
      }
    });
    return [out, outTiers];
  };

  /** Takes what is certain, cuts what can not be reached, and finds the first level that matters. */
  const settle = (
    page: number,
    level: number,
    protocol: number,
    hits: HitList | null,
    left: readonly AnyForm[],
    leftTiers: readonly number[],
  ): Node => {
    let out: AnyForm[] = [];
    const tiers: number[] = [];
    for (let i = 0; i < left.length; i++) {
      const form = left[i]!;
      const { action } = form.hit;
      if (!form.certain) {
        out.push(form);
        tiers.push(leftTiers[i]!);
        continue;
      }
      if (out.length === 0) {
        hits = push(hits, form.hit);
        if (action === 'allow' || action === 'deny') return leaf(hits);
      } else {
        out.push(form);
        tiers.push(leftTiers[i]!);
        if (endsProgram(action, out, tiers)) break;
      }
      if (action !== 'log') while (i + 1 < left.length && leftTiers[i + 1] === leftTiers[i]) i++;
    }
    if (out.length === 0)
      throw new CalicoP4Error('POLICY_INVALID', 'a program ends without a verdict: this is a bug');
    while (!out.some((form) => form.asks)) {
      out = out.map(unasked);
      level++;
    }
    return branch(level <= 1 ? page : 0, level as Level, level >= 3 ? protocol : 0, hits, out, tiers);
  };

  const unasked = (form: AnyForm): AnyForm => {
    switch (form.level) {
      case 0:
        return form.next!;
      case 1:
        return form.next!;
      case 3:
        return forms.afterDport(form);
      default:
        // Below the protocol a form that asks nothing is certain, and a program ends in a certain one.
        throw new CalicoP4Error('POLICY_INVALID', 'a diagram asks nothing and has no verdict: this is a bug');
    }
  };

  const branch = (
    page: number,
    level: Level,
    protocol: number,
    hits: HitList | null,
    left: readonly AnyForm[],
    tiers: readonly number[],
  ): Branch => {
    // A pass is the form and how many rules it skips; other rules do not depend on their tier.
    const parts = left.map((form, i) => {
      if (form.hit.action !== 'pass') return String(form.id);
      let end = i + 1;
      while (end < left.length && tiers[end] === tiers[i]) end++;
      return `${form.id}+${end - i - 1}`;
    });
    // The labels follow from the rules, but for those of ports.
    const { labels, slices } = level <= 1 ? askedLabels(left as readonly (SrcForm | DstForm)[]) : NO_LABELS;
    const key = `${page}/${level}.${protocol}.${hits?.id ?? 0}|${parts.join(',')}|${slices.join(',')}`;
    const known = nodes.get(key);
    if (known?.kind === 'branch') return known;
    const labelSet = new Set(labels);
    const made: Branch = {
      kind: 'branch',
      page,
      level,
      protocol,
      hits,
      forms: left,
      tiers,
      labels,
      labelSet,
    };
    nodes.set(key, made);
    keys.set(made, key);
    return made;
  };

  /** The child under a signature: everything of the value that the branch can tell. */
  const child = (
    node: Branch,
    signature: string,
    protocol: number,
    next: (form: AnyForm) => AnyForm | undefined,
  ): Node => {
    let known = children.get(node);
    if (known === undefined) {
      known = new Map();
      children.set(node, known);
    }
    let found = known.get(signature);
    if (found === undefined) {
      const left: AnyForm[] = [];
      const tiers: number[] = [];
      node.forms.forEach((form, i) => {
        const after = next(form);
        if (after === undefined) return;
        left.push(after);
        tiers.push(node.tiers[i]!);
      });
      found =
        node.level === 2
          ? settle(0, 3, protocol, node.hits, ...unshadowed(left as readonly DportForm[], tiers))
          : settle(node.page, node.level + 1, protocol, node.hits, left, tiers);
      known.set(signature, found);
    }
    return found;
  };

  const atClass = (node: Branch, { labels, slices }: LabelledView): Node => {
    const own = labels.filter((label) => node.labelSet.has(label));
    const has = new Set(own);
    // Of the ports of a set, those that the branch knows.
    const view: AddressView = {
      has: (label) => has.has(label),
      slices: (group) => slices(group).filter(({ label }) => has.has(label)),
    };
    return child(node, own.join(','), 0, (form) => {
      if (form.level === 0)
        return holds(form.match.src, view) ? forms.afterSource(form, view.slices) : undefined;
      const dst = form as DstForm;
      return holds(dst.tail.dst, view) ? forms.afterDestination(dst, view.slices) : undefined;
    });
  };

  /** A family that is asked for makes both labels known, so that every address has one that counts. */
  const askedLabels = (rules: readonly (SrcForm | DstForm)[]): AskedLabels => {
    const groups = new Set(rules.flatMap((form) => form.groups));
    if (groups.has(FAMILY_4) || groups.has(FAMILY_6)) groups.add(FAMILY_4).add(FAMILY_6);
    const labels = [...groups].flatMap((group) => labelsOf(group));
    const below = rules.flatMap((form) => (form.level === 0 ? form.tail.groups : []));
    const slices = [...new Set([...groups, ...below])].flatMap((group) => {
      const own = labelsOf(group);
      return own.length === 1 && own[0] === group ? [] : own;
    });
    const ascending = (a: number, b: number): number => a - b;
    return { labels: labels.sort(ascending), slices: slices.sort(ascending) };
  };

  /** `member` says whether the value is in the form's port set. */
  const atPorts = (node: Branch, member: (form: DportForm | SportForm) => boolean): Node => {
    let signature = '';
    for (const form of node.forms) signature += member(form as DportForm | SportForm) ? '1' : '0';
    return child(node, signature, node.protocol, (form) => {
      if (!member(form as DportForm | SportForm)) return undefined;
      return form.level === 3 ? forms.afterDport(form) : { ...(form as SportForm), certain: true };
    });
  };

  const portsOf = (form: DportForm | SportForm): DportForm['dports'] =>
    form.level === 3 ? form.dports : form.sports;

  const fallbackOf = (node: Branch): Node => {
    switch (node.level) {
      case 0:
      case 1:
        return atClass(node, PLAIN_IPV4);
      case 2:
        return child(node, '*', 0, (form) => forms.afterProtocol(form as ProtoForm, 'others'));
      default:
        return atPorts(node, (form) => portsOf(form).size * 2 > PORT_MAX + 1);
    }
  };

  return {
    root: (program, page) =>
      settle(
        page,
        0,
        0,
        null,
        program.map((rule) => rule.form),
        program.map((rule) => rule.tier),
      ),
    fallback(node) {
      let found = fallbacks.get(node);
      if (found === undefined) {
        found = fallbackOf(node);
        fallbacks.set(node, found);
      }
      return found;
    },
    atClass,
    atProtocol: (node, protocol) =>
      child(node, String(protocol), protocol, (form) => forms.afterProtocol(form as ProtoForm, protocol)),
    protocolsOf: (node) => [
      ...new Set(node.forms.flatMap((form) => [...(form as ProtoForm).flow.entries.keys()])),
    ],
    portSetsOf: (node) => node.forms.map((form) => portsOf(form as DportForm | SportForm)),
    atPort: (node, port) => atPorts(node, (form) => contains(portsOf(form), port)),
    forget(keep) {
      nodes = new Map();
      hitLists = new Map();
      const oldChildren = children;
      children = new WeakMap();
      fallbacks = new WeakMap();
      const keepForms: AnyForm[] = [];
      const keepHits: Hit[] = [];
      for (const node of keep) {
        nodes.set(keys.get(node)!, node);
        if (node.kind === 'branch') for (const form of node.forms) keepForms.push(form);
        for (let at: HitList | null = node.hits; at !== null; at = at.before) {
          hitLists.set(`${at.before?.id ?? 0}:${at.hit.id}`, at);
          keepHits.push(at.hit);
        }
        if (node.kind === 'leaf') continue;
        const kept = [...(oldChildren.get(node) ?? [])].filter(([, to]) => keep.has(to));
        children.set(node, new Map(kept));
      }
      forms.forget(keepForms, keepHits);
    },
    get size() {
      return nodes.size;
    },
  };
}

/**
 * Whether nothing behind the last of `rules`, which always matches, can be reached. It ends its tier unless it only logs; the
 * tiers behind it are out of reach only if no rule of its tier may pass before it.
 */
export function endsProgram(
  action: Action,
  rules: readonly { readonly hit: Hit }[],
  tiers: readonly number[],
): boolean {
  if (action === 'log' || action === 'pass') return false;
  const tier = tiers[tiers.length - 1];
  return !rules.some((rule, i) => tiers[i] === tier && rule.hit.action === 'pass');
}

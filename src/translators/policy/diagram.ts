import { CalicoP4Error } from '../../errors';
import { askedLabels, NO_LABELS, type LabelsOf } from './asked-labels';
import type { Branch, HitList, Leaf, Level, Node } from './diagram-node';
import type { AddressView, Forms } from './forms';
import { holds } from './forms';
import { createInterned } from './interned';
import type { Intervals, IntervalSet } from './intervals';
import { contains, PORT_MAX } from './intervals';
import { FAMILY_4 } from './labels';
import type { ProgramRule } from './programs';
import type { Verdict } from './outcomes';
import type { AnyForm, DportForm, DstForm, Hit, HitAction, ProtoForm, SportForm, SrcForm } from './rule-form';
import { unshadowed } from './shadowed-ports';
import { nextReached, numbered, skips, type Turn, type TurnedForms } from './turns';

/**
 * The decision diagram: what is left of a program once it is known which labels the packet's source has, then its destination,
 * then its protocol, destination port and source port.
 *
 *      ┌────────┐ {s:web}  ┌────────┐ proto 6  ┌──────────┐ port 80 ┌────────────┐
 *      │ 0 src  ├─────────►│ 1 dst  ├─────────►│ 3 dport  ├────────►│ leaf allow │
 *      └───┬────┘          └───┬────┘          └────┬─────┘         └────────────┘
 *          └ fallback ► …      └ fallback ► …       └ fallback ► …
 *
 * A branch *is* its undecided rules, never its present rows: an address that appears later adds a row and changes nothing else.
 */
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
  atAddress(branch: Branch, view: LabelledView): Node;
  atProtocol(branch: Branch, protocol: number): Node;
  /** Protocols that may lead elsewhere than the fallback. */
  protocolsOf(branch: Branch): readonly number[];
  atPort(branch: Branch, port: number): Node;
  /** Port sets that the branch asks for. */
  portSetsOf(branch: Branch): readonly IntervalSet[];
  /** Forgets all nodes but these, which stay what they are, and what none of them is made of. */
  forget(keep: ReadonlySet<Node>): void;
  /** Branches and leaves remembered. */
  readonly size: number;
}

/** An address, or a class of addresses, with all of its labels. */
export interface LabelledView extends Pick<AddressView, 'slices'> {
  /** Sorted. */
  readonly labels: readonly number[];
}

const PLAIN_IPV4: LabelledView = {
  labels: [FAMILY_4],
  slices: () => [],
};

/** Of the rule that ends a program. */
function verdictOf(action: HitAction): Verdict {
  return action === 'allow' || action === 'unmatched' ? action : 'deny';
}

/** Where a node stands. */
interface Position {
  readonly page: number;
  readonly level: number;
  readonly protocol: number;
  readonly hits: HitList | null;
}

export function createDiagram(forms: Forms, intervals: Intervals, labelsOf: LabelsOf): Diagram {
  const leaves = createInterned<Leaf>();
  const branches = createInterned<Branch>();
  const hitLists = createInterned<HitList>();
  let children = new WeakMap<Branch, Map<string, Node>>();
  /** Every row of a branch is compared with it. */
  let fallbacks = new WeakMap<Branch, Node>();

  const push = (before: HitList | null, hit: Hit): HitList =>
    hitLists.of(`${before?.id ?? 0}:${hit.id}`, (id) => ({ id, hit, before }));

  const leaf = (hits: HitList): Leaf =>
    leaves.of(String(hits.id), () => ({
      kind: 'leaf',
      verdict: verdictOf(hits.hit.action),
      hits,
    }));

  const branch = (
    { page, level, protocol, hits }: Position & { readonly level: Level },
    { forms: left, turns }: TurnedForms<AnyForm>,
  ): Branch => {
    // A skip is the form and how many rules it skips; other rules do not depend on their turn.
    const parts = left.map(({ id, hit }, i) =>
      skips(hit.action) ? `${id}+${turns[i]!.to - i - 1}` : String(id),
    );
    // The labels follow from the rules, but for those of ports.
    const { labels, slices } =
      level <= 1 ? askedLabels(left as readonly (SrcForm | DstForm)[], labelsOf) : NO_LABELS;
    const key = `${page}/${level}.${protocol}.${hits?.id ?? 0}|${parts.join(',')}|${slices.join(',')}`;
    return branches.of(key, () => ({
      kind: 'branch',
      page,
      level,
      protocol,
      hits,
      forms: left,
      turns,
      labels,
      labelSet: new Set(labels),
      slices,
    }));
  };

  const unasked = (form: AnyForm): AnyForm => {
    switch (form.level) {
      case 0:
      case 1:
        return form.next!;
      case 3:
        return forms.afterDport(form);
      default:
        // Below the protocol a form that asks nothing is certain, and a program ends in a certain one.
        throw new CalicoP4Error('POLICY_INVALID', 'a diagram asks nothing and has no verdict: this is a bug');
    }
  };

  /** Takes what is certain, cuts what can not be reached, and finds the first level that matters, from `at.level` on. */
  const settle = (at: Position, { forms: left, turns: leftTurns }: TurnedForms<AnyForm>): Node => {
    let { hits, level } = at;
    let out: AnyForm[] = [];
    const turns: Turn[] = [];
    for (let i = 0; i < left.length; i++) {
      const form = left[i]!;
      const turn = leftTurns[i]!;
      const { action } = form.hit;
      if (!form.certain) {
        out.push(form);
        turns.push(turn);
        continue;
      }
      let next: number;
      if (out.length === 0) {
        hits = push(hits, form.hit);
        if (action !== 'log' && !skips(action)) return leaf(hits);
        next = action === 'log' ? turn.at : turn.to;
      } else {
        out.push(form);
        turns.push(turn);
        next = nextReached(out, turns);
      }
      while (i + 1 < left.length && leftTurns[i + 1]!.at < next) i++;
    }
    if (out.length === 0)
      throw new CalicoP4Error('POLICY_INVALID', 'a program ends without a verdict: this is a bug');
    while (!out.some((form) => form.asks)) {
      out = out.map(unasked);
      level++;
    }
    const page = level <= 1 ? at.page : 0;
    const protocol = level >= 3 ? at.protocol : 0;
    return branch(
      { page, level: level as Level, protocol, hits },
      { forms: out, turns: numbered(out, turns) },
    );
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
      const turns: Turn[] = [];
      node.forms.forEach((form, i) => {
        const after = next(form);
        if (after === undefined) return;
        left.push(after);
        turns.push(node.turns[i]!);
      });
      const { page, level, hits } = node;
      found = settle(
        { page, level: level + 1, protocol, hits },
        level === 2
          ? unshadowed({ forms: left as readonly DportForm[], turns }, forms, intervals)
          : { forms: left, turns },
      );
      known.set(signature, found);
    }
    return found;
  };

  const atAddress = (node: Branch, { labels, slices }: LabelledView): Node => {
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

  /** `member` says whether the value is in the form's port set. */
  const atPorts = (node: Branch, member: (form: DportForm | SportForm) => boolean): Node => {
    let signature = '';
    for (const form of node.forms) signature += member(form as DportForm | SportForm) ? '1' : '0';
    return child(node, signature, node.protocol, (form) => {
      if (!member(form as DportForm | SportForm)) return undefined;
      return form.level === 3 ? forms.afterDport(form) : { ...(form as SportForm), certain: true };
    });
  };

  const portsOf = (form: DportForm | SportForm): IntervalSet =>
    form.level === 3 ? form.dports : form.sports;

  const fallbackOf = (node: Branch): Node => {
    switch (node.level) {
      case 0:
      case 1:
        return atAddress(node, PLAIN_IPV4);
      case 2:
        return child(node, '*', 0, (form) => forms.afterProtocol(form as ProtoForm, 'others'));
      default:
        return atPorts(node, (form) => portsOf(form).size * 2 > PORT_MAX + 1);
    }
  };

  return {
    root: (program, page) =>
      settle(
        { page, level: 0, protocol: 0, hits: null },
        { forms: program.map((rule) => rule.form), turns: program.map((rule) => rule.turn) },
      ),
    fallback(node) {
      let found = fallbacks.get(node);
      if (found === undefined) {
        found = fallbackOf(node);
        fallbacks.set(node, found);
      }
      return found;
    },
    atAddress,
    atProtocol: (node, protocol) =>
      child(node, String(protocol), protocol, (form) => forms.afterProtocol(form as ProtoForm, protocol)),
    protocolsOf: (node) => [
      ...new Set(node.forms.flatMap((form) => [...(form as ProtoForm).flow.entries.keys()])),
    ],
    portSetsOf: (node) => node.forms.map((form) => portsOf(form as DportForm | SportForm)),
    atPort: (node, port) => atPorts(node, (form) => contains(portsOf(form), port)),
    forget(keep) {
      const kept = {
        leaves: new Set<Leaf>(),
        branches: new Set<Branch>(),
        hitLists: new Set<HitList>(),
        forms: [] as AnyForm[],
        children: new WeakMap<Branch, Map<string, Node>>(),
      };
      for (const node of keep) {
        for (let at: HitList | null = node.hits; at !== null; at = at.before) kept.hitLists.add(at);
        if (node.kind === 'leaf') {
          kept.leaves.add(node);
          continue;
        }
        kept.branches.add(node);
        for (const form of node.forms) kept.forms.push(form);
        kept.children.set(node, new Map([...(children.get(node) ?? [])].filter(([, to]) => keep.has(to))));
      }
      leaves.retain(kept.leaves);
      branches.retain(kept.branches);
      hitLists.retain(kept.hitLists);
      forms.forget(
        kept.forms,
        [...kept.hitLists].map(({ hit }) => hit),
      );
      children = kept.children;
      fallbacks = new WeakMap();
    },
    get size() {
      return leaves.size + branches.size;
    },
  };
}

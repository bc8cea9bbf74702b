import { createFlows, matchesAll, NO_SLICES, type FlowMatch, type Slices } from './flows';
import type {
  AnyForm,
  DportForm,
  DstForm,
  Hit,
  HitAction,
  ProtoForm,
  SportForm,
  SrcForm,
  Tail,
} from './rule-form';
import { createInterned } from './interned';
import type { Intervals, IntervalSet } from './intervals';
import type { Step } from './outcomes';
import type { AddressMatch, PortAlternatives, PortMatch, PortsByProtocol, RuleMatch } from './rules';

/** Makes the forms of rules (rule-form.ts). Everything that is equal is the same object until `forget`. */
export interface Forms {
  hit(step: Step, action: HitAction): Hit;
  /** Undefined when the rule can match nothing. */
  rule(match: RuleMatch, hit: Hit): SrcForm | undefined;
  /** Once the source is known, and is what the rule asks for; `slices` are those of the source. */
  afterSource(form: SrcForm, slices: Slices): DstForm | undefined;
  afterDestination(form: DstForm, slices: Slices): ProtoForm | undefined;
  afterProtocol(form: ProtoForm, protocol: number | 'others'): DportForm | undefined;
  afterDport(form: DportForm): SportForm;
  /** The form for packets whose destination port is not in `taken`; undefined when it then matches none. */
  without(form: DportForm, taken: IntervalSet): DportForm | undefined;
  /**
   * The rule for packets whose source or destination is one of `addresses`: what all of them have in common is no question any
   * more. Undefined when the rule matches none of them. No addresses: the rule as it is.
   */
  assume(form: SrcForm, side: 'src' | 'dst', addresses: readonly AddressView[]): SrcForm | undefined;
  /** Forgets everything but what is given (and what that refers to), which stays what it is. */
  forget(keepForms: Iterable<AnyForm>, keepHits: Iterable<Hit>): void;
}

/** An address, or a class of addresses, as rules see it. */
export interface AddressView {
  has(label: number): boolean;
  readonly slices: Slices;
}

export function createForms(intervals: Intervals): Forms {
  const forms = createInterned<AnyForm>();
  const tails = createInterned<Tail>();
  const hits = createInterned<Hit>();
  const flows = createFlows(intervals);
  let assumed = new WeakMap<SrcForm, Map<string, SrcForm | undefined>>();

  // A key's first part is the level, so the kind is right.
  const intern = <F extends AnyForm>(level: F['level'], key: string, make: (id: number) => F): F =>
    forms.of(`${level}|${key}`, make) as F;

  const protoForm = (hit: Hit, flow: FlowMatch): ProtoForm =>
    intern(2, `${hit.id}|${flow.id}`, (id) => {
      const certain = matchesAll(flow);
      return { level: 2, id, hit, flow, certain, asks: !certain };
    });

  /** Null where no address is needed to tell the ports. */
  const fixedPorts = (match: PortMatch | null): PortsByProtocol | null =>
    match === null ? null : flows.ports(match, NO_SLICES);

  const dstForm = (hit: Hit, tail: Tail, srcPorts: PortsByProtocol | null): DstForm | undefined => {
    // Not a port of any protocol is left: no destination can help.
    if (flows.of(tail, srcPorts, null) === undefined) return undefined;
    const flow = dependsOnAddress(tail.dstPorts) ? null : flows.of(tail, srcPorts, fixedPorts(tail.dstPorts));
    if (flow === undefined) return undefined;
    return intern(1, `${hit.id}|${tail.id}|${srcPorts?.id ?? '-'}`, (id) => {
      const next = flow === null ? null : protoForm(hit, flow);
      const asks = tail.dst !== null || next === null;
      const certain = !asks && next.certain;
      return { level: 1, id, hit, tail, srcPorts, groups: tail.groups, next, asks, certain };
    });
  };

  const tailOf = ({ dst, dstPorts, protocol, icmp }: RuleMatch): Tail => {
    const key = JSON.stringify([dst, protocol, portKey(dstPorts), icmp === null ? null : icmp.id]);
    return tails.of(key, (id) => ({ id, dst, dstPorts, protocol, icmp, groups: groupsOf(dst, dstPorts) }));
  };

  const dportForm = (hit: Hit, dports: IntervalSet, sports: IntervalSet): DportForm =>
    intern(3, `${hit.id}|${dports.id}|${sports.id}`, (id) => {
      const asks = dports !== intervals.full;
      const certain = !asks && sports === intervals.full;
      return { level: 3, id, hit, dports, sports, asks, certain };
    });

  const rule = (match: RuleMatch, hit: Hit): SrcForm | undefined => {
    const { src, srcPorts } = match;
    const tail = tailOf(match);
    const next = dependsOnAddress(srcPorts) ? null : dstForm(hit, tail, fixedPorts(srcPorts));
    if (next === undefined) return undefined;
    const key = `${hit.id}|${tail.id}|${JSON.stringify([src, portKey(srcPorts)])}`;
    return intern(0, key, (id) => {
      const asks = src !== null || next === null;
      const certain = !asks && next.certain;
      return { level: 0, id, hit, match, tail, next, groups: groupsOf(src, srcPorts), asks, certain };
    });
  };

  /** As `assume`, for what is known of the address and of the ports that depend on it. */
  const withoutSide = (
    form: SrcForm,
    side: 'src' | 'dst',
    ports: PortsByProtocol | null,
  ): SrcForm | undefined => {
    const left = (match: PortMatch | null): PortMatch | null =>
      ports === null ? match : { kind: 'fixed', ports };
    const { match, hit } = form;
    return side === 'src'
      ? rule({ ...match, src: null, srcPorts: left(match.srcPorts) }, hit)
      : rule({ ...match, dst: null, dstPorts: left(match.dstPorts) }, hit);
  };

  return {
    rule,
    hit: (step, action) => hits.of(`${action} ${JSON.stringify(step)}`, (id) => ({ id, step, action })),
    afterSource: (form, slices) =>
      form.next ?? dstForm(form.hit, form.tail, flows.ports(form.match.srcPorts!, slices)),
    afterDestination({ next, tail, hit, srcPorts }, slices) {
      if (next !== null) return next;
      const flow = flows.of(tail, srcPorts, flows.ports(tail.dstPorts!, slices));
      return flow === undefined ? undefined : protoForm(hit, flow);
    },
    without(form, taken) {
      const left = intervals.intersect(form.dports, intervals.complement(taken));
      if (left === form.dports) return form;
      return left.size === 0 ? undefined : dportForm(form.hit, left, form.sports);
    },
    afterProtocol({ flow: { entries, others }, hit }, protocol) {
      const own = protocol === 'others' ? undefined : entries.get(protocol);
      if (own === null || (own === undefined && !others)) return undefined;
      return dportForm(hit, own?.dports ?? intervals.full, own?.sports ?? intervals.full);
    },
    afterDport: ({ hit, sports }) =>
      intern(4, `${hit.id}|${sports.id}`, (id) => {
        const certain = sports === intervals.full;
        return { level: 4, id, hit, sports, asks: !certain, certain };
      }),
    assume(form, side, addresses) {
      const address = form.match[side];
      const ports = form.match[side === 'src' ? 'srcPorts' : 'dstPorts'];
      const askedPorts = dependsOnAddress(ports) ? ports : null;
      if (addresses.length === 0 || (address === null && askedPorts === null)) return form;
      const holding = addresses.filter((view) => holds(address, view));
      if (holding.length === 0) return undefined;
      if (holding.length < addresses.length) return form;
      const [first, ...more] =
        askedPorts === null ? [] : addresses.map(({ slices }) => flows.ports(askedPorts, slices));
      if (more.some(({ id }) => id !== first!.id)) return form;

      let known = assumed.get(form);
      if (known === undefined) {
        known = new Map();
        assumed.set(form, known);
      }
      const key = `${side}${first?.id ?? ''}`;
      if (!known.has(key)) known.set(key, withoutSide(form, side, first ?? null));
      return known.get(key);
    },
    forget(keepForms, keepHits) {
      const kept = {
        forms: new Set<AnyForm>(),
        tails: new Set<Tail>(),
        flows: new Set<FlowMatch>(),
        hits: new Set(keepHits),
      };
      const keep = (form: AnyForm): void => {
        kept.forms.add(form);
        kept.hits.add(form.hit);
        if (form.level === 2) kept.flows.add(form.flow);
        if (form.level > 1) return;
        const { tail, next } = form as SrcForm | DstForm;
        kept.tails.add(tail);
        if (next !== null) keep(next);
      };
      for (const form of keepForms) keep(form);
      forms.retain(kept.forms);
      tails.retain(kept.tails);
      flows.retain(kept.flows);
      hits.retain(kept.hits);
      assumed = new WeakMap();
    },
  };
}

/** Whether an address is what a rule asks for. */
export function holds(match: AddressMatch | null, view: AddressView): boolean {
  if (match === null) return true;
  for (const label of match.allOf) if (!view.has(label)) return false;
  for (const label of match.noneOf) if (view.has(label)) return false;
  return true;
}

/** Whether an address must be known to tell the ports. */
function dependsOnAddress(match: PortMatch | null): boolean {
  return portGroups(match).length > 0;
}

/** The groups of the sets that a port match names. */
function portGroups(match: PortMatch | null): readonly number[] {
  if (match?.kind !== 'asked') return [];
  return [...(match.positive?.sets ?? []), ...(match.negative?.sets ?? []), ...match.everySet];
}

function portKey(match: PortMatch | null): unknown {
  if (match === null) return null;
  if (match.kind === 'fixed') return match.ports.id;
  const side = (a: PortAlternatives | null): unknown => (a === null ? null : [a.intervals.id, a.sets]);
  return [side(match.positive), side(match.negative), match.everySet];
}

function groupsOf(address: AddressMatch | null, ports: PortMatch | null): readonly number[] {
  return [...new Set([...(address?.allOf ?? []), ...(address?.noneOf ?? []), ...portGroups(ports)])];
}

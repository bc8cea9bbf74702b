import type { Intervals, IntervalSet } from './intervals';
import type { Action, Step } from './outcomes';
import { ICMP_PROTOCOLS, PORT_PROTOCOLS } from './protocols';
import type {
  AddressMatch,
  PortAlternatives,
  PortMatch,
  PortsByProtocol,
  ProtocolMatch,
  RuleMatch,
} from './rules';

/**
 * What is left of a rule on its way down the levels of a diagram. Each form is interned by content, so `id` is identity:
 *
 *   SrcForm ─source class─► DstForm ─destination class─► ProtoForm ─protocol─► DportForm ─port class─► SportForm
 *
 * A form drops out when its condition fails. `certain`: nothing is asked any more. `asks`: something is asked at this level.
 */
interface Form {
  readonly id: number;
  readonly hit: Hit;
  readonly certain: boolean;
  readonly asks: boolean;
}

/** What matching the rule does. */
export interface Hit {
  readonly id: number;
  readonly action: Action;
  readonly step: Step;
}

export interface SrcForm extends Form {
  readonly level: 0;
  readonly match: RuleMatch;
  /** Groups that the source is asked for. */
  readonly groups: readonly number[];
  readonly tail: Tail;
  /** The next form when the source's ports do not depend on its class. */
  readonly next: DstForm | null;
}

export interface DstForm extends Form {
  readonly level: 1;
  readonly tail: Tail;
  readonly srcPorts: PortsByProtocol | null;
  readonly groups: readonly number[];
  /** The next form when the destination's ports do not depend on its class. */
  readonly next: ProtoForm | null;
}

export interface ProtoForm extends Form {
  readonly level: 2;
  readonly flow: FlowMatch;
}

export interface DportForm extends Form {
  readonly level: 3;
  readonly dports: IntervalSet;
  readonly sports: IntervalSet;
}

export interface SportForm extends Form {
  readonly level: 4;
  readonly sports: IntervalSet;
}

export type AnyForm = SrcForm | DstForm | ProtoForm | DportForm | SportForm;

/** A rule without what it asks of the source's address. */
export interface Tail {
  readonly id: number;
  readonly dst: AddressMatch | null;
  readonly dstPorts: PortMatch | null;
  readonly protocol: ProtocolMatch;
  readonly icmp: IntervalSet | null;
  readonly groups: readonly number[];
}

/** A condition on (protocol, destination port, source port) alone. */
export interface FlowMatch {
  readonly id: number;
  /** Protocols that have their own say; all others match if `others`. */
  readonly entries: ReadonlyMap<
    number,
    { readonly dports: IntervalSet; readonly sports: IntervalSet } | null
  >;
  readonly others: boolean;
}

/** Makes forms. Everything that is equal is the same object until `forget`. */
export interface Forms {
  hit(step: Step, action: Action): Hit;
  /** Undefined when the rule can match nothing. */
  rule(match: RuleMatch, hit: Hit): SrcForm | undefined;
  /** After the source class; `slices` are the (protocol, port) pairs by group that the class has. */
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
  assume(form: SrcForm, side: 'src' | 'dst', addresses: readonly ClassView[]): SrcForm | undefined;
  /** Forgets everything but what is given (and what that refers to), which stays what it is. */
  forget(keepForms: Iterable<AnyForm>, keepHits: Iterable<Hit>): void;
}

/** An address, or a class of addresses, as rules see it. */
export interface ClassView {
  has(label: number): boolean;
  readonly slices: Slices;
}

/** A (protocol, port) pair of an IP_AND_PORT set that an address is in, and its label. */
export interface Slice {
  readonly label: number;
  readonly protocol: number;
  readonly port: number;
}

/** Of one class: the slices of a group. */
export type Slices = (group: number) => readonly Slice[];

const NO_SLICES: Slices = () => [];

export function createForms(intervals: Intervals): Forms {
  let forms = new Map<string, AnyForm>();
  let tails = new Map<string, Tail>();
  let flows = new Map<string, FlowMatch>();
  let hits = new Map<string, Hit>();
  let assumed = new WeakMap<SrcForm, Map<string, SrcForm | undefined>>();
  const keys = new WeakMap<object, string>();
  let lastId = 0;

  const internForm = <F extends AnyForm>(key: string, make: (id: number) => F): F => {
    const known = forms.get(key);
    // The key's first part is the level, so the kind is right.
    if (known !== undefined) return known as F;
    const form = make(++lastId);
    forms.set(key, form);
    keys.set(form, key);
    return form;
  };

  const internFlow = (flow: Omit<FlowMatch, 'id'>): FlowMatch => {
    const parts = [...flow.entries].map(
      ([p, e]) => `${p}:${e === null ? '-' : `${e.dports.id}.${e.sports.id}`}`,
    );
    const key = `${flow.others ? '*' : ''}${parts.join(',')}`;
    let known = flows.get(key);
    if (known === undefined) {
      known = { id: ++lastId, ...flow };
      flows.set(key, known);
      keys.set(known, key);
    }
    return known;
  };

  /** The ports that a match leaves for each protocol, given the class's slices. */
  const resolve = (match: PortMatch, slices: Slices): PortsByProtocol => {
    if (match.kind === 'fixed') return match.ports;
    const sets = PORT_PROTOCOLS.map((protocol) => {
      const portsOf = (groups: readonly number[]): IntervalSet =>
        intervals.of(
          groups
            .flatMap((g) => slices(g))
            .filter((s) => s.protocol === protocol)
            .map((s) => ({ first: s.port, last: s.port })),
        );
      let set = intervals.full;
      if (match.positive !== null) {
        set = intervals.union(match.positive.intervals, portsOf(match.positive.sets));
      }
      if (match.negative !== null) {
        const not = intervals.union(match.negative.intervals, portsOf(match.negative.sets));
        set = intervals.intersect(set, intervals.complement(not));
      }
      for (const group of match.everySet) set = intervals.intersect(set, portsOf([group]));
      return set;
    });
    return { id: sets.map((s) => s.id).join('/'), sets };
  };

  /** Undefined when nothing can match. */
  const flowOf = (
    tail: Pick<Tail, 'protocol' | 'icmp'>,
    srcPorts: PortsByProtocol | null,
    dstPorts: PortsByProtocol | null,
  ): FlowMatch | undefined => {
    const { is, not } = tail.protocol;
    const wanted = (p: number): boolean => (is === null || is === p) && not !== p;
    const entries = new Map<number, { dports: IntervalSet; sports: IntervalSet } | null>();
    if (srcPorts === null && dstPorts === null && tail.icmp === null) {
      if (is === null) {
        if (not !== null) entries.set(not, null);
        return internFlow({ entries, others: true });
      }
      if (wanted(is)) entries.set(is, { dports: intervals.full, sports: intervals.full });
    } else if (tail.icmp !== null) {
      for (const p of ICMP_PROTOCOLS) {
        if (wanted(p) && tail.icmp.size > 0) entries.set(p, { dports: tail.icmp, sports: intervals.full });
      }
    } else {
      PORT_PROTOCOLS.forEach((p, i) => {
        const dports = dstPorts === null ? intervals.full : dstPorts.sets[i]!;
        const sports = srcPorts === null ? intervals.full : srcPorts.sets[i]!;
        if (wanted(p) && dports.size > 0 && sports.size > 0) entries.set(p, { dports, sports });
      });
    }
    return entries.size === 0 ? undefined : internFlow({ entries, others: false });
  };

  const isEverything = (flow: FlowMatch): boolean => flow.others && flow.entries.size === 0;

  const protoForm = (hit: Hit, flow: FlowMatch): ProtoForm =>
    internForm(`2|${hit.id}|${flow.id}`, (id) => {
      const certain = isEverything(flow);
      return { level: 2, id, hit, flow, certain, asks: !certain };
    });

  const dstForm = (hit: Hit, tail: Tail, srcPorts: PortsByProtocol | null): DstForm | undefined => {
    // Not a port of any protocol is left: no destination can help.
    if (flowOf(tail, srcPorts, null) === undefined) return undefined;
    const fixed = !portsDependOnClass(tail.dstPorts);
    const flow = fixed
      ? flowOf(tail, srcPorts, tail.dstPorts === null ? null : resolve(tail.dstPorts, NO_SLICES))
      : null;
    if (flow === undefined) return undefined;
    return internForm(`1|${hit.id}|${tail.id}|${srcPorts?.id ?? '-'}`, (id) => {
      const next = flow === null ? null : protoForm(hit, flow);
      const asks = tail.dst !== null || next === null;
      const certain = !asks && next.certain;
      return { level: 1, id, hit, tail, srcPorts, groups: tail.groups, next, asks, certain };
    });
  };

  const internTail = (match: RuleMatch): Tail => {
    const key = JSON.stringify([
      match.dst,
      match.protocol,
      portKey(match.dstPorts),
      match.icmp === null ? null : match.icmp.id,
    ]);
    let tail = tails.get(key);
    if (tail === undefined) {
      const { dst, dstPorts, protocol, icmp } = match;
      tail = {
        id: ++lastId,
        dst,
        dstPorts,
        protocol,
        icmp,
        groups: groupsOf(dst, dstPorts),
      };
      tails.set(key, tail);
      keys.set(tail, key);
    }
    return tail;
  };

  const dportForm = (hit: Hit, dports: IntervalSet, sports: IntervalSet): DportForm =>
    internForm(`3|${hit.id}|${dports.id}|${sports.id}`, (id) => {
      const asks = dports !== intervals.full;
      const certain = !asks && sports === intervals.full;
      return { level: 3, id, hit, dports, sports, asks, certain };
    });

  const rule = (match: RuleMatch, hit: Hit): SrcForm | undefined => {
    const tail = internTail(match);
    const fixed = !portsDependOnClass(match.srcPorts);
    const next = fixed
      ? dstForm(hit, tail, match.srcPorts === null ? null : resolve(match.srcPorts, NO_SLICES))
      : null;
    if (next === undefined) return undefined;
    const key = `0|${hit.id}|${tail.id}|${JSON.stringify([match.src, portKey(match.srcPorts)])}`;
    return internForm(key, (id) => {
      const asks = match.src !== null || next === null;
      const certain = !asks && next.certain;
      const groups = groupsOf(match.src, match.srcPorts);
      return { level: 0, id, hit, match, tail, next, groups, asks, certain };
    });
  };

  return {
    rule,
    hit(step, action) {
      const key = JSON.stringify(step);
      let hit = hits.get(key);
      if (hit === undefined) {
        hit = { id: ++lastId, step, action };
        hits.set(key, hit);
        keys.set(hit, key);
      }
      return hit;
    },
    afterSource: (form, slices) =>
      form.next ?? dstForm(form.hit, form.tail, resolve(form.match.srcPorts!, slices)),
    afterDestination(form, slices) {
      if (form.next !== null) return form.next;
      const flow = flowOf(form.tail, form.srcPorts, resolve(form.tail.dstPorts!, slices));
      return flow === undefined ? undefined : protoForm(form.hit, flow);
    },
    without(form, taken) {
      const left = intervals.intersect(form.dports, intervals.complement(taken));
      return left === form.dports
        ? form
        : left.size === 0
          ? undefined
          : dportForm(form.hit, left, form.sports);
    },
    afterProtocol(form, protocol) {
      const { entries, others } = form.flow;
      const own = protocol === 'others' ? undefined : entries.get(protocol);
      if (own === null || (own === undefined && !others)) return undefined;
      const dports = own?.dports ?? intervals.full;
      const sports = own?.sports ?? intervals.full;
      return dportForm(form.hit, dports, sports);
    },
    afterDport: (form) =>
      internForm(`4|${form.hit.id}|${form.sports.id}`, (id) => {
        const certain = form.sports === intervals.full;
        return { level: 4, id, hit: form.hit, sports: form.sports, asks: !certain, certain };
      }),
    assume(form, side, addresses) {
      const address = form.match[side];
      const ports = form.match[side === 'src' ? 'srcPorts' : 'dstPorts'];
      const askedPorts = portsDependOnClass(ports) ? ports : null;
      if (addresses.length === 0 || (address === null && askedPorts === null)) return form;
      const holding = addresses.filter((view) => holds(address, view));
      if (holding.length === 0) return undefined;
      if (holding.length < addresses.length) return form;
      const resolved = askedPorts === null ? [] : addresses.map((view) => resolve(askedPorts, view.slices));
      if (resolved.some((r) => r.id !== resolved[0]!.id)) return form;

      let known = assumed.get(form);
      if (known === undefined) {
        known = new Map();
        assumed.set(form, known);
      }
      const key = `${side}${resolved[0]?.id ?? ''}`;
      if (known.has(key)) return known.get(key);
      const left = resolved[0] === undefined ? ports : { kind: 'fixed' as const, ports: resolved[0] };
      const match: RuleMatch =
        side === 'src'
          ? { ...form.match, src: null, srcPorts: left }
          : { ...form.match, dst: null, dstPorts: left };
      const made = rule(match, form.hit);
      known.set(key, made);
      return made;
    },
    forget(keepForms, keepHits) {
      forms = new Map();
      tails = new Map();
      flows = new Map();
      hits = new Map();
      assumed = new WeakMap();
      const keepHit = (hit: Hit): void => {
        hits.set(keys.get(hit)!, hit);
      };
      const keep = (form: AnyForm): void => {
        forms.set(keys.get(form)!, form);
        keepHit(form.hit);
        if (form.level === 2) flows.set(keys.get(form.flow)!, form.flow);
        if (form.level > 1) return;
        const upper = form as SrcForm | DstForm;
        tails.set(keys.get(upper.tail)!, upper.tail);
        if (upper.next !== null) keep(upper.next);
      };
      for (const form of keepForms) keep(form);
      for (const hit of keepHits) keepHit(hit);
    },
  };
}

/** Whether an address is what a rule asks for. */
export function holds(match: AddressMatch | null, view: ClassView): boolean {
  if (match === null) return true;
  for (const label of match.allOf) if (!view.has(label)) return false;
  for (const label of match.noneOf) if (view.has(label)) return false;
  return true;
}

function portsDependOnClass(match: PortMatch | null): boolean {
  return match !== null && portGroups(match).length > 0;
}

/** The groups of the sets that a port match names. */
export function portGroups(match: PortMatch | null): readonly number[] {
  if (match?.kind !== 'asked') return [];
  return [...(match.positive?.sets ?? []), ...(match.negative?.sets ?? []), ...match.everySet];
}

/** All sets of ports that a form, and what follows from it at once, is made of. */
export function intervalSetsOf(form: AnyForm): readonly IntervalSet[] {
  const ofMatch = (match: PortMatch | null): readonly IntervalSet[] =>
    match === null
      ? []
      : match.kind === 'fixed'
        ? match.ports.sets
        : [match.positive, match.negative].flatMap((side) => (side === null ? [] : [side.intervals]));
  const ofTail = ({ dstPorts, icmp }: Tail): readonly IntervalSet[] => [
    ...ofMatch(dstPorts),
    ...(icmp === null ? [] : [icmp]),
  ];
  switch (form.level) {
    case 0:
      return [
        ...ofMatch(form.match.srcPorts),
        ...ofTail(form.tail),
        ...(form.next === null ? [] : intervalSetsOf(form.next)),
      ];
    case 1:
      return [
        ...(form.srcPorts?.sets ?? []),
        ...ofTail(form.tail),
        ...(form.next === null ? [] : intervalSetsOf(form.next)),
      ];
    case 2:
      return [...form.flow.entries.values()].flatMap((entry) =>
        entry === null ? [] : [entry.dports, entry.sports],
      );
    case 3:
      return [form.dports, form.sports];
    case 4:
      return [form.sports];
  }
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

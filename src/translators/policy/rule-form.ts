import type { FlowMatch } from './flows';
import type { IntervalSet } from './intervals';
import type { Action, Step } from './outcomes';
import type { AddressMatch, PortMatch, PortsByProtocol, ProtocolMatch, RuleMatch } from './rules';

/**
 * What is left of a rule on its way down the levels of a diagram. Each form is interned by content, so `id` is identity:
 *
 *   SrcForm ─source─► DstForm ─destination─► ProtoForm ─protocol─► DportForm ─destination port─► SportForm
 *
 * A form drops out when its condition fails.
 */
export type AnyForm = SrcForm | DstForm | ProtoForm | DportForm | SportForm;

interface Form {
  readonly id: number;
  readonly hit: Hit;
  /** Nothing is asked any more. */
  readonly certain: boolean;
  /** Something is asked at this level. */
  readonly asks: boolean;
}

/**
 * What matching a rule does: `pass` and `accept` skip rules behind it (place.ts), `log` goes on, the others are the program's verdict.
 */
export type HitAction = Action | 'accept' | 'unmatched';

/** A rule that may match. */
export interface Hit {
  readonly id: number;
  readonly action: HitAction;
  readonly step: Step;
}

export interface SrcForm extends Form {
  readonly level: 0;
  readonly match: RuleMatch;
  /** Groups that the source is asked for. */
  readonly groups: readonly number[];
  readonly tail: Tail;
  /** The next form when the rule's source ports do not depend on the source. */
  readonly next: DstForm | null;
}

export interface DstForm extends Form {
  readonly level: 1;
  readonly tail: Tail;
  readonly srcPorts: PortsByProtocol | null;
  /** Groups that the destination is asked for. */
  readonly groups: readonly number[];
  /** The next form when the rule's destination ports do not depend on the destination. */
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

/** A rule without what it asks of the source's address. */
export interface Tail {
  readonly id: number;
  readonly dst: AddressMatch | null;
  readonly dstPorts: PortMatch | null;
  readonly protocol: ProtocolMatch;
  readonly icmp: IntervalSet | null;
  readonly groups: readonly number[];
}

/** All sets of ports that a form, and what follows from it at once, is made of. */
export function intervalSetsOf(form: AnyForm): readonly IntervalSet[] {
  switch (form.level) {
    case 0:
      return [...setsOfMatch(form.match.srcPorts), ...setsOfTail(form.tail), ...setsOfNext(form.next)];
    case 1:
      return [...(form.srcPorts?.sets ?? []), ...setsOfTail(form.tail), ...setsOfNext(form.next)];
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

function setsOfNext(next: AnyForm | null): readonly IntervalSet[] {
  return next === null ? [] : intervalSetsOf(next);
}

function setsOfTail({ dstPorts, icmp }: Tail): readonly IntervalSet[] {
  return [...setsOfMatch(dstPorts), ...(icmp === null ? [] : [icmp])];
}

function setsOfMatch(match: PortMatch | null): readonly IntervalSet[] {
  if (match === null) return [];
  if (match.kind === 'fixed') return match.ports.sets;
  return [match.positive, match.negative].flatMap((side) => (side === null ? [] : [side.intervals]));
}

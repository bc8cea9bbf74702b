import type { SrcForm } from './conditions';
import { portGroups } from './conditions';
import type { ProgramRule } from './diagram';
import { endsProgram } from './diagram';
import type { IntervalSet, Intervals } from './intervals';
import type { Membership } from './ip-sets';
import { NO_ATOMS } from './port-classes';
import { ICMP_PROTOCOLS, PORT_PROTOCOLS } from './protocols';
import type { Labels } from './labels';
import type { PortMatch } from './rules';

/** What a collection of rules wants to know: which groups of addresses, and which sets of ports by protocol. */
export interface Demands {
  readonly groups: ReadonlySet<number>;
  readonly dport: PortDemands;
  readonly sport: PortDemands;
}

export type PortDemands = ReadonlyMap<number, ReadonlySet<IntervalSet>>;

export const NO_DEMANDS: Demands = { groups: new Set(), dport: new Map(), sport: new Map() };

/** The rules of a program that some packet can reach. */
export function reachable(program: readonly ProgramRule[]): readonly SrcForm[] {
  const out: SrcForm[] = [];
  const tiers: number[] = [];
  for (let i = 0; i < program.length; i++) {
    const { form, tier } = program[i]!;
    out.push(form);
    tiers.push(tier);
    if (!form.certain || form.hit.action === 'log') continue;
    if (endsProgram(form.hit.action, out, tiers)) break;
    while (program[i + 1]?.tier === tier) i++;
  }
  return out;
}

/** `slices` is the membership of the group of an IP_AND_PORT set. */
export function demandsOf(
  forms: Iterable<SrcForm>,
  slices: (group: number) => Membership,
  labels: Labels,
  intervals: Intervals,
): Demands {
  const groups = new Set<number>();
  const dport = new Map<number, Set<IntervalSet>>();
  const sport = new Map<number, Set<IntervalSet>>();
  const add = (to: Map<number, Set<IntervalSet>>, protocol: number, set: IntervalSet): void => {
    const at = to.get(protocol);
    if (at === undefined) to.set(protocol, new Set([set]));
    else at.add(set);
  };
  const slicesOf = new Map<number, readonly { readonly protocol: number; readonly set: IntervalSet }[]>();
  const portsIn = (group: number): readonly { readonly protocol: number; readonly set: IntervalSet }[] => {
    let found = slicesOf.get(group);
    if (found === undefined) {
      found = [...slices(group).keys()].flatMap((label) => {
        const info = labels.info(label);
        if (info.kind !== 'slice') return [];
        return [{ protocol: info.protocol, set: intervals.of([{ first: info.port, last: info.port }]) }];
      });
      slicesOf.set(group, found);
    }
    return found;
  };

  for (const form of forms) {
    for (const group of form.groups) groups.add(group);
    for (const group of form.tail.groups) groups.add(group);
    const { is, not } = form.match.protocol;
    const wanted = (p: number): boolean => (is === null || is === p) && not !== p;
    const ports = (match: PortMatch | null, to: Map<number, Set<IntervalSet>>): void => {
      if (match === null) return;
      if (match.kind === 'fixed') {
        PORT_PROTOCOLS.forEach((p, i) => {
          if (wanted(p)) add(to, p, match.ports.sets[i]!);
        });
        return;
      }
      for (const side of [match.positive, match.negative]) {
        if (side === null) continue;
        for (const p of PORT_PROTOCOLS) if (wanted(p)) add(to, p, side.intervals);
      }
      for (const group of portGroups(match)) {
        for (const { protocol, set } of portsIn(group)) if (wanted(protocol)) add(to, protocol, set);
      }
    };
    ports(form.match.dstPorts, dport);
    ports(form.match.srcPorts, sport);
    if (form.match.icmp !== null) {
      for (const p of ICMP_PROTOCOLS) if (wanted(p)) add(dport, p, form.match.icmp);
    }
  }
  return { groups, dport, sport };
}

/** What either wants. */
export function both(a: Demands, b: Demands): Demands {
  const ports = (x: PortDemands, y: PortDemands): PortDemands => {
    const out = new Map<number, ReadonlySet<IntervalSet>>();
    for (const p of new Set([...x.keys(), ...y.keys()])) {
      out.set(p, new Set([...(x.get(p) ?? NO_ATOMS), ...(y.get(p) ?? NO_ATOMS)]));
    }
    return out;
  };
  return {
    groups: new Set([...a.groups, ...b.groups]),
    dport: ports(a.dport, b.dport),
    sport: ports(a.sport, b.sport),
  };
}

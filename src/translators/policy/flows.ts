import { createInterned } from './interned';
import type { Intervals, IntervalSet } from './intervals';
import { ICMP_PROTOCOLS, PORT_PROTOCOLS } from './protocols';
import type { PortAlternatives, PortMatch, PortsByProtocol, ProtocolMatch } from './rules';

/** A condition on (protocol, destination port, source port) alone. */
export interface FlowMatch {
  readonly id: number;
  /** Protocols that have their own say, null: they do not match. All others match if `others`. */
  readonly entries: ReadonlyMap<number, FlowPorts | null>;
  readonly others: boolean;
}

export interface FlowPorts {
  readonly dports: IntervalSet;
  readonly sports: IntervalSet;
}

/** What a rule asks of protocol and ports, once its addresses are known. Equal flows are the same object until `retain`. */
export interface Flows {
  /** Null: the ports do not matter. Undefined when nothing can match. */
  of(
    asked: { readonly protocol: ProtocolMatch; readonly icmp: IntervalSet | null },
    srcPorts: PortsByProtocol | null,
    dstPorts: PortsByProtocol | null,
  ): FlowMatch | undefined;
  /** The ports that a match leaves for each protocol, to an address with these slices. */
  ports(match: PortMatch, slices: Slices): PortsByProtocol;
  /** Forgets all others. */
  retain(flows: Iterable<FlowMatch>): void;
}

/** A (protocol, port) pair of an IP_AND_PORT set that an address is in, and its label. */
export interface Slice {
  readonly label: number;
  readonly protocol: number;
  readonly port: number;
}

/** Of one address: the slices of a group. */
export type Slices = (group: number) => readonly Slice[];

export const NO_SLICES: Slices = () => [];

export function createFlows(intervals: Intervals): Flows {
  const flows = createInterned<FlowMatch>();

  const intern = (flow: Omit<FlowMatch, 'id'>): FlowMatch => {
    const parts = [...flow.entries].map(
      ([p, e]) => `${p}:${e === null ? '-' : `${e.dports.id}.${e.sports.id}`}`,
    );
    return flows.of(`${flow.others ? '*' : ''}${parts.join(',')}`, (id) => ({ id, ...flow }));
  };

  return {
    of({ protocol: { is, not }, icmp }, srcPorts, dstPorts) {
      const wanted = (p: number): boolean => (is === null || is === p) && not !== p;
      const entries = new Map<number, FlowPorts | null>();
      if (srcPorts === null && dstPorts === null && icmp === null) {
        if (is === null) {
          if (not !== null) entries.set(not, null);
          return intern({ entries, others: true });
        }
        if (wanted(is)) entries.set(is, { dports: intervals.full, sports: intervals.full });
      } else if (icmp !== null) {
        for (const p of ICMP_PROTOCOLS) {
          if (wanted(p) && icmp.size > 0) entries.set(p, { dports: icmp, sports: intervals.full });
        }
      } else {
        PORT_PROTOCOLS.forEach((p, i) => {
          const dports = dstPorts === null ? intervals.full : dstPorts.sets[i]!;
          const sports = srcPorts === null ? intervals.full : srcPorts.sets[i]!;
          if (wanted(p) && dports.size > 0 && sports.size > 0) entries.set(p, { dports, sports });
        });
      }
      return entries.size === 0 ? undefined : intern({ entries, others: false });
    },
    ports(match, slices) {
      if (match.kind === 'fixed') return match.ports;
      const sets = PORT_PROTOCOLS.map((protocol) => {
        const portsOf = (groups: readonly number[]): IntervalSet =>
          intervals.of(
            groups
              .flatMap((group) => slices(group))
              .filter((slice) => slice.protocol === protocol)
              .map(({ port }) => ({ first: port, last: port })),
          );
        const allOf = ({ intervals: own, sets: groups }: PortAlternatives): IntervalSet =>
          intervals.union(own, portsOf(groups));
        let set = match.positive === null ? intervals.full : allOf(match.positive);
        if (match.negative !== null) {
          set = intervals.intersect(set, intervals.complement(allOf(match.negative)));
        }
        for (const group of match.everySet) set = intervals.intersect(set, portsOf([group]));
        return set;
      });
      return { id: sets.map((set) => set.id).join('/'), sets };
    },
    retain(kept) {
      flows.retain(kept);
    },
  };
}

/** Whether every packet matches. */
export function matchesAll(flow: FlowMatch): boolean {
  return flow.others && flow.entries.size === 0;
}

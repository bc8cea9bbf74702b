import type { MatchValue, Row } from '../rows';
import { rowKey } from '../rows';
import type { IdSpace } from './ids';
import type { IntervalSet } from './intervals';
import { PORT_MAX, prefixesOf } from './intervals';
import type { RowStore } from './row-store';

/** Ports of one protocol that no active rule tells apart; class 0 is the ports that no rule names. */
export interface PortClass {
  readonly id: number;
  /** Any port of the class stands for all. */
  readonly port: number;
  /** `value` of step_dport and step_sport. */
  readonly match: MatchValue;
}

/** Rows of dport_class or sport_class. For ICMP and ICMPv6 a "port" is type * 256 + code. */
export interface PortClasses {
  /** Makes the classes of a protocol those that the given sets tell apart. undefined when they are the same sets as before. */
  update(protocol: number, atoms: ReadonlySet<IntervalSet>): PortClassChanges | undefined;
  /** Classes that some port of the protocol is in, class 0 with them. */
  of(protocol: number): readonly PortClass[];
  /** Class ids in use. */
  readonly live: ReadonlySet<number>;
}

/** A class that stays means the same to every rule that stays. */
export interface PortClassChanges {
  readonly born: readonly PortClass[];
  readonly dead: readonly number[];
}

export const NO_ATOMS: ReadonlySet<IntervalSet> = new Set();

interface State {
  readonly atomKey: string;
  readonly classes: readonly PortClass[];
  /** All ports in order, each with its class. */
  readonly segments: readonly { readonly last: number; readonly id: number }[];
  readonly rowKeys: ReadonlySet<string>;
}

const NO_CLASS: PortClass = portClass(0, 0);

const EMPTY: State = {
  atomKey: '',
  classes: [NO_CLASS],
  segments: [{ last: PORT_MAX, id: 0 }],
  rowKeys: new Set(),
};

export function createPortClasses(which: 'dport' | 'sport', rows: RowStore, ids: IdSpace): PortClasses {
  const states = new Map<number, State>();
  const live = new Set<number>();
  return {
    live,
    of: (protocol) => (states.get(protocol) ?? EMPTY).classes,
    update(protocol, atoms) {
      const before = states.get(protocol) ?? EMPTY;
      const sorted = [...atoms].filter((a) => a.size > 0).sort((a, b) => a.id - b.id);
      const atomKey = sorted.map((a) => a.id).join(',');
      if (atomKey === before.atomKey) return undefined;

      // A class goes on under its old number as long as it has a port in common with it: what stays of the rules can not tell
      // the other ports of the class apart, so that what the old number's rows say of one port is true of all.
      const classes = new Map<string, PortClass>();
      const claimed = new Set<number>();
      const cuts = segments(sorted);
      let old = 0;
      for (const { first, last, key } of cuts) {
        if (key === '' && !classes.has(key)) classes.set(key, { ...NO_CLASS, port: first });
        while (before.segments[old]!.last < first) old++;
        for (let i = old; !classes.has(key); i++) {
          const { last: oldLast, id } = before.segments[i]!;
          if (id !== 0 && !claimed.has(id)) {
            claimed.add(id);
            classes.set(key, portClass(id, first));
          }
          if (oldLast >= last) break;
        }
      }
      for (const { first, key } of cuts) {
        if (classes.has(key)) continue;
        const id = ids.take()!;
        live.add(id);
        classes.set(key, portClass(id, first));
      }
      const had = new Set(before.classes.map(({ id }) => id));
      const born = [...classes.values()].filter(({ id }) => !had.has(id));
      const dead = [...had].filter((id) => (id === 0 ? !classes.has('') : !claimed.has(id)));
      for (const id of dead) {
        if (id === 0) continue;
        live.delete(id);
        ids.release(id);
      }

      const rowKeys = new Set<string>();
      for (const { first, last, key } of cuts) {
        const { id } = classes.get(key)!;
        if (id === 0) continue;
        for (const { value, prefixLen } of prefixesOf(first, last)) {
          const row = rowOf(which, protocol, value, prefixLen, id);
          const k = rowKey(row);
          rowKeys.add(k);
          rows.set(k, row);
        }
      }
      for (const key of before.rowKeys) if (!rowKeys.has(key)) rows.delete(key);
      states.set(protocol, {
        atomKey,
        classes: [...classes.values()],
        segments: cuts.map(({ last, key }) => ({ last, id: classes.get(key)!.id })),
        rowKeys,
      });
      return { born, dead };
    },
  };
}

function portClass(id: number, port: number): PortClass {
  return { id, port, match: { kind: 'exact', value: BigInt(id) } };
}

/** The ports in order, cut wherever a set begins or ends; `key` names the sets that a segment is in. */
function segments(
  atoms: readonly IntervalSet[],
): readonly { readonly first: number; readonly last: number; readonly key: string }[] {
  const starts = new Map<number, { add: number[]; remove: number[] }>();
  const at = (port: number): { add: number[]; remove: number[] } => {
    let cut = starts.get(port);
    if (cut === undefined) {
      cut = { add: [], remove: [] };
      starts.set(port, cut);
    }
    return cut;
  };
  at(0);
  for (const atom of atoms) {
    for (let i = 0; i < atom.bounds.length; i += 2) {
      at(atom.bounds[i]!).add.push(atom.id);
      at(atom.bounds[i + 1]! + 1).remove.push(atom.id);
    }
  }
  const cuts = [...starts.keys()].sort((a, b) => a - b);
  const inside = new Set<number>();
  const out: { first: number; last: number; key: string }[] = [];
  cuts.forEach((first, i) => {
    for (const id of starts.get(first)!.remove) inside.delete(id);
    for (const id of starts.get(first)!.add) inside.add(id);
    if (first > PORT_MAX) return;
    const last = (cuts[i + 1] ?? PORT_MAX + 1) - 1;
    out.push({ first, last, key: [...inside].sort((a, b) => a - b).join(',') });
  });
  return out;
}

function rowOf(
  which: 'dport' | 'sport',
  protocol: number,
  value: number,
  prefixLen: number,
  id: number,
): Row {
  return {
    table: `${which}_class`,
    match: {
      proto: { kind: 'exact', value: BigInt(protocol) },
      port: { kind: 'lpm', value: BigInt(value), prefixLen },
    },
    action: which === 'dport' ? 'set_dport_class' : 'set_sport_class',
    params: { class: BigInt(id) },
  };
}

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
  /** Makes the classes of a protocol those that the given sets tell apart. True when a class came or went. */
  update(protocol: number, atoms: ReadonlySet<IntervalSet>): boolean;
  /** Classes that some port of the protocol is in, class 0 with them. */
  of(protocol: number): readonly PortClass[];
  /** Class ids in use. */
  readonly live: ReadonlySet<number>;
}

export const NO_ATOMS: ReadonlySet<IntervalSet> = new Set();

interface State {
  readonly atomKey: string;
  readonly classes: readonly PortClass[];
  /** By the ids of the sets that the ports are in. */
  readonly ids: ReadonlyMap<string, number>;
  readonly rowKeys: ReadonlySet<string>;
}

const EMPTY: State = {
  atomKey: '',
  classes: [{ id: 0, port: 0, match: { kind: 'exact', value: 0n } }],
  ids: new Map(),
  rowKeys: new Set(),
};

export function createPortClasses(which: 'dport' | 'sport', rows: RowStore, ids: IdSpace): PortClasses {
  const states = new Map<number, State>();
  const live = new Set<number>();
  /** Classes of the same sets are one class, whatever the protocol. */
  const shared = new Map<string, { readonly id: number; uses: number }>();

  const take = (key: string): number => {
    let entry = shared.get(key);
    if (entry === undefined) {
      entry = { id: ids.take()!, uses: 0 };
      shared.set(key, entry);
      live.add(entry.id);
    }
    entry.uses++;
    return entry.id;
  };
  const release = (key: string): void => {
    const entry = shared.get(key)!;
    if (--entry.uses > 0) return;
    shared.delete(key);
    live.delete(entry.id);
    ids.release(entry.id);
  };

  return {
    live,
    of: (protocol) => (states.get(protocol) ?? EMPTY).classes,
    update(protocol, atoms) {
      const before = states.get(protocol) ?? EMPTY;
      const sorted = [...atoms].filter((a) => a.size > 0).sort((a, b) => a.id - b.id);
      const atomKey = sorted.map((a) => a.id).join(',');
      if (atomKey === before.atomKey) return false;

      const classes = new Map<number, PortClass>();
      const classIds = new Map<string, number>();
      const rowKeys = new Set<string>();
      for (const { first, last, key } of segments(sorted)) {
        let id = 0;
        if (key !== '') {
          id = classIds.get(key) ?? take(key);
          classIds.set(key, id);
          for (const { value, prefixLen } of prefixesOf(first, last)) {
            const row = rowOf(which, protocol, value, prefixLen, id);
            const k = rowKey(row);
            rowKeys.add(k);
            rows.set(k, row);
          }
        }
        if (!classes.has(id))
          classes.set(id, { id, port: first, match: { kind: 'exact', value: BigInt(id) } });
      }
      for (const key of before.rowKeys) if (!rowKeys.has(key)) rows.delete(key);
      for (const key of before.ids.keys()) release(key);
      states.set(protocol, { atomKey, classes: [...classes.values()], ids: classIds, rowKeys });
      return true;
    },
  };
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

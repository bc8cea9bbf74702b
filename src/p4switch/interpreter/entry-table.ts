import type { SpecEntry, SpecKey } from '../engine';
import { type KeyLayout, type PackedKey, decode, encode, pack, unpack } from './key';

/** An entry as the packets' path wants it; `Run` is the compiled action. */
export interface Entry<Run> {
  readonly spec: SpecEntry;
  readonly run: Run;
  /** The action's arguments as they lie in memory. */
  readonly data: Uint8Array;
  /** From 1; 0 stands for a miss (`entryid`). Free numbers are used again. */
  readonly id: number;
  /** Larger wins. */
  readonly rank: number;
}

/** What tables of either kind offer. Keys are given as in SpecEntry; their number and widths were checked before. */
export interface EntryStore<Run> {
  /** Adds or replaces. */
  put(spec: SpecEntry, run: Run, data: Uint8Array): void;
  remove(keys: readonly SpecKey[], priority: number): boolean;
  find(keys: readonly SpecKey[], priority: number): Entry<Run> | undefined;
  /** The entry that the key in the layout's scratch buffer hits. */
  lookup(): Entry<Run> | undefined;
  entries(): Iterable<SpecEntry>;
  readonly count: number;
}

interface Ids {
  take(): number;
  give(id: number): void;
}

function idPool(): Ids {
  const free: number[] = [];
  let next = 1;
  return { take: () => free.pop() ?? next++, give: (id) => free.push(id) };
}

/** What an entry does; entries that do the same share one. */
interface Doing<Run> {
  readonly action: SpecEntry['action'];
  readonly run: Run;
  readonly data: Uint8Array;
}

/** An entry of a table that may hold hundreds of thousands: its keys are made anew from the packed one when asked for. */
class ExactEntry<Run> implements Entry<Run> {
  readonly rank = 0;

  constructor(
    readonly layout: KeyLayout,
    readonly key: PackedKey,
    readonly doing: Doing<Run>,
    readonly id: number,
  ) {}

  get run(): Run {
    return this.doing.run;
  }

  get data(): Uint8Array {
    return this.doing.data;
  }

  get spec(): SpecEntry {
    const values = decode(this.layout, unpack(this.layout.bytes, this.key));
    const keys = values.map((value, i) => ({
      value,
      mask: (1n << BigInt(this.layout.parts[i]!.bytes * 8)) - 1n,
    }));
    return { keys, priority: 0, action: this.doing.action };
  }
}

/** How many actions with their arguments are remembered for entries to come. */
const SHARED_MAX = 65_536;

/** Finds what entries before did with the same arguments. */
function sharing<Run>(): (action: SpecEntry['action'], run: Run, data: Uint8Array) => Doing<Run> {
  const known = new Map<string, Doing<Run>>();
  return (action, run, data) => {
    const key = `${action.name} ${Buffer.from(data.buffer, data.byteOffset, data.length).toString('latin1')}`;
    const found = known.get(key);
    if (found !== undefined) return found;
    if (known.size >= SHARED_MAX) known.clear();
    const made = { action, run, data };
    known.set(key, made);
    return made;
  };
}

/** All keys exact: one hash lookup. */
export function exactStore<Run>(layout: KeyLayout): EntryStore<Run> {
  const map = new Map<PackedKey, ExactEntry<Run>>();
  const shared = sharing<Run>();
  const ids = idPool();
  const packed = (keys: readonly SpecKey[]): PackedKey =>
    pack(
      encode(
        layout,
        keys.map((k) => k.value),
      ),
    );
  return {
    put(spec, run, data) {
      const key = packed(spec.keys);
      const doing = shared(spec.action, run, data);
      map.set(key, new ExactEntry(layout, key, doing, map.get(key)?.id ?? ids.take()));
    },
    remove(keys) {
      const key = packed(keys);
      const entry = map.get(key);
      if (entry === undefined) return false;
      ids.give(entry.id);
      return map.delete(key);
    },
    find: (keys) => map.get(packed(keys)),
    lookup: () => map.get(pack(layout.scratch)),
    *entries() {
      for (const entry of map.values()) yield entry.spec;
    },
    get count() {
      return map.size;
    },
  };
}

/** Entries of one combination of masks, by masked key; several priorities may share a key. */
interface MaskGroup<Run> {
  readonly mask: Buffer;
  readonly masked: Buffer;
  /** Highest priority first. */
  readonly byKey: Map<PackedKey, Entry<Run>[]>;
  /** How many entries have each priority. */
  readonly priorities: Map<number, number>;
  topPriority: number;
}

/**
 * Wildcard and lpm keys: tuple-space search. `rank` gives an entry's priority, larger wins; on equal ranks any may win,
 * and here the group that was made first does.
 */
export function maskedStore<Run>(layout: KeyLayout, rank: (spec: SpecEntry) => number): EntryStore<Run> {
  const groups = new Map<string, MaskGroup<Run>>();
  let ordered: MaskGroup<Run>[] = [];
  const ids = idPool();
  let count = 0;

  const groupKey = (keys: readonly SpecKey[]): string => keys.map((k) => k.mask.toString(36)).join(',');
  const maskedKey = (keys: readonly SpecKey[]): PackedKey =>
    pack(
      encode(
        layout,
        keys.map((k) => k.value & k.mask),
      ),
    );
  const reorder = (group: MaskGroup<Run>): void => {
    const top = Math.max(...group.priorities.keys());
    if (top === group.topPriority) return;
    group.topPriority = top;
    sort();
  };
  const sort = (): void => {
    ordered = [...groups.values()].sort((a, b) => b.topPriority - a.topPriority);
  };
  const bump = (group: MaskGroup<Run>, priority: number, by: number): void => {
    const left = (group.priorities.get(priority) ?? 0) + by;
    if (left === 0) group.priorities.delete(priority);
    else group.priorities.set(priority, left);
  };
  const locate = (
    keys: readonly SpecKey[],
    priority: number,
  ): { group: MaskGroup<Run>; list: Entry<Run>[]; index: number } | undefined => {
    const group = groups.get(groupKey(keys));
    const list = group?.byKey.get(maskedKey(keys));
    const index = list?.findIndex((e) => e.spec.priority === priority) ?? -1;
    return group !== undefined && list !== undefined && index >= 0 ? { group, list, index } : undefined;
  };

  return {
    put(spec, run, data) {
      const old = locate(spec.keys, spec.priority);
      if (old !== undefined) {
        old.list[old.index] = { ...old.list[old.index]!, spec, run, data };
        return;
      }
      const name = groupKey(spec.keys);
      let group = groups.get(name);
      if (group === undefined) {
        const mask = encode(
          layout,
          spec.keys.map((k) => k.mask),
        );
        group = {
          mask,
          masked: Buffer.alloc(mask.length),
          byKey: new Map(),
          priorities: new Map(),
          topPriority: -Infinity,
        };
        groups.set(name, group);
      }
      const key = maskedKey(spec.keys);
      const list = group.byKey.get(key) ?? [];
      const entry: Entry<Run> = { spec, run, data, id: ids.take(), rank: rank(spec) };
      list.push(entry);
      list.sort((a, b) => b.rank - a.rank);
      group.byKey.set(key, list);
      count++;
      bump(group, entry.rank, 1);
      reorder(group);
    },
    remove(keys, priority) {
      const found = locate(keys, priority);
      if (found === undefined) return false;
      const { group, list, index } = found;
      const [entry] = list.splice(index, 1);
      if (list.length === 0) group.byKey.delete(maskedKey(keys));
      ids.give(entry!.id);
      count--;
      bump(group, entry!.rank, -1);
      if (group.byKey.size === 0) {
        groups.delete(groupKey(keys));
        sort();
      } else reorder(group);
      return true;
    },
    find(keys, priority) {
      const found = locate(keys, priority);
      return found?.list[found.index];
    },
    lookup() {
      let best: Entry<Run> | undefined;
      let bestRank = -Infinity;
      for (const group of ordered) {
        if (best !== undefined && group.topPriority <= bestRank) break;
        const { mask, masked } = group;
        for (let i = 0; i < mask.length; i++) masked[i] = layout.scratch[i]! & mask[i]!;
        const entry = group.byKey.get(pack(masked))?.[0];
        if (entry !== undefined && entry.rank > bestRank) {
          best = entry;
          bestRank = entry.rank;
        }
      }
      return best;
    },
    *entries() {
      for (const group of groups.values())
        for (const list of group.byKey.values()) for (const entry of list) yield entry.spec;
    },
    get count() {
      return count;
    },
  };
}

/** Number of ones in a mask: the prefix length of an lpm key. */
export function prefixLength(mask: bigint): number {
  return mask.toString(2).replaceAll('0', '').length;
}

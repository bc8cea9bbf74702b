import type { MatchValue, Row } from '../rows';
import { keyedRow, rowKey } from '../rows';
import type { Prefix, PrefixCache } from './address';
import { halfMasks, halves } from './address';
import type { Slices } from './conditions';
import type { IdSpace } from './ids';
import type { Membership } from './ip-sets';
import { NO_MEMBERS } from './ip-sets';
import type { Labels } from './labels';
import { FAMILY_4, FAMILY_6 } from './labels';
import type { RowStore } from './row-store';

/** Addresses that no active rule tells apart. Content never changes: an address moves from class to class. */
export interface AddressClass {
  readonly id: number;
  /** Sorted. Every class has the label of its family. */
  readonly labels: readonly number[];
  readonly groups: ReadonlySet<number>;
  has(label: number): boolean;
  readonly slices: Slices;
  /** `value` of step_src and step_dst. */
  readonly match: MatchValue;
}

export interface ClassChanges {
  readonly born: readonly AddressClass[];
  readonly dead: readonly AddressClass[];
}

/**
 * Which address has which class, as rows of addr_class (single addresses) and addr_class_prefix (CIDRs).
 * The two catch-alls are always there, so class 0 (a miss in both tables) stands for a target that is not set up yet:
 * nothing here gives it a meaning, and the pipeline must drop it.
 */
export interface AddressClasses {
  /**
   * Makes the classes those of the given groups. `keepUnused` keeps classes alive that no row names any more (a later
   * call without it lets them die).
   */
  update(memberships: ReadonlyMap<number, Membership>, keepUnused: boolean): ClassChanges;
  /** Live classes with a label of the group. */
  withGroup(group: number): Iterable<AddressClass>;
  /** The prefixes that have labels. */
  prefixes(): Iterable<Prefix>;
  /** By class id. */
  readonly live: ReadonlyMap<number, AddressClass>;
}

interface Place {
  readonly prefix: Prefix;
  /** Own labels, sorted. */
  labels: number[];
  parent: Place | undefined;
  parentEpoch: number;
  class: LiveClass | undefined;
  /** The class that the prefix's row names; undefined without a row. */
  rowClass: LiveClass | undefined;
  rowKey: string | undefined;
}

interface LiveClass extends AddressClass {
  readonly key: string;
  uses: number;
}

export function createAddressClasses(
  cache: PrefixCache,
  labels: Labels,
  rows: RowStore,
  ids: IdSpace,
): AddressClasses {
  const places = new Map<string, Place>();
  /** CIDRs only (not single addresses), by how many there are of a length. */
  const lengths: Record<4 | 6, number[]> = { 4: [], 6: [] };
  let epoch = 0;
  const byKey = new Map<string, LiveClass>();
  const live = new Map<number, AddressClass>();
  const byLabel = new Map<number, Set<LiveClass>>();
  const labelsOfGroup = new Map<number, Set<number>>();
  const applied = new Map<number, Membership>();
  let dirty = new Set<Place>();
  let born: LiveClass[] = [];
  const unused = new Set<LiveClass>();

  const placeOf = (prefix: Prefix): Place => {
    let place = places.get(prefix.key);
    if (place === undefined) {
      place = {
        prefix,
        labels: [],
        parent: undefined,
        parentEpoch: -1,
        class: undefined,
        rowClass: undefined,
        rowKey: undefined,
      };
      places.set(prefix.key, place);
      if (!prefix.host) {
        const counts = lengths[prefix.family];
        counts[prefix.len] = (counts[prefix.len] ?? 0) + 1;
        epoch++;
      }
    }
    return place;
  };
  const catchAll = { 4: placeOf(cache.everything(4)), 6: placeOf(cache.everything(6)) };
  catchAll[4].labels = [FAMILY_4];
  catchAll[6].labels = [FAMILY_6];
  dirty.add(catchAll[4]).add(catchAll[6]);

  const forget = (place: Place): void => {
    places.delete(place.prefix.key);
    setRow(place, undefined);
    if (place.prefix.host) return;
    const counts = lengths[place.prefix.family];
    counts[place.prefix.len] = (counts[place.prefix.len] ?? 1) - 1;
    epoch++;
  };

  const addLabel = (prefix: Prefix, label: number): void => {
    const place = placeOf(prefix);
    place.labels.push(label);
    dirty.add(place);
  };
  const removeLabel = (prefix: Prefix, label: number): void => {
    const place = placeOf(prefix);
    place.labels.splice(place.labels.indexOf(label), 1);
    dirty.add(place);
  };

  const apply = (group: number, wanted: Membership): void => {
    const had = applied.get(group) ?? NO_MEMBERS;
    if (had === wanted) return;
    for (const [label, members] of wanted) {
      const old = had.get(label);
      for (const prefix of members) if (!old?.has(prefix)) addLabel(prefix, label);
    }
    for (const [label, members] of had) {
      const now = wanted.get(label);
      for (const prefix of members) if (!now?.has(prefix)) removeLabel(prefix, label);
    }
    if (wanted === NO_MEMBERS) applied.delete(group);
    else applied.set(group, wanted);
  };

  /** The longest CIDR around a prefix, the catch-all at least; undefined for a catch-all. */
  const parentOf = (place: Place): Place | undefined => {
    if (place.parentEpoch === epoch) return place.parent;
    const { prefix } = place;
    const counts = lengths[prefix.family];
    place.parentEpoch = epoch;
    place.parent = undefined;
    for (let len = Math.min(prefix.len, counts.length) - 1; len >= 0; len--) {
      if (!counts[len]) continue;
      const found = places.get(cache.ancestorKey(prefix, len));
      if (found !== undefined) {
        place.parent = found;
        break;
      }
    }
    return place.parent;
  };

  const classOf = (own: readonly number[], around: LiveClass | undefined): LiveClass => {
    if (own.length === 0 && around !== undefined) return around;
    const all = [...new Set([...own, ...(around?.labels ?? [])])].sort((a, b) => a - b);
    const key = all.join(',');
    let found = byKey.get(key);
    if (found === undefined) {
      const id = ids.take()!;
      const has = new Set(all);
      found = {
        id,
        key,
        labels: all,
        groups: new Set(all.map((label) => labels.groupOf(label))),
        has: (label) => has.has(label),
        slices: slicesOf(all, labels),
        match: { kind: 'exact', value: BigInt(id) },
        uses: 0,
      };
      byKey.set(key, found);
      live.set(id, found);
      for (const label of all) {
        let at = byLabel.get(label);
        if (at === undefined) {
          at = new Set();
          byLabel.set(label, at);
          const group = labels.groupOf(label);
          const siblings = labelsOfGroup.get(group);
          if (siblings === undefined) labelsOfGroup.set(group, new Set([label]));
          else siblings.add(label);
        }
        at.add(found);
      }
      born.push(found);
      unused.add(found);
    }
    return found;
  };

  const kill = (dead: LiveClass): void => {
    byKey.delete(dead.key);
    live.delete(dead.id);
    ids.release(dead.id);
    for (const label of dead.labels) {
      const at = byLabel.get(label)!;
      at.delete(dead);
      if (at.size > 0) continue;
      byLabel.delete(label);
      const group = labels.groupOf(label);
      const siblings = labelsOfGroup.get(group)!;
      siblings.delete(label);
      if (siblings.size === 0) labelsOfGroup.delete(group);
    }
  };

  const setRow = (place: Place, to: LiveClass | undefined): void => {
    if (place.rowClass === to) return;
    if (place.rowClass !== undefined && --place.rowClass.uses === 0) unused.add(place.rowClass);
    place.rowClass = to;
    if (to === undefined) {
      rows.delete(place.rowKey!);
      return;
    }
    to.uses++;
    const row = rowOf(place.prefix, to);
    place.rowKey ??= rowKey(row);
    rows.set(place.rowKey, row.priority === undefined ? keyedRow(place.rowKey, row) : row);
  };

  /** True when the place's class changed. */
  const settle = (place: Place): boolean => {
    const around = parentOf(place);
    const before = place.class;
    place.class = classOf(place.labels, around?.class);
    // What the CIDR around says already needs no row.
    setRow(place, place.class === around?.class ? undefined : place.class);
    return place.class !== before;
  };

  return {
    live,
    *prefixes() {
      for (const place of places.values()) yield place.prefix;
    },
    *withGroup(group) {
      for (const label of labelsOfGroup.get(group) ?? []) yield* byLabel.get(label) ?? [];
    },
    update(memberships, keepUnused) {
      born = [];
      const epochBefore = epoch;
      for (const group of [...applied.keys()]) if (!memberships.has(group)) apply(group, NO_MEMBERS);
      for (const [group, membership] of memberships) apply(group, membership);
      for (const place of dirty) {
        if (place.labels.length === 0) {
          forget(place);
          dirty.delete(place);
        }
      }
      const cidrsChanged = epoch !== epochBefore || [...dirty].some((place) => !place.prefix.host);
      if (cidrsChanged) {
        // Shortest first: a class includes those of the CIDRs around it.
        const cidrs = [...places.values()]
          .filter((p) => !p.prefix.host)
          .sort((a, b) => a.prefix.len - b.prefix.len);
        for (const place of cidrs) settle(place);
        for (const place of places.values()) if (place.prefix.host) settle(place);
      } else {
        for (const place of dirty) settle(place);
      }
      dirty = new Set();
      const bornNow = new Set(born);
      const dead: LiveClass[] = [];
      for (const candidate of unused) {
        if (candidate.uses > 0) unused.delete(candidate);
        else if (!keepUnused || bornNow.has(candidate)) {
          unused.delete(candidate);
          kill(candidate);
          dead.push(candidate);
        }
      }
      const gone = new Set(dead);
      return { born: born.filter((c) => !gone.has(c)), dead: dead.filter((c) => !bornNow.has(c)) };
    },
  };
}

function slicesOf(all: readonly number[], labels: Labels): Slices {
  const byGroup = new Map<number, { protocol: number; port: number }[]>();
  for (const label of all) {
    const info = labels.info(label);
    if (info.kind !== 'slice') continue;
    const at = byGroup.get(info.group);
    if (at === undefined) byGroup.set(info.group, [info]);
    else at.push(info);
  }
  return (group) => byGroup.get(group) ?? [];
}

function rowOf(prefix: Prefix, to: AddressClass): Row {
  const { hi, lo } = halves(prefix.words);
  if (prefix.host) {
    return {
      table: 'addr_class',
      match: { hi: { kind: 'exact', value: hi }, lo: { kind: 'exact', value: lo } },
      action: 'set_class',
      params: { class: BigInt(to.id) },
    };
  }
  const mask = halfMasks(prefix.len);
  const match: Record<string, MatchValue> = {};
  if (mask.hi !== 0n) match['hi'] = { kind: 'ternary', value: hi, mask: mask.hi };
  if (mask.lo !== 0n) match['lo'] = { kind: 'ternary', value: lo, mask: mask.lo };
  return {
    table: 'addr_class_prefix',
    match,
    // P4Runtime wants priorities above 0, and ::/0 has length 0.
    priority: prefix.len + 1,
    action: 'set_prefix_class',
    params: { class: BigInt(to.id) },
  };
}

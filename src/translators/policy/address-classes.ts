import type { MatchValue, Row } from '../rows';
import { exact, keyedRow, rowKey } from '../rows';
import type { Prefix, PrefixCache } from './address';
import { halfMasks, halves } from './address';
import { NO_SLICES, type Slice, type Slices } from './flows';
import type { MemberChange, Membership } from './ip-sets';
import { NO_MEMBERS } from './ip-sets';
import type { Labels } from './labels';
import { FAMILY_4, FAMILY_6 } from './labels';
import type { Page } from './pages';
import type { RowStore } from './row-store';
import { wordsOf, type Words } from './words';

/** Addresses that no rule of a page's programs tells apart. Content never changes: an address moves from class to class. */
export interface AddressClass {
  /** Below AddressClasses.slots; no two live classes have the same. */
  readonly slot: number;
  /** Sorted. Every class has the label of its family. */
  readonly labels: readonly number[];
  readonly slices: Slices;
}

export interface ClassChanges {
  readonly born: readonly AddressClass[];
  readonly dead: readonly AddressClass[];
}

/**
 * Which address has which labels, for one page, as rows of addr_labels (single addresses) and addr_labels_prefix (CIDRs).
 * The two catch-alls are always there, so that a miss in both tables means that the target is not set up: the pipeline drops
 * the packet then.
 */
export interface AddressClasses {
  /**
   * Makes the labels those of the given groups. `changes` says what changed in memberships that were given before. `keepUnused`
   * keeps classes alive that no row gives any more (a later call without it lets them die).
   */
  update(
    memberships: ReadonlyMap<number, Membership>,
    changes: ReadonlyMap<Membership, readonly MemberChange[]>,
    keepUnused: boolean,
  ): ClassChanges;
  readonly slots: number;
  /** Of live classes with the label. */
  slotsWith(label: number): Int32Array;
  /** The live class that has the slot. */
  at(slot: number): AddressClass;
  /** The prefixes that have labels. */
  prefixes(): Iterable<Prefix>;
  /** Takes all rows away, the catch-alls too; nothing is to be called after it. */
  clear(): void;
}

interface Place {
  readonly prefix: Prefix;
  /** Own labels, sorted. */
  labels: number[];
  parent: Place | undefined;
  parentEpoch: number;
  class: LiveClass | undefined;
  /** The parent's, when `class` was found. */
  around: LiveClass | undefined;
  /** The class that the prefix's row names; undefined without a row. */
  rowClass: LiveClass | undefined;
  rowKey: string | undefined;
}

/** Live classes with a label. */
interface Labelled {
  readonly classes: Set<LiveClass>;
  /** Theirs, when they were asked for since a class came or went. */
  slots: Int32Array | undefined;
}

const NO_SLOTS = new Int32Array(0);

interface LiveClass extends AddressClass {
  readonly key: string;
  /** w0, w1, …: the words of bits. */
  readonly params: Words;
  uses: number;
}

export function createAddressClasses(
  page: Page,
  cache: PrefixCache,
  labels: Labels,
  rows: RowStore,
): AddressClasses {
  const pageMatch = exact(BigInt(page.number));
  const places = new Map<string, Place>();
  /** CIDRs only (not single addresses), by how many there are of a length. */
  const lengths: Record<4 | 6, number[]> = { 4: [], 6: [] };
  let epoch = 0;
  const byKey = new Map<string, LiveClass>();
  const byLabel = new Map<number, Labelled>();
  const bySlot: (LiveClass | undefined)[] = [];
  const freeSlots: number[] = [];
  let slots = 0;
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
        around: undefined,
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
    place.labels.splice(placeIn(place.labels, label), 0, label);
    dirty.add(place);
  };
  const removeLabel = (prefix: Prefix, label: number): void => {
    const place = placeOf(prefix);
    place.labels.splice(placeIn(place.labels, label), 1);
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
    const all = merged(own, around?.labels ?? []);
    const key = all.join(',');
    let found = byKey.get(key);
    if (found === undefined) {
      found = {
        slot: freeSlots.pop() ?? slots++,
        key,
        labels: all,
        slices: slicesOf(all, labels),
        params: wordsOf(page, all),
        uses: 0,
      };
      byKey.set(key, found);
      bySlot[found.slot] = found;
      for (const label of all) {
        let at = byLabel.get(label);
        if (at === undefined) byLabel.set(label, (at = { classes: new Set(), slots: undefined }));
        at.classes.add(found);
        at.slots = undefined;
      }
      born.push(found);
      unused.add(found);
    }
    return found;
  };

  const kill = (dead: LiveClass): void => {
    freeSlots.push(dead.slot);
    bySlot[dead.slot] = undefined;
    byKey.delete(dead.key);
    for (const label of dead.labels) {
      const at = byLabel.get(label)!;
      at.classes.delete(dead);
      at.slots = undefined;
      if (at.classes.size === 0) byLabel.delete(label);
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
    const row = rowOf(place.prefix, { page: pageMatch, params: to.params });
    place.rowKey ??= rowKey(row);
    rows.set(place.rowKey, row.priority === undefined ? keyedRow(place.rowKey, row) : row);
  };

  const settle = (place: Place): void => {
    const around = parentOf(place)?.class;
    if (place.class !== undefined && place.around === around && !dirty.has(place)) return;
    place.around = around;
    place.class = classOf(place.labels, around);
    // What the CIDR around says already needs no row.
    setRow(place, place.class === around ? undefined : place.class);
  };

  return {
    *prefixes() {
      for (const place of places.values()) yield place.prefix;
    },
    get slots() {
      return slots;
    },
    slotsWith(label) {
      const at = byLabel.get(label);
      if (at === undefined) return NO_SLOTS;
      if (at.slots === undefined) {
        at.slots = new Int32Array(at.classes.size);
        let i = 0;
        for (const { slot } of at.classes) at.slots[i++] = slot;
      }
      return at.slots;
    },
    at: (slot) => bySlot[slot]!,
    clear() {
      for (const { rowKey: key } of places.values()) if (key !== undefined) rows.delete(key);
    },
    update(memberships, changes, keepUnused) {
      born = [];
      const epochBefore = epoch;
      for (const had of applied.values()) {
        for (const { label, prefix, added } of changes.get(had) ?? []) {
          if (added) addLabel(prefix, label);
          else removeLabel(prefix, label);
        }
      }
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

/** Two sorted lists as one, without repetition. */
function merged(a: readonly number[], b: readonly number[]): readonly number[] {
  const out: number[] = [];
  for (let i = 0, j = 0; i < a.length || j < b.length;) {
    const [x = Infinity, y = Infinity] = [a[i], b[j]];
    out.push(Math.min(x, y));
    if (x <= y) i++;
    if (y <= x) j++;
  }
  return out;
}

/** Where a label is in a sorted list, or belongs. */
function placeIn(labels: readonly number[], label: number): number {
  let low = 0;
  let high = labels.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (labels[middle]! < label) low = middle + 1;
    else high = middle;
  }
  return low;
}

function slicesOf(all: readonly number[], labels: Labels): Slices {
  const own: (Slice & { readonly group: number })[] = [];
  for (const label of all) {
    const info = labels.info(label);
    if (info.kind === 'slice')
      own.push({ group: info.group, label, protocol: info.protocol, port: info.port });
  }
  return own.length === 0 ? NO_SLICES : (group) => own.filter((slice) => slice.group === group);
}

interface RowParts {
  readonly page: MatchValue;
  readonly params: Words;
}

function rowOf(prefix: Prefix, { page, params }: RowParts): Row {
  const { hi, lo } = halves(prefix.words);
  if (prefix.host) {
    return {
      table: 'addr_labels',
      match: { page, hi: exact(hi), lo: exact(lo) },
      action: 'set_labels',
      params,
    };
  }
  const mask = halfMasks(prefix.len);
  const match: Record<string, MatchValue> = { page };
  if (mask.hi !== 0n) match['hi'] = { kind: 'ternary', value: hi, mask: mask.hi };
  if (mask.lo !== 0n) match['lo'] = { kind: 'ternary', value: lo, mask: mask.lo };
  return {
    table: 'addr_labels_prefix',
    match,
    // P4Runtime wants priorities above 0, and ::/0 has length 0.
    priority: prefix.len + 1,
    action: 'set_prefix_labels',
    params,
  };
}

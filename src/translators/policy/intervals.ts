/** Sets of numbers 0..65535 (ports, or ICMP type * 256 + code) as sorted disjoint intervals; equal sets are the same object. */
export interface IntervalSet {
  readonly id: number;
  /** lo, hi, lo, hi, …: sorted, disjoint and not adjacent; both ends included. */
  readonly bounds: readonly number[];
  /** How many numbers are in the set. */
  readonly size: number;
}

export const PORT_MAX = 65535;

export interface Intervals {
  readonly empty: IntervalSet;
  readonly full: IntervalSet;
  /** Ranges may overlap, be unsorted, empty (first > last) or reach beyond 0..65535. */
  of(ranges: readonly { readonly first: number; readonly last: number }[]): IntervalSet;
  union(a: IntervalSet, b: IntervalSet): IntervalSet;
  intersect(a: IntervalSet, b: IntervalSet): IntervalSet;
  complement(a: IntervalSet): IntervalSet;
  readonly size: number;
  /** Forgets all sets but these: an equal set is another object from then on. */
  forget(keep: Iterable<IntervalSet>): void;
}

export function createIntervals(): Intervals {
  let byKey = new Map<string, IntervalSet>();
  let lastId = 0;
  const intern = (bounds: readonly number[]): IntervalSet => {
    const key = bounds.join(',');
    let set = byKey.get(key);
    if (set === undefined) {
      let size = 0;
      for (let i = 0; i < bounds.length; i += 2) size += bounds[i + 1]! - bounds[i]! + 1;
      set = { id: ++lastId, bounds, size };
      byKey.set(key, set);
    }
    return set;
  };

  const of: Intervals['of'] = (ranges) => {
    const sorted = ranges
      .map((r) => ({ lo: Math.max(0, r.first), hi: Math.min(PORT_MAX, r.last) }))
      .filter((r) => r.lo <= r.hi)
      .sort((a, b) => a.lo - b.lo);
    const bounds: number[] = [];
    for (const { lo, hi } of sorted) {
      const end = bounds.length - 1;
      if (end > 0 && lo <= bounds[end]! + 1) bounds[end] = Math.max(bounds[end]!, hi);
      else bounds.push(lo, hi);
    }
    return intern(bounds);
  };

  const complement = (a: IntervalSet): IntervalSet => {
    const bounds: number[] = [];
    let next = 0;
    for (let i = 0; i < a.bounds.length; i += 2) {
      if (a.bounds[i]! > next) bounds.push(next, a.bounds[i]! - 1);
      next = a.bounds[i + 1]! + 1;
    }
    if (next <= PORT_MAX) bounds.push(next, PORT_MAX);
    return intern(bounds);
  };

  const intersect = (a: IntervalSet, b: IntervalSet): IntervalSet => {
    const bounds: number[] = [];
    let i = 0;
    let j = 0;
    while (i < a.bounds.length && j < b.bounds.length) {
      const lo = Math.max(a.bounds[i]!, b.bounds[j]!);
      const hi = Math.min(a.bounds[i + 1]!, b.bounds[j + 1]!);
      if (lo <= hi) bounds.push(lo, hi);
      if (a.bounds[i + 1]! < b.bounds[j + 1]!) i += 2;
      else j += 2;
    }
    return intern(bounds);
  };

  const empty = intern([]);
  const full = intern([0, PORT_MAX]);
  return {
    empty,
    full,
    get size() {
      return byKey.size;
    },
    forget(keep) {
      byKey = new Map([empty, full, ...keep].map((set) => [set.bounds.join(','), set]));
    },
    of,
    complement,
    intersect,
    union: (a, b) => (a === b ? a : of([...rangesOf(a), ...rangesOf(b)])),
  };
}

export function contains(set: IntervalSet, value: number): boolean {
  let lo = 0;
  let hi = set.bounds.length / 2 - 1;
  while (lo <= hi) {
    const mid = (lo + hi) >> 1;
    if (value < set.bounds[2 * mid]!) hi = mid - 1;
    else if (value > set.bounds[2 * mid + 1]!) lo = mid + 1;
    else return true;
  }
  return false;
}

/** The intervals as ranges. */
export function rangesOf(set: IntervalSet): { readonly first: number; readonly last: number }[] {
  const out: { first: number; last: number }[] = [];
  for (let i = 0; i < set.bounds.length; i += 2)
    out.push({ first: set.bounds[i]!, last: set.bounds[i + 1]! });
  return out;
}

/** The fewest 16-bit prefixes that make up first..last. */
export function prefixesOf(
  first: number,
  last: number,
): { readonly value: number; readonly prefixLen: number }[] {
  const out: { value: number; prefixLen: number }[] = [];
  let at = first;
  while (at <= last) {
    let bits = 0;
    while (bits < 16 && at % (1 << (bits + 1)) === 0 && at + (1 << (bits + 1)) - 1 <= last) bits++;
    out.push({ value: at, prefixLen: 16 - bits });
    at += 1 << bits;
  }
  return out;
}

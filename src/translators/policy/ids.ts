/**
 * Numbers for things that carry no meaning (nodes, outcomes, bits). A number that was released is not handed out again
 * before the whole space went round, so a row that lingers on a target never names the wrong thing for long.
 */
export interface IdSpace {
  /** A free number, or undefined when every number is in use. */
  take(): number | undefined;
  release(id: number): void;
  /** Takes this one; false when it is in use, or none of the space's. */
  claim(id: number): boolean;
}

/** Numbers `first`..`last`, both included; `start` is the first one handed out. */
export function createIdSpace(first: number, last: number, start = first): IdSpace {
  const used = new Set<number>();
  const size = last - first + 1;
  let next = first + ((start - first) % size);
  return {
    take() {
      if (used.size >= size) return undefined;
      while (used.has(next)) next = next === last ? first : next + 1;
      const id = next;
      used.add(id);
      next = next === last ? first : next + 1;
      return id;
    },
    release(id) {
      used.delete(id);
    },
    claim(id) {
      if (!Number.isInteger(id) || id < first || id > last || used.has(id)) return false;
      used.add(id);
      return true;
    },
  };
}

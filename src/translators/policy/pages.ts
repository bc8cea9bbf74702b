import { createIdSpace, type IdSpace } from './ids';
import { FAMILY_4, FAMILY_6 } from './labels';

/**
 * Which bit stands for which label. A *page* is one such assignment, LABEL_BITS wide; an address has a row for each page in which
 * it has labels, and a program reads one page. Nodes ask for a few hundred labels as a rule, and then there is one page.
 *
 * A bit is not given to another label while a row on the target may still mean the old one by it: a label that nobody asks for any
 * more frees its bit only with `settle`.
 */
export interface Pages {
  /**
   * The page of a program that asks for these labels: the one that `whose` had, if it has room, else the first that has. Undefined
   * when they are more than a page can hold. It holds until `whose` is placed again, or leaves.
   */
  place(whose: string, labels: ReadonlySet<number>): number | undefined;
  leave(whose: string): void;
  /** Ends a compile: labels that no program asks for leave their page, unless `keep`. */
  end(keep: boolean): void;
  /** The target holds the rows of the last compile, and no others. */
  settle(): void;
  /** By number; the first is always there. */
  readonly pages: ReadonlyMap<number, Page>;
}

export interface Page {
  /** Key field `page` of addr_labels. */
  readonly number: number;
  /** Bits by label. */
  readonly bits: ReadonlyMap<number, number>;
}

const FIRST_PAGE = 1;

/** Words of 64 bits in a row of addr_labels. */
export const LABEL_WORDS = 8;
export const LABEL_BITS = 64 * LABEL_WORDS;

const FAMILIES: readonly (readonly [number, number])[] = [
  [FAMILY_4, 0],
  [FAMILY_6, 1],
];

/** Labels that a program may ask for, the families not counted. */
export const PAGE_ROOM = LABEL_BITS - FAMILIES.length;

interface OpenPage extends Page {
  readonly bits: Map<number, number>;
  readonly ids: IdSpace;
  /** How many programs ask for a label. */
  readonly wanted: Map<number, number>;
}

interface Placed {
  readonly page: OpenPage;
  readonly labels: ReadonlySet<number>;
}

export function createPages(): Pages {
  const pages = new Map<number, OpenPage>();
  const places = new Map<string, Placed>();
  /** Bits that may still be on the target. */
  let leaving: { readonly page: OpenPage; readonly bit: number }[] = [];
  /** Pages that may still be on the target. */
  const retired = new Set<number>();

  const open = (): OpenPage => {
    let number = 1;
    while (pages.has(number) || retired.has(number)) number++;
    const ids = createIdSpace(FAMILIES.length, LABEL_BITS - 1);
    const page = { number, bits: new Map(FAMILIES), ids, wanted: new Map<number, number>() };
    pages.set(number, page);
    return page;
  };
  open();

  /** All or nothing. */
  const fits = (page: OpenPage, labels: ReadonlySet<number>): boolean => {
    const missing = [...labels].filter((label) => !page.bits.has(label));
    const taken: number[] = [];
    for (let i = 0; i < missing.length; i++) {
      const bit = page.ids.take();
      if (bit === undefined) {
        for (const back of taken) page.ids.release(back);
        return false;
      }
      taken.push(bit);
    }
    missing.forEach((label, i) => page.bits.set(label, taken[i]!));
    return true;
  };

  const roomFor = (labels: ReadonlySet<number>, before: OpenPage | undefined): OpenPage | undefined => {
    if (before !== undefined && fits(before, labels)) return before;
    const other = [...pages.values()].find((page) => fits(page, labels));
    if (other !== undefined) return other;
    const opened = open();
    return fits(opened, labels) ? opened : undefined;
  };

  const leave = (whose: string): void => {
    const before = places.get(whose);
    if (before === undefined) return;
    places.delete(whose);
    const { wanted } = before.page;
    for (const label of before.labels) {
      const left = wanted.get(label)! - 1;
      if (left === 0) wanted.delete(label);
      else wanted.set(label, left);
    }
  };

  return {
    pages,
    place(whose, labels) {
      const before = places.get(whose);
      if (before?.labels === labels) return before.page.number;
      leave(whose);
      if (labels.size > PAGE_ROOM) return undefined;
      if (labels.size === 0) return FIRST_PAGE;
      const page = roomFor(labels, before?.page);
      if (page === undefined) return undefined;
      places.set(whose, { page, labels });
      for (const label of labels) page.wanted.set(label, (page.wanted.get(label) ?? 0) + 1);
      return page.number;
    },
    leave,
    end(keep) {
      if (keep) return;
      for (const page of pages.values()) {
        for (const [label, bit] of page.bits) {
          if (bit < FAMILIES.length || page.wanted.has(label)) continue;
          page.bits.delete(label);
          leaving.push({ page, bit });
        }
        if (page.wanted.size > 0 || page.number === FIRST_PAGE) continue;
        pages.delete(page.number);
        retired.add(page.number);
      }
    },
    settle() {
      for (const { page, bit } of leaving) page.ids.release(bit);
      leaving = [];
      retired.clear();
    },
  };
}

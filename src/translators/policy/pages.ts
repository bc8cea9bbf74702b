import type { Contents } from './contents';
import { createIdSpace, type IdSpace } from './ids';
import { FAMILY_4, FAMILY_6 } from './labels';
import { NO_MEMORY, type NumberMemory } from './number-memory';

/**
 * Which bit stands for which label. A *page* is one such assignment, LABEL_BITS wide; an address has a row for each page in which
 * it has labels, and a program reads one page. Nodes ask for a few hundred labels as a rule, and then there is one page.
 *
 * A bit is not given to another label while a row on the target may still mean the old one by it: a label that nobody asks for any
 * more frees its bit only with `settle`.
 */
export interface Pages {
  /**
   * The page of a program that asks for these labels: the one that `whose` had, if it has room, else the one that has most of them, of
   * those that have room. Undefined when they are more than a page can hold. It holds until `whose` is placed again, or leaves.
   */
  place(whose: number, labels: ReadonlySet<number>): number | undefined;
  leave(whose: number): void;
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
  /** Bits by what they are remembered for. What nobody has asked for yet is kept from others all the same. */
  readonly waiting: Map<string, number>;
}

interface Placed {
  readonly page: OpenPage;
  readonly labels: ReadonlySet<number>;
}

/** Without `contents` nothing is remembered. */
export function createPages(memory: NumberMemory = NO_MEMORY, contents?: Contents): Pages {
  const pages = new Map<number, OpenPage>();
  const places = new Map<number, Placed>();
  /** Numbers of the pages of programs that nobody has placed yet in this run. */
  const remembered = new Map<number, number>();
  /** Bits that may still be on the target. */
  let leaving: { readonly page: OpenPage; readonly bit: number }[] = [];
  /** Pages that may still be on the target. */
  const retired = new Set<number>();

  const unusedNumber = (): number => {
    let number = FIRST_PAGE;
    while (pages.has(number) || retired.has(number)) number++;
    return number;
  };
  const open = (number = unusedNumber()): OpenPage => {
    const ids = createIdSpace(FAMILIES.length, LABEL_BITS - 1);
    const page: OpenPage = { number, bits: new Map(FAMILIES), ids, wanted: new Map(), waiting: new Map() };
    pages.set(number, page);
    return page;
  };
  open();
  for (const [number, content] of memory.remembered('label')) {
    const [page, bit] = [Math.floor(number / LABEL_BITS), number % LABEL_BITS];
    const { ids, waiting } = pages.get(page) ?? open(page);
    if (!ids.claim(bit)) continue;
    const twin = waiting.get(content);
    if (twin !== undefined) leaving.push({ page: pages.get(page)!, bit: twin });
    waiting.set(content, bit);
  }
  for (const [program, page] of memory.remembered('program-page')) {
    remembered.set(program, Number(page));
  }

  /** All or nothing. */
  const fits = (page: OpenPage, labels: ReadonlySet<number>): boolean => {
    const missing = [...labels].filter((label) => !page.bits.has(label));
    const taken: number[] = [];
    const names = missing.map((label) => contents?.label(label) ?? '');
    for (const name of names) {
      const bit = page.waiting.get(name) ?? page.ids.take();
      if (bit === undefined) {
        taken.forEach((back, i) => {
          if (page.waiting.get(names[i]!) !== back) page.ids.release(back);
        });
        return false;
      }
      taken.push(bit);
    }
    missing.forEach((label, i) => {
      const [bit, name] = [taken[i]!, names[i]!];
      page.bits.set(label, bit);
      page.waiting.delete(name);
      if (contents !== undefined) memory.note('label', page.number * LABEL_BITS + bit, name);
    });
    return true;
  };

  const missingIn = ({ bits }: OpenPage, labels: ReadonlySet<number>): number => {
    let missing = 0;
    for (const label of labels) if (!bits.has(label)) missing++;
    return missing;
  };

  const roomFor = (labels: ReadonlySet<number>, before: OpenPage | undefined): OpenPage | undefined => {
    if (before !== undefined && fits(before, labels)) return before;
    const others = [...pages.values()].map((page) => ({ page, missing: missingIn(page, labels) }));
    others.sort((a, b) => a.missing - b.missing);
    const other = others.find(({ page }) => fits(page, labels));
    if (other !== undefined) return other.page;
    const opened = open();
    return fits(opened, labels) ? opened : undefined;
  };

  const forsake = (whose: number, before: Placed): void => {
    places.delete(whose);
    const { wanted } = before.page;
    for (const label of before.labels) {
      const left = wanted.get(label)! - 1;
      if (left === 0) wanted.delete(label);
      else wanted.set(label, left);
    }
  };

  const note = (whose: number, from: number | undefined, to: number): void => {
    if (from === to) return;
    if (to !== FIRST_PAGE) memory.note('program-page', whose, String(to));
    else if (from !== undefined) memory.drop('program-page', whose);
  };

  return {
    pages,
    place(whose, labels) {
      const before = places.get(whose);
      if (before?.labels === labels) return before.page.number;
      const from = before?.page.number ?? remembered.get(whose);
      remembered.delete(whose);
      if (before !== undefined) forsake(whose, before);
      const page =
        labels.size === 0 || labels.size > PAGE_ROOM
          ? undefined
          : roomFor(labels, from === undefined ? undefined : pages.get(from));
      note(whose, from, page?.number ?? FIRST_PAGE);
      if (page === undefined) return labels.size === 0 ? FIRST_PAGE : undefined;
      places.set(whose, { page, labels });
      for (const label of labels) page.wanted.set(label, (page.wanted.get(label) ?? 0) + 1);
      return page.number;
    },
    leave(whose) {
      const before = places.get(whose);
      if (before === undefined) return;
      forsake(whose, before);
      note(whose, before.page.number, FIRST_PAGE);
    },
    end(keep) {
      for (const whose of remembered.keys()) memory.drop('program-page', whose);
      remembered.clear();
      if (keep) return;
      for (const page of pages.values()) {
        for (const [label, bit] of page.bits) {
          if (bit < FAMILIES.length || page.wanted.has(label)) continue;
          page.bits.delete(label);
          leaving.push({ page, bit });
        }
        if (page.wanted.size > 0 || page.number === FIRST_PAGE) continue;
        for (const bit of page.waiting.values()) leaving.push({ page, bit });
        page.waiting.clear();
        pages.delete(page.number);
        retired.add(page.number);
      }
    },
    settle() {
      for (const page of pages.values()) {
        for (const bit of page.waiting.values()) leaving.push({ page, bit });
        page.waiting.clear();
      }
      for (const { page, bit } of leaving) {
        page.ids.release(bit);
        memory.drop('label', page.number * LABEL_BITS + bit);
      }
      leaving = [];
      retired.clear();
    },
  };
}

/** Labels as people read them: `{IPv4, set s:abc}`. */
import type { TargetNames } from '../driver/names';
import { bitsOf, type Words } from '../translators/policy/words';

/**
 * `page` is undefined in rows that do not tell it (masks, steps): then the bits have names only as long as there is one page, which
 * is the rule.
 */
export function labelWords(words: Words, page: number | undefined, names: TargetNames): string {
  const known = page ?? onlyPage(names);
  const labels = bitsOf(words).map((bit) => names.labels.get(`${known ?? '?'}/${bit}`) ?? `bit ${bit}`);
  return `{${labels.join(', ')}}`;
}

function onlyPage({ labels }: TargetNames): string | undefined {
  const pages = new Set([...labels.keys()].map((key) => key.slice(0, key.indexOf('/'))));
  return pages.size === 1 ? [...pages][0] : undefined;
}

/** The fields `w0`, `w1`, … of a row; undefined when it has none. */
export function wordsIn(fields: Readonly<Record<string, bigint>>): Words | undefined {
  const words = Object.entries(fields).filter(([name]) => /^w\d$/.test(name));
  return words.length === 0 ? undefined : Object.fromEntries(words);
}

/** Words as a trace has them, in order. */
export function wordsOfList(values: readonly bigint[]): Words {
  return Object.fromEntries(values.map((value, i) => [`w${i}`, value]));
}

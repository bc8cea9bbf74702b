import { LABEL_WORDS, type Page } from './pages';

/** Labels as the words of 64 bits that stand for them: `w0` has bits 0 to 63, the lowest first. */
export type Words = Readonly<Record<string, bigint>>;

export function wordsOfBits(count: number, bits: Iterable<number>): Words {
  const words = new Array<bigint>(count).fill(0n);
  for (const bit of bits) words[bit >> 6] = words[bit >> 6]! | (1n << BigInt(bit & 63));
  return Object.fromEntries(words.map((word, i) => [`w${i}`, word]));
}

/** Labels of addresses; those that the page has no bit for are left out. */
export function wordsOf({ bits }: Page, labels: readonly number[]): Words {
  return wordsOfBits(
    LABEL_WORDS,
    labels.flatMap((label) => bits.get(label) ?? []),
  );
}

/** The bits that are set. */
export function bitsOf(words: Words): readonly number[] {
  const bits: number[] = [];
  Object.keys(words).forEach((_, i) => {
    for (let left = words[`w${i}`] ?? 0n, bit = 64 * i; left !== 0n; left >>= 1n, bit++) {
      if ((left & 1n) === 1n) bits.push(bit);
    }
  });
  return bits;
}

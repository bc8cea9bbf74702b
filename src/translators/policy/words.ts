import { LABEL_WORDS, type Page } from './pages';

/** Labels as the words of 64 bits that stand for them: `w0` has bits 0 to 63, the lowest first. */
export type Words = Readonly<Record<string, bigint>>;

export function wordsOfBits(count: number, bits: Iterable<number>): Words {
  // Halves of 32 bits: a big integer for each bit would cost more than all else.
  const halves = new Uint32Array(2 * count);
  for (const bit of bits) halves[bit >> 5] = halves[bit >> 5]! | (1 << (bit & 31));
  const words: Record<string, bigint> = {};
  for (let i = 0; i < count; i++) {
    const [low, high] = [halves[2 * i]!, halves[2 * i + 1]!];
    // Most are 0: one object for all.
    words[NAMES[i]!] = high === 0 ? (low === 0 ? 0n : BigInt(low)) : (BigInt(high) << 32n) | BigInt(low);
  }
  return words;
}

const NAMES = Array.from({ length: LABEL_WORDS }, (_, i) => `w${i}`);

/** Labels of addresses; those that the page has no bit for are left out. */
export function wordsOf({ bits }: Page, labels: readonly number[]): Words {
  const own: number[] = [];
  for (const label of labels) {
    const bit = bits.get(label);
    if (bit !== undefined) own.push(bit);
  }
  return wordsOfBits(LABEL_WORDS, own);
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

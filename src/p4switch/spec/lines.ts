import { CalicoP4Error } from '../../errors';

/** A line of the spec that is not blank: its number (from 1) and its words; comments are cut off. */
export interface Line {
  readonly number: number;
  readonly words: readonly string[];
}

/** Names, field references and labels must be shorter (RTE_SWX_NAME_SIZE). */
export const NAME_LENGTH_MAX = 63;

/** Splits the text into words; `#`, `;` and `//` at the start of a word begin a comment, as in DPDK. */
export function splitLines(text: string): readonly Line[] {
  const lines: Line[] = [];
  text.split('\n').forEach((raw, index) => {
    const words: string[] = [];
    for (const word of raw.split(/[ \f\r\t\v]+/)) {
      if (word === '') continue;
      if (word.startsWith('#') || word.startsWith(';') || word.startsWith('//')) break;
      words.push(word);
    }
    if (words.length > 0) lines.push({ number: index + 1, words });
  });
  return lines;
}

/** The parser's one error: what is wrong, and on which line. */
export function specError(line: number, problem: string): CalicoP4Error {
  return new CalicoP4Error('SPEC_INVALID', `spec line ${line}: ${problem}`, { line });
}

/**
 * An unsigned 64-bit number as C's strtoull reads it. Refused, where DPDK would silently saturate or read octal:
 * numbers over 64 bits, and leading zeros.
 */
export function parseNumber(word: string): bigint | undefined {
  if (!/^(0|[1-9][0-9]*|0[xX][0-9a-fA-F]+)$/.test(word)) return undefined;
  const value = BigInt(word);
  return value < 1n << 64n ? value : undefined;
}

/** A number that sizes something; at most 2^31. */
export function parseSize(line: Line, word: string | undefined, what: string): number {
  const value = word === undefined ? undefined : parseNumber(word);
  if (value === undefined || value > 1n << 31n)
    throw specError(line.number, `${what} must be a number up to 2^31, not '${word ?? ''}'`);
  return Number(value);
}

/** Text that was right, with some of its words taken away, repeated, exchanged or replaced. */
import fc from 'fast-check';

const STRANGE = [
  '0',
  '-1',
  '1',
  '255',
  '256',
  '65536',
  '4294967295',
  '2147483648',
  '99999999999999999999999999',
  '0x7fffffff',
  '1e308',
  'NaN',
  'null',
  'true',
  '~',
  '""',
  '{',
  '}',
  '{}',
  '[',
  ']',
  '[]',
  ':',
  '<',
  '>',
  '"',
  "'",
  '\\',
  '&a',
  '*a',
  '!!binary x',
  '__proto__',
  'constructor',
  'hasOwnProperty',
  'none',
  '\0',
  '\ufeff',
  '\u{1f600}',
  'é'.repeat(70),
  'x'.repeat(3000),
] as const;

/** Up to six changes; `split` must keep the separators, so that joining the words gives the text back. */
export function changedWords(text: string, split: RegExp): fc.Arbitrary<string> {
  const words = text.split(split);
  const change = fc.record({
    kind: fc.constantFrom('remove', 'repeat', 'exchange', 'strange', 'letters', 'copy'),
    at: fc.nat(words.length - 1),
    other: fc.nat(words.length - 1),
    strange: fc.constantFrom<string>(...STRANGE),
    letters: fc.string({ maxLength: 8 }),
  });
  return fc.array(change, { minLength: 1, maxLength: 6 }).map((changes) => {
    const out = [...words];
    for (const { kind, at, other, strange, letters } of changes) {
      switch (kind) {
        case 'remove':
          out[at] = '';
          break;
        case 'repeat':
          out[at] = `${out[at]!} ${out[at]!}`;
          break;
        case 'exchange':
          [out[at], out[other]] = [out[other]!, out[at]!];
          break;
        case 'copy':
          out[at] = out[other]!;
          break;
        case 'strange':
          out[at] = strange;
          break;
        case 'letters':
          out[at] = letters;
          break;
      }
    }
    return out.join('');
  });
}

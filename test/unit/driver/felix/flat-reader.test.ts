import fc from 'fast-check';
import { Reader, Writer } from 'protobufjs';
import { createFlatReader } from '../../../../src/driver/felix/flat-reader';

/** All strings that a reader finds, then how it ended and where. */
function read(reader: Reader, strings: number): readonly (string | number)[] {
  const got: (string | number)[] = [];
  try {
    for (let i = 0; i < strings; i++) got.push(reader.stringVerify());
  } catch (e) {
    got.push((e as Error).message);
  }
  return [...got, reader.pos];
}

const text = fc.oneof(
  { weight: 3, arbitrary: fc.string({ unit: 'binary-ascii', maxLength: 40 }) },
  { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 40 }) },
  { weight: 1, arbitrary: fc.integer({ min: 120, max: 300 }).map((n) => 'x'.repeat(n)) },
);

test('strings are those of protobufjs, wherever the bytes lie', () => {
  fc.assert(
    fc.property(fc.array(text, { maxLength: 8 }), fc.nat(20), (texts, offset) => {
      const writer = Writer.create();
      texts.forEach((t) => writer.string(t));
      const bytes = writer.finish();
      const buffer = Buffer.concat([Buffer.alloc(offset, 1), bytes, Buffer.alloc(3, 1)]);
      for (const part of [
        buffer.subarray(offset, offset + bytes.length),
        new Uint8Array(buffer).subarray(offset, offset + bytes.length),
      ]) {
        expect(read(createFlatReader(part), texts.length)).toEqual([...texts, bytes.length]);
      }
    }),
  );
});

test('so are the errors: cut strings, lengths of any form, bytes that are not UTF-8', () => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 30 }),
    // Short lengths, and characters on both sides of ASCII's end.
    fc
      .array(fc.constantFrom(0, 1, 2, 3, 0x41, 0x7f, 0x80, 0xc3, 0xa4, 0xff), { maxLength: 30 })
      .map((xs) => Uint8Array.from(xs)),
  );
  let failed = 0;
  fc.assert(
    fc.property(bytes, (part) => {
      const theirs = read(Reader.create(Buffer.from(part)), 8);
      expect(read(createFlatReader(part), 8)).toEqual(theirs);
      failed += theirs.length < 9 ? 1 : 0;
    }),
    { numRuns: 2000 },
  );
  expect(failed).toBeGreaterThan(100);
});

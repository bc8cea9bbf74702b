import fc from 'fast-check';
import { createFelixSession } from '../../../../src/driver/felix/felix-session';
import { createFrameDecoder, encodeFrame } from '../../../../src/driver/felix/frame-decoder';
import { CalicoP4Error } from '../../../../src/errors';
import { framesOf, recording } from './recordings';

const minimal = recording('01-minimal');
const messages = framesOf(minimal).map((frame) => frame.subarray(8));
const boundaries = new Set(
  framesOf(minimal).reduce<number[]>((ends, f) => [...ends, ends.at(-1)! + f.length], [0]),
);

test('a stream cut in two at every byte gives the same messages', () => {
  for (let cut = 0; cut <= minimal.length; cut++) {
    const decoder = createFrameDecoder();
    const got = [...decoder.push(minimal.subarray(0, cut)), ...decoder.push(minimal.subarray(cut))];
    decoder.end();
    expect(got.length).toBe(messages.length);
    expect(Buffer.concat(got).equals(Buffer.concat(messages))).toBe(true);
  }
});

test('a stream that comes byte by byte gives the same messages', () => {
  const decoder = createFrameDecoder();
  const got = [...minimal].flatMap((byte) => decoder.push(Uint8Array.of(byte)));
  decoder.end();
  expect(got.map((m) => Buffer.from(m))).toEqual(messages);
});

test('a stream that ends at any byte inside a frame is truncated, and at a frame is not', () => {
  for (let cut = 0; cut <= minimal.length; cut++) {
    const session = createFelixSession();
    session.push(minimal.subarray(0, cut));
    const end = () => {
      session.end();
    };
    if (boundaries.has(cut)) {
      expect(end).not.toThrow();
    } else {
      expect(end).toThrow(expect.objectContaining({ code: 'FELIX_STREAM_TRUNCATED' }) as Error);
    }
  }
});

test('pieces of an unfinished message are not views of the chunk they came in', () => {
  const decoder = createFrameDecoder();
  const chunk = Buffer.from(encodeFrame(Buffer.from('abcdef')).subarray(0, 11));
  decoder.push(chunk);
  chunk.fill(0);
  expect(Buffer.from(decoder.push(Buffer.from('def'))[0]!).toString()).toBe('abcdef');
});

test('a frame above the limit is refused by its length alone, and one at the limit is not', () => {
  const code = { code: 'FELIX_FRAME_TOO_LARGE' };
  const length = (hex: string) => Buffer.from(hex, 'hex');
  expect(() => createFrameDecoder().push(length('ffffffffffffffff'))).toThrow(
    expect.objectContaining(code) as Error,
  );
  expect(() => createFrameDecoder().push(length('0100000400000000'))).toThrow(
    expect.objectContaining(code) as Error,
  );
  expect(createFrameDecoder().push(length('0000000400000000'))).toEqual([]);
  const small = createFrameDecoder({ maxFrameBytes: 4 });
  expect(small.push(encodeFrame(Buffer.from('four')))).toHaveLength(1);
  expect(() => small.push(encodeFrame(Buffer.from('fives')))).toThrow(expect.objectContaining(code) as Error);
});

test('whatever is framed comes out again', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array()), fc.array(fc.nat(40)), (bodies, cuts) => {
      const stream = Buffer.concat(bodies.map(encodeFrame));
      const decoder = createFrameDecoder();
      const got: Uint8Array[] = [];
      let at = 0;
      for (const size of [...cuts, stream.length]) {
        got.push(...decoder.push(stream.subarray(at, at + size)));
        at += size;
      }
      decoder.end();
      expect(got.map((m) => Buffer.from(m))).toEqual(bodies.map((b) => Buffer.from(b)));
    }),
  );
});

describe('garbage', () => {
  /** Pushes a stream; the only way to fail is a CalicoP4Error of the link's. */
  function survives(stream: Uint8Array): CalicoP4Error | undefined {
    const session = createFelixSession({ maxFrameBytes: 1 << 20 });
    try {
      session.push(stream);
      session.end();
      return undefined;
    } catch (e) {
      if (e instanceof CalicoP4Error && e.code.startsWith('FELIX_')) {
        return e;
      }
      throw e;
    }
  }

  test('random bytes, framed or not, are refused with a clear error', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 200 }), (bytes) => {
        expect(survives(bytes)).toBeInstanceOf(CalicoP4Error);
        survives(encodeFrame(bytes));
      }),
      { numRuns: 2000 },
    );
  });

  test('a real stream with a few bytes changed is read or refused, and never anything else', () => {
    const policy = recording('release-3.30.7');
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(policy.length - 1), fc.nat(255)), { minLength: 1, maxLength: 5 }),
        (changes) => {
          const stream = Buffer.from(policy);
          for (const [at, byte] of changes) {
            stream[at] = byte;
          }
          survives(stream);
        },
      ),
      { numRuns: 300 },
    );
  });

  test('an error is the end: the session throws it again', () => {
    const session = createFelixSession();
    const bad = encodeFrame(Buffer.from('garbage'));
    const push = (bytes: Uint8Array) => () => {
      session.push(bytes);
    };
    expect(push(bad)).toThrow(CalicoP4Error);
    expect(push(minimal)).toThrow(expect.objectContaining({ code: 'FELIX_MESSAGE_INVALID' }) as Error);
    expect(session.frames).toBe(0);
  });
});

/**
 * Whatever comes over the link: the session refuses it with an error of its own, or the model that it gives compiles.
 * Never another exception, never a hang.
 */
import fc from 'fast-check';
import { createFelixSession } from '../../src/driver/felix/felix-session';
import { encodeFrame } from '../../src/driver/felix/frame-decoder';
import { createPlacement } from '../../src/driver/placement';
import { CalicoP4Error } from '../../src/errors';
import type { FelixModel } from '../../src/model/model';
import { activeWorkloads, endpointRows } from '../../src/translators/endpoints';
import { createPolicyCompiler, type Phase } from '../../src/translators/policy/compiler';
import { fuzz, timeoutOf } from './support/budget';
import { recordedStreams } from './support/recorded-streams';
import { MUTATIONS, mutate, withSequence, type Mutation } from './support/wire-mutations';

const PORTS = { uplink: 0, host: 1 };
/** Far more than any run needs, also on a busy machine: a hang is what it finds. */
const MAX_SECONDS = 20;

const streams = recordedStreams();

/** What the stream comes to: an error code of the Felix link, or a compiled model. Throws for anything else. */
function outcome(stream: Uint8Array, cut: number): string {
  const started = performance.now();
  const session = createFelixSession();
  const compile = compilerOf(session.model);
  let refused: string | undefined;
  try {
    for (let at = 0; at < stream.length; at += cut) {
      session.push(stream.subarray(at, at + cut));
      // Once more on the way: then the compiler has a state that the rest of the stream changes.
      if (at < stream.length / 2 && at + cut >= stream.length / 2) compile('transition');
    }
    session.end();
  } catch (error) {
    if (!(error instanceof CalicoP4Error) || !error.code.startsWith('FELIX_')) throw error;
    refused = error.code;
  }
  if (refused === undefined) compile('final');
  expect((performance.now() - started) / 1000).toBeLessThan(MAX_SECONDS);
  return refused ?? 'compiled';
}

function compilerOf(model: FelixModel): (phase: Phase) => void {
  const placement = createPlacement(2);
  const compiler = createPolicyCompiler();
  return (phase) => {
    const endpoints = placement.place(activeWorkloads(model));
    compiler.compile(model, endpoints, phase);
    endpointRows(model, endpoints, PORTS);
  };
}

const mutation: fc.Arbitrary<Mutation> = fc.record({
  kind: fc.constantFrom(...MUTATIONS),
  at: fc.nat(),
  depth: fc.nat(6),
  value: fc.nat(),
});

/** Changes of the stream as a whole. */
const streamChange = fc.oneof(
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('message' as const), frame: fc.nat(), mutation }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('drop', 'repeat', 'swap'), frame: fc.nat() }) },
);
type StreamChange = typeof streamChange extends fc.Arbitrary<infer T> ? T : never;

function changedStream(
  messages: readonly Uint8Array[],
  changes: readonly StreamChange[],
  renumber: boolean,
): Uint8Array {
  const out = [...messages];
  for (const change of changes) {
    if (out.length === 0) break;
    const at = change.frame % out.length;
    switch (change.kind) {
      case 'message':
        out[at] = mutate(out[at]!, (change as { readonly mutation: Mutation }).mutation);
        break;
      case 'drop':
        out.splice(at, 1);
        break;
      case 'repeat':
        out.splice(at, 0, out[at]!);
        break;
      case 'swap':
        [out[at], out[0]] = [out[0]!, out[at]!];
        break;
    }
  }
  return Buffer.concat(out.map((message, i) => encodeFrame(renumber ? withSequence(message, i) : message)));
}

const seen = new Map<string, number>();
function note(result: string): void {
  seen.set(result, (seen.get(result) ?? 0) + 1);
}

test(
  'mutated recordings are refused or compile',
  async () => {
    const property = fc.property(
      fc.nat(streams.length - 1),
      fc.array(streamChange, { minLength: 1, maxLength: 6 }),
      fc.integer({ min: 0, max: 9 }),
      fc.constantFrom(Infinity, 5000, 1000, 7),
      (which, changes, renumber, cut) => {
        const stream = changedStream(streams[which]!, changes, renumber > 0);
        note(outcome(stream, Math.min(cut, Math.max(1, stream.length))));
      },
    );
    await fuzz('felix streams', 400, property);
    // The mutations must neither break everything at once nor be harmless: otherwise this test tests little.
    expect(seen.get('compiled') ?? 0).toBeGreaterThan(20);
    expect(seen.get('FELIX_MESSAGE_INVALID') ?? 0).toBeGreaterThan(20);
  },
  timeoutOf('felix streams'),
);

test(
  'bytes: wrong lengths, flipped bits, cut streams, noise',
  async () => {
    const whole = streams.map((messages) => Buffer.concat(messages.map(encodeFrame)));
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 300 }),
      fc
        .tuple(
          fc.nat(whole.length - 1),
          fc.nat(),
          fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }),
        )
        .map(([which, length, flips]) => {
          const stream = Uint8Array.from(whole[which]!.subarray(0, length % (whole[which]!.length + 1)));
          for (const [at, to] of flips) if (stream.length > 0) stream[at % stream.length] = to;
          return stream;
        }),
    );
    await fuzz(
      'felix bytes',
      300,
      fc.property(bytes, (stream) => {
        outcome(stream, Math.max(1, stream.length));
      }),
    );
  },
  timeoutOf('felix bytes'),
);

test('a frame that claims more than it may is refused before anything is allocated', () => {
  const header = Buffer.alloc(8);
  for (const length of [64n * 1024n * 1024n + 1n, 1n << 40n, (1n << 64n) - 1n]) {
    header.writeBigUInt64LE(length);
    const before = process.memoryUsage().arrayBuffers;
    expect(outcome(header, 8)).toBe('FELIX_FRAME_TOO_LARGE');
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1 << 20);
  }
});

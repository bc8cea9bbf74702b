/**
 * Machine code that our compiler makes of a spec against the interpreter, beyond the instructions of today's pipeline: programs of
 * random instructions are compiled into an engine of their own, and random packets come out the same, with the same counts.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Which } from '../../../src/p4switch/dpdk/protocol';
import { createInterpreter } from '../../../src/p4switch/interpreter/interpreter';
import { writeProgram } from '../../../src/p4switch/native-code/program';
import { parseSpec } from '../../../src/p4switch/spec/parser';
import { SEED } from '../../seed';
import { benchSpec } from '../../unit/p4switch/interpreter/bench';
import { seededRandom } from '../dpdk/random';
import { describeEngine, repoRoot, type RunningEngine, startEngine } from './engine';
import { randomEntries, randomProgram } from './random-program';

const SLOTS = 8;
const PACKETS = 600;
const PROGRAMS = Array.from({ length: 4 }, (_, n) => {
  const random = seededRandom(SEED + n);
  return { n, random, text: randomProgram(random, 60) };
});

describeEngine('a compiled program', { compiled: true }, () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'calico-p4-native-code-'));
  let engine: RunningEngine;

  beforeAll(async () => {
    const specs = PROGRAMS.map(({ n, text }) => {
      const file = path.join(folder, `${n}.spec`);
      writeFileSync(file, text);
      return file;
    });
    const build = path.join(folder, 'build');
    const binary = path.join(build, 'calico-p4-engine');
    const make = [
      '-C',
      path.join(repoRoot, 'native'),
      `BUILD=${build}`,
      `COMPILED=${specs.join(' ')}`,
      binary,
    ];
    execFileSync('make', make, { stdio: ['ignore', 'ignore', 'inherit'] });
    engine = await startEngine(['--slots', String(SLOTS)], 'plain', binary);
  }, 300_000);
  afterAll(async () => {
    await engine.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  it.each(PROGRAMS)('of random instructions does what the interpreter does: $n', async ({ random, text }) => {
    const spec = parseSpec(text);
    const interpreter = createInterpreter(spec, { now: () => 0, isPort: (port) => port < SLOTS });
    const description = await engine.run(text, spec);
    expect((await engine.client.engineStats()).compiled).toBe(true);
    const changes = randomEntries(random).map((e) => ({ kind: 'insert', ...e }) as const);
    for (const change of changes) interpreter.apply(change);
    await engine.client.write(Which.running, 1n, description, changes);

    const packets = Array.from({ length: PACKETS }, () => ({
      port: random.below(SLOTS),
      // The first byte says how long a header is, and is a key.
      frame: Uint8Array.from({ length: random.below(100) }, (_, i) => random.below(i === 0 ? 20 : 256)),
    }));
    const wanted = packets.map(({ port, frame }) => interpreter.process(port, frame, false).out.map(words));
    const got = (await engine.client.inject(packets)).map((out) => out.map(words));
    const differing = got
      .map((out, i) => ({ packet: words(packets[i]!), out, wanted: wanted[i]! }))
      .filter(({ out, wanted }) => out.join() !== wanted.join());
    expect(differing.slice(0, 3)).toEqual([]);
    expect(await engine.client.registers(description, 'counts', 0, 16)).toEqual(
      Array.from({ length: 16 }, (_, i) => interpreter.readRegister('counts', i)),
    );
    // Entries that are gone, and come back, in a table that was nearly full.
    const gone = changes.filter(({ table }) => table === 'exact_metadata');
    for (const { table, entry } of gone)
      interpreter.apply({ kind: 'delete', table, keys: entry.keys, priority: 0 });
    await engine.client.write(
      Which.running,
      2n,
      description,
      gone.map(({ table, entry }) => ({ kind: 'delete', table, keys: entry.keys, priority: 0 }) as const),
    );
    await engine.client.write(Which.running, 3n, description, gone.slice(0, 20));
    for (const change of gone.slice(0, 20)) interpreter.apply(change);
    expect((await engine.client.inject(packets)).map((out) => out.map(words).join())).toEqual(
      packets.map(({ port, frame }) => interpreter.process(port, frame, false).out.map(words).join()),
    );
  });
});

describe('what is left to the interpreter', () => {
  it.each([
    ['recirculate', 'recirculate'],
    ['recircid m.f32', 'recircid'],
  ])('%s is refused with its line', (body, what) => {
    const text = benchSpec({ body });
    expect(() => writeProgram({ name: 'x', text, spec: parseSpec(text) }, 'x')).toThrow(
      new RegExp(`line \\d+.*${what} is not compiled`),
    );
  });
});

function words({ port, frame }: { readonly port: number; readonly frame: Uint8Array }): string {
  return `${port} ${Buffer.from(frame).toString('hex')}`;
}

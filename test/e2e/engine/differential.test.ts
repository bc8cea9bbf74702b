/**
 * The native engine against the interpreter, with the real program: random rows and packets have the same verdicts, the same
 * bytes and the same counts on both. test/e2e/dpdk holds the interpreter against DPDK without our engine; here what the engine
 * adds is tried: its control layer, its one multiplexed input port, its rewriting of the spec.
 *
 * Not covered: lifetimes of learned entries (the packets of a run take milliseconds).
 */
import fs from 'node:fs';
import path from 'node:path';
import { Which } from '../../../src/p4switch/dpdk/protocol';
import { createInterpreter, type Interpreter } from '../../../src/p4switch/interpreter/interpreter';
import { parseSpec } from '../../../src/p4switch/spec/parser';
import { KINDS, randomPacket, type Injected, type Passed } from '../dpdk/packets';
import { seededRandom } from '../dpdk/random';
import { namedIn, randomRows } from '../dpdk/rows';
import { SEED } from '../../seed';
import { describeEngine, repoRoot, type RunningEngine, startEngine } from './engine';

const text = fs.readFileSync(path.join(repoRoot, 'pipelines', 'p4-dpdk', 'calico.spec'), 'utf8');
const spec = parseSpec(text);
const SLOTS = 16;
const SEEDS = [11, 12, 13, SEED];
const PACKETS = 5500;

const MODES = [
  ['machine code', true],
  ["DPDK's interpreter", false],
] as const;
/** Packets that go through the engine side by side. */
const TOGETHER = 4096;

for (const [mode, compiled] of MODES)
  describeEngine(`${mode} agrees with the interpreter`, { compiled }, () => {
    let engine: RunningEngine;

    beforeAll(async () => {
      engine = await startEngine(['--slots', String(SLOTS), ...(compiled ? [] : ['--interpret'])]);
    });
    afterAll(() => engine.stop());

    it.each(SEEDS)('rows and packets of seed %d', async (seed) => {
      const random = seededRandom(seed);
      const rows = randomRows(random).map((row) => namedIn(spec, row));
      const interpreter = createInterpreter(spec, { now: () => 0, isPort: (port) => port < SLOTS });
      for (const { table, entry } of rows) interpreter.apply({ kind: 'insert', table, entry });
      const passed: Passed[] = [];
      const packets: Injected[] = [];
      const expected = Array.from({ length: PACKETS }, () => {
        const packet = randomPacket(random, random.pick(KINDS), passed);
        packets.push(packet);
        const { out } = interpreter.process(packet.port, packet.frame, false);
        const [first] = out;
        if (first) {
          passed.push({ ...packet, outPort: first.port });
          if (passed.length > 500) passed.shift();
        }
        return out.map(words).join();
      });

      const description = await engine.run(text, spec);
      expect((await engine.client.engineStats()).compiled).toBe(compiled);
      const changes = rows.map(({ table, entry }) => ({ kind: 'insert', table, entry }) as const);
      await engine.client.write(Which.running, 1n, description, changes);
      const results = (await engine.client.inject(packets)).map((out) => out.map(words).join());

      const differing = results
        .map((got, i) => ({ i, kind: packets[i]!.kind, got, wanted: expected[i]! }))
        .filter(({ got, wanted }) => got !== wanted);
      expect(differing.slice(0, 3)).toEqual([]);
      expect(expected.filter((e) => e !== '').length).toBeGreaterThan(100);
      for (const { name, size } of spec.regarrays.values()) {
        const cells = Math.min(size, 64);
        const counts = await engine.client.registers(description, name, 0, cells);
        expect(counts).toEqual(Array.from({ length: cells }, (_, i) => interpreter.readRegister(name, i)));
      }
      // Side by side, as packets of ports are, they have the same verdicts. What they learn is known by then.
      const some = packets.slice(0, TOGETHER);
      for (const packet of [...some, ...some]) interpreter.process(packet.port, packet.frame, false);
      await engine.client.inject([...some, ...some]);
      const reasons = (): Promise<readonly bigint[]> => engine.client.registers(description, REASONS, 0, 32);
      const before = await reasons();
      const wanted = readAll(interpreter, 32);
      await engine.client.bench(some, some.length);
      for (const packet of some) interpreter.process(packet.port, packet.frame, false);
      expect((await reasons()).map((n, i) => n - before[i]!)).toEqual(
        readAll(interpreter, 32).map((n, i) => n - wanted[i]!),
      );
      // And the same connections were learned.
      for (const name of spec.learners.keys()) {
        const learned = await engine.client.learned(description, name);
        expect(learned.map((e) => e.keys.join()).sort()).toEqual(
          [...interpreter.learned(name)].map((e) => e.keys.join()).sort(),
        );
      }
    });

    it('on 20,000 packets and more', () => {
      expect(SEEDS.length * PACKETS).toBeGreaterThan(20_000);
    });
  });

const REASONS = [...spec.regarrays.keys()].find((name) => name.startsWith('reasons'))!;

function readAll(interpreter: Interpreter, cells: number): readonly bigint[] {
  return Array.from({ length: cells }, (_, i) => interpreter.readRegister(REASONS, i));
}

function words({ port, frame }: { readonly port: number; readonly frame: Uint8Array }): string {
  return `${port} ${Buffer.from(frame).toString('hex')}`;
}

/** Meters of the native engine: what packets get of them, and that they come back. No test waits for a bucket to fill. */
import type { EngineChange } from '../../../src/p4switch/dpdk/changes';
import type { Description } from '../../../src/p4switch/dpdk/description';
import { EngineRefusal } from '../../../src/p4switch/dpdk/link';
import { Status, Which } from '../../../src/p4switch/dpdk/protocol';
import type { MeterSetting } from '../../../src/p4switch/engine';
import { createInterpreter } from '../../../src/p4switch/interpreter/interpreter';
import { parseSpec } from '../../../src/p4switch/spec/parser';
import { describeEngine, type RunningEngine, startEngine } from './engine';

/** A packet names the meter and the amount; it leaves by the port of its colour. */
const TEXT = `
struct packet_t {
	bit<32> index
	bit<32> amount
}
struct meta_t {
	bit<32> in
	bit<32> colour
	bit<32> cells
}
header p instanceof packet_t
metadata instanceof meta_t
metarray limits size 0x8
metarray others size 0x10
regarray cells size 0x2 initval 0x0
apply {
	rx m.in
	extract h.p
	meter limits h.p.index h.p.amount 0x0 m.colour
	emit h.p
	tx m.colour
}
`;
const SPEC = parseSpec(TEXT);
const LIMIT: MeterSetting = { rate: 1n, burst: 1000n, peakRate: 1n, peakBurst: 2000n };

function packet(index: number, amount: number): Uint8Array {
  const frame = Buffer.alloc(60);
  frame.writeUInt32BE(index, 0);
  frame.writeUInt32BE(amount, 4);
  return frame;
}

const set = (index: number, setting: MeterSetting | undefined, array = 'limits'): EngineChange => ({
  kind: 'meter',
  array,
  index,
  setting,
});

describeEngine('meters of the engine', {}, () => {
  let engine: RunningEngine;
  let d: Description;

  const write = (...changes: readonly EngineChange[]): Promise<void> =>
    engine.client.write(Which.running, 1n, d, changes);
  /** 0 green, 1 yellow, 2 red. */
  const colours = async (...packets: readonly Uint8Array[]): Promise<(number | undefined)[]> =>
    (await engine.client.inject(packets.map((frame) => ({ port: 1, frame })))).map((out) => out[0]?.port);

  beforeAll(async () => {
    engine = await startEngine(['--slots', '16']);
  });
  beforeEach(async () => {
    d = await engine.run(TEXT, SPEC);
  });
  afterAll(() => engine.stop());

  it('everything is green before a meter is set, and after it was set back', async () => {
    const most = packet(3, 0xffff_ffff);
    expect(await colours(most, most, most)).toEqual([0, 0, 0]);
    await write(set(3, LIMIT));
    expect(await colours(most)).toEqual([2]);
    expect(await colours(packet(2, 0xffff_ffff))).toEqual([0]);
    await write(set(3, undefined));
    expect(await colours(most, most, most)).toEqual([0, 0, 0]);
  });

  it('colours as the interpreter does while the buckets do not fill', async () => {
    await write(set(1, LIMIT), set(2, { ...LIMIT, burst: 5000n, peakBurst: 3000n }));
    const mirror = createInterpreter(SPEC, { now: () => 0 });
    mirror.writeMeter('limits', 1, LIMIT);
    mirror.writeMeter('limits', 2, { ...LIMIT, burst: 5000n, peakBurst: 3000n });
    // Amounts are far from the rest in a bucket: a few seconds fill it by a few.
    const packets = [600, 300, 300, 700, 800, 500, 900, 400].flatMap((amount) => [
      packet(1, amount),
      packet(2, amount),
    ]);
    const expected = packets.map((frame) => mirror.process(1, frame, false).out[0]!.port);
    expect(new Set(expected)).toEqual(new Set([0, 1, 2]));
    expect(await colours(...packets)).toEqual(expected);
  });

  it('a meter of packets lets its burst pass', async () => {
    await write(set(0, { rate: 1n, burst: 20n, peakRate: 1n, peakBurst: 20n }));
    const out = await colours(...Array.from({ length: 500 }, () => packet(0, 1)));
    const green = out.filter((colour) => colour === 0).length;
    expect(green).toBeGreaterThanOrEqual(20);
    expect(green).toBeLessThan(100);
    expect(out.slice(0, 20)).toEqual(Array.from({ length: 20 }, () => 0));
  });

  it('one that is set again has full buckets, also twice in one transaction', async () => {
    await write(set(0, LIMIT));
    expect(await colours(packet(0, 1000), packet(0, 900))).toEqual([0, 1]);
    await write(set(0, { ...LIMIT, burst: 10n }), set(0, LIMIT));
    expect(await colours(packet(0, 1000))).toEqual([0]);
    await write(set(0, LIMIT), set(0, undefined));
    expect(await engine.client.meters(d, 'limits')).toEqual(Array.from({ length: 8 }, () => undefined));
    expect(await colours(packet(0, 0xffff_ffff))).toEqual([0]);
  });

  it('gives back what was set', async () => {
    const large = { rate: 1n << 40n, burst: 1n << 41n, peakRate: 1n << 42n, peakBurst: 1n << 43n };
    await write(set(7, large), set(15, LIMIT, 'others'));
    const limits = await engine.client.meters(d, 'limits');
    expect(limits).toHaveLength(8);
    expect(limits[7]).toEqual(large);
    expect(limits.slice(0, 7).every((m) => m === undefined)).toBe(true);
    expect((await engine.client.meters(d, 'others'))[15]).toEqual(LIMIT);
  });

  it.each<[string, EngineChange]>([
    ['a rate of 0', set(1, { ...LIMIT, rate: 0n })],
    ['a burst of 0', set(1, { ...LIMIT, burst: 0n })],
    ['a peak burst of 0', set(1, { ...LIMIT, peakBurst: 0n })],
    ['a peak rate below the rate', set(1, { ...LIMIT, rate: 2n })],
    ['an index beyond', set(8, LIMIT)],
  ])('refuses %s, and all that comes with it', async (_, wrong) => {
    await write(set(0, LIMIT));
    expect(await colours(packet(0, 1000))).toEqual([0]);
    const refused = write(
      set(0, { ...LIMIT, burst: 2000n }),
      { kind: 'register', array: 'cells', index: 0, value: 1n },
      wrong,
    );
    await expect(refused).rejects.toMatchObject({ status: Status.invalid, index: 2 });
    await expect(refused).rejects.toBeInstanceOf(EngineRefusal);
    expect((await engine.client.meters(d, 'limits'))[0]).toEqual(LIMIT);
    expect(await engine.client.registers(d, 'cells', 0, 1)).toEqual([0n]);
    // Not even its bucket was touched.
    expect(await colours(packet(0, 900))).toEqual([1]);
  });

  it('takes thousands of changes, one after the other and at once', async () => {
    for (let round = 0; round < 20; round++) {
      const changes = Array.from({ length: 400 }, (_, i) =>
        set(i % 8, i % 3 === 0 ? undefined : { ...LIMIT, burst: BigInt(round * 400 + i + 1) }),
      );
      await write(...changes);
    }
    const limits = await engine.client.meters(d, 'limits');
    // The last of each: 392 to 399.
    const last = Array.from({ length: 8 }, (_, i) => 392 + i);
    expect(limits).toEqual(
      last.map((i) => (i % 3 === 0 ? undefined : { ...LIMIT, burst: BigInt(19 * 400 + i + 1) })),
    );
  });
});

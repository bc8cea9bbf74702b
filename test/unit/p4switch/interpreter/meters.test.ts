import fc from 'fast-check';
import { type MeterArray, meterArray, GREEN, RED, YELLOW } from '../../../../src/p4switch/interpreter/meters';
import { SEED } from '../../../seed';
import { bench, wide } from './bench';

function meters(size = 8): { readonly array: MeterArray; readonly at: (seconds: number) => void } {
  let now = 0;
  const array = meterArray(size, () => now);
  return {
    array,
    at: (seconds) => {
      now = seconds;
    },
  };
}

const SETTING = { rate: 100n, burst: 300n, peakRate: 200n, peakBurst: 400n };

test('the buckets of RFC 2698: green while both hold enough, yellow while the peak one does, then red', () => {
  const { array, at } = meters();
  array.set(3, SETTING);
  expect(array.run(3, 300, GREEN)).toBe(GREEN);
  expect(array.run(3, 60, GREEN)).toBe(YELLOW);
  expect(array.run(3, 60, GREEN)).toBe(RED);
  expect(array.run(3, 40, GREEN)).toBe(YELLOW);
  // Half a second: 50 committed, 100 peak.
  at(0.5);
  expect(array.run(3, 50, GREEN)).toBe(GREEN);
  expect(array.run(3, 51, GREEN)).toBe(RED);
  expect(array.run(3, 50, GREEN)).toBe(YELLOW);
  // No more than the bursts, however long nobody comes.
  at(1e6);
  expect(array.run(3, 301, GREEN)).toBe(YELLOW);
  expect(array.run(3, 100, GREEN)).toBe(RED);
  expect(array.run(3, 99, GREEN)).toBe(GREEN);
});

test('a colour never gets better, and red takes nothing', () => {
  const { array } = meters();
  array.set(0, SETTING);
  for (let i = 0; i < 100; i++) expect(array.run(0, 300, RED)).toBe(RED);
  expect(array.run(0, 100, YELLOW)).toBe(YELLOW);
  expect(array.run(0, 300, GREEN)).toBe(GREEN);
});

test('a meter that is not set calls everything green; one that is set again has full buckets', () => {
  const { array } = meters();
  expect(array.run(1, 0xffff_ffff, RED)).toBe(GREEN);
  array.set(1, SETTING);
  expect(array.run(1, 300, GREEN)).toBe(GREEN);
  expect(array.run(1, 300, GREEN)).toBe(RED);
  expect(array.run(2, 300, GREEN)).toBe(GREEN);
  array.set(1, SETTING);
  expect(array.run(1, 300, GREEN)).toBe(GREEN);
  array.set(1, undefined);
  expect(array.get(1)).toBeUndefined();
  expect(array.run(1, 1e9, GREEN)).toBe(GREEN);
});

test('what is green is never more than the burst and the rate times the time', () => {
  const step = fc.record({
    seconds: fc.double({ min: 0, max: 3, noNaN: true }),
    amount: fc.integer({ min: 1, max: 400 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const { array, at } = meters();
      array.set(0, SETTING);
      let [now, green] = [0, 0];
      for (const { seconds, amount } of steps) {
        at((now += seconds));
        if (array.run(0, amount, GREEN) === GREEN) green += amount;
        expect(green).toBeLessThanOrEqual(300 + 100 * now + 1e-6);
      }
    }),
    { seed: SEED },
  );
});

test('the instruction, with an index beyond the array', () => {
  const engine = bench({
    declarations: 'metarray limits size 0x4',
    body: 'extract h.h\nmetprefetch limits h.h.f16\nmeter limits h.h.f16 h.h.f32 0x0 m.f8\nmov h.h.f8 m.f8\nemit h.h',
  });
  engine.writeMeter('limits', 1, { rate: 1n, burst: 10n, peakRate: 1n, peakBurst: 20n });
  const colour = (index: number, amount: number): number =>
    engine.process(0, wide({ 16: BigInt(index), 32: BigInt(amount), 8: 9n }), false).out[0]!.frame[0]!;
  expect([colour(1, 10), colour(1, 10), colour(1, 1), colour(2, 99)]).toEqual([0, 1, 2, 0]);
  expect(colour(5, 1)).toBe(2);
  expect(engine.readMeter('limits', 1)).toEqual({ rate: 1n, burst: 10n, peakRate: 1n, peakBurst: 20n });
  expect(() => {
    engine.writeMeter('limits', 4, undefined);
  }).toThrow(/no index 4/);
  expect(() => engine.readMeter('others', 0)).toThrow(/no meter array/);
});

test.each([
  ['metarray a size 0x0', 'mov m.f8 0x1', /invalid size/],
  ['metarray a size 0x2\nmetarray a size 0x2', 'mov m.f8 0x1', /declared twice/],
  ['metarray a size 0x100001', 'mov m.f8 0x1', /more than 1048576 meters/],
  ['metarray a size 0x2', 'meter b 0x0 m.f32 0x0 m.f8', /no metarray 'b'/],
  ['metarray a size 0x2', 'meter a 0x0 0x1 0x0 m.f8', /expected a field/],
  ['metarray a size 0x2', 'meter a 0x0 m.f32 0x0 h.h.f8', /metadata field/],
  ['metarray a size 0x2', 'meter a 0x0 m.f32 m.f8', /takes 5/],
])('%j, %s is refused', (declarations, body, message) => {
  expect(() => bench({ declarations, body })).toThrow(message);
});

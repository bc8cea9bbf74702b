import fc from 'fast-check';
import {
  contains,
  createIntervals,
  PORT_MAX,
  prefixesOf,
  rangesOf,
} from '../../../src/translators/policy/intervals';

const intervals = createIntervals();
const ranges = fc.array(
  fc.record({ first: fc.integer({ min: -5, max: 70_000 }), last: fc.integer({ min: -5, max: 70_000 }) }),
  { maxLength: 5 },
);
const probes = fc.array(fc.integer({ min: 0, max: PORT_MAX }), { minLength: 5, maxLength: 30 });
type Ranges = readonly { readonly first: number; readonly last: number }[];
const isIn = (list: Ranges, port: number): boolean => list.some((r) => r.first <= port && port <= r.last);

describe('interval sets', () => {
  test('are what their ranges say, under every operation', () => {
    fc.assert(
      fc.property(ranges, ranges, probes, (a, b, ports) => {
        const x = intervals.of(a);
        const y = intervals.of(b);
        const edges = [...rangesOf(x), ...rangesOf(y)].flatMap((r) => [
          r.first,
          r.last,
          r.first - 1,
          r.last + 1,
        ]);
        for (const port of [...ports, ...edges].filter((p) => p >= 0 && p <= PORT_MAX)) {
          expect(contains(x, port)).toBe(isIn(a, port));
          expect(contains(intervals.union(x, y), port)).toBe(isIn(a, port) || isIn(b, port));
          expect(contains(intervals.intersect(x, y), port)).toBe(isIn(a, port) && isIn(b, port));
          expect(contains(intervals.complement(x), port)).toBe(!isIn(a, port));
        }
        expect(x.size + intervals.complement(x).size).toBe(PORT_MAX + 1);
      }),
    );
  });

  test('equal sets are the same object', () => {
    const parts = intervals.of([
      { first: 80, last: 89 },
      { first: 90, last: 99 },
      { first: 85, last: 95 },
    ]);
    expect(parts).toBe(intervals.of([{ first: 80, last: 99 }]));
    expect(intervals.complement(intervals.complement(parts))).toBe(parts);
    expect(intervals.of([{ first: 9, last: 8 }])).toBe(intervals.empty);
    expect(intervals.union(parts, intervals.complement(parts))).toBe(intervals.full);
  });
});

describe('prefixes of a range', () => {
  test('cover it and nothing else, without overlap', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: PORT_MAX }), fc.integer({ min: 0, max: PORT_MAX }), (a, b) => {
        const [first, last] = a < b ? [a, b] : [b, a];
        let next = first;
        for (const { value, prefixLen } of prefixesOf(first, last)) {
          const size = 1 << (16 - prefixLen);
          expect(value).toBe(next);
          expect(value % size).toBe(0);
          next = value + size;
        }
        expect(next).toBe(last + 1);
      }),
    );
  });

  test('are as few as can be', () => {
    expect(prefixesOf(0, PORT_MAX)).toEqual([{ value: 0, prefixLen: 0 }]);
    expect(prefixesOf(1024, PORT_MAX)).toHaveLength(6);
  });
});

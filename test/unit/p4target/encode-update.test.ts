import fc from 'fast-check';
import { Update } from 'p4runtime-js-bindings';
import { buildCatalogue } from '../../../src/p4target/catalogue';
import { tableUpdate } from '../../../src/p4target/write-request';
import { encodeEntry, encodeKey } from '../../../src/p4target/encode';
import { encodeUpdate } from '../../../src/p4target/encode-update';
import { loadP4DpdkPipeline } from '../../../src/p4target/p4-dpdk/adapter';
import type { MatchValue, Row } from '../../../src/translators/rows';

const catalogue = buildCatalogue(loadP4DpdkPipeline().p4info);
const tables = catalogue.tables.filter((t) => t.fields.length > 0);

const bits = (width: number): fc.Arbitrary<bigint> =>
  fc.oneof(
    fc
      .constantFrom(0n, 1n, 127n, 128n, 255n, 256n, (1n << 32n) - 1n, 1n << 32n)
      .map((v) => BigInt.asUintN(width, v)),
    fc.bigInt(0n, (1n << BigInt(width)) - 1n),
  );

/** Rows that fit, and with `odd` some that do not. */
const rowOf = (odd: boolean): fc.Arbitrary<Row> =>
  fc.constantFrom(...tables).chain((table) =>
    fc.constantFrom(...table.actionById.values()).chain((action) => {
      const slip = odd ? 1 : 0;
      const match = table.fields.map(({ name, kind, width }) => {
        const full = (1n << BigInt(width)) - 1n;
        const value: fc.Arbitrary<MatchValue> =
          kind === 'exact'
            ? bits(width + slip).map((v) => ({ kind: 'exact', value: v }))
            : kind === 'lpm'
              ? fc.tuple(bits(width), fc.integer({ min: 0, max: width + slip })).map(([v, prefixLen]) => ({
                  kind: 'lpm',
                  value: odd ? v : v & (full ^ ((1n << BigInt(width - prefixLen)) - 1n)),
                  prefixLen,
                }))
              : fc
                  .tuple(bits(width), bits(width))
                  .map(([v, mask]) => ({ kind: 'ternary', value: odd ? v : v & mask, mask }));
        return fc.tuple(fc.constant(name), value);
      });
      const params = action.params.map(({ name, width }) => fc.tuple(fc.constant(name), bits(width + slip)));
      return fc.record({
        table: fc.constant(table.name),
        match: fc.tuple(...match).map((fields) => Object.fromEntries(fields)),
        priority: table.hasPriority ? fc.integer({ min: 1 - slip, max: 200 }) : fc.constant(0),
        action: fc.constant(action.name),
        params: fc.tuple(...params).map((given) => Object.fromEntries(odd ? given.slice(slip) : given)),
      });
    }),
  );

const attempt = (work: () => Uint8Array): string => {
  try {
    return Buffer.from(work()).toString('hex');
  } catch (error) {
    return String(error);
  }
};

test.each([false, true])('bytes and refusals are those of the message tree (odd rows: %s)', (odd) => {
  fc.assert(
    fc.property(rowOf(odd), fc.constantFrom('insert', 'modify', 'delete'), (row, type) => {
      const tree = attempt(() => {
        const entry = type === 'delete' ? encodeKey(catalogue, row) : encodeEntry(catalogue, row);
        return Update.encode(tableUpdate(type, entry)).finish();
      });
      expect(attempt(() => encodeUpdate(catalogue, type, row))).toBe(tree);
    }),
    { numRuns: 2000 },
  );
});

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { TableEntry } from 'p4runtime-js-bindings';
import { parseP4InfoText } from '../../../src/p4info/text-format';
import { fromBytes, toCanonical } from '../../../src/p4target/bytes';
import { buildCatalogue, type TableInfo } from '../../../src/p4target/catalogue';
import { decodeEntry } from '../../../src/p4target/decode';
import { encodeEntry } from '../../../src/p4target/encode';
import { P4_DPDK_COUNTERS, P4_DPDK_TABLES, p4DpdkArtefacts } from '../../../src/p4target/p4-dpdk/adapter';
import { rowContent, rowKey, type MatchValue, type Row } from '../../../src/translators/rows';

const catalogue = buildCatalogue(
  parseP4InfoText(readFileSync(join(p4DpdkArtefacts(), 'calico.p4info.txtpb'), 'utf8')),
);
const names = P4_DPDK_TABLES.map((t) => t.table);

const exact = (value: bigint): MatchValue => ({ kind: 'exact', value });
const NO_LABELS = { w0: 0n, w1: 0n, w2: 0n, w3: 0n, w4: 0n, w5: 0n, w6: 0n, w7: 0n };
const LABELS: Row = {
  table: 'addr_labels',
  match: { page: exact(1n), hi: exact(0n), lo: exact(0xffff_0a01_0101n) },
  action: 'set_labels',
  params: { ...NO_LABELS, w0: 7n, w7: 1n },
};

function rowOf(table: TableInfo): fc.Arbitrary<Row> {
  const value = (width: number): fc.Arbitrary<bigint> =>
    fc.bigInt({ min: 0n, max: (1n << BigInt(width)) - 1n });
  const match = fc.record(
    Object.fromEntries(
      table.fields.map((field) => {
        const any = value(field.width);
        if (field.kind === 'exact') return [field.name, any.map(exact)];
        const length = fc.integer({ min: 0, max: field.width });
        if (field.kind === 'lpm') {
          return [
            field.name,
            fc.tuple(any, length).map(([v, n]): MatchValue => {
              const shift = BigInt(field.width - n);
              return { kind: 'lpm', value: (v >> shift) << shift, prefixLen: n };
            }),
          ];
        }
        return [
          field.name,
          fc
            .tuple(any, fc.oneof(any, fc.constant(0n)))
            .map(([v, mask]): MatchValue => ({ kind: 'ternary', value: v & mask, mask })),
        ];
      }),
    ),
  );
  const actions = [...table.actionById.values()].filter((a) => a.inEntries);
  return fc
    .tuple(match, fc.constantFrom(...actions), fc.integer({ min: 1, max: 130 }))
    .chain(([m, action, priority]) =>
      fc.record(Object.fromEntries(action.params.map((p) => [p.name, value(p.width)]))).map((params) => ({
        table: table.name,
        match: m,
        ...(table.hasPriority ? { priority } : {}),
        action: action.name,
        params,
      })),
    );
}

describe('catalogue', () => {
  it('has every table and counter that the adapter names, by alias and by full name', () => {
    catalogue.requireTables(names);
    expect(catalogue.table('MainControl.addr_labels')).toBe(catalogue.table('addr_labels'));
    expect(P4_DPDK_COUNTERS.map((name) => catalogue.counter(name).name)).toEqual(P4_DPDK_COUNTERS);
    expect(catalogue.table('addr_labels').size).toBe(262144);
  });

  it('names all tables that are missing, and what there is', () => {
    expect(() => {
      catalogue.requireTables(['addr_labels', 'nat_in', 'nat_out']);
    }).toThrow(/has no tables nat_in, nat_out; it has port_in, pod_source, /);
  });
});

describe('rows as table entries', () => {
  it.each(names)('come back as they were: %s', (name) => {
    fc.assert(
      fc.property(rowOf(catalogue.table(name)), fc.boolean(), (row, padded) => {
        const sent = TableEntry.decode(TableEntry.encode(encodeEntry(catalogue, row)).finish());
        const back = decodeEntry(catalogue, padded ? pad(sent) : sent);
        return rowKey(back) === rowKey(row) && rowContent(back) === rowContent(row);
      }),
      { numRuns: 40 },
    );
  });

  it('are canonical on the wire, with fields that match anything left out', () => {
    const entry = encodeEntry(catalogue, {
      table: 'addr_labels_prefix',
      match: {
        page: exact(1n),
        hi: { kind: 'ternary', value: 0n, mask: 0n },
        lo: { kind: 'ternary', value: 0x0100n, mask: 0xff00n },
      },
      priority: 9,
      action: 'set_prefix_labels',
      params: NO_LABELS,
    });
    expect(entry.match.map((m) => m.fieldMatchType)).toEqual([
      { $case: 'exact', value: { value: Buffer.from([1]) } },
      { $case: 'ternary', value: { value: Buffer.from([1, 0]), mask: Buffer.from([0xff, 0]) } },
    ]);
    expect(entry.priority).toBe(9);
    const action = entry.action?.type;
    expect(action?.$case === 'action' && action.value.params[0]?.value).toEqual(Buffer.from([0]));
  });

  it.each<[string, Row, RegExp]>([
    [
      'a missing parameter',
      { ...LABELS, params: {} },
      /addr_labels page=0x1 hi=0x0 lo=0xffff0a010101 .*parameter w0 .* is missing/,
    ],
    ['a parameter too many', { ...LABELS, params: { ...LABELS.params, other: 1n } }, /no parameter other/],
    [
      'a parameter too wide',
      { ...LABELS, params: { ...LABELS.params, w3: 1n << 64n } },
      /w3 of action set_labels has 64 bits/,
    ],
    ['a missing field', { ...LABELS, match: { page: exact(1n), hi: exact(0n) } }, /field lo is missing/],
    ['an unknown field', { ...LABELS, match: { ...LABELS.match, mid: exact(0n) } }, /no field mid/],
    [
      'a field too wide',
      { ...LABELS, match: { ...LABELS.match, hi: exact(1n << 64n) } },
      /field hi has 64 bits/,
    ],
    [
      'a field of another kind',
      { ...LABELS, match: { ...LABELS.match, lo: { kind: 'lpm', value: 0n, prefixLen: 1 } } },
      /exact, not lpm/,
    ],
    ['another table’s action', { ...LABELS, action: 'from_host' }, /no action from_host \(it has set_labels/],
    [
      'an action for the default only',
      { ...LABELS, action: 'labels_miss', params: {} },
      /can only be the table's default/,
    ],
    ['a priority where none is', { ...LABELS, priority: 3 }, /no priority/],
    ['an unknown table', { ...LABELS, table: 'nat' }, /no table nat/],
  ])('are refused with %s', (_, row, message) => {
    expect(() => encodeEntry(catalogue, row)).toThrow(message);
  });

  it('of a ternary table need a priority, and no bits outside the mask', () => {
    const row: Row = {
      table: 'addr_labels_prefix',
      match: { page: exact(1n) },
      action: 'set_prefix_labels',
      params: NO_LABELS,
    };
    expect(() => encodeEntry(catalogue, row)).toThrow('need a priority');
    const stray: MatchValue = { kind: 'ternary', value: 3n, mask: 2n };
    expect(() => encodeEntry(catalogue, { ...row, priority: 1, match: { ...row.match, lo: stray } })).toThrow(
      'its mask ignores',
    );
  });
});

it('byte strings are shortest, and read whatever their padding', () => {
  expect(toCanonical(0n)).toEqual(Buffer.from([0]));
  expect(toCanonical(0x100n)).toEqual(Buffer.from([1, 0]));
  expect(fromBytes(Buffer.from([0, 0, 1, 0]))).toBe(0x100n);
  expect(fromBytes(Buffer.alloc(0))).toBe(0n);
});

/** As servers that pad to the field's width answer. */
function pad(entry: TableEntry): TableEntry {
  const wide = (bytes: Uint8Array): Buffer => Buffer.concat([Buffer.alloc(3), bytes]);
  const copy = TableEntry.fromPartial(entry);
  for (const { fieldMatchType: type } of copy.match) {
    if (type?.$case === 'exact' || type?.$case === 'lpm' || type?.$case === 'ternary')
      type.value.value = wide(type.value.value);
    if (type?.$case === 'ternary') type.value.mask = wide(type.value.mask);
  }
  const action = copy.action?.type;
  if (action?.$case === 'action') for (const param of action.value.params) param.value = wide(param.value);
  return copy;
}

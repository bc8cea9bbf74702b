/** Numbers that another run gave, and rows that tell whether they mean the same in this one. */
import { contradiction } from '../../../src/p4target/foreign-names';
import { P4_DPDK_ORDER } from '../../../src/p4target/p4-dpdk/adapter';
import { RowTracker } from '../../../src/p4target/row-tracker';
import type { MatchValue, Row } from '../../../src/translators/rows';

const exact = (value: number): MatchValue => ({ kind: 'exact', value: BigInt(value) });

const addr = (lo: number, labels: number, page = 1): Row => ({
  table: 'addr_labels',
  match: { page: exact(page), hi: exact(0), lo: exact(lo) },
  action: 'set_labels',
  params: { w0: BigInt(labels) },
});
const all = (labels: number, page = 1): Row => ({
  table: 'addr_labels_prefix',
  match: { page: exact(page) },
  priority: 1,
  action: 'set_prefix_labels',
  params: { w0: BigInt(labels) },
});
const src = (node: number, labels: number, next: number): Row => ({
  table: 'step_src',
  match: { node: exact(node), w0: exact(labels) },
  action: 'src_next',
  params: { node: BigInt(next) },
});
const mask = (node: number, labels: number): Row => ({
  table: 'src_mask',
  match: { node: exact(node) },
  action: 'ask_src',
  params: { w0: BigInt(labels) },
});
const proto = (node: number, value: number, next: number): Row => ({
  table: 'step_proto',
  match: { node: exact(node), value: exact(value) },
  action: 'proto_next',
  params: { node: BigInt(next) },
});
const root = (ep: number, node: number, page = 1): Row => ({
  table: 'endpoint_root',
  match: { ep: exact(ep), direction: exact(1) },
  action: 'root',
  params: { page: BigInt(page), node: BigInt(node) },
});
const [ALLOW, DENY] = [0xc000_0005, 0x8000_0006];

function check(actual: readonly Row[], desired: readonly Row[]): string {
  const tracker = new RowTracker(P4_DPDK_ORDER.tables.map(({ table }) => table));
  for (const row of actual) tracker.setActual(row);
  for (const row of desired) tracker.setDesired(row);
  return contradiction(tracker.delta(), tracker.actual, tracker.desired, P4_DPDK_ORDER);
}

/** Node 1 tells {2} from {} and is asked for 2 and 4; node 9 says what is allowed by protocol. */
const NODE = [mask(1, 6), src(1, 2, 9), proto(9, 6, ALLOW), root(1, 1)];
const STATE = [all(1), addr(10, 3), ...NODE];

test('nothing speaks against the same rows, nor against addresses that come, go and change', () => {
  expect(check(STATE, STATE)).toBe('');
  expect(check(STATE, [...STATE, addr(11, 3)])).toBe('');
  expect(
    check(STATE, [all(1), addr(10, 5), src(1, 4, ALLOW), mask(1, 6), proto(9, 6, ALLOW), root(1, 1)]),
  ).toBe('');
  expect(check(STATE, [all(1), ...NODE.filter(({ table }) => table !== 'step_src')])).toBe('');
});

test('nor against new nodes, and old ones that go, as long as what they ask for stays where it is', () => {
  const other = [mask(2, 2), src(2, 2, DENY), root(1, 2)];
  expect(check(STATE, [all(1), addr(10, 3), ...other])).toBe('');
  // A bit that no node on the target asks for can not be mistaken.
  expect(check(STATE, [all(1), addr(10, 3), addr(11, 9), mask(2, 8), src(2, 8, DENY), root(1, 2)])).toBe('');
});

describe('a node that has another meaning', () => {
  test('by the content of a row', () => {
    expect(
      check(STATE, [all(1), addr(10, 3), mask(1, 4), src(1, 2, 9), proto(9, 6, ALLOW), root(1, 1)]),
    ).toMatch(/src_mask means something else/);
  });
  test('by a row for a value that was given, and had none', () => {
    const asked = [all(1), addr(10, 3), addr(11, 5)];
    expect(check([...asked, ...NODE], [...asked, ...NODE, src(1, 4, DENY)])).toMatch(/node 1 has other rows/);
    // Where that value is new, it is what was to be expected.
    expect(check([...asked.slice(0, 2), ...NODE], [...asked, ...NODE, src(1, 4, DENY)])).toBe('');
  });
  test('by a row that goes, for a value that is still given', () => {
    expect(
      check(
        STATE,
        STATE.filter(({ table }) => table !== 'step_src'),
      ),
    ).toMatch(/node 1 has other rows/);
  });
  test('by a mask that comes or goes', () => {
    const bare = [all(1), addr(10, 3), proto(9, 6, ALLOW), root(1, 9), root(2, 1)];
    expect(check(bare, [...bare, mask(1, 6)])).toMatch(/node 1 has other rows in src_mask/);
    expect(check([...bare, mask(1, 6)], bare)).toMatch(/node 1 has other rows in src_mask/);
  });
  test('by a protocol or a port more or less', () => {
    expect(check(STATE, [...STATE, proto(9, 17, ALLOW)])).toMatch(/node 9 has other rows in step_proto/);
    expect(
      check(
        STATE,
        STATE.filter(({ table }) => table !== 'step_proto'),
      ),
    ).toMatch(/node 9 has other rows/);
  });
});

describe('a bit that only nodes ask for which come or go', () => {
  const next = [mask(2, 2), src(2, 2, ALLOW), root(1, 2)];
  test('is not believed when an address gets or loses it', () => {
    expect(check(STATE, [all(1), addr(10, 1), addr(11, 3), ...next])).toMatch(/bit of addr/);
    expect(check(STATE, [all(1), addr(10, 3), addr(11, 3), ...next])).toMatch(/bit of addr/);
  });
  test('is when a node that stays asks for it too', () => {
    const stays = [mask(3, 2), src(3, 2, DENY), root(2, 3)];
    expect(check([...STATE, ...stays], [all(1), addr(10, 3), addr(11, 3), ...next, ...stays])).toBe('');
  });
  test('of another page says nothing', () => {
    const page = [all(1, 2), addr(10, 3, 2)];
    const stays = [...page, mask(3, 2), src(3, 2, DENY), root(2, 3, 2)];
    expect(check([...STATE, ...stays], [all(1), addr(10, 3), addr(11, 3), ...next, ...stays])).toMatch(
      /bit of addr/,
    );
  });
});

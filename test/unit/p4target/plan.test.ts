import fc from 'fast-check';
import { P4_DPDK_ORDER } from '../../../src/p4target/p4-dpdk/adapter';
import { planWrites, type Plan } from '../../../src/p4target/plan';
import { RowTracker } from '../../../src/p4target/row-tracker';
import { entryText } from '../../../src/p4target/row-text';
import { rowKey, type MatchValue, type Row } from '../../../src/translators/rows';

const exact = (value: number): MatchValue => ({ kind: 'exact', value: BigInt(value) });

/** On page 1, with labels in the first 32 bits. */
function addr(lo: number, labels: number, page = 1): Row {
  return {
    table: 'addr_labels',
    match: { page: exact(page), hi: exact(0), lo: exact(lo) },
    action: 'set_labels',
    params: words(labels, BigInt),
  };
}

function dport(port: number, prefixLen: number, labels: number, page = 1): Row {
  return {
    table: 'dport_labels',
    match: { page: exact(page), proto: exact(6), port: { kind: 'lpm', value: BigInt(port), prefixLen } },
    action: 'set_dport_labels',
    params: words(labels, BigInt, 4),
  };
}

function prefix(lo: number, bits: number, labels: number, page = 1): Row {
  const mask = (0xffn << BigInt(8 - bits)) & 0xffn;
  return {
    table: 'addr_labels_prefix',
    match: { page: exact(page), lo: { kind: 'ternary', value: BigInt(lo) & mask, mask } },
    priority: bits + 1,
    action: 'set_prefix_labels',
    params: words(labels, BigInt),
  };
}

/** `value` is what the table asks for: masked labels, a port, a protocol. */
function step(table: string, node: number, value: number, next: number, defaults: number[] = []): Row {
  const chain = Object.fromEntries(defaults.map((d, i) => [`d${i + 1}`, BigInt(d)]));
  return {
    table,
    match: { node: exact(node), ...asked(table, value) },
    action: 'next',
    params: { node: BigInt(next), ...chain },
  };
}

function asked(table: string, value: number): Record<string, MatchValue> {
  if (table === 'step_src' || table === 'step_dst') return words(value, exact);
  if (table.endsWith('_range')) return words(value, exact, 4);
  return { [table === 'step_proto' ? 'value' : 'port']: exact(value) };
}

function mask(table: 'src_mask' | 'dst_mask', node: number, bits: number): Row {
  return { table, match: { node: exact(node) }, action: 'ask', params: words(bits, BigInt) };
}

function portMask(node: number, bits: number, page = 1): Row {
  const params = { page: BigInt(page), ...words(bits, BigInt, 4) };
  return { table: 'dport_mask', match: { node: exact(node) }, action: 'ask', params };
}

function words<T>(low: number, of: (value: number) => T, count = 8): Record<string, T> {
  return Object.fromEntries(Array.from({ length: count }, (_, i) => [`w${i}`, of(i === 0 ? low : 0)]));
}

function root(ep: number, node: number): Row {
  return {
    table: 'endpoint_root',
    match: { ep: exact(ep), direction: exact(1) },
    action: 'root',
    params: { node: BigInt(node), d1: 0x8000_0000n },
  };
}

function portIn(port: number, ep: number): Row {
  return { table: 'port_in', match: { port: exact(port) }, action: 'from_pod', params: { ep: BigInt(ep) } };
}

const ALLOW = 0xc000_0000;

function plan(
  actual: readonly Row[],
  desired: readonly Row[],
  options: { canModify?: boolean; closeReason?: string; crossComplete?: boolean } = {},
): Plan {
  const tracker = new RowTracker(P4_DPDK_ORDER.tables.map((t) => t.table));
  for (const row of actual) tracker.setActual(row);
  tracker.replaceDesired(desired);
  return planWrites({
    delta: tracker.delta(),
    actual: tracker.actual,
    desired: tracker.desired,
    order: P4_DPDK_ORDER,
    canModify: options.canModify ?? true,
    crossComplete: options.crossComplete ?? false,
    closeReason: options.closeReason ?? '',
  });
}

/** One line an update, in the order of writing. */
function lines(made: Plan): string[] {
  return made.phases.flatMap((p) => p.updates.map((u) => `${p.step}: ${u.type} ${entryText(u.row)}`));
}

describe('plan', () => {
  it('writes nothing when nothing differs', () => {
    const rows = [addr(1, 1), step('step_dst', 1, 1, ALLOW), root(1, 1), portIn(1, 1)];
    expect(plan(rows, rows).phases).toEqual([]);
  });

  it('opens a new endpoint last, leaves first', () => {
    const desired = [
      portIn(3, 1),
      root(1, 9),
      step('step_src', 9, 1, 5),
      mask('src_mask', 9, 1),
      step('step_dst', 5, 1, ALLOW),
      mask('dst_mask', 5, 1),
      addr(1, 1),
    ];
    expect(lines(plan([], desired))).toEqual([
      'nodes: insert step_dst node=0x5 labels=0x1',
      'nodes: insert dst_mask node=0x5',
      'nodes: insert step_src node=0x9 labels=0x1',
      'nodes: insert src_mask node=0x9',
      'selectors: insert addr_labels page=0x1 hi=0x0 lo=0x1',
      'gates: insert endpoint_root ep=0x1 direction=0x1',
      'paths: insert port_in port=0x3',
    ]);
  });

  it('closes a removed endpoint first and sweeps its rows last, roots before leaves', () => {
    const actual = [
      portIn(3, 1),
      root(1, 9),
      step('step_src', 9, 1, 5),
      step('step_dst', 5, 1, ALLOW),
      addr(1, 1),
    ];
    expect(lines(plan(actual, []))).toEqual([
      'close: delete port_in port=0x3',
      'close: delete endpoint_root ep=0x1 direction=0x1',
      'sweep: delete addr_labels page=0x1 hi=0x0 lo=0x1',
      'sweep: delete step_src node=0x9 labels=0x1',
      'sweep: delete step_dst node=0x5 labels=0x1',
    ]);
  });

  it('changes a policy by flipping the root between the new nodes and the old', () => {
    const actual = [root(1, 5), step('step_dst', 5, 1, ALLOW), addr(1, 1)];
    const desired = [root(1, 6), step('step_dst', 6, 1, ALLOW), addr(1, 1)];
    expect(lines(plan(actual, desired))).toEqual([
      'nodes: insert step_dst node=0x6 labels=0x1',
      'gates: modify endpoint_root ep=0x1 direction=0x1',
      'sweep: delete step_dst node=0x5 labels=0x1',
    ]);
  });

  it('changes the labels of an address between the new rows of the node and the old, with the gate open', () => {
    const actual = [root(1, 5), step('step_dst', 5, 1, ALLOW), addr(1, 1)];
    const desired = [root(1, 5), step('step_dst', 5, 2, ALLOW), addr(1, 2)];
    expect(lines(plan(actual, desired))).toEqual([
      'nodes: insert step_dst node=0x5 labels=0x2',
      'selectors: modify addr_labels page=0x1 hi=0x0 lo=0x1',
      'sweep: delete step_dst node=0x5 labels=0x1',
    ]);
  });

  /** A program that goes and one that stays, while the only address gets other labels. */
  function retiring(bits: number, from: number, to: number, others: number[] = []): string[] {
    const asks = [5, 6, 7].map((node) => mask('dst_mask', node, bits));
    const kept = [root(2, 7), asks[2]!, ...others.map((labels, i) => addr(i + 2, labels))];
    const made = plan(
      [root(1, 5), asks[0]!, step('step_dst', 5, 1, ALLOW), addr(1, from), ...kept],
      [root(1, 6), asks[1]!, step('step_dst', 6, to & bits, ALLOW), addr(1, to), ...kept],
    );
    expect(made.mode).toBe('open');
    return lines(made).filter((l) => l.includes('endpoint_root') || l.startsWith('selectors'));
  }

  it('shuts the gate of a program that goes while labels appear that it has no rows for', () => {
    expect(retiring(0b11, 1, 2)).toEqual([
      'hold: delete endpoint_root ep=0x1 direction=0x1',
      'selectors: modify addr_labels page=0x1 hi=0x0 lo=0x1',
      'gates: insert endpoint_root ep=0x1 direction=0x1',
    ]);
  });

  it('shuts it too where the address had no row there before: whether the default is right now is not known', () => {
    expect(retiring(0b11, 0, 2)).toHaveLength(3);
  });

  it.each<[string, number, number, number, number[]]>([
    ['that it does not ask for', 0b001, 0b001, 0b101, []],
    // No row, but the default was right for them before.
    ['that are like others in all that it asks for', 0b011, 0b010, 0b110, [0b001]],
  ])('flips a gate in place where labels appear %s', (_, bits, from, to, others) => {
    expect(retiring(bits, from, to, others)).toEqual([
      'selectors: modify addr_labels page=0x1 hi=0x0 lo=0x1',
      'gates: modify endpoint_root ep=0x1 direction=0x1',
    ]);
  });

  it('shuts the gate of a program that goes while ports get other labels of those that it asks for', () => {
    const asking = [root(1, 5), portMask(5, 0b11), step('step_dport_range', 5, 1, ALLOW)];
    const others = [portMask(8, 0b100), portMask(9, 0b11, 2), step('step_dport_range', 9, 1, ALLOW)];
    const next = [root(1, 6), portMask(6, 0b11), step('step_dport_range', 6, 2, ALLOW), root(2, 10)];
    const kept = [...others, dport(0x8000, 4, 1, 2)];
    const made = plan(
      [...asking, root(2, 8), root(3, 9), ...kept, dport(0, 4, 1)],
      [...next, root(3, 10), ...kept, dport(0, 5, 2)],
    );
    expect(lines(made).filter((l) => l.includes('endpoint_root'))).toEqual([
      'hold: delete endpoint_root ep=0x1 direction=0x1',
      'gates: modify endpoint_root ep=0x2 direction=0x1',
      'gates: modify endpoint_root ep=0x3 direction=0x1',
      'gates: insert endpoint_root ep=0x1 direction=0x1',
    ]);
  });

  it('takes a page away after the gates have flipped from it, and shuts none for it', () => {
    const on = (page: number, node: number): Row[] => [
      { ...root(1, node), params: { page: BigInt(page), ...root(1, node).params } },
      mask('dst_mask', node, page),
      step('step_dst', node, page, ALLOW),
      addr(1, page, page),
      prefix(0, 4, 0, page),
    ];
    expect(lines(plan(on(1, 5), on(2, 6)))).toEqual([
      'nodes: insert step_dst node=0x6 labels=0x2',
      'nodes: insert dst_mask node=0x6',
      'selectors: insert addr_labels page=0x2 hi=0x0 lo=0x1',
      'selectors: insert addr_labels_prefix page=0x2 lo=0x0&&&0xf0 priority=5',
      'gates: modify endpoint_root ep=0x1 direction=0x1',
      'sweep: delete addr_labels_prefix page=0x1 lo=0x0&&&0xf0 priority=5',
      'sweep: delete addr_labels page=0x1 hi=0x0 lo=0x1',
      'sweep: delete dst_mask node=0x5',
      'sweep: delete step_dst node=0x5 labels=0x1',
    ]);
  });

  it('shuts both ends while two addresses of endpoints change in what their programs ask for, and only then', () => {
    const local = (lo: number): Row => ({
      table: 'local',
      match: { hi: exact(0), lo: exact(lo) },
      action: 'to_pod',
      params: { port: 1n, ep: 1n },
    });
    const sender = { ...root(1, 5), match: { ep: exact(1), direction: exact(2) } };
    const both = [sender, root(2, 6)];
    const asking = (node: number): Row[] => [mask('dst_mask', node, 1), step('step_dst', node, 1, ALLOW)];
    const kept = [...both, ...asking(5), ...asking(6), local(1), local(2)];
    const held = (labels: number): string[] =>
      lines(plan([...kept, addr(1, 0), addr(2, 0)], [...kept, addr(1, labels), addr(2, labels)])).filter(
        (l) => l.startsWith('hold'),
      );
    expect(held(0b01)).toEqual(['hold: delete endpoint_root ep=0x1 direction=0x2']);
    expect(held(0b10)).toEqual([]);
  });

  it('limits before anything opens, in place, and until the last', () => {
    const limit = (index: number, rate: bigint): Row => ({
      table: 'packet_limits',
      match: { index: exact(index) },
      action: 'limit',
      params: { rate },
    });
    const actual = [portIn(1, 1), limit(1, 5n), limit(2, 5n), root(1, ALLOW)];
    const desired = [portIn(1, 2), limit(1, 6n), limit(3, 5n), root(2, ALLOW)];
    for (const [options, canModify] of [
      [{}, true],
      [{ closeReason: 'why' }, true],
      [{ canModify: false }, false],
    ] as const) {
      const made = lines(plan(actual, desired, options));
      expect(made.filter((line) => !line.includes('endpoint_root'))).toEqual([
        'close: delete port_in port=0x1',
        'paths: insert packet_limits index=0x3',
        'paths: modify packet_limits index=0x1',
        'paths: insert port_in port=0x1',
        'paths: delete packet_limits index=0x2',
      ]);
      expect(canModify || made.every((line) => !line.includes('modify endpoint_root'))).toBe(true);
    }
    // Limits alone are no reason to shut anything.
    const changed = [portIn(1, 1), limit(1, 6n), root(1, ALLOW)];
    expect(lines(plan(actual, changed, { closeReason: 'why' }))).toEqual([
      'paths: modify packet_limits index=0x1',
      'paths: delete packet_limits index=0x2',
    ]);
  });

  it('shuts no gate in a state that the caller calls complete for old and new values', () => {
    const actual = [root(1, 5), step('step_dst', 5, 1, ALLOW), addr(1, 1)];
    const old = [1, 2].map((cls) => step('step_dst', 5, cls, ALLOW));
    const fresh = [1, 2].map((cls) => step('step_dst', 6, cls, ALLOW));
    const desired = [root(1, 6), ...old, ...fresh, addr(1, 2)];
    const made = lines(plan(actual, desired, { crossComplete: true }));
    expect(made.slice(-2)).toEqual([
      'selectors: modify addr_labels page=0x1 hi=0x0 lo=0x1',
      'gates: modify endpoint_root ep=0x1 direction=0x1',
    ]);
    expect(made.some((line) => line.startsWith('hold'))).toBe(false);
  });

  it('closes a port that gets another meaning, instead of changing it in place', () => {
    expect(lines(plan([portIn(3, 1)], [portIn(3, 2)]))).toEqual([
      'close: delete port_in port=0x3',
      'paths: insert port_in port=0x3',
    ]);
  });

  it('covers the gap of an address where the target can not modify', () => {
    const actual = [root(1, 5), addr(1, 1)];
    const made = plan(actual, [root(1, 5), addr(1, 2)], { canModify: false });
    const all = '0xffffffffffffffff';
    expect(made.mode).toBe('open');
    expect(lines(made)).toEqual([
      `selectors: insert addr_labels_prefix page=0x1 hi=0x0&&&${all} lo=0x1&&&${all} priority=1000`,
      'selectors: delete addr_labels page=0x1 hi=0x0 lo=0x1',
      'selectors: insert addr_labels page=0x1 hi=0x0 lo=0x1',
      `selectors: delete addr_labels_prefix page=0x1 hi=0x0&&&${all} lo=0x1&&&${all} priority=1000`,
    ]);
  });

  it.each([
    [
      'labels of ports change and the target can not modify',
      [dport(80, 16, 1)],
      [dport(80, 16, 2)],
      { canModify: false },
    ],
    ['a row of a node changes', [step('step_dst', 5, 1, ALLOW)], [step('step_dst', 5, 1, 0x8000_0000)], {}],
    ['the caller says so', [addr(1, 1)], [addr(1, 2)], { closeReason: 'because' }],
  ])('shuts all gates when %s', (_, actual, desired, options) => {
    const gates = [root(1, 9), root(2, 9)];
    const made = plan([...actual, ...gates], [...desired, ...gates], options);
    const steps = made.phases.map((p) => `${p.step} ${p.updates.length}`);
    expect(made.mode).toBe('closed');
    expect(steps[0]).toBe('close 2');
    expect(steps.at(-1)).toBe('gates 2');
  });

  it('leaves gates alone when only ports change, whatever the caller says', () => {
    const made = plan([root(1, 9)], [root(1, 9), portIn(1, 1)], { closeReason: 'because' });
    expect(lines(made)).toEqual(['paths: insert port_in port=0x1']);
  });

  it('never lets a lookup give what neither state gives, through any order of nested rows', () => {
    const bits = fc.integer({ min: 0, max: 7 });
    const cls = fc.integer({ min: 1, max: 5 });
    const rows = fc
      .record({
        addrs: fc.array(fc.tuple(bits, cls), { maxLength: 4 }),
        prefixes: fc.array(fc.tuple(bits, fc.integer({ min: 5, max: 8 }), cls), { maxLength: 8 }),
        ports: fc.array(fc.tuple(bits, fc.integer({ min: 13, max: 16 }), cls), { maxLength: 8 }),
      })
      .map(({ addrs, prefixes, ports }) => [
        ...addrs.map(([a, c]) => addr(a, c)),
        ...prefixes.map(([a, n, c]) => prefix(a, n, c)),
        ...ports.map(([p, n, c]) => dport(p & ~((1 << (16 - n)) - 1), n, c)),
      ]);
    fc.assert(
      fc.property(rows, rows, (actual, desired) => {
        const before = byKey(actual);
        const after = byKey(desired);
        const now = new Map(before);
        for (const { updates } of plan([...before.values()], [...after.values()]).phases) {
          for (const { type, row } of updates) {
            if (type === 'delete') now.delete(rowKey(row));
            else now.set(rowKey(row), row);
            for (let at = 0; at < 8; at++) {
              oneOf(lookupAddress(now, at), lookupAddress(before, at), lookupAddress(after, at));
              oneOf(lookupPort(now, at), lookupPort(before, at), lookupPort(after, at));
            }
          }
        }
        expect([...now.keys()].sort()).toEqual([...after.keys()].sort());
      }),
      { numRuns: 300 },
    );
  });

  it('writes rows after the nodes that they name, and sweeps nodes after the rows that name them', () => {
    const tables = ['step_sport_range', 'step_dport', 'step_proto', 'step_dst', 'step_src'];
    // Node ids say their level: a row of level L names nodes of levels below, or a leaf.
    const graph = fc
      .array(fc.tuple(fc.nat(4), fc.nat(3), fc.nat(3), fc.nat(20)), { maxLength: 20 })
      .map((made) =>
        made.map(([level, n, value, next]) => {
          const below = level === 0 ? ALLOW : ((next % level) + 1) * 100 + (next % 4);
          return step(tables[level]!, (level + 1) * 100 + n, value, below);
        }),
      );
    const gates = fc
      .array(fc.tuple(fc.nat(3), fc.nat(4), fc.nat(3)), { maxLength: 4 })
      .map((made) => made.map(([ep, level, n]) => root(ep, (level + 1) * 100 + n)));
    fc.assert(
      fc.property(graph, gates, graph, gates, (g1, r1, g2, r2) => {
        const before = byKey([...g1, ...r1]);
        const after = byKey([...g2, ...r2]);
        const made = plan([...before.values()], [...after.values()]);
        if (made.mode === 'closed') return;
        const now = new Map(before);
        for (const { updates } of made.phases) {
          for (const { type, row } of updates) {
            if (type === 'delete') now.delete(rowKey(row));
            else now.set(rowKey(row), row);
            if (type === 'delete' || row.table.startsWith('addr')) continue;
            // All rows of each node that this row names are there.
            for (const node of P4_DPDK_ORDER.names(row)) {
              for (const [key, wanted] of after) {
                if (wanted.table.startsWith('step') && P4_DPDK_ORDER.partOf(wanted) === node)
                  if (!now.has(key)) throw new Error(`${key} is missing`);
              }
            }
          }
          // Nothing is deleted from a node that an open gate still names directly.
          for (const held of now.values()) {
            if (held.table !== 'endpoint_root') continue;
            for (const node of P4_DPDK_ORDER.names(held)) {
              const state = after.get(rowKey(held))?.params['node'] === held.params['node'] ? after : before;
              for (const [key, wanted] of state) {
                if (
                  wanted.table.startsWith('step') &&
                  P4_DPDK_ORDER.partOf(wanted) === node &&
                  before.has(key)
                ) {
                  if (!now.has(key)) throw new Error(`${key} is missing`);
                }
              }
            }
          }
        }
      }),
      { numRuns: 300 },
    );
  });
});

/** Plain, because expect is slow where it runs a million times. */
function oneOf(got: bigint, before: bigint, after: bigint): void {
  if (got !== before && got !== after) throw new Error(`lookup gave ${got}, neither ${before} nor ${after}`);
}

function byKey(rows: readonly Row[]): Map<string, Row> {
  return new Map(rows.map((row) => [rowKey(row), row]));
}

function lookupAddress(rows: ReadonlyMap<string, Row>, at: number): bigint {
  const own = rows.get(rowKey(addr(at, 0)));
  if (own) return P4_DPDK_ORDER.value(own);
  return best(rows, (row) => {
    const lo = row.match['lo'];
    return row.table === 'addr_labels_prefix' && lo?.kind === 'ternary' && (BigInt(at) & lo.mask) === lo.value
      ? row.priority!
      : 0;
  });
}

function lookupPort(rows: ReadonlyMap<string, Row>, at: number): bigint {
  return best(rows, (row) => {
    const port = row.match['port'];
    if (port?.kind !== 'lpm') return 0;
    const shift = BigInt(16 - port.prefixLen);
    return BigInt(at) >> shift === port.value >> shift ? port.prefixLen : 0;
  });
}

/** The value of the row that wins; 0 when none matches. */
function best(rows: ReadonlyMap<string, Row>, rank: (row: Row) => number): bigint {
  let winner: Row | undefined;
  for (const row of rows.values()) {
    const mine = rank(row);
    if (mine > 0 && (!winner || mine > rank(winner))) winner = row;
  }
  return winner ? P4_DPDK_ORDER.value(winner) : 0n;
}

import fc from 'fast-check';
import { P4_DPDK_ORDER } from '../../../src/p4target/p4-dpdk/adapter';
import { planWrites, type Plan } from '../../../src/p4target/plan';
import { RowTracker } from '../../../src/p4target/row-tracker';
import { entryText } from '../../../src/p4target/row-text';
import { rowKey, type MatchValue, type Row } from '../../../src/translators/rows';

const exact = (value: number): MatchValue => ({ kind: 'exact', value: BigInt(value) });

function addr(lo: number, cls: number): Row {
  return {
    table: 'addr_class',
    match: { hi: exact(0), lo: exact(lo) },
    action: 'set_class',
    params: { class: BigInt(cls) },
  };
}

function dport(port: number, prefixLen: number, cls: number): Row {
  return {
    table: 'dport_class',
    match: { proto: exact(6), port: { kind: 'lpm', value: BigInt(port), prefixLen } },
    action: 'set_dport_class',
    params: { class: BigInt(cls) },
  };
}

function prefix(lo: number, bits: number, cls: number): Row {
  const mask = (0xffn << BigInt(8 - bits)) & 0xffn;
  return {
    table: 'addr_class_prefix',
    match: { lo: { kind: 'ternary', value: BigInt(lo) & mask, mask } },
    priority: bits + 1,
    action: 'set_prefix_class',
    params: { class: BigInt(cls) },
  };
}

function step(table: string, node: number, value: number, next: number, defaults: number[] = []): Row {
  const chain = Object.fromEntries(defaults.map((d, i) => [`d${i + 1}`, BigInt(d)]));
  return {
    table,
    match: { node: exact(node), value: exact(value) },
    action: 'next',
    params: { node: BigInt(next), ...chain },
  };
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
      step('step_dst', 5, 1, ALLOW),
      addr(1, 1),
    ];
    expect(lines(plan([], desired))).toEqual([
      'nodes: insert step_dst node=0x5 value=0x1',
      'nodes: insert step_src node=0x9 value=0x1',
      'selectors: insert addr_class hi=0x0 lo=0x1',
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
      'selectors: delete addr_class hi=0x0 lo=0x1',
      'sweep: delete step_src node=0x9 value=0x1',
      'sweep: delete step_dst node=0x5 value=0x1',
    ]);
  });

  it('changes a policy by flipping the root between the new nodes and the old', () => {
    const actual = [root(1, 5), step('step_dst', 5, 1, ALLOW), addr(1, 1)];
    const desired = [root(1, 6), step('step_dst', 6, 1, ALLOW), addr(1, 1)];
    expect(lines(plan(actual, desired))).toEqual([
      'nodes: insert step_dst node=0x6 value=0x1',
      'gates: modify endpoint_root ep=0x1 direction=0x1',
      'sweep: delete step_dst node=0x5 value=0x1',
    ]);
  });

  it('changes the class of an address between the new rows of the node and the old, with the gate open', () => {
    const actual = [root(1, 5), step('step_dst', 5, 1, ALLOW), addr(1, 1)];
    const desired = [root(1, 5), step('step_dst', 5, 2, ALLOW), addr(1, 2)];
    expect(lines(plan(actual, desired))).toEqual([
      'nodes: insert step_dst node=0x5 value=0x2',
      'selectors: modify addr_class hi=0x0 lo=0x1',
      'sweep: delete step_dst node=0x5 value=0x1',
    ]);
  });

  it('shuts the gate of a program that goes while a class appears that it has no rows for', () => {
    const actual = [
      root(1, 5),
      root(2, 7),
      step('step_dst', 5, 1, ALLOW),
      step('step_dst', 7, 1, ALLOW),
      addr(1, 1),
    ];
    const desired = [
      root(1, 6),
      root(2, 7),
      step('step_dst', 6, 2, ALLOW),
      step('step_dst', 7, 2, ALLOW),
      addr(1, 2),
    ];
    const made = plan(actual, desired);
    expect(made.mode).toBe('open');
    expect(lines(made).filter((l) => l.includes('endpoint_root') || l.startsWith('selectors'))).toEqual([
      'hold: delete endpoint_root ep=0x1 direction=0x1',
      'selectors: modify addr_class hi=0x0 lo=0x1',
      'gates: insert endpoint_root ep=0x1 direction=0x1',
    ]);
  });

  it('shuts no gate in a state that the caller calls complete for old and new values', () => {
    const actual = [root(1, 5), step('step_dst', 5, 1, ALLOW), addr(1, 1)];
    const old = [1, 2].map((cls) => step('step_dst', 5, cls, ALLOW));
    const fresh = [1, 2].map((cls) => step('step_dst', 6, cls, ALLOW));
    const desired = [root(1, 6), ...old, ...fresh, addr(1, 2)];
    const made = lines(plan(actual, desired, { crossComplete: true }));
    expect(made.slice(-2)).toEqual([
      'selectors: modify addr_class hi=0x0 lo=0x1',
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
      `selectors: insert addr_class_prefix hi=0x0&&&${all} lo=0x1&&&${all} priority=1000`,
      'selectors: delete addr_class hi=0x0 lo=0x1',
      'selectors: insert addr_class hi=0x0 lo=0x1',
      `selectors: delete addr_class_prefix hi=0x0&&&${all} lo=0x1&&&${all} priority=1000`,
    ]);
  });

  it.each([
    [
      'a port class changes and the target can not modify',
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
    const tables = ['step_sport', 'step_dport', 'step_proto', 'step_dst', 'step_src'];
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
  if (own) return own.params['class']!;
  return best(rows, (row) => {
    const lo = row.match['lo'];
    return row.table === 'addr_class_prefix' && lo?.kind === 'ternary' && (BigInt(at) & lo.mask) === lo.value
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

/** The class of the row that wins; 0 when none matches. */
function best(rows: ReadonlyMap<string, Row>, rank: (row: Row) => number): bigint {
  let winner: Row | undefined;
  for (const row of rows.values()) {
    const mine = rank(row);
    if (mine > 0 && (!winner || mine > rank(winner))) winner = row;
  }
  return winner?.params['class'] ?? 0n;
}

import fc from 'fast-check';

import type { SpecEntry, SpecKey } from '../../../../src/p4switch/engine';
import type { Interpreter } from '../../../../src/p4switch/interpreter/interpreter';
import { bench, exact, hex, wide } from './bench';

const DECLARATIONS = (keys: string, size = 64): string => `
struct set_args {
	bit<32> value
	bit<64> big
}
action set args instanceof set_args {
	mov h.h.f32 t.value
	mov h.h.f64 t.big
	return
}
action miss args none {
	mov h.h.f32 0xdead
	return
}
action only_default args none {
	return
}
action only_entry args none {
	drop
	return
}
table t {
	key {
		${keys}
	}
	actions {
		set
		miss
		only_default @defaultonly
		only_entry @tableonly
	}
	default_action miss args none
	size ${size}
}`;

function table(keys: string, size?: number): Interpreter {
  return bench({ declarations: DECLARATIONS(keys, size), body: 'extract h.h\ntable t\nemit h.h' });
}

function entry(keys: readonly SpecKey[], value: number, priority = 0): SpecEntry {
  return { keys, priority, action: { name: 'set', params: [BigInt(value), 0xffeeddccbbaa9988n] } };
}

function insert(engine: Interpreter, e: SpecEntry): void {
  engine.apply({ kind: 'insert', table: 't', entry: e });
}

/** What h.f32 became. */
function answer(engine: Interpreter, packet: Uint8Array): number {
  const frame = engine.process(1, packet, false).out[0]!.frame;
  return Buffer.from(frame).readUInt32BE(6);
}

describe('exact tables', () => {
  it('hit, miss, modify, delete; arguments arrive in the right byte order', () => {
    const engine = table('h.h.f64 exact\nh.h.f8 exact');
    const keys = [exact(0x1122334455667788n, 64), exact(9, 8)];
    const packet = wide({ 64: 0x1122334455667788n, 8: 9n });
    expect(answer(engine, packet)).toBe(0xdead);
    insert(engine, entry(keys, 0x01020304));
    const hit = engine.process(1, packet, true);
    expect(hex(hit.out[0]?.frame)).toBe(hex(wide({ 8: 9n, 32: 0x01020304n, 64: 0xffeeddccbbaa9988n })));
    expect(hit.trace[0]).toEqual({
      kind: 'table',
      table: 't',
      keys: [0x1122334455667788n, 9n],
      hit: true,
      action: 'set',
      params: [0x01020304n, 0xffeeddccbbaa9988n],
    });
    engine.apply({ kind: 'modify', table: 't', entry: entry(keys, 6) });
    expect(answer(engine, packet)).toBe(6);
    expect(engine.find('t', keys, 0)).toEqual(entry(keys, 6));
    expect([...engine.entries('t')]).toEqual([entry(keys, 6)]);
    engine.apply({ kind: 'delete', table: 't', keys, priority: 0 });
    expect(answer(engine, packet)).toBe(0xdead);
    expect(engine.entryCount('t')).toBe(0);
  });

  it.each([
    ['h.h.f8', 8],
    ['h.h.f16', 16],
    ['h.h.f24', 24],
    ['h.h.f32', 32],
    ['h.h.f48', 48],
    ['h.h.f64', 64],
  ])('tell all values of %s apart', (name, bits) => {
    const values = fc.bigInt({ min: 0n, max: (1n << BigInt(bits)) - 1n });
    fc.assert(
      fc.property(values, values, (a, b) => {
        const engine = table(`${name} exact`);
        insert(engine, entry([exact(a, bits)], 5));
        const packet = wide({ [bits]: b });
        expect(answer(engine, packet)).toBe(a === b ? 5 : 0xdead);
      }),
      { numRuns: 25 },
    );
  });

  it('keys in metadata are values too', () => {
    const engine = bench({
      declarations: DECLARATIONS('m.f48 exact\nm.f16 exact'),
      body: 'extract h.h\nmov m.f48 h.h.f48\nmov m.f16 h.h.f16\ntable t\nemit h.h',
    });
    insert(engine, entry([exact(0x010203040506n, 48), exact(0x0708, 16)], 3));
    expect(answer(engine, wide({ 48: 0x010203040506n, 16: 0x0708n }))).toBe(3);
    expect(answer(engine, wide({ 48: 0x060504030201n, 16: 0x0807n }))).toBe(0xdead);
  });

  it('number their entries from 1, 0 being a miss', () => {
    const engine = bench({
      declarations: DECLARATIONS('h.h.f16 exact'),
      body: 'extract h.h\ntable t\nentryid m.f32\nmov h.h.f32 m.f32\nemit h.h',
    });
    insert(engine, entry([exact(7, 16)], 0));
    insert(engine, entry([exact(8, 16)], 0));
    expect([7n, 8n, 9n].map((v) => answer(engine, wide({ 16: v })))).toEqual([1, 2, 0]);
  });

  it('take 130,000 entries in seconds', () => {
    const engine = table('h.h.f64 exact\nh.h.f48 exact', 130_000);
    const started = performance.now();
    for (let i = 0; i < 130_000; i++) insert(engine, entry([exact(i, 64), exact(1, 48)], i));
    for (let i = 0; i < 130_000; i += 2)
      engine.apply({ kind: 'delete', table: 't', keys: [exact(i, 64), exact(1, 48)], priority: 0 });
    expect(performance.now() - started).toBeLessThan(30_000);
    expect(engine.entryCount('t')).toBe(65_000);
    expect(answer(engine, wide({ 64: 129_999n, 48: 1n }))).toBe(129_999);
    expect(answer(engine, wide({ 64: 129_998n, 48: 1n }))).toBe(0xdead);
  });
});

describe('lpm tables', () => {
  const prefix = (value: number, length: number): SpecKey => ({
    value: BigInt(value),
    mask: length === 0 ? 0n : (0xffffn << BigInt(16 - length)) & 0xffffn,
  });

  it('the longest prefix wins, in whatever order they come', () => {
    const engine = table('h.h.f8 exact\nh.h.f16 lpm');
    insert(engine, entry([exact(1, 8), prefix(0, 0)], 1));
    insert(engine, entry([exact(1, 8), prefix(0xab12, 16)], 16));
    insert(engine, entry([exact(1, 8), prefix(0xab00, 8)], 8));
    insert(engine, entry([exact(2, 8), prefix(0xab10, 12)], 12));
    expect([0xab12n, 0xab13n, 0xcc00n].map((v) => answer(engine, wide({ 8: 1n, 16: v })))).toEqual([
      16, 8, 1,
    ]);
    expect([0xab12n, 0xab20n].map((v) => answer(engine, wide({ 8: 2n, 16: v })))).toEqual([12, 0xdead]);
    engine.apply({ kind: 'delete', table: 't', keys: [exact(1, 8), prefix(0xab12, 16)], priority: 0 });
    expect(answer(engine, wide({ 8: 1n, 16: 0xab12n }))).toBe(8);
  });

  it('refuse a mask that is no prefix', () => {
    const engine = table('h.h.f16 lpm');
    expect(() => {
      insert(engine, entry([{ value: 0n, mask: 0xff01n }], 1));
    }).toThrow(/no prefix/);
  });
});

describe('wildcard tables', () => {
  it('the larger priority wins, also for one and the same mask', () => {
    const engine = table('h.h.f8 exact\nh.h.f16 wildcard');
    const any: SpecKey = { value: 0n, mask: 0n };
    insert(engine, entry([exact(1, 8), { value: 0x1200n, mask: 0xff00n }], 1, 10));
    insert(engine, entry([exact(1, 8), any], 2, 20));
    insert(engine, entry([exact(1, 8), { value: 0x1200n, mask: 0xff00n }], 3, 30));
    const packet = wide({ 8: 1n, 16: 0x1234n });
    expect(answer(engine, packet)).toBe(3);
    engine.apply({
      kind: 'delete',
      table: 't',
      keys: [exact(1, 8), { value: 0x1200n, mask: 0xff00n }],
      priority: 30,
    });
    expect(answer(engine, packet)).toBe(2);
    engine.apply({ kind: 'delete', table: 't', keys: [exact(1, 8), any], priority: 20 });
    expect(answer(engine, packet)).toBe(1);
    expect(engine.find('t', [exact(1, 8), any], 20)).toBeUndefined();
  });

  it('answer as a search through all entries would, under inserts and deletes', () => {
    const key = fc.record({ value: fc.nat(15), mask: fc.constantFrom(0, 0xf, 0xc, 0x3) });
    const op = fc.record({ a: key, b: key, priority: fc.integer({ min: 1, max: 4 }), remove: fc.boolean() });
    fc.assert(
      fc.property(fc.array(op, { maxLength: 25 }), fc.nat(15), fc.nat(15), (ops, x, y) => {
        const engine = table('h.h.f8 wildcard\nh.h.f16 wildcard');
        const model = new Map<string, { match: boolean; priority: number }>();
        for (const { a, b, priority, remove } of ops) {
          const keys = [a, b].map((k) => ({ value: BigInt(k.value & k.mask), mask: BigInt(k.mask) }));
          const id = JSON.stringify([a.value & a.mask, a.mask, b.value & b.mask, b.mask, priority]);
          if (remove) {
            engine.apply({ kind: 'delete', table: 't', keys, priority });
            model.delete(id);
          } else {
            // The answer is the priority: among equals any may win.
            insert(engine, entry(keys, priority, priority));
            const match = (x & a.mask) === (a.value & a.mask) && (y & b.mask) === (b.value & b.mask);
            model.set(id, { match, priority });
          }
        }
        const expected = Math.max(0, ...[...model.values()].filter((e) => e.match).map((e) => e.priority));
        expect(answer(engine, wide({ 8: BigInt(x), 16: BigInt(y) }))).toBe(
          expected === 0 ? 0xdead : expected,
        );
        expect(engine.entryCount('t')).toBe(model.size);
        expect([...engine.entries('t')]).toHaveLength(model.size);
      }),
      { numRuns: 200 },
    );
  });
});

describe('default actions', () => {
  it('change and go back', () => {
    const engine = table('h.h.f8 exact');
    const action = { name: 'set', params: [77n, 0n] };
    engine.apply({ kind: 'default', table: 't', action });
    expect(engine.defaultAction('t')).toEqual(action);
    expect(answer(engine, wide({}))).toBe(77);
    engine.resetDefaultAction('t');
    expect(engine.defaultAction('t')).toEqual({ name: 'miss', params: [] });
    expect(answer(engine, wide({}))).toBe(0xdead);
  });

  it('of a table without a key always run', () => {
    const engine = bench({
      declarations:
        'action a args none {\n drop\n return\n}\ntable t {\n actions {\n a\n }\n default_action a args none const\n size 1\n}',
      body: 'table t',
    });
    expect(engine.process(1, wide({}), true).trace).toEqual([
      { kind: 'table', table: 't', keys: [], hit: false, action: 'a', params: [] },
      { kind: 'drop' },
    ]);
    expect(() => {
      engine.apply({ kind: 'default', table: 't', action: { name: 'a', params: [] } });
    }).toThrow(/constant/);
  });
});

describe('what a table refuses', () => {
  const engine = table('h.h.f8 exact', 2);
  const good = entry([exact(1, 8)], 1);
  it.each<[string, SpecEntry, RegExp]>([
    ['a key too many', { ...good, keys: [exact(1, 8), exact(1, 8)] }, /has 1 keys, 2 are given/],
    ['a key that does not fit', { ...good, keys: [{ value: 256n, mask: 0xffn }] }, /does not fit 8 bits/],
    ['a mask on an exact key', { ...good, keys: [{ value: 1n, mask: 0xfen }] }, /is exact/],
    ['an action of another use', { ...good, action: { name: 'only_default', params: [] } }, /does not allow/],
    ['an action it does not know', { ...good, action: { name: 'nope', params: [] } }, /does not allow/],
    ['arguments that are missing', { ...good, action: { name: 'set', params: [1n] } }, /2 arguments, 1/],
    [
      'an argument that does not fit',
      { ...good, action: { name: 'set', params: [1n << 32n, 0n] } },
      /does not fit/,
    ],
  ])('%s', (_name, bad, message) => {
    expect(() => {
      insert(engine, bad);
    }).toThrow(message);
    expect(engine.entryCount('t')).toBe(0);
  });

  it('more entries than its size', () => {
    const full = table('h.h.f8 exact', 2);
    insert(full, entry([exact(1, 8)], 1));
    insert(full, entry([exact(2, 8)], 1));
    insert(full, entry([exact(2, 8)], 2));
    expect(() => {
      insert(full, entry([exact(3, 8)], 1));
    }).toThrow(/table t is full \(2 entries\)/);
  });
});

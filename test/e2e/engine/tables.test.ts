/** What the native engine's control layer promises, each promise tried on packets too. */
import type { SpecEntry, SpecKey } from '../../../src/p4switch/engine';
import type { EngineChange } from '../../../src/p4switch/dpdk/changes';
import type { Description } from '../../../src/p4switch/dpdk/description';
import { EngineRefusal } from '../../../src/p4switch/dpdk/link';
import { Status, Which } from '../../../src/p4switch/dpdk/protocol';
import { createInterpreter, type Interpreter } from '../../../src/p4switch/interpreter/interpreter';
import type { Spec } from '../../../src/p4switch/spec/ast';
import { parseSpec } from '../../../src/p4switch/spec/parser';
import { seededRandom } from '../dpdk/random';
import { SEED } from '../../seed';
import { describeEngine, type RunningEngine, startEngine } from './engine';

const DECLARATIONS = `
struct packet_t {
	bit<32> a
	bit<32> b
	bit<16> c
	bit<32> port
}
struct to_t {
	bit<32> port
}
struct meta_t {
	bit<32> in
	bit<32> out
	bit<32> member
	bit<32> group
	bit<64> prefix
	bit<8> timeout
}
header p instanceof packet_t
metadata instanceof meta_t
regarray first size 0x10 initval 0x0
regarray seen size 0x10 initval 0x7
action to args instanceof to_t {
	mov m.out t.port
	return
}
action nowhere args none {
	drop
	return
}
action none args none {
	return
}
action learned args none {
	regadd seen 0x2 1
	return
}
action learn_it args none {
	mov m.timeout 0x1
	learn learned m.timeout
	return
}
table exact {
	key {
		h.p.a exact
		h.p.b exact
	}
	actions {
		to
		none
		nowhere
	}
	default_action none args none
	size 0x20000
}
table prefixes {
	key {
		m.prefix lpm
	}
	actions {
		to
		none
	}
	default_action none args none
	size 0x400
}
table masks {
	key {
		h.p.a wildcard
		h.p.c wildcard
	}
	actions {
		to
		none
	}
	default_action none args none
	size 0x400
}
table stays {
	key {
		h.p.a exact
	}
	actions {
		none
		nowhere
	}
	default_action none args none const
	size 0x10
}
selector spread {
	group_id m.group
	selector {
		h.p.a
		h.p.b
	}
	member_id m.member
	n_groups_max 8
	n_members_per_group_max 16
}
learner flows {
	key {
		h.p.a
		h.p.b
	}
	actions {
		learned @tableonly
		learn_it @defaultonly
	}
	default_action learn_it args none
	size 0x1000
	timeout {
		10
		30
	}
}
`;

function program(...instructions: readonly string[]): { readonly text: string; readonly spec: Spec } {
  const body = ['rx m.in', 'mov m.out 0x0', ...instructions].map((i) => `\t${i}`).join('\n');
  const text = `${DECLARATIONS}\napply {\n${body}\n}\n`;
  return { text, spec: parseSpec(text) };
}

const SEND = ['emit h.p', 'tx m.out'] as const;
const ONES = 0xffff_ffffn;

function packet(a: number, b: number, c = 0, port = 0): Uint8Array {
  const frame = Buffer.alloc(20);
  frame.writeUInt32BE(a, 0);
  frame.writeUInt32BE(b, 4);
  frame.writeUInt16BE(c, 8);
  frame.writeUInt32BE(port, 10);
  return frame;
}

function exactEntry(a: number, b: number, port: number): SpecEntry {
  const keys = [BigInt(a), BigInt(b)].map((value): SpecKey => ({ value, mask: ONES }));
  return { keys, priority: 0, action: { name: 'to', params: [BigInt(port)] } };
}

const insert = (table: string, entry: SpecEntry): EngineChange => ({ kind: 'insert', table, entry });

describeEngine('tables of the engine', {}, () => {
  let engine: RunningEngine;
  let d: Description;

  const write = (...changes: readonly EngineChange[]): Promise<void> =>
    engine.client.write(Which.running, 1n, d, changes);
  const load = async ({ text, spec }: { readonly text: string; readonly spec: Spec }): Promise<void> => {
    d = await engine.run(text, spec);
  };
  /** Where a packet goes; undefined when it is dropped. */
  const portOf = async (frame: Uint8Array, port = 1): Promise<number | undefined> =>
    (await engine.client.inject([{ port, frame }]))[0]![0]?.port;
  const all = async (table: string): Promise<SpecEntry[]> => {
    const found: SpecEntry[] = [];
    for await (const entry of engine.client.entries(d, table)) found.push(entry);
    return found;
  };
  const refusal = async (work: Promise<unknown>): Promise<EngineRefusal> => {
    const error: unknown = await work.then(
      () => undefined,
      (e: unknown) => e,
    );
    if (!(error instanceof EngineRefusal)) throw new Error(`not refused: ${String(error)}`);
    return error;
  };

  beforeAll(async () => {
    engine = await startEngine(['--slots', '64']);
  });
  afterAll(() => engine.stop());

  it('gives back what was written, and packets see it', async () => {
    await load(program('extract h.p', 'table exact', ...SEND));
    const entries = [exactEntry(1, 2, 5), exactEntry(1, 3, 6), exactEntry(0xffff_ffff, 0, 7)];
    await write(...entries.map((e) => insert('exact', e)));
    expect(await all('exact')).toEqual(expect.arrayContaining(entries));
    expect(await portOf(packet(1, 2))).toBe(5);
    expect(await portOf(packet(1, 3))).toBe(6);
    expect(await portOf(packet(0xffff_ffff, 0))).toBe(7);
    expect(await portOf(packet(9, 9))).toBe(0);

    await write(
      { kind: 'modify', table: 'exact', entry: exactEntry(1, 2, 8) },
      { kind: 'delete', table: 'exact', keys: entries[1]!.keys, priority: 0 },
    );
    expect(await all('exact')).toHaveLength(2);
    expect(await portOf(packet(1, 2))).toBe(8);
    expect(await portOf(packet(1, 3))).toBe(0);
  });

  it('takes a transaction as a whole or not at all', async () => {
    await load(program('extract h.p', 'table exact', ...SEND));
    await write(insert('exact', exactEntry(1, 1, 5)));
    const failed = await refusal(
      write(
        { kind: 'delete', table: 'exact', keys: exactEntry(1, 1, 5).keys, priority: 0 },
        insert('exact', exactEntry(2, 2, 6)),
        { kind: 'default', table: 'exact', action: { name: 'to', params: [9n] } },
        { kind: 'register', array: 'seen', index: 0, value: 1n },
        { kind: 'delete', table: 'exact', keys: exactEntry(3, 3, 0).keys, priority: 0 },
      ),
    );
    expect(failed).toMatchObject({ status: Status.notFound, index: 4 });
    expect(await all('exact')).toEqual([exactEntry(1, 1, 5)]);
    expect(await engine.client.defaultAction(d, 'exact')).toEqual({ name: 'none', params: [] });
    expect(await engine.client.registers(d, 'seen', 0, 1)).toEqual([7n]);
    expect(await portOf(packet(1, 1))).toBe(5);
    expect(await portOf(packet(2, 2))).toBe(0);
  });

  it('takes 100,000 entries in one transaction, and finds each of them', async () => {
    await load(program('extract h.p', 'table exact', ...SEND));
    const entries = Array.from({ length: 100_000 }, (_, i) => exactEntry(i, i * 7919, i % 64));
    await write(...entries.map((e) => insert('exact', e)));
    expect(await all('exact')).toHaveLength(entries.length);
    const sample = Array.from({ length: 2000 }, (_, i) => i * 50 + 13);
    const out = await engine.client.inject(
      sample.map((i) => ({ port: 0, frame: packet(i, (i * 7919) >>> 0) })),
    );
    expect(out.map((o) => o[0]?.port)).toEqual(sample.map((i) => i % 64));
    await write(
      ...entries.map((e): EngineChange => ({ kind: 'delete', table: 'exact', keys: e.keys, priority: 0 })),
    );
    expect(await all('exact')).toEqual([]);
    expect(await portOf(packet(13, 13 * 7919))).toBe(0);
  });

  it('refuses what does not fit in a table', async () => {
    await load(program('extract h.p', 'table masks', ...SEND));
    const entry = (i: number): SpecEntry => ({
      keys: [
        { value: BigInt(i), mask: ONES },
        { value: 0n, mask: 0n },
      ],
      priority: 1,
      action: { name: 'none', params: [] },
    });
    await write(...Array.from({ length: 1024 }, (_, i) => insert('masks', entry(i))));
    expect(await refusal(write(insert('masks', entry(5000))))).toMatchObject({ status: Status.full });
    await write({ kind: 'delete', table: 'masks', keys: entry(0).keys, priority: 1 });
    await write(insert('masks', entry(5000)));
  });

  it('changes default actions, but not constant ones', async () => {
    await load(program('extract h.p', 'table exact', 'table stays', ...SEND));
    await write({ kind: 'default', table: 'exact', action: { name: 'to', params: [11n] } });
    expect(await portOf(packet(5, 5))).toBe(11);
    expect(await engine.client.defaultAction(d, 'exact')).toEqual({ name: 'to', params: [11n] });
    const constant = refusal(
      write({ kind: 'default', table: 'stays', action: { name: 'nowhere', params: [] } }),
    );
    expect(await constant).toMatchObject({ status: Status.invalid });
    // An action that is for entries of another table only.
    const foreign = refusal(write({ kind: 'default', table: 'stays', action: { name: 'to', params: [1n] } }));
    expect(await foreign).toMatchObject({ status: Status.invalid });
  });

  it('writes and counts in registers', async () => {
    await load(program('extract h.p', 'regadd seen 0x1 5', ...SEND));
    expect(await engine.client.registers(d, 'seen', 0, 3)).toEqual([7n, 7n, 7n]);
    await write({ kind: 'register', array: 'seen', index: 1, value: 2n ** 63n });
    await portOf(packet(0, 0));
    expect(await engine.client.registers(d, 'seen', 0, 3)).toEqual([7n, 2n ** 63n + 5n, 7n]);
  });

  // DPDK alone would change the first array.
  it('writes constants to the register array that is named', async () => {
    await load(
      program(
        'extract h.p',
        'jmpeq WRITE h.p.a 0x1',
        'regadd seen 0x3 0x2',
        'WRITE : regwr seen 0x4 0x9',
        ...SEND,
      ),
    );
    await portOf(packet(0, 0));
    await portOf(packet(1, 0));
    expect(await engine.client.registers(d, 'seen', 3, 2)).toEqual([9n, 9n]);
    expect(new Set(await engine.client.registers(d, 'first', 0, 16))).toEqual(new Set([0n]));
  });

  it('spreads flows over the members of a group', async () => {
    await load(
      program(
        'extract h.p',
        'mov m.group 0x3',
        'mov m.member 0x0',
        'table spread',
        'mov m.out m.member',
        ...SEND,
      ),
    );
    const flows = Array.from({ length: 600 }, (_, i) => ({ port: 0, frame: packet(i, i * 31) }));
    const ports = async (): Promise<(number | undefined)[]> =>
      (await engine.client.inject(flows)).map((o) => o[0]?.port);
    expect(new Set(await ports())).toEqual(new Set([0]));
    const members = [
      { id: 4, weight: 1 },
      { id: 9, weight: 3 },
    ];
    await write({ kind: 'group', selector: 'spread', group: 3, members });
    expect(await engine.client.groups(d, 'spread')).toEqual([{ group: 3, members }]);
    const chosen = await ports();
    expect(new Set(chosen)).toEqual(new Set([4, 9]));
    expect(chosen.filter((p) => p === 9).length).toBeGreaterThan(350);
    expect(await ports()).toEqual(chosen);
    await write({ kind: 'group', selector: 'spread', group: 3, members: [] });
    expect(await engine.client.groups(d, 'spread')).toEqual([]);
    expect(new Set(await ports())).toEqual(new Set([0]));
  });

  it('lists and flushes what packets made it learn', async () => {
    await load(program('extract h.p', 'table flows', ...SEND));
    await engine.client.inject([1, 2, 3, 2, 1].map((i) => ({ port: 0, frame: packet(i, 100 + i) })));
    const learned = [...(await engine.client.learned(d, 'flows'))].sort((x, y) =>
      Number(x.keys[0]! - y.keys[0]!),
    );
    expect(learned.map((e) => [e.keys, e.action])).toEqual(
      [1n, 2n, 3n].map((i) => [[i, 100n + i], { name: 'learned', params: [] }]),
    );
    for (const { expiresIn } of learned) expect(expiresIn).toBeGreaterThan(20);
    for (const { expiresIn } of learned) expect(expiresIn).toBeLessThanOrEqual(30);
    expect(await engine.client.registers(d, 'seen', 2, 1)).toEqual([9n]);
    expect(await engine.client.tableStats(d, 'flows')).toMatchObject({
      hits: 2n,
      misses: 3n,
      learned: 3n,
      learnFailed: 0n,
    });

    await engine.client.flushLearned(d, 'flows');
    expect(await engine.client.learned(d, 'flows')).toEqual([]);
    await portOf(packet(1, 101));
    expect(await engine.client.registers(d, 'seen', 2, 1)).toEqual([9n]);
    expect(await engine.client.learned(d, 'flows')).toHaveLength(1);
  });

  it('counts hits and misses of tables', async () => {
    await load(program('extract h.p', 'table exact', ...SEND));
    await write(insert('exact', exactEntry(1, 1, 5)));
    await engine.client.inject(
      [packet(1, 1), packet(1, 1), packet(2, 2)].map((frame) => ({ port: 0, frame })),
    );
    expect(await engine.client.tableStats(d, 'exact')).toEqual({
      hits: 2n,
      misses: 1n,
      byAction: new Map([
        ['to', 2n],
        ['none', 1n],
      ]),
    });
  });

  it.each([SEED, 1, 2])('prefixes and masks win as in the interpreter, seed %d', async (seed) => {
    const both = program(
      'extract h.p',
      'mov m.prefix h.p.a',
      'table prefixes',
      'jmpneq DONE m.out 0x0',
      'table masks',
      `DONE : ${SEND[0]}`,
      SEND[1],
    );
    await load(both);
    const random = seededRandom(seed);
    const mirror: Interpreter = createInterpreter(both.spec, { now: () => 0, isPort: (port) => port < 64 });
    const below = (bound: number): number => random.below(bound);
    const full = 2n ** 64n - 1n;
    for (let round = 0; round < 6; round++) {
      const changes = Array.from({ length: 40 }, (): EngineChange => {
        const action = { name: 'to', params: [BigInt(1 + below(63))] };
        if (random.chance(0.5)) {
          const mask = full ^ (2n ** BigInt(below(9) * 4) - 1n);
          return insert('prefixes', {
            keys: [{ value: BigInt(below(65_536)) & mask, mask }],
            priority: 0,
            action,
          });
        }
        const mask = BigInt(random.pick([0, 0xff, 0xff00, 0xf0f0, 0xffff]));
        const maskC = BigInt(random.pick([0, 0xf, 0xffff]));
        const keys = [
          { value: BigInt(below(65_536)) & mask, mask },
          { value: BigInt(below(16)) & maskC, mask: maskC },
        ];
        // No two rows of one priority that both match: which of them wins is nobody's promise.
        return insert('masks', { keys, priority: 1 + round * 1000 + below(1_000_000), action });
      });
      for (const change of changes) if (change.kind === 'insert') mirror.apply(change);
      await write(...changes);
      const some = changes.filter(() => random.chance(0.3));
      const deletes = new Map<string, EngineChange>();
      for (const change of some)
        if (change.kind === 'insert') {
          const { keys, priority } = change.entry;
          const key = `${change.table} ${priority} ${keys.map((k) => `${k.value}&${k.mask}`).join()}`;
          deletes.set(key, { kind: 'delete', table: change.table, keys, priority });
        }
      for (const change of deletes.values()) if (change.kind === 'delete') mirror.apply(change);
      await write(...deletes.values());
      const frames = Array.from({ length: 300 }, () => packet(below(65_536), 0, below(16)));
      const got = await engine.client.inject(frames.map((frame) => ({ port: 0, frame })));
      expect(got.map((o) => o[0]?.port)).toEqual(frames.map((f) => mirror.process(0, f, false).out[0]?.port));
      for (const table of ['prefixes', 'masks']) {
        const words = (e: SpecEntry): string =>
          `${e.priority} ${e.keys.map((k) => `${k.value}&${k.mask}`).join()} ${e.action.params.join()}`;
        expect((await all(table)).map(words).sort()).toEqual([...mirror.entries(table)].map(words).sort());
      }
    }
  });
});

describeEngine('packets and programs of the engine', {}, () => {
  let engine: RunningEngine;

  const run = async (...instructions: readonly string[]): Promise<void> => {
    const { text, spec } = program(...instructions);
    await engine.run(text, spec);
  };
  const out = async (frame: Uint8Array, port = 1): Promise<string[]> =>
    (await engine.client.inject([{ port, frame }]))[0]!.map(
      (o) => `${o.port} ${Buffer.from(o.frame).toString('hex')}`,
    );

  beforeAll(async () => {
    engine = await startEngine(['--slots', '64']);
  });
  afterAll(() => engine.stop());

  it('tells a program the port, and sends where it says', async () => {
    await run('extract h.p', 'mov h.p.a m.in', 'mov m.out h.p.port', ...SEND);
    for (const port of [0, 1, 37, 63])
      expect(await out(packet(0, 0, 0, 63 - port), port)).toEqual([
        `${63 - port} ${Buffer.from(packet(port, 0, 0, 63 - port)).toString('hex')}`,
      ]);
  });

  it('drops what goes to a port that is not there, and counts it', async () => {
    await run('extract h.p', 'mov m.out h.p.port', ...SEND);
    const before = (await engine.client.engineStats()).noPort;
    for (const port of [64, 65, 1000, 0xffff_ffff]) expect(await out(packet(0, 0, 0, port))).toEqual([]);
    expect((await engine.client.engineStats()).noPort).toBe(before + 4n);
    expect(await out(packet(0, 0, 0, 63))).toHaveLength(1);
  });

  it('reads zeros behind a short packet, and none of an earlier one', async () => {
    await run('extract h.p', 'mov m.out h.p.port', ...SEND);
    await out(Buffer.alloc(1500, 0xff));
    for (let length = 1; length < 14; length++)
      expect(await out(Buffer.alloc(length))).toEqual([`0 ${'00'.repeat(length)}`]);
    expect(await out(new Uint8Array(0))).toEqual([]);
  });

  it('passes frames of 9,018 bytes, and a packet that grows', async () => {
    await run('extract h.p', ...SEND);
    const large = Buffer.alloc(9018, 0x5a);
    expect(await out(large)).toEqual([`0 ${large.toString('hex')}`]);
  });

  it('runs a packet again that the program sends round, with its port', async () => {
    await run(
      'extract h.p',
      'jmpgt ENOUGH h.p.a 0x2',
      'add h.p.a 0x1',
      'recirculate',
      'emit h.p',
      'tx m.in',
      'ENOUGH : mov m.out m.in',
      ...SEND,
    );
    expect(await out(packet(0, 8), 5)).toEqual([`5 ${Buffer.from(packet(3, 8)).toString('hex')}`]);
  });

  it('drops a packet that is sent round for ever', async () => {
    await run('extract h.p', 'add h.p.a 0x1', 'recirculate', ...SEND);
    expect(await out(packet(0, 8), 5)).toEqual([]);
    await run('extract h.p', ...SEND);
    expect(await out(packet(0, 8), 5)).toHaveLength(1);
  });

  it.each([
    ['a line that DPDK does not know', 'mov m.out', 0],
    ['a loop', 'HERE : add m.out 0x1\n\tjmp HERE', 0],
    ['a label that is not there', 'jmp NOWHERE', 0],
    ['a header that is not there', 'extract h.q', 0],
    ['a constant port beyond the last one', 'jmpeq E m.in 0x0\n\ttx 0x40\n\tE : mov m.out 0x0', 1],
    ['a name of the engine', 'mov m.out h.ENGINE_SLOT.port', 0],
  ])('refuses %s, and goes on', async (_, line, offset) => {
    const good = program('extract h.p', ...SEND);
    await engine.run(good.text, good.spec);
    const text = good.text.replace('\textract h.p', `\t${line}\n\textract h.p`);
    const at = text.split('\n').findIndex((l) => l.includes(line.split('\n')[0]!)) + 1 + offset;
    await expect(engine.client.check(text)).rejects.toMatchObject({ status: Status.spec });
    await expect(engine.client.load(text, new Uint8Array(0))).rejects.toThrow(
      line === 'mov m.out' ? /DPDK refuses/ : new RegExp(`spec line ${at}: `),
    );
    expect(await out(packet(1, 1))).toHaveLength(1);
  });

  it('says on which line DPDK stumbles, in the lines of the spec as it was given', async () => {
    const { text } = program('extract h.p', ...SEND);
    const broken = `${text}regarray oops\n`;
    const line = broken.split('\n').length - 1;
    await expect(engine.client.check(broken)).rejects.toThrow(new RegExp(`spec line ${line}: `));
  });

  it('keeps the running program while another one is loaded, until it is activated', async () => {
    const first = program('extract h.p', 'mov m.out 0x5', ...SEND);
    const second = program('extract h.p', 'mov m.out 0x6', ...SEND);
    await engine.run(first.text, first.spec);
    await engine.client.load(second.text, Buffer.from('note'));
    expect(await out(packet(1, 1))).toEqual([expect.stringMatching(/^5 /)]);
    await engine.client.activate();
    expect(await out(packet(1, 1))).toEqual([expect.stringMatching(/^6 /)]);
    expect(await engine.client.program()).toEqual({ spec: second.text, blob: Buffer.from('note') });
  });
});

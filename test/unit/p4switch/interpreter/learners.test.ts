import type { Interpreter } from '../../../../src/p4switch/interpreter/interpreter';
import { bench, hex, wide } from './bench';

/**
 * A learned table keyed by f64. h.f8 of the packet says what to do on a miss and on a hit:
 * 1 learn (on a miss), 2 re-arm, 3 re-arm with the timeout id in h.f16, 4 forget, 5 learn again (on a hit),
 * 6 learn after the key changed; 0 nothing.
 * f32 comes back as 0xff on a miss, else as the entry's argument; the id of the timeout of learn is h.f16.
 */
const DECLARATIONS = (size: number): string => `
struct known_args {
	bit<32> value
	bit<64> big
}
struct keys_t {
	bit<64> f64
}
header key instanceof keys_t
action known args instanceof known_args {
	mov h.h.f32 t.value
	mov h.h.f64 t.big
	jmpeq REARM h.h.f8 2
	jmpeq REARM_NEW h.h.f8 3
	jmpeq FORGET h.h.f8 4
	jmpeq RENEW h.h.f8 5
	return
	REARM : rearm
	return
	REARM_NEW : rearm m.timeout
	return
	FORGET : forget
	return
	RENEW : learn known m.value m.timeout
	return
}
action unknown args none {
	mov h.h.f32 0xff
	jmpeq LEARN h.h.f8 1
	jmpneq END h.h.f8 6
	add h.key.f64 1
	LEARN : learn known m.value m.timeout
	END : return
}
learner flows {
	key {
		h.key.f64
	}
	actions {
		known @tableonly
		unknown @defaultonly
	}
	default_action unknown args none
	size ${size}
	timeout {
		10
		30
		100
	}
}`;

function flows(size = 16): { engine: Interpreter; clock: { now: number } } {
  const clock = { now: 1000 };
  const engine = bench(
    {
      declarations: DECLARATIONS(size),
      metadata: 'bit<32> value\nbit<64> big',
      body: `
        extract h.h
        validate h.key
        mov h.key.f64 h.h.f64
        mov m.timeout h.h.f16
        mov m.value h.h.f24
        mov m.big h.h.f48
        table flows
        emit h.h`,
    },
    { now: () => clock.now },
  );
  return { engine, clock };
}

const LEARN = 1n;
const REARM = 2n;
const REARM_NEW = 3n;
const FORGET = 4n;
const RENEW = 5n;
const LEARN_CHANGED_KEY = 6n;

/** Sends a packet of flow `key`; undefined is a miss, else the value that the entry holds. */
function send(
  engine: Interpreter,
  key: bigint,
  what = 0n,
  timeoutId = 0n,
  value = 0x42n,
): number | undefined {
  const frame = engine.process(1, wide({ 64: key, 8: what, 16: timeoutId, 24: value, 48: 0x0102n }), false)
    .out[0]!.frame;
  const found = Buffer.from(frame).readUInt32BE(6);
  return found === 0xff ? undefined : found;
}

describe('learned tables', () => {
  it('learn the key just looked up, with arguments from metadata', () => {
    const { engine } = flows();
    expect(send(engine, 5n)).toBeUndefined();
    expect(send(engine, 5n, LEARN)).toBeUndefined();
    expect(send(engine, 5n)).toBe(0x42);
    expect(send(engine, 6n)).toBeUndefined();
    const out = engine.process(1, wide({ 64: 5n }), false).out[0]?.frame;
    expect(hex(out)).toBe(hex(wide({ 32: 0x42n, 64: 0x0102n })));
    expect([...engine.learned('flows')]).toEqual([
      { keys: [5n], action: { name: 'known', params: [0x42n, 0x0102n] }, expiresIn: 10 },
    ]);
  });

  it('trace lookups and learning, but not a learn that failed', () => {
    const { engine } = flows(1);
    const trace = (key: bigint): readonly string[] =>
      engine.process(1, wide({ 64: key, 8: LEARN }), true).trace.map((s) => s.kind);
    expect(engine.process(1, wide({ 64: 5n, 8: LEARN }), true).trace).toEqual([
      { kind: 'table', table: 'flows', keys: [5n], hit: false, action: 'unknown', params: [] },
      { kind: 'learn', table: 'flows', keys: [5n], action: 'known' },
      { kind: 'tx', port: 1 },
    ]);
    expect(trace(6n)).toEqual(['table', 'tx']);
  });

  it('expire by the clock; a hit alone does not re-arm', () => {
    const { engine, clock } = flows();
    send(engine, 5n, LEARN);
    clock.now += 9.5;
    expect(send(engine, 5n)).toBe(0x42);
    clock.now += 0.5;
    expect(send(engine, 5n)).toBeUndefined();
    expect([...engine.learned('flows')]).toEqual([]);
  });

  it('re-arm with their own timeout or a new one, which stays', () => {
    const { engine, clock } = flows();
    send(engine, 5n, LEARN);
    clock.now += 9;
    send(engine, 5n, REARM);
    clock.now += 9;
    expect(send(engine, 5n, REARM_NEW, 1n)).toBe(0x42);
    clock.now += 29;
    expect(send(engine, 5n, REARM)).toBe(0x42);
    clock.now += 29;
    expect(send(engine, 5n)).toBe(0x42);
    clock.now += 1;
    expect(send(engine, 5n)).toBeUndefined();
  });

  it('wrap timeout ids at a power of two; those past the last are the first', () => {
    const expiresIn = (id: bigint): number | undefined => {
      const { engine } = flows();
      send(engine, 5n, LEARN, id);
      return [...engine.learned('flows')][0]?.expiresIn;
    };
    expect([0n, 1n, 2n, 3n, 4n, 6n].map(expiresIn)).toEqual([10, 30, 100, 10, 10, 100]);
  });

  it('forget at once', () => {
    const { engine } = flows();
    send(engine, 5n, LEARN);
    expect(send(engine, 5n, FORGET)).toBe(0x42);
    expect(send(engine, 5n)).toBeUndefined();
  });

  it('renew arguments and timer by learning again', () => {
    const { engine, clock } = flows();
    send(engine, 5n, LEARN);
    clock.now += 9;
    send(engine, 5n, RENEW, 1n, 0x43n);
    expect(send(engine, 5n)).toBe(0x43);
    expect([...engine.learned('flows')]).toMatchObject([{ expiresIn: 30 }]);
  });

  it('take no more than their size, count what failed, and reuse the room of expired entries', () => {
    const { engine, clock } = flows(4);
    for (let key = 1n; key <= 6n; key++) send(engine, key, LEARN);
    expect(engine.learnerStats('flows')).toMatchObject({ learned: 4, learnFailed: 2, hits: 0, misses: 6 });
    expect(send(engine, 4n)).toBe(0x42);
    expect(send(engine, 5n)).toBeUndefined();
    clock.now += 10;
    send(engine, 5n, LEARN);
    expect(send(engine, 5n)).toBe(0x42);
  });

  it('do not learn a key that changed since the lookup: SWX would store an entry that nothing finds', () => {
    const { engine } = flows();
    send(engine, 5n, LEARN_CHANGED_KEY);
    expect(send(engine, 5n)).toBeUndefined();
    expect(send(engine, 6n)).toBeUndefined();
    expect(engine.learnerStats('flows')).toMatchObject({ learned: 0, learnFailed: 1 });
  });

  it('are closed to the control plane', () => {
    const { engine } = flows();
    expect(() => {
      engine.apply({
        kind: 'insert',
        table: 'flows',
        entry: { keys: [{ value: 1n, mask: 1n }], priority: 0, action: { name: 'known', params: [1n, 1n] } },
      });
    }).toThrow(/no table flows/);
    expect(() => [...engine.learned('nothing')]).toThrow(/no learned table nothing/);
  });
});

it('learn goes to the learner that was looked up last', () => {
  const learner = (name: string, miss: string): string => `
    learner ${name} {
      key {
        h.h.f64
      }
      actions {
        known
        nothing
        add
      }
      default_action ${miss} args none
      size 8
      timeout {
        10
      }
    }`;
  const engine = bench({
    declarations: `
      action known args none {
        return
      }
      action nothing args none {
        return
      }
      action add args none {
        learn known m.timeout
        return
      }
      table late {
        actions {
          add
        }
        default_action add args none
        size 1
      }
      ${learner('first', 'nothing')}
      ${learner('second', 'nothing')}`,
    body: 'extract h.h\ntable first\ntable second\ntable late\nemit h.h',
  });
  engine.process(1, wide({ 64: 3n }), false);
  expect([...engine.learned('first')]).toEqual([]);
  expect([...engine.learned('second')]).toMatchObject([{ keys: [3n] }]);
});

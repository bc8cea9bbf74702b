/** Programs of random instructions, for holding machine code against the interpreter. */
import type { SpecEntry } from '../../../src/p4switch/engine';
import type { Random } from '../dpdk/random';
import { benchSpec } from '../../unit/p4switch/interpreter/bench';

/** Of headers h and g and of the metadata (DPDK 22.11 moves 24 bits in other ways than it says). */
const WIDTHS = [8, 16, 32, 48, 64] as const;
const DECLARATIONS = `
struct options_t {
	bit<8> kind
	varbit<64> data
}
struct arguments_t {
	bit<8> a
	bit<32> b
	bit<48> c
}
struct learned_t {
	bit<64> d
}
header v instanceof options_t
regarray counts size 0x10 initval 0x3
metarray limits size 0x10
action set args instanceof arguments_t {
	mov m.f8 t.a
	add m.f32 t.b
	mov h.g.f48 t.c
	jmpgt OUT m.f32 0x80000000
	xor m.f64 t.b
	OUT : return
}
action refuse args instanceof arguments_t {
	jmpneq OUT m.f8 t.a
	drop
	OUT : return
}
action nothing args none {
	return
}
action known args instanceof learned_t {
	mov m.g64 t.d
	rearm m.timeout
	return
}
action unknown args none {
	mov m.timeout 0x0
	learn known m.data m.timeout
	return
}
table exact_metadata {
	key {
		m.f8 exact
		m.f16 exact
		m.f24 exact
	}
	actions {
		set
		refuse
		nothing
	}
	default_action nothing args none
	size 0x100
}
table exact_header {
	key {
		h.h.f16 exact
	}
	actions {
		set
		nothing
	}
	default_action set args a 0x7 b 0x1 c 0x2
	size 0x100
}
table prefixes {
	key {
		h.h.f32 lpm
	}
	actions {
		set
		refuse
		nothing
	}
	default_action nothing args none
	size 0x100
}
table always {
	key {
	}
	actions {
		nothing
	}
	default_action nothing args none const
	size 0x1
}
learner flows {
	key {
		m.word
		m.key
	}
	actions {
		known @tableonly
		unknown @defaultonly
	}
	default_action unknown args none
	size 0x100
	timeout {
		100
		200
	}
}`;
const METADATA = 'bit<32> word\nbit<16> key\nbit<64> data\nbit<8> extra';

const ROOM = { exact_metadata: 200, exact_header: 40, prefixes: 20 } as const;

/** A program of `count` random instructions between parser and emit. */
export function randomProgram(random: Random, count: number): string {
  const field = (): string => `${random.pick(['m', 'h.h', 'h.g'])}.f${random.pick(WIDTHS)}`;
  const headerField = (): string => `${random.pick(['h.h', 'h.g'])}.f${random.pick(WIDTHS)}`;
  const constant = (): string => {
    const bits = random.pick([3, 8, 16, 33, 64]);
    let value = 0n;
    for (let i = 0; i < 64; i += 16) value = (value << 16n) | BigInt(random.below(0x10000));
    return `0x${BigInt.asUintN(bits, value).toString(16)}`;
  };
  const operand = (): string => (random.below(2) === 0 ? field() : constant());
  const instruction = (at: number): readonly string[] => {
    // Only ahead: the engine takes no loops.
    const target = `L${at + 1 + random.below(count - at)}`;
    const kinds: readonly (() => readonly string[])[] = [
      () => [`mov ${field()} ${operand()}`],
      () => [`mov ${field()} ${operand()}`],
      () => [`${random.pick(['add', 'sub', 'and', 'or', 'xor'])} ${field()} ${operand()}`],
      () => [`${random.pick(['shl', 'shr'])} ${field()} 0x${random.below(64).toString(16)}`],
      () => [`${random.pick(['jmpeq', 'jmpneq', 'jmplt', 'jmpgt'])} ${target} ${field()} ${operand()}`],
      () => [`${random.pick(['jmpv', 'jmpnv'])} ${target} h.${random.pick(['g', 'v'])}`],
      () => [`${random.pick(['validate', 'invalidate'])} h.g`],
      () => [`${random.pick(['ckadd', 'cksub'])} h.h.f16 ${headerField()}`, `ckadd h.g.f16 h.h`],
      () => [`hash crc32 m.g32 m.f8 m.f64`],
      () => [`regadd counts ${operand()} ${operand()}`],
      () => [`regwr counts ${field()} ${field()}`, `regrd ${field()} counts ${field()}`],
      () => [`meter limits ${field()} m.f32 0x0 m.f8`],
      () => [
        'and m.f8 0x3',
        'and m.f16 0x7',
        'mov m.f24 m.f8',
        'table exact_metadata',
        `${random.pick(['jmph', 'jmpnh'])} ${target}`,
      ],
      () => ['and h.h.f16 0x3f', 'table exact_header', `${random.pick(['jmpa', 'jmpna'])} ${target} set`],
      () => ['table prefixes'],
      () => ['table always'],
      () => ['mov m.word h.h.f8', 'mov m.key h.h.f8', 'mov m.data m.f64', 'table flows'],
    ];
    return random.pick(kinds)();
  };
  const body = Array.from({ length: count }, (_, at) => {
    const [first, ...rest] = instruction(at);
    return [`L${at} : ${first!}`, ...rest];
  }).flat();
  const emits = random.pick([
    ['h', 'v', 'g'],
    ['g', 'h', 'v'],
    ['v', 'g', 'h'],
    ['g', 'v', 'h'],
  ]);
  return benchSpec({
    declarations: DECLARATIONS,
    metadata: METADATA,
    body: [
      // What the packet before left is not the same in all lanes.
      ...[...WIDTHS.map((w) => `m.f${w}`), 'm.g64', 'm.g32', 'm.timeout', 'm.word', 'm.key', 'm.data'].map(
        (f) => `mov ${f} 0x0`,
      ),
      'extract h.h',
      'mov m.extra h.h.f8',
      'and m.extra 0xf',
      'extract h.v m.extra',
      'lookahead h.g',
      ...body,
      `L${count} : and m.port 0x7`,
      ...emits.map((h) => `emit h.${h}`),
    ].join('\n'),
  });
}

/** Entries for all tables, by table. */
export function randomEntries(
  random: Random,
): readonly { readonly table: string; readonly entry: SpecEntry }[] {
  const args = (): readonly bigint[] =>
    [random.below(4), random.below(2 ** 31), random.below(2 ** 31)].map(BigInt);
  const action = (names: readonly string[]): SpecEntry['action'] => {
    const name = random.pick(names);
    return { name, params: name === 'nothing' ? [] : args() };
  };
  const all = (value: number, bits: number): SpecEntry['keys'][number] => ({
    value: BigInt(value),
    mask: (1n << BigInt(bits)) - 1n,
  });
  const entries = new Map<string, { readonly table: string; readonly entry: SpecEntry }>();
  const put = (table: string, keys: SpecEntry['keys'], names: readonly string[]): void => {
    const key = `${table} ${keys.map((k) => `${k.value}/${k.mask}`).join()}`;
    entries.set(key, { table, entry: { keys, priority: 0, action: action(names) } });
  };
  for (let n = 0; n < ROOM.exact_metadata; n++)
    put(
      'exact_metadata',
      [all(random.below(4), 8), all(random.below(8), 16), all(random.below(8), 24)],
      ['set', 'refuse', 'nothing'],
    );
  for (let n = 0; n < ROOM.exact_header; n++)
    put('exact_header', [all(random.below(64), 16)], ['set', 'nothing']);
  for (let n = 0; n < ROOM.prefixes; n++) {
    const mask = BigInt.asUintN(32, 0xffff_ffff_0000_0000n >> BigInt(random.below(33)));
    const value = (BigInt(random.below(0x10000)) << 16n) & mask;
    put('prefixes', [{ value, mask }], ['set', 'refuse', 'nothing']);
  }
  return [...entries.values()];
}

import { createInterpreter } from '../../../../src/p4switch/interpreter/interpreter';
import { checkSpecLimits } from '../../../../src/p4switch/spec/limits';
import { parseSpec } from '../../../../src/p4switch/spec/parser';

interface Parts {
  readonly metadata?: string;
  readonly declarations?: string;
  readonly timeouts?: readonly number[];
  readonly tableKey?: string;
  readonly learnerKey?: string;
}

function spec(parts: Parts): string {
  return `
struct meta_t {
	bit<32> port
	bit<32> a
	bit<32> b
${parts.metadata ?? ''}
}
struct h_t {
	bit<32> x
	bit<32> y
}
header h instanceof h_t
${parts.declarations ?? ''}
metadata instanceof meta_t
action nothing args none {
	return
}
table t {
	key {
${parts.tableKey ?? 'm.a exact'}
	}
	actions {
		nothing
	}
	default_action nothing args none
}
learner l {
	key {
${parts.learnerKey ?? 'm.a'}
	}
	actions {
		nothing
	}
	default_action nothing args none
	size 16
	timeout {
${(parts.timeouts ?? [10]).join('\n')}
	}
}
apply {
	rx m.port
	tx m.port
}`;
}

const problems = (parts: Parts): readonly string[] =>
  checkSpecLimits(parseSpec(spec(parts))).map((v) => v.problem);
const fields = (bytes: number): string => Array.from({ length: bytes }, (_, i) => `bit<8> f${i}`).join('\n');

describe('checkSpecLimits', () => {
  it('finds nothing in a spec that keeps them', () => {
    expect(problems({})).toEqual([]);
  });

  it('counts the bytes of metadata: 255 fit, 256 alias', () => {
    expect(problems({ metadata: fields(243) })).toEqual([]);
    expect(problems({ metadata: fields(244) })).toEqual([expect.stringMatching(/meta_t .* has 256 bytes/)]);
  });

  it('counts the bytes of headers and of action arguments', () => {
    const big = `struct big_t {\n${fields(256)}\n}\n`;
    expect(problems({ declarations: `${big}header big instanceof big_t` })).toHaveLength(1);
    expect(problems({ declarations: `${big}action big args instanceof big_t {\n return\n}` })).toEqual([
      expect.stringMatching(/arguments of action big/),
    ]);
  });

  it('counts headers', () => {
    const headers = (n: number): string =>
      Array.from({ length: n }, (_, i) => `header h${i} instanceof h_t`).join('\n');
    expect(problems({ declarations: headers(63) })).toEqual([]);
    expect(problems({ declarations: headers(64) })).toEqual([expect.stringMatching(/65 headers/)]);
  });

  it('counts what the interpreter would allocate: cells of register arrays, variable headers', () => {
    const arrays = (n: number, size: number): string =>
      Array.from({ length: n }, (_, i) => `regarray r${i} size ${size} initval 0`).join('\n');
    expect(problems({ declarations: arrays(1, 2 ** 24) })).toEqual([]);
    expect(problems({ declarations: arrays(1, 2 ** 24 + 1) })).toEqual([
      expect.stringMatching(/cells together/),
    ]);
    expect(problems({ declarations: arrays(17, 2 ** 20) })).toEqual([
      expect.stringMatching(/cells together/),
    ]);
    const header = (bytes: number): string =>
      `struct v_t {\nbit<8> a\nvarbit<${8 * bytes}> b\n}\nheader v instanceof v_t`;
    expect(problems({ declarations: header(65_534) })).toEqual([]);
    expect(problems({ declarations: header(65_535) })).toEqual([expect.stringMatching(/65536 bytes/)]);
  });

  it('counts timeouts', () => {
    expect(problems({ timeouts: Array<number>(16).fill(1) })).toEqual([]);
    expect(problems({ timeouts: Array<number>(17).fill(1) })).toEqual([expect.stringMatching(/17 timeouts/)]);
  });

  it('wants the keys of a table in one struct', () => {
    expect(problems({ tableKey: 'm.a exact\nh.h.x exact' })).toEqual([
      expect.stringMatching(/several structs \(metadata, h\.h\)/),
    ]);
  });

  it('wants the keys of a learner side by side', () => {
    expect(problems({ learnerKey: 'm.a\nm.b' })).toEqual([]);
    expect(problems({ learnerKey: 'm.port\nm.b' })).toEqual([expect.stringMatching(/side by side/)]);
  });

  it('allows one lpm key, beside exact ones', () => {
    expect(problems({ tableKey: 'm.a lpm\nm.b exact' })).toEqual([]);
    expect(problems({ tableKey: 'm.a lpm\nm.b lpm' })).toEqual([expect.stringMatching(/one lpm key/)]);
    expect(problems({ tableKey: 'm.a lpm\nm.b wildcard' })).toEqual([expect.stringMatching(/one lpm key/)]);
  });

  it('keeps the interpreter from running a spec that DPDK would get wrong', () => {
    const broken = parseSpec(spec({ metadata: fields(300) }));
    expect(() => createInterpreter(broken, { now: () => 0 })).toThrow(/SPEC|spec line 2: struct meta_t/);
  });
});

import { CalicoP4Error } from '../../../../src/errors';
import { parseSpec } from '../../../../src/p4switch/spec/parser';

const SPEC = `
; a comment
struct eth_t {
	bit<48> dst
	bit<48> src
	bit<16> type   // trailing comment
}
struct options_t {
	bit<8> kind
	varbit<320> data
}
struct meta_t {
	bit<32> port
	bit<8> timeout
	bit<32> class
	bit<32> group
	bit<32> member
}
struct to_args {
	bit<32> port
	bit<32> class
}
header eth instanceof eth_t
header options instanceof options_t
metadata instanceof meta_t
regarray hits_packets size 0x10 initval 0
action to args instanceof to_args {
	mov m.port t.port
	mov m.class t.class
	return
}
action learn_it args none {
	jmpneq SKIP m.class 0x1
	learn known m.class m.timeout
	SKIP : return
}
action known args instanceof known_args {
	rearm m.timeout
	return
}
struct known_args {
	bit<32> class
}
table route {
	key {
		h.eth.type exact
		h.eth.dst wildcard
	}
	actions {
		to
		learn_it @defaultonly
	}
	default_action learn_it args none const
	size 0x400
}
table fixed {
	actions {
		to
	}
	default_action to args port 0x1 class 7
}
learner flows {
	key {
		m.class
	}
	actions {
		known @tableonly
		learn_it @defaultonly
	}
	default_action learn_it args none
	size 1024
	timeout {
		10
		300
	}
}
selector ecmp {
	group_id m.group
	selector {
		m.class
	}
	member_id m.member
	n_groups_max 16
	n_members_per_group_max 64
}
apply {
	rx m.port
	extract h.eth
	extract h.options m.class
	jmpeq DONE h.eth.type 0x800
	table route
	table flows
	table ecmp
	DONE :	emit h.eth
	tx m.port
}
`;

describe('parseSpec', () => {
  const spec = parseSpec(SPEC);

  it('reads structs with offsets and variable parts', () => {
    expect(spec.structs.get('eth_t')).toMatchObject({ bytes: 14, maxBytes: 14 });
    expect(spec.structs.get('options_t')).toMatchObject({ bytes: 1, maxBytes: 41 });
    expect(spec.metadata.fields.map((f) => [f.name, f.offset])).toEqual([
      ['port', 0],
      ['timeout', 4],
      ['class', 5],
      ['group', 9],
      ['member', 13],
    ]);
  });

  it('resolves jumps to instruction indices', () => {
    const jump = spec.apply.find((i) => i.op === 'jmpcmp');
    expect(jump).toMatchObject({ op: 'jmpcmp', compare: 'eq', target: 7, b: { in: 'const', value: 0x800n } });
    expect(spec.apply[7]).toMatchObject({ op: 'emit', header: 'eth', label: 'DONE' });
  });

  it('tells tables, learners and selectors apart', () => {
    expect(spec.apply.filter((i) => 'name' in i).map((i) => i.op)).toEqual(['table', 'learner', 'selector']);
  });

  it('reads tables, sizes and the uses of actions', () => {
    expect(spec.tables.get('route')).toMatchObject({
      size: 1024,
      keys: [{ match: 'exact' }, { match: 'wildcard' }],
      actions: [
        { name: 'to', inEntries: true, asDefault: true },
        { name: 'learn_it', inEntries: false, asDefault: true },
      ],
      defaultAction: { name: 'learn_it', params: [], isConst: true },
    });
    expect(spec.tables.get('fixed')).toMatchObject({
      size: 65536,
      keys: [],
      defaultAction: { name: 'to', params: [1n, 7n], isConst: false },
    });
  });

  it('reads learners and selectors', () => {
    expect(spec.learners.get('flows')).toMatchObject({ size: 1024, timeouts: [10, 300] });
    expect(spec.selectors.get('ecmp')).toMatchObject({ groupsMax: 16, membersPerGroupMax: 64 });
  });
});

describe('parseSpec refuses, with the line', () => {
  const at = (line: string, replacement: string): string => {
    expect(SPEC).toContain(line);
    return SPEC.replace(line, replacement);
  };
  const lineOf = (text: string, needle: string): number =>
    text.split('\n').findIndex((l) => l.includes(needle)) + 1;
  const failure = (text: string): CalicoP4Error => {
    try {
      parseSpec(text);
    } catch (error) {
      if (error instanceof CalicoP4Error) return error;
      throw error;
    }
    throw new Error('the spec was accepted');
  };

  it.each<[string, string, string, RegExp]>([
    [
      'an unknown instruction',
      'mov m.port t.port',
      'mirror m.port t.port',
      /instruction mirror is not supported/,
    ],
    ['an unknown declaration', 'header eth instanceof eth_t', 'rss eth', /declaration rss is not supported/],
    ['an unknown field', 'mov m.class t.class', 'mov m.klass t.class', /no field klass/],
    ['an unknown header', 'extract h.eth\n', 'extract h.ipv9\n', /no header 'h.ipv9'/],
    ['an unknown label', 'jmpeq DONE', 'jmpeq GONE', /no label 'GONE'/],
    ['an unknown table', 'table ecmp', 'table nothing', /no table, selector or learner 'nothing'/],
    ['an unknown action in a table', 'known @tableonly', 'unknown @tableonly', /no action 'unknown'/],
    ['an odd width', 'bit<48> src', 'bit<47> src', /multiple of 8/],
    ['a constant on the left', 'h.eth.type 0x800', '0x800 h.eth.type', /expected a field, found '0x800'/],
    ['a constant over 64 bits', 'h.eth.type 0x800', `h.eth.type 0x1${'0'.repeat(16)}`, /up to 64 bits/],
    ['a number that C reads as octal', 'h.eth.type 0x800', 'h.eth.type 0800', /not an unsigned number/],
    ['writing an argument', 'mov m.port t.port', 'mov t.port m.port', /no action arguments here/],
    ['too few operands', 'mov m.port t.port', 'mov m.port', /mov takes 2 operands, found 1/],
    ['an extract without its length', 'extract h.options m.class', 'extract h.options', /a length field/],
    ['a table in an action', 'SKIP : return', 'SKIP : table fixed', /can not stand in an action/],
    ['an action-only instruction in apply', '	table route', '	forget', /can only stand in an action/],
    [
      'learned arguments of another width',
      'learn known m.class',
      'learn known m.timeout',
      /argument class has 32 bits/,
    ],
    [
      'a default action that is @tableonly',
      'default_action learn_it args none\n',
      'default_action known args none\n',
      /@tableonly/,
    ],
    ['a missing default argument', 'args port 0x1 class 7', 'args port 0x1', /2 arguments, 1 are given/],
    ['a default argument that does not fit', 'class 7', 'class 0x100000000', /no argument of action to/],
  ])('%s', (_name, line, replacement, message) => {
    const text = at(line, replacement);
    const error = failure(text);
    expect(error.code).toBe('SPEC_INVALID');
    expect(error.message).toMatch(message);
    const expected = lineOf(text, replacement.trim().split('\n')[0]!);
    expect(error.context['line']).toBe(expected);
    expect(error.message).toContain(`spec line ${expected}:`);
  });

  it('words of 64 characters', () => {
    const text = at('header options instanceof', `header ${'o'.repeat(64)} instanceof`);
    expect(failure(text).message).toMatch(/longer than 63/);
  });

  it('a block that is never closed', () => {
    const error = failure(SPEC.replace(/\}\s*$/, ''));
    expect(error.message).toMatch(/never closed/);
    expect(error.context['line']).toBe(lineOf(SPEC, 'apply {'));
  });

  it('an action that runs off its end', () => {
    const error = failure(at('mov m.class t.class\n\treturn', 'mov m.class t.class'));
    expect(error.message).toMatch(/last instruction must be/);
  });

  it('a spec without metadata or apply', () => {
    expect(failure(at('metadata instanceof meta_t', '')).message).toMatch(/metadata is not declared/);
    expect(failure(SPEC.slice(0, SPEC.indexOf('apply {'))).message).toMatch(/no 'apply/);
  });
});

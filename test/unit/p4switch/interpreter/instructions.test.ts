import fc from 'fast-check';

import type { Interpreter } from '../../../../src/p4switch/interpreter/interpreter';
import { WIDTHS, bench, hex, wide } from './bench';

type Width = (typeof WIDTHS)[number];

/** Runs `body` on header h and shows what header g and h hold afterwards. */
function run(body: string, header: Uint8Array): Uint8Array {
  const engine = bench({ body: `extract h.h\n${body}\nemit h.h` });
  const { out } = engine.process(1, header, false);
  expect(out).toHaveLength(1);
  return out[0]!.frame;
}

function field(frame: Uint8Array, width: Width): bigint {
  let at = 0;
  for (const w of WIDTHS) {
    if (w === width) return BigInt(`0x${hex(frame.subarray(at, at + w / 8))}`);
    at += w / 8;
  }
  throw new Error(`no field of ${width} bits`);
}

const widths = fc.constantFrom(...WIDTHS);
const word = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });

describe('mov', () => {
  it('keeps the low bits and zero-extends, between any widths, through metadata in the other byte order', () => {
    fc.assert(
      fc.property(widths, widths, widths, word, (from, via, to, value) => {
        const input = BigInt.asUintN(from, value);
        const out = run(`mov m.f${via} h.h.f${from}\nmov h.h.f${to} m.f${via}`, wide({ [from]: input }));
        expect(field(out, to)).toBe(BigInt.asUintN(to, BigInt.asUintN(via, input)));
      }),
      { numRuns: 200 },
    );
  });

  it('touches no field beside its own', () => {
    const all = wide({
      8: 0xa1n,
      16: 0xb2b3n,
      24: 0xc4c5c6n,
      32: 0xd7d8d9dan,
      48: 0xe1e2e3e4e5e6n,
      64: 0x0102030405060708n,
    });
    for (const width of WIDTHS) {
      const out = run(`mov h.h.f${width} 0xffffffffffffffff`, all);
      for (const other of WIDTHS)
        expect(field(out, other)).toBe(other === width ? (1n << BigInt(width)) - 1n : field(all, other));
    }
  });

  it('moves header to header, and 128-bit fields whole', () => {
    expect(field(run('mov h.h.f64 h.h.f16', wide({ 16: 0x1234n, 64: 99n })), 64)).toBe(0x1234n);
    const engine = bench({
      declarations: 'struct big_t {\nbit<128> v\n}\nheader a instanceof big_t\nheader b instanceof big_t',
      metadata: 'bit<128> big',
      body: 'extract h.a\nmov m.big h.a.v\nvalidate h.b\nmov h.b.v m.big\nemit h.b',
    });
    const address = Buffer.from('00112233445566778899aabbccddeeff', 'hex');
    expect(hex(engine.process(1, address, false).out[0]?.frame)).toBe(hex(address));
  });
});

describe('arithmetic', () => {
  const model: Readonly<Record<string, (a: bigint, b: bigint) => bigint>> = {
    add: (a, b) => a + b,
    sub: (a, b) => a - b,
    and: (a, b) => a & b,
    or: (a, b) => a | b,
    xor: (a, b) => a ^ b,
    shl: (a, b) => a << (b & 63n),
    shr: (a, b) => BigInt.asUintN(64, a) >> (b & 63n),
  };

  it.each(Object.keys(model))(
    '%s is 64 bits wide and cut to the destination, for every kind of operand',
    (op) => {
      fc.assert(
        fc.property(widths, widths, word, word, fc.nat(3), (dst, src, x, y, kind) => {
          const a = BigInt.asUintN(dst, x);
          const b = BigInt.asUintN(src, y);
          const expected = BigInt.asUintN(dst, model[op]!(a, b));
          // The source comes in as a header field of its own packet, so it may not share the destination's width.
          const source = kind === 0 ? `0x${b.toString(16)}` : kind === 1 ? `m.f${src}` : `h.g.f${src}`;
          const target = kind === 3 ? `m.g64` : `h.h.f${dst}`;
          const engine = bench({
            body: `
            extract h.h
            extract h.g
            mov m.f${src} h.g.f${src}
            mov m.g64 h.h.f${dst}
            ${op} ${target} ${source}
            ${kind === 3 ? `mov h.h.f64 m.g64` : ''}
            emit h.h`,
          });
          const frame = Buffer.concat([wide({ [dst]: a }), wide({ [src]: b })]);
          const out = engine.process(1, frame, false).out[0]!.frame;
          if (kind === 3) expect(field(out, 64)).toBe(BigInt.asUintN(64, model[op]!(a, b)));
          else expect(field(out, dst)).toBe(expected);
        }),
        { numRuns: 150 },
      );
    },
  );
});

describe('comparisons', () => {
  it.each([
    ['jmpeq', (a: bigint, b: bigint) => a === b],
    ['jmpneq', (a: bigint, b: bigint) => a !== b],
    ['jmplt', (a: bigint, b: bigint) => a < b],
    ['jmpgt', (a: bigint, b: bigint) => a > b],
  ])('%s is unsigned and 64 bits wide', (op, expected) => {
    const close = fc.oneof(
      word,
      fc.constantFrom(0n, 1n, 0x7fffffffn, 0x80000000n, 0xffffffffn, 0x100000000n),
    );
    fc.assert(
      fc.property(widths, widths, close, close, fc.boolean(), (wa, wb, x, y, inMetadata) => {
        const a = BigInt.asUintN(wa, x);
        const b = BigInt.asUintN(wb, y);
        const engine = bench({
          body: `
            extract h.h
            extract h.g
            mov m.f${wa} h.h.f${wa}
            ${op} YES ${inMetadata ? 'm' : 'h.h'}.f${wa} h.g.f${wb}
            jmp END
            YES : emit h.h
            END : emit h.g`,
        });
        const out = engine.process(1, Buffer.concat([wide({ [wa]: a }), wide({ [wb]: b })]), false).out[0]!;
        expect(out.frame.length > wide({}).length).toBe(expected(a, b));
      }),
      { numRuns: 150 },
    );
  });

  it('cuts a constant to the header field for equality, but not to a metadata field', () => {
    const hit = (test: string): boolean => {
      const engine = bench({
        body: `extract h.h\nmov m.f8 h.h.f8\n${test}\ndrop\nYES : emit h.h`,
      });
      return engine.process(1, wide({ 8: 0x34n }), false).out.length === 1;
    };
    expect(hit('jmpeq YES h.h.f8 0x1234')).toBe(true);
    expect(hit('jmpeq YES m.f8 0x1234')).toBe(false);
    expect(hit('jmplt YES h.h.f8 0x1234')).toBe(true);
  });
});

describe('checksums', () => {
  it('computes an IPv4 header checksum with ckadd over the header', () => {
    const engine = bench({
      declarations: `
        struct ip_t {
          bit<32> w0
          bit<32> w1
          bit<16> ttl_proto
          bit<16> csum
          bit<32> src
          bit<32> dst
        }
        struct ck_t {
          bit<16> sum
        }
        header ip instanceof ip_t
        header ck instanceof ck_t`,
      body: `
        extract h.ip
        mov h.ip.csum 0
        validate h.ck
        mov h.ck.sum 0
        ckadd h.ck.sum h.ip
        mov h.ip.csum h.ck.sum
        emit h.ip`,
    });
    // The example of RFC 1071's Wikipedia page: its checksum is 0xb861.
    const header = Buffer.from('45000073000040004011deadc0a80001c0a800c7', 'hex');
    const frame = engine.process(1, header, false).out[0]!.frame;
    expect(hex(frame.subarray(10, 12))).toBe('b861');
  });

  it('cksub takes away what ckadd added', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 0xffff }), fc.nat(0xffff), (sum, value) => {
        const body = 'ckadd h.h.f16 h.g.f16\ncksub h.h.f16 h.g.f16';
        const engine = bench({ body: `extract h.h\nextract h.g\n${body}\nemit h.h` });
        const frame = Buffer.concat([wide({ 16: BigInt(sum) }), wide({ 16: BigInt(value) })]);
        expect(field(engine.process(1, frame, false).out[0]!.frame, 16)).toBe(BigInt(sum));
      }),
      { numRuns: 100 },
    );
  });

  it('hash crc32 is CRC-32C without inversions', () => {
    const engine = bench({
      body: 'extract h.h\nhash crc32 m.f32 h.h.f8 h.h.f64\nmov h.h.f32 m.f32\nemit h.h',
    });
    expect(field(engine.process(1, wide({}), false).out[0]!.frame, 32)).toBe(0n);
    // CRC-32C of one byte 0x01 at the end of zeros, seed 0: the table's entry for 1.
    expect(field(engine.process(1, wide({ 64: 1n }), false).out[0]!.frame, 32)).toBe(0xf26b8303n);
  });
});

describe('headers', () => {
  const frame = Buffer.concat([wide({ 8: 1n }), wide({ 8: 2n }), Buffer.from('payload')]);

  it('emits in the order of emit, the rest of the packet behind', () => {
    const engine = bench({ body: 'extract h.h\nextract h.g\nemit h.g\nemit h.h' });
    expect(hex(engine.process(1, frame, false).out[0]?.frame)).toBe(
      hex(Buffer.concat([wide({ 8: 2n }), wide({ 8: 1n }), Buffer.from('payload')])),
    );
  });

  it('validate and invalidate add and remove a header; jmpv and jmpnv see it', () => {
    const engine = bench({
      body: `
        extract h.h
        jmpnv MISSING h.g
        drop
        MISSING : validate h.g
        mov h.g.f8 7
        jmpv THERE h.g
        drop
        THERE : invalidate h.h
        emit h.h
        emit h.g`,
    });
    const out = hex(engine.process(1, frame, false).out[0]?.frame);
    expect(out.startsWith('07')).toBe(true);
    expect(out).toHaveLength(hex(frame).length);
  });

  it('lookahead reads without taking', () => {
    const engine = bench({ body: 'lookahead h.g\nextract h.h\nmov h.h.f16 h.g.f8\nemit h.h' });
    expect(hex(engine.process(1, frame, false).out[0]?.frame)).toBe(
      hex(Buffer.concat([wide({ 8: 1n, 16: 1n }), frame.subarray(wide({}).length)])),
    );
  });

  it('extracts as many variable bytes as the metadata says', () => {
    const engine = bench({
      declarations: 'struct v_t {\nbit<8> len\nvarbit<32> data\n}\nheader v instanceof v_t',
      body: 'extract h.h\nmov m.f32 h.h.f8\nextract h.v m.f32\nemit h.v',
    });
    const input = Buffer.concat([wide({ 8: 3n }), Buffer.from('aabbccddeeff', 'hex')]);
    expect(hex(engine.process(1, input, false).out[0]?.frame)).toBe('aabbccddeeff');
    // What is emitted is the header with its variable part; cut to its maximum.
    const moved = bench({
      declarations: 'struct v_t {\nbit<8> len\nvarbit<32> data\n}\nheader v instanceof v_t',
      body: 'extract h.h\nmov m.f32 h.h.f8\nextract h.v m.f32\nemit h.v\nemit h.h',
    });
    expect(hex(moved.process(1, input, false).out[0]?.frame)).toBe(`aabbccdd${hex(wide({ 8: 3n }))}eeff`);
  });
});

describe('ports', () => {
  const send = (engine: Interpreter): readonly number[] =>
    engine.process(3, wide({}), false).out.map((o) => o.port);

  it('gives the input port and sends to the one in metadata or to a constant', () => {
    expect(send(bench({ body: 'add m.port 4' }))).toEqual([7]);
    expect(send(bench({ body: 'jmpeq A m.port 3\ndrop\nA : tx 9' }))).toEqual([9]);
  });

  it('drops for a port that does not exist', () => {
    const engine = bench({ body: 'mov m.port 9' }, { isPort: (port) => port < 8 });
    expect(engine.process(3, wide({}), true)).toEqual({ out: [], trace: [{ kind: 'drop' }] });
  });

  it('drop ends the packet at once', () => {
    const engine = bench({
      declarations: 'regarray n size 2 initval 0',
      body: 'drop\nregadd n 0 1',
    });
    expect(engine.process(3, wide({}), false).out).toEqual([]);
    expect(engine.readRegister('n', 0)).toBe(0n);
  });

  it('recirculates with the metadata of the pass before, and not for ever', () => {
    const once = bench({
      body: 'recircid m.f8\nextract h.h\nadd h.h.f16 1\njmpgt DONE m.f8 1\nrecirculate\nDONE : emit h.h',
    });
    const out = once.process(3, wide({}), false).out[0]!;
    expect(out.port).toBe(3);
    expect(field(out.frame, 16)).toBe(3n);
    expect(bench({ body: 'recirculate' }).process(3, wide({}), true).out).toEqual([]);
  });

  it('drops a packet that never leaves a loop', () => {
    const engine = bench({ body: 'AGAIN : jmp AGAIN' });
    expect(engine.process(3, wide({}), true)).toEqual({ out: [], trace: [{ kind: 'drop' }] });
    expect(engine.process(3, wide({}), true).out).toEqual([]);
  });
});

describe('registers', () => {
  const engine = bench({
    declarations: 'regarray r size 5 initval 7\nregarray hits_packets size 4 initval 0',
    body: `
      extract h.h
      regprefetch r h.h.f8
      regrd h.h.f64 r h.h.f8
      regwr r h.h.f8 0xffffffffffffffff
      regadd r h.h.f8 h.h.f16
      regadd hits_packets m.port 1
      emit h.h`,
  });

  it('reads, writes and adds, 64 bits wide', () => {
    const first = engine.process(2, wide({ 8: 1n, 16: 3n }), true);
    expect(field(first.out[0]!.frame, 64)).toBe(7n);
    expect(engine.readRegister('r', 1)).toBe(2n);
    expect(first.trace).toEqual([
      { kind: 'counter', name: 'r', index: 1 },
      { kind: 'counter', name: 'hits_packets', index: 2 },
      { kind: 'tx', port: 2 },
    ]);
  });

  it('wraps indices at the size rounded up to a power of two', () => {
    engine.writeRegister('r', 1, 40n);
    expect(field(engine.process(2, wide({ 8: 9n }), false).out[0]!.frame, 64)).toBe(40n);
  });

  it('bounds what the control plane asks for', () => {
    expect(() => engine.readRegister('r', 5)).toThrow(/no index 5/);
    expect(() => engine.readRegister('q', 0)).toThrow(/no register array q/);
  });
});

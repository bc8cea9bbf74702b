import { bench, hex, wide } from './bench';

/** The traps of SWX that let packets through: the tests of our pipeline rely on the interpreter having them. */
describe('what one packet leaves to the next', () => {
  it('metadata is not cleared', () => {
    const engine = bench({
      body: `
        extract h.h
        jmpneq SKIP h.h.f8 1
        mov m.f32 h.h.f32
        SKIP : mov h.h.f32 m.f32
        emit h.h`,
    });
    engine.process(1, wide({ 8: 1n, 32: 0xcafen }), false);
    expect(hex(engine.process(1, wide({ 8: 0n }), false).out[0]?.frame)).toBe(hex(wide({ 32: 0xcafen })));
  });

  it('a header that is not valid reads the bytes it had last', () => {
    const engine = bench({
      body: `
        extract h.h
        jmpneq SKIP h.h.f8 1
        extract h.g
        SKIP : mov h.h.f32 h.g.f32
        emit h.h`,
    });
    const fresh = engine.process(1, wide({}), false).out[0]?.frame;
    expect(hex(fresh)).toBe(hex(wide({})));
    engine.process(1, Buffer.concat([wide({ 8: 1n }), wide({ 32: 0xbeefn })]), false);
    expect(hex(engine.process(1, wide({}), false).out[0]?.frame)).toBe(hex(wide({ 32: 0xbeefn })));
  });

  it('validate brings back the bytes the header had when the program last made it, not those of a packet', () => {
    const engine = bench({
      body: `
        extract h.h
        jmpeq MAKE h.h.f8 1
        jmpeq TAKE h.h.f8 2
        validate h.g
        jmp END
        MAKE : validate h.g
        mov h.g.f32 0xaaaa
        jmp END
        TAKE : extract h.g
        END : emit h.g`,
    });
    engine.process(1, wide({ 8: 1n }), false);
    engine.process(1, Buffer.concat([wide({ 8: 2n }), wide({ 32: 0xbbbbn })]), false);
    expect(hex(engine.process(1, wide({ 8: 3n }), false).out[0]?.frame)).toBe(hex(wide({ 32: 0xaaaan })));
  });

  it('validate of a valid header changes nothing', () => {
    const engine = bench({ body: 'extract h.h\nvalidate h.h\nemit h.h' });
    expect(hex(engine.process(1, wide({ 32: 5n }), false).out[0]?.frame)).toBe(hex(wide({ 32: 5n })));
  });

  it('hit and the last action stay until the next lookup', () => {
    const engine = bench({
      declarations: `
        action yes args none {
          return
        }
        table t {
          key {
            h.h.f32 exact
          }
          actions {
            yes
          }
          default_action yes args none
          size 16
        }`,
      body: 'extract h.h\njmpeq SKIP h.h.f8 1\ntable t\nSKIP : jmph HIT\ndrop\nHIT : jmpa END yes\ndrop\nEND : emit h.h',
    });
    const keys = [{ value: 5n, mask: 0xffffffffn }];
    expect(engine.process(1, wide({ 8: 1n }), false).out).toEqual([]);
    engine.apply({
      kind: 'insert',
      table: 't',
      entry: { keys, priority: 0, action: { name: 'yes', params: [] } },
    });
    expect(engine.process(1, wide({ 32: 5n }), false).out).toHaveLength(1);
    expect(engine.process(1, wide({ 8: 1n }), false).out).toHaveLength(1);
    expect(engine.process(1, wide({ 32: 6n }), false).out).toEqual([]);
  });

  it('never writes into the frame it was given', () => {
    const engine = bench({ body: 'extract h.h\nmov h.h.f8 0xff\nemit h.h' });
    const frame = wide({ 8: 1n });
    engine.process(1, frame, false);
    expect(hex(frame)).toBe(hex(wide({ 8: 1n })));
  });
});

describe('short packets', () => {
  it('read zeros past their end, not the last packet', () => {
    const engine = bench({
      body: 'extract h.h\nmov m.f64 h.h.f64\nvalidate h.g\nmov h.g.f64 m.f64\nemit h.g',
    });
    engine.process(1, wide({ 64: 0xffffffffffffffffn }), false);
    engine.process(1, Buffer.from('01', 'hex'), false);
    const out = engine.process(1, wide({}).subarray(0, 3), false).out;
    // 24 bytes are missing: what leaves is as much shorter.
    expect(out.map((o) => hex(o.frame))).toEqual(['000000']);
  });

  it('leave as long as they came when nothing changed', () => {
    const engine = bench({ body: 'extract h.h\nextract h.g\nemit h.h\nemit h.g' });
    const frame = Buffer.from('010203', 'hex');
    expect(hex(engine.process(1, frame, false).out[0]?.frame)).toBe('010203');
  });

  it('an empty packet is dropped', () => {
    const engine = bench({ body: 'extract h.h\nemit h.h' });
    expect(engine.process(1, new Uint8Array(0), false).out).toEqual([]);
  });
});

import type { Interpreter } from '../../../../src/p4switch/interpreter/interpreter';
import { bench, wide } from './bench';

const engine = (): Interpreter =>
  bench({
    declarations: `
      selector ecmp {
        group_id m.f32
        selector {
          h.h.f64
          h.h.f16
        }
        member_id m.g32
        n_groups_max 4
        n_members_per_group_max 64
      }`,
    body: 'extract h.h\nmov m.f32 h.h.f32\nmov m.g32 0xffff\ntable ecmp\nmov h.h.f32 m.g32\nemit h.h',
  });

function member(e: Interpreter, group: bigint, flow: bigint): number {
  const frame = e.process(1, wide({ 32: group, 64: flow }), false).out[0]!.frame;
  return Buffer.from(frame).readUInt32BE(6);
}

describe('selectors', () => {
  it('spread flows over the members by weight, and keep each flow at its member', () => {
    const e = engine();
    e.apply({
      kind: 'group',
      selector: 'ecmp',
      group: 2,
      members: [
        { id: 7, weight: 1 },
        { id: 9, weight: 3 },
      ],
    });
    const flows = Array.from({ length: 2000 }, (_, i) => BigInt(i) * 0x9e3779b97f4an);
    const chosen = flows.map((f) => member(e, 2n, f));
    expect(flows.map((f) => member(e, 2n, f))).toEqual(chosen);
    const sevens = chosen.filter((m) => m === 7).length;
    expect(chosen.filter((m) => m === 9)).toHaveLength(2000 - sevens);
    expect(sevens).toBeGreaterThan(350);
    expect(sevens).toBeLessThan(650);
  });

  it('give member 0 for a group that has none, and wrap group ids', () => {
    const e = engine();
    expect(member(e, 1n, 5n)).toBe(0);
    e.apply({ kind: 'group', selector: 'ecmp', group: 1, members: [{ id: 7, weight: 1 }] });
    expect(member(e, 1n, 5n)).toBe(7);
    expect(member(e, 5n, 5n)).toBe(7);
    e.apply({ kind: 'group', selector: 'ecmp', group: 1, members: [] });
    expect(member(e, 1n, 5n)).toBe(0);
  });

  it('show the choice in the trace', () => {
    const e = engine();
    e.apply({ kind: 'group', selector: 'ecmp', group: 1, members: [{ id: 7, weight: 1 }] });
    expect(e.process(1, wide({ 32: 1n, 64: 5n }), true).trace[0]).toEqual({
      kind: 'table',
      table: 'ecmp',
      keys: [1n, 5n, 0n],
      hit: true,
      action: 'select',
      params: [7n],
    });
  });

  it('refuse groups they have no room for', () => {
    expect(() => {
      engine().apply({ kind: 'group', selector: 'ecmp', group: 4, members: [{ id: 7, weight: 1 }] });
    }).toThrow(/no room for group 4/);
  });
});

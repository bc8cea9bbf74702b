import fs from 'node:fs';
import path from 'node:path';

import fc from 'fast-check';

import { createInterpreter } from '../../../../src/p4switch/interpreter/interpreter';
import { checkSpecLimits } from '../../../../src/p4switch/spec/limits';
import { parseSpec } from '../../../../src/p4switch/spec/parser';

const file = path.join(__dirname, '../../../../pipelines/p4-dpdk/calico.spec');
const spec = parseSpec(fs.readFileSync(file, 'utf8'));

describe('the spec of our own program', () => {
  it('keeps the limits of SWX', () => {
    expect(checkSpecLimits(spec)).toEqual([]);
  });

  it('lets nothing out while its tables are empty, whatever comes in', () => {
    const engine = createInterpreter(spec, { now: () => 0 });
    const anything = fc.uint8Array({ maxLength: 120 });
    const ethernet = fc
      .tuple(
        fc.uint8Array({ minLength: 12, maxLength: 12 }),
        fc.constantFrom(0x0800, 0x86dd, 0x0806),
        anything,
      )
      .map(([addresses, type, rest]) => Buffer.from([...addresses, type >> 8, type & 0xff, ...rest]));
    const ipv4 = ethernet.map((frame) => {
      if (frame.length > 14 && frame.readUInt16BE(12) === 0x0800) frame[14] = 0x45;
      return frame;
    });
    fc.assert(
      fc.property(fc.nat(5), fc.oneof(anything, ethernet, ipv4), (port, frame) => {
        expect(engine.process(port, frame, false).out).toEqual([]);
      }),
      { numRuns: 2000 },
    );
  });
});

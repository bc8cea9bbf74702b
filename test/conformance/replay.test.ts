/**
 * Every case of Calico's own through `calico-p4 replay`, as the ingress of the destination and as the egress of the source; on
 * a switch that follows the specification, and with `--strict`, on one that behaves as infrap4d.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { replay } from '../../src/cli/replay';
import {
  conformancePacketLines,
  conformanceStream,
  independentPackets,
  loadConformance,
} from '../support/conformance';

const folder = mkdtempSync(path.join(tmpdir(), 'calico-p4-conformance-'));
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

const { cases, skipped } = loadConformance();

test('no case is left out', () => {
  expect(skipped).toEqual([]);
  expect(cases.length).toBeGreaterThanOrEqual(108);
});

describe.each([false, true])('--strict: %s', (strict) => {
  test.each(cases.map((c) => [`${c.name}, as ${c.direction}`, c] as const))('%s', async (_, c) => {
    const stream = path.join(folder, 'stream.bin');
    const file = path.join(folder, 'packets.jsonl');
    writeFileSync(stream, conformanceStream(c));
    for (const group of independentPackets(c.packets)) {
      writeFileSync(file, conformancePacketLines(group));
      const lines: string[] = [];
      await replay(stream, { at: 'end', packets: file, json: true, strict }, (line) => lines.push(line));
      const got = lines.map((line) => (JSON.parse(line) as { verdict: string }).verdict);
      expect(got).toEqual(group.map((packet) => packet.expected));
    }
  });
});

/** Calico's own cases of host endpoint policy: by the reference evaluator, and through `calico-p4 replay`. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { replay } from '../../src/cli/replay';
import { evaluateNode } from '../../src/translators/policy/reference';
import { conformancePacketLines } from '../support/conformance';
import { encodeModel } from '../support/felix-stream';
import { loadHostCases } from '../support/host-conformance';
import { UPLINK } from '../support/models';

const folder = mkdtempSync(path.join(tmpdir(), 'calico-p4-hostpol-'));
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

const cases = loadHostCases();

test('every packet of every case has its way', () => {
  expect(new Set(cases.map(({ name }) => name.split(':')[0])).size).toBe(5);
  expect(cases.length).toBeGreaterThanOrEqual(43);
});

test.each(cases.map((one) => [one.name, one] as const))('reference: %s', (_, { model, packet }) => {
  const { verdict, stage, decidedBy } = evaluateNode(model, packet.from, packet.packet, UPLINK);
  expect({ verdict, stage, decidedBy }).toEqual({ verdict: packet.expected, stage, decidedBy });
});

describe.each([false, true])('replay, --strict: %s', (strict) => {
  test.each(cases.map((one) => [one.name, one] as const))('%s', async (_, { model, packet }) => {
    const stream = path.join(folder, 'stream.bin');
    const packets = path.join(folder, 'packets.jsonl');
    writeFileSync(stream, encodeModel(model));
    writeFileSync(packets, conformancePacketLines([packet]));
    const lines: string[] = [];
    const options = { at: 'end', packets, json: true, strict, uplink: UPLINK };
    await replay(stream, options, (line) => lines.push(line));
    expect(lines.map((line) => (JSON.parse(line) as { verdict: string }).verdict)).toEqual([packet.expected]);
  });
});

/** Every recording goes through the whole driver to its end, at InSync and in between: no row refused, no rule that is not understood. */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { replay } from '../../src/cli/replay';
import { recording, testWith } from '../unit/driver/felix/recordings';
import { ROOT } from './support/processes';

const folder = mkdtempSync(path.join(tmpdir(), 'calico-p4-recordings-'));
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

const SMALL = readdirSync(path.join(ROOT, 'test/recordings'))
  .filter((file) => file.endsWith('.bin'))
  .map((file) => file.replace('.bin', ''));

async function summaryOf(name: string, at: string): Promise<Record<string, unknown>> {
  const file = path.join(folder, `${name}.bin`);
  writeFileSync(file, recording(name));
  const lines: string[] = [];
  await replay(file, { at, json: true }, (line) => lines.push(line));
  return JSON.parse(lines[0]!) as Record<string, unknown>;
}

const CLEAN = { inSync: true, failedRows: 0 };
/** Nodes of the recordings that have no end of a tunnel: packets to them can not be sent. */
const UNREACHABLE = /^packets to node-(noip|novtep|r[25]) are dropped: /;

test.each(SMALL)('%s', async (name) => {
  for (const at of ['insync', 'end']) {
    const summary = await summaryOf(name, at);
    expect(summary).toMatchObject(CLEAN);
    const problems = summary['problems'] as readonly string[];
    expect(problems.filter((one) => !UNREACHABLE.test(one))).toEqual([]);
    if (!name.startsWith('03')) expect(problems).toEqual([]);
  }
});

testWith('08s-scale-small')('08s-scale-small', async () => {
  expect(await summaryOf('08s-scale-small', 'end')).toMatchObject({ ...CLEAN, frames: 4073 });
});

// Minutes, so only when asked for: CALICO_P4_TEST_SCALE=1. `make bench` measures the same.
const scale = process.env['CALICO_P4_TEST_SCALE'] === '1' ? testWith('08-scale') : test.skip;
scale(
  '08-scale (CALICO_P4_TEST_SCALE=1)',
  async () => {
    expect(await summaryOf('08-scale', 'end')).toMatchObject({ ...CLEAN, frames: 47_240 });
  },
  1_800_000,
);

test('before InSync nothing is enforced', async () => {
  expect(await summaryOf('02-policy', '78')).toMatchObject({
    inSync: false,
    rows: {},
    writes: { inserted: 0, modified: 0, deleted: 0 },
  });
});

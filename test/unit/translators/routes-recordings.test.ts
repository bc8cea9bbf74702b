/** Recordings of real Felixes, step by step: the whole table after the first step, then what each step changes. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { partChanges, type RowParts } from '../../../src/translators/row-parts';
import { sameWay } from '../../../src/translators/limits';
import { rowContent, rowKey, type Row } from '../../../src/translators/rows';
import { EMBEDDED_LINKS } from '../../../src/translators/links';
import { createNetworkRows } from '../../../src/translators/routes';
import { FACTS, networkText, PORTS, replaySteps, ROUTE_STEPS, rowsOf } from '../../support/route-steps';

const RELEASE_STEPS = {
  'release-3.26.5': [
    ['start-of-day', 88],
    ['node-add', 160],
    ['node-delete', 170],
  ],
  'release-3.33.0-pre': [
    ['start-of-day', 93],
    ['node-add', 160],
    ['node-delete', 168],
  ],
} as const;

const table = (parts: RowParts): ReadonlyMap<string, string> =>
  new Map(parts.flat().map((row) => [rowKey(row), rowContent(row)]));

test.each(Object.entries({ ...ROUTE_STEPS, ...RELEASE_STEPS }))('%s', (name, steps) => {
  const lines: string[] = [];
  let before: readonly string[] = [];
  const incremental = createNetworkRows();
  let parts: RowParts = [];
  const target = new Map<string, Row>();
  replaySteps(name, steps, (step, { model }) => {
    const fresh = rowsOf(model);
    const now = networkText(fresh);
    lines.push(`# ${step}`);
    lines.push(...before.filter((line) => !now.includes(line)).map((line) => `- ${line}`));
    lines.push(...now.filter((line) => !before.includes(line)).map((line) => `+ ${line}`));
    before = now;

    // The changes that are told make the same of what was there.
    const next = incremental({ model, ports: PORTS, links: EMBEDDED_LINKS, facts: FACTS });
    const { removed, written } = partChanges(parts, next.parts, sameWay);
    for (const row of removed) target.delete(rowKey(row));
    for (const row of written) target.set(rowKey(row), row);
    parts = next.parts;
    expect(new Map([...target].map(([key, row]) => [key, rowContent(row)]))).toEqual(table(fresh.parts));
    expect(next.parts.flat().length).toBe(table(fresh.parts).size);
  });
  const text = `${lines.join('\n')}\n`;
  const file = path.join(__dirname, '../../golden', `routes-${name}.txt`);
  if (process.env['UPDATE_GOLDEN'] === '1') writeFileSync(file, text);
  expect(existsSync(file) ? readFileSync(file, 'utf8') : '').toBe(text);
});

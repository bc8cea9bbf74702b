/** docs/p4runtime-compliance.md in step with the tests that it names. */
import { readFileSync } from 'node:fs';
import path from 'node:path';

const root = path.join(__dirname, '../../../..');
const rows = readFileSync(path.join(root, 'docs/p4runtime-compliance.md'), 'utf8')
  .split('\n')
  .map((line) => line.split('|').map((cell) => cell.trim()))
  .filter((cells) => cells.length === 6 && cells[3]!.startsWith('`test/'))
  .map(
    ([, section, requirement, file, name]) => [section!, requirement!, file!.slice(1, -1), name!] as const,
  );

test('the document has its table', () => {
  expect(rows.length).toBeGreaterThan(130);
});

test('a section has one title, and sections stand in their order', () => {
  const titles = new Map<string, string>();
  const numbers = rows.map(([section]) => {
    const [number, ...title] = section.split(' ');
    expect(titles.get(number!) ?? title.join(' ')).toBe(title.join(' '));
    titles.set(number!, title.join(' '));
    return number!;
  });
  expect(numbers).toEqual([...numbers].sort((a, b) => a.localeCompare(b, 'en', { numeric: true })));
});

test.each(rows)('section %s: %s', (_, __, file, name) => {
  const source = readFileSync(path.join(root, file), 'utf8');
  const quoted = [`'${name}'`, `"${name}"`].some((text) => source.includes(text));
  expect(quoted ? name : `no test "${name}" in ${file}`).toBe(name);
});

import { readFileSync } from 'node:fs';
import path from 'node:path';
import { ERROR_CODES } from '../../src/errors';

test('docs/errors.md lists every code, and no other', () => {
  const text = readFileSync(path.join(__dirname, '../../docs/errors.md'), 'utf8');
  const documented = [...text.matchAll(/^\| `([A-Z_]+)` \|/gm)].map(([, code]) => code);
  expect(documented.sort()).toEqual([...ERROR_CODES].sort());
});

/** The journal: what is kept, what is refused, and what is left of it when the process or the disk ends in the middle. */
import { createHash } from 'node:crypto';
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { openJournal, type Journal } from '../../../src/driver/journal';
import { logger } from '../../../src/log';
import { SEED as seed } from '../../seed';

const folder = mkdtempSync(path.join(tmpdir(), 'calico-p4-journal-'));
const log = logger('test');
const warnings: string[] = [];
let file = '';
let count = 0;
beforeEach(() => {
  file = path.join(folder, `journal-${count++}`);
  warnings.length = 0;
  jest.spyOn(log, 'warn').mockImplementation(((message: string, { reason }: { reason: string }) => {
    warnings.push(`${message}: ${reason}`);
    return log;
  }) as unknown as typeof log.warn);
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

const open = (of = 'here', at = file): Journal => openJournal({ path: at, of, log });

/** All that it remembers, in words. */
function contents(journal: Journal): string {
  const spaces = ['node', 'label', 'endpoint'] as const;
  return JSON.stringify([journal.rows, ...spaces.map((space) => [...journal.remembered(space)].sort())]);
}

/** Some updates, with what a reader must find after each line. */
function write(journal: Journal): readonly string[] {
  const states: string[] = [];
  const look = (): void => void states.push(contents(reopened()));
  for (let i = 1; i <= 4; i++) {
    journal.note('node', i, `n${i}`);
    journal.note('label', 512 + i, `l${i}`);
    journal.save();
    look();
    if (i > 1) journal.drop('node', i - 1);
    journal.settle(`rows ${i}`);
    look();
  }
  return states;
}

function reopened(bytes: string | Buffer = readFileSync(file)): Journal {
  const copy = `${file}.copy`;
  writeFileSync(copy, bytes, { mode: 0o600 });
  const journal = open('here', copy);
  journal.close();
  return journal;
}

test('what was noted is remembered, what was dropped is not, and only its owner may read it', () => {
  const journal = open();
  write(journal);
  journal.close();
  expect(statSync(file).mode & 0o777).toBe(0o600);
  const again = open();
  expect(again.rows).toBe('rows 4');
  expect([...again.remembered('node')]).toEqual([[4, 'n4']]);
  expect([...again.remembered('label')]).toEqual([1, 2, 3, 4].map((i) => [512 + i, `l${i}`]));
  expect(warnings).toEqual([]);
});

test('a number that is dropped is remembered until the target holds nothing of it', () => {
  const journal = open();
  journal.note('node', 7, 'old');
  journal.settle('before');
  journal.drop('node', 7);
  journal.note('node', 8, 'new');
  journal.save();
  expect([...reopened().remembered('node')]).toEqual([
    [7, 'old'],
    [8, 'new'],
  ]);
  journal.settle('after');
  expect([...reopened().remembered('node')]).toEqual([[8, 'new']]);
});

test('killed at any byte: what is read is what was there after some line, and never anything else', () => {
  const journal = open();
  const states = new Set([contents(open('here', `${file}.none`)), ...write(journal)]);
  const bytes = readFileSync(file);
  let whole = 0;
  for (let length = 0; length <= bytes.length; length++) {
    warnings.length = 0;
    const read = reopened(bytes.subarray(0, length));
    expect(states).toContain(contents(read));
    if (warnings.length === 0) whole++;
  }
  // Only without its first line it is no journal.
  expect(whole).toBe(bytes.length - bytes.indexOf('\n'));
});

test('any byte that is another: it is refused, or what is read was there after some line', () => {
  const journal = open();
  const states = new Set(write(journal));
  const bytes = readFileSync(file);
  let refused = 0;
  for (let at = 0; at < bytes.length; at++) {
    for (const flip of [1, 0x80]) {
      const damaged = Buffer.from(bytes);
      damaged[at] = damaged[at]! ^ flip;
      warnings.length = 0;
      const read = reopened(damaged);
      if (warnings.length > 0) refused++;
      else expect(states).toContain(contents(read));
    }
  }
  // What remains is the end of the last line: it makes a line that is cut.
  expect(refused).toBe(2 * bytes.length - 2);
});

test('lines that are missing, doubled, or in another order are refused; so are any bytes', () => {
  write(open());
  const lines = readFileSync(file, 'latin1').trimEnd().split('\n');
  const cut = (changed: readonly string[]): string => {
    warnings.length = 0;
    reopened(`${changed.join('\n')}\n`);
    return warnings.join();
  };
  expect(cut(lines)).toBe('');
  for (let i = 0; i < lines.length - 1; i++) {
    expect(cut([...lines.slice(0, i), ...lines.slice(i + 1)])).toMatch(/damaged|version/);
    expect(cut([...lines.slice(0, i + 1), ...lines.slice(i)])).toMatch(/damaged/);
    const swapped = [...lines];
    [swapped[i], swapped[i + 1]] = [swapped[i + 1]!, swapped[i]!];
    expect(cut(swapped)).toMatch(/damaged|version/);
  }
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      expect(contents(reopened(Buffer.from(bytes)))).toBe(contents(open('here', `${file}.none`)));
    }),
    { seed, numRuns: 200 },
  );
});

test.each([
  ['of another target', () => open('there'), /another target/],
  ['that others may write', () => (chmodSync(file, 0o620), open()), /others may write/],
  ['of a later version', () => (rewrite({ journal: 2, of: 'here' }), open()), /none of this version/],
  [
    'with a record that is none',
    () => (rewrite({ journal: 1, of: 'here', more: 1 }), open()),
    /none of this/,
  ],
  ['that is a folder', () => open('here', folder), /EISDIR/],
])('one %s is refused, and nothing is remembered', (_name, opened, why) => {
  const journal = open();
  write(journal);
  journal.close();
  const again = opened();
  expect(contents(again)).toBe(contents(open('here', `${file}.none`)));
  expect(warnings.join()).toMatch(why);
});

/** A first line with a right checksum. */
function rewrite(record: unknown): void {
  const json = JSON.stringify(record);
  const sum = createHash('sha256').update(` ${json}`).digest('base64').slice(0, 16);
  writeFileSync(file, `${sum} ${json}\n`, { mode: 0o600 });
}

test('however long it runs, its size follows from what is in use', () => {
  const journal = open();
  let largest = 0;
  for (let i = 1; i <= 3000; i++) {
    for (let n = 0; n < 50; n++)
      journal.note('node', 50 * i + n, createHash('md5').update(`${i} ${n}`).digest('base64'));
    if (i > 1) for (let n = 0; n < 50; n++) journal.drop('node', 50 * (i - 1) + n);
    journal.save();
    journal.settle(`rows ${i}`);
    largest = Math.max(largest, statSync(file).size);
  }
  expect(largest).toBeLessThan(2 * 1024 * 1024);
  expect([...reopened().remembered('node').keys()]).toEqual(
    Array.from({ length: 50 }, (_, n) => 150_000 + n),
  );
});

test('a file that can not be written is said once, and the driver goes on', () => {
  const journal = open('here', path.join(file, 'no', 'folder'));
  writeFileSync(file, '');
  write(open('here', path.join(file, 'below', 'a', 'file')));
  expect(warnings.filter((line) => line.startsWith('can not write'))).toHaveLength(1);
  journal.close();
});

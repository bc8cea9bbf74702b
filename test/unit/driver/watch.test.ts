import { createWatch } from '../../../src/driver/watch';
import { listChanges } from '../../../src/translators/policy/list-changes';
import { partChanges } from '../../../src/translators/row-parts';
import { rowKey, type Row } from '../../../src/translators/rows';

test('a watch sees what comes, goes, is replaced and changes places, once each', () => {
  const watch = createWatch();
  const [a, b, c] = [{}, {}, {}];
  expect(watch([[a, b], ['x']])).toBe(true);
  expect(watch([[a, b], ['x']])).toBe(false);
  expect(watch([[b, a], ['x']])).toBe(true);
  expect(watch([[b, a, c], ['x']])).toBe(true);
  expect(watch([[b, c], ['x']])).toBe(true);
  expect(watch([[b, c], ['x']])).toBe(false);
  expect(watch([[], []])).toBe(true);
});

test('changes of lists are those of the sets, wherever they are', () => {
  const lists = [[], [1], [1, 2, 3], [3, 2, 1], [1, 4, 3], [0, 1, 2, 3], [2, 3], [5, 6]];
  for (const before of lists) {
    for (const now of lists) {
      const { removed, added } = listChanges<number>(before, now);
      expect([...removed].sort()).toEqual(before.filter((n) => !now.some((m) => m === n)).sort());
      expect([...added].sort()).toEqual(now.filter((n) => !before.some((m) => m === n)).sort());
    }
  }
});

test('parts that stay the same arrays change nothing; a row that moves to another part with the same content is not removed', () => {
  const row = (key: bigint, value: bigint): Row => ({
    table: 't',
    match: { k: { kind: 'exact', value: key } },
    action: 'a',
    params: { v: value },
  });
  const stays = [row(1n, 1n)];
  const changes = partChanges(
    [stays, [row(2n, 1n), row(3n, 1n), row(4n, 1n)]],
    [stays, [row(2n, 1n), row(3n, 2n)], [row(5n, 1n)]],
  );
  expect(changes.removed.map(rowKey)).toEqual([row(3n, 0n), row(4n, 0n)].map(rowKey));
  expect(changes.written.map(rowKey)).toEqual([row(2n, 0n), row(3n, 0n), row(5n, 0n)].map(rowKey));
});

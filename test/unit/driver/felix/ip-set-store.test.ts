import fc from 'fast-check';
import { isDeepStrictEqual } from 'node:util';
import type { IpSetStore } from '../../../../src/driver/felix/ip-set-store';
import { createIpSetStore } from '../../../../src/driver/felix/ip-set-store';
import type { IpSet } from '../../../../src/model/model';

/** Keeps copies of sets, as a reader does, and tells how it brought them up to date. */
function createReader(store: IpSetStore) {
  const copies = new Map<string, { readonly source: IpSet; readonly members: Set<string> }>();
  return {
    read(id: string): 'gone' | 'whole' | number {
      const now = store.sets.get(id);
      const known = copies.get(id);
      if (now === undefined) {
        copies.delete(id);
        return 'gone';
      }
      const steps = [];
      let at: IpSet | undefined = now;
      while (at !== undefined && at !== known?.source) {
        if (at.change !== undefined) steps.push(at.change);
        at = at.change?.before;
      }
      if (at === undefined || known === undefined) {
        copies.set(id, { source: now, members: new Set(now.members) });
        return 'whole';
      }
      expect(now.type).toBe(known.source.type);
      for (const { added, removed } of steps.reverse()) {
        for (const member of added) {
          expect(known.members.has(member)).toBe(false);
          known.members.add(member);
        }
        for (const member of removed) {
          expect(known.members.delete(member)).toBe(true);
        }
      }
      copies.set(id, { source: now, members: known.members });
      expect([...known.members].sort()).toEqual([...now.members].sort());
      return steps.length;
    },
  };
}

const change = (store: IpSetStore) => store.sets.get('s')?.change;
const numbers = (from: number, count: number): string[] =>
  Array.from({ length: count }, (_, i) => String(from + i));

test('a reader who follows the changes has what the set holds, whenever it reads', () => {
  const id = fc.constantFrom('s', 't');
  const members = fc.array(fc.integer({ min: 0, max: 11 }).map(String), { maxLength: 12 });
  const step = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({ kind: fc.constant('change' as const), id, members, removed: members }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constant('replace' as const),
        id,
        type: fc.constantFrom('IP' as const, 'NET' as const),
        members,
      }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('remove' as const), id }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('settle' as const) }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('read' as const), id }) },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const store = createIpSetStore();
      const reader = createReader(store);
      /** What each set held and was when the batch began. */
      let began = new Map<string, readonly [IpSet, string]>();
      const contents = (set: IpSet) => `${set.type} ${[...set.members].sort().join()}`;
      let dirty = new Set<string>();
      for (const s of steps) {
        const before = 'id' in s ? store.sets.get(s.id) : undefined;
        const was = before === undefined ? undefined : contents(before);
        switch (s.kind) {
          case 'change':
          case 'replace':
          case 'remove': {
            if (s.kind === 'change' && before === undefined) continue;
            const said =
              s.kind === 'change'
                ? store.change(s.id, s.members, s.removed)
                : s.kind === 'replace'
                  ? store.replace(s.id, s.type, s.members)
                  : store.remove(s.id);
            const now = store.sets.get(s.id);
            expect(said).toBe(was !== (now === undefined ? undefined : contents(now)));
            expect(now === before).toBe(!said);
            if (said) dirty.add(s.id);
            break;
          }
          case 'settle':
            for (const back of store.settle()) {
              expect(dirty.delete(back)).toBe(true);
              const [set, held] = began.get(back)!;
              expect(store.sets.get(back)).toBe(set);
              expect(contents(set)).toBe(held);
            }
            for (const which of ['s', 't']) {
              if (!dirty.has(which)) expect(store.sets.get(which)).toBe(began.get(which)?.[0]);
            }
            dirty = new Set();
            began = new Map([...store.sets].map(([key, set]) => [key, [set, contents(set)]]));
            break;
          case 'read':
            reader.read(s.id);
            break;
        }
      }
      reader.read('s');
      reader.read('t');
    }),
    { numRuns: 200 },
  );
});

test('the changes of a batch are one step, without what came and went', () => {
  const store = createIpSetStore();
  store.replace('s', 'NET', ['a', 'b']);
  store.settle();
  const first = store.sets.get('s')!;
  store.change('s', ['a', 'c', 'c'], ['z']);
  expect(change(store)).toEqual({ before: first, added: ['c'], removed: [] });
  store.change('s', ['d'], ['a', 'c']);
  store.change('s', [], ['d']);
  store.settle();
  expect(change(store)).toEqual({ before: first, added: [], removed: ['a'] });
  expect(change(store)!.before).toBe(first);
  store.change('s', ['x'], []);
  store.change('s', [], ['x']);
  const second = store.sets.get('s')!;
  expect(store.settle()).toEqual(['s']);
  expect(store.sets.get('s')).not.toBe(second);
  expect(change(store)!.before).toBe(first);
});

test('a set that is new in a batch has no history, as nobody has read it before', () => {
  const store = createIpSetStore();
  store.replace('s', 'NET', ['a', 'b']);
  store.change('s', ['c'], []);
  expect(store.settle()).toEqual([]);
  expect(change(store)).toBeUndefined();
  store.remove('s');
  store.replace('s', 'NET', ['a', 'b', 'c']);
  expect(change(store)).toBeUndefined();
  expect(store.remove('s')).toBe(true);
  expect([store.remove('s'), store.settle()]).toEqual([false, []]);
});

test('a set that is sent again is a change where little differs, and a new set where much does or its type', () => {
  const store = createIpSetStore();
  store.replace('s', 'NET', numbers(0, 100));
  store.settle();
  const first = store.sets.get('s')!;
  store.replace('s', 'NET', numbers(5, 100));
  store.settle();
  expect(change(store)).toEqual({ before: first, added: numbers(100, 5), removed: numbers(0, 5) });
  expect(store.sets.get('s')!.members).toBe(first.members);
  store.replace('s', 'NET', numbers(50, 100));
  expect(change(store)).toBeUndefined();
  store.replace('s', 'IP', numbers(50, 100));
  expect([store.sets.get('s')!.type, change(store)]).toEqual(['IP', undefined]);
});

test('comparisons, spreads and clones do not see the history', () => {
  const store = createIpSetStore();
  store.replace('s', 'IP', ['a']);
  store.change('s', ['b'], []);
  const set = store.sets.get('s')!;
  const plain: IpSet = { id: 's', type: 'IP', members: new Set(['a', 'b']) };
  expect(set.change).toBeDefined();
  expect(isDeepStrictEqual(set, plain)).toBe(true);
  expect(set).toStrictEqual(plain);
  expect({ ...set }.change).toBeUndefined();
  expect(structuredClone(set).change).toBeUndefined();
});

describe('a history does not grow for ever', () => {
  const history = (store: IpSetStore) => {
    let steps = 0;
    let members = 0;
    for (let c = change(store); c !== undefined; c = c.before.change) {
      steps++;
      members += c.added.length + c.removed.length;
    }
    return { steps, members };
  };

  test('over many small batches, and who has read the last one need not read all', () => {
    const store = createIpSetStore();
    const reader = createReader(store);
    store.replace('s', 'IP', numbers(0, 1000));
    store.settle();
    expect(reader.read('s')).toBe('whole');
    for (let i = 0; i < 100; i++) {
      store.change('s', [`${i}a`, `${i}b`], []);
      store.change('s', [], [`${i}b`]);
      store.settle();
      expect(reader.read('s')).toBe(1);
      expect(history(store).steps).toBeLessThanOrEqual(8);
    }
  });

  test('over many members, in batches or in one', () => {
    for (const settles of [true, false]) {
      const store = createIpSetStore();
      const reader = createReader(store);
      store.replace('s', 'IP', numbers(0, 100));
      store.settle();
      expect(reader.read('s')).toBe('whole');
      for (let i = 0; i < 100; i++) {
        store.change('s', numbers(i * 150, 150), numbers((i - 1) * 150, 150));
        if (settles) {
          store.settle();
          expect(reader.read('s')).toBe(1);
        }
        expect(history(store).members).toBeLessThanOrEqual(150 + 1024);
      }
      if (!settles) {
        store.settle();
        expect(reader.read('s')).toBe('whole');
      }
    }
  });

  test('a change that is as much as the set is none', () => {
    const store = createIpSetStore();
    store.replace('s', 'IP', numbers(0, 5000));
    store.settle();
    store.change('s', [], numbers(1, 5000));
    store.settle();
    expect(change(store)).toBeUndefined();
    expect([...store.sets.get('s')!.members]).toEqual(['0']);
  });
});

import { createPlacement } from '../../../src/driver/placement';
import { endpointRows } from '../../../src/translators/endpoints';
import type { FelixModel, WorkloadEndpoint } from '../../../src/model/model';
import type { NumberMemory } from '../../../src/translators/policy/number-memory';
import type { Row } from '../../../src/translators/rows';

function workload(name: string, address: string): WorkloadEndpoint {
  return {
    id: { orchestratorId: 'k8s', workloadId: name, endpointId: 'eth0' },
    state: 'active',
    name: `cali-${name}`,
    mac: '',
    profileIds: [],
    ipv4Nets: [`${address}/32`],
    ipv6Nets: [],
    tiers: [],
    allowSpoofedSourcePrefixes: [],
  };
}

const a = workload('a', '10.0.0.1');
const b = workload('b', '10.0.0.2');
const c = workload('c', '10.0.0.3');
const places = (placed: readonly { workload: WorkloadEndpoint; ep: number; port: number }[]): string[] =>
  placed.map(({ workload: w, ep, port }) => `${w.id.workloadId} ep=${ep} port=${port}`);

test('ports are used again, endpoint ids never', () => {
  const placement = createPlacement(2);
  expect(places(placement.place([a, b]))).toEqual(['a ep=1 port=2', 'b ep=2 port=3']);
  expect(places(placement.place([b]))).toEqual(['b ep=2 port=3']);
  expect(places(placement.place([a, b, c]))).toEqual(['a ep=3 port=2', 'b ep=2 port=3', 'c ep=4 port=4']);
});

test('a pod that comes back with another interface is another pod', () => {
  const placement = createPlacement(2);
  placement.place([a]);
  expect(places(placement.place([{ ...a, name: 'cali-other' }]))).toEqual(['a ep=2 port=2']);
});

test('what the target already delivers keeps its place after a restart; other ids there are not given away', () => {
  const model = { config: new Map(), hostEndpoints: new Map(), hosts: new Map() } as unknown as FelixModel;
  const before = createPlacement(2).place([a, b, c]);
  const found = endpointRows(model, before, { uplink: 0, host: 1 }).rows;

  const after = createPlacement(2, found);
  const moved = workload('c', '10.0.0.9');
  expect(places(after.place([moved, b]))).toEqual(['c ep=4 port=2', 'b ep=2 port=3']);
  // Only the first snapshot is matched with what was found.
  expect(places(after.place([moved, b, a]))).toEqual(['c ep=4 port=2', 'b ep=2 port=3', 'a ep=5 port=4']);
});

describe('with a memory that outlives the process', () => {
  /** What a journal keeps; it is asked again by the next driver. */
  function memory(): NumberMemory & { restarted(): NumberMemory } {
    const kept = new Map<number, string>();
    const of = (remembered: ReadonlyMap<number, string>): NumberMemory => ({
      remembered: () => remembered,
      note: (_, number, content) => void kept.set(number, content),
      drop: (_, number) => void kept.delete(number),
    });
    return { ...of(new Map()), restarted: () => of(new Map(kept)) };
  }
  const model = { config: new Map(), hostEndpoints: new Map(), hosts: new Map() } as unknown as FelixModel;
  const rowsFor = (placed: ReturnType<ReturnType<typeof createPlacement>['place']>): readonly Row[] =>
    endpointRows(model, placed, { uplink: 0, host: 1 }).rows;
  const bare = { ...c, ipv4Nets: [] };

  test('every endpoint keeps its place, one without addresses too', () => {
    const kept = memory();
    const before = createPlacement(2, [], kept).place([bare, a, b]);
    const after = createPlacement(2, rowsFor(before), kept.restarted(), true);
    expect(places(after.place([b, bare, a]))).toEqual(['b ep=3 port=4', 'c ep=1 port=2', 'a ep=2 port=3']);
  });

  test('a pod that has the address of another one gets its own id; so does one whose id delivers elsewhere', () => {
    const kept = memory();
    const before = createPlacement(2, [], kept).place([a, b]);
    const rows = rowsFor(before);
    const other = createPlacement(2, rows, kept.restarted(), true);
    expect(places(other.place([workload('new', '10.0.0.1'), b]))).toEqual([
      'new ep=3 port=2',
      'b ep=2 port=3',
    ]);
    const moved = createPlacement(2, rows, kept.restarted(), true);
    expect(places(moved.place([workload('a', '10.0.0.2'), b]))[0]).not.toMatch(/ep=1 /);
  });

  test('no id is used twice, though its endpoint has gone before the restart', () => {
    const kept = memory();
    const placement = createPlacement(2, [], kept);
    placement.place([a, b, c]);
    placement.place([a, b]);
    const rows = rowsFor(placement.place([a]));
    const after = createPlacement(2, rows, kept.restarted(), true);
    expect(places(after.place([a, b]))).toEqual(['a ep=1 port=2', 'b ep=4 port=3']);
    expect(places(createPlacement(2, rows, kept.restarted(), true).place([a, c]))).toEqual([
      'a ep=1 port=2',
      'c ep=5 port=3',
    ]);
  });

  test('one that is not trusted says nothing but which ids were given', () => {
    const kept = memory();
    const before = createPlacement(2, [], kept).place([a, b]);
    const after = createPlacement(2, rowsFor(before), kept.restarted(), false);
    expect(places(after.place([b, workload('new', '10.0.0.1')]))).toEqual([
      'b ep=2 port=3',
      'new ep=1 port=2',
    ]);
  });

  test('a pod keeps its port, where its interface is, though the target has lost everything; its id is new', () => {
    const kept = memory();
    const before = createPlacement(2, [], kept);
    before.place([c]);
    expect(places(before.place([a, c]))).toEqual(['a ep=2 port=3', 'c ep=1 port=2']);
    const after = createPlacement(2, [], kept.restarted());
    expect(places(after.place([b, a, c]))).toEqual(['b ep=5 port=4', 'a ep=3 port=3', 'c ep=4 port=2']);
  });
});

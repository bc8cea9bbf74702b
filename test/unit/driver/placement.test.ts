import { createPlacement } from '../../../src/driver/placement';
import { endpointRows } from '../../../src/translators/endpoints';
import type { FelixModel, WorkloadEndpoint } from '../../../src/model/model';

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

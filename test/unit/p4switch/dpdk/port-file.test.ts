/** Which ports come back when engine and switch are started again, on the same start of the machine and after another. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { bootId, readPortFile, writePortFile } from '../../../../src/p4switch/dpdk/port-file';
import type { PortSpec } from '../../../../src/p4switch/dpdk/ports';

const folder = mkdtempSync(path.join(tmpdir(), 'calico-p4-port-file-'));
const file = path.join(folder, 'ports.json');
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

const spec = (name: string, netns: string): PortSpec => ({
  kind: 'tap',
  name,
  netns,
  mtu: 1500,
  mac: '',
  vlan: 0,
  persistent: true,
});
const ports = new Map([
  [0, spec('eth0', '')],
  [2, spec('eth0', path.join(folder, 'ports.json'))],
  [3, spec('eth0', '/run/netns/no-such-pod')],
]);

test('all of them, as long as the machine was not started since', () => {
  writePortFile(file, ports);
  expect(bootId()).toMatch(/^[0-9a-f-]{36}$/);
  expect(readPortFile(file)).toEqual({ ports, forgotten: new Map() });
});

test('after a start of the machine those whose namespace is there; the others are forgotten', () => {
  writePortFile(file, ports, 'the last start');
  const { ports: back, forgotten } = readPortFile(file);
  expect([...back.keys()]).toEqual([0, 2]);
  expect([...forgotten.keys()]).toEqual([3]);
});

test.each(['', '[]', '{"boot":1}', '{"boot":"x","ports":[[1]]}'])('none of what is damaged: %j', (text) => {
  writeFileSync(file, text);
  expect(readPortFile(file).ports.size).toBe(0);
  expect(readPortFile(path.join(folder, 'none')).ports.size).toBe(0);
});

import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { createInterpreter } from '../../src/p4switch/interpreter/interpreter';
import type { BehaviourName } from '../../src/p4switch/server/behaviour';
import { startSwitchServer, type SwitchServer } from '../../src/p4switch/server/server';

const root = path.join(__dirname, '../..');
const python = path.join(root, '.venv-shell/bin/python');
const run = promisify(execFile);

/** p4runtime-shell, which shares no code with us nor with finsy, drives the switch with the real pipeline. */
describe.each<BehaviourName>(['specification', 'infrap4d'])('p4runtime-shell, behaviour: %s', (behaviour) => {
  let server: SwitchServer;
  let seen: Record<string, unknown>;

  beforeAll(async () => {
    if (!existsSync(python))
      throw new Error('.venv-shell is missing: run scripts/stock-client-venv (make test does)');
    server = await startSwitchServer({
      address: '127.0.0.1:0',
      deviceId: 1n,
      behaviour,
      createEngine: (spec) => createInterpreter(spec, { now: () => 0 }),
    });
    const { stdout } = await run(
      python,
      [
        path.join(__dirname, 'stock-client/shell.py'),
        server.address,
        path.join(root, 'pipelines/p4-dpdk/calico.p4info.txtpb'),
        path.join(root, 'pipelines/p4-dpdk/calico.spec'),
      ],
      { timeout: 50_000 },
    );
    seen = JSON.parse(stdout) as Record<string, unknown>;
  });
  afterAll(async () => {
    await server.stop();
  });

  const pod = { table: 'port_in', match: { port: 3 }, action: 'from_pod', params: [77, 2, 3, 0] };
  const ports = {
    table: 'dport_labels',
    match: { page: 1, proto: 6, port: '8080/12' },
    action: 'set_dport_labels',
    params: [5, 0, 0, 1],
  };
  const net = {
    table: 'addr_labels_prefix',
    match: { page: 1, hi: `0&&&${2n ** 64n - 1n}`, lo: `281470849515520&&&18446744073692774400` },
    action: 'set_prefix_labels',
    params: [12, 0, 0, 0, 0, 0, 0, 1],
    priority: 104,
  };

  test('sets the pipeline and knows its tables', () => {
    expect(server.engine()).toBeDefined();
    expect(seen['version']).toMatch(/1\.5\.0/);
    expect(seen['tables']).toEqual(expect.arrayContaining(['port_in', 'dport_labels', 'endpoint_root']));
  });

  test('inserts, reads, modifies and deletes', () => {
    expect(seen['inserted']).toEqual([pod, ports, net]);
    expect(seen['one']).toEqual([pod]);
    expect(seen['twice']).toEqual([6]);
    expect(seen['modified']).toEqual([behaviour === 'infrap4d' ? pod : { ...pod, params: [78, 2, 3, 0] }]);
    expect(seen['absent']).toEqual([5]);
    expect(seen['deleted']).toEqual([]);
  });

  test('sets and reads meters', () => {
    const set = [[2 ** 40, 2, 2 ** 41, 4]];
    expect(seen['meter']).toEqual(behaviour === 'infrap4d' ? expect.any(String) : set);
  });

  test('sets and reads counters', () => {
    expect(seen).toMatchObject({ counter: [41], counters: 32 });
  });
});

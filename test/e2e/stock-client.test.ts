import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { createInterpreter } from '../../src/p4switch/interpreter/interpreter';
import { startSwitchServer, type SwitchServer } from '../../src/p4switch/server/server';

const root = path.join(__dirname, '../..');
const python = path.join(root, '.venv/bin/python');
const run = promisify(execFile);

/** finsy, a P4Runtime client that shares no code with us, drives the switch with the real pipeline. */
describe('a stock P4Runtime client', () => {
  let server: SwitchServer;
  let seen: Record<string, unknown>;

  beforeAll(async () => {
    if (!existsSync(python))
      throw new Error('.venv is missing: run scripts/stock-client-venv (make test does)');
    server = await startSwitchServer({
      address: '127.0.0.1:0',
      deviceId: 1n,
      createEngine: (spec) => createInterpreter(spec, { now: () => 0 }),
    });
    const { stdout } = await run(
      python,
      [
        path.join(__dirname, 'stock-client/client.py'),
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

  const pod = {
    table: 'port_in',
    match: { port: '3' },
    action: 'from_pod',
    args: { ep: 77, mac: 2, port: 3, extras: 0 },
  };
  const net = {
    table: 'addr_labels_prefix',
    match: { page: '1', hi: '(0, 18446744073709551615)', lo: `(281470849515520, 18446744073692774400)` },
    action: 'set_prefix_labels',
    args: { w0: 12, w1: 0, w2: 0, w3: 0, w4: 0, w5: 0, w6: 0, w7: 1 },
    priority: 104,
    metadata: '10.0.0.0/8',
  };
  const ports = {
    table: 'dport_labels',
    match: { page: '1', port: '(8080, 12)', proto: '6' },
    action: 'set_dport_labels',
    args: { w0: 5, w1: 0, w2: 0, w3: 1 },
  };

  test('sets the pipeline of an empty switch', () => {
    expect(seen).toMatchObject({ version: expect.stringMatching(/1\.5\.0/) as string, empty: [] });
    expect(server.engine()).toBeDefined();
  });

  test('inserts, reads, modifies and deletes entries', () => {
    expect(seen['all']).toEqual(expect.arrayContaining([pod, net, ports]));
    expect(seen['all']).toHaveLength(3);
    expect(seen['one']).toEqual([pod]);
    expect(seen['modified']).toEqual([{ ...pod, action: 'from_uplink', args: { mac: 5, port: 3 } }]);
    expect(seen['default']).toEqual([
      { table: 'port_in', match: {}, action: 'from_unknown', args: {}, default: true },
    ]);
    expect(seen['deleted']).toEqual([]);
  });

  test('understands what became of each update', () => {
    expect(seen['twice']).toEqual({ code: 'UNKNOWN', updates: { 1: 'ALREADY_EXISTS' } });
    expect(seen['continued']).toHaveLength(1);
    expect(seen['deletedTwice']).toEqual({ code: 'UNKNOWN', updates: { 0: 'NOT_FOUND' } });
  });

  test('sees one primary at a time', () => {
    expect(seen).toMatchObject({
      first: { primary: true, election: 10 },
      second: { primary: false, election: 9, of: 10 },
      backupWrites: { code: 'PERMISSION_DENIED' },
      backupReads: [],
      backupKnows: 1024,
      third: { primary: true },
      firstMeanwhile: { primary: false, of: 20 },
      deposedWrites: { code: 'PERMISSION_DENIED' },
    });
  });

  test('reads and writes counters', () => {
    expect(seen).toMatchObject({
      counter: [41],
      counters: 65536,
      counterBeyond: { code: 'UNKNOWN', updates: { 0: 'OUT_OF_RANGE' } },
    });
  });
});

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { createInterpreter } from '../../../src/p4switch/interpreter/interpreter';
import { startSwitchServer, type SwitchServer } from '../../../src/p4switch/server/server';
import { buildCatalogue } from '../../../src/p4target/catalogue';
import { P4Client } from '../../../src/p4target/client';
import { clientOptions, type ClientOptions } from '../../../src/p4target/client-options';
import { LiveRows, readTables } from '../../../src/p4target/live-rows';
import { loadP4DpdkPipeline, P4_DPDK_ORDER } from '../../../src/p4target/p4-dpdk/adapter';
import { pipelineCookie } from '../../../src/p4target/pipeline-config';
import { Reconciler } from '../../../src/p4target/reconciler';
import { EMBEDDED_SWITCH } from '../../../src/p4target/target-traits';
import { rowContent, rowKey, type MatchValue, type Row } from '../../../src/translators/rows';

/* Against the real server of the embedded switch, with the committed pipeline, over TCP and a unix socket. */

const pipeline = loadP4DpdkPipeline();
const catalogue = buildCatalogue(pipeline.p4info);
const exact = (value: number | bigint): MatchValue => ({ kind: 'exact', value: BigInt(value) });

function words(low: number): Record<string, bigint> {
  return { w0: BigInt(low), w1: 0n, w2: 0n, w3: 0n, w4: 0n, w5: 0n, w6: 0n, w7: 1n << 63n };
}

function portWords(low: number): Record<string, bigint> {
  return { w0: BigInt(low), w1: 0n, w2: 0n, w3: 1n << 63n };
}

function keys(words: Readonly<Record<string, bigint>>): Record<string, MatchValue> {
  return Object.fromEntries(Object.entries(words).map(([name, word]) => [name, exact(word)]));
}

function address(lo: number, labels: number): Row {
  return {
    table: 'addr_labels',
    match: { page: exact(1), hi: exact(0), lo: exact(lo) },
    action: 'set_labels',
    params: words(labels),
  };
}

let server: SwitchServer;
const open: P4Client[] = [];

async function connect(given: Partial<ClientOptions> = {}): Promise<P4Client> {
  const client = await P4Client.connect(clientOptions({ address: server.address, ...given }));
  open.push(client);
  return client;
}

async function target(given: Partial<ClientOptions> = {}): Promise<LiveRows> {
  const client = await connect(given);
  await client.ensurePipeline(pipeline);
  return new LiveRows(client, catalogue, EMBEDDED_SWITCH);
}

beforeEach(async () => {
  server = await startSwitchServer({
    address: '127.0.0.1:0',
    deviceId: 1n,
    createEngine: (spec) => createInterpreter(spec, { now: () => 0 }),
  });
});

afterEach(async () => {
  for (const client of open.splice(0)) client.close();
  await server.stop();
});

describe('session', () => {
  it('sets the pipeline once, and leaves one that runs already alone', async () => {
    const first = await connect();
    expect(await first.pipelineCookie()).toBeUndefined();
    expect(await first.ensurePipeline(pipeline)).toBe(true);
    expect(await first.pipelineCookie()).toBe(pipelineCookie(pipeline));
    expect(await first.ensurePipeline(pipeline)).toBe(false);
  });

  it('gives a refused pipeline its own error', async () => {
    const client = await connect();
    const broken = { p4info: pipeline.p4info, deviceConfig: Buffer.from('not a spec') };
    await expect(client.ensurePipeline(broken)).rejects.toMatchObject({ code: 'PIPELINE_MISMATCH' });
  });

  it('stops writing when a controller with a higher election id comes', async () => {
    const lost = new Promise<string>((resolve) => {
      void target({
        onLost: (error) => {
          resolve(error.code);
        },
      }).then((t) => (mine = t));
    });
    let mine: LiveRows | undefined;
    while (!mine) await new Promise((resolve) => setTimeout(resolve, 5));
    await connect({ electionId: { high: 0n, low: 2n } });
    expect(await lost).toBe('TARGET_NOT_PRIMARY');
    await expect(mine.write([{ type: 'insert', row: address(1, 1) }])).rejects.toMatchObject({
      code: 'TARGET_NOT_PRIMARY',
    });
  });

  it('waits until the last session with the same election id is gone', async () => {
    const other = await connect({ electionId: { high: 0n, low: 5n } });
    const waiting = connect({ electionId: { high: 0n, low: 5n } });
    await new Promise((resolve) => setTimeout(resolve, 50));
    other.close();
    expect(await (await waiting).pipelineCookie()).toBeUndefined();
  });

  it('says who is primary when it does not become so in time', async () => {
    await connect({ electionId: { high: 0n, low: 5n } });
    const late = connect({
      electionId: { high: 0n, low: 4n },
      timeouts: { connect: 200, call: 1000, pipeline: 1000 },
    });
    await expect(late).rejects.toMatchObject({
      code: 'TARGET_NOT_PRIMARY',
      message: expect.stringMatching(
        /not primary after 200 ms \(.*the highest election id is 5\) with election id 4/,
      ) as string,
    });
  });

  it('says so when nobody answers, and when the server goes', async () => {
    const nobody = clientOptions({
      address: '127.0.0.1:1',
      timeouts: { connect: 300, call: 300, pipeline: 300 },
    });
    await expect(P4Client.connect(nobody)).rejects.toMatchObject({ code: 'TARGET_UNREACHABLE' });

    const lost = new Promise<string>((resolve) => {
      void connect({
        onLost: (error) => {
          resolve(error.code);
        },
      }).then(() => server.stop());
    });
    expect(await lost).toBe('TARGET_UNREACHABLE');
  });

  it('works over a unix socket', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'p4target-'));
    const socket = await startSwitchServer({
      address: `unix:${join(folder, 's')}`,
      deviceId: 1n,
      createEngine: (spec) => createInterpreter(spec, { now: () => 0 }),
    });
    try {
      const live = await target({ address: socket.address });
      expect(await live.write([{ type: 'insert', row: address(1, 1) }])).toEqual([{ ok: true }]);
    } finally {
      for (const client of open.splice(0)) client.close();
      await socket.stop();
      rmSync(folder, { recursive: true });
    }
  });
});

describe('writing and reading', () => {
  it('tells what became of each update, in batches', async () => {
    const live = await target({ maxBatch: 3 });
    await live.write([{ type: 'insert', row: address(2, 1) }]);
    const outcomes = await live.write([
      { type: 'insert', row: address(1, 1) },
      { type: 'insert', row: address(2, 2) },
      { type: 'delete', row: address(9, 1) },
      { type: 'insert', row: { ...address(3, 1), params: {} } },
      { type: 'modify', row: address(2, 7) },
      { type: 'insert', row: address(4, 1) },
    ]);
    expect(outcomes.map((o) => (o.ok ? 'OK' : o.code))).toEqual([
      'OK',
      status.ALREADY_EXISTS,
      status.NOT_FOUND,
      status.INVALID_ARGUMENT,
      'OK',
      'OK',
    ]);
    const rows = await live.readTable('addr_labels');
    expect(rows.map((r) => `${r.match['lo']!.value} ${r.params['w0']}`).sort()).toEqual([
      '1 1',
      '2 7',
      '4 1',
    ]);
    expect(await live.readRow(address(2, 0))).toEqual(address(2, 7));
    expect(await live.readRow(address(77, 0))).toBeUndefined();
  });

  it('reads a wildcard row of a ternary table, and only that', async () => {
    const live = await target();
    const any: Row = {
      table: 'addr_labels_prefix',
      match: { page: exact(1) },
      priority: 1,
      action: 'set_prefix_labels',
      params: words(3),
    };
    const some: Row = { ...any, match: { ...any.match, lo: { kind: 'ternary', value: 4n, mask: 4n } } };
    await live.write([any, some].map((row) => ({ type: 'insert', row })));
    expect(await live.readRow(any)).toEqual(any);
    expect((await live.readTable('addr_labels_prefix')).map(rowKey).sort()).toEqual(
      [any, some].map(rowKey).sort(),
    );
  });

  it('says that there is no pipeline to read', async () => {
    const live = new LiveRows(await connect(), catalogue, EMBEDDED_SWITCH);
    await expect(live.readTable('addr_labels')).rejects.toMatchObject({
      code: 'PIPELINE_MISMATCH',
      message: expect.stringContaining('could not read table addr_labels') as string,
    });
  });

  it('reads 20,000 rows back, and says how full the table is', async () => {
    const live = await target();
    const rows = Array.from({ length: 20_000 }, (_, i) => address(i + 1, i % 7));
    const outcomes = await live.write(rows.map((row) => ({ type: 'insert', row })));
    expect(outcomes.filter((o) => !o.ok)).toEqual([]);
    const [contents] = await readTables(live, ['addr_labels']);
    expect(contents).toMatchObject({ table: 'addr_labels', entries: 20_000, size: 262144 });
  });

  it('reads counters', async () => {
    const live = await target();
    server.engine()!.process(5, new Uint8Array(64), false);
    const reasons = await live.readCounter('reasons');
    expect([...reasons.values()].reduce((a, b) => a + b, 0n)).toBe(1n);
  });
});

describe('reconciler on the embedded switch', () => {
  const desired: Row[] = [
    {
      table: 'port_in',
      match: { port: exact(3) },
      action: 'from_pod',
      params: { ep: 1n, mac: 2n, port: 3n, extras: 0n },
    },
    {
      table: 'local',
      match: { hi: exact(0), lo: exact(5) },
      action: 'to_pod',
      params: { port: 3n, ep: 1n, dst: 4n, src: 2n, mtu: 1500n, limit: 7n },
    },
    {
      table: 'pod_source',
      match: { ep: exact(1), hi: exact(0), lo: exact(5) },
      action: 'source_ok',
      params: {},
    },
    {
      table: 'endpoint_root',
      match: { ep: exact(1), direction: exact(2) },
      action: 'root',
      params: {
        page: 1n,
        node: 9n,
        d1: 0x8000_0000n,
        d2: 0x8000_0000n,
        d3: 0x8000_0000n,
        d4: 0x8000_0000n,
        d5: 0x8000_0000n,
      },
    },
    {
      table: 'step_dport',
      match: { node: exact(9), port: exact(443) },
      action: 'dport_next',
      params: { node: 0xc000_0000n, d1: 0xc000_0000n },
    },
    {
      table: 'step_dport_range',
      match: { node: exact(9), ...keys(portWords(1)) },
      action: 'dport_range_next',
      params: { node: 0xc000_0000n, d1: 0xc000_0000n },
    },
    {
      table: 'dport_mask',
      match: { node: exact(9) },
      action: 'ask_dport',
      params: { page: 1n, ...portWords(3) },
    },
    { table: 'src_mask', match: { node: exact(11) }, action: 'ask_src', params: words(4) },
    {
      table: 'step_src',
      match: { node: exact(11), ...keys(words(4)) },
      action: 'src_next',
      params: { node: 9n, d1: 9n, d2: 9n, d3: 9n, d4: 0x8000_0000n },
    },
    {
      table: 'dport_labels',
      match: { page: exact(1), proto: exact(6), port: { kind: 'lpm', value: 80n, prefixLen: 16 } },
      action: 'set_dport_labels',
      params: portWords(1),
    },
    address(5, 4),
    {
      table: 'addr_labels_prefix',
      match: { page: exact(1), hi: { kind: 'ternary', value: 0n, mask: 0n } },
      priority: 1,
      action: 'set_prefix_labels',
      params: words(2),
    },
  ];
  const limit = (index: number, rate: bigint): Row => ({
    table: 'byte_limits',
    match: { index: exact(index) },
    action: 'limit',
    params: { rate, burst: 1n << 40n, peak_rate: (1n << 63n) - 1n, peak_burst: 9n },
  });
  const text = (rows: readonly Row[]): string[] => rows.map((r) => `${rowKey(r)} ${rowContent(r)}`).sort();
  const tables = P4_DPDK_ORDER.tables.map((t) => t.table);

  it('fills the target, writes nothing the second time nor after a restart, and empties it', async () => {
    const live = await target();
    const reconciler = new Reconciler(live, P4_DPDK_ORDER);
    desired.push(limit(7, 5n), limit(2047, 6n));
    reconciler.replaceDesired(desired);
    expect(await reconciler.apply()).toMatchObject({ written: desired.length, inserted: desired.length });
    expect((await reconciler.apply()).written).toBe(0);
    const found = (await readTables(live, tables)).flatMap((t) => t.rows);
    expect(text(found)).toEqual(text(desired));

    live.client.close();
    const again = new Reconciler(await target({ electionId: { high: 0n, low: 2n } }), P4_DPDK_ORDER);
    again.replaceDesired(desired);
    expect((await again.apply()).written).toBe(0);

    again.replaceDesired([]);
    expect(await again.apply()).toMatchObject({ written: desired.length, deleted: desired.length });
  });

  it('changes a meter in place, finds one that was changed behind its back, and refuses what is no limit', async () => {
    const live = await target();
    const reconciler = new Reconciler(live, P4_DPDK_ORDER);
    reconciler.replaceDesired([limit(7, 5n)]);
    await reconciler.apply();
    reconciler.replaceDesired([limit(7, 6n)]);
    expect(await reconciler.apply()).toMatchObject({ written: 1, modified: 1 });
    expect(await live.readRow(limit(7, 1n))).toEqual(limit(7, 6n));
    expect(await live.readRow(limit(8, 1n))).toBeUndefined();
    expect(live.tableSize('byte_limits')).toBe(2048);
    server.engine()!.writeMeter('byte_limits_0', 7, undefined);
    reconciler.forget();
    expect(await reconciler.apply()).toMatchObject({ written: 1, inserted: 1 });

    const wrong: Row[] = [
      { ...limit(7, 5n), params: { rate: 1n } },
      limit(7, 0n),
      limit(7, 1n << 63n),
      limit(2048, 5n),
      { ...limit(7, 5n), action: 'other' },
      { ...limit(7, 5n), match: { index: exact(1), more: exact(1) } },
    ];
    const outcomes = await live.write(wrong.map((row) => ({ type: 'insert', row })));
    for (const outcome of outcomes)
      expect(outcome).toMatchObject({
        ok: false,
        message: expect.stringContaining('meter byte_limits') as string,
      });
    expect(await live.readTable('byte_limits')).toEqual([limit(7, 6n)]);
  });

  it('says which table is full, and how full', async () => {
    const live = await target();
    const reconciler = new Reconciler(live, P4_DPDK_ORDER);
    reconciler.replaceDesired(
      Array.from({ length: 300 }, (_, i) => ({
        table: 'host_address',
        match: { hi: exact(0), lo: exact(i) },
        action: 'own_address',
        params: {},
      })),
    );
    const result = await reconciler.apply();
    expect(result.error).toMatchObject({
      code: 'TARGET_TABLE_FULL',
      message: expect.stringContaining(
        'table host_address of embedded switch is full (256 of 256 entries)',
      ) as string,
    });
    expect(result.failed.size).toBe(300 - 256);
  });
});

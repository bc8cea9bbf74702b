import { readFileSync } from 'node:fs';
import path from 'node:path';
import { createMetrics, type MetricsSource } from '../../../src/driver/metrics';
import { startMetricsServer } from '../../../src/driver/metrics-server';
import type { ProgramResult } from '../../../src/driver/node';
import { CalicoP4Error } from '../../../src/errors';

const source: MetricsSource = {
  now: () => 100,
  target: () => ({ kind: 'ready' }),
  targetLosses: () => 3,
  tables: () => [{ table: 'local', rows: 5, size: 1024 }],
  backlogBytes: () => 17,
  formCandidates: () => ['v3.32', 'v3.33'],
  unsupportedSettings: () => 2,
};

const failing: ProgramResult = {
  applied: {
    written: 3,
    inserted: 2,
    modified: 0,
    deleted: 1,
    closedBecause: '',
    failed: new Map([
      [
        'x',
        { row: { table: 'local', match: {}, action: 'to_pod', params: {} }, kind: 'refused', message: 'no' },
      ],
    ]),
    error: new CalicoP4Error('TARGET_TABLE_FULL', 'full'),
  },
  up: new Set(['a']),
  down: new Set(['b']),
  hostsUp: new Set(),
  hostsDown: new Set(),
  failures: [{ ep: 2, workload: 'b', policies: ['p', 'q'], reason: 'full' }],
  nodeFailures: [],
  problems: ['x'],
  nextHops: new Set(),
  notEnforced: [],
  seconds: 0.02,
};

test('docs/metrics.md lists every metric with its labels, and no other', async () => {
  const text = readFileSync(path.join(__dirname, '../../../docs/metrics.md'), 'utf8');
  const rows = [...text.matchAll(/^\| `(calico_p4_\w+)` \| (\w+) \| ([^|]*)\|/gm)];
  const documented = rows.map(([, name, type]) => `${name} ${type}`);
  const known = await createMetrics(source).registry.getMetricsAsJSON();
  const ours = known.filter(({ name }) => name.startsWith('calico_p4_'));
  expect(documented.sort()).toEqual(ours.map(({ name, type }) => `${name} ${String(type)}`).sort());
});

test('values are those of the moment, and what is over disappears', async () => {
  const metrics = createMetrics(source);
  metrics.message('policy');
  metrics.wrote(0.003, 500);
  metrics.programmed(failing);
  const before = await metrics.registry.metrics();
  for (const line of [
    'calico_p4_felix_messages_total{kind="policy"} 1',
    'calico_p4_felix_backlog_bytes 17',
    'calico_p4_felix_contract_form{form="v3.32"} 1',
    'calico_p4_felix_in_sync 0',
    'calico_p4_unsupported_settings 2',
    'calico_p4_target_losses_total 3',
    'calico_p4_target_primary 1',
    'calico_p4_target_write_updates_total 500',
    'calico_p4_rows_written_total{operation="insert"} 2',
    'calico_p4_table_capacity_rows{table="local"} 1024',
    'calico_p4_failed_rows{table="local"} 1',
    'calico_p4_endpoint_failed{workload="b",policy="q"} 1',
    'calico_p4_apply_failures_total{code="TARGET_TABLE_FULL"} 1',
  ]) {
    expect(before.split('\n')).toContain(line);
  }
  expect(before).not.toMatch(/^calico_p4_(felix_in_sync|apply)_age_seconds \d/m);

  metrics.inSync();
  metrics.programmed({
    ...failing,
    applied: { written: 0, inserted: 0, modified: 0, deleted: 0, closedBecause: '', failed: new Map() },
    failures: [],
  });
  const after = await metrics.registry.metrics();
  expect(after).not.toMatch(/^calico_p4_(endpoint_failed|failed_rows)\{/m);
  expect(after).toMatch(/^calico_p4_felix_in_sync_age_seconds 0$/m);
  expect(after).toMatch(/^calico_p4_apply_age_seconds 0$/m);
});

test('the server tells health by its status, and refuses what it does not know', async () => {
  const health = {
    ok: false,
    reasons: ['why'],
    failedEndpoints: [],
    notEnforced: [],
    unsupportedSettings: [],
  };
  const server = await startMetricsServer({
    listen: '127.0.0.1:0',
    registry: createMetrics(source).registry,
    liveness: () => ({ ...health, ok: true, reasons: [] }),
    readiness: () => health,
  });
  try {
    const get = (at: string, method = 'GET'): Promise<Response> =>
      fetch(`http://${server.address}${at}`, { method });
    expect((await get('/healthz')).status).toBe(200);
    const ready = await get('/readyz');
    expect([ready.status, await ready.json()]).toEqual([503, health]);
    expect((await get('/metrics')).headers.get('content-type')).toMatch(/^text\/plain/);
    expect((await get('/')).status).toBe(404);
    expect((await get('/metrics', 'POST')).status).toBe(405);
    await expect(
      startMetricsServer({
        listen: server.address,
        registry: createMetrics(source).registry,
        liveness: () => health,
        readiness: () => health,
      }),
    ).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringMatching(/EADDRINUSE/) as string,
    });
  } finally {
    server.close();
  }
});

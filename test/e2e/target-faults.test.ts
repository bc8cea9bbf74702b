/** A target that refuses rows: the endpoints concerned stay closed and are named, everything else goes on, and all is tried again. */
import { status } from '@grpc/grpc-js';
import type { Engine } from '../../src/p4switch/engine';
import { createInterpreter } from '../../src/p4switch/interpreter/interpreter';
import { Refusal } from '../../src/p4switch/server/refusal';
import { startSwitchServer, type SwitchServer } from '../../src/p4switch/server/server';
import type { TableOp } from '../../src/p4switch/engine';
import { rowsOnTarget, startFelixDriver, type FelixDriver } from './support/felix-driver';
import { stop, until } from './support/processes';
import { additionOf, podOf, removalOf, snapshotOf } from './support/small-node';

/** Refuses what `refuse` says, in the place of the engine. */
function faulty(engine: Engine, refuse: (op: TableOp, engine: Engine) => Refusal | undefined): Engine {
  return new Proxy(engine, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== 'function') return value;
      return (...args: unknown[]): unknown => {
        if (name === 'apply') {
          const refusal = refuse(args[0] as TableOp, target);
          if (refusal) throw refusal;
        }
        return Reflect.apply(value, target, args) as unknown;
      };
    },
  });
}

let refuse: (op: TableOp, engine: Engine) => Refusal | undefined = () => undefined;
let server: SwitchServer;
let driver: FelixDriver;
beforeEach(async () => {
  refuse = () => undefined;
  server = await startSwitchServer({
    address: '127.0.0.1:0',
    deviceId: 1n,
    createEngine: (spec) =>
      faulty(createInterpreter(spec, { now: () => performance.now() / 1000 }), (op, engine) =>
        refuse(op, engine),
      ),
  });
  driver = await startFelixDriver({ CALICO_P4_TARGET_ADDRESS: server.address });
});
afterEach(async () => {
  await stop(driver);
  await server.stop();
});

function rootsOf(rows: readonly string[]): number {
  // Those of pods.
  return rows.filter((row) => row.startsWith('endpoint_root|') && !row.includes('ep=0|')).length;
}

test('one address of 10,000 is refused: only the pod whose policy asks for it is closed, by name, until it is taken', async () => {
  const clients = Array.from({ length: 10_000 }, (_, i) => `10.9.${i >> 8}.${i & 255}`);
  const refused = 0xffff_0a09_1234n; // 10.9.18.52
  let asked = 0;
  refuse = (op) => {
    if (op.kind !== 'insert' || op.table !== 'addr_labels') return undefined;
    if (!op.entry.keys.some(({ value }) => value === refused)) return undefined;
    asked++;
    return new Refusal(status.INTERNAL, 'a bad cell');
  };
  driver.send(snapshotOf([podOf('a', clients), podOf('b')]));
  const said = await driver.untilReady(true);
  await until('statuses', () => driver.statuses().size === 2);
  expect(driver.statuses()).toEqual(
    new Map([
      ['default/cali-a', 'error'],
      ['default/cali-b', 'up'],
    ]),
  );
  expect(said.failedEndpoints).toEqual([
    {
      workload: 'k8s/default/cali-a/eth0',
      policies: ['NetworkPolicy/default/let-a'],
      reason: expect.stringMatching(/a bad cell/) as string,
    },
  ]);
  const rows = await rowsOnTarget(server.address);
  // 9,999 clients of a, the one of b, and both pods themselves where a rule tells them apart.
  expect(rows.filter((row) => row.startsWith('addr_labels|')).length).toBeGreaterThanOrEqual(9_999);
  expect(rootsOf(rows)).toBe(3); // a's egress asks for nobody, and stays

  const series = 'workload="k8s/default/cali-a/eth0",policy="NetworkPolicy/default/let-a"';
  const metrics = await driver.metrics();
  expect(metrics.get(`calico_p4_endpoint_failed{${series}}`)).toBe(1);
  expect(metrics.get('calico_p4_endpoints{state="up"}')).toBe(1);
  expect(metrics.get('calico_p4_endpoints{state="failed"}')).toBe(1);
  expect(metrics.get('calico_p4_failed_rows{table="addr_labels"}')).toBe(1);
  expect(driver.logged('endpoint is closed')).toMatchObject([
    { workload: 'k8s/default/cali-a/eth0', policies: ['NetworkPolicy/default/let-a'] },
  ]);

  // It is tried again, by itself and seldom; other pods come and go meanwhile.
  driver.send(additionOf(podOf('c')));
  await until('pod c', () => driver.statuses().get('default/cali-c') === 'up');
  const before = asked;
  await until('another try', () => asked > before, 10);
  expect(asked).toBeLessThan(20);

  refuse = () => undefined;
  await until('pod a', () => driver.statuses().get('default/cali-a') === 'up', 30);
  expect((await driver.health('readyz')).failedEndpoints).toEqual([]);
  expect(rootsOf(await rowsOnTarget(server.address))).toBe(6);
  expect(driver.logged('endpoint is open again')).toHaveLength(1);
});

test('a full table keeps out the pod that does not fit, and nobody else, until there is room', async () => {
  driver.send(snapshotOf([podOf('a'), podOf('b')]));
  await driver.untilReady(true);
  const full = 'step_src';
  const size = (await rowsOnTarget(server.address)).filter((row) => row.startsWith(`${full}|`)).length;
  expect(size).toBeGreaterThan(0);
  refuse = (op, engine) =>
    op.kind === 'insert' && op.table === full && engine.entryCount(full) >= size
      ? new Refusal(status.RESOURCE_EXHAUSTED, `table ${full} is full`)
      : undefined;
  const before = await rowsOnTarget(server.address);

  driver.send(additionOf(podOf('c', ['10.9.0.2'])));
  await until('pod c', () => driver.statuses().get('default/cali-c') === 'error');
  const after = await rowsOnTarget(server.address);
  for (const row of before) expect(after).toContain(row);
  expect([driver.statuses().get('default/cali-a'), driver.statuses().get('default/cali-b')]).toEqual([
    'up',
    'up',
  ]);
  expect((await driver.health('readyz')).ok).toBe(true);
  const metrics = await driver.metrics();
  expect(metrics.get('calico_p4_apply_failures_total{code="TARGET_TABLE_FULL"}')).toBeGreaterThan(0);
  expect(metrics.get(`calico_p4_table_rows{table="${full}"}`)).toBe(size);
  expect(driver.output().stderr).toContain(`table ${full} of embedded switch is full`);
  expect(driver.output().stderr).not.toContain('gates shut","reason":"a table has no room');

  driver.send(removalOf(podOf('a')));
  await until('pod c', () => driver.statuses().get('default/cali-c') === 'up', 30);
});

test('a row of the node itself that is refused: not ready, and it says which', async () => {
  refuse = (op) =>
    op.kind === 'insert' && op.table === 'default_route'
      ? new Refusal(status.INTERNAL, 'a bad cell')
      : undefined;
  driver.send(snapshotOf([podOf('a')]));
  await until('status', () => driver.statuses().get('default/cali-a') === 'up');
  const said = await driver.health('readyz');
  expect(said.status).toBe(503);
  expect(said.reasons.join()).toMatch(/default_route .*a bad cell/);
  expect((await driver.health('healthz')).status).toBe(200);
});

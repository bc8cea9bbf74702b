/** A target that comes late, is cut off, is restarted, or is taken by another controller: the driver goes on, Felix waits. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { P4Client } from '../../src/p4target/client';
import { clientOptions } from '../../src/p4target/client-options';
import { buildCatalogue } from '../../src/p4target/catalogue';
import { LiveRows } from '../../src/p4target/live-rows';
import { loadP4DpdkPipeline } from '../../src/p4target/p4-dpdk/adapter';
import { EMBEDDED_SWITCH } from '../../src/p4target/target-traits';
import { freePort, rowsOnTarget, startFelixDriver, type FelixDriver } from './support/felix-driver';
import { start, stop, until, type Running } from './support/processes';
import { additionOf, podOf, removalOf, snapshotOf } from './support/small-node';
import { startTcpProxy, type TcpProxy } from './support/tcp-proxy';

const folder = mkdtempSync(path.join(tmpdir(), 'calico-p4-away-'));
const [a, b, c] = [podOf('a'), podOf('b'), podOf('c')];

const running: Running[] = [];
let proxy: TcpProxy | undefined;
afterEach(async () => {
  await proxy?.stop();
  proxy = undefined;
  for (const process of running.splice(0).reverse()) await stop(process);
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

async function startSwitch(address: string): Promise<Running> {
  const process = start('calico-p4', ['switch', '--engine', 'interpreter', '--listen', address]);
  running.push(process);
  await until('the switch', () => process.output().stdout.includes('P4Runtime at'));
  return process;
}

async function startDriver(env: Readonly<Record<string, string>>): Promise<FelixDriver> {
  const driver = await startFelixDriver(env);
  running.push(driver);
  return driver;
}

test('a target that comes after Felix is waited for, and then gets all', async () => {
  const address = `unix:${path.join(folder, 'late.sock')}`;
  const driver = await startDriver({ CALICO_P4_TARGET_ADDRESS: address });
  driver.send(snapshotOf([a, b]));
  const said = await driver.untilReady(false);
  expect(said.reasons.join()).toMatch(/target is not connected/);
  const beats = driver.heartbeats();
  await until('heartbeats while there is no target', () => driver.heartbeats() > beats + 1);
  expect(driver.statuses().size).toBe(0);
  expect((await driver.health('healthz')).status).toBe(200);

  await startSwitch(address);
  await driver.untilReady(true);
  expect(driver.statuses()).toEqual(
    new Map([
      ['default/cali-a', 'up'],
      ['default/cali-b', 'up'],
    ]),
  );
  const metrics = await driver.metrics();
  expect(metrics.get('calico_p4_target_primary')).toBe(1);
  // The two pods, and the node's own two addresses.
  expect(metrics.get('calico_p4_table_rows{table="local"}')).toBe(4);
});

test('a connection that is cut is opened again, and what Felix said meanwhile is done', async () => {
  const port = await freePort();
  await startSwitch(`127.0.0.1:${port}`);
  proxy = await startTcpProxy({ host: '127.0.0.1', port });
  const driver = await startDriver({ CALICO_P4_TARGET_ADDRESS: proxy.address });
  driver.send(snapshotOf([a, b]));
  await driver.untilReady(true);
  const before = await rowsOnTarget(`127.0.0.1:${port}`);

  // Idle, and nothing new: not a row is written.
  proxy.cut();
  await driver.untilReady(false);
  proxy.restore();
  await driver.untilReady(true);
  expect(await rowsOnTarget(`127.0.0.1:${port}`)).toEqual(before);
  expect(driver.logged('target written')).toHaveLength(1);
  expect(driver.logged('pipeline set')).toHaveLength(1);
  expect((await driver.metrics()).get('calico_p4_target_losses_total')).toBe(1);

  proxy.cut();
  await driver.untilReady(false);
  driver.send([...removalOf(b), ...additionOf(c)]);
  await new Promise((resolve) => setTimeout(resolve, 300));
  expect(driver.statuses().get('default/cali-c')).toBeUndefined();
  expect(await rowsOnTarget(`127.0.0.1:${port}`)).toEqual(before);
  proxy.restore();
  await driver.untilReady(true);
  expect([...driver.statuses()].sort()).toEqual([
    ['default/cali-a', 'up'],
    ['default/cali-b', 'removed'],
    ['default/cali-c', 'up'],
  ]);
  expect(driver.child.exitCode).toBeNull();
});

test('a switch that is killed and comes back empty gets its pipeline and every row again', async () => {
  const address = `unix:${path.join(folder, 'killed.sock')}`;
  const first = await startSwitch(address);
  const driver = await startDriver({ CALICO_P4_TARGET_ADDRESS: address });
  driver.send(snapshotOf([a, b]));
  await driver.untilReady(true);
  const before = await rowsOnTarget(address);

  first.child.kill('SIGKILL');
  await first.ended;
  expect((await driver.untilReady(false)).reasons.join()).toMatch(/target is not connected/);
  await startSwitch(address);
  await driver.untilReady(true);
  expect(await rowsOnTarget(address)).toEqual(before);
  expect(driver.logged('pipeline set')).toHaveLength(2);
});

test('a backup controller takes over and gives back: nothing is written meanwhile, everything is put right after', async () => {
  const address = `unix:${path.join(folder, 'backup.sock')}`;
  await startSwitch(address);
  const driver = await startDriver({ CALICO_P4_TARGET_ADDRESS: address });
  driver.send(snapshotOf([a, b]));
  await driver.untilReady(true);
  const before = await rowsOnTarget(address);

  const backup = await P4Client.connect(clientOptions({ address, electionId: { high: 0n, low: 7n } }));
  const said = await driver.untilReady(false);
  await until('standby', () => driver.logged('target standby').length > 0);
  expect(said.ok).toBe(false);
  expect((await driver.metrics()).get('calico_p4_target_primary')).toBe(0);

  // The backup leaves its marks: a row of ours less, one of its own more.
  const rows = new LiveRows(backup, buildCatalogue(loadP4DpdkPipeline().p4info), EMBEDDED_SWITCH);
  const [root] = await rows.readTable('endpoint_root');
  const exact = (value: bigint) => ({ kind: 'exact', value }) as const;
  const outcomes = await rows.write([
    { type: 'delete', row: root! },
    {
      type: 'insert',
      row: {
        table: 'local',
        match: { hi: exact(0n), lo: exact(0xffff_0a0a_0a0an) },
        action: 'to_pod',
        params: { port: 9n, ep: 1n, dst: 4n, src: 2n, mtu: 1500n, limit: 0n },
      },
    },
  ]);
  expect(outcomes).toEqual([{ ok: true }, { ok: true }]);
  const marked = await rowsOnTarget(address);
  driver.send(additionOf(c));
  await new Promise((resolve) => setTimeout(resolve, 1000));
  expect(await rowsOnTarget(address)).toEqual(marked);
  expect(driver.child.exitCode).toBeNull();

  backup.close();
  await driver.untilReady(true);
  await until('the new pod', () => driver.statuses().get('default/cali-c') === 'up');
  const after = await rowsOnTarget(address);
  expect(after.filter((row) => row.startsWith('local'))).toHaveLength(5);
  // The backup had endpoint 1 deliver to an address that is not pod a's: pod a goes on under a new number.
  expect(after.filter((row) => row.includes('to_pod')).some((row) => row.includes('ep=1,'))).toBe(false);
  const rootsOfPods = (rows: readonly string[]): readonly string[] =>
    rows.filter((row) => row.startsWith('endpoint_root|') && !row.includes('ep=0|'));
  expect(rootsOfPods(after)).toHaveLength(6);
  expect(rootsOfPods(before)).toHaveLength(4);

  // And once more, with nothing done to the tables: nothing to write.
  const writes = driver.logged('target written').length;
  const again = await P4Client.connect(clientOptions({ address, electionId: { high: 0n, low: 9n } }));
  await driver.untilReady(false);
  again.close();
  await driver.untilReady(true);
  expect(driver.logged('target written')).toHaveLength(writes);
  expect((await driver.metrics()).get('calico_p4_target_losses_total')).toBe(2);
});

test('Felix goes away while the target is away: the driver ends', async () => {
  const driver = await startDriver({ CALICO_P4_TARGET_ADDRESS: `unix:${path.join(folder, 'nobody.sock')}` });
  driver.send(snapshotOf([a]));
  await driver.untilReady(false);
  driver.child.stdio[4]!.destroy();
  (driver.child.stdio[3] as NodeJS.WritableStream).end();
  expect(await driver.ended).toBe(1);
  expect(driver.output().stderr).toMatch(/\[FELIX_LINK_CLOSED\]/);
});

test('SIGTERM while the target is away ends the driver quietly', async () => {
  const driver = await startDriver({ CALICO_P4_TARGET_ADDRESS: `unix:${path.join(folder, 'nobody.sock')}` });
  driver.send(snapshotOf([a]));
  await driver.untilReady(false);
  driver.child.kill('SIGTERM');
  expect(await driver.ended).toBe(0);
});

/** Felix's settings as the driver takes them: what is honoured changes rows, what is not is logged once and stands in status. */
import { createInterpreter } from '../../src/p4switch/interpreter/interpreter';
import { startSwitchServer, type SwitchServer } from '../../src/p4switch/server/server';
import type { Health } from '../../src/driver/health';
import { configPayload } from '../../src/lab/felix-frames';
import type { Payload } from '../support/felix-stream';
import { freePort, rowsOnTarget, startFelixDriver, type FelixDriver } from './support/felix-driver';
import { stop, until } from './support/processes';
import { podOf, snapshotOf } from './support/small-node';

let server: SwitchServer | undefined;
let driver: FelixDriver;
afterEach(async () => {
  await stop(driver);
  await server?.stop();
  server = undefined;
});

const NODE = { FelixHostname: 'node-a' };

function settings(values: Readonly<Record<string, string>>): Payload {
  return configPayload(new Map(Object.entries({ ...NODE, ...values })));
}

/** Frames of a node with one pod, up to InSync. */
function snapshot(values: Readonly<Record<string, string>>): readonly Payload[] {
  const rest = snapshotOf([podOf('a')]).filter((payload) => !('configUpdate' in payload));
  const host: Payload = {
    hostMetadataUpdate: { hostname: 'node-a', ipv4Addr: '10.1.0.10/24', ipv6Addr: '' },
  };
  return [settings(values), host, ...rest];
}

const named = ({ unsupportedSettings }: Health): readonly string[] =>
  unsupportedSettings.map(({ name, value }) => (value === undefined ? name : `${name}=${value}`));

const warned = (): readonly unknown[] =>
  driver
    .logged('a setting of Felix is not honoured')
    .map(({ level, setting }) => `${String(level)} ${String(setting)}`);

test('they come and go, and each is said once', async () => {
  server = await startSwitchServer({
    address: '127.0.0.1:0',
    deviceId: 1n,
    createEngine: (spec) => createInterpreter(spec, { now: () => performance.now() / 1000 }),
  });
  const { address } = server;
  driver = await startFelixDriver({ CALICO_P4_TARGET_ADDRESS: address });
  driver.send(snapshot({ WireguardEnabled: 'true', NewerThanUs: 'x', HealthPort: '9098' }));
  const written = (times: number): Promise<void> =>
    until('a write', () => driver.logged('target written').length === times);
  const said = await driver.untilReady(true);
  await written(1);
  expect(named(said)).toEqual(['NewerThanUs', 'WireguardEnabled=true']);
  expect(warned()).toEqual(['warn NewerThanUs', 'warn WireguardEnabled']);
  expect((await driver.metrics()).get('calico_p4_unsupported_settings')).toBe(2);
  const toHost = async (): Promise<string | undefined> =>
    (await rowsOnTarget(address)).find((row) => row.startsWith('local') && row.includes('to_host'));
  expect(await toHost()).toMatch(/from_pods=0,/);

  driver.send([settings({ WireguardEnabled: 'true', DefaultEndpointToHostAction: 'Accept' })]);
  await written(2);
  expect(await toHost()).toMatch(/from_pods=1,/);
  expect(named(await driver.health('readyz'))).toEqual(['WireguardEnabled=true']);
  expect(warned()).toHaveLength(2);

  // What Felix would never pass on is taken the closed way.
  driver.send([settings({ DefaultEndpointToHostAction: 'sometimes' })]);
  await written(3);
  expect(await toHost()).toMatch(/from_pods=0,/);
  expect(named(await driver.health('readyz'))).toEqual([]);
  expect((await driver.metrics()).get('calico_p4_unsupported_settings')).toBe(0);
  expect(driver.logged('closed instead of done').map(({ problem }) => problem)).toEqual([
    expect.stringMatching(/DefaultEndpointToHostAction: "sometimes".*taken as drop/),
  ]);
});

test('they are known while there is no target yet', async () => {
  driver = await startFelixDriver({ CALICO_P4_TARGET_ADDRESS: `127.0.0.1:${await freePort()}` });
  driver.send([settings({ IptablesFilterDenyAction: 'Reject' })]);
  await until('the warning', () => warned().length > 0);
  const said = await driver.health('readyz');
  expect([said.ok, named(said)]).toEqual([false, ['IptablesFilterDenyAction=Reject']]);
});

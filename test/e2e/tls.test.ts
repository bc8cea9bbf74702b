/** TLS and mutual TLS between driver and switch, as processes, with certificates that the test makes. */
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { makeCertificates, type Certificates } from './support/certificates';
import { freePort, startFelixDriver, type FelixDriver } from './support/felix-driver';
import { run, start, stop, until, type Running } from './support/processes';
import { podOf, snapshotOf } from './support/small-node';

const folder = mkdtempSync(path.join(tmpdir(), 'calico-p4-tls-'));
const first = makeCertificates(path.join(folder, 'first'));
const second = makeCertificates(path.join(folder, 'second'));
const running: Running[] = [];
afterEach(async () => {
  for (const process of running.splice(0).reverse()) await stop(process);
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

async function startSwitch(address: string, { ca, server }: Certificates, mutual: boolean): Promise<Running> {
  const tls = [
    '--tls-cert',
    server.cert,
    '--tls-key',
    server.key,
    ...(mutual ? ['--tls-client-ca', ca] : []),
  ];
  const process = start('calico-p4', ['switch', '--engine', 'interpreter', '--listen', address, ...tls]);
  running.push(process);
  await until('the switch', () => process.output().stdout.includes('P4Runtime at'));
  return process;
}

async function startDriver(address: string, tls: Readonly<Record<string, string>>): Promise<FelixDriver> {
  const env = Object.fromEntries(
    Object.entries(tls).map(([file, name]) => [`CALICO_P4_TARGET_TLS_${file.toUpperCase()}`, name]),
  );
  const driver = await startFelixDriver({ CALICO_P4_TARGET_ADDRESS: address, ...env });
  running.push(driver);
  driver.send(snapshotOf([podOf('a')]));
  return driver;
}

test('TLS: a server of another authority is not trusted, one of the right authority is', async () => {
  const address = `127.0.0.1:${await freePort()}`;
  await startSwitch(address, first, false);
  const stranger = await startDriver(address, { ca: second.ca });
  await until('the refusal', () => stranger.logged('target connecting').length > 0, 30);
  expect(stranger.logged('target connecting')[0]!['reason']).toMatch(/certificate.*\[TARGET_UNREACHABLE\]/i);
  expect(stranger.statuses().size).toBe(0);
  const driver = await startDriver(address, { ca: first.ca });
  await driver.untilReady(true);
});

test('mutual TLS: certificates are replaced while the driver runs, and the next connection uses the new ones', async () => {
  const address = `127.0.0.1:${await freePort()}`;
  const used = path.join(folder, 'used');
  mkdirSync(used);
  const mine = { ca: path.join(used, 'ca'), cert: path.join(used, 'cert'), key: path.join(used, 'key') };
  const install = ({ ca, client }: Certificates): void => {
    copyFileSync(ca, mine.ca);
    copyFileSync(client.cert, mine.cert);
    copyFileSync(client.key, mine.key);
  };
  install(first);
  const before = await startSwitch(address, first, true);
  const driver = await startDriver(address, mine);
  await driver.untilReady(true);

  // A file that is only half there when the connection is opened again is no reason to end.
  await stop(before);
  writeFileSync(mine.cert, 'half a certif');
  await driver.untilReady(false);
  await startSwitch(address, second, true);
  await new Promise((resolve) => setTimeout(resolve, 1500));
  expect(driver.child.exitCode).toBeNull();
  install(second);
  await driver.untilReady(true);
});

test('mutual TLS: a controller without a certificate is kept out', async () => {
  const address = `127.0.0.1:${await freePort()}`;
  await startSwitch(address, first, true);
  const driver = await startDriver(address, { ca: first.ca });
  await until('the refusal', () => driver.logged('target connecting').length > 0, 30);
  expect((await driver.health('readyz')).ok).toBe(false);
  expect(driver.statuses().size).toBe(0);
});

test('files that are not there are said by name', async () => {
  const none = path.join(folder, 'none.pem');
  const driver = await startDriver('127.0.0.1:1', { ca: none });
  expect(await driver.ended).toBe(2);
  expect(driver.output().stderr).toMatch(/target TLS: can not read .*none\.pem.*\[CONFIG_INVALID\]/);
  const { code, stderr } = await run('calico-p4', [
    'switch',
    '--engine',
    'interpreter',
    '--tls-cert',
    none,
    '--tls-key',
    none,
  ]);
  expect(code).toBe(2);
  expect(stderr).toMatch(/--tls-cert: can not read .*none\.pem.*\[USAGE\]/);
});

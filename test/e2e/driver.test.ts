/** The driver as Felix starts it, with descriptors 3 and 4, against `calico-p4 switch` in another process. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { createFrameDecoder } from '../../src/driver/felix/frame-decoder';
import { ROOT, run, start, stop, until, type Running } from './support/processes';
import { decodeFromDataplane } from '../support/from-dataplane';

const RECORDING = path.join(ROOT, 'test/recordings/02-policy.bin');
const folder = mkdtempSync(path.join(tmpdir(), 'calico-p4-driver-'));
const socket = `unix:${path.join(folder, 'p4rt.sock')}`;
const names = path.join(folder, 'names.json');
const env = {
  CALICO_P4_TARGET_ADDRESS: socket,
  // As replay has it.
  CALICO_P4_INTERFACES_UPLINK: 'eth0',
  CALICO_P4_NAMES_FILE: names,
  CALICO_P4_JOURNAL_FILE: '',
  CALICO_P4_METRICS_LISTEN: '',
  CALICO_P4_LOG_LEVEL: 'info',
};

let embeddedSwitch: Running;
beforeAll(async () => {
  embeddedSwitch = start('calico-p4', ['switch', '--engine', 'interpreter', '--listen', socket]);
  await until('the switch', () => embeddedSwitch.output().stdout.includes('P4Runtime at'));
});
afterAll(async () => {
  await stop(embeddedSwitch);
  rmSync(folder, { recursive: true, force: true });
});

interface Driver extends Running {
  readonly toDriver: Writable;
  readonly statuses: {
    readonly kind: string;
    readonly sequence: number;
    readonly workload?: string;
    readonly status?: string;
  }[];
}

const drivers: Running[] = [];
afterEach(async () => {
  for (const driver of drivers.splice(0)) await stop(driver);
});

function startDriver(): Driver {
  const driver = start('calico-p4-felix-driver', [], {
    stdio: ['ignore', 'pipe', 'pipe', 'pipe', 'pipe'],
    env,
  });
  drivers.push(driver);
  const statuses: Driver['statuses'] = [];
  const decoder = createFrameDecoder();
  (driver.child.stdio[4] as Readable).on('data', (chunk: Uint8Array) => {
    for (const message of decoder.push(chunk)) statuses.push(decodeFromDataplane(message));
  });
  const toDriver = driver.child.stdio[3] as Writable;
  toDriver.on('error', () => undefined);
  return { ...driver, toDriver, statuses };
}

async function rowsOf(args: readonly string[]): Promise<string[]> {
  const { code, stdout } = await run('calico-p4', ['tables', '--json', ...args]);
  expect(code).toBe(0);
  return stdout.trim().split('\n').sort();
}

test('the driver does what replay does, reports its endpoints, and the target outlives it', async () => {
  const driver = startDriver();
  driver.toDriver.write(readFileSync(RECORDING));
  await until(
    'statuses of the endpoints',
    () => driver.statuses.filter((s) => s.kind === 'workload').length >= 3,
  );
  await until('a heartbeat', () => driver.statuses.some((s) => s.kind === 'process'));

  const live = ['--target', socket, '--names', names];
  const replayed = await rowsOf(['--stream', RECORDING]);
  expect(await rowsOf(live)).toEqual(replayed);

  const counters = await run('calico-p4', ['tables', '--counters', ...live]);
  expect(counters.code).toBe(0);
  const packet = [
    '--from',
    'uplink',
    '--src',
    '10.65.1.11',
    '--dst',
    '10.65.0.40',
    '--proto',
    'tcp',
    '--dport',
    '22',
  ];
  const [onLive, onStream] = await Promise.all([
    run('calico-p4', ['trace', ...live, ...packet]),
    run('calico-p4', ['trace', '--stream', RECORDING, ...packet]),
  ]);
  expect(onLive.stdout).toEqual(onStream.stdout);
  expect(onLive.stdout).toMatch(/^(ALLOWED|DENIED)/m);

  // Felix goes away: the driver ends with an error, and policy stays in force.
  driver.toDriver.end();
  expect(await driver.ended).toBe(1);
  expect(driver.output().stderr).toMatch(/^calico-p4: .*\[FELIX_LINK_CLOSED\]$/m);
  expect(await rowsOf(live)).toEqual(replayed);

  expect(driver.statuses.map((s) => s.sequence)).toEqual(driver.statuses.map((_, i) => i));
  expect(driver.statuses.filter((s) => s.kind === 'workload').map((s) => s.status)).toEqual([
    'up',
    'up',
    'up',
  ]);
});

test('the same Felix again: not one row is written', async () => {
  const before = startDriver();
  before.toDriver.end(readFileSync(RECORDING));
  await before.ended;
  const driver = startDriver();
  driver.toDriver.end(readFileSync(RECORDING));
  expect(await driver.ended).toBe(1);
  expect(driver.output().stderr).not.toContain('target written');
});

test.each([
  ['garbage', Buffer.from('this is no Felix stream at all, is it?'), /FELIX_/],
  ['a frame that is cut', readFileSync(RECORDING).subarray(0, 1000), /FELIX_STREAM_TRUNCATED/],
  ['a frame of 2^60 bytes', Buffer.from([0, 0, 0, 0, 0, 0, 0, 16]), /FELIX_FRAME_TOO_LARGE/],
  ['nothing', Buffer.alloc(0), /FELIX_LINK_CLOSED/],
])('%s on descriptor 3 is a clear error', async (_, bytes, code) => {
  const driver = startDriver();
  driver.toDriver.end(bytes);
  expect(await driver.ended).toBe(1);
  const lines = driver.output().stderr.trim().split('\n');
  expect(lines.at(-1)).toMatch(/^calico-p4: /);
  expect(lines.at(-1)).toMatch(code);
});

test('without descriptors 3 and 4 it says how to give them', async () => {
  const { code, stderr } = await run('calico-p4', ['driver'], env);
  expect(code).toBe(2);
  expect(stderr).toMatch(/^calico-p4: file descriptor 3 was not given: .*3<STREAM 4>ANSWERS.*\[USAGE\]$/m);
});

test('SIGTERM ends the driver quietly', async () => {
  const driver = startDriver();
  driver.toDriver.write(readFileSync(RECORDING));
  await until('statuses', () => driver.statuses.length > 0);
  driver.child.kill('SIGTERM');
  expect(await driver.ended).toBe(0);
});

test('a target that is not there is said with its address', async () => {
  const { code, stderr } = await run('calico-p4', ['tables', '--target', `unix:${folder}/none.sock`]);
  expect(code).toBe(1);
  expect(stderr).toMatch(/none\.sock.*\[TARGET_UNREACHABLE\]/);
});

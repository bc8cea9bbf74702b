/** The driver process, `calico-p4 switch`, and streams of every form and of none. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { framesOf, recording, RELEASES } from '../unit/driver/felix/recordings';
import { felixStream, rawFrame, renumbered } from '../unit/driver/felix/streams';
import { ROOT, run, start, stop, until, type Running } from './support/processes';

const folder = mkdtempSync(path.join(tmpdir(), 'calico-p4-forms-'));
const socket = `unix:${path.join(folder, 'p4rt.sock')}`;
const names = path.join(folder, 'names.json');
const live = ['--target', socket, '--names', names];
const env = {
  CALICO_P4_TARGET_ADDRESS: socket,
  CALICO_P4_NAMES_FILE: names,
  CALICO_P4_JOURNAL_FILE: '',
  CALICO_P4_LOG_LEVEL: 'info',
  CALICO_P4_METRICS_LISTEN: '',
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

function startDriver(): Running & { readonly toDriver: Writable } {
  const driver = start('calico-p4-felix-driver', [], {
    stdio: ['ignore', 'pipe', 'pipe', 'pipe', 'pipe'],
    env,
  });
  (driver.child.stdio[4] as Readable).resume();
  const toDriver = driver.child.stdio[3] as Writable;
  toDriver.on('error', () => undefined);
  return { ...driver, toDriver };
}

async function rowsOf(args: readonly string[]): Promise<string[]> {
  const { code, stdout, stderr } = await run('calico-p4', ['tables', '--json', ...args]);
  // The recordings' pool has natOutgoing, and nothing here has a kernel that could do it.
  const rest = stderr.split('\n').filter((line) => !line.includes('natOutgoing: nobody translates'));
  expect({ code, stderr: rest.join('\n') }).toEqual({ code: 0, stderr: '' });
  return stdout.trim().split('\n').sort();
}

/** Sends all of it, closes the pipe, and gives what the driver says of it. */
async function refusal(stream: Uint8Array): Promise<string> {
  const driver = startDriver();
  driver.toDriver.end(stream);
  expect(await driver.ended).toBe(1);
  const { stderr } = driver.output();
  expect(stderr).not.toContain('target written');
  return stderr.split('\n').find((line) => line.startsWith('calico-p4: ')) ?? stderr;
}

test.each(RELEASES)('a stream of Calico %s is enforced as replay enforces it', async (release) => {
  const file = path.join(ROOT, 'test/recordings', `release-${release}.bin`);
  const driver = startDriver();
  driver.toDriver.end(recording(`release-${release}`));
  expect(await driver.ended).toBe(1);
  expect(driver.output().stderr).toMatch(/^calico-p4: .*\[FELIX_LINK_CLOSED\]$/m);
  expect((await rowsOf(live)).length).toBe((await rowsOf(['--stream', file])).length);
});

describe('refused, with nothing enforced and what was there kept', () => {
  const newest = framesOf(recording('release-3.33.0-pre'));
  let before: string[];
  beforeAll(async () => {
    const driver = startDriver();
    driver.toDriver.end(Buffer.concat(newest));
    await driver.ended;
    before = await rowsOf(live);
    expect(before.length).toBeGreaterThan(50);
  });
  afterEach(async () => {
    expect(await rowsOf(live)).toEqual(before);
  });

  test.each(RELEASES.filter(([release]) => release !== '3.33.0-pre'))(
    'a snapshot that begins as %s and goes on as 3.33',
    async (release) => {
      const first = framesOf(recording(`release-${release}`)).slice(0, 80);
      expect(await refusal(Buffer.concat([...first, ...renumbered(newest, 80)]))).toMatch(
        /^calico-p4: frame \d+ of the Felix stream .*\[FELIX_FORM_(CHANGED|UNKNOWN)\]$/,
      );
    },
  );

  test.each([
    [
      'a policy id of no release',
      felixStream('v3.33', [{ configUpdate: {} }, { activePolicyUpdate: { id: { name: 'x' }, policy: {} } }]),
    ],
    [
      'a tier that lists its policies by something else',
      felixStream('v3.33', [
        { configUpdate: {} },
        {
          hostEndpointUpdate: {
            id: { endpointId: 'e' },
            endpoint: { tiers: [{ ingressPolicies: [{ name: 'x' }] }] },
          },
        },
      ]),
    ],
  ])('%s', async (_, stream) => {
    expect(await refusal(stream)).toMatch(/\[FELIX_FORM_UNKNOWN\]$/);
  });

  test('a payload that no release has', async () => {
    const stream = Buffer.concat([
      felixStream('v3.33', [{ configUpdate: {} }]),
      rawFrame(1, Buffer.from([0x82, 0x06, 0])),
    ]);
    expect(await refusal(stream)).toMatch(/\[FELIX_MESSAGE_INVALID\]$/);
  });

  test('a change after InSync: what came with it is not enforced either', async () => {
    const driver = startDriver();
    driver.toDriver.write(Buffer.concat(newest));
    await until('the snapshot', () => driver.output().stderr.includes('in sync with Felix'));
    // A policy that opens everything, in the form of 3.30, with the frame of 3.33 that takes an endpoint away before it.
    const workload = { orchestratorId: 'k8s', workloadId: 'shop/db-0', endpointId: 'eth0' };
    const changed = [
      felixStream('v3.33', [{ workloadEndpointRemove: { id: workload } }], newest.length),
      felixStream(
        'v3.30',
        [
          {
            activePolicyUpdate: {
              id: { tier: 'default', name: 'default.x' },
              policy: { inboundRules: [{ action: 'allow' }] },
            },
          },
        ],
        newest.length + 1,
      ),
    ];
    driver.toDriver.end(Buffer.concat(changed));
    expect(await driver.ended).toBe(1);
    expect(driver.output().stderr).toMatch(/\[FELIX_FORM_CHANGED\]/);
  });
});

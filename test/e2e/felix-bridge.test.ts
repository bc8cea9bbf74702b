/** The program that Felix starts inside calico-node (native/felix-bridge), as a process, with the test and with the real driver on its ends. */
import { spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Readable, Writable } from 'node:stream';
import {
  BRIDGE,
  buildBridge,
  rowsOnTarget,
  startBridge,
  startSocketDriver,
  type DriverProcess,
  type FelixEnd,
} from './support/felix-driver';
import { spawnRunning, start, stop, until, type Running } from './support/processes';
import { additionOf, podOf, snapshotOf } from './support/small-node';

const folder = mkdtempSync(path.join(tmpdir(), 'calico-p4-bridge-'));
/** Seconds, of a machine that has much else to do: processes of ours start in one. */
const PATIENCE = 60;
const running: Running[] = [];
const servers: Server[] = [];

beforeAll(buildBridge, 60_000);
afterEach(async () => {
  for (const server of servers.splice(0)) server.close();
  for (const process of running.splice(0).reverse()) await stop(process);
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** Half-closed sockets stay open in the other direction. */
async function driverAt(file: string): Promise<{ readonly next: () => Promise<Socket> }> {
  const server = createServer({ allowHalfOpen: true });
  servers.push(server);
  server.listen(file);
  await once(server, 'listening');
  return { next: async () => ((await once(server, 'connection')) as [Socket])[0] };
}

/** Gone from the outside: what Felix has of the bridge. */
interface Bridge extends Running {
  readonly fromFelix: Writable;
  readonly toFelix: Readable;
}

function bridgeTo(file: string): Bridge {
  const bridge = spawnRunning(BRIDGE, [], {
    stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'pipe'],
    env: { CALICO_P4_FELIX_SOCKET: file },
  });
  running.push(bridge);
  const [, , , fromFelix, toFelix] = bridge.child.stdio;
  for (const stream of [fromFelix, toFelix]) stream!.on('error', () => undefined);
  return { ...bridge, fromFelix: fromFelix as Writable, toFelix: toFelix as Readable };
}

const said = (bridge: Running): string[] => bridge.output().stderr.trimEnd().split('\n');
const sha = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

async function shaOf(stream: Readable): Promise<string> {
  // Iterating would close the other direction at the end.
  const hash = createHash('sha256');
  stream.on('data', (chunk: Buffer) => hash.update(chunk));
  await once(stream, 'end');
  return hash.digest('hex');
}

test('much data goes both ways at once, and the driver still answers after Felix has said its last word', async () => {
  const file = path.join(folder, 'volume');
  const driver = await driverAt(file);
  const bridge = bridgeTo(file);
  const socket = await driver.next();
  const [down, up] = [randomBytes(48 << 20), randomBytes(48 << 20)];
  const atDriver = shaOf(socket);
  const atFelix = shaOf(bridge.toFelix);
  bridge.fromFelix.end(down);
  socket.write(up);
  expect(await atDriver).toBe(sha(down));
  socket.end('last words');
  expect(await atFelix).toBe(sha(Buffer.concat([up, Buffer.from('last words')])));
  expect(await bridge.ended).toBe(0);
  expect(said(bridge)).toEqual([
    `calico-p4-felix-bridge: joined to the driver at ${file}`,
    'calico-p4-felix-bridge: Felix has ended',
  ]);
}, 60_000);

test('over pipes as Felix makes them', async () => {
  const file = path.join(folder, 'pipes');
  const driver = await driverAt(file);
  const input = path.join(folder, 'pipes.in');
  const output = path.join(folder, 'pipes.out');
  writeFileSync(input, randomBytes(8 << 20));
  const script = `cat "$2" | "$0" "$1" 3<&0 4>&1 2>/dev/null | cat > "$3"`;
  const felix = spawnRunning('bash', ['-o', 'pipefail', '-c', script, BRIDGE, file, input, output]);
  running.push(felix);
  const socket = await driver.next();
  socket.pipe(socket);
  expect(await felix.ended).toBe(0);
  expect(sha(readFileSync(output))).toBe(sha(readFileSync(input)));
}, 60_000);

test('a driver that comes late is waited for, with one line', async () => {
  const file = path.join(folder, 'late');
  const bridge = bridgeTo(file);
  bridge.fromFelix.write('from the start');
  await until('the line', () => said(bridge)[0] !== '');
  await new Promise((resolve) => setTimeout(resolve, 1000));
  expect(said(bridge)).toHaveLength(1);
  expect(said(bridge)[0]).toMatch(/waiting for the driver at .*late \(No such file or directory\)/);
  const driver = await driverAt(file);
  const socket = await driver.next();
  const [bytes] = (await once(socket, 'data')) as [Buffer];
  expect(bytes.toString()).toBe('from the start');
  expect(said(bridge)).toHaveLength(2);
});

test.each(['Felix', 'SIGTERM'])('%s ends it while it waits for the driver', async (who) => {
  const bridge = bridgeTo(path.join(folder, 'nobody'));
  await until('the line', () => said(bridge)[0] !== '');
  if (who === 'Felix') bridge.fromFelix.end();
  else bridge.child.kill('SIGTERM');
  if (who === 'Felix') bridge.toFelix.destroy();
  expect(await bridge.ended).toBe(0);
});

test('a driver that dies ends it, after what the driver said last', async () => {
  const file = path.join(folder, 'dies');
  const driver = await driverAt(file);
  const bridge = bridgeTo(file);
  const socket = await driver.next();
  socket.end('goodbye');
  socket.destroySoon();
  const [bytes] = (await once(bridge.toFelix, 'data')) as [Buffer];
  expect(bytes.toString()).toBe('goodbye');
  expect(await bridge.ended).toBe(1);
  expect(said(bridge)[1]).toMatch(/the driver has closed the link/);
});

test('one that dies with data on its way to it ends it too', async () => {
  const file = path.join(folder, 'reset');
  const driver = await driverAt(file);
  const bridge = bridgeTo(file);
  const socket = await driver.next();
  socket.pause();
  bridge.fromFelix.write(randomBytes(4 << 20));
  await new Promise((resolve) => setTimeout(resolve, 200));
  socket.destroy();
  expect(await bridge.ended).toBe(1);
});

test('Felix that dies, and SIGTERM, end it and the link; who does not read makes the other wait, and no memory grows', async () => {
  const file = path.join(folder, 'slow');
  const driver = await driverAt(file);
  for (const end of ['Felix', 'SIGTERM']) {
    const bridge = bridgeTo(file);
    const socket = await driver.next();
    socket.pause();
    bridge.fromFelix.write(randomBytes(16 << 20));
    await new Promise((resolve) => setTimeout(resolve, 200));
    const memory = /VmRSS:\s+(\d+) kB/.exec(
      readFileSync(`/proc/${String(bridge.child.pid)}/status`, 'utf8'),
    )![1]!;
    expect(Number(memory)).toBeLessThan(4096);
    if (end === 'SIGTERM') bridge.child.kill('SIGTERM');
    else {
      bridge.fromFelix.destroy();
      bridge.toFelix.destroy();
    }
    socket.resume();
    await once(socket, 'end');
    socket.end();
    expect(await bridge.ended).toBe(0);
  }
});

test.each([
  [['--help'], [3, 4]],
  [
    ['a', 'b'],
    [3, 4],
  ],
  [['x'.repeat(200)], [3, 4]],
  [['/somewhere'], [3]],
] as const)('%j with descriptors %j says what is wrong', (args, descriptors) => {
  const redirections = descriptors.map((n) => `${n}<>/dev/null`).join(' ');
  const { status, stderr } = spawnSync('bash', ['-c', `"$0" "$@" ${redirections}`, BRIDGE, ...args], {
    encoding: 'utf8',
  });
  expect(status).toBe(2);
  expect(stderr).toMatch(/usage|descriptors 3 and 4 are not open/);
});

describe('with the real driver and the embedded switch', () => {
  const [a, b, c] = [podOf('a'), podOf('b'), podOf('c')];
  const target = `unix:${path.join(folder, 'p4rt.sock')}`;
  const socket = path.join(folder, 'felix.sock');
  const both = new Map([
    ['default/cali-a', 'up'],
    ['default/cali-b', 'up'],
  ]);

  async function startNode(): Promise<DriverProcess> {
    const node = start('calico-p4', ['switch', '--engine', 'interpreter', '--listen', target]);
    running.push(node);
    await until('the switch', () => node.output().stdout.includes('P4Runtime at'), PATIENCE);
    const driver = await startSocketDriver({
      CALICO_P4_TARGET_ADDRESS: target,
      CALICO_P4_FELIX_LINK: `unix:${socket}`,
    });
    running.push(driver);
    return driver;
  }

  function felix(): Running & FelixEnd {
    const started = startBridge(socket);
    running.push(started);
    return started;
  }

  test('Felix after Felix is served; the same policy again writes nothing, another writes the difference; a second one is refused', async () => {
    const driver = await startNode();
    const first = felix();
    first.send(snapshotOf([a, b]));
    await until('both pods up', () => first.statuses().size === 2, PATIENCE);
    expect(first.statuses()).toEqual(both);
    expect(statSync(socket).mode & 0o777).toBe(0o600);
    const rows = await rowsOnTarget(target);

    const second = felix();
    expect(await second.ended).toBe(1);
    expect(
      driver.logged('a second Felix is turned away: one is served already, and a node has one'),
    ).toHaveLength(1);
    first.send(additionOf(c));
    await until('the third pod up', () => first.statuses().has('default/cali-c'), PATIENCE);
    expect(await rowsOnTarget(target)).not.toEqual(rows);

    // Felix is killed: what it last said stays, to the row.
    const before = await rowsOnTarget(target);
    first.child.kill('SIGKILL');
    await until('the driver notices', () => driver.logged('waiting for Felix').length === 2, PATIENCE);
    expect(await rowsOnTarget(target)).toEqual(before);
    expect((await driver.untilReady(false)).reasons.join()).toMatch(/Felix/);

    const third = felix();
    third.send(snapshotOf([a, b, c]));
    await until('all pods up', () => third.statuses().size === 3, PATIENCE);
    await driver.untilReady(true);
    expect(await rowsOnTarget(target)).toEqual(before);
    expect(driver.logged('target written')).toHaveLength(2);

    // The pod went while Felix was away.
    const fourth = await replace(third, driver);
    fourth.send(snapshotOf([a, b]));
    await until('both pods up', () => fourth.statuses().size === 2, PATIENCE);
    expect(await rowsOnTarget(target)).toEqual(rows);
    expect(driver.logged('target written').at(-1)).toMatchObject({ inserted: 0 });
  }, 240_000);

  async function replace(old: Running, driver: DriverProcess): Promise<Running & FelixEnd> {
    const waited = driver.logged('waiting for Felix').length;
    old.child.kill('SIGKILL');
    await until('the driver notices', () => driver.logged('waiting for Felix').length > waited, PATIENCE);
    return felix();
  }

  test('a Felix that says nonsense, or half a message, changes nothing, and the next one is served', async () => {
    const driver = await startNode();
    const first = felix();
    first.send(snapshotOf([a, b]));
    await until('both pods up', () => first.statuses().size === 2, PATIENCE);
    const rows = await rowsOnTarget(target);
    let bad = await replace(first, driver);
    (bad.child.stdio[3] as Writable).end(Buffer.alloc(64, 0xff));
    await bad.ended;
    // Half a message.
    bad = felix();
    (bad.child.stdio[3] as Writable).end(Buffer.from('0001000000000000aa', 'hex'));
    await bad.ended;
    const good = felix();
    good.send(snapshotOf([a, b]));
    await until('both pods up again', () => good.statuses().size === 2, PATIENCE);
    expect(await rowsOnTarget(target)).toEqual(rows);
    expect(driver.logged('target written')).toHaveLength(1);
  }, 240_000);

  test('a target that comes back empty while Felix is away gets the last known policy', async () => {
    const driver = await startNode();
    const first = felix();
    first.send(snapshotOf([a, b]));
    await until('both pods up', () => first.statuses().size === 2, PATIENCE);
    const rows = await rowsOnTarget(target);
    first.child.kill('SIGKILL');
    await until('the driver notices', () => driver.logged('waiting for Felix').length === 2, PATIENCE);
    const [node] = running;
    node!.child.kill('SIGKILL');
    await node!.ended;
    const again = start('calico-p4', ['switch', '--engine', 'interpreter', '--listen', target]);
    running.push(again);
    await until('the switch', () => again.output().stdout.includes('P4Runtime at'), PATIENCE);
    const end = Date.now() + 60_000;
    let now: readonly string[] = [];
    while (Date.now() < end && now.length < rows.length) {
      now = await rowsOnTarget(target).catch(() => []);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    expect(now).toEqual(rows);
  }, 240_000);
});

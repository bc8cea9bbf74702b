/** The socket on which the driver waits for one Felix after the other. */
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { lstatSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { listenForFelix, type FelixSocket } from '../../../../src/driver/felix/felix-socket';
import { logger } from '../../../../src/log';

const folder = mkdtempSync(path.join(os.tmpdir(), 'felix-socket-'));
const log = logger('test');
const open: FelixSocket[] = [];
const felixes: Socket[] = [];

afterEach(() => {
  for (const felix of felixes.splice(0)) felix.destroy();
  for (const socket of open.splice(0)) socket.close();
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

async function listen(file: string, onRival?: () => void): Promise<FelixSocket> {
  const options = { path: path.join(folder, file), log, patience: 100 };
  const socket = await listenForFelix(onRival === undefined ? options : { ...options, onRival });
  open.push(socket);
  return socket;
}

function felix(file: string): Socket {
  const socket = connect(path.join(folder, file));
  socket.on('error', () => undefined);
  felixes.push(socket);
  return socket;
}

async function hear(streams: Awaited<ReturnType<FelixSocket['next']>>): Promise<string> {
  const [bytes] = (await once(streams.input, 'data')) as [Buffer];
  return bytes.toString();
}

test('one Felix after the other is served, and only its owner may connect', async () => {
  const socket = await listen('turns');
  expect(statSync(path.join(folder, 'turns')).mode & 0o777).toBe(0o600);
  for (const name of ['first', 'second', 'third']) {
    const next = socket.next();
    const client = felix('turns');
    client.write(name);
    const streams = await next;
    expect(await hear(streams)).toBe(name);
    client.end();
    streams.input.destroy();
  }
});

test('a second one at the same time is turned away, and the first goes on', async () => {
  let rivals = 0;
  const socket = await listen('rivals', () => rivals++);
  const first = felix('rivals');
  const streams = await socket.next();
  const second = felix('rivals');
  second.resume();
  await once(second, 'close');
  expect(rivals).toBe(1);
  first.write('still here');
  expect(await hear(streams)).toBe('still here');
});

test('one that comes before the end of the last was noticed is served when it is', async () => {
  const noticed: (() => void)[] = [];
  const socket = await listen('early', () => {
    for (const notice of noticed) notice();
  });
  const dead = felix('early');
  const last = await socket.next();
  dead.destroy();
  let next: ReturnType<FelixSocket['next']> | undefined;
  noticed.push(() => {
    last.input.destroy();
    next = socket.next();
  });
  const client = felix('early');
  client.write('me');
  await once(client, 'connect');
  while (next === undefined) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(await hear(await next)).toBe('me');
});

test('a socket that a dead driver left is replaced; one that is listened on, or something else, is not', async () => {
  const file = path.join(folder, 'stale');
  const killed = `require('net').createServer().listen(process.argv[1], () => process.kill(process.pid, 'SIGKILL'))`;
  spawnSync(process.execPath, ['-e', killed, file]);
  expect(lstatSync(file).isSocket()).toBe(true);
  const socket = await listen('stale');
  await expect(listen('stale')).rejects.toMatchObject({ code: 'FELIX_LINK_CLOSED' });
  // The probe of the second one was no Felix that would be in the way of one.
  const client = felix('stale');
  client.write('hello');
  let streams = await socket.next();
  const first = await Promise.race([hear(streams), once(streams.input, 'close').then(() => '')]).catch(
    () => '',
  );
  if (first === '') {
    streams = await socket.next();
    expect(await hear(streams)).toBe('hello');
  }

  writeFileSync(path.join(folder, 'file'), '');
  await expect(listen('file')).rejects.toMatchObject({ code: 'FELIX_LINK_CLOSED' });
  expect(lstatSync(path.join(folder, 'file')).isFile()).toBe(true);
  await expect(listen('no/such/folder')).rejects.toMatchObject({ code: 'FELIX_LINK_CLOSED' });
});

test('waiting can be given up, and nothing is left behind', async () => {
  const socket = await listen('abort');
  const next = socket.next();
  socket.close();
  await expect(next).rejects.toMatchObject({ code: 'FELIX_LINK_CLOSED' });
  expect(() => lstatSync(path.join(folder, 'abort'))).toThrow();
});

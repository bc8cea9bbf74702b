/** The client's side of the engine's socket, against servers that answer right, late, in pieces and wrong. */
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { ByteReader, ByteWriter } from '../../../../src/p4switch/dpdk/bytes';
import { connectEngine, type EngineLink } from '../../../../src/p4switch/dpdk/link';
import { Op, Status } from '../../../../src/p4switch/dpdk/protocol';

let folder: string;
let server: Server;
let link: EngineLink;

/** Serves one client with `answer`, which gets each piece of bytes. */
async function serve(answer: (socket: Socket, request: Buffer) => void): Promise<void> {
  folder = mkdtempSync(path.join(tmpdir(), 'calico-p4-link-'));
  const socketPath = path.join(folder, 's');
  server = createServer((socket) => {
    socket.on('data', (request: Buffer) => {
      answer(socket, request);
    });
    socket.on('error', () => undefined);
  });
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));
  link = await connectEngine(socketPath);
}

afterEach(() => {
  link.close();
  server.close();
  rmSync(folder, { recursive: true, force: true });
});

function frame(id: number, body: Uint8Array, status: number = Status.ok, length = body.length): Buffer {
  return new ByteWriter().u32(length).u8(1).u8(status).u16(0).u32(id).raw(body).finish();
}

it('answers that come in pieces and together reach those who asked', async () => {
  await serve((socket, request) => {
    // Three requests come in one piece or in several.
    for (let at = 0; at + 12 <= request.length; at += 12) {
      const id = request.readUInt32BE(at + 8);
      if (id < 3) continue;
      const all = Buffer.concat([1, 2, 3].map((n) => frame(n, Buffer.alloc(10 * n, n))));
      for (const byte of all) socket.write(Buffer.from([byte]));
    }
  });
  const answers = await Promise.all([link.request(Op.ports), link.request(Op.ports), link.request(Op.ports)]);
  expect(answers.map((r) => r.raw(10)[0])).toEqual([1, 2, 3]);
});

it('a refusal has its status, its words and the change', async () => {
  const words = Buffer.from('table t is full');
  const body = new ByteWriter().u32(5).u16(words.length).raw(words).finish();
  await serve((socket) => socket.write(frame(1, body, Status.full)));
  await expect(link.request(Op.write)).rejects.toMatchObject({
    name: 'EngineRefusal',
    status: Status.full,
    message: 'table t is full',
    index: 5,
  });
});

it.each([
  ['hangs up', (socket: Socket) => socket.destroy()],
  [
    'announces more than a message may have',
    (socket: Socket) => socket.write(frame(1, Buffer.alloc(0), 0, 0xffff_ffff)),
  ],
  ['answers what was not asked', (socket: Socket) => socket.write(frame(99, Buffer.alloc(0)))],
])('an engine that %s: those who wait are told, and the connection is over', async (_, answer) => {
  await serve(answer);
  await expect(link.request(Op.ports)).rejects.toMatchObject({ code: 'TARGET_UNREACHABLE' });
  await link.closed;
  await expect(link.request(Op.ports)).rejects.toMatchObject({ code: 'TARGET_UNREACHABLE' });
});

it('a refusal that is cut short is no success', async () => {
  await serve((socket) => socket.write(frame(1, Buffer.from([0]), Status.invalid)));
  await expect(link.request(Op.ports)).rejects.toMatchObject({ code: 'TARGET_UNREACHABLE' });
});

it.each([1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 20])('values of %d bytes are what was written', async (bytes) => {
  await serve(() => undefined);
  for (const value of [0n, 1n, (1n << BigInt(8 * bytes)) - 1n, 1n << BigInt(8 * bytes - 1)]) {
    const written = new ByteWriter(1).u8(7).value(value, bytes).u8(9).finish();
    expect(written).toHaveLength(bytes + 2);
    const reader = new ByteReader(written);
    expect([reader.u8(), reader.value(bytes), reader.u8(), reader.done]).toEqual([7, value, 9, true]);
    expect(() => reader.u8()).toThrow(/cut short/);
  }
});

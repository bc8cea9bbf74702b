import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  constants as fsConstants,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import type { Socket } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FelixBatch, FelixLink } from '../../../../src/driver/felix/felix-link';
import { createFelixLink } from '../../../../src/driver/felix/felix-link';
import { connectFelixSocket, openFelixFds } from '../../../../src/driver/felix/felix-streams';
import { createFrameDecoder, encodeFrame } from '../../../../src/driver/felix/frame-decoder';
import type { CalicoP4Error } from '../../../../src/errors';
import { framesOf, recording, testWith } from './recordings';
import { felixStream, messageType } from './streams';

const minimal = recording('01-minimal');
const policy = recording('02-policy');

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'felix-link-'));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

/** Everything that a link gives, and how it ended. */
async function exhaust(
  link: FelixLink,
): Promise<{ batches: FelixBatch[]; error: CalicoP4Error | undefined }> {
  const batches: FelixBatch[] = [];
  try {
    for await (const batch of link) {
      batches.push(batch);
    }
    return { batches, error: undefined };
  } catch (e) {
    return { batches, error: e as CalicoP4Error };
  }
}

const messagesIn = (batches: readonly FelixBatch[]): number => batches.reduce((n, b) => n + b.messages, 0);

/** A unix socket with Felix on one end and the driver on the other. */
async function pair(
  name: string,
): Promise<{ felix: Socket; driver: Awaited<ReturnType<typeof connectFelixSocket>> }> {
  const file = path.join(folder, name);
  const server = createServer();
  server.listen(file);
  await once(server, 'listening');
  const accepted = once(server, 'connection') as Promise<[Socket]>;
  const driver = await connectFelixSocket(file);
  const [felix] = await accepted;
  server.close();
  return { felix, driver };
}

describe('over a unix socket', () => {
  test('a whole stream arrives; Felix going away between frames is FELIX_LINK_CLOSED', async () => {
    const { felix, driver } = await pair('whole');
    felix.end(policy);
    const { batches, error } = await exhaust(createFelixLink(driver));
    expect(messagesIn(batches)).toBe(270);
    expect(batches.at(-1)).toMatchObject({ inSync: true, frame: 269 });
    expect(error).toMatchObject({ code: 'FELIX_LINK_CLOSED' });
  });

  test('a stream that is cut in a frame is FELIX_STREAM_TRUNCATED, a garbage one says so, and neither hangs', async () => {
    const cut = await pair('cut');
    cut.felix.end(minimal.subarray(0, 2000));
    expect((await exhaust(createFelixLink(cut.driver))).error).toMatchObject({
      code: 'FELIX_STREAM_TRUNCATED',
    });

    const garbage = await pair('garbage');
    garbage.felix.write(encodeFrame(Buffer.from('this is not Felix')));
    expect((await exhaust(createFelixLink(garbage.driver))).error).toMatchObject({
      code: 'FELIX_MESSAGE_INVALID',
    });

    const large = await pair('large');
    large.felix.write(Buffer.alloc(8, 0xff));
    expect((await exhaust(createFelixLink(large.driver))).error).toMatchObject({
      code: 'FELIX_FRAME_TOO_LARGE',
    });
  });

  test('Felix that dies is FELIX_LINK_CLOSED while the driver waits for it', async () => {
    const { felix, driver } = await pair('dies');
    felix.write(minimal);
    setTimeout(() => felix.destroy(), 20);
    const { batches, error } = await exhaust(createFelixLink(driver));
    expect(messagesIn(batches)).toBe(21);
    expect(error).toMatchObject({ code: 'FELIX_LINK_CLOSED' });
  });

  test('close() ends a waiting iteration', async () => {
    const { driver } = await pair('close');
    const link = createFelixLink(driver);
    setTimeout(() => {
      link.close();
    }, 20);
    expect((await exhaust(link)).error).toMatchObject({ code: 'FELIX_LINK_CLOSED' });
  });

  testWith('08-scale')(
    'what arrives while the consumer works comes as few batches, and Felix is made to wait',
    async () => {
      const { felix, driver } = await pair('slow');
      const stream = Buffer.concat(framesOf(recording('08-scale')).slice(0, 15_000));
      felix.end(stream);
      const link = createFelixLink({ ...driver, maxBatchBytes: 1 << 20 });
      const sizes: number[] = [];
      try {
        for await (const batch of link) {
          sizes.push(batch.messages);
          if (sizes.length === 1) {
            await sleep(50);
            // Not everything was swallowed in the meantime: most of it still waits on Felix's side.
            expect(felix.writableLength).toBeGreaterThan(stream.length / 2);
          }
        }
      } catch (e) {
        expect(e).toMatchObject({ code: 'FELIX_LINK_CLOSED' });
      }
      expect(sizes.reduce((a, b) => a + b, 0)).toBe(15_000);
      expect(sizes.length).toBeLessThan(100);
    },
  );

  test('status goes back framed, numbered from 0, with the endpoint as Felix sent it', async () => {
    const { felix, driver } = await pair('status');
    const id = { orchestratorId: 'k8s', workloadId: 'shop/web-0', endpointId: 'eth0' };
    const endpoint = {
      state: 'active',
      name: 'cali1',
      qosControls: { IngressBandwidth: '9007199254740993' },
    };
    felix.write(felixStream('v3.33', [{ workloadEndpointUpdate: { id, endpoint } }, { inSync: {} }]));
    const link = createFelixLink(driver);
    const batches = link[Symbol.asyncIterator]();
    await batches.next();
    await link.sendHeartbeat(new Date(0), 1.5);
    await link.sendWorkloadStatus(id, 'up');
    await link.sendWorkloadStatus({ ...id, workloadId: 'shop/unknown' }, 'error');
    await link.sendWorkloadStatusRemove(id);
    await link.sendHostEndpointStatus('eth0', 'down');
    await link.sendHostEndpointStatusRemove('eth0');
    await link.sendDataplaneInSync();
    link.close();

    const decoder = createFrameDecoder();
    const type = messageType('v3.33', 'FromDataplane');
    const got: object[] = [];
    for await (const chunk of felix as AsyncIterable<Uint8Array>) {
      got.push(...decoder.push(chunk).map((m) => type.toObject(type.decode(m), { longs: String })));
    }
    decoder.end();
    expect(got).toEqual([
      { processStatusUpdate: { isoTimestamp: '1970-01-01T00:00:00.000Z', uptime: 1.5 } },
      { sequenceNumber: '1', workloadEndpointStatusUpdate: { id, status: { status: 'up' }, endpoint } },
      {
        sequenceNumber: '2',
        workloadEndpointStatusUpdate: {
          id: { ...id, workloadId: 'shop/unknown' },
          status: { status: 'error' },
        },
      },
      { sequenceNumber: '3', workloadEndpointStatusRemove: { id } },
      {
        sequenceNumber: '4',
        hostEndpointStatusUpdate: { id: { endpointId: 'eth0' }, status: { status: 'down' } },
      },
      { sequenceNumber: '5', hostEndpointStatusRemove: { id: { endpointId: 'eth0' } } },
      { sequenceNumber: '6', dataplaneInSync: {} },
    ]);
  });

  test('sending to a Felix that is gone is an error of the send, not of the process', async () => {
    const { driver } = await pair('gone');
    const link = createFelixLink(driver);
    link.close();
    await expect(link.sendHeartbeat(new Date(), 1)).rejects.toMatchObject({ code: 'FELIX_LINK_CLOSED' });
  });

  test('no one to connect to is a clear error', async () => {
    await expect(connectFelixSocket(path.join(folder, 'nobody'))).rejects.toMatchObject({
      code: 'FELIX_LINK_CLOSED',
    });
  });
});

describe('in memory', () => {
  test('any way of cutting the input gives the same model, and the end is seen', async () => {
    for (const size of [1, 7, 4096]) {
      const chunks = Array.from({ length: Math.ceil(minimal.length / size) }, (_, i) =>
        minimal.subarray(i * size, (i + 1) * size),
      );
      const link = createFelixLink({
        input: Readable.from(chunks, { objectMode: false }),
        endsNormally: true,
      });
      const { batches, error } = await exhaust(link);
      expect([messagesIn(batches), error, link.model.workloads.size]).toEqual([21, undefined, 1]);
    }
  });

  test('an end that comes while the consumer works is seen', async () => {
    const input = new PassThrough();
    input.write(minimal);
    const link = createFelixLink({ input, endsNormally: true });
    let messages = 0;
    for await (const batch of link) {
      messages += batch.messages;
      input.end();
      await sleep(5);
    }
    expect(messages).toBe(21);
  });

  test('a message larger than a batch may be is still read', async () => {
    const input = Readable.from([policy], { objectMode: false });
    const { batches } = await exhaust(createFelixLink({ input, endsNormally: true, maxBatchBytes: 1 }));
    expect(messagesIn(batches)).toBe(270);
  });

  describe('messages that come one by one are one batch', () => {
    const long = 3_600_000;
    const frames = framesOf(minimal);
    const first = async (input: PassThrough, gather: { quietMs: number; mostMs: number }) => {
      const link = createFelixLink({ input, gather, endsNormally: true });
      for await (const { messages } of link) {
        return messages;
      }
      return 0;
    };
    const write = async (input: PassThrough) => {
      for (const frame of frames) {
        input.write(frame);
        await sleep(1);
      }
    };

    test('while they keep coming', async () => {
      const input = new PassThrough();
      const batch = first(input, { quietMs: long, mostMs: long });
      await write(input);
      input.end();
      expect(await batch).toBe(frames.length);
    });

    test('until nothing comes any more', async () => {
      const input = new PassThrough();
      const batch = first(input, { quietMs: 300, mostMs: long });
      await write(input);
      expect(await batch).toBe(frames.length);
    });

    test('but not for ever', async () => {
      const input = new PassThrough();
      const batch = first(input, { quietMs: long, mostMs: 0 });
      input.write(frames[0]);
      expect(await batch).toBe(1);
    });

    test('and one that is cut by the death of Felix is not waited for', async () => {
      const input = new PassThrough();
      const batch = first(input, { quietMs: long, mostMs: long });
      input.write(frames[0]);
      await sleep(1);
      input.destroy();
      expect(await batch).toBe(1);
    });
  });

  test('until stops after a frame or after InSync, and reads no further', async () => {
    const stop = async (until: number | 'in-sync') => {
      const link = createFelixLink({ input: Readable.from([policy], { objectMode: false }), until });
      const { batches, error } = await exhaust(link);
      return [messagesIn(batches), link.model.inSync, error];
    };
    expect(await stop('in-sync')).toEqual([80, true, undefined]);
    expect(await stop(79)).toEqual([79, false, undefined]);
    expect(await stop(0)).toEqual([0, false, undefined]);
  });

  test('a bad message ends the link without the batch that it is in', async () => {
    const frames = framesOf(minimal);
    const input = Readable.from([Buffer.concat([...frames.slice(0, 5), frames[7]!])], { objectMode: false });
    const { batches, error } = await exhaust(createFelixLink({ input }));
    expect([batches, error?.code]).toEqual([[], 'FELIX_SEQUENCE_GAP']);
  });
});

describe('over file descriptors', () => {
  test('pipes, as Felix gives them, both ways', async () => {
    const down = path.join(folder, 'down');
    const up = path.join(folder, 'up');
    const input = path.join(folder, 'input.bin');
    execFileSync('mkfifo', [down, up]);
    writeFileSync(input, policy);
    const felix = spawn('bash', ['-c', 'cat "$0" > "$1"; cat "$2"', input, down, up], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const sent: Buffer[] = [];
    felix.stdout.on('data', (chunk: Buffer) => sent.push(chunk));
    // Felix's end is opened for reading here too, so that opening ours for writing waits for nobody.
    const keepOpen = openSync(up, fsConstants.O_RDONLY | fsConstants.O_NONBLOCK);
    const link = createFelixLink(openFelixFds(openSync(down, 'r'), openSync(up, 'w')));
    const { batches, error } = await (async () => {
      const batches: FelixBatch[] = [];
      try {
        for await (const batch of link) {
          batches.push(batch);
          await link.sendDataplaneInSync();
        }
        return { batches, error: undefined };
      } catch (e) {
        return { batches, error: e as CalicoP4Error };
      }
    })();
    expect(messagesIn(batches)).toBe(270);
    expect(error).toMatchObject({ code: 'FELIX_LINK_CLOSED' });
    await once(felix, 'close');
    closeSync(keepOpen);
    const answers = createFrameDecoder();
    expect(answers.push(Buffer.concat(sent))).toHaveLength(batches.length);
    answers.end();
  });

  test('a file on each side', async () => {
    const input = path.join(folder, 'stream.bin');
    const output = path.join(folder, 'status.bin');
    writeFileSync(input, policy);
    const link = createFelixLink({
      ...openFelixFds(openSync(input, 'r'), openSync(output, 'w')),
      endsNormally: true,
    });
    await link.sendHeartbeat(new Date(), 1);
    const { batches } = await exhaust(link);
    expect(messagesIn(batches)).toBe(270);
    expect(framesOf(readFileSync(output))).toHaveLength(1);
  });

  test('a descriptor that is not open is a clear error', () => {
    const fd = openSync('/dev/null', 'r');
    closeSync(fd);
    expect(() => openFelixFds(fd, fd)).toThrow(expect.objectContaining({ code: 'USAGE' }) as Error);
  });
});

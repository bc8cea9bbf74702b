import { createConnection, type Socket } from 'node:net';
import { CalicoP4Error } from '../../errors';
import { ByteReader } from './bytes';
import { FRAME_BODY_MAX, FRAME_HEADER, Status } from './protocol';

/** What the engine answered instead of a result. */
export class EngineRefusal extends Error {
  constructor(
    /** Of protocol.Status. */
    readonly status: number,
    message: string,
    /** Of a transaction: the change that was refused. */
    readonly index: number | undefined,
  ) {
    super(message);
    this.name = 'EngineRefusal';
  }
}

/** A connection to the engine: requests go out at once and are answered in order. */
export interface EngineLink {
  /** Rejects with EngineRefusal, or with CalicoP4Error TARGET_UNREACHABLE when the connection ends first. */
  request(op: number, body?: Uint8Array): Promise<ByteReader>;
  /** Settles when the connection ended, whoever ended it. */
  readonly closed: Promise<void>;
  close(): void;
}

interface Waiting {
  readonly resolve: (body: ByteReader) => void;
  readonly reject: (error: Error) => void;
}

/** @throws CalicoP4Error TARGET_UNREACHABLE when nobody listens at `path` */
export async function connectEngine(path: string): Promise<EngineLink> {
  const socket = await new Promise<Socket>((resolve, reject) => {
    const attempt = createConnection(path);
    attempt.once('connect', () => {
      resolve(attempt);
    });
    attempt.once('error', (cause) => {
      const message = `no engine listens at ${path}: ${cause.message}`;
      reject(new CalicoP4Error('TARGET_UNREACHABLE', message, { path }, { cause }));
    });
  });
  return linkOver(socket, path);
}

function linkOver(socket: Socket, path: string): EngineLink {
  const waiting = new Map<number, Waiting>();
  let nextId = 1;
  let chunks: Buffer[] = [];
  let buffered = 0;

  const lost = (why: string): CalicoP4Error =>
    new CalicoP4Error('TARGET_UNREACHABLE', `the connection to the engine at ${path} ended: ${why}`, {
      path,
    });
  const fail = (why: string): void => {
    socket.destroy();
    for (const { reject } of waiting.values()) reject(lost(why));
    waiting.clear();
  };
  const closed = new Promise<void>((resolve) => {
    socket.once('close', () => {
      fail('it was closed');
      resolve();
    });
  });
  socket.on('error', (error) => {
    fail(error.message);
  });

  const deliver = (status: number, id: number, body: Buffer): void => {
    const waiter = waiting.get(id);
    waiting.delete(id);
    if (waiter === undefined) {
      fail('it answered what was not asked');
      return;
    }
    const reader = new ByteReader(body);
    if (status === Status.ok) waiter.resolve(reader);
    else waiter.reject(refusalFrom(status, reader));
  };
  socket.on('data', (chunk: Buffer) => {
    chunks.push(chunk);
    buffered += chunk.length;
    while (buffered >= FRAME_HEADER) {
      // Joined only when a whole frame is there: an answer of megabytes comes in hundreds of pieces.
      if (chunks[0]!.length < FRAME_HEADER) chunks = [Buffer.concat(chunks)];
      const head = chunks[0]!;
      const length = head.readUInt32BE(0);
      if (length > FRAME_BODY_MAX) {
        fail('it sent a message that is too large');
        return;
      }
      if (buffered < FRAME_HEADER + length) return;
      const all = chunks.length === 1 ? head : Buffer.concat(chunks);
      const end = FRAME_HEADER + length;
      chunks = all.length > end ? [all.subarray(end)] : [];
      buffered -= end;
      deliver(all.readUInt8(5), all.readUInt32BE(8), all.subarray(FRAME_HEADER, end));
    }
  });

  return {
    request(op, body = new Uint8Array(0)) {
      return new Promise((resolve, reject) => {
        if (socket.destroyed) {
          reject(lost('it was closed'));
          return;
        }
        if (body.length > FRAME_BODY_MAX) {
          reject(new EngineRefusal(Status.invalid, 'the request is larger than a message may be', undefined));
          return;
        }
        const id = nextId;
        nextId = nextId === 0xffff_ffff ? 1 : nextId + 1;
        waiting.set(id, { resolve, reject });
        const head = Buffer.alloc(FRAME_HEADER);
        head.writeUInt32BE(body.length, 0);
        head.writeUInt8(op, 4);
        head.writeUInt32BE(id, 8);
        socket.write(head);
        if (body.length > 0) socket.write(body);
      });
    },
    closed,
    close() {
      socket.destroy();
    },
  };
}

function refusalFrom(status: number, reader: ByteReader): Error {
  try {
    const index = reader.u32();
    const words = reader.raw(reader.u16()).toString('utf8');
    return new EngineRefusal(status, words, index === 0xffff_ffff ? undefined : index);
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

/**
 * The unix socket on which one Felix after the other is served. What connects is the small program that Felix starts in the driver's
 * place (native/felix-bridge), which joins Felix's pipes to it.
 */
import { once } from 'node:events';
import { chmodSync, lstatSync, unlinkSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { CalicoP4Error } from '../../errors';
import type { Logger } from '../../log';
import type { FelixStreams } from './felix-streams';

export interface FelixSocket {
  /** The next Felix, however long it takes. The one before must have been closed. @throws CalicoP4Error FELIX_LINK_CLOSED after close() */
  next(): Promise<FelixStreams>;
  /** Stops listening, and removes the socket's file. The Felix that is served goes on. */
  close(): void;
}

export interface FelixSocketOptions {
  readonly path: string;
  readonly log: Logger;
  /**
   * Another Felix has come while one is served. If that one is dead and nobody has noticed, now is the time: the new one waits for
   * `patience` before it is turned away.
   */
  readonly onRival?: () => void;
  /** Milliseconds. */
  readonly patience?: number;
}

const PATIENCE = 2000;
/** Read and write for the owner, and so for root, as whom calico-node runs. */
const MODE = 0o600;

/**
 * A socket file that a dead driver left is replaced; one on which somebody listens is not.
 * @throws CalicoP4Error FELIX_LINK_CLOSED when it can not listen
 */
export async function listenForFelix(options: FelixSocketOptions): Promise<FelixSocket> {
  const { path, log, onRival, patience = PATIENCE } = options;
  let served: Socket | undefined;
  /** One that has come, and is not served yet. */
  let waiting: Socket | undefined;
  let wake: (() => void) | undefined;
  let closed = false;

  const refuse = (socket: Socket): void => {
    log.warn('a second Felix is turned away: one is served already, and a node has one', { socket: path });
    socket.destroy();
  };
  const server = createServer((socket) => {
    // Until somebody reads it.
    socket.on('error', () => undefined);
    // The newest is the likeliest to be alive.
    if (waiting !== undefined) refuse(waiting);
    waiting = socket;
    socket.once('close', () => {
      if (waiting === socket) waiting = undefined;
    });
    if (served === undefined || served.destroyed) {
      wake?.();
      return;
    }
    setTimeout(() => {
      if (waiting !== socket) return;
      waiting = undefined;
      refuse(socket);
    }, patience);
    onRival?.();
  });
  await removeStale(path);
  try {
    await listen(server, path);
  } catch (cause) {
    throw canNotListen(path, cause instanceof Error ? cause.message : String(cause), cause);
  }

  return {
    async next() {
      served = undefined;
      while (waiting === undefined) {
        if (closed) throw canNotListen(path, 'stopped');
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      served = waiting;
      waiting = undefined;
      return { input: served, output: served };
    },
    close() {
      if (closed) return;
      closed = true;
      waiting?.destroy();
      server.close();
      wake?.();
    },
  };
}

async function listen(server: Server, path: string): Promise<void> {
  // The file is made within the call.
  const before = process.umask(0o777 & ~MODE);
  try {
    server.listen(path);
  } finally {
    process.umask(before);
  }
  await once(server, 'listening');
  chmodSync(path, MODE);
}

async function removeStale(path: string): Promise<void> {
  const there = lstatSync(path, { throwIfNoEntry: false });
  if (there === undefined) return;
  if (!there.isSocket()) throw canNotListen(path, 'something that is no socket is there');
  const probe = connect({ path });
  try {
    await once(probe, 'connect');
  } catch {
    unlinkSync(path);
    return;
  } finally {
    probe.destroy();
  }
  throw canNotListen(path, 'another driver listens there');
}

function canNotListen(path: string, why: string, cause?: unknown): CalicoP4Error {
  return new CalicoP4Error(
    'FELIX_LINK_CLOSED',
    `can not wait for Felix at ${path} (${why}): check the path and that no other driver runs`,
    { path },
    { cause },
  );
}

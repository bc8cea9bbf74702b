import { createReadStream, createWriteStream, fstatSync, type Stats } from 'node:fs';
import { connect, Socket } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import { CalicoP4Error } from '../../errors';

/** The two directions of a link; the same socket twice for a unix socket. */
export interface FelixStreams {
  readonly input: Readable;
  readonly output: Writable;
}

/** Where Felix puts its pipes for a driver that it starts. */
export const FELIX_READ_FD = 3;
export const FELIX_WRITE_FD = 4;

/**
 * Opens the descriptors that Felix gave the process. Pipes and sockets are polled; files (a recording, /dev/null) are read through
 * the thread pool, which would block a thread for each pipe.
 * @throws CalicoP4Error USAGE when a descriptor is not open.
 */
export function openFelixFds(readFd = FELIX_READ_FD, writeFd = FELIX_WRITE_FD): FelixStreams {
  const readPolled = isPolled(readFd);
  const writePolled = isPolled(writeFd);
  return {
    input: readPolled
      ? new Socket({ fd: readFd, readable: true, writable: false, ...READ_AHEAD })
      : createReadStream('', { fd: readFd, ...READ_AHEAD }),
    output: writePolled
      ? new Socket({ fd: writeFd, readable: false, writable: true })
      : createWriteStream('', { fd: writeFd }),
  };
}

/**
 * What is read while the target is written, in bytes: it becomes one batch. Beyond it nothing is read, so that Felix waits, and
 * merges what it has to say.
 */
const READ_AHEAD = { highWaterMark: 1024 * 1024 } as const;

function isPolled(fd: number): boolean {
  let stat: Stats | undefined;
  try {
    stat = fstatSync(fd);
  } catch {
    // Not open at all.
  }
  if (stat?.isFIFO() === true || stat?.isSocket() === true) return true;
  if (stat?.isFile() === true || stat?.isCharacterDevice() === true) return false;
  // What nobody gave us may be one of Node's own by now (its event poll has the first free number).
  throw new CalicoP4Error(
    'USAGE',
    `file descriptor ${fd} was not given: Felix starts the driver with its messages on ${FELIX_READ_FD} and answers on ${FELIX_WRITE_FD}; ` +
      `by hand: calico-p4 driver ${FELIX_READ_FD}<STREAM ${FELIX_WRITE_FD}>ANSWERS, or felix.link: unix:/path`,
    { fd },
  );
}

/** Connects to a unix socket on which the other side speaks as Felix. @throws CalicoP4Error FELIX_LINK_CLOSED */
export async function connectFelixSocket(path: string): Promise<FelixStreams> {
  const socket = connect({ path });
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('error', (e) => {
      reject(
        new CalicoP4Error(
          'FELIX_LINK_CLOSED',
          `can not connect to Felix at ${path} (${e.message}): check the path, and that the other side is running`,
          { path },
          { cause: e },
        ),
      );
    });
  });
  return { input: socket, output: socket };
}

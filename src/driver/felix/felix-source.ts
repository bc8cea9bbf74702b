/** Where Felix comes from: once by descriptors that it gave to the process, or again and again over a unix socket. */
import type { Logger } from '../../log';
import { listenForFelix } from './felix-socket';
import { openFelixFds, type FelixStreams } from './felix-streams';

export interface FelixSource {
  /** The next Felix; the one before must have ended. @throws CalicoP4Error FELIX_LINK_CLOSED after close() */
  next(): Promise<FelixStreams>;
  /** There is another one after the end of this one. */
  readonly comesAgain: boolean;
  /** `next` was called, and nobody has come yet. */
  readonly isWaiting: boolean;
  close(): void;
}

/**
 * @param link DriverConfig.felix.link
 * @param onRival FelixSocketOptions.onRival
 * @throws CalicoP4Error USAGE, FELIX_LINK_CLOSED
 */
export async function openFelixSource(link: string, log: Logger, onRival: () => void): Promise<FelixSource> {
  if (link === 'fds') {
    const streams = openFelixFds();
    return {
      next: () => Promise.resolve(streams),
      comesAgain: false,
      isWaiting: false,
      close: () => undefined,
    };
  }
  const path = link.slice('unix:'.length);
  const socket = await listenForFelix({ path, log, onRival });
  let isWaiting = false;
  return {
    comesAgain: true,
    get isWaiting() {
      return isWaiting;
    },
    async next() {
      isWaiting = true;
      log.info('waiting for Felix', { socket: path });
      const streams = await socket.next();
      isWaiting = false;
      log.info('Felix has come', { socket: path });
      return streams;
    },
    close: () => {
      socket.close();
    },
  };
}

/** The driver as a process: opens the target and the link to Felix, and serves one with the other. */
import { setTimeout as sleep } from 'node:timers/promises';
import { CalicoP4Error } from '../errors';
import { logger } from '../log';
import type { DriverConfig } from './config';
import { createFelixLink } from './felix/felix-link';
import { acceptFelixSocket, openFelixFds, type FelixStreams } from './felix/felix-streams';
import { watchLogRules } from './log-rules';
import { writeNames } from './names';
import { createNode, type Node } from './node';
import { serveFelix } from './serve';
import { openTarget } from './target';

/** Milliseconds: how long a SIGTERM waits for a write under way. */
const GRACE = 2000;

/**
 * Runs until the link ends. What is on the target stays there, whatever the reason: policy goes on while Felix restarts.
 *
 * @throws CalicoP4Error FELIX_*, TARGET_*, PIPELINE_MISMATCH, CONFIG_INVALID. Returns only after SIGTERM or SIGINT.
 */
export async function runNodeDriver(config: DriverConfig): Promise<void> {
  const log = logger('driver');
  const stop = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => {
      log.info('stopping; the target keeps its rows', { signal });
      stop.abort();
      sleep(GRACE, undefined, { ref: false }).then(
        () => process.exit(0),
        () => undefined,
      );
    });
  }

  let lost: CalicoP4Error | undefined;
  // The link comes first: Felix is waiting on it, and a driver without Felix has nothing to write.
  const streams = await openLink(config.felix.link, stop.signal);
  const link = createFelixLink(streams);
  stop.signal.addEventListener('abort', () => {
    link.close();
  });
  const target = await openTarget(config.target, (error) => {
    lost = error;
    link.close();
  });
  try {
    const node = await createNode({ reconciler: target.reconciler, ports: config.ports });
    const stopWatching = watchLogRules(target.rows, () => node.names.outcomes, logger('policy'));
    try {
      await serveFelix({
        link,
        node,
        log,
        heartbeatSeconds: config.felix.heartbeatSeconds,
        onProgrammed({ applied }) {
          if (applied.written > 0) {
            const { inserted, modified, deleted } = applied;
            log.info('target written', { inserted, modified, deleted, rows: node.rows.length });
          }
          keepNames(config.namesFile, node, log);
        },
      });
    } finally {
      stopWatching();
    }
  } catch (error) {
    if (lost !== undefined) throw lost;
    if (stop.signal.aborted && error instanceof CalicoP4Error && error.code === 'FELIX_LINK_CLOSED') return;
    throw error;
  } finally {
    target.close();
    link.close();
  }
}

function openLink(link: string, signal: AbortSignal): Promise<FelixStreams> {
  return link === 'fds'
    ? Promise.resolve(openFelixFds())
    : acceptFelixSocket(link.slice('unix:'.length), signal);
}

/** Names are for people: when they can not be written, say it once and go on. */
let namesFailed = false;
function keepNames(path: string, node: Node, log: ReturnType<typeof logger>): void {
  if (path === '' || namesFailed) return;
  try {
    writeNames(path, node.names);
  } catch (error) {
    namesFailed = true;
    log.warn('can not write the names file; `tables` and `trace` will show numbers', {
      path,
      reason: error instanceof Error ? error.message : String(error),
    });
  }
}

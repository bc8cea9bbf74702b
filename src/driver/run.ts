/** The driver as a process: opens the target and the link to Felix, and serves one with the other. */
import { setTimeout as sleep } from 'node:timers/promises';
import { CalicoP4Error } from '../errors';
import { logger } from '../log';
import { linksOf, type DriverConfig } from './config';
import { createFelixLink } from './felix/felix-link';
import { acceptFelixSocket, openFelixFds, type FelixStreams } from './felix/felix-streams';
import { watchLogRules } from './log-rules';
import { createNamesFile } from './names-file';
import { createNode, type Node } from './node';
import { createObserver, type Observer } from './observer';
import { serveFelix } from './serve';
import { createSettingsLog } from './settings-log';
import { openTargetSession } from './target-session';

/** Milliseconds: how long a SIGTERM waits for a write under way. */
const GRACE = 2000;

/**
 * Runs until the link ends. What is on the target stays there, whatever the reason: policy goes on while Felix restarts.
 * A target that goes away, or that another controller takes, is waited for.
 *
 * @param onEnforced told after each write to the target: the number of Felix's last frame that is in it, from 0
 * @throws CalicoP4Error FELIX_*, CONFIG_INVALID, and at the first connection PIPELINE_MISMATCH. Returns only after SIGTERM or SIGINT.
 */
export async function runNodeDriver(
  config: DriverConfig,
  onEnforced: (frame: number) => void = () => undefined,
): Promise<void> {
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

  let look = (): void => undefined;
  let observer: Observer | undefined;
  // The link comes first: Felix is waiting on it, and a driver without Felix has nothing to write.
  const streams = await openLink(config.felix.link, stop.signal);
  const link = createFelixLink({ ...streams, onMessage: (kind) => observer?.onMessage(kind) });
  const session = openTargetSession({
    config: config.target,
    log,
    onReady: () => {
      look();
    },
    onWrite: (seconds, updates) => observer?.onWrite(seconds, updates),
  });
  stop.signal.addEventListener('abort', () => {
    link.close();
    session.close();
  });
  let node: Node | undefined;
  const namesFile = createNamesFile(config.namesFile, log);
  let namesKept = false;
  const settings = createSettingsLog(log);
  let stopWatching = (): void => undefined;
  try {
    observer = createObserver({
      listen: config.metrics.listen,
      log,
      session,
      link,
      backlogBytes: () => streams.input.readableLength,
      rowCounts: () => node?.rowCounts() ?? new Map<string, number>(),
    });
    stopWatching = watchLogRules(
      session.rows,
      () => node?.names.outcomes ?? new Map<number, never>(),
      logger('policy'),
    );
    await serveFelix({
      link,
      log,
      heartbeatSeconds: config.felix.heartbeatSeconds,
      target: {
        acquire: () => session.acquire(),
        get held() {
          return session.held;
        },
        onReady(wake) {
          look = wake;
        },
      },
      node: {
        async program(model) {
          node ??= await createNode({
            reconciler: session.reconciler,
            ports: config.ports,
            links: linksOf(config),
          });
          return node.program(model);
        },
      },
      onBatch(batch) {
        settings(link.model.config);
        observer?.onBatch(batch);
      },
      onProgrammed(result, batch) {
        observer?.onProgrammed(result);
        if (batch !== undefined) onEnforced(batch.frame);
        const { written, inserted, modified, deleted } = result.applied;
        if (node === undefined) return;
        const current = node;
        if (written > 0) {
          const rows = [...node.rowCounts().values()].reduce((sum, count) => sum + count, 0);
          log.info('target written', { inserted, modified, deleted, rows });
        }
        // Without new rows nothing has a new name, but what an earlier run left may be old.
        if (written > 0 || !namesKept) namesFile.change(() => current.names);
        namesKept = true;
      },
    });
  } catch (error) {
    if (stop.signal.aborted && error instanceof CalicoP4Error && isEnd(error)) return;
    throw error;
  } finally {
    stopWatching();
    namesFile.close();
    observer?.close();
    session.close();
    link.close();
  }
}

/** What a driver that is told to stop meets on its way out. */
function isEnd({ code }: CalicoP4Error): boolean {
  return code === 'FELIX_LINK_CLOSED' || code === 'TARGET_UNREACHABLE' || code === 'TARGET_NOT_PRIMARY';
}

function openLink(link: string, signal: AbortSignal): Promise<FelixStreams> {
  return link === 'fds'
    ? Promise.resolve(openFelixFds())
    : acceptFelixSocket(link.slice('unix:'.length), signal);
}

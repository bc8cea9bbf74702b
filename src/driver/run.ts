/** The driver as a process: opens the target and the link to Felix, and serves one with the other. */
import { setTimeout as sleep } from 'node:timers/promises';
import { CalicoP4Error } from '../errors';
import { logger } from '../log';
import type { FelixModel } from '../model/model';
import { linksOf, type DriverConfig } from './config';
import { createFelixLink, type FelixBatch, type FelixLink } from './felix/felix-link';
import { openFelixSource } from './felix/felix-source';
import type { FelixStreams } from './felix/felix-streams';
import { watchLogRules } from './log-rules';
import { createNamesFile } from './names-file';
import { openHostNetwork } from './host-network/open';
import { openJournal, type Journal } from './journal';
import { createNode, type Node, type ProgramResult } from './node';
import { createObserver, type Observer } from './observer';
import { serveFelix } from './serve';
import { createSettingsLog } from './settings-log';
import { pipelineName } from './target';
import { openTargetSession } from './target-session';

/** Milliseconds: how long a SIGTERM waits for a write under way. */
const GRACE = 2000;

/**
 * Runs until the link ends; over a socket, serves the next Felix then. What is on the target stays there, whatever the reason: policy
 * goes on while Felix restarts. A target that goes away, or that another controller takes, is waited for.
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
  let beat = (): void => undefined;
  let observer: Observer | undefined;
  let link: FelixLink | undefined;
  let input: FelixStreams['input'] | undefined;
  // The link comes first: Felix is waiting on it.
  const felix = await openFelixSource(config.felix.link, log, () => {
    beat();
  });
  let outsideLook = (): void => undefined;
  const host = await openHostNetwork(config, () => {
    outsideLook();
  });
  const session = openTargetSession({
    config: config.target,
    log,
    onReady: () => {
      look();
    },
    onWrite: (seconds, updates) => observer?.onWrite(seconds, updates),
  });
  stop.signal.addEventListener('abort', () => {
    felix.close();
    link?.close();
    session.close();
    host?.network.close();
  });
  const namesFile = createNamesFile(config.namesFile, log);
  let namesKept = false;
  const settings = createSettingsLog(log);
  let stopWatching = (): void => undefined;

  // One for all Felixes: what the next one says is written as the difference to what the last one said.
  let node: Node | undefined;
  let journal: Journal | undefined;
  let lastModel: FelixModel | undefined;
  const program = async (model: FelixModel): Promise<ProgramResult> => {
    lastModel = model;
    // What the host must do for packets comes before the rows that send them there.
    await host?.network.prepare(model);
    if (config.journalFile !== '') {
      const { address, deviceId } = config.target;
      journal ??= openJournal({
        path: config.journalFile,
        of: `${address} ${deviceId} ${pipelineName()}`,
        log,
      });
    }
    node ??= await createNode({
      reconciler: session.reconciler,
      ports: config.ports,
      uplink: config.interfaces.uplink,
      links: linksOf(config, host?.macs),
      ...(host === undefined ? {} : { facts: () => host.network.facts }),
      ...(journal === undefined ? {} : { journal }),
    });
    const result = await node.program(model);
    await host?.network.want(result.nextHops);
    return result;
  };
  const onProgrammed = (result: ProgramResult, batch: FelixBatch | undefined): void => {
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
  };

  const serve = async (streams: FelixStreams): Promise<void> => {
    input = streams.input;
    const opened = createFelixLink({ ...streams, onMessage: (kind) => observer?.onMessage(kind) });
    link = opened;
    try {
      await serveFelix({
        link: opened,
        log,
        heartbeatSeconds: config.felix.heartbeatSeconds,
        target: {
          async acquire() {
            await session.acquire();
            await host?.network.guard();
          },
          get held() {
            return session.held && host?.network.guarded !== false;
          },
          onReady(wake) {
            look = wake;
          },
        },
        ...(host === undefined
          ? {}
          : {
              outside: {
                get stale() {
                  return host.network.stale;
                },
                onChange(wake) {
                  outsideLook = wake;
                },
              },
            }),
        node: { program },
        onBeat(now) {
          beat = now;
        },
        onBatch(batch) {
          settings(opened.model.config);
          observer?.onBatch(batch);
        },
        onProgrammed,
      });
    } finally {
      opened.close();
      link = undefined;
      input = undefined;
      beat = () => undefined;
    }
  };

  /** The last known policy, on a target that lost it while there is no Felix to say it again. */
  const keepPolicy = async (): Promise<void> => {
    try {
      while (node !== undefined && felix.isWaiting && !stop.signal.aborted) {
        if (session.held && host?.network.stale !== true) return;
        await session.acquire();
        // Neighbours and routes change without Felix, too.
        if (host?.network.stale === true && lastModel !== undefined) await program(lastModel);
        else await node.restore();
      }
    } catch (error) {
      log.warn('the last known policy could not be written; the next Felix brings it', {
        reason: error instanceof Error ? error.message : String(error),
      });
    }
  };

  try {
    observer = createObserver({
      listen: config.metrics.listen,
      log,
      session,
      felix: () => link,
      backlogBytes: () => input?.readableLength ?? 0,
      rowCounts: () => node?.rowCounts() ?? new Map<string, number>(),
      hostNetwork: () => host?.network.failures ?? [],
    });
    stopWatching = watchLogRules(
      session.rows,
      () => node?.names.outcomes ?? new Map<number, never>(),
      logger('policy'),
    );
    for (;;) {
      let keeping: Promise<void> = Promise.resolve();
      look = () => {
        keeping = keeping.then(keepPolicy);
      };
      outsideLook = look;
      const streams = await felix.next();
      look = () => undefined;
      outsideLook = look;
      await keeping;
      try {
        await serve(streams);
        return;
      } catch (error) {
        if (stop.signal.aborted || !felix.comesAgain || !isOfFelix(error)) throw error;
        log.warn('Felix has gone; the dataplane keeps its last policy, and the next Felix is waited for', {
          code: error.code,
          reason: error.message,
        });
      }
    }
  } catch (error) {
    if (stop.signal.aborted && error instanceof CalicoP4Error && isEnd(error)) return;
    throw error;
  } finally {
    stopWatching();
    namesFile.close();
    journal?.close();
    observer?.close();
    session.close();
    host?.network.close();
    felix.close();
  }
}

/** What a driver that is told to stop meets on its way out. */
function isEnd({ code }: CalicoP4Error): boolean {
  return code === 'FELIX_LINK_CLOSED' || code === 'TARGET_UNREACHABLE' || code === 'TARGET_NOT_PRIMARY';
}

function isOfFelix(error: unknown): error is CalicoP4Error {
  return error instanceof CalicoP4Error && error.code.startsWith('FELIX_');
}

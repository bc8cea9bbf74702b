/** What the outside sees of a running driver: collects the facts that metrics and health are made of, and serves them. */
import type { Logger } from '../log';
import { unsupportedSettings, type UnsupportedSetting } from '../translators/unsupported-settings';
import { liveness, readiness, type ApplyFailures, type HealthFacts } from './health';
import type { FelixBatch, FelixLink } from './felix/felix-link';
import { createMetrics } from './metrics';
import { startMetricsServer, type MetricsServer } from './metrics-server';
import type { ProgramResult } from './node';
import type { TargetSession } from './target-session';

export interface ObserverOptions {
  /** DriverConfig.metrics.listen; "" serves nothing. */
  readonly listen: string;
  readonly log: Logger;
  readonly session: Pick<TargetSession, 'state' | 'losses' | 'held' | 'rows'>;
  /** Undefined while there is none. */
  readonly felix: () => Pick<FelixLink, 'model' | 'formCandidates'> | undefined;
  readonly backlogBytes: () => number;
  /** HostNetwork.failures. */
  readonly hostNetwork?: () => readonly string[];
  /** Node.rowCounts. */
  readonly rowCounts: () => ReadonlyMap<string, number>;
}

export interface Observer {
  onMessage(kind: string): void;
  onBatch(batch: FelixBatch): void;
  onWrite(seconds: number, updates: number): void;
  onProgrammed(result: ProgramResult): void;
  close(): void;
}

/** While there is no Felix. */
const NO_SETTINGS: ReadonlyMap<string, string> = new Map();

/** Milliseconds until an address that is taken is tried again. */
const LISTEN_AGAIN = 5000;

/** Policy does not wait for metrics: an address that is taken (by a driver that is about to end, for one) is logged and tried again. */
export function createObserver(options: ObserverOptions): Observer {
  const { listen, log, session, felix } = options;
  let waiting = 0;
  let waitingSince: number | undefined;
  let applied: ApplyFailures | undefined;
  let lossesWhenApplied = 0;
  const unsupported = (): readonly UnsupportedSetting[] =>
    unsupportedSettings(felix()?.model.config ?? NO_SETTINGS);
  const metrics = createMetrics({
    now: () => performance.now() / 1000,
    target: () => session.state,
    targetLosses: () => session.losses,
    backlogBytes: options.backlogBytes,
    formCandidates: () =>
      felix()
        ?.formCandidates()
        .map(({ name }) => name) ?? [],
    unsupportedSettings: () => unsupported().length,
    *tables() {
      for (const [table, rows] of options.rowCounts()) {
        yield { table, rows, size: session.rows.tableSize(table) };
      }
    },
  });
  const facts = (): HealthFacts => {
    const now = performance.now();
    const felixInSync = felix()?.model.inSync ?? false;
    // A connection that nothing was applied on: what was known of the last one says nothing.
    if (!session.held || session.losses !== lossesWhenApplied) applied = undefined;
    // Time without a target, or before InSync, is no time in which a write could have got stuck.
    if (session.state.kind !== 'ready' || !felixInSync) waitingSince = undefined;
    else if (waiting > 0 || applied === undefined) waitingSince ??= now;
    return {
      now,
      felixInSync,
      target: session.state,
      applied,
      waitingSince,
      hostNetwork: options.hostNetwork?.() ?? [],
      unsupportedSettings: unsupported(),
    };
  };
  let server: MetricsServer | undefined;
  let again: NodeJS.Timeout | undefined;
  let closed = false;
  const serve = async (complain: boolean): Promise<void> => {
    try {
      const started = await startMetricsServer({
        listen,
        registry: metrics.registry,
        liveness: () => liveness(facts()),
        readiness: () => readiness(facts()),
      });
      if (closed) started.close();
      else server = started;
      log.info('metrics and health', { address: started.address });
    } catch (error) {
      if (complain) log.error(error instanceof Error ? error.message : String(error));
      if (!closed) again = setTimeout(() => void serve(false), LISTEN_AGAIN).unref();
    }
  };
  if (listen !== '') void serve(true);
  return {
    onMessage: (kind) => {
      metrics.message(kind);
    },
    onBatch(batch) {
      waiting += batch.messages;
      metrics.waiting(waiting);
      if (batch.inSync) metrics.inSync();
    },
    onWrite: (seconds, updates) => {
      metrics.wrote(seconds, updates);
    },
    onProgrammed(result) {
      waiting = 0;
      waitingSince = undefined;
      lossesWhenApplied = session.losses;
      applied = {
        endpoints: result.failures.map(({ workload, policies, reason }) => ({ workload, policies, reason })),
        ofTheNode: result.nodeFailures,
        notEnforced: result.notEnforced,
        endpointsUp: result.up.size,
      };
      metrics.waiting(0);
      metrics.programmed(result);
    },
    close() {
      closed = true;
      clearTimeout(again);
      server?.close();
    },
  };
}

/** The driver's Prometheus metrics. docs/metrics.md lists each (held in step by a test). */
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { ProgramResult } from './node';
import type { TargetState } from './target-session';

/** What is only known when somebody asks. Times are of `now`. */
export interface MetricsSource {
  /** Seconds, of a clock that only goes forward. */
  now(): number;
  target(): TargetState;
  targetLosses(): number;
  /** Acknowledged rows by table, and entries that each table has room for. */
  tables(): Iterable<{ readonly table: string; readonly rows: number; readonly size: number }>;
  /** Bytes that were read from Felix and not decoded yet. */
  backlogBytes(): number;
  formCandidates(): readonly string[];
  /** How many settings of Felix matter and are not honoured. */
  unsupportedSettings(): number;
}

export interface Metrics {
  readonly registry: Registry;
  message(kind: string): void;
  /** Messages that are in the model and not on the target yet. */
  waiting(messages: number): void;
  inSync(): void;
  wrote(seconds: number, updates: number): void;
  programmed(result: ProgramResult): void;
}

/** Series of `calico_p4_endpoint_failed` at most: a node's worth of pods with some policies each. */
const MAX_FAILED_SERIES = 1000;
const SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
const PREFIX = 'calico_p4_';

export function createMetrics(source: MetricsSource): Metrics {
  const registry = new Registry();
  const registers = [registry];
  const gauge = (name: string, help: string, read: () => number | undefined): void => {
    new Gauge({
      name: `${PREFIX}${name}`,
      help,
      registers,
      collect() {
        const value = read();
        this.reset();
        if (value === undefined) this.remove();
        else this.set(value);
      },
    });
  };

  const messages = new Counter({
    name: `${PREFIX}felix_messages_total`,
    help: "Felix's messages, by kind",
    labelNames: ['kind'],
    registers,
  });
  const waiting = new Gauge({
    name: `${PREFIX}felix_messages_waiting`,
    help: "Felix's messages that are in the model and not on the target yet",
    registers,
  });
  gauge('felix_backlog_bytes', 'bytes read from Felix and not decoded yet', () => source.backlogBytes());
  new Gauge({
    name: `${PREFIX}felix_contract_form`,
    help: "1 for the form of Felix's contract that the stream has, or for each that it may have",
    labelNames: ['form'],
    registers,
    collect() {
      this.reset();
      for (const form of source.formCandidates()) this.set({ form }, 1);
    },
  });
  gauge('unsupported_settings', 'settings of Felix that matter and are not honoured', () =>
    source.unsupportedSettings(),
  );
  let syncedAt: number | undefined;
  gauge('felix_in_sync', '1 once Felix has said InSync', () => (syncedAt === undefined ? 0 : 1));
  gauge('felix_in_sync_age_seconds', 'seconds since InSync', () => since(syncedAt, source));

  gauge('target_connected', '1 while the P4Runtime server is connected', () =>
    ['ready', 'standby'].includes(source.target().kind) ? 1 : 0,
  );
  gauge('target_primary', '1 while we are the controller that may write', () =>
    source.target().kind === 'ready' ? 1 : 0,
  );
  new Counter({
    name: `${PREFIX}target_losses_total`,
    help: 'times that the connection, or being primary, was lost; each is followed by reconnecting',
    registers,
    collect() {
      this.reset();
      this.inc(source.targetLosses());
    },
  });
  const writeSeconds = new Histogram({
    name: `${PREFIX}target_write_seconds`,
    help: 'seconds that one P4Runtime Write took',
    buckets: SECONDS,
    registers,
  });
  const writeUpdates = new Counter({
    name: `${PREFIX}target_write_updates_total`,
    help: 'updates sent in P4Runtime Writes, refused ones included',
    registers,
  });
  const updates = new Counter({
    name: `${PREFIX}rows_written_total`,
    help: 'row updates that the target acknowledged, by operation',
    labelNames: ['operation'],
    registers,
  });
  for (const operation of ['insert', 'modify', 'delete']) updates.inc({ operation }, 0);
  new Gauge({
    name: `${PREFIX}table_rows`,
    help: 'rows on the target, by table',
    labelNames: ['table'],
    registers,
    collect() {
      for (const { table, rows } of source.tables()) this.set({ table }, rows);
    },
  });
  new Gauge({
    name: `${PREFIX}table_capacity_rows`,
    help: 'rows that the table has room for',
    labelNames: ['table'],
    registers,
    collect() {
      for (const { table, size } of source.tables()) this.set({ table }, size);
    },
  });

  const applySeconds = new Histogram({
    name: `${PREFIX}apply_seconds`,
    help: 'seconds from the model to the last acknowledged row',
    buckets: SECONDS,
    registers,
  });
  let appliedAt: number | undefined;
  gauge('apply_age_seconds', 'seconds since the last apply that left nothing undone', () =>
    since(appliedAt, source),
  );
  const applyFailures = new Counter({
    name: `${PREFIX}apply_failures_total`,
    help: 'applies that left rows undone, which are tried again, by error code',
    labelNames: ['code'],
    registers,
  });
  const failedRows = new Gauge({
    name: `${PREFIX}failed_rows`,
    help: 'rows that are not as desired on the target, by table',
    labelNames: ['table'],
    registers,
  });
  const endpoints = new Gauge({
    name: `${PREFIX}endpoints`,
    help: 'workload endpoints by whether all of their rows are on the target; failed ones are closed',
    labelNames: ['state'],
    registers,
  });
  const endpointFailed = new Gauge({
    name: `${PREFIX}endpoint_failed`,
    help: '1 for each closed endpoint and each policy of it',
    labelNames: ['workload', 'policy'],
    registers,
  });
  const problems = new Gauge({
    name: `${PREFIX}policy_problems`,
    help: 'things that Felix asked for and that were closed instead; the log names each',
    registers,
  });
  collectDefaultMetrics({ register: registry });

  return {
    registry,
    message(kind) {
      messages.inc({ kind });
    },
    waiting(count) {
      waiting.set(count);
    },
    inSync() {
      syncedAt ??= source.now();
    },
    wrote(seconds, count) {
      writeSeconds.observe(seconds);
      writeUpdates.inc(count);
    },
    programmed({ applied, up, down, failures, problems: found, seconds }) {
      applySeconds.observe(seconds);
      updates.inc({ operation: 'insert' }, applied.inserted);
      updates.inc({ operation: 'modify' }, applied.modified);
      updates.inc({ operation: 'delete' }, applied.deleted);
      if (applied.failed.size === 0) appliedAt = source.now();
      if (applied.error !== undefined) applyFailures.inc({ code: applied.error.code });
      failedRows.reset();
      for (const { row } of applied.failed.values()) failedRows.inc({ table: row.table });
      endpoints.set({ state: 'up' }, up.size);
      endpoints.set({ state: 'failed' }, down.size);
      endpointFailed.reset();
      const series = failures.flatMap(({ workload, policies }) =>
        policies.map((policy) => ({ workload, policy })),
      );
      for (const labels of series.slice(0, MAX_FAILED_SERIES)) endpointFailed.set(labels, 1);
      problems.set(found.length);
    },
  };
}

function since(then: number | undefined, source: MetricsSource): number | undefined {
  return then === undefined ? undefined : source.now() - then;
}

/**
 * A target that comes and goes. The session connects, becomes primary, has the pipeline run, and starts over when any of it is lost:
 *
 * ```
 *              server answers                  we are primary, the pipeline runs
 *  connecting ────────────────► claiming ─────────────────────────────────────► ready
 *    ▲  ▲                          │ another controller is primary: `standby`     │
 *    │  └── back-off ── refused ◄──┘ until the server says that we are            │
 *    └───────────── back-off ◄── stream ended, mastership lost, a call failed ◄───┘
 *
 *  close(): `closed`, from anywhere. `failed`: the first connection shows that the configuration is wrong.
 * ```
 *
 * Whoever writes calls `acquire` first. It waits for `ready`, and hands out that one connection: when it is lost, every write throws
 * until `acquire` is called again, so that no half of an apply ever goes to a target that was restarted in between. Then the
 * reconciler reads the target again before it writes. Certificates are read from their files at each connection.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { CalicoP4Error } from '../errors';
import type { Logger } from '../log';
import { buildCatalogue } from '../p4target/catalogue';
import { P4Client } from '../p4target/client';
import { LiveRows, tableSize } from '../p4target/live-rows';
import { P4_DPDK_ORDER } from '../p4target/p4-dpdk/adapter';
import { Reconciler } from '../p4target/reconciler';
import { retryDelay, type RetryPolicy } from '../p4target/retry';
import type { RowTarget } from '../p4target/row-target';
import type { DriverConfig } from './config';
import type { CounterReader } from './log-rules';
import { connection, electionId, loadPipeline, targetTraits } from './target';

export type TargetState =
  /** `reason`: why there is no connection; "" before the first try. */
  | { readonly kind: 'connecting'; readonly reason: string }
  /** Connected, and another controller is primary. */
  | { readonly kind: 'standby'; readonly reason: string }
  | { readonly kind: 'ready' }
  | { readonly kind: 'failed'; readonly error: CalicoP4Error }
  | { readonly kind: 'closed' };

export interface TargetSession {
  readonly state: TargetState;
  /** Of the connection that was acquired last. Throws TARGET_UNREACHABLE or TARGET_NOT_PRIMARY once it is lost. */
  readonly rows: RowTarget & CounterReader;
  readonly reconciler: Reconciler;
  /** Times that a connection that was ready was lost. */
  readonly losses: number;
  /** True when the connection that is ready now is the one that was acquired last. */
  readonly held: boolean;
  /** @throws CalicoP4Error TARGET_UNREACHABLE after close(); PIPELINE_MISMATCH, CONFIG_INVALID at the first connection */
  acquire(): Promise<void>;
  close(): void;
}

export interface TargetSessionOptions {
  readonly config: DriverConfig['target'];
  readonly log: Logger;
  /** Each time that a connection is there to be acquired. */
  readonly onReady: () => void;
  /** After each P4Runtime Write: seconds, and updates in it. */
  readonly onWrite?: (seconds: number, updates: number) => void;
  readonly retry?: RetryPolicy;
  /** 0 up to 1, for the spread of the retries. */
  readonly random?: () => number;
  /** Milliseconds between two looks at whether the target still runs our pipeline. */
  readonly probeInterval?: number;
}

/** Connections are tried for ever, every ten seconds at most. */
export const RECONNECT: RetryPolicy = { attempts: Infinity, firstDelay: 200, maxDelay: 10_000, factor: 2 };
const PROBE_INTERVAL = 10_000;

/** Starts connecting at once. @throws CalicoP4Error PIPELINE_MISMATCH when the installation is broken */
export function openTargetSession(options: TargetSessionOptions): TargetSession {
  const { config, log, onReady, retry = RECONNECT, random = Math.random } = options;
  const traits = targetTraits(config.kind);
  const pipeline = loadPipeline();
  const catalogue = buildCatalogue(pipeline.p4info);
  const stop = new AbortController();
  let state: TargetState = { kind: 'connecting', reason: '' };
  let live: LiveRows | undefined;
  let held: LiveRows | undefined;
  /** Ends the connection that is `live`. */
  let lose: (error: CalicoP4Error) => void = () => undefined;
  let losses = 0;
  let waiters: (() => void)[] = [];

  const enter = (next: TargetState): void => {
    if (state.kind === 'closed') return;
    const said = 'reason' in next ? next.reason : '';
    const news = next.kind !== state.kind || ('reason' in state && state.reason !== said);
    state = next;
    if (news && said !== '') log.warn(`target ${next.kind}`, { target: config.address, reason: said });
    for (const wake of waiters.splice(0)) wake();
  };

  async function connectOnce(): Promise<CalicoP4Error> {
    let over: (error: CalicoP4Error) => void = () => undefined;
    const lost = new Promise<CalicoP4Error>((resolve) => {
      over = resolve;
    });
    const client = await P4Client.connect({
      ...connection(config),
      electionId: electionId(config.electionId),
      maxBatch: traits.maxBatch,
      waitAsBackup: true,
      signal: stop.signal,
      onWaiting: (reason) => {
        enter({ kind: 'standby', reason });
      },
      onLost: (error) => {
        over(error);
      },
      ...(options.onWrite === undefined ? {} : { onWrite: options.onWrite }),
    });
    let probe: NodeJS.Timeout | undefined;
    try {
      await client.ensurePipeline(pipeline);
      const cookie = await client.pipelineCookie();
      const rows = new LiveRows(client, catalogue, traits);
      lose = (error) => {
        if (live === rows) live = undefined;
        over(error);
      };
      const look = async (): Promise<void> => {
        try {
          if ((await client.pipelineCookie()) !== cookie) lose(replaced(client.target));
        } catch (error) {
          lose(asTargetError(error));
        }
      };
      probe = setInterval(() => void look(), options.probeInterval ?? PROBE_INTERVAL);
      live = rows;
      log.info('target ready', { target: config.address });
      enter({ kind: 'ready' });
      onReady();
      const error = await lost;
      losses++;
      return error;
    } finally {
      clearInterval(probe);
      live = undefined;
      client.close();
    }
  }

  async function keepConnected(): Promise<void> {
    let ready = false;
    for (let attempt = 2; !stop.signal.aborted; attempt++) {
      const began = Date.now();
      let error: CalicoP4Error;
      try {
        error = await connectOnce();
        ready = true;
        // One that held for a while is a new start; one that is lost again at once is not.
        if (Date.now() - began > retry.maxDelay) attempt = 2;
      } catch (cause) {
        error = asTargetError(cause);
        if (!ready && (error.code === 'PIPELINE_MISMATCH' || error.code === 'CONFIG_INVALID')) {
          enter({ kind: 'failed', error });
          return;
        }
      }
      enter({ kind: 'connecting', reason: `${error.message} [${error.code}]` });
      await sleep(retryDelay(retry, attempt, random), undefined, { signal: stop.signal }).catch(
        () => undefined,
      );
    }
  }

  const using = async <T>(call: (rows: LiveRows) => Promise<T>): Promise<T> => {
    const rows = held;
    if (rows === undefined || rows !== live) throw gone(config.address, state);
    try {
      return await call(rows);
    } catch (error) {
      // Nothing is known of what was written: whatever the reason, the next connection reads it again.
      if (held === rows) lose(asTargetError(error));
      throw error;
    }
  };
  const rows: TargetSession['rows'] = {
    traits,
    write: (updates) => using((target) => target.write(updates)),
    readTable: (table) => using((target) => target.readTable(table)),
    readRow: (row) => using((target) => target.readRow(row)),
    // No write hangs on it: a target that can not read counters is not left for that.
    readCounter: (name) => {
      if (held === undefined || held !== live) return Promise.reject(gone(config.address, state));
      return held.readCounter(name);
    },
    tableSize: (table) => tableSize(catalogue, table),
  };
  const reconciler = new Reconciler(rows, P4_DPDK_ORDER);
  void keepConnected();

  return {
    rows,
    reconciler,
    get state() {
      return state;
    },
    get losses() {
      return losses;
    },
    get held() {
      return live !== undefined && held === live;
    },
    async acquire() {
      while (live === undefined) {
        if (state.kind === 'failed') throw state.error;
        if (state.kind === 'closed') throw gone(config.address, state);
        await new Promise<void>((resolve) => {
          waiters.push(resolve);
        });
      }
      if (held === live) return;
      held = live;
      reconciler.forget();
    },
    close() {
      enter({ kind: 'closed' });
      stop.abort();
      lose(gone(config.address, state));
      waiters = [];
    },
  };
}

function replaced(target: string): CalicoP4Error {
  return new CalicoP4Error(
    'PIPELINE_MISMATCH',
    `${target} does not run the pipeline any more that we have set: it is set again; look for who replaced it`,
  );
}

function gone(address: string, state: TargetState): CalicoP4Error {
  const why = 'reason' in state && state.reason !== '' ? ` (${state.reason})` : '';
  return new CalicoP4Error(
    state.kind === 'standby' ? 'TARGET_NOT_PRIMARY' : 'TARGET_UNREACHABLE',
    `P4Runtime target ${address}: the connection was lost${why}; it is opened again by itself`,
  );
}

function asTargetError(error: unknown): CalicoP4Error {
  if (error instanceof CalicoP4Error) return error;
  throw error;
}

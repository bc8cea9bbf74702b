/**
 * The loop: a batch of Felix's messages, then the target, then the status back. Nothing is enforced before InSync, and an endpoint is
 * reported up only once its rows are on the target. While the target is written, or away, nothing is read, so Felix waits and coalesces.
 *
 * What wakes it: a batch; a target that has come (back); a change outside of Felix; and the time to try rows again that the target refused.
 */
import { CalicoP4Error } from '../errors';
import type { Logger } from '../log';
import type { FelixModel, WorkloadEndpointId } from '../model/model';
import { retryDelay, type RetryPolicy } from '../p4target/retry';
import type { FelixBatch, FelixLink } from './felix/felix-link';
import type { EndpointStatus } from './felix/status-encoder';
import type { Node, ProgramResult } from './node';

export interface ServeOptions {
  readonly link: FelixLink;
  readonly node: Pick<Node, 'program'>;
  readonly log: Logger;
  readonly heartbeatSeconds: number;
  /** A target that may go and come back; without it, a lost target ends the loop. */
  readonly target?: ReturningTarget;
  /** Something besides Felix that rows hang on, and that may change by itself. */
  readonly outside?: Outside;
  /** Rows that were refused are tried again after this, when nothing new comes from Felix. */
  readonly retry?: RetryPolicy;
  /** 0 up to 1, for the spread of the retries. */
  readonly random?: () => number;
  /** Gets what sends a heartbeat at once: a Felix that is gone is noticed by it, whatever the loop waits for. */
  readonly onBeat?: (beat: () => void) => void;
  /** A batch is in the model, and its rows are about to be written. */
  readonly onBatch?: (batch: FelixBatch) => void;
  /** After each write of the target. */
  readonly onProgrammed?: (result: ProgramResult, batch: FelixBatch | undefined) => void;
}

export interface Outside {
  /** It changed since rows were last made of it. */
  readonly stale: boolean;
  /** Has the loop look at `stale` whenever it may have changed. */
  onChange(look: () => void): void;
}

export interface ReturningTarget {
  /** Waits for the target. Throws when that has no sense. */
  acquire(): Promise<void>;
  /** False when `program` must run again, though Felix said nothing: the target came back. */
  readonly held: boolean;
  /** Has the loop look at `held` whenever it may have changed. */
  onReady(look: () => void): void;
}

export const RETRY_ROWS: RetryPolicy = { attempts: Infinity, firstDelay: 1000, maxDelay: 60_000, factor: 2 };

/** Runs until the link ends. @throws CalicoP4Error FELIX_* when Felix goes away or can not be trusted, TARGET_* */
export async function serveFelix(options: ServeOptions): Promise<void> {
  const {
    link,
    node,
    log,
    heartbeatSeconds,
    target,
    outside,
    retry = RETRY_ROWS,
    random = Math.random,
  } = options;
  const reporter = createStatusReporter(link);
  const problems = createProblemLog(log);
  const started = Date.now();

  // What there is to do, and the loop's wait for it. Each promise is watched once, so that no wait leaves anything behind.
  const news = createNews();
  const todo: { arrived: IteratorResult<FelixBatch, void> | undefined; retry: boolean } = {
    arrived: undefined,
    retry: false,
  };
  const batches = link[Symbol.asyncIterator]();
  const readOn = (): void => {
    batches.next().then((result) => {
      todo.arrived = result;
      news.come();
    }, news.fail);
  };
  target?.onReady(news.come);
  outside?.onChange(news.come);
  const beat = (): void => {
    link.sendHeartbeat(new Date(), (Date.now() - started) / 1000).catch(news.fail);
  };
  const beats = setInterval(beat, heartbeatSeconds * 1000);
  options.onBeat?.(beat);
  let retryTimer: NodeJS.Timeout | undefined;
  let failedInARow = 0;

  const program = async (batch: FelixBatch | undefined): Promise<void> => {
    clearTimeout(retryTimer);
    const result = await programOnce();
    problems(result);
    await reporter(link.model, result);
    options.onProgrammed?.(result, batch);
    if (result.applied.failed.size === 0) {
      failedInARow = 0;
      return;
    }
    failedInARow++;
    retryTimer = setTimeout(
      () => {
        todo.retry = true;
        news.come();
      },
      retryDelay(retry, failedInARow + 1, random),
    );
  };

  /** As often as the target goes away meanwhile. Each time it is read again before it is written (target-session.ts). */
  const programOnce = async (): Promise<ProgramResult> => {
    for (;;) {
      if (target?.held === false) await Promise.race([target.acquire(), news.failure]);
      try {
        return await node.program(link.model);
      } catch (error) {
        if (target === undefined || !isOfTarget(error)) throw error;
        log.warn('the target was lost while it was written; it is read again and written when it is back', {
          code: error.code,
          reason: error.message,
        });
      }
    }
  };

  try {
    readOn();
    for (;;) {
      const returned = target !== undefined && link.model.inSync && !target.held;
      const moved = outside?.stale === true && link.model.inSync;
      if (todo.arrived === undefined && !todo.retry && !returned && !moved) {
        await news.next();
        continue;
      }
      const result = todo.arrived;
      todo.arrived = undefined;
      todo.retry = false;
      if (result === undefined) {
        await program(undefined);
        continue;
      }
      if (result.done === true) return;
      const batch = result.value;
      options.onBatch?.(batch);
      if (batch.inSync) {
        await program(batch);
        if (batch.changes.inSync) {
          log.info('in sync with Felix', { frame: batch.frame, workloads: link.model.workloads.size });
          await link.sendDataplaneInSync();
          await link.sendHeartbeat(new Date(), (Date.now() - started) / 1000);
        }
      }
      readOn();
    }
  } finally {
    clearInterval(beats);
    clearTimeout(retryTimer);
    await batches.return?.();
  }
}

interface News {
  readonly come: () => void;
  readonly fail: (error: unknown) => void;
  /** Resolves at what has come since the last time, or comes. Rejects after fail(). */
  next(): Promise<void>;
  /** Rejects after fail(). */
  readonly failure: Promise<never>;
}

function createNews(): News {
  let pending = false;
  let wake: (() => void) | undefined;
  let failure: { readonly error: unknown } | undefined;
  let reject: (error: unknown) => void = () => undefined;
  const failed = new Promise<never>((_, no) => {
    reject = no;
  });
  // Nobody may be waiting when it comes.
  failed.catch(() => undefined);
  const come = (): void => {
    pending = true;
    wake?.();
  };
  return {
    come,
    failure: failed,
    fail(error) {
      failure ??= { error };
      reject(error);
      come();
    },
    async next() {
      if (!pending) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      pending = false;
      wake = undefined;
      if (failure !== undefined) throw failure.error;
    },
  };
}

function isOfTarget(error: unknown): error is CalicoP4Error {
  return (
    error instanceof CalicoP4Error && (error.code.startsWith('TARGET_') || error.code === 'PIPELINE_MISMATCH')
  );
}

/** Sends what changed: Felix keeps the last status of each endpoint. */
function createStatusReporter(link: FelixLink): (model: FelixModel, result: ProgramResult) => Promise<void> {
  const reported = new Map<string, { readonly id: WorkloadEndpointId; readonly status: EndpointStatus }>();
  const hosts = new Map<string, EndpointStatus>();
  /** Felix's words: `error` for an endpoint that no interface matches (endpoint_mgr.go, calculateHostEndpointStatus). */
  const reportHosts = async (
    model: FelixModel,
    { hostsUp, hostsDown }: Pick<ProgramResult, 'hostsUp' | 'hostsDown'>,
  ): Promise<void> => {
    for (const id of hosts.keys()) {
      if (model.hostEndpoints.has(id)) continue;
      hosts.delete(id);
      await link.sendHostEndpointStatusRemove(id);
    }
    for (const id of model.hostEndpoints.keys()) {
      if (!hostsUp.has(id) && !hostsDown.has(id)) continue;
      const status = hostsUp.has(id) ? 'up' : 'error';
      if (hosts.get(id) === status) continue;
      hosts.set(id, status);
      await link.sendHostEndpointStatus(id, status);
    }
  };
  return async (model, result) => {
    const { up, down } = result;
    await reportHosts(model, result);
    for (const [key, { id }] of reported) {
      if (model.workloads.has(key)) continue;
      reported.delete(key);
      await link.sendWorkloadStatusRemove(id);
    }
    for (const [key, { id, state }] of model.workloads) {
      // Felix goes on talking while rows are tried again: what is newer than the write has no status yet.
      if (!up.has(key) && !down.has(key)) continue;
      const status = !up.has(key) ? 'error' : state === 'active' ? 'up' : 'down';
      if (reported.get(key)?.status === status) continue;
      reported.set(key, { id, status });
      await link.sendWorkloadStatus(id, status);
    }
  };
}

/** Each problem and each endpoint once, until it is gone and comes back. */
function createProblemLog(log: Logger): (result: ProgramResult) => void {
  let known = new Set<string>();
  let lacking = new Set<string>();
  let closed = new Set<string>();
  let said = '';
  return ({ problems, notEnforced, applied, failures, nodeFailures }) => {
    const now = new Set(problems);
    for (const problem of now) if (!known.has(problem)) log.warn('closed instead of done', { problem });
    known = now;

    const lack = new Set<string>();
    for (const { endpoint, what } of notEnforced) {
      const key = `${endpoint} ${what}`;
      if (!lacking.has(key) && !lack.has(key)) log.warn('not enforced', { endpoint, what });
      lack.add(key);
    }
    lacking = lack;

    const error = applied.error === undefined ? '' : `${applied.error.code} ${applied.error.message}`;
    if (applied.error !== undefined && error !== said) {
      log.error(applied.error.message, {
        code: applied.error.code,
        failedRows: applied.failed.size,
        closedEndpoints: failures.length,
        ...(nodeFailures.length > 0 ? { ofTheNode: nodeFailures.slice(0, 10) } : {}),
      });
    }
    if (error === '' && said !== '') log.info('all rows that were refused are on the target now');
    said = error;

    for (const { workload, policies, reason } of failures) {
      if (!closed.has(workload)) log.error('endpoint is closed', { workload, policies, reason });
    }
    const still = new Set(failures.map(({ workload }) => workload));
    for (const workload of closed) if (!still.has(workload)) log.info('endpoint is open again', { workload });
    closed = still;
  };
}

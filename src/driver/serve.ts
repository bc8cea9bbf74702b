/**
 * The loop: a batch of Felix's messages, then the target, then the status back. Nothing is enforced before InSync, and an endpoint is
 * reported up only once its rows are on the target. While the target is written nothing is read, so Felix waits and coalesces.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '../log';
import type { FelixModel, WorkloadEndpointId } from '../model/model';
import type { FelixBatch, FelixLink } from './felix/felix-link';
import type { EndpointStatus } from './felix/status-encoder';
import type { Node, ProgramResult } from './node';

export interface ServeOptions {
  readonly link: FelixLink;
  readonly node: Node;
  readonly log: Logger;
  readonly heartbeatSeconds: number;
  /** After each write of the target. */
  readonly onProgrammed?: (result: ProgramResult, batch: FelixBatch | undefined) => void;
}

/** Seconds until rows that the target refused are tried again, when nothing new comes from Felix. */
const RETRY_SECONDS = 5;

/** Runs until the link ends. @throws CalicoP4Error FELIX_* when Felix goes away or can not be trusted, TARGET_* */
export async function serveFelix({
  link,
  node,
  log,
  heartbeatSeconds,
  onProgrammed,
}: ServeOptions): Promise<void> {
  const reporter = createStatusReporter(link);
  const problems = createProblemLog(log);
  const started = Date.now();
  let heartbeatFailure: Error | undefined;
  const beat = setInterval(() => {
    link.sendHeartbeat(new Date(), (Date.now() - started) / 1000).catch((error: unknown) => {
      heartbeatFailure = error instanceof Error ? error : new Error(String(error));
    });
  }, heartbeatSeconds * 1000);

  const program = async (batch: FelixBatch | undefined): Promise<boolean> => {
    const result = await node.program(link.model);
    problems(result);
    await reporter(link.model, result);
    onProgrammed?.(result, batch);
    return result.applied.failed.size === 0;
  };

  const batches = link[Symbol.asyncIterator]();
  try {
    let complete = true;
    let next = batches.next();
    for (;;) {
      if (heartbeatFailure !== undefined) throw heartbeatFailure;
      const arrived = complete
        ? await next
        : await Promise.race([next, sleep(RETRY_SECONDS * 1000, undefined)]);
      if (arrived === undefined) {
        complete = await program(undefined);
        continue;
      }
      if (arrived.done === true) return;
      const batch = arrived.value;
      if (batch.inSync) {
        complete = await program(batch);
        if (batch.changes.inSync) {
          log.info('in sync with Felix', { frame: batch.frame, workloads: link.model.workloads.size });
          await link.sendDataplaneInSync();
          await link.sendHeartbeat(new Date(), (Date.now() - started) / 1000);
        }
      }
      next = batches.next();
    }
  } finally {
    clearInterval(beat);
    await batches.return?.();
  }
}

/** Sends what changed: Felix keeps the last status of each endpoint. */
function createStatusReporter(link: FelixLink): (model: FelixModel, result: ProgramResult) => Promise<void> {
  const reported = new Map<string, { readonly id: WorkloadEndpointId; readonly status: EndpointStatus }>();
  return async (model, { up }) => {
    for (const [key, { id }] of reported) {
      if (model.workloads.has(key)) continue;
      reported.delete(key);
      await link.sendWorkloadStatusRemove(id);
    }
    for (const [key, { id, state }] of model.workloads) {
      const status = !up.has(key) ? 'error' : state === 'active' ? 'up' : 'down';
      if (reported.get(key)?.status === status) continue;
      reported.set(key, { id, status });
      await link.sendWorkloadStatus(id, status);
    }
  };
}

/** Each problem once, until it is gone and comes back. */
function createProblemLog(log: Logger): (result: ProgramResult) => void {
  let known = new Set<string>();
  return ({ problems, applied }) => {
    const now = new Set(problems);
    for (const problem of now) if (!known.has(problem)) log.warn('closed instead of done', { problem });
    known = now;
    if (applied.error !== undefined) {
      log.error(applied.error.message, { code: applied.error.code, failedRows: applied.failed.size });
    }
  };
}

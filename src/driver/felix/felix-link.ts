import type { Readable, Writable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { CalicoP4Error } from '../../errors';
import type { FelixModel, WorkloadEndpointId } from '../../model/model';
import { createFelixSession } from './felix-session';
import type { Form } from './forms';
import { encodeFrame } from './frame-decoder';
import type { ModelChanges } from './model-builder';
import type { EndpointStatus, StatusMessage } from './status-encoder';
import { encodeStatus } from './status-encoder';

export interface FelixLinkOptions {
  /** ToDataplane frames: fd 3, a socket, a recording. */
  readonly input: Readable;
  /** FromDataplane frames; without it, what is sent goes nowhere. May be the same socket as `input`. */
  readonly output?: Writable;
  /** Largest message accepted, in bytes. Default 64 MiB. */
  readonly maxFrameBytes?: number;
  /** A batch ends when it has taken this many bytes, so that a Felix that never pauses can not starve the consumer. Default 4 MiB. */
  readonly maxBatchBytes?: number;
  /**
   * Felix writes the messages of one change of the datastore one by one, each with a write of its own. A batch goes on until nothing came for
   * `quietMs`, for at most `mostMs` after it first ran dry, so that they are one write of the target and not one and then the rest. Default 2 and 20.
   */
  readonly gather?: { readonly quietMs: number; readonly mostMs: number };
  /** For recordings: the end of the input, at a frame's end, ends the iteration instead of failing. Default false. */
  readonly endsNormally?: boolean;
  /** For recordings: end the iteration after this many frames, or right after InSync, as if the input ended there. */
  readonly until?: number | 'in-sync';
  /** FelixSessionOptions.onMessage. */
  readonly onMessage?: (kind: string) => void;
}

/** What has arrived since the last batch, applied to the model already. */
export interface FelixBatch {
  readonly changes: ModelChanges;
  /** Messages in it; `frame` is the number of the last one, from 0. */
  readonly messages: number;
  readonly frame: number;
  /** The model is complete: nothing may be enforced before this is true. */
  readonly inSync: boolean;
}

/**
 * The connection to one Felix process. Iterate it once: each step waits until something has arrived, drains all of it and what
 * follows at once, and gives it as one batch. While the consumer works nothing is read, so the pipe fills and Felix waits and coalesces.
 *
 * The iteration ends by throwing: FELIX_LINK_CLOSED when Felix went away between two frames, any other FELIX_* code when the stream
 * can not be trusted. What was applied to the model in an unfinished batch must then not be enforced. Leaving the loop closes the link.
 */
export interface FelixLink extends AsyncIterable<FelixBatch> {
  readonly model: FelixModel;
  formCandidates(): readonly Form[];
  /** Felix writes it to the datastore with a time to live (ReportingTTLSecs): call it every 30 s or so. */
  sendHeartbeat(now: Date, uptimeSeconds: number): Promise<void>;
  /** Once the endpoint's rows are on the target. The endpoint itself goes along as Felix sent it. */
  sendWorkloadStatus(id: WorkloadEndpointId, status: EndpointStatus): Promise<void>;
  sendWorkloadStatusRemove(id: WorkloadEndpointId): Promise<void>;
  sendHostEndpointStatus(id: string, status: EndpointStatus): Promise<void>;
  sendHostEndpointStatusRemove(id: string): Promise<void>;
  /** Today's Felix ignores it with a warning. */
  sendDataplaneInSync(): Promise<void>;
  /** Closes both directions; an iteration that waits ends with FELIX_LINK_CLOSED. */
  close(): void;
}

const DEFAULT_GATHER = { quietMs: 2, mostMs: 20 };
const DEFAULT_MAX_BATCH_BYTES = 4 * 1024 * 1024;

export function createFelixLink(options: FelixLinkOptions): FelixLink {
  const { input, output, until, maxBatchBytes = DEFAULT_MAX_BATCH_BYTES, endsNormally = false } = options;
  const { maxFrameBytes, onMessage, gather = DEFAULT_GATHER } = options;
  const session = createFelixSession({
    ...(maxFrameBytes === undefined ? {} : { maxFrameBytes }),
    ...(onMessage === undefined ? {} : { onMessage }),
  });
  const stop = (): boolean =>
    until === 'in-sync' ? session.model.inSync : until !== undefined && session.frames >= until;
  let failure: CalicoP4Error | undefined;
  let ended = false;
  let sequence = 0;
  /** How often the input has signalled: counted, so that a signal that comes while nobody waits is not lost. */
  let signals = 0;
  let wake: (() => void) | undefined;

  const signal = (): void => {
    signals += 1;
    wake?.();
    wake = undefined;
  };
  const fail = (what: string, cause?: unknown): void => {
    failure ??= linkClosed(what, cause);
    signal();
  };
  input.on('readable', signal);
  input.on('end', () => {
    ended = true;
    signal();
  });
  input.on('error', (e) => {
    fail(`reading from Felix failed (${e.message})`, e);
  });
  input.on('close', () => {
    if (!ended) {
      fail('the link to Felix was closed');
    }
  });
  output?.on('error', (e) => {
    fail(`writing to Felix failed (${e.message})`, e);
  });

  /** Waits until the input signals. False when it did not within `ms`. */
  function signalled(ms?: number): Promise<boolean> {
    return new Promise((resolve) => {
      const timer =
        ms === undefined
          ? undefined
          : setTimeout(() => {
              wake = undefined;
              resolve(false);
            }, ms);
      wake = () => {
        clearTimeout(timer);
        resolve(true);
      };
    });
  }

  /**
   * Reads what is there, and what the kernel still holds of it: one turn of the event loop moves the next piece up. Then waits a little
   * for what belongs to it (FelixLinkOptions.gather). False when it stopped for another reason than that nothing is left.
   */
  async function drain(): Promise<boolean> {
    const before = session.frames;
    let until: number | undefined;
    for (let taken = 0; taken < maxBatchBytes && !stop();) {
      const chunk = input.read() as Uint8Array | null;
      if (chunk !== null) {
        taken += chunk.length;
        session.push(chunk, stop);
        await nextTurn();
        continue;
      }
      if (session.frames === before || ended || failure !== undefined) {
        return true;
      }
      until ??= performance.now() + gather.mostMs;
      if (performance.now() >= until || !(await signalled(gather.quietMs))) {
        return true;
      }
    }
    return false;
  }

  async function* batches(): AsyncGenerator<FelixBatch, void, undefined> {
    try {
      while (!stop()) {
        const before = { frames: session.frames, signals };
        const dry = await drain();
        if (session.frames > before.frames) {
          yield {
            changes: session.takeChanges(),
            messages: session.frames - before.frames,
            frame: session.frames - 1,
            inSync: session.model.inSync,
          };
        } else if (ended) {
          session.end();
          if (endsNormally) {
            return;
          }
          throw linkClosed('Felix closed the link');
        } else if (failure !== undefined) {
          throw failure;
        } else if (dry && signals === before.signals) {
          await signalled();
        }
      }
    } finally {
      close();
    }
  }

  function close(): void {
    input.destroy();
    output?.destroy();
  }

  async function send(message: StatusMessage): Promise<void> {
    if (output === undefined) {
      return;
    }
    if (failure !== undefined) {
      throw failure;
    }
    const frame = encodeFrame(encodeStatus(message, sequence));
    sequence += 1;
    await new Promise<void>((resolve, reject) => {
      output.write(frame, (e) => {
        if (e) {
          reject(linkClosed(`writing to Felix failed (${e.message})`, e));
        } else {
          resolve();
        }
      });
    });
  }

  let iterating = false;
  return {
    model: session.model,
    formCandidates: () => session.formCandidates(),
    sendHeartbeat: (now, uptimeSeconds) => send({ kind: 'process', now, uptimeSeconds }),
    sendWorkloadStatus(id, status) {
      const encoded = session.encodedWorkload(id);
      return send({ kind: 'workload', id, status, ...(encoded === undefined ? {} : { encoded }) });
    },
    sendWorkloadStatusRemove: (id) => send({ kind: 'workload-remove', id }),
    sendHostEndpointStatus: (id, status) => send({ kind: 'host-endpoint', id, status }),
    sendHostEndpointStatusRemove: (id) => send({ kind: 'host-endpoint-remove', id }),
    sendDataplaneInSync: () => send({ kind: 'dataplane-in-sync' }),
    close,
    [Symbol.asyncIterator]() {
      if (iterating) {
        throw new Error('a Felix link can be iterated only once');
      }
      iterating = true;
      return batches();
    },
  };
}

function linkClosed(what: string, cause?: unknown): CalicoP4Error {
  return new CalicoP4Error(
    'FELIX_LINK_CLOSED',
    `${what}: the driver ends, and Felix's supervisor starts both again`,
    {},
    { cause },
  );
}

import type { FelixModel, WorkloadEndpointId } from '../../model/model';
import { workloadKey } from '../../model/model';
import { createEnvelopeReader } from './envelope';
import { createFormDetector } from './form-detector';
import type { Form } from './forms';
import { createFrameDecoder } from './frame-decoder';
import { decodeMessage } from './message-decoder';
import type { ModelChanges } from './model-builder';
import { createModelBuilder } from './model-builder';

/** One stream of Felix's, from bytes to the model: no I/O, no waiting. */
export interface FelixSession {
  readonly model: FelixModel;
  /** Messages applied so far: the number of the next frame. */
  readonly frames: number;
  /** The forms of the contract that the stream may have; one of them once something has told them apart. */
  formCandidates(): readonly Form[];
  /**
   * Takes bytes, cut anywhere, and applies the messages that are now complete; once `stop` says so, the rest is thrown away.
   * The first error is the end: it is thrown again by every later call, and the model must not be enforced any more.
   * @throws CalicoP4Error FELIX_*
   */
  push(chunk: Uint8Array, stop?: () => boolean): void;
  /** The stream has ended. @throws CalicoP4Error FELIX_STREAM_TRUNCATED when inside a frame. */
  end(): void;
  takeChanges(): ModelChanges;
  /** The bytes of felix.WorkloadEndpoint as Felix last sent them; undefined when it has no such endpoint. */
  encodedWorkload(id: WorkloadEndpointId): Uint8Array | undefined;
}

export interface FelixSessionOptions {
  readonly maxFrameBytes?: number;
  /** After each message: its kind (messages.ts), or the payload's name where the model does not know it. */
  readonly onMessage?: (kind: string) => void;
}

export function createFelixSession(options: FelixSessionOptions = {}): FelixSession {
  const decoder = createFrameDecoder(options);
  const envelopes = createEnvelopeReader();
  const detector = createFormDetector();
  const builder = createModelBuilder();
  const encoded = new Map<string, Uint8Array>();
  let frames = 0;
  let broken: Error | undefined;

  function apply(message: Uint8Array): void {
    const envelope = envelopes.read(message);
    const form = detector.observe(envelope);
    const decoded = decodeMessage(envelope, form);
    builder.apply(decoded);
    if (decoded.kind === 'workload') {
      encoded.set(workloadKey(decoded.workload.id), decoded.encoded);
    } else if (decoded.kind === 'workload-remove') {
      encoded.delete(workloadKey(decoded.id));
    }
    frames += 1;
    options.onMessage?.(decoded.kind === 'other' ? decoded.name : decoded.kind);
  }

  return {
    model: builder.model,
    get frames() {
      return frames;
    },
    formCandidates: () => detector.candidates(),
    push(chunk, stop = () => false) {
      if (broken !== undefined) {
        throw broken;
      }
      try {
        for (const message of decoder.push(chunk)) {
          if (stop()) {
            return;
          }
          apply(message);
        }
      } catch (e) {
        broken = e instanceof Error ? e : new Error(String(e));
        throw broken;
      }
    },
    end: () => {
      decoder.end();
    },
    takeChanges: () => builder.takeChanges(),
    encodedWorkload: (id) => encoded.get(workloadKey(id)),
  };
}

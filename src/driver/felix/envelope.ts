import { CalicoP4Error } from '../../errors';
import { readFields, WireError } from './wire';

/**
 * A frame's message, opened just so far that its payload can be looked at: the form of the contract is told from the
 * payload, and only then is the payload decoded.
 */
export interface Envelope {
  /** Number of the frame in the stream, from 0. Felix's sequence number is the same, and is checked to be. */
  readonly frame: number;
  /** Field number of the payload in ToDataplane. */
  readonly payload: number;
  readonly body: Uint8Array;
}

const SEQUENCE_NUMBER = 15;

/** Opens the frames of one stream in their order. */
export interface EnvelopeReader {
  /** @throws CalicoP4Error FELIX_MESSAGE_INVALID, FELIX_SEQUENCE_GAP */
  read(message: Uint8Array): Envelope;
}

export function createEnvelopeReader(): EnvelopeReader {
  let frame = 0;

  function invalid(what: string, cause?: unknown): CalicoP4Error {
    return new CalicoP4Error(
      'FELIX_MESSAGE_INVALID',
      `frame ${frame} of the Felix stream is no ToDataplane message: ${what}. Nothing of the stream can be trusted`,
      { frame },
      { cause },
    );
  }

  return {
    read(message) {
      let sequence = 0;
      let payload: { readonly number: number; readonly from: number; readonly to: number } | undefined;
      try {
        for (const field of readFields(message)) {
          if (field.number === SEQUENCE_NUMBER && field.wireType === 0) {
            sequence = field.value;
          } else if (field.wireType !== 2) {
            // Whatever a later contract says here, it says it about the payload: not to be skipped.
            throw new WireError(`field ${field.number} is unknown`);
          } else if (payload !== undefined) {
            throw new WireError(`it has two payloads, ${payload.number} and ${field.number}`);
          } else {
            payload = field;
          }
        }
      } catch (e) {
        throw e instanceof WireError ? invalid(e.message, e) : e;
      }
      if (payload === undefined) {
        throw invalid('it has no payload');
      }
      if (sequence !== frame) {
        throw new CalicoP4Error(
          'FELIX_SEQUENCE_GAP',
          `frame ${frame} of the Felix stream has sequence number ${sequence}: messages were lost or repeated, ` +
            'or the link was joined in the middle. Restart Felix, which sends a full snapshot',
          { frame, sequence },
        );
      }
      const envelope = { frame, payload: payload.number, body: message.subarray(payload.from, payload.to) };
      frame += 1;
      return envelope;
    },
  };
}

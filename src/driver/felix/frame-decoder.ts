import { CalicoP4Error } from '../../errors';

/**
 * Frames of the Felix link, both ways: 8 bytes of little-endian length, then that many bytes of message.
 * There is nothing to resynchronise on, so every error here is the end of the stream.
 */

/** Bytes of the length in front of each message. */
export const FRAME_HEADER_BYTES = 8;

/** Largest message accepted unless an option says otherwise; 100,000 IPv6 members take some 5 MB. */
export const DEFAULT_MAX_FRAME_BYTES = 64 * 1024 * 1024;

export interface FrameDecoder {
  /**
   * Takes the next bytes of the stream, cut anywhere, and returns the messages that are now complete. A message may
   * be a view of `chunk`: copy it to keep it beyond the chunk.
   * @throws CalicoP4Error FELIX_FRAME_TOO_LARGE, before anything of that size is allocated.
   */
  push(chunk: Uint8Array): Uint8Array[];
  /**
   * Says that the stream has ended.
   * @throws CalicoP4Error FELIX_STREAM_TRUNCATED when it ended inside a frame.
   */
  end(): void;
}

/** A decoder for one stream; `maxFrameBytes` limits a message's length (without its header). */
export function createFrameDecoder(options: { readonly maxFrameBytes?: number } = {}): FrameDecoder {
  const limit = options.maxFrameBytes ?? DEFAULT_MAX_FRAME_BYTES;
  const header = new Uint8Array(FRAME_HEADER_BYTES);
  let headerFilled = 0;
  /** Length of the message that is being read; undefined while its header is. */
  let length: number | undefined;
  /** Pieces of it that came in earlier chunks: allocated as they arrive, never ahead of the data. */
  let pieces: Uint8Array[] = [];
  let filled = 0;
  let frames = 0;

  function readLength(): number {
    const view = new DataView(header.buffer);
    const value = view.getUint32(4, true) * 2 ** 32 + view.getUint32(0, true);
    if (value > limit) {
      throw new CalicoP4Error(
        'FELIX_FRAME_TOO_LARGE',
        `frame ${frames} of the Felix stream claims ${value} bytes, more than the limit of ${limit}: ` +
          'this is no Felix stream, or the frame limit of the configuration is too small',
        { frame: frames, length: value, limit },
      );
    }
    return value;
  }

  return {
    push(chunk) {
      const messages: Uint8Array[] = [];
      let at = 0;
      for (;;) {
        if (length === undefined) {
          const take = Math.min(FRAME_HEADER_BYTES - headerFilled, chunk.length - at);
          header.set(chunk.subarray(at, at + take), headerFilled);
          headerFilled += take;
          at += take;
          if (headerFilled < FRAME_HEADER_BYTES) {
            return messages;
          }
          length = readLength();
        }
        const take = Math.min(length - filled, chunk.length - at);
        const piece = chunk.subarray(at, at + take);
        at += take;
        if (filled + take < length) {
          if (take > 0) {
            // Copied: the piece must not keep a whole pooled read buffer alive until a slow rest arrives.
            pieces.push(Uint8Array.from(piece));
            filled += take;
          }
          return messages;
        }
        messages.push(pieces.length === 0 ? piece : Buffer.concat([...pieces, piece]));
        frames += 1;
        pieces = [];
        filled = 0;
        headerFilled = 0;
        length = undefined;
      }
    },
    end() {
      if (headerFilled > 0) {
        const what =
          length === undefined
            ? `after ${headerFilled} of ${FRAME_HEADER_BYTES} bytes of its length`
            : `after ${filled} of its ${length} bytes`;
        throw new CalicoP4Error(
          'FELIX_STREAM_TRUNCATED',
          `the Felix stream ended inside frame ${frames}, ${what}: Felix died while it was writing, or the recording is cut`,
          { frame: frames },
        );
      }
    },
  };
}

/** One frame around a message. */
export function encodeFrame(message: Uint8Array): Uint8Array {
  const frame = new Uint8Array(FRAME_HEADER_BYTES + message.length);
  const view = new DataView(frame.buffer);
  view.setUint32(0, message.length % 2 ** 32, true);
  view.setUint32(4, Math.floor(message.length / 2 ** 32), true);
  frame.set(message, FRAME_HEADER_BYTES);
  return frame;
}

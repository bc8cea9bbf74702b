import { END, type HeaderState, type State } from './state';

/** Passes of one packet through the pipeline before it is dropped; SWX knows no bound. */
const PASSES_MAX = 64;

/** Starts a packet (or its next pass): only the validity of headers is cleared. */
export function loadPacket(state: State, frame: Uint8Array, slack: number): void {
  // A copy, with zeros behind it: what `extract` reads beyond a short packet.
  const packet = new Uint8Array(frame.length + slack);
  packet.set(frame);
  state.packet = packet;
  state.frameLength = frame.length;
  state.at = 0;
  state.valid.fill(0);
  state.emittedCount = 0;
  state.recirculate = false;
}

/** Points a header at the bytes that follow in the packet. */
export function pointAtPacket(state: State, header: HeaderState, length: number): void {
  const fits = state.at + length <= state.packet.length;
  header.place.bytes = fits ? state.packet : new Uint8Array(length);
  header.place.at = fits ? state.at : 0;
  state.valid[header.index] = 1;
}

/** Extracts a header whose variable part has `extra` bytes; a length beyond its maximum is cut to it. */
export function extract(state: State, header: HeaderState, extra: number): void {
  const length = header.fixedBytes + Math.min(extra, header.storage.length - header.fixedBytes);
  pointAtPacket(state, header, length);
  header.bytes = length;
  state.at += length;
}

export function validate(state: State, header: HeaderState): void {
  if (state.valid[header.index] === 1) return;
  header.place.bytes = header.storage;
  header.place.at = 0;
  state.valid[header.index] = 1;
}

export function emit(state: State, header: HeaderState): void {
  if (state.valid[header.index] !== 1) return;
  const slot = (state.emitted[state.emittedCount++] ??= { bytes: header.storage, at: 0, length: 0 });
  slot.bytes = header.place.bytes;
  slot.at = header.place.at;
  slot.length = header.bytes;
}

/** The emitted headers and what was not extracted; as short as the frame was, when headers were read past its end. */
function assemble(state: State): Uint8Array {
  let length = state.frameLength - state.at;
  for (let i = 0; i < state.emittedCount; i++) length += state.emitted[i]!.length;
  const frame = new Uint8Array(Math.max(0, length));
  let to = 0;
  const append = (bytes: Uint8Array, from: number, count: number): void => {
    const n = Math.min(count, frame.length - to);
    if (n <= 0) return;
    frame.set(bytes.subarray(from, from + n), to);
    to += n;
  };
  for (let i = 0; i < state.emittedCount; i++) {
    const piece = state.emitted[i]!;
    append(piece.bytes, piece.at, piece.length);
  }
  append(state.packet, state.at, state.frameLength - state.at);
  return frame;
}

export function drop(state: State): number {
  state.recirculate = false;
  state.trace?.push({ kind: 'drop' });
  return END;
}

/** Sends the packet, or keeps it for another pass. A port that does not exist drops: in SWX it would crash. */
export function transmit(state: State, port: number, isPort: (port: number) => boolean): number {
  if (state.recirculate && state.pass >= PASSES_MAX) return drop(state);
  const frame = assemble(state);
  if (frame.length === 0 || (!state.recirculate && !isPort(port))) return drop(state);
  if (state.recirculate) {
    state.packet = frame;
    return END;
  }
  state.out.push({ port, frame });
  state.trace?.push({ kind: 'tx', port });
  return END;
}

import type { PacketResult, TraceStep } from '../engine';
import type { FieldRef, Spec } from '../spec/ast';
import { type FieldAccess, type Place, fieldAccess, isBigEndian } from './memory';
import type { LearnerTable } from './learner-table';

/** A header instance at run time. */
export interface HeaderState {
  readonly index: number;
  /** Where its fields are read and written now: the packet it was last extracted from, or its own storage. */
  readonly place: Place;
  /** What `validate` points it to; keeps its bytes from packet to packet. */
  readonly storage: Uint8Array;
  readonly fixedBytes: number;
  /** Bytes that emit sends: after a variable-length extract, those of the last one. */
  bytes: number;
}

/** A step of a compiled block: returns the index of the next step, or END or RETURN. */
export type Step = () => number;
/** The packet is done. */
export const END = -1;
/** Back to the step behind the table. */
export const RETURN = -2;

/** A compiled action, shared by all tables that run it. */
export interface CompiledAction {
  readonly name: string;
  readonly code: Step[];
  readonly argBytes: number;
  readonly args: readonly { readonly offset: number; readonly bytes: number; readonly bigEndian: boolean }[];
}

/**
 * Everything that one packet leaves to the next, and the packet itself. SWX clears only the validity of headers between
 * packets; metadata, header bytes, `hit`, the last action and the last learner stay.
 */
export interface State {
  readonly headers: ReadonlyMap<string, HeaderState>;
  readonly metadata: Place;
  readonly args: Place;
  /** 1 for valid headers, by HeaderState.index. */
  readonly valid: Uint8Array;
  packet: Uint8Array;
  /** Length of the frame in `packet`; zeros follow it. */
  frameLength: number;
  /** First byte that was not extracted; may pass the frame's end, as SWX does not check. */
  at: number;
  inPort: number;
  readonly emitted: { bytes: Uint8Array; at: number; length: number }[];
  emittedCount: number;
  hit: boolean;
  action: string;
  entryId: number;
  learner: LearnerTable<CompiledAction> | undefined;
  /** The learner's key as the packet has it now, and its name for the trace. */
  learnerKey:
    (() => { readonly name: string; readonly bytes: Buffer; readonly values: () => bigint[] }) | undefined;
  learnerTime: number;
  recirculate: boolean;
  pass: number;
  trace: TraceStep[] | undefined;
  out: PacketResult['out'][number][];
  /** Steps that this packet may still take. */
  budget: number;
}

export function createState(spec: Spec): State {
  const headers = new Map<string, HeaderState>();
  for (const header of spec.headers.values()) {
    const storage = new Uint8Array(header.type.maxBytes);
    headers.set(header.name, {
      index: headers.size,
      place: { bytes: storage, at: 0 },
      storage,
      fixedBytes: header.type.bytes,
      bytes: header.type.bytes,
    });
  }
  return {
    headers,
    metadata: { bytes: new Uint8Array(spec.metadata.bytes), at: 0 },
    args: { bytes: new Uint8Array(0), at: 0 },
    valid: new Uint8Array(headers.size),
    packet: new Uint8Array(0),
    frameLength: 0,
    at: 0,
    inPort: 0,
    emitted: [],
    emittedCount: 0,
    hit: false,
    action: '',
    entryId: 0,
    learner: undefined,
    learnerKey: undefined,
    learnerTime: 0,
    recirculate: false,
    pass: 0,
    trace: undefined,
    out: [],
    budget: 0,
  };
}

export function placeOf(state: State, field: FieldRef): Place {
  switch (field.in) {
    case 'header':
      return state.headers.get(field.header)!.place;
    case 'metadata':
      return state.metadata;
    case 'args':
      return state.args;
  }
}

export function access(state: State, field: FieldRef): FieldAccess {
  return fieldAccess(
    placeOf(state, field),
    field.offset,
    field.bits / 8,
    isBigEndian(field.in === 'header', field.bits),
  );
}

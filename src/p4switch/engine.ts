/**
 * What executes a pipeline inside the embedded switch. Engines work in the terms of the `.spec`: table and action names,
 * raw field values. The server above translates P4Runtime ids to these through p4info.
 */

export interface SpecEntry {
  /** One element per key field of the spec's table, in the spec's order. */
  readonly keys: readonly SpecKey[];
  /** P4Runtime sense: larger wins; 0 where the table has no ternary key. */
  readonly priority: number;
  readonly action: SpecAction;
}

/** exact: mask is all ones; lpm and ternary: mask given. */
export interface SpecKey {
  readonly value: bigint;
  readonly mask: bigint;
}

export interface SpecAction {
  readonly name: string;
  /** In the order of the action's struct in the spec. */
  readonly params: readonly bigint[];
}

/** One step of a packet's way, for `trace`. */
export type TraceStep =
  | {
      readonly kind: 'table';
      readonly table: string;
      /** Key field values in the spec's order. */
      readonly keys: readonly bigint[];
      readonly hit: boolean;
      readonly action: string;
      readonly params: readonly bigint[];
    }
  | {
      readonly kind: 'learn';
      readonly table: string;
      readonly keys: readonly bigint[];
      readonly action: string;
    }
  | { readonly kind: 'counter'; readonly name: string; readonly index: number }
  | { readonly kind: 'drop' }
  | { readonly kind: 'tx'; readonly port: number };

export interface PacketResult {
  /** Frames that left, with their output ports; empty when the packet was dropped. */
  readonly out: readonly { readonly port: number; readonly frame: Uint8Array }[];
  readonly trace: readonly TraceStep[];
}

export type TableOp =
  | { readonly kind: 'insert' | 'modify'; readonly table: string; readonly entry: SpecEntry }
  | {
      readonly kind: 'delete';
      readonly table: string;
      readonly keys: readonly SpecKey[];
      readonly priority: number;
    }
  | { readonly kind: 'default'; readonly table: string; readonly action: SpecAction }
  /** Replaces the members of a selector's group; an empty list removes the group. */
  | {
      readonly kind: 'group';
      readonly selector: string;
      readonly group: number;
      readonly members: readonly { readonly id: number; readonly weight: number }[];
    };

/** A two-rate three-colour meter (RFC 2698): a second, and what the buckets hold; of bytes, or of what the program counts. */
export interface MeterSetting {
  readonly rate: bigint;
  readonly burst: bigint;
  readonly peakRate: bigint;
  readonly peakBurst: bigint;
}

export interface Engine {
  /** Applies one operation; packets see it at once. Existence rules (ALREADY_EXISTS, …) are the server's. */
  apply(op: TableOp): void;
  entries(table: string): Iterable<SpecEntry>;
  /** undefined when there is no such entry. */
  find(table: string, keys: readonly SpecKey[], priority: number): SpecEntry | undefined;
  entryCount(table: string): number;
  defaultAction(table: string): SpecAction;
  /** Restores the default action that the spec gives. */
  resetDefaultAction(table: string): void;
  /** Entries that packets made, with seconds left to live at the engine's clock. */
  learned(
    table: string,
  ): Iterable<{ readonly keys: readonly bigint[]; readonly action: SpecAction; readonly expiresIn: number }>;
  readRegister(name: string, index: number): bigint;
  writeRegister(name: string, index: number, value: bigint): void;
  /** undefined: not set, everything is green. */
  readMeter(name: string, index: number): MeterSetting | undefined;
  /** Buckets are full afterwards; undefined takes the setting away. Rates and bursts are at least 1. */
  writeMeter(name: string, index: number, setting: MeterSetting | undefined): void;
  /**
   * Runs one packet to completion. `wantTrace` false leaves `trace` empty.
   * @throws CalicoP4Error USAGE where packets run in another process, through real ports
   */
  process(port: number, frame: Uint8Array, wantTrace: boolean): PacketResult;
  /** Set where packets run in another process: what is applied and read above is then what this one knows of it. */
  readonly remote?: RemoteTables;
}

/** Cells and learned entries that a request asks for; packets change them, so they are fetched before. */
export interface Wanted {
  readonly registers: readonly { readonly array: string; readonly first: number; readonly end: number }[];
  readonly learners: readonly string[];
}

/** The other process's side of an engine. One call at a time. */
export interface RemoteTables {
  /** Rejects with SPEC_INVALID when it does not take the program; changes nothing. */
  check(): Promise<void>;
  /** Makes this what packets go through, at one moment, with all that was applied. */
  activate(): Promise<void>;
  /**
   * Puts what was applied since the last commit in force, at one moment for packets. When it rejects, nothing of it is;
   * the caller takes it back by further `apply` and then calls `abandon`.
   */
  commit(): Promise<void>;
  /** Forgets what was applied since the last commit. */
  abandon(): void;
  refresh(wanted: Wanted): Promise<void>;
}

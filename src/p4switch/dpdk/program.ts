/** A program as the native engine keeps it. */
export interface Program {
  /** The `.spec`. */
  readonly text: string;
  /** What the P4Runtime server wants back after a restart; the engine does not look at it. */
  readonly blob: Uint8Array;
}

import type { Row } from '../translators/rows';
import type { RowUpdate } from './plan';
import type { TargetTraits } from './target-traits';

/** What became of one update: done, or refused with a gRPC status code and the target's words. */
export type UpdateOutcome =
  { readonly ok: true } | { readonly ok: false; readonly code: number; readonly message: string };

/** A target in terms of rows: what the reconciler needs of it. */
export interface RowTarget {
  readonly traits: TargetTraits;
  /**
   * Writes updates that are independent of each other, split into batches.
   *
   * @returns one outcome per update, in order
   * @throws CalicoP4Error TARGET_UNREACHABLE, TARGET_NOT_PRIMARY, TARGET_WRITE_FAILED: nothing is known of any update
   */
  write(updates: readonly RowUpdate[]): Promise<readonly UpdateOutcome[]>;
  /** @throws CalicoP4Error TARGET_UNREACHABLE, TARGET_NOT_PRIMARY, PIPELINE_MISMATCH */
  readTable(table: string): Promise<readonly Row[]>;
  /** The entry with this row's identity, whatever its action; undefined when there is none. */
  readRow(row: Row): Promise<Row | undefined>;
  /** Entries that the program gives the table. */
  tableSize(table: string): number;
}

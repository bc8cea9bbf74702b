import { status } from '@grpc/grpc-js';
import { CalicoP4Error } from '../errors';
import { rowKey, type Row } from '../translators/rows';
import { codeName, isCode } from './grpc-errors';
import type { Plan, RowUpdate } from './plan';
import type { RowTarget, UpdateOutcome } from './row-target';
import type { RowTracker } from './row-tracker';
import { entryText } from './row-text';

/** Why a row is not as desired on the target. `held`: it depends on a row that failed, and was not written. */
export interface RowFailure {
  readonly row: Row;
  readonly kind: 'refused' | 'held';
  readonly message: string;
}

export interface ApplyResult {
  /** Updates that the target acknowledged; 0 when it was as desired already. */
  readonly written: number;
  readonly inserted: number;
  readonly modified: number;
  readonly deleted: number;
  /**
   * Rows that are not as desired, by rowKey; empty when the target equals the desired state. A gate row is among them
   * whenever a row that it depends on is: to know whether an endpoint is complete, its gate and path rows are enough.
   */
  readonly failed: ReadonlyMap<string, RowFailure>;
  /** Why all gates were shut for the time of the writing; "" when they were not. */
  readonly closedBecause: string;
  /** The first cause of `failed`: TARGET_TABLE_FULL before TARGET_WRITE_FAILED. */
  readonly error?: CalicoP4Error;
}

/** What one apply did so far. */
export class Run {
  readonly failures = new Map<string, RowFailure>();
  readonly fullTables = new Set<string>();
  inserted = 0;
  modified = 0;
  deleted = 0;
  closedBecause = '';
  /** The target holds something else than was known: the rest of the plan does not apply. */
  surprised = false;
  /** Tables that rows were deleted from in this round. */
  readonly freed = new Set<string>();

  beginRound(plan: Plan): void {
    this.failures.clear();
    this.fullTables.clear();
    this.surprised = false;
    this.freed.clear();
    if (plan.reason !== '') this.closedBecause = plan.reason;
  }

  count(update: RowUpdate): void {
    if (update.type === 'insert') this.inserted++;
    else if (update.type === 'modify') this.modified++;
    else {
      this.deleted++;
      this.freed.add(update.row.table);
    }
  }

  hold(row: Row, message: string): void {
    const key = rowKey(row);
    if (!this.failures.has(key)) this.failures.set(key, { row, kind: 'held', message });
  }

  refuse(update: RowUpdate, outcome: UpdateOutcome & { ok: false }): void {
    if (isCode(outcome.code, status.RESOURCE_EXHAUSTED)) this.fullTables.add(update.row.table);
    const message = `${update.type} was refused with ${codeName(outcome.code)}: ${outcome.message}`;
    this.failures.set(rowKey(update.row), { row: update.row, kind: 'refused', message });
  }
}

/** The result of an apply: whatever still differs has failed, by itself or because of another row. */
export function resultOf(run: Run, tracker: RowTracker, target: RowTarget): ApplyResult {
  const failed = new Map<string, RowFailure>();
  const delta = tracker.delta();
  for (const row of [...delta.inserts, ...delta.modifies.map((m) => m.to), ...delta.deletes]) {
    const key = rowKey(row);
    const held = 'not written, because rows before it failed';
    failed.set(key, run.failures.get(key) ?? { row, kind: 'held', message: held });
  }
  // Gates that should have been shut and could not be are as desired, and yet not as they must be.
  for (const [key, failure] of run.failures) {
    if (!failed.has(key) && tracker.actual.get(failure.row.table)?.has(key) === true)
      failed.set(key, failure);
  }
  const { inserted, modified, deleted, closedBecause } = run;
  const written = inserted + modified + deleted;
  const base = { written, inserted, modified, deleted, failed, closedBecause };
  return failed.size === 0 ? base : { ...base, error: errorOf(run, failed, tracker, target) };
}

function errorOf(
  run: Run,
  failed: ReadonlyMap<string, RowFailure>,
  tracker: RowTracker,
  target: RowTarget,
): CalicoP4Error {
  const held = [...failed.values()].filter((f) => f.kind === 'held').length;
  const full = [...run.fullTables][0];
  if (full !== undefined) {
    const entries = tracker.actual.get(full)?.size ?? 0;
    const size = target.tableSize(full);
    return new CalicoP4Error(
      'TARGET_TABLE_FULL',
      `table ${full} of ${target.traits.name} is full (${entries} of ${size} entries): ` +
        `${failed.size - held} rows were refused and ${held} that depend on them held back, so that what they stand ` +
        'for stays closed; have fewer rows there, or build the pipeline with a larger table',
      { table: full, entries, size, failed: failed.size },
    );
  }
  const first = [...failed.values()].find((f) => f.kind === 'refused') ?? [...failed.values()][0]!;
  return new CalicoP4Error(
    'TARGET_WRITE_FAILED',
    `${target.traits.name} did not take ${entryText(first.row)}: ${first.message} ` +
      `(${failed.size} rows are not as desired, ${held} of them held back; the next apply tries them again)`,
    { table: first.row.table, failed: failed.size, held },
  );
}

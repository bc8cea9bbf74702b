import { rowKey, sameContent, type Row } from './rows';

/**
 * Rows in parts that each come of one thing. A part that is the same array has the same rows, so that what changed is found without
 * looking at the rows of what did not. No two parts have a row of one key.
 */
export type RowParts = readonly (readonly Row[])[];

export interface PartChanges {
  /** Rows of `before` that are not in `now`, or there can not become what they are now in place. */
  readonly removed: readonly Row[];
  /** The rows of parts that were not there before; some may be as they were. */
  readonly written: readonly Row[];
}

/** `stays`: a row may become another in place; default: where the content is the same. */
export function partChanges(
  before: RowParts,
  now: RowParts,
  stays: typeof sameContent = sameContent,
): PartChanges {
  if (before === now) return { removed: [], written: [] };
  const [were, are] = [new Set(before), new Set(now)];
  const written = now.filter((part) => !were.has(part)).flat();
  const gone = before.filter((part) => !are.has(part)).flat();
  if (gone.length === 0) return { removed: [], written };
  const byKey = new Map(written.map((row) => [rowKey(row), row]));
  const removed = gone.filter((row) => {
    const other = byKey.get(rowKey(row));
    return other === undefined || !stays(other, row);
  });
  return { removed, written };
}

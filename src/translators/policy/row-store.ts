import type { Row } from '../rows';
import { sameContent } from '../rows';

/** What a compile changed, by row key. */
export interface RowChanges {
  /** New rows, and rows with new content under an old key. */
  readonly written: ReadonlyMap<string, Row>;
  readonly removed: ReadonlyMap<string, Row>;
}

/** The rows as they should be, and what changed since the changes were last taken. */
export interface RowStore {
  readonly rows: ReadonlyMap<string, Row>;
  /** `key` must be rowKey(row). Row objects are kept, so an unchanged row keeps its identity. */
  set(key: string, row: Row): void;
  delete(key: string): void;
  takeChanges(): RowChanges;
}

export function createRowStore(): RowStore {
  const rows = new Map<string, Row>();
  /** Rows that were touched, as they were before. */
  let before = new Map<string, Row | undefined>();
  return {
    rows,
    set(key, row) {
      const old = rows.get(key);
      if (old === row) return;
      if (!before.has(key)) before.set(key, old);
      rows.set(key, row);
    },
    delete(key) {
      const old = rows.get(key);
      if (old === undefined) return;
      if (!before.has(key)) before.set(key, old);
      rows.delete(key);
    },
    takeChanges() {
      const written = new Map<string, Row>();
      const removed = new Map<string, Row>();
      for (const [key, old] of before) {
        const now = rows.get(key);
        if (now === undefined) {
          if (old !== undefined) removed.set(key, old);
        } else if (old === undefined || !sameContent(old, now)) written.set(key, now);
      }
      before = new Map();
      return { written, removed };
    },
  };
}

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
  /** Rows under keys that had none. */
  let fresh = new Map<string, Row>();
  /** Rows that were changed or removed, as they were before. */
  let before = new Map<string, Row>();
  return {
    rows,
    set(key, row) {
      const old = rows.get(key);
      if (old === row) return;
      if (!before.has(key)) {
        if (old === undefined || fresh.has(key)) fresh.set(key, row);
        else before.set(key, old);
      }
      rows.set(key, row);
    },
    delete(key) {
      const old = rows.get(key);
      if (old === undefined) return;
      if (!fresh.delete(key) && !before.has(key)) before.set(key, old);
      rows.delete(key);
    },
    takeChanges() {
      const written = fresh;
      const removed = new Map<string, Row>();
      for (const [key, old] of before) {
        const now = rows.get(key);
        if (now === undefined) removed.set(key, old);
        else if (!sameContent(old, now)) written.set(key, now);
      }
      fresh = new Map();
      before = new Map();
      return { written, removed };
    },
  };
}

import { rowKey, sameContent, type Row } from '../translators/rows';
import { createRowDigest, type RowDigest } from './row-digest';

/** Rows by table, then by rowKey. */
export type RowsByTable = ReadonlyMap<string, ReadonlyMap<string, Row>>;

/** What must be written so that actual equals desired. */
export interface Delta {
  readonly inserts: readonly Row[];
  readonly modifies: readonly { readonly from: Row; readonly to: Row }[];
  readonly deletes: readonly Row[];
}

/**
 * Desired and actual rows side by side, with the difference kept up to date, so that an unchanged state costs nothing:
 *
 * ```
 *        desired                 actual
 *    ┌──────────────────┬───────────────────┐
 *    │ only desired:    │  both             │ only actual:
 *    │ insert           │  equal: nothing   │ delete
 *    │                  │  differ: modify   │
 *    └──────────────────┴───────────────────┘
 *      `dirty` holds the keys of all but "equal"
 * ```
 *
 * Actual is what the target is known to hold: read back at the start, then changed only by acknowledged writes. Rows are
 * immutable: a caller that wants another content passes another row. Two rows are equal when rowContent is.
 */
export class RowTracker {
  readonly #desired = new Map<string, Map<string, Row>>();
  readonly #actual = new Map<string, Map<string, Row>>();
  readonly #dirty = new Map<string, Set<string>>();
  #digest: RowDigest | undefined;

  /** @param tables every table that rows may be in; a row of another table is a programming error (throws). */
  constructor(tables: readonly string[]) {
    for (const table of tables) {
      this.#desired.set(table, new Map());
      this.#actual.set(table, new Map());
      this.#dirty.set(table, new Set());
    }
  }

  get desired(): RowsByTable {
    return this.#desired;
  }

  get actual(): RowsByTable {
    return this.#actual;
  }

  setDesired(row: Row): void {
    const key = rowKey(row);
    of(this.#desired, row.table).set(key, row);
    this.#compare(row.table, key);
  }

  removeDesired(row: Pick<Row, 'table' | 'match' | 'priority'>): void {
    const key = rowKey(row);
    of(this.#desired, row.table).delete(key);
    this.#compare(row.table, key);
  }

  /** Makes the desired state exactly `rows`. */
  replaceDesired(rows: Iterable<Row>): void {
    const stale = new Map([...this.#desired].map(([table, held]) => [table, new Set(held.keys())]));
    for (const row of rows) {
      const key = rowKey(row);
      stale.get(row.table)?.delete(key);
      const held = of(this.#desired, row.table);
      if (held.get(key) === row) continue;
      held.set(key, row);
      this.#compare(row.table, key);
    }
    for (const [table, keys] of stale) {
      for (const key of keys) {
        of(this.#desired, table).delete(key);
        this.#compare(table, key);
      }
    }
  }

  /** Names the actual rows (row-digest.ts). Kept up to date from the first call on. */
  digest(): string {
    if (this.#digest === undefined) {
      this.#digest = createRowDigest();
      for (const rows of this.#actual.values()) for (const row of rows.values()) this.#digest.add(row);
    }
    return this.#digest.text();
  }

  /** What a read of the whole table gave. */
  replaceActual(table: string, rows: Iterable<Row>): void {
    const before = of(this.#actual, table);
    const keys = new Set(before.keys());
    for (const row of before.values()) this.#digest?.remove(row);
    before.clear();
    for (const row of rows) {
      const key = rowKey(row);
      this.#replaced(before.get(key), row);
      before.set(key, row);
      keys.add(key);
    }
    for (const key of keys) this.#compare(table, key);
  }

  /** The target is now known to hold this row. */
  setActual(row: Row): void {
    const key = rowKey(row);
    const held = of(this.#actual, row.table);
    this.#replaced(held.get(key), row);
    held.set(key, row);
    this.#compare(row.table, key);
  }

  /** The target is now known not to hold an entry with this identity. */
  removeActual(row: Pick<Row, 'table' | 'match' | 'priority'>): void {
    const key = rowKey(row);
    const held = of(this.#actual, row.table);
    this.#replaced(held.get(key), undefined);
    held.delete(key);
    this.#compare(row.table, key);
  }

  /** The difference, O(its size). */
  delta(): Delta {
    const inserts: Row[] = [];
    const modifies: { from: Row; to: Row }[] = [];
    const deletes: Row[] = [];
    for (const [table, keys] of this.#dirty) {
      for (const key of keys) {
        const to = of(this.#desired, table).get(key);
        const from = of(this.#actual, table).get(key);
        if (to && from) modifies.push({ from, to });
        else if (to) inserts.push(to);
        else if (from) deletes.push(from);
      }
    }
    return { inserts, modifies, deletes };
  }

  /** Number of rows that differ. */
  get dirtyCount(): number {
    let count = 0;
    for (const keys of this.#dirty.values()) count += keys.size;
    return count;
  }

  #replaced(before: Row | undefined, now: Row | undefined): void {
    if (this.#digest === undefined) return;
    if (before !== undefined) this.#digest.remove(before);
    if (now !== undefined) this.#digest.add(now);
  }

  #compare(table: string, key: string): void {
    const desired = of(this.#desired, table).get(key);
    const actual = of(this.#actual, table).get(key);
    const dirty = this.#dirty.get(table)!;
    if (sameRow(desired, actual)) dirty.delete(key);
    else dirty.add(key);
  }
}

function sameRow(a: Row | undefined, b: Row | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return sameContent(a, b);
}

function of(rows: Map<string, Map<string, Row>>, table: string): Map<string, Row> {
  const found = rows.get(table);
  if (!found) throw new Error(`row for table ${table}, which the pipeline's write order does not name`);
  return found;
}

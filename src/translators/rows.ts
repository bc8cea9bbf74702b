/**
 * Logical table rows: what the translators want on a target, in P4 names and plain values, before any target.
 * A row's identity is (table, match); its content is (action, params). docs/pipeline.md has a section for each table.
 */

/** Exact match value, or prefix length / mask for the other kinds. Values are unsigned. */
export type MatchValue =
  | { readonly kind: 'exact'; readonly value: bigint }
  | { readonly kind: 'lpm'; readonly value: bigint; readonly prefixLen: number }
  | { readonly kind: 'ternary'; readonly value: bigint; readonly mask: bigint };

export interface Row {
  /** Table name as in the P4 program, for example `addr_class`. */
  readonly table: string;
  /** By field name as in p4info. Fields of ternary tables that are left out are wildcards. */
  readonly match: Readonly<Record<string, MatchValue>>;
  /** Ternary tables only, P4Runtime sense: larger wins. */
  readonly priority?: number;
  readonly action: string;
  readonly params: Readonly<Record<string, bigint>>;
  /** Calico's names for people (`tables`, `trace`); never compared, never sent. */
  readonly note?: string;
}

/** Exact match values below this are one object for all rows: protocols, and words without a bit. */
const SHARED_BELOW = 256n;
const SHARED: readonly MatchValue[] = Array.from({ length: Number(SHARED_BELOW) }, (_, i) => ({
  kind: 'exact',
  value: BigInt(i),
}));

/** `{ kind: 'exact', value }`: most of what rows are made of, so that small values are shared. */
export function exact(value: bigint): MatchValue {
  return value < SHARED_BELOW ? SHARED[Number(value)]! : { kind: 'exact', value };
}

/** A row that knows its key: there are hundreds of thousands, and every map that holds one asks for it. */
class KeyedRow implements Row {
  readonly #key: string;

  constructor(
    key: string,
    readonly table: string,
    readonly match: Row['match'],
    readonly action: string,
    readonly params: Row['params'],
  ) {
    this.#key = key;
  }

  /** undefined for a row of another kind. */
  static keyOf(row: object): string | undefined {
    return #key in row ? row.#key : undefined;
  }
}

/** A row without priority and note; `key` must be its rowKey. The same row as a plain object in every other respect. */
export function keyedRow(key: string, { table, match, action, params }: Row): Row {
  return new KeyedRow(key, table, match, action, params);
}

/**
 * Canonical identity of a row: table, match fields in name order, priority. Same key = same table entry: a ternary field
 * that asks for no bit is the same as one that is left out.
 */
export function rowKey(row: Pick<Row, 'table' | 'match' | 'priority'>): string {
  return KeyedRow.keyOf(row) ?? keyOfParts(row);
}

function keyOfParts(row: Pick<Row, 'table' | 'match' | 'priority'>): string {
  const fields = Object.keys(row.match).sort();
  const parts = fields.flatMap((f) => {
    const m = row.match[f]!;
    switch (m.kind) {
      case 'exact':
        return `${f}=${m.value.toString(16)}`;
      case 'lpm':
        return `${f}=${m.value.toString(16)}/${m.prefixLen}`;
      case 'ternary':
        return m.mask === 0n ? [] : `${f}=${m.value.toString(16)}&${m.mask.toString(16)}`;
    }
  });
  // Joined, it is one string; put together in a template it would be a tree of its parts for as long as the row lives.
  return [row.table, parts.join(','), row.priority ?? 0].join('|');
}

/** Whether two rows have the same rowContent, without making it. */
export function sameContent(a: Row, b: Row): boolean {
  if (a === b) return true;
  if (a.action !== b.action) return false;
  if (a.params === b.params) return true;
  const names = Object.keys(a.params);
  return names.length === Object.keys(b.params).length && names.every((n) => a.params[n] === b.params[n]);
}

/** Canonical content of a row: action and parameters. */
export function rowContent(row: Pick<Row, 'action' | 'params'>): string {
  const names = Object.keys(row.params).sort();
  return `${row.action}(${names.map((n) => `${n}=${row.params[n]!.toString(16)}`).join(',')})`;
}

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

/**
 * Canonical identity of a row: table, match fields in name order, priority. Same key = same table entry: a ternary field
 * that asks for no bit is the same as one that is left out.
 */
export function rowKey(row: Pick<Row, 'table' | 'match' | 'priority'>): string {
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
  return `${row.table}|${parts.join(',')}|${row.priority ?? 0}`;
}

/** Canonical content of a row: action and parameters. */
export function rowContent(row: Pick<Row, 'action' | 'params'>): string {
  const names = Object.keys(row.params).sort();
  return `${row.action}(${names.map((n) => `${n}=${row.params[n]!.toString(16)}`).join(',')})`;
}

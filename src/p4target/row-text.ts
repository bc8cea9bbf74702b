import type { MatchValue, Row } from '../translators/rows';

/** A row for people, on one line: `step_src node=0xc value=0x7 -> src_next(node=0x1f, d1=0x80000000)`. */
export function rowText(row: Row): string {
  const params = Object.entries(row.params).map(([name, value]) => `${name}=${hex(value)}`);
  return `${entryText(row)} -> ${row.action}(${params.join(', ')})`;
}

/** Which entry: table, match, priority. */
export function entryText(row: Pick<Row, 'table' | 'match' | 'priority'>): string {
  const fields = Object.entries(row.match).map(([name, match]) => `${name}=${matchText(match)}`);
  const priority = row.priority === undefined ? [] : [`priority=${row.priority}`];
  return [row.table, ...fields, ...priority].join(' ');
}

function matchText(match: MatchValue): string {
  switch (match.kind) {
    case 'exact':
      return hex(match.value);
    case 'lpm':
      return `${hex(match.value)}/${match.prefixLen}`;
    case 'ternary':
      return `${hex(match.value)}&&&${hex(match.mask)}`;
  }
}

function hex(value: bigint): string {
  return `0x${value.toString(16)}`;
}

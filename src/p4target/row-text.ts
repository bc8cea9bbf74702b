import type { MatchValue, Row } from '../translators/rows';

/**
 * A row for people, on one line: `step_src node=0xc labels=0x7 -> src_next(node=0x1f, d1=0x80000000)`. The words of labels or of a
 * mask are one number, `labels`.
 */
export function rowText(row: Row): string {
  const labels = labelsText((name) => row.params[name]);
  const params = Object.entries(row.params).flatMap(([name, value]) =>
    labels !== undefined && WORD.test(name) ? [] : `${name}=${hex(value)}`,
  );
  if (labels !== undefined) params.push(labels);
  return `${entryText(row)} -> ${row.action}(${params.join(', ')})`;
}

/** Which entry: table, match, priority. */
export function entryText(row: Pick<Row, 'table' | 'match' | 'priority'>): string {
  const labels = labelsText((name) => {
    const match = row.match[name];
    return match?.kind === 'exact' ? match.value : undefined;
  });
  const fields = Object.entries(row.match).flatMap(([name, match]) =>
    labels !== undefined && WORD.test(name) ? [] : `${name}=${matchText(match)}`,
  );
  if (labels !== undefined) fields.push(labels);
  const priority = row.priority === undefined ? [] : [`priority=${row.priority}`];
  return [row.table, ...fields, ...priority].join(' ');
}

/** w0 has the lowest 64 bits. */
const WORDS = ['w0', 'w1', 'w2', 'w3', 'w4', 'w5', 'w6', 'w7'] as const;
const WORD = /^w[0-7]$/;

/** Undefined where there are no words. */
function labelsText(word: (name: string) => bigint | undefined): string | undefined {
  let all: bigint | undefined;
  for (const [i, name] of WORDS.entries()) {
    const value = word(name);
    if (value !== undefined) all = (all ?? 0n) | (value << BigInt(64 * i));
  }
  return all === undefined ? undefined : `labels=${hex(all)}`;
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

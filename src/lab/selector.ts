/** The labels that a selector asks for; none for `all()`. */
export type SelectorLabels = Readonly<Record<string, string>>;

const TERM = /^\s*([A-Za-z0-9][A-Za-z0-9._/-]*)\s*==\s*(?:'([^']*)'|"([^"]*)")\s*$/;

/** `all()`, or equalities joined by `&&`; undefined for anything else of Calico's selector language. */
export function parseSelector(text: string): SelectorLabels | undefined {
  if (/^\s*all\(\)\s*$/.test(text)) return {};
  const labels = new Map<string, string>();
  for (const term of text.split('&&')) {
    const parts = TERM.exec(term);
    if (parts === null) return undefined;
    const [, key = '', single, double] = parts;
    const value = single ?? double ?? '';
    // It would select nothing: more likely a mistake.
    if (labels.has(key) && labels.get(key) !== value) return undefined;
    labels.set(key, value);
  }
  return Object.fromEntries(labels);
}

export function selects(selector: SelectorLabels, labels: SelectorLabels): boolean {
  return Object.entries(selector).every(([key, value]) => labels[key] === value);
}

/** As Calico writes a selector in its normal form: two spellings of one selector have one IP set. */
export function normalSelector(selector: SelectorLabels): string {
  const terms = Object.entries(selector).map(([key, value]) => `${key} == ${quoted(value)}`);
  if (terms.length === 0) return 'all()';
  return terms.length === 1 ? terms[0]! : `(${terms.join(' && ')})`;
}

function quoted(value: string): string {
  return value.includes('"') ? `'${value}'` : `"${value}"`;
}

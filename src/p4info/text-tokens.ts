import { CalicoP4Error } from '../errors';

/** One token of the protobuf text format. Line and column count from 1. */
export type Token = { readonly text: string; readonly line: number; readonly column: number } & (
  | { readonly kind: 'word' | 'number' | 'punctuation' | 'end' }
  | { readonly kind: 'string'; readonly bytes: Uint8Array }
);

const SKIP = /(?:\s|#[^\n]*)*/y;
const TOKEN =
  /([A-Za-z_][A-Za-z0-9_]*)|(-?[0-9][0-9A-Za-z_.]*)|("(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')|([{}<>[\]:,;])/y;

/** Splits a text into tokens; the last one is `end`. Throws PIPELINE_MISMATCH at a character that starts none. */
export function tokenize(text: string): Token[] {
  const tokens: Token[] = [];
  let line = 1;
  let lineStart = 0;
  let at = 0;
  const skipTo = (end: number): void => {
    for (let i = text.indexOf('\n', at); i >= 0 && i < end; i = text.indexOf('\n', i + 1)) {
      line++;
      lineStart = i + 1;
    }
    at = end;
  };
  for (;;) {
    SKIP.lastIndex = at;
    SKIP.test(text);
    skipTo(SKIP.lastIndex);
    const place = { line, column: at - lineStart + 1 };
    if (at >= text.length) return [...tokens, { kind: 'end', text: '', ...place }];
    TOKEN.lastIndex = at;
    const m = TOKEN.exec(text);
    if (!m) throw syntaxError(place, `unexpected ${JSON.stringify(text.slice(at, at + 20))}`);
    if (m[1] !== undefined) tokens.push({ kind: 'word', text: m[1], ...place });
    else if (m[2] !== undefined) tokens.push({ kind: 'number', text: m[2], ...place });
    else if (m[3] !== undefined)
      tokens.push({ kind: 'string', text: m[3], bytes: unescape(m[3].slice(1, -1), place), ...place });
    else tokens.push({ kind: 'punctuation', text: m[4]!, ...place });
    skipTo(TOKEN.lastIndex);
  }
}

interface Place {
  readonly line: number;
  readonly column: number;
}

function syntaxError(place: Place, what: string): CalicoP4Error {
  return new CalicoP4Error('PIPELINE_MISMATCH', `p4info line ${place.line}, column ${place.column}: ${what}`);
}

const SIMPLE: Readonly<Record<string, number>> = {
  n: 10,
  r: 13,
  t: 9,
  a: 7,
  b: 8,
  f: 12,
  v: 11,
  '\\': 92,
  "'": 39,
  '"': 34,
  '?': 63,
};
const ESCAPE =
  /\\(?:([0-7]{1,3})|[xX]([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([nrtabfv\\'"?]))/y;

/** Bytes of a string's inside; characters are UTF-8. */
function unescape(body: string, place: Place): Uint8Array {
  const parts: Buffer[] = [];
  for (let at = 0; at < body.length;) {
    const next = body.indexOf('\\', at);
    if (next !== at) {
      const end = next < 0 ? body.length : next;
      parts.push(Buffer.from(body.slice(at, end), 'utf8'));
      at = end;
      continue;
    }
    ESCAPE.lastIndex = at;
    const m = ESCAPE.exec(body);
    if (!m) throw syntaxError(place, `unknown escape ${body.slice(at, at + 2)}`);
    at = ESCAPE.lastIndex;
    const point = m[3] ?? m[4];
    if (point !== undefined) {
      const code = parseInt(point, 16);
      if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
        throw syntaxError(place, `no such character ${m[0]}`);
      parts.push(Buffer.from(String.fromCodePoint(code), 'utf8'));
      continue;
    }
    const byte =
      m[1] !== undefined ? parseInt(m[1], 8) : m[2] !== undefined ? parseInt(m[2], 16) : SIMPLE[m[5]!]!;
    if (byte > 255) throw syntaxError(place, `escape ${m[0]} is more than a byte`);
    parts.push(Buffer.of(byte));
  }
  return Buffer.concat(parts);
}

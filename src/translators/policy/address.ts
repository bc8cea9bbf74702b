import ipaddr from 'ipaddr.js';
import { withoutDots } from '../address';

/**
 * A CIDR or a single address of either family in one 128-bit space: IPv4 `a.b.c.d/n` is `::ffff:a.b.c.d/(96+n)`.
 * Prefixes come from a cache, so equal prefixes are the same object.
 */
export interface Prefix {
  readonly key: string;
  readonly family: 4 | 6;
  /** Four 32-bit words, most significant first, host bits zero. */
  readonly words: readonly [number, number, number, number];
  /** 0..128; an IPv4 prefix counts from 96. */
  readonly len: number;
  /** A single address. */
  readonly host: boolean;
}

type Words = readonly [number, number, number, number];

const V4_MAPPED = 0xffff;
const PRUNE_AT = 10_000;

/** Reads and interns prefixes. */
export interface PrefixCache {
  /**
   * `10.0.0.1`, `10.0.0.0/8`, `fd00::/8`; host bits are cut off. `nowhere` for IPv6 text inside `::ffff:0:0/96`: no packet
   * that reaches the policy has such an address (the pipeline drops it). Undefined when the text is no CIDR.
   */
  parse(text: string): Prefix | 'nowhere' | undefined;
  /** The prefix of length `len` (as Prefix.len) around `prefix`; its key only, to look it up. */
  ancestorKey(prefix: Prefix, len: number): string;
  /** The known prefixes that contain `prefix`, itself included. */
  around(prefix: Prefix): readonly Prefix[];
  /** The whole of a family: `::ffff:0:0/96` or `::/0`. */
  everything(family: 4 | 6): Prefix;
  /** When the cache has grown far: forgets all prefixes but those that `inUse` gives. Equal prefixes stay the same object. */
  prune(inUse: () => Iterable<Prefix>): void;
}

export function createPrefixCache(): PrefixCache {
  const byText = new Map<string, Prefix | 'nowhere' | undefined>();
  const byKey = new Map<string, Prefix>();
  /** Lengths that prefixes have had. */
  const lengths = { 4: new Set<number>(), 6: new Set<number>() };

  const intern = (family: 4 | 6, raw: Words, len: number): Prefix => {
    const words = maskWords(raw, len);
    const key = prefixKey(family, words, len);
    let prefix = byKey.get(key);
    if (prefix === undefined) {
      prefix = { key, family, words, len, host: len === 128 };
      byKey.set(key, prefix);
      lengths[family].add(len);
    }
    return prefix;
  };

  let pruneAt = PRUNE_AT;

  const v4All = intern(4, [0, 0, V4_MAPPED, 0], 96);
  const v6All = intern(6, [0, 0, 0, 0], 0);

  const read = (text: string): Prefix | 'nowhere' | undefined => {
    const slash = text.indexOf('/');
    const address = slash < 0 ? text : text.slice(0, slash);
    const v6 = address.includes(':');
    const width = v6 ? 128 : 32;
    let len = width;
    if (slash >= 0) {
      const suffix = text.slice(slash + 1);
      if (!/^\d{1,3}$/.test(suffix)) return undefined;
      len = Number(suffix);
      if (len > width) return undefined;
    }
    if (!v6) {
      const word = readV4(address);
      return word === undefined ? undefined : intern(4, [0, 0, V4_MAPPED, word], 96 + len);
    }
    if (address.includes('%') || !ipaddr.IPv6.isValid(address)) return undefined;
    const p = ipaddr.IPv6.parse(withoutDots(address)).parts;
    const words: Words = [word(p[0], p[1]), word(p[2], p[3]), word(p[4], p[5]), word(p[6], p[7])];
    const mapped = words[0] === 0 && words[1] === 0 && words[2] === V4_MAPPED && len >= 96;
    return mapped ? 'nowhere' : intern(6, words, len);
  };

  return {
    parse(text) {
      const known = byText.get(text);
      if (known !== undefined || byText.has(text)) return known;
      const prefix = read(text);
      byText.set(text, prefix);
      return prefix;
    },
    ancestorKey: (prefix, len) => prefixKey(prefix.family, maskWords(prefix.words, len), len),
    around(prefix) {
      const out: Prefix[] = [];
      for (const len of lengths[prefix.family]) {
        const found =
          len <= prefix.len
            ? byKey.get(prefixKey(prefix.family, maskWords(prefix.words, len), len))
            : undefined;
        if (found !== undefined) out.push(found);
      }
      return out;
    },
    everything: (family) => (family === 4 ? v4All : v6All),
    prune(inUse) {
      if (byText.size <= pruneAt) return;
      byText.clear();
      byKey.clear();
      for (const prefix of [v4All, v6All, ...inUse()]) byKey.set(prefix.key, prefix);
      pruneAt = Math.max(PRUNE_AT, 4 * byKey.size);
    },
  };
}

/** Whether Calico takes the text for IPv6 (felix/rules/policy.go filterNets looks for a colon, whatever else the text is). */
export function looksLikeV6(text: string): boolean {
  return text.includes(':');
}

/** The two 64-bit halves of the pipeline's address keys. */
export function halves(words: Words): { readonly hi: bigint; readonly lo: bigint } {
  return {
    hi: (BigInt(words[0]) << 32n) | BigInt(words[1]),
    lo: (BigInt(words[2]) << 32n) | BigInt(words[3]),
  };
}

/** Masks of the two halves for a prefix length 0..128. */
export function halfMasks(len: number): { readonly hi: bigint; readonly lo: bigint } {
  return { hi: mask64(Math.min(len, 64)), lo: mask64(Math.max(len - 64, 0)) };
}

function mask64(bits: number): bigint {
  return ((1n << BigInt(bits)) - 1n) << BigInt(64 - bits);
}

function readV4(text: string): number | undefined {
  const m = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  if (m === null) return undefined;
  let value = 0;
  for (let i = 1; i <= 4; i++) {
    const part = m[i]!;
    // A leading zero may mean octal to somebody: Go refuses it, so do we.
    if (part.length > 1 && part.startsWith('0')) return undefined;
    const n = Number(part);
    if (n > 255) return undefined;
    value = value * 256 + n;
  }
  return value;
}

function word(high: number | undefined, low: number | undefined): number {
  return (high ?? 0) * 65536 + (low ?? 0);
}

function maskWords(words: Words, len: number): Words {
  const cut = (w: number, bits: number): number =>
    bits >= 32 ? w : bits <= 0 ? 0 : (w & (0xffffffff << (32 - bits))) >>> 0;
  return [cut(words[0], len), cut(words[1], len - 32), cut(words[2], len - 64), cut(words[3], len - 96)];
}

function prefixKey(family: 4 | 6, w: Words, len: number): string {
  return family === 4
    ? `4:${w[3].toString(36)}/${len}`
    : `6:${w[0].toString(36)}.${w[1].toString(36)}.${w[2].toString(36)}.${w[3].toString(36)}/${len}`;
}

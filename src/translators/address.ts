/**
 * Addresses as the tables hold them: two 64-bit halves, IPv4 as ::ffff:a.b.c.d, prefix lengths on the scale of 128.
 */
import ipaddr from 'ipaddr.js';

export interface Cidr {
  readonly hi: bigint;
  readonly lo: bigint;
  /** 0 to 128; an IPv4 /24 is 120. */
  readonly prefixLen: number;
  readonly maskHi: bigint;
  readonly maskLo: bigint;
  /** One address: an IPv4 /32 or an IPv6 /128. */
  readonly single: boolean;
  readonly ipVersion: 4 | 6;
  /** Canonical spelling with the family's own prefix length, host bits cleared. */
  readonly text: string;
}

const HALF = (1n << 64n) - 1n;
const IPV4_BITS = 96;
const IPV4_HALF = 0xffff_0000_0000n;

/** Reads `a.b.c.d`, `a.b.c.d/len`, `x::y` or `x::y/len`; undefined when it is none, or a v4-mapped IPv6 address. */
export function parseCidr(text: string): Cidr | undefined {
  const [address = '', length, rest] = text.split('/');
  if (rest !== undefined || !isAddress(address) || (length !== undefined && !/^\d{1,3}$/.test(length))) {
    return undefined;
  }
  const parsed = ipaddr.parse(withoutDots(address));
  if (parsed instanceof ipaddr.IPv6 && parsed.isIPv4MappedAddress()) return undefined;
  const bytes = parsed.toByteArray();
  const width = bytes.length * 8;
  const ownLen = length === undefined ? width : Number(length);
  if (ownLen > width) return undefined;

  const value = bytes.reduce((all, byte) => (all << 8n) | BigInt(byte), 0n);
  const ipVersion = width === 32 ? 4 : 6;
  const prefixLen = ipVersion === 4 ? ownLen + IPV4_BITS : ownLen;
  const mask = prefixLen === 0 ? 0n : ((1n << BigInt(prefixLen)) - 1n) << BigInt(128 - prefixLen);
  const full = (ipVersion === 4 ? IPV4_HALF | value : value) & mask;
  return {
    hi: full >> 64n,
    lo: full & HALF,
    prefixLen,
    maskHi: mask >> 64n,
    maskLo: mask & HALF,
    single: prefixLen === 128,
    ipVersion,
    text: `${spell(full, ipVersion)}/${ownLen}`,
  };
}

/**
 * `::1.2.3.4` as `::102:304`, which is how Go reads it; ipaddr.js takes it for `::ffff:1.2.3.4`. Text without dots, or without colons,
 * stays as it is.
 */
export function withoutDots(text: string): string {
  return text.replace(
    /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/,
    (_, before: string, ...rest: readonly string[]) => {
      const [a, b, c, d] = rest.map(Number) as [number, number, number, number];
      return `${before}${(256 * a + b).toString(16)}:${(256 * c + d).toString(16)}`;
    },
  );
}

/** Strict: no shorthand such as `10.1`, no zone. */
function isAddress(text: string): boolean {
  return text.includes(':')
    ? ipaddr.IPv6.isValid(text) && !text.includes('%')
    : ipaddr.IPv4.isValidFourPartDecimal(text);
}

/** The spelling people know, of an address in the tables' form. */
export function spellAddress(hi: bigint, lo: bigint): string {
  return spell((hi << 64n) | lo, hi === 0n && lo >> 32n === 0xffffn ? 4 : 6);
}

function spell(full: bigint, ipVersion: 4 | 6): string {
  const length = ipVersion === 4 ? 4 : 16;
  const bytes = Array.from({ length }, (_, i) => Number((full >> BigInt(8 * (length - 1 - i))) & 0xffn));
  return ipaddr.fromByteArray(bytes).toString();
}

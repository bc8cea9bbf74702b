/** IP protocols that the policy knows by name or treats apart. */
const BY_NAME: ReadonlyMap<string, number> = new Map([
  ['icmp', 1],
  ['tcp', 6],
  ['udp', 17],
  ['icmpv6', 58],
  ['sctp', 132],
  ['udplite', 136],
]);

export const PROTO_IPIP = 4;
export const PROTO_UDP = 17;

/** Protocols whose packets have ports; a port match never holds for another one. The order is that of PerProtocol. */
export const PORT_PROTOCOLS = [6, 17, 132, 136] as const;
/** Protocols whose packets have an ICMP type and code; an ICMP match, negated or not, never holds for another one. */
export const ICMP_PROTOCOLS = [1, 58] as const;

/** 0..255, or undefined for a name or number that is no protocol. Numbers may come as text (`10.0.0.1,6:80`). */
export function protocolNumber(protocol: number | string): number | undefined {
  const text = String(protocol).toLowerCase();
  const named = BY_NAME.get(text);
  if (named !== undefined) return named;
  if (!/^\d{1,3}$/.test(text)) return undefined;
  const n = Number(text);
  return n <= 255 ? n : undefined;
}

export function hasPorts(protocol: number): boolean {
  return (PORT_PROTOCOLS as readonly number[]).includes(protocol);
}

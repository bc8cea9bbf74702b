/**
 * A packet as people and tests speak of it. One canonical form: a field that the protocol does not have is 0, so that
 * two packets are the same bytes exactly when they are deeply equal.
 */
export interface Packet {
  /** Plain addresses of one family, in canonical spelling (RFC 5952 for IPv6). */
  readonly src: string;
  readonly dst: string;
  /** IP protocol number (IPv6: the next header behind a fragment header, if any). */
  readonly proto: number;
  /** TCP, UDP, SCTP and UDP-Lite. */
  readonly sport: number;
  readonly dport: number;
  /** ICMP and ICMPv6. */
  readonly icmpType: number;
  readonly icmpCode: number;
  /** The 16 bits that echo messages use as identifier; 0 for ICMP errors. */
  readonly icmpId: number;
  /** TCP: the low eight flag bits, as in the header. */
  readonly tcpFlags: number;
  /** SCTP: type of the first chunk. */
  readonly sctpChunk: number;
  /** Time to live, or hop limit. */
  readonly ttl: number;
  /** Bytes behind the transport header (behind the IP header for later fragments and other protocols). */
  readonly payloadLength: number;
  readonly fragment?: Fragment;
  /** ICMP errors: the packet that the error is about. */
  readonly inner?: Packet;
}

export interface Fragment {
  /** 16 bits for IPv4, 32 for IPv6. */
  readonly id: number;
  /** In bytes, a multiple of 8. Not 0: the packet has no transport header. */
  readonly offset: number;
  readonly more: boolean;
}

export const PROTO = {
  icmp: 1,
  ipip: 4,
  tcp: 6,
  udp: 17,
  gre: 47,
  esp: 50,
  ah: 51,
  icmpv6: 58,
  sctp: 132,
  udplite: 136,
} as const;

/** Flag letters in bit order, lowest first. */
export const TCP_FLAG_LETTERS = 'FSRPAUEC';
export const TCP_SYN = 0x02;

export const SCTP_INIT = 1;

/** By name, for the packet file. */
export const SCTP_CHUNKS: Readonly<Record<string, number>> = {
  DATA: 0,
  INIT: 1,
  INIT_ACK: 2,
  SACK: 3,
  HEARTBEAT: 4,
  HEARTBEAT_ACK: 5,
  ABORT: 6,
  SHUTDOWN: 7,
  SHUTDOWN_ACK: 8,
  ERROR: 9,
  COOKIE_ECHO: 10,
  COOKIE_ACK: 11,
  SHUTDOWN_COMPLETE: 14,
};

export function hasPorts(proto: number): boolean {
  return proto === PROTO.tcp || proto === PROTO.udp || proto === PROTO.sctp || proto === PROTO.udplite;
}

export function hasIcmp(proto: number): boolean {
  return proto === PROTO.icmp || proto === PROTO.icmpv6;
}

/** ICMP messages that carry the packet they are about: RFC 792 and RFC 4443. */
export function isIcmpError(proto: number, type: number): boolean {
  if (proto === PROTO.icmp) return [3, 4, 5, 11, 12].includes(type);
  return proto === PROTO.icmpv6 && [1, 2, 3, 4].includes(type);
}

/** A later fragment: it has no transport header. */
export function isLaterFragment(packet: Pick<Packet, 'fragment'>): boolean {
  return packet.fragment !== undefined && packet.fragment.offset > 0;
}

/**
 * Raw Ethernet frames from packets, with right lengths and checksums. The checksum of a first fragment is that of the
 * bytes which are there: the rest of the datagram is not known.
 */
import ipaddr from 'ipaddr.js';
import { crc32c, internetChecksum } from './checksum';
import type { Packet } from './packet';
import { hasIcmp, isIcmpError, isLaterFragment, PROTO } from './packet';

export interface FrameOptions {
  /** Default 02:00:00:00:00:02. */
  readonly dstMac?: string;
  /** Default 02:00:00:00:00:01. */
  readonly srcMac?: string;
}

export const ETHERNET_HEADER_LENGTH = 14;

/** The frame without preamble, check sequence, or padding to 60 bytes. */
export function buildFrame(packet: Packet, options: FrameOptions = {}): Uint8Array {
  const ip = buildIp(packet);
  const etherType = isV6(packet) ? 0x86dd : 0x0800;
  return concat(
    macBytes(options.dstMac ?? '02:00:00:00:00:02'),
    macBytes(options.srcMac ?? '02:00:00:00:00:01'),
    u16(etherType),
    ip,
  );
}

/** The packet from its IP header on. */
export function buildIp(packet: Packet): Uint8Array {
  return isV6(packet) ? buildIpv6(packet) : buildIpv4(packet);
}

/** First fixed bytes of an SCTP chunk: INIT and INIT ACK have 16 more than the chunk header. */
export function sctpChunkHeaderLength(chunk: number): number {
  return chunk === 1 || chunk === 2 ? 20 : 4;
}

function buildIpv4(packet: Packet): Uint8Array {
  const body = buildBody(packet);
  const header = new Uint8Array(20);
  const view = new DataView(header.buffer);
  header[0] = 0x45;
  view.setUint16(2, 20 + body.length);
  view.setUint16(4, packet.fragment?.id ?? 0);
  view.setUint16(6, ipv4FragmentField(packet));
  header[8] = packet.ttl;
  header[9] = packet.proto;
  header.set(addressBytes(packet.src), 12);
  header.set(addressBytes(packet.dst), 16);
  view.setUint16(10, internetChecksum(header));
  return concat(header, body);
}

/** Whole packets carry don't-fragment, as nearly all traffic does. */
function ipv4FragmentField(packet: Packet): number {
  if (packet.fragment === undefined) return 0x4000;
  return (packet.fragment.more ? 0x2000 : 0) | (packet.fragment.offset / 8);
}

function buildIpv6(packet: Packet): Uint8Array {
  const body = buildBody(packet);
  const extension = new Uint8Array(packet.fragment === undefined ? 0 : 8);
  if (packet.fragment !== undefined) {
    const view = new DataView(extension.buffer);
    extension[0] = packet.proto;
    view.setUint16(2, packet.fragment.offset | (packet.fragment.more ? 1 : 0));
    view.setUint32(4, packet.fragment.id);
  }
  const header = new Uint8Array(40);
  const view = new DataView(header.buffer);
  header[0] = 0x60;
  view.setUint16(4, extension.length + body.length);
  header[6] = packet.fragment === undefined ? packet.proto : 44;
  header[7] = packet.ttl;
  header.set(addressBytes(packet.src), 8);
  header.set(addressBytes(packet.dst), 24);
  return concat(header, extension, body);
}

function buildBody(packet: Packet): Uint8Array {
  const payload = payloadBytes(packet.payloadLength);
  if (isLaterFragment(packet)) return payload;
  switch (packet.proto) {
    case PROTO.tcp:
      return buildTcp(packet, payload);
    case PROTO.udp:
    case PROTO.udplite:
      return buildUdp(packet, payload);
    case PROTO.sctp:
      return buildSctp(packet, payload);
    default:
      return hasIcmp(packet.proto) ? buildIcmp(packet, payload) : payload;
  }
}

function buildTcp(packet: Packet, payload: Uint8Array): Uint8Array {
  const segment = concat(new Uint8Array(20), payload);
  const view = viewOf(segment);
  view.setUint16(0, packet.sport);
  view.setUint16(2, packet.dport);
  view.setUint32(4, 1000);
  view.setUint32(8, (packet.tcpFlags & 0x10) === 0 ? 0 : 2000);
  segment[12] = 5 << 4;
  segment[13] = packet.tcpFlags;
  view.setUint16(14, 64240);
  view.setUint16(16, internetChecksum(pseudoHeader(packet, segment.length), segment));
  return segment;
}

/** UDP-Lite has the coverage in the place of the length; the whole datagram is covered. */
function buildUdp(packet: Packet, payload: Uint8Array): Uint8Array {
  const datagram = concat(new Uint8Array(8), payload);
  const view = viewOf(datagram);
  view.setUint16(0, packet.sport);
  view.setUint16(2, packet.dport);
  view.setUint16(4, datagram.length);
  const checksum = internetChecksum(pseudoHeader(packet, datagram.length), datagram);
  // 0 would mean "no checksum".
  view.setUint16(6, checksum === 0 ? 0xffff : checksum);
  return datagram;
}

function buildSctp(packet: Packet, payload: Uint8Array): Uint8Array {
  const fixed = sctpChunkHeaderLength(packet.sctpChunk);
  const bytes = concat(new Uint8Array(12 + fixed), payload);
  const view = viewOf(bytes);
  view.setUint16(0, packet.sport);
  view.setUint16(2, packet.dport);
  // The verification tag of an INIT is 0.
  view.setUint32(4, packet.sctpChunk === 1 ? 0 : 0x01020304);
  bytes[12] = packet.sctpChunk;
  view.setUint16(14, fixed + payload.length);
  if (fixed === 20) {
    view.setUint32(16, 0x01020304);
    view.setUint32(20, 65536);
    view.setUint16(24, 1);
    view.setUint16(26, 1);
    view.setUint32(28, 1);
  }
  view.setUint32(8, crc32c(bytes), true);
  return bytes;
}

function buildIcmp(packet: Packet, payload: Uint8Array): Uint8Array {
  const quoted = packet.inner === undefined ? new Uint8Array(0) : buildIp(packet.inner);
  const message = concat(new Uint8Array(8), quoted, payload);
  const view = viewOf(message);
  message[0] = packet.icmpType;
  message[1] = packet.icmpCode;
  if (!isIcmpError(packet.proto, packet.icmpType)) view.setUint16(4, packet.icmpId);
  // ICMPv6 covers the addresses, ICMP does not.
  const pseudo = packet.proto === PROTO.icmpv6 ? pseudoHeader(packet, message.length) : new Uint8Array(0);
  view.setUint16(2, internetChecksum(pseudo, message));
  return message;
}

/** The pseudo header of the transport checksums; `length` is that of the transport header and its payload. */
export function pseudoHeader(packet: Pick<Packet, 'src' | 'dst' | 'proto'>, length: number): Uint8Array {
  if (isV6(packet)) {
    return concat(
      addressBytes(packet.src),
      addressBytes(packet.dst),
      u16(0),
      u16(length),
      u16(0),
      u16(packet.proto),
    );
  }
  return concat(addressBytes(packet.src), addressBytes(packet.dst), u16(packet.proto), u16(length));
}

function isV6(packet: Pick<Packet, 'src'>): boolean {
  return packet.src.includes(':');
}

function addressBytes(address: string): Uint8Array {
  return Uint8Array.from(ipaddr.parse(address).toByteArray());
}

function macBytes(mac: string): Uint8Array {
  return Uint8Array.from(mac.split(':').map((part) => parseInt(part, 16)));
}

/** Bytes that are easy to recognise and not all the same. */
function payloadBytes(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => index & 0xff);
}

function u16(value: number): Uint8Array {
  return Uint8Array.of(value >> 8, value & 0xff);
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function concat(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

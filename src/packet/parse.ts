/**
 * Packets from raw Ethernet frames, for trace output and tests: the inverse of build.ts. Reads untrusted bytes, never
 * throws. IPv6 extension headers other than the fragment header are not walked: the packet's protocol is then theirs.
 */
import ipaddr from 'ipaddr.js';
import { ETHERNET_HEADER_LENGTH, pseudoHeader, sctpChunkHeaderLength } from './build';
import { crc32c, internetChecksum } from './checksum';
import type { Fragment, Packet } from './packet';
import { hasIcmp, isIcmpError, PROTO } from './packet';

export type ParsedFrame =
  | {
      readonly kind: 'ip';
      readonly dstMac: string;
      readonly srcMac: string;
      readonly packet: Packet;
      /** Header and transport checksums are right; those that a fragment can not show are taken as right. */
      readonly checksumsOk: boolean;
    }
  | { readonly kind: 'other'; readonly dstMac: string; readonly srcMac: string; readonly etherType: number }
  | { readonly kind: 'malformed'; readonly reason: string };

/** Reads one frame. Bytes behind the IP packet (Ethernet padding) are ignored. */
export function parseFrame(frame: Uint8Array): ParsedFrame {
  if (frame.length < ETHERNET_HEADER_LENGTH) return malformed('shorter than an Ethernet header');
  const macs = { dstMac: mac(frame.subarray(0, 6)), srcMac: mac(frame.subarray(6, 12)) };
  const etherType = viewOf(frame).getUint16(12);
  if (etherType !== 0x0800 && etherType !== 0x86dd) return { kind: 'other', ...macs, etherType };
  const version = etherType === 0x0800 ? 4 : 6;
  const parsed = parseIp(frame.subarray(ETHERNET_HEADER_LENGTH), version, true);
  return typeof parsed === 'string' ? malformed(parsed) : { kind: 'ip', ...macs, ...parsed };
}

interface ParsedIp {
  readonly packet: Packet;
  readonly checksumsOk: boolean;
}

/** The IP part of a packet and where its body lies. */
interface Envelope {
  readonly src: string;
  readonly dst: string;
  readonly proto: number;
  readonly ttl: number;
  readonly fragment?: Fragment;
  readonly body: Uint8Array;
  readonly headerOk: boolean;
}

/** A string is the reason why it can not be read. */
function parseIp(bytes: Uint8Array, version: 4 | 6, mayQuote: boolean): ParsedIp | string {
  const envelope = version === 4 ? parseIpv4(bytes) : parseIpv6(bytes);
  if (typeof envelope === 'string') return envelope;
  const { src, dst, proto, ttl, fragment, body, headerOk } = envelope;
  const base: Packet = {
    src,
    dst,
    proto,
    sport: 0,
    dport: 0,
    icmpType: 0,
    icmpCode: 0,
    icmpId: 0,
    tcpFlags: 0,
    sctpChunk: 0,
    ttl,
    payloadLength: body.length,
    ...(fragment === undefined ? {} : { fragment }),
  };
  if (fragment !== undefined && fragment.offset > 0) return { packet: base, checksumsOk: headerOk };
  const parsed = parseBody(base, body, mayQuote);
  return typeof parsed === 'string'
    ? parsed
    : {
        packet: parsed.packet,
        // A fragment's transport checksum needs the whole datagram.
        checksumsOk: headerOk && (fragment !== undefined || parsed.checksumsOk),
      };
}

function parseIpv4(bytes: Uint8Array): Envelope | string {
  if (bytes.length < 20) return 'shorter than an IPv4 header';
  const view = viewOf(bytes);
  if (bytes[0]! >> 4 !== 4) return `IP version ${bytes[0]! >> 4} in an IPv4 frame`;
  const headerLength = (bytes[0]! & 0xf) * 4;
  const total = view.getUint16(2);
  if (headerLength < 20 || total < headerLength || total > bytes.length)
    return 'IPv4 lengths contradict each other';
  const field = view.getUint16(6);
  const offset = (field & 0x1fff) * 8;
  const more = (field & 0x2000) !== 0;
  return {
    src: address(bytes.subarray(12, 16)),
    dst: address(bytes.subarray(16, 20)),
    proto: bytes[9]!,
    ttl: bytes[8]!,
    ...(offset > 0 || more ? { fragment: { id: view.getUint16(4), offset, more } } : {}),
    body: bytes.subarray(headerLength, total),
    headerOk: internetChecksum(bytes.subarray(0, headerLength)) === 0,
  };
}

function parseIpv6(bytes: Uint8Array): Envelope | string {
  if (bytes.length < 40) return 'shorter than an IPv6 header';
  const view = viewOf(bytes);
  if (bytes[0]! >> 4 !== 6) return `IP version ${bytes[0]! >> 4} in an IPv6 frame`;
  const end = 40 + view.getUint16(4);
  if (end > bytes.length) return 'IPv6 payload length exceeds the frame';
  const envelope = {
    src: address(bytes.subarray(8, 24)),
    dst: address(bytes.subarray(24, 40)),
    ttl: bytes[7]!,
    headerOk: true,
  };
  if (bytes[6] !== 44) return { ...envelope, proto: bytes[6]!, body: bytes.subarray(40, end) };
  if (end < 48) return 'shorter than an IPv6 fragment header';
  const field = view.getUint16(42);
  const fragment = { id: view.getUint32(44), offset: field & 0xfff8, more: (field & 1) !== 0 };
  return { ...envelope, proto: bytes[40]!, fragment, body: bytes.subarray(48, end) };
}

function parseBody(base: Packet, body: Uint8Array, mayQuote: boolean): ParsedIp | string {
  const view = viewOf(body);
  const ports = (): Pick<Packet, 'sport' | 'dport'> => ({
    sport: view.getUint16(0),
    dport: view.getUint16(2),
  });
  switch (base.proto) {
    case PROTO.tcp: {
      if (body.length < 20) return 'shorter than a TCP header';
      const headerLength = (body[12]! >> 4) * 4;
      if (headerLength < 20 || headerLength > body.length) return 'TCP data offset is out of range';
      const packet = { ...base, ...ports(), tcpFlags: body[13]!, payloadLength: body.length - headerLength };
      return { packet, checksumsOk: sumIsZero(base, body) };
    }
    case PROTO.udp:
    case PROTO.udplite: {
      if (body.length < 8) return 'shorter than a UDP header';
      const packet = { ...base, ...ports(), payloadLength: body.length - 8 };
      return { packet, checksumsOk: view.getUint16(6) !== 0 && sumIsZero(base, body) };
    }
    case PROTO.sctp: {
      if (body.length < 16) return 'shorter than an SCTP header and a chunk';
      const sctpChunk = body[12]!;
      const headerLength = 12 + sctpChunkHeaderLength(sctpChunk);
      if (body.length < headerLength) return 'shorter than its SCTP chunk';
      const blank = Uint8Array.from(body);
      blank.fill(0, 8, 12);
      const packet = { ...base, ...ports(), sctpChunk, payloadLength: body.length - headerLength };
      return { packet, checksumsOk: crc32c(blank) === view.getUint32(8, true) };
    }
    default:
      return hasIcmp(base.proto) ? parseIcmp(base, body, mayQuote) : { packet: base, checksumsOk: true };
  }
}

function parseIcmp(base: Packet, body: Uint8Array, mayQuote: boolean): ParsedIp | string {
  if (body.length < 8) return 'shorter than an ICMP header';
  const icmpType = body[0]!;
  const isError = isIcmpError(base.proto, icmpType);
  const packet: Packet = {
    ...base,
    icmpType,
    icmpCode: body[1]!,
    icmpId: isError ? 0 : viewOf(body).getUint16(4),
    payloadLength: body.length - 8,
  };
  const checksumsOk = base.proto === PROTO.icmpv6 ? sumIsZero(base, body) : internetChecksum(body) === 0;
  if (!isError || !mayQuote) return { packet, checksumsOk };
  const quoted = parseIp(body.subarray(8), base.src.includes(':') ? 6 : 4, false);
  // A quote that is cut short is common on the wire: it stays payload.
  if (typeof quoted === 'string') return { packet, checksumsOk };
  return { packet: { ...packet, payloadLength: 0, inner: quoted.packet }, checksumsOk };
}

function sumIsZero(packet: Packet, body: Uint8Array): boolean {
  return internetChecksum(pseudoHeader(packet, body.length), body) === 0;
}

function malformed(reason: string): ParsedFrame {
  return { kind: 'malformed', reason };
}

function address(bytes: Uint8Array): string {
  return ipaddr.fromByteArray([...bytes]).toString();
}

function mac(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

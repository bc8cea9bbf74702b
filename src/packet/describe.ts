/**
 * The packet file of `replay`: one JSON object a line, each checked as a whole. Docs of the keys are on `PacketLine`.
 */
import ipaddr from 'ipaddr.js';
import { z } from 'zod';
import { CalicoP4Error } from '../errors';
import type { Packet } from './packet';
import {
  hasIcmp,
  hasPorts,
  isIcmpError,
  isLaterFragment,
  PROTO,
  SCTP_CHUNKS,
  SCTP_INIT,
  TCP_FLAG_LETTERS,
  TCP_SYN,
} from './packet';
import type { Tunnel } from './tunnel';

/**
 * One packet of the file: where it comes in, and what it is.
 *
 * Keys of a line: `id`, `from`, `src`, `dst`, `proto` (number or name); `sport`, `dport` (default 0); `icmpType` (default
 * echo request), `icmpCode` (0), `icmpId` (1); `tcpFlags` (letters of FSRPAUEC or a number, default S); `sctpChunk` (name or
 * number, default INIT); `ttl` (64); `payload` (bytes behind the header, 0); `fragment` {id, offset in bytes, more}; `inner`
 * (ICMP errors: the packet they are about, with the keys of a packet but id, from, fragment, inner); `tunnel` {kind: vxlan or ipip, src, dst,
 * vni (4096), port (4789)}: what is around it, from another node. null is "not given".
 * Fields that the protocol does not have are allowed and ignored.
 */
export interface PacketLine {
  /** As given: results echo it. */
  readonly id: string | number;
  /** A workload's interface name, `uplink` or `host`. */
  readonly from: string;
  readonly packet: Packet;
  /** The packet comes in in this tunnel. */
  readonly tunnel?: Tunnel;
}

const PROTOCOL_NAMES: Readonly<Record<string, number>> = PROTO;
const PROTOCOL_NAME_LIST = Object.keys(PROTO).join(', ');

const byte = z.number().int().min(0).max(255);
const port = z.number().int().min(0).max(65535);

const address = z.string().transform((text, context) => {
  if (!ipaddr.isValid(text) || (!text.includes(':') && !ipaddr.IPv4.isValidFourPartDecimal(text))) {
    context.addIssue({ code: 'custom', message: `"${text}" is no IP address` });
    return z.NEVER;
  }
  return ipaddr.parse(text).toString();
});

const protocol = z.union([z.number(), z.string()]).transform((given, context) => {
  const value =
    typeof given === 'number' || /^\d+$/.test(given) ? Number(given) : PROTOCOL_NAMES[given.toLowerCase()];
  if (value === undefined || !Number.isInteger(value) || value < 0 || value > 255) {
    context.addIssue({
      code: 'custom',
      message: `"${given}" is no protocol: give a number from 0 to 255 or one of ${PROTOCOL_NAME_LIST}`,
    });
    return z.NEVER;
  }
  return value;
});

const tcpFlags = z.union([byte, z.string()]).transform((given, context) => {
  if (typeof given === 'number') return given;
  let flags = 0;
  for (const letter of given.toUpperCase()) {
    const bit = TCP_FLAG_LETTERS.indexOf(letter);
    if (bit < 0) {
      context.addIssue({
        code: 'custom',
        message: `"${given}": TCP flags are letters of ${TCP_FLAG_LETTERS} or a number from 0 to 255`,
      });
      return z.NEVER;
    }
    flags |= 1 << bit;
  }
  return flags;
});

const sctpChunk = z.union([byte, z.string()]).transform((given, context) => {
  const value = typeof given === 'number' ? given : SCTP_CHUNKS[given.toUpperCase().replaceAll('-', '_')];
  if (value === undefined) {
    context.addIssue({
      code: 'custom',
      message: `"${given}" is no SCTP chunk: give a number or one of ${Object.keys(SCTP_CHUNKS).join(', ')}`,
    });
    return z.NEVER;
  }
  return value;
});

const packetFields = {
  src: address,
  dst: address,
  proto: protocol,
  sport: port.nullish(),
  dport: port.nullish(),
  icmpType: byte.nullish(),
  icmpCode: byte.nullish(),
  icmpId: port.nullish(),
  tcpFlags: tcpFlags.nullish(),
  sctpChunk: sctpChunk.nullish(),
  ttl: byte.nullish(),
  payload: z.number().int().min(0).max(65000).nullish(),
};

const innerSchema = z.strictObject(packetFields);

const lineSchema = z.strictObject({
  id: z.union([z.string().min(1), z.number()]),
  from: z.string().min(1),
  ...packetFields,
  fragment: z
    .strictObject({
      id: z.number().int().min(0).max(0xffffffff).default(1),
      offset: z.number().int().min(0).max(65528).multipleOf(8).default(0),
      more: z.boolean().default(false),
    })
    .nullish(),
  inner: innerSchema.nullish(),
  tunnel: z
    .discriminatedUnion('kind', [
      z.strictObject({
        kind: z.literal('vxlan'),
        src: address,
        dst: address,
        vni: z.number().int().min(0).max(0xffffff).default(4096),
        port: port.default(4789),
      }),
      z.strictObject({ kind: z.literal('ipip'), src: address, dst: address }),
    ])
    .nullish(),
});

type Fields = z.output<typeof innerSchema> & Pick<z.output<typeof lineSchema>, 'fragment' | 'inner'>;

/**
 * Reads a whole packet file; blank lines and lines that start with `#` are skipped.
 * Throws USAGE for the first line that is wrong, with its number and key.
 */
export function parsePacketFile(text: string): readonly PacketLine[] {
  return text
    .split(/\r?\n/)
    .map((line, index) => ({ line: line.trim(), number: index + 1 }))
    .filter(({ line }) => line !== '' && !line.startsWith('#'))
    .map(({ line, number }) => parsePacketLine(line, number));
}

/** Reads one line. `lineNumber` counts from 1 and is for the message. Throws USAGE. */
export function parsePacketLine(line: string, lineNumber: number): PacketLine {
  const where = `packet file, line ${lineNumber}`;
  let json: unknown;
  try {
    json = JSON.parse(line);
  } catch (error) {
    throw refusal(where, `not JSON (${(error as Error).message}); a packet is for example ${EXAMPLE}`);
  }
  return readLine(json, where);
}

/** A packet with the defaults of the packet file, for callers that have values and no JSON. Throws USAGE as a line does. */
export function makePacket(fields: Readonly<Record<string, unknown>>): Packet {
  return readLine({ id: '-', from: '-', ...fields }, 'packet').packet;
}

function readLine(json: unknown, where: string): PacketLine {
  const read = lineSchema.safeParse(json);
  if (!read.success) throw refusal(where, explain(read.error.issues[0]!));
  const problem = contradiction(read.data);
  if (problem !== undefined) throw refusal(where, problem);
  const { id, from, tunnel } = read.data;
  return { id, from, packet: canonical(read.data), ...(tunnel ? { tunnel } : {}) };
}

function refusal(where: string, problem: string): CalicoP4Error {
  return new CalicoP4Error('USAGE', `${where}: ${problem}`);
}

const EXAMPLE =
  '{"id":"1","from":"uplink","src":"10.0.0.1","dst":"10.0.0.2","proto":"tcp","sport":40000,"dport":80}';

function explain(issue: z.core.$ZodIssue): string {
  const path = issue.path.map(String).join('.');
  if (issue.code === 'unrecognized_keys') {
    const keys = issue.keys.map((key) => `"${path === '' ? key : `${path}.${key}`}"`).join(', ');
    const known = Object.keys(path === 'inner' ? innerSchema.shape : lineSchema.shape);
    return `unknown key ${keys}; known are ${path === 'fragment' ? 'id, offset, more' : known.join(', ')}`;
  }
  return path === '' ? issue.message : `key "${path}": ${issue.message}`;
}

/** What each key allows and the packet as a whole does not. */
function contradiction(line: z.output<typeof lineSchema>): string | undefined {
  const v6 = line.src.includes(':');
  if (v6 !== line.dst.includes(':')) return 'keys "src" and "dst" have different IP versions';
  if (v6 && line.proto === 44) return 'key "proto": 44 is the IPv6 fragment header; use "fragment"';
  if (!v6 && line.fragment && line.fragment.id > 0xffff) {
    return 'key "fragment.id": IPv4 has 16 bits for it, at most 65535';
  }
  if (!v6 && line.fragment && line.fragment.offset === 0 && !line.fragment.more) {
    return 'key "fragment": an IPv4 packet with offset 0 and nothing more to come is no fragment';
  }
  if (line.tunnel) {
    const outerV6 = line.tunnel.src.includes(':');
    if (outerV6 !== line.tunnel.dst.includes(':')) {
      return 'key "tunnel": its "src" and "dst" have different IP versions';
    }
    if (line.tunnel.kind === 'ipip' && (outerV6 || v6)) return 'key "tunnel": IPIP is of IPv4 in IPv4';
  }
  if (line.inner) {
    if (!isIcmpError(line.proto, line.icmpType ?? echoRequest(line.proto))) {
      return 'key "inner": only ICMP errors carry a packet (ICMP types 3, 4, 5, 11, 12; ICMPv6 types 1 to 4)';
    }
    if (line.inner.src.includes(':') !== v6 || line.inner.dst.includes(':') !== v6) {
      return 'key "inner": its addresses must have the IP version of the packet around it';
    }
    if (line.payload) return 'key "payload": an ICMP error with "inner" has no other payload';
    if (line.fragment) return 'key "fragment": an ICMP error with "inner" can not be a fragment here';
  }
  return undefined;
}

function echoRequest(proto: number): number {
  return proto === PROTO.icmpv6 ? 128 : 8;
}

/** Fills in defaults and clears what the protocol, or a later fragment, does not have. */
function canonical(fields: Fields): Packet {
  const { proto, fragment } = fields;
  const headless = fragment ? isLaterFragment({ fragment }) : false;
  const ports = hasPorts(proto) && !headless;
  const icmp = hasIcmp(proto) && !headless;
  const icmpType = icmp ? (fields.icmpType ?? echoRequest(proto)) : 0;
  return {
    src: fields.src,
    dst: fields.dst,
    proto,
    sport: ports ? (fields.sport ?? 0) : 0,
    dport: ports ? (fields.dport ?? 0) : 0,
    icmpType,
    icmpCode: icmp ? (fields.icmpCode ?? 0) : 0,
    icmpId: icmp && !isIcmpError(proto, icmpType) ? (fields.icmpId ?? 1) : 0,
    tcpFlags: proto === PROTO.tcp && !headless ? (fields.tcpFlags ?? TCP_SYN) : 0,
    sctpChunk: proto === PROTO.sctp && !headless ? (fields.sctpChunk ?? SCTP_INIT) : 0,
    ttl: fields.ttl ?? 64,
    payloadLength: fields.payload ?? 0,
    ...(fragment ? { fragment } : {}),
    ...(fields.inner ? { inner: canonical(fields.inner) } : {}),
  };
}

/** One line for people: `10.0.0.1:40000 > 10.0.0.2:80 tcp S`. */
export function formatPacket(packet: Packet): string {
  const name =
    Object.entries(PROTO).find(([, number]) => number === packet.proto)?.[0] ?? `proto ${packet.proto}`;
  const v6 = packet.src.includes(':');
  const withPort = (host: string, p: number): string => (v6 ? `[${host}]:${p}` : `${host}:${p}`);
  const parts =
    isLaterFragment(packet) || !hasPorts(packet.proto)
      ? [packet.src, '>', packet.dst, name]
      : [withPort(packet.src, packet.sport), '>', withPort(packet.dst, packet.dport), name];
  if (!isLaterFragment(packet)) {
    if (packet.proto === PROTO.tcp) {
      const letters = Array.from(TCP_FLAG_LETTERS)
        .filter((_, bit) => (packet.tcpFlags & (1 << bit)) !== 0)
        .join('');
      parts.push(letters === '' ? 'no flags' : letters);
    }
    if (packet.proto === PROTO.sctp) {
      const chunk = Object.entries(SCTP_CHUNKS).find(([, number]) => number === packet.sctpChunk)?.[0];
      parts.push(chunk ?? `chunk ${packet.sctpChunk}`);
    }
    if (hasIcmp(packet.proto)) parts.push(`type ${packet.icmpType} code ${packet.icmpCode}`);
  }
  if (packet.fragment) {
    parts.push(
      `fragment ${packet.fragment.id} at ${packet.fragment.offset}${packet.fragment.more ? ' more' : ''}`,
    );
  }
  if (packet.inner) parts.push(`about (${formatPacket(packet.inner)})`);
  return parts.join(' ');
}

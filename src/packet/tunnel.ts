/** Packets in tunnels between nodes: VXLAN (RFC 7348) over IPv4 and IPv6, and IPIP (RFC 2003). */
import ipaddr from 'ipaddr.js';
import { ETHERNET_HEADER_LENGTH, pseudoHeader } from './build';
import { internetChecksum } from './checksum';

/** The headers around a packet. */
export type Tunnel =
  | {
      readonly kind: 'vxlan';
      /** Nodes' addresses, of one family. */
      readonly src: string;
      readonly dst: string;
      readonly vni: number;
      /** UDP destination port. */
      readonly port: number;
    }
  | { readonly kind: 'ipip'; readonly src: string; readonly dst: string };

export interface EncapsulationOptions {
  /** Of the frame around: default 02:00:00:00:00:02 and 02:00:00:00:00:01. */
  readonly dstMac?: string;
  readonly srcMac?: string;
  /** Of the frame within (VXLAN): default 00:00:00:00:00:00 and 66:00:00:00:00:01. */
  readonly innerDstMac?: string;
  readonly innerSrcMac?: string;
  /** UDP source port; default 50000. */
  readonly sport?: number;
  /** Type of service or traffic class of the headers around; default 0. */
  readonly tos?: number;
}

const VXLAN_FLAGS = 0x0800_0000;
const DF = 0x4000;

/** The frame that carries `ip`, an IP packet from its header on, through a tunnel. IPv6 around it has a UDP checksum, IPv4 none. */
export function encapsulate(ip: Uint8Array, tunnel: Tunnel, options: EncapsulationOptions = {}): Uint8Array {
  const body = tunnel.kind === 'ipip' ? ip : vxlanBody(ip, tunnel, options);
  const outer = tunnel.src.includes(':')
    ? ipv6Header(tunnel, body.length, options.tos ?? 0)
    : ipv4Header(tunnel, body.length, options.tos ?? 0);
  const type = tunnel.src.includes(':') ? 0x86dd : 0x0800;
  const ethernet = ethernetHeader(
    options.dstMac ?? '02:00:00:00:00:02',
    options.srcMac ?? '02:00:00:00:00:01',
    type,
  );
  return Uint8Array.from(Buffer.concat([ethernet, outer, body]));
}

function vxlanBody(
  ip: Uint8Array,
  tunnel: Extract<Tunnel, { kind: 'vxlan' }>,
  options: EncapsulationOptions,
): Buffer {
  const inner = ethernetHeader(
    options.innerDstMac ?? '00:00:00:00:00:00',
    options.innerSrcMac ?? '66:00:00:00:00:01',
    ip[0]! >> 4 === 6 ? 0x86dd : 0x0800,
  );
  const header = Buffer.alloc(16);
  const length = header.length + inner.length + ip.length;
  header.writeUInt16BE(options.sport ?? 50_000, 0);
  header.writeUInt16BE(tunnel.port, 2);
  header.writeUInt16BE(length, 4);
  header.writeUInt32BE(VXLAN_FLAGS, 8);
  header.writeUInt32BE(tunnel.vni * 256, 12);
  const body = Buffer.concat([header, inner, ip]);
  if (tunnel.src.includes(':')) {
    const sum = internetChecksum(pseudoHeader({ ...tunnel, proto: 17 }, length), body);
    body.writeUInt16BE(sum === 0 ? 0xffff : sum, 6);
  }
  return body;
}

function ipv4Header({ kind, src, dst }: Tunnel, length: number, tos: number): Buffer {
  const header = Buffer.alloc(20);
  header[0] = 0x45;
  header[1] = tos;
  header.writeUInt16BE(20 + length, 2);
  header.writeUInt16BE(kind === 'ipip' ? DF : 0, 6);
  header[8] = 64;
  header[9] = kind === 'ipip' ? 4 : 17;
  header.set(ipaddr.parse(src).toByteArray(), 12);
  header.set(ipaddr.parse(dst).toByteArray(), 16);
  header.writeUInt16BE(internetChecksum(header), 10);
  return header;
}

function ipv6Header({ kind, src, dst }: Tunnel, length: number, tos: number): Buffer {
  const header = Buffer.alloc(40);
  header.writeUInt32BE(0x6000_0000 + tos * 2 ** 20, 0);
  header.writeUInt16BE(length, 4);
  header[6] = kind === 'ipip' ? 4 : 17;
  header[7] = 64;
  header.set(ipaddr.parse(src).toByteArray(), 8);
  header.set(ipaddr.parse(dst).toByteArray(), 24);
  return header;
}

function ethernetHeader(dst: string, src: string, type: number): Buffer {
  const header = Buffer.alloc(14);
  header.set(
    dst.split(':').map((part) => parseInt(part, 16)),
    0,
  );
  header.set(
    src.split(':').map((part) => parseInt(part, 16)),
    6,
  );
  header.writeUInt16BE(type, 12);
  return header;
}

export interface Encapsulated {
  readonly tunnel: Tunnel;
  /** The frame within; of IPIP, which has none, with the MAC addresses of the frame around. */
  readonly frame: Uint8Array;
}

/**
 * What a frame carries through a tunnel; undefined for frames that are none of a tunnel's by their shape. Whole packets only, and no IPv4
 * options around them.
 */
export function decapsulate(frame: Uint8Array): Encapsulated | undefined {
  const view = Buffer.from(frame);
  if (frame.length < ETHERNET_HEADER_LENGTH + 20) return undefined;
  const type = view.readUInt16BE(12);
  if (type === 0x0800) {
    if (frame[14] !== 0x45 || (view.readUInt16BE(20) & 0x3fff) !== 0) return undefined;
    const ends = { src: address(view.subarray(26, 30)), dst: address(view.subarray(30, 34)) };
    if (frame[23] === 4)
      return {
        tunnel: { kind: 'ipip', ...ends },
        frame: Uint8Array.from(Buffer.concat([view.subarray(0, 14), view.subarray(34)])),
      };
    return frame[23] === 17 ? fromVxlan(view.subarray(34), ends) : undefined;
  }
  if (type !== 0x86dd || frame.length < ETHERNET_HEADER_LENGTH + 40 || frame[20] !== 17) return undefined;
  return fromVxlan(view.subarray(54), {
    src: address(view.subarray(22, 38)),
    dst: address(view.subarray(38, 54)),
  });
}

function fromVxlan(
  udp: Buffer,
  ends: { readonly src: string; readonly dst: string },
): Encapsulated | undefined {
  if (udp.length < 16 + ETHERNET_HEADER_LENGTH || udp.readUInt32BE(8) !== VXLAN_FLAGS || udp[15] !== 0)
    return undefined;
  return {
    tunnel: { kind: 'vxlan', ...ends, vni: udp.readUInt32BE(12) / 256, port: udp.readUInt16BE(2) },
    frame: Uint8Array.from(udp.subarray(16)),
  };
}

/** One line for people: `VXLAN 4096 10.0.0.1 > 10.0.0.2:4789`. */
export function formatTunnel(tunnel: Tunnel): string {
  if (tunnel.kind === 'ipip') return `IPIP ${tunnel.src} > ${tunnel.dst}`;
  const to = tunnel.dst.includes(':') ? `[${tunnel.dst}]` : tunnel.dst;
  return `VXLAN ${tunnel.vni} ${tunnel.src} > ${to}:${tunnel.port}`;
}

function address(bytes: Uint8Array): string {
  return ipaddr.fromByteArray([...bytes]).toString();
}

/**
 * Frames by which hosts ask for each other on a link: ARP (RFC 826) and neighbour solicitations (RFC 4861).
 */
import ipaddr from 'ipaddr.js';
import { pseudoHeader } from './build';
import { internetChecksum } from './checksum';
import { PROTO } from './packet';

export interface ArpFields {
  /** Of the frame; default broadcast. */
  readonly dstMac?: string;
  readonly senderMac: string;
  readonly senderIp: string;
  /** Default 00:00:00:00:00:00, as in a question. */
  readonly targetMac?: string;
  readonly targetIp: string;
  /** 1 asks (default), 2 answers. */
  readonly operation?: number;
}

/** 42 bytes, without padding. */
export function arpFrame(fields: ArpFields): Uint8Array {
  const { senderMac, senderIp, targetIp } = fields;
  return bytes(
    mac(fields.dstMac ?? 'ff:ff:ff:ff:ff:ff'),
    mac(senderMac),
    [0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, fields.operation ?? 1],
    mac(senderMac),
    ip(senderIp),
    mac(fields.targetMac ?? '00:00:00:00:00:00'),
    ip(targetIp),
  );
}

export interface SolicitationFields {
  /** Of the frame; default the multicast address of the target's group. */
  readonly dstMac?: string;
  readonly srcMac: string;
  /** `::` in duplicate address detection. */
  readonly src: string;
  /** Default the solicited-node group of the target. */
  readonly dst?: string;
  readonly target: string;
  /** With the sender's MAC; default true, but never where src is `::`. */
  readonly option?: boolean;
}

export function solicitationFrame(fields: SolicitationFields): Uint8Array {
  const target = ip(fields.target);
  const group = [0xff, ...target.slice(13)];
  const dst = fields.dst ?? `ff02::1:ff${hex(target[13]!)}:${hex(target[14]!)}${hex(target[15]!)}`;
  const option = (fields.option ?? true) && fields.src !== '::' ? [1, 1, ...mac(fields.srcMac)] : [];
  const message = bytes([135, 0, 0, 0, 0, 0, 0, 0], target, option);
  const sum = internetChecksum(
    pseudoHeader({ src: fields.src, dst, proto: PROTO.icmpv6 }, message.length),
    message,
  );
  message.set([sum >> 8, sum & 0xff], 2);
  return bytes(
    fields.dstMac === undefined ? [0x33, 0x33, ...group] : mac(fields.dstMac),
    mac(fields.srcMac),
    [0x86, 0xdd, 0x60, 0, 0, 0, 0, message.length, PROTO.icmpv6, 255],
    ip(fields.src),
    ip(dst),
    message,
  );
}

function mac(text: string): number[] {
  return text.split(':').map((part) => parseInt(part, 16));
}

function ip(text: string): number[] {
  return ipaddr.parse(text).toByteArray();
}

function hex(byte: number): string {
  return byte.toString(16).padStart(2, '0');
}

function bytes(...parts: readonly ArrayLike<number>[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => Array.from(part)));
}

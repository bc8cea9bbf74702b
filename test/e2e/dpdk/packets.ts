/**
 * Random packets of every kind that the pipeline tells apart, malformed ones included, and packets that answer, repeat or
 * quote earlier ones, so that the learned tables act.
 */
import { buildFrame } from '../../../src/packet/build';
import { arpFrame, solicitationFrame } from '../../../src/packet/neighbour';
import { spellMac } from '../../../src/translators/links';
import { makePacket } from '../../../src/packet/describe';
import type { Packet } from '../../../src/packet/packet';
import { encapsulate, type EncapsulationOptions, type Tunnel } from '../../../src/packet/tunnel';
import { addExtension, addOptions, damage, mapAddress } from './malformed';
import type { Random } from './random';
import {
  FLOATING,
  HOMES,
  HOPS,
  MACS,
  MTU,
  PORT,
  REMOTE,
  TUNNEL_ENDS,
  TUNNEL_MTU,
  VNI,
  VTEP,
  VXLAN_PORT,
} from './rows';

export interface Injected {
  readonly kind: Kind;
  readonly port: number;
  readonly frame: Uint8Array;
  /** Absent when the frame is not simply a packet built by src/packet. */
  readonly packet?: Packet;
}

/** A packet that was let through, and where it came out. */
export interface Passed extends Injected {
  readonly outPort: number;
}

export const KINDS = [
  'tcp',
  'tcp-any-flags',
  'udp',
  'udp-lite',
  'sctp',
  'icmp',
  'icmp-error',
  'other-protocol',
  'first-fragment',
  'later-fragment',
  'ipv4-options',
  'ipv6-extension',
  'no-ip',
  'truncated',
  'v4-mapped',
  'bad-header',
  'noise',
  'arp',
  'neighbour-discovery',
  'big',
  'reply',
  'repeat',
  'related-error',
  'fragment-of-passed',
  'to-other-node',
  'tunnelled',
  'odd-tunnel',
] as const;
export type Kind = (typeof KINDS)[number];

type Fields = Readonly<Record<string, unknown>>;
type Family = 'v4' | 'v6';

const SERVICE_PORTS = [53, 80, 443, 8080];
const CLIENT_PORTS = [40000, 40001];

/** One packet of `kind`; those that need an earlier packet and have none become plain TCP. */
export function randomPacket(random: Random, kind: Kind, passed: readonly Passed[]): Injected {
  const plain = (fields: Fields, family?: Family): Injected => {
    const way = randomWay(random, family);
    return build(random, kind, way.port, { src: way.src, dst: way.dst, ...fields });
  };
  /** A packet whose bytes are then changed. */
  const changed = (fields: Fields, change: (frame: Uint8Array) => Uint8Array, family?: Family): Injected => {
    const { port, frame } = plain(fields, family);
    return { kind, port, frame: change(frame) };
  };
  switch (kind) {
    case 'tcp':
      return plain(tcp(random, random.pick([0x02, 0x02, 0x12, 0x10, 0x18, 0x11, 0x04, 0x14, 0xc2])));
    case 'tcp-any-flags':
      return plain(tcp(random, random.below(256)));
    case 'udp':
      return plain({ proto: 'udp', ...ports(random), payload: random.below(30) });
    case 'udp-lite':
      return plain({ proto: 'udplite', ...ports(random) });
    case 'sctp':
      return plain({ proto: 'sctp', ...ports(random), sctpChunk: random.below(16) });
    case 'icmp':
      return plain(icmp(random));
    case 'icmp-error': {
      const family = randomFamily(random);
      const quoted = randomWay(random, family);
      const fields = { src: quoted.src, dst: quoted.dst, ...transport(random) };
      return plain({ ...errorFields(random, family), inner: fields }, family);
    }
    case 'other-protocol': {
      // 44 is the IPv6 fragment header, which src/packet builds from `fragment` only.
      const proto = random.pick([0, 2, 4, 41, 43, 47, 50, 51, 59, 60, 103, 135, 139, 140, 255]);
      return plain({ proto, payload: 8 + random.below(20) });
    }
    case 'first-fragment':
      return plain({ ...transport(random), payload: 16, fragment: fragment(random, 0) });
    case 'later-fragment':
      return plain({
        ...transport(random),
        payload: 16,
        fragment: fragment(random, 8 * (1 + random.below(200))),
      });
    case 'ipv4-options':
      return changed({ ...transport(random), payload: 8 }, (f) => addOptions(f, random), 'v4');
    case 'ipv6-extension':
      return changed({ ...transport(random), payload: 8 }, (f) => addExtension(f, random), 'v6');
    case 'no-ip':
      return changed(transport(random), (f) => {
        new DataView(f.buffer).setUint16(12, random.pick([0x0806, 0x8100, 0x88cc, 0x0000, 0x86dc, 0x0801]));
        return f;
      });
    case 'truncated':
      return changed({ ...anyTransport(random), payload: random.below(10) }, (f) =>
        f.subarray(0, random.below(f.length)),
      );
    case 'v4-mapped':
      return changed(transport(random), (f) => mapAddress(f, random), 'v6');
    case 'bad-header':
      return changed({ ...anyTransport(random), payload: random.below(10) }, (f) => damage(f, random));
    case 'noise':
      return {
        kind,
        port: random.below(16),
        frame: Uint8Array.from({ length: random.below(150) }, () => random.below(256)),
      };
    case 'arp':
      return { kind, ...arp(random) };
    case 'neighbour-discovery':
      return { kind, ...neighbourDiscovery(random) };
    case 'big': {
      // Around the sizes that the ways take.
      const size = random.pick([...Object.values(MTU), ...Object.values(MTU), 4000]) + random.below(3) - 1;
      const way = randomWay(random);
      const headers = (way.src.includes(':') ? 40 : 20) + 8;
      const fields = { proto: 'udp', ...ports(random), payload: size - headers };
      const big = build(random, kind, way.port, { src: way.src, dst: way.dst, ...fields });
      // IPv4: without DF at times.
      if (!way.src.includes(':') && random.chance(0.3)) clearDf(big.frame);
      return big;
    }
    case 'to-other-node':
      return toOtherNode(random);
    case 'tunnelled':
      return tunnelled(random, randomTunnel(random, 0));
    case 'odd-tunnel': {
      const { frame, ...injected } = tunnelled(random, randomTunnel(random, 0.4));
      if (random.chance(0.5))
        frame[random.pick([14, 16, 17, 20, 21, 23, 42, 45, 49, 54, 62, 63, 64])]! ^= 1 << random.below(8);
      return {
        ...injected,
        frame: random.chance(0.1) ? frame.subarray(0, random.below(frame.length)) : frame,
      };
    }
    default:
      return followUp(random, kind, passed) ?? plain(tcp(random, 0x02));
  }
}

/** From a pod or the host, of any size around those of tunnels, with ECN of any kind. */
function toOtherNode(random: Random): Injected {
  const port = random.pick([PORT.podA, PORT.podA, PORT.podB, PORT.host]);
  const family = randomFamily(random);
  const headers = family === 'v4' ? 28 : 48;
  const size = random.pick([...Object.values(TUNNEL_MTU), 100, 100, 100]) + random.below(3) - 1;
  const built = build(random, 'to-other-node', port, {
    src: random.pick(HOMES[port]![family]),
    dst: random.pick(Object.values(REMOTE[family])),
    ...random.pick([
      { ...anyTransport(random) },
      { proto: 'udp', ...ports(random), payload: size - headers },
    ]),
    ...(random.chance(0.15) ? { fragment: fragment(random, 0), payload: 16 } : {}),
  });
  setEcn(built.frame, random);
  if (family === 'v4' && random.chance(0.3)) clearDf(built.frame);
  return built;
}

/** Each part is wrong with that probability. */
function randomTunnel(
  random: Random,
  wrong: number,
): { readonly tunnel: Tunnel; readonly options: EncapsulationOptions } {
  const family = random.chance(0.6) ? 'v4' : 'v6';
  const odd = (): boolean => random.chance(wrong / 5);
  const ends = {
    src: odd() ? random.pick(HOMES[PORT.uplink]![family]) : HOPS[family],
    dst: odd() ? random.pick(HOMES[PORT.host]![family]) : TUNNEL_ENDS[family],
  };
  const options = {
    dstMac: nodeMac(random, PORT.uplink),
    innerDstMac: spellMac(odd() ? VTEP.peer : VTEP.own),
    sport: 40000 + random.below(5),
    tos: random.pick([0, 0, 1, 2, 3, 3]),
  };
  if (family === 'v4' && random.chance(0.35)) return { tunnel: { kind: 'ipip', ...ends }, options };
  const vni = odd() ? VNI ^ (1 << random.below(24)) : VNI;
  return { tunnel: { kind: 'vxlan', ...ends, vni, port: odd() ? 4790 : VXLAN_PORT }, options };
}

/** What a pod of another node sends, or somebody who says so. */
function tunnelled(
  random: Random,
  { tunnel, options }: { readonly tunnel: Tunnel; readonly options: EncapsulationOptions },
): Injected {
  const family = tunnel.kind === 'ipip' ? 'v4' : randomFamily(random);
  const to = random.pick([PORT.podA, PORT.podA, PORT.podB, PORT.podC, PORT.host, PORT.disabled, PORT.uplink]);
  const sender = random.chance(0.95) ? Object.values(REMOTE[family]) : HOMES[random.pick(ALL_PORTS)]![family];
  const ip = buildFrame(
    makePacket({
      src: random.pick(sender),
      dst: random.pick(HOMES[to]![family]),
      ...anyTransport(random),
      ttl: random.chance(0.06) ? random.below(3) : 64,
      ...(random.chance(0.15) ? { fragment: fragment(random, random.pick([0, 0, 16])), payload: 16 } : {}),
    }),
  );
  setEcn(ip, random);
  const body = random.chance(0.05)
    ? encapsulate(ip.subarray(14), tunnel, options).subarray(14)
    : ip.subarray(14);
  // From the uplink; at times from elsewhere.
  const port = random.chance(0.95) ? PORT.uplink : random.pick(ALL_PORTS);
  return { kind: 'tunnelled', port, frame: encapsulate(body, tunnel, options) };
}

function setEcn(frame: Uint8Array, random: Random): void {
  const ecn = random.pick([0, 0, 1, 2, 3]);
  const view = new DataView(frame.buffer, frame.byteOffset);
  if (frame[12] === 0x08) {
    // The header checksum follows: the word has grown by so much.
    frame[15] = ecn;
    const sum = view.getUint16(24) - ecn;
    view.setUint16(24, sum < 0 ? sum + 0xffff : sum);
  } else view.setUint32(14, 0x6000_0000 + ecn * 2 ** 20);
}

/** undefined when there is nothing to follow up. */
function followUp(random: Random, kind: Kind, passed: readonly Passed[]): Injected | undefined {
  // Mostly young ones: chains of packets make connections.
  const recent = passed.slice(random.chance(0.7) ? -12 : 0);
  if (recent.length === 0) return undefined;
  const former = random.pick(recent);
  if (kind === 'repeat') return { ...former, kind };
  const { packet } = former;
  if (packet === undefined) return undefined;
  switch (kind) {
    case 'reply':
      return build(random, kind, former.outPort, { ...fieldsOf(packet), ...answer(random, packet) });
    case 'related-error': {
      const family: Family = packet.src.includes(':') ? 'v6' : 'v4';
      // From the destination itself, or from a router on the way, back to the source; or, wrongly, to another address.
      const quoted = { ...fieldsOf(packet), ...translated(random, packet) };
      const src = random.chance(0.6) ? quoted.dst : random.pick(HOMES[former.outPort]![family]);
      const dst = random.chance(0.9) ? quoted.src : randomWay(random, family).dst;
      return build(random, kind, former.outPort, {
        src,
        dst,
        ...errorFields(random, family),
        inner: quoted,
      });
    }
    case 'fragment-of-passed': {
      const { fragment: first } = packet;
      if (first?.offset !== 0) return followUp(random, kind, passed.slice(0, passed.indexOf(former)));
      const { id } = first;
      const later = { id: random.chance(0.8) ? id : id ^ 1, offset: 16, more: random.chance(0.5) };
      return build(random, kind, former.port, { ...fieldsOf(packet), payload: 24, fragment: later });
    }
    default:
      return undefined;
  }
}

function build(random: Random, kind: Kind, port: number, fields: Fields): Injected {
  const ttl = random.chance(0.06) ? random.pick([0, 1, 2, 255]) : (fields['ttl'] ?? 64);
  const packet = makePacket({ ...fields, ttl });
  return { kind, port, frame: buildFrame(packet, { dstMac: nodeMac(random, port) }), packet };
}

/** Mostly the node's at that port. */
function nodeMac(random: Random, port: number): string {
  const right = port === PORT.uplink ? MACS.uplink : MACS.gateway;
  const others = [...Object.values(MACS), 0xffff_ffff_ffffn, 0x3333_0000_0001n, 0x0100_5e00_00fbn];
  return spellMac(random.chance(0.97) ? right : random.pick(others));
}

/** The header checksum stays right: 0x4000 less there is 0x4000 more here. */
function clearDf(frame: Uint8Array): void {
  const view = new DataView(frame.buffer);
  view.setUint16(20, view.getUint16(20) & ~0x4000);
  const sum = view.getUint16(24) + 0x4000;
  view.setUint16(24, (sum & 0xffff) + (sum >> 16));
}

const ALL_PORTS = [
  PORT.uplink,
  PORT.host,
  PORT.podA,
  PORT.podA,
  PORT.podB,
  PORT.podC,
  PORT.disabled,
  PORT.unknown,
];

/** Questions about addresses, own and foreign ones, and what is no question. */
function arp(random: Random): { readonly port: number; readonly frame: Uint8Array } {
  const port = random.pick(ALL_PORTS);
  const anyone = (): string => random.pick(Object.values(HOMES).flatMap(({ v4 }) => v4));
  const own = HOMES[port]!.v4[0]!;
  const frame = arpFrame({
    dstMac: random.chance(0.6) ? 'ff:ff:ff:ff:ff:ff' : nodeMac(random, port),
    senderMac: spellMac(0x0600_0000_0000n + BigInt(port)),
    senderIp: random.chance(0.8) ? own : random.pick(['0.0.0.0', anyone()]),
    targetIp: random.pick(['169.254.1.1', '169.254.1.1', anyone(), own, '224.0.0.1', '0.0.0.0']),
  });
  if (random.chance(0.2)) frame[14 + random.below(8)]! ^= 1 << random.below(3);
  // Padding to 60 bytes, as wires have it.
  return { port, frame: random.chance(0.3) ? Uint8Array.from([...frame, ...new Uint8Array(18)]) : frame };
}

function neighbourDiscovery(random: Random): { readonly port: number; readonly frame: Uint8Array } {
  const port = random.pick(ALL_PORTS);
  const anyone = (): string => random.pick(Object.values(HOMES).flatMap(({ v6 }) => v6));
  const own = HOMES[port]!.v6[0]!;
  const target = random.pick(['fe80::ecee:eeff:feee:eeee', 'fe80::1', anyone(), own, 'ff02::1']);
  const frame = solicitationFrame({
    ...(random.chance(0.4) ? { dstMac: nodeMac(random, port), dst: target } : {}),
    srcMac: spellMac(0x0600_0000_0000n + BigInt(port)),
    src: random.chance(0.8) ? random.pick([own, own, 'fe80::77']) : random.pick(['::', anyone()]),
    target,
    option: random.chance(0.7),
  });
  if (random.chance(0.3)) {
    const at = random.pick([21, 54, 54, 55, 19, 20]);
    frame[at] = at === 54 ? 133 + random.below(5) : random.below(256);
  }
  return { port, frame };
}

/** The fields that describe a packet, without those of a fragment and without what it quotes. */
function fieldsOf(packet: Packet): Fields {
  const { src, dst, proto, sport, dport, icmpType, icmpCode, icmpId, tcpFlags, sctpChunk, ttl } = packet;
  const payload = packet.payloadLength;
  return { src, dst, proto, sport, dport, icmpType, icmpCode, icmpId, tcpFlags, sctpChunk, ttl, payload };
}

/** The ends as the receiver knows them: mostly with the pod's own address, and its floating IP where it sends. */
function translated(random: Random, { src, dst }: Packet): { readonly src: string; readonly dst: string } {
  const own = Object.keys(FLOATING).filter((external) => FLOATING[external] === src);
  return {
    src: own.length > 0 && random.chance(0.5) ? random.pick(own) : src,
    dst: random.chance(0.95) ? (FLOATING[dst] ?? dst) : dst,
  };
}

/** Ports swapped, flags and types as the peer would set them (and sometimes not). */
function answer(random: Random, packet: Packet): Fields {
  const { sport, dport } = packet;
  const { src, dst } = translated(random, packet);
  const opposites: Readonly<Record<number, number>> = {
    8: 0,
    13: 14,
    15: 16,
    17: 18,
    128: 129,
    0: 8,
    129: 128,
  };
  return {
    src: dst,
    dst: src,
    sport: dport,
    dport: random.chance(0.95) ? sport : sport ^ 1,
    tcpFlags:
      packet.tcpFlags === 0x02
        ? random.pick([0x12, 0x12, 0x14])
        : random.pick([0x10, 0x18, 0x11, 0x04, 0x12]),
    sctpChunk: packet.sctpChunk === 1 ? 2 : random.below(16),
    icmpType: opposites[packet.icmpType] ?? packet.icmpType,
    payload: 0,
  };
}

interface Way {
  readonly port: number;
  readonly src: string;
  readonly dst: string;
}

/** Where it comes in, from whom, to whom: mostly what is possible, now and then spoofed or unknown. */
function randomWay(random: Random, family: Family = randomFamily(random)): Way {
  const everyPort = Object.values(PORT);
  const port = random.chance(0.97)
    ? random.pick([0, 0, 1, 2, 2, 3, 3, 4])
    : random.pick([PORT.unknown, PORT.disabled]);
  const from = random.chance(0.93) ? port : random.pick(everyPort);
  const reachable = [PORT.uplink, PORT.host, PORT.podA, PORT.podB, PORT.podC];
  const to = random.chance(0.97) ? random.pick(reachable) : PORT.disabled;
  const floating = Object.keys(FLOATING).filter((address) => address.includes(':') === (family === 'v6'));
  const dst = random.chance(0.2) ? random.pick(floating) : random.pick(HOMES[to]![family]);
  return { port, src: random.pick(HOMES[from]![family]), dst };
}

function randomFamily(random: Random): Family {
  return random.chance(0.5) ? 'v4' : 'v6';
}

function ports(random: Random): Fields {
  const [service, client] = [random.pick(SERVICE_PORTS), random.pick(CLIENT_PORTS)];
  return random.chance(0.8) ? { sport: client, dport: service } : { sport: service, dport: client };
}

function tcp(random: Random, tcpFlags: number): Fields {
  return { proto: 'tcp', ...ports(random), tcpFlags, payload: random.below(20) };
}

function icmp(random: Random): Fields {
  const icmpType = random.pick([
    8,
    8,
    0,
    13,
    14,
    15,
    16,
    17,
    18,
    128,
    128,
    129,
    3,
    5,
    133,
    135,
    random.below(256),
  ]);
  // Either protocol over either family: the parser takes both.
  return {
    proto: random.pick(['icmp', 'icmpv6']),
    icmpType,
    icmpCode: random.pick([0, 0, 3]),
    icmpId: random.below(3),
    payload: random.below(10),
  };
}

function errorFields(random: Random, family: Family): Fields {
  return {
    proto: family === 'v4' ? 'icmp' : 'icmpv6',
    icmpType: random.pick(family === 'v4' ? [3, 4, 5, 11, 12] : [1, 2, 3, 4]),
    icmpCode: random.below(5),
  };
}

function transport(random: Random): Fields {
  return random.pick([
    () => tcp(random, random.pick([0x02, 0x10])),
    () => ({ proto: 'udp', ...ports(random) }),
    () => ({ proto: 'sctp', ...ports(random), sctpChunk: random.pick([1, 4, 0]) }),
    () => icmp(random),
    () => ({ proto: 'gre', payload: 12 }),
  ])();
}

function anyTransport(random: Random): Fields {
  return random.chance(0.8) ? transport(random) : { ...transport(random), fragment: fragment(random, 0) };
}

function fragment(random: Random, offset: number): Fields {
  return { id: random.below(4), offset, more: offset === 0 || random.chance(0.5) };
}

/** Frames for the engine's measurements: 64 bytes of TCP from addresses of the set `big` to the pods of a synthetic cluster. */
import type { EngineClient, PortFrame } from '../../src/p4switch/dpdk/client';
import type { Description } from '../../src/p4switch/dpdk/description';
import type { Packet } from '../../src/packet/packet';
import { PROTO, TCP_SYN } from '../../src/packet/packet';
import { EMBEDDED_PORTS } from '../../src/cli/stream';
import { frameAt } from '../support/frames';

/** The most that a message takes. */
export const PACKETS_A_MESSAGE = 4096;
/** Ethernet, IPv4 and TCP without options: 54 bytes. */
const PADDING = 64 - 54;
const TCP_ACK = 0x10;
/** A prime, so that neighbours in time are none in memory. */
const STRIDE = 7919;

const dotted = (n: number): string => [24, 16, 8, 0].map((shift) => (n >>> shift) & 255).join('.');

/** Connection number `n` of a cluster, as seen from outside. */
export interface Flow {
  readonly pod: number;
  readonly packet: Packet;
}

/** Another source port each, another source address each, all pods in turn. `port`: what pod n allows to the set. */
export function flow(n: number, members: number, pods: number, port: (pod: number) => number): Flow {
  const pod = n % pods;
  const packet = {
    src: dotted(0x0a00_0000 + ((n * STRIDE) % members)),
    dst: dotted(0xac10_0000 + pod),
    proto: PROTO.tcp,
    sport: 1024 + (n % 64_000),
    dport: port(pod),
    icmpType: 0,
    icmpCode: 0,
    icmpId: 0,
    tcpFlags: TCP_SYN,
    sctpChunk: 0,
    ttl: 64,
    payloadLength: PADDING,
  };
  return { pod, packet };
}

export function at(port: number, packet: Packet): PortFrame {
  return { port, frame: frameAt(port, packet) };
}

export const first = ({ packet }: Flow): PortFrame => at(EMBEDDED_PORTS.uplink, packet);
export const later = ({ packet }: Flow): PortFrame =>
  at(EMBEDDED_PORTS.uplink, { ...packet, tcpFlags: TCP_ACK });

/** What the pod answers to the first packet. */
export function answer({ packet }: Flow, port: number): PortFrame {
  const { src, dst, sport, dport } = packet;
  const back = { src: dst, dst: src, sport: dport, dport: sport, tcpFlags: TCP_SYN | TCP_ACK };
  return at(port, { ...packet, ...back });
}

function messages(frames: readonly PortFrame[]): readonly (readonly PortFrame[])[] {
  return Array.from({ length: Math.ceil(frames.length / PACKETS_A_MESSAGE) }, (_, i) =>
    frames.slice(i * PACKETS_A_MESSAGE, (i + 1) * PACKETS_A_MESSAGE),
  );
}

const PACKETS_A_CALL = 250_000;

/** Packets a second: the frames of one message round and round, for about so long. */
export async function rate(
  client: EngineClient,
  frames: readonly PortFrame[],
  seconds: number,
): Promise<number> {
  let packets = 0;
  let nanoseconds = 0n;
  while (Number(nanoseconds) < seconds * 1e9) {
    nanoseconds += await client.bench(frames, PACKETS_A_CALL);
    packets += PACKETS_A_CALL;
  }
  return packets / (Number(nanoseconds) / 1e9);
}

/** Packets a second: each frame once while the connection table is empty at first, for about so long. */
export async function rateOfNew(
  client: EngineClient,
  d: Description,
  frames: readonly PortFrame[],
  seconds: number,
): Promise<number> {
  let packets = 0;
  let nanoseconds = 0n;
  while (Number(nanoseconds) < seconds * 1e9) {
    await client.flushLearned(d, 'ct');
    for (const message of messages(frames)) {
      nanoseconds += await client.bench(message, message.length);
      packets += message.length;
    }
  }
  return packets / (Number(nanoseconds) / 1e9);
}

/** Tunnels between nodes, in the compiled program: what goes in, what comes out, and what does not. */
import { buildFrame, buildIp } from '../../../src/packet/build';
import { makePacket } from '../../../src/packet/describe';
import { parseFrame } from '../../../src/packet/parse';
import { decapsulate, encapsulate, type EncapsulationOptions, type Tunnel } from '../../../src/packet/tunnel';
import { internetChecksum } from '../../../src/packet/checksum';
import type { PacketResult } from '../../../src/p4switch/engine';
import { transportIsRight } from '../../support/checksums';
import {
  DENY,
  masqueradeRows,
  NODE,
  PEER,
  PORTS,
  reasonOf,
  root,
  SIZES,
  STAGES,
  tunnelNode,
  UNMATCHED,
  VNI,
  VXLAN_PORT,
  type TunnelNode,
} from '../../support/tunnels';
import { address, exact, row } from '../../support/table-rows';

const REASON = {
  source: 3,
  route: 4,
  ingress: 8,
  neighbour: 14,
  stack: 15,
  hostPolicy: 24,
  tunnel: 28,
} as const;
const PASSED = { new: 16, established: 17, fragment: 19, host: 20, ttl: 21, tooBig: 22 } as const;

const VXLAN4: Tunnel = { kind: 'vxlan', src: PEER.v4, dst: NODE.v4, vni: VNI, port: VXLAN_PORT };
const VXLAN6: Tunnel = { kind: 'vxlan', src: PEER.v6, dst: NODE.v6, vni: VNI, port: VXLAN_PORT };
const IPIP: Tunnel = { kind: 'ipip', src: PEER.v4, dst: NODE.v4 };
const TO_NODE: EncapsulationOptions = { dstMac: NODE.mac, srcMac: PEER.mac, innerDstMac: NODE.vtepMac };

type Fields = Readonly<Record<string, unknown>>;

/** From the pod on this node to one on the other, and back. */
const OUT: Fields = {
  src: '10.65.1.10',
  dst: '10.65.2.5',
  proto: 'tcp',
  sport: 40000,
  dport: 80,
  payload: 5,
};
const OUT6: Fields = { ...OUT, src: 'fd00:65::10', dst: 'fd00:65:2::5' };
const IN: Fields = {
  src: '10.65.2.5',
  dst: '10.65.1.10',
  proto: 'tcp',
  sport: 50000,
  dport: 8080,
  payload: 5,
};
const IN6: Fields = { ...IN, src: 'fd00:65:2::5', dst: 'fd00:65::10' };

let node: TunnelNode;
beforeEach(() => {
  node = tunnelNode();
});

function fromPod(fields: Fields, port: number = PORTS.pod): PacketResult {
  return node.process(port, buildFrame(makePacket(fields), { dstMac: NODE.gateway }));
}

function fromPeer(
  fields: Fields,
  tunnel: Tunnel = VXLAN4,
  options: EncapsulationOptions = {},
  change: (frame: Uint8Array) => void = () => {},
): PacketResult {
  const frame = encapsulate(buildIp(makePacket(fields)), tunnel, { ...TO_NODE, ...options });
  change(frame);
  return node.process(PORTS.uplink, frame);
}

/** The one frame that left, and by which port. */
function left({ out }: PacketResult): { readonly port: number; readonly frame: Buffer } {
  expect(out).toHaveLength(1);
  return { port: out[0]!.port, frame: Buffer.from(out[0]!.frame) };
}

function macs(frame: Uint8Array): string {
  const parsed = parseFrame(frame);
  if (parsed.kind === 'malformed') throw new Error(parsed.reason);
  return `${parsed.srcMac} > ${parsed.dstMac}`;
}

function packetIn(frame: Uint8Array): ReturnType<typeof makePacket> {
  const parsed = parseFrame(frame);
  if (parsed.kind !== 'ip') throw new Error(JSON.stringify(parsed));
  expect(parsed.checksumsOk).toBe(true);
  return parsed.packet;
}

function dropped(result: PacketResult): number {
  expect(result.out).toEqual([]);
  return reasonOf(result);
}

describe('into a tunnel', () => {
  it.each([
    ['VXLAN over IPv4', OUT, { ...VXLAN4, src: NODE.v4, dst: PEER.v4 }],
    ['VXLAN over IPv6', OUT6, { ...VXLAN6, src: NODE.v6, dst: PEER.v6 }],
    ['IPIP', { ...OUT, dst: '10.66.2.5' }, { ...IPIP, src: NODE.v4, dst: PEER.v4 }],
    ['to a borrowed address', { ...OUT, dst: '10.65.3.7' }, { ...VXLAN4, src: NODE.v4, dst: PEER.v4 }],
  ] as const)('%s', (_, fields, tunnel) => {
    const result = fromPod(fields);
    expect(reasonOf(result)).toBe(PASSED.new);
    const { port, frame } = left(result);
    expect(port).toBe(PORTS.uplink);
    expect(macs(frame)).toBe(`${NODE.mac} > ${PEER.mac}`);
    const { tunnel: found, frame: inner } = decapsulate(frame)!;
    expect(found).toEqual(tunnel);
    if (tunnel.kind === 'vxlan') expect(macs(inner)).toBe(`${NODE.vtepMac} > ${PEER.vtepMac}`);
    expect(packetIn(inner)).toEqual(makePacket({ ...fields, ttl: 63 }));
    // The outer packet's checksums and lengths.
    const outer = packetIn0(frame);
    expect(outer.ttl).toBe(tunnel.kind === 'ipip' ? 63 : 64);
  });

  function packetIn0(frame: Uint8Array): ReturnType<typeof makePacket> {
    const parsed = parseFrame(frame);
    if (parsed.kind !== 'ip') throw new Error(JSON.stringify(parsed));
    if (frame[12] === 0x08) expect(internetChecksum(frame.subarray(14, 34))).toBe(0);
    return parsed.packet;
  }

  it.each([
    ['tcp', { proto: 'tcp' }],
    ['udp', { proto: 'udp' }],
    ['an odd length', { proto: 'udp', payload: 7 }],
    ['icmpv6', { proto: 'icmpv6' }],
    ['a large one', { proto: 'tcp', payload: 1200 }],
    ['time to live 2', { proto: 'tcp', ttl: 2 }],
  ])('the UDP checksum over IPv6 is right: %s', (_, fields) => {
    const { frame } = left(fromPod({ ...OUT6, ...fields }));
    expect(frame.readUInt16BE(60)).not.toBe(0);
    expect(transportIsRight(frame)).toBe(true);
  });

  it('has no UDP checksum over IPv6 where that of the packet does not cover it', () => {
    for (const fields of [
      { proto: 'sctp' },
      { proto: 'tcp', fragment: { id: 5, more: true }, payload: 16 },
    ]) {
      expect(left(fromPod({ ...OUT6, ...fields })).frame.readUInt16BE(60)).toBe(0);
    }
  });

  it('spreads connections over the UDP source ports, and keeps each at its own', () => {
    const ports = Array.from({ length: 64 }, (_, i) =>
      left(fromPod({ ...OUT, sport: 40000 + i })).frame.readUInt16BE(34),
    );
    expect(new Set(ports).size).toBeGreaterThan(60);
    expect(ports.every((port) => port >= 32768)).toBe(true);
    expect(left(fromPod({ ...OUT, sport: 40003, tcpFlags: 'A' })).frame.readUInt16BE(34)).toBe(ports[3]);
  });

  it("DF: not around VXLAN, the packet's own around IPIP", () => {
    const df = (fields: Fields, clear: boolean): number => {
      const frame = buildFrame(makePacket(fields), { dstMac: NODE.gateway });
      if (clear) {
        frame[20] = 0;
        frame.fill(0, 24, 26);
        const sum = internetChecksum(frame.subarray(14, 34));
        frame.set([sum >> 8, sum & 0xff], 24);
      }
      const outer = left(node.process(PORTS.pod, frame)).frame;
      expect(internetChecksum(outer.subarray(14, 34))).toBe(0);
      return outer.readUInt16BE(20) & 0x4000;
    };
    expect([
      df(OUT, false),
      df({ ...OUT, dst: '10.66.2.5' }, false),
      df({ ...OUT, dst: '10.66.2.5' }, true),
    ]).toEqual([0, 0x4000, 0]);
  });

  // RFC 6040, 4.1: CE goes in as ECT(0).
  it.each([
    [0, 0],
    [1, 1],
    [2, 2],
    [3, 2],
  ])('ECN %d of the packet is %d around it, and the DSCP stays inside', (inner, outer) => {
    const of = (fields: Fields): number => {
      const frame = Buffer.from(buildFrame(makePacket(fields), { dstMac: NODE.gateway }));
      setTos(frame, 0xb8 | inner);
      const out = left(node.process(PORTS.pod, frame)).frame;
      return out[12] === 0x08 ? out[15]! : (out.readUInt32BE(14) >>> 20) & 0xff;
    };
    expect([of(OUT), of({ ...OUT, dst: '10.66.2.5' }), of(OUT6)]).toEqual([outer, outer, outer]);
  });

  it.each([
    ['VXLAN over IPv4', OUT, SIZES.vxlan4],
    ['VXLAN over IPv6', OUT6, SIZES.vxlan6],
    ['IPIP', { ...OUT, dst: '10.66.2.5' }, SIZES.ipip],
  ] as const)('%s: what is too big goes to the stack as it came', (_, fields, size) => {
    const headers = fields === OUT6 ? 60 : 40;
    expect(decapsulate(left(fromPod({ ...fields, payload: size - headers })).frame)).toBeDefined();
    const result = fromPod({ ...fields, payload: size - headers + 1 });
    expect(reasonOf(result)).toBe(PASSED.tooBig);
    const { port, frame } = left(result);
    expect(port).toBe(PORTS.host);
    expect(packetIn(frame)).toEqual(makePacket({ ...fields, payload: size - headers + 1 }));
    expect(macs(frame)).toBe(`${NODE.gateway} > 02:00:00:00:00:aa`);
  });

  it('a time to live that is over goes to the stack as it came', () => {
    const result = fromPod({ ...OUT, ttl: 1 });
    expect(reasonOf(result)).toBe(PASSED.ttl);
    expect(packetIn(left(result).frame)).toEqual(makePacket({ ...OUT, ttl: 1 }));
  });

  it('from the host: no hop, and nobody to tell of a size', () => {
    const fields = { ...OUT, src: NODE.tunnelV4 };
    const send = (payload: number): PacketResult =>
      node.process(PORTS.host, buildFrame(makePacket({ ...fields, payload }), { dstMac: NODE.gateway }));
    const result = send(5);
    expect(reasonOf(result)).toBe(PASSED.host);
    expect(packetIn(decapsulate(left(result).frame)!.frame)).toEqual(makePacket(fields));
    expect(dropped(send(SIZES.vxlan4))).toBe(REASON.stack);
  });

  it('later fragments go the way of the first', () => {
    const first = { ...OUT, payload: 16, fragment: { id: 9, offset: 0, more: true } };
    const later = { ...OUT, payload: 24, fragment: { id: 9, offset: 16, more: false } };
    expect(decapsulate(left(fromPod(first)).frame)).toBeDefined();
    const result = fromPod(later);
    expect(reasonOf(result)).toBe(PASSED.fragment);
    expect(packetIn(decapsulate(left(result).frame)!.frame)).toEqual(makePacket({ ...later, ttl: 63 }));
  });

  it('answers to a tunnel go back into it, as established', () => {
    left(fromPeer(IN));
    const result = fromPod({ ...OUT, sport: 8080, dport: 50000, tcpFlags: 'SA' });
    expect(reasonOf(result)).toBe(PASSED.established);
    expect(decapsulate(left(result).frame)!.tunnel).toEqual({ ...VXLAN4, src: NODE.v4, dst: PEER.v4 });
  });
});

describe('without a tunnel', () => {
  it('the next hop on the link, by block and for the node itself', () => {
    for (const dst of ['10.67.2.5', PEER.v4]) {
      const { port, frame } = left(fromPod({ ...OUT, dst }));
      expect(port).toBe(PORTS.uplink);
      expect(macs(frame)).toBe(`${NODE.mac} > ${PEER.mac}`);
      expect(packetIn(frame)).toEqual(makePacket({ ...OUT, dst, ttl: 63 }));
    }
  });

  it('a tunnel of the kernel: as it came, whatever its size and time to live', () => {
    for (const fields of [{ ttl: 1 }, { payload: 2000 }]) {
      const packet = { ...OUT, dst: '10.68.2.5', ...fields };
      const { port, frame } = left(fromPod(packet));
      expect(port).toBe(PORTS.host);
      expect(packetIn(frame)).toEqual(makePacket(packet));
    }
    // The kernel has its routes itself: what it sends here would come back.
    const fromHost = buildFrame(makePacket({ ...OUT, src: NODE.v4, dst: '10.68.2.5' }), {
      dstMac: NODE.gateway,
    });
    expect(dropped(node.process(PORTS.host, fromHost))).toBe(REASON.route);
  });

  it.each([
    ['a block of nobody', '10.65.77.1'],
    ['an address of nobody in a block of another node', '10.65.2.63'],
    ['a next hop that is not known', '10.69.2.5'],
  ])('%s: dropped, not sent in the clear', (_, dst) => {
    expect(dropped(fromPod({ ...OUT, dst }))).toBe(REASON.route);
    const fromHost = buildFrame(makePacket({ ...OUT, src: NODE.v4, dst }), { dstMac: NODE.gateway });
    expect(dropped(node.process(PORTS.host, fromHost))).toBe(REASON.route);
  });

  it('nothing comes in by the uplink for another node', () => {
    const frame = buildFrame(makePacket({ ...IN, src: '172.16.0.9', dst: '10.65.2.5' }), {
      dstMac: NODE.mac,
    });
    expect(dropped(node.process(PORTS.uplink, frame))).toBe(REASON.route);
    expect(dropped(fromPeer({ ...IN, dst: '10.65.2.6' }))).toBe(REASON.route);
  });
});

describe('out of the pools', () => {
  const AWAY = { ...OUT, dst: '1.1.1.1' };
  beforeEach(() => {
    node.insert(...masqueradeRows());
  });

  it("goes to the kernel as it came, which gives it the node's address", () => {
    for (const fields of [{}, { ttl: 1 }, { dst: PEER.v4 }]) {
      const { port, frame } = left(fromPod({ ...AWAY, ...fields }));
      expect(port).toBe(PORTS.host);
      expect(packetIn(frame)).toEqual(makePacket({ ...AWAY, ...fields }));
    }
  });

  it('and answers come back from there', () => {
    left(fromPod(AWAY));
    const answer = {
      src: '1.1.1.1',
      dst: '10.65.1.10',
      proto: 'tcp',
      sport: 80,
      dport: 40000,
      tcpFlags: 'SA',
    };
    const result = node.process(PORTS.host, buildFrame(makePacket(answer), { dstMac: NODE.gateway }));
    expect(reasonOf(result)).toBe(PASSED.established);
    expect(left(result).port).toBe(PORTS.pod);
  });

  describe('a connection that came in as it is', () => {
    const fromWorld = (fields: Fields, port: number = PORTS.uplink): PacketResult =>
      node.process(
        port,
        buildFrame(makePacket({ src: '1.1.1.1', dst: '10.65.1.10', ...fields }), {
          dstMac: port === PORTS.uplink ? NODE.mac : NODE.gateway,
        }),
      );

    it.each([
      ['tcp', { sport: 5, dport: 6, tcpFlags: 'S' }, { sport: 6, dport: 5, tcpFlags: 'SA' }],
      ['udp', { sport: 5, dport: 6 }, { sport: 6, dport: 5 }],
      ['sctp', { sport: 5, dport: 6 }, { sport: 6, dport: 5, sctpChunk: 'init-ack' }],
      ['icmp', { icmpType: 8 }, { icmpType: 0 }],
    ] as const)('is answered as it is: %s', (proto, question, answer) => {
      expect(left(fromWorld({ proto, ...question })).port).toBe(PORTS.pod);
      const result = fromPod({ src: '10.65.1.10', dst: '1.1.1.1', proto, ...answer });
      expect(reasonOf(result)).toBe(PASSED.established);
      expect(left(result).port).toBe(PORTS.uplink);
      // What the pod begins itself goes by the kernel, whoever has asked it before.
      const begun = { proto: 'tcp', sport: 7, dport: 5, tcpFlags: 'S' };
      expect(left(fromPod({ src: '10.65.1.10', dst: '1.1.1.1', ...begun })).port).toBe(PORTS.host);
    });

    it('only that: an answer that nobody asked for goes by the kernel, which does not let it out', () => {
      for (const answer of [
        { proto: 'icmp', icmpType: 0 },
        { proto: 'icmp', icmpType: 14 },
        { proto: 'tcp', sport: 6, dport: 5, tcpFlags: 'A' },
        { proto: 'udp', sport: 6, dport: 5 },
      ]) {
        const { out } = fromPod({ src: '10.65.1.10', dst: '1.1.1.1', ...answer });
        expect(out.map(({ port }) => port)).not.toContain(PORTS.uplink);
      }
    });

    it('is another than that with the same ends which the kernel translates', () => {
      node.replace(root(11, STAGES.ingress, DENY));
      left(fromPod({ ...AWAY, proto: 'udp' }));
      const back = { proto: 'udp', sport: 80, dport: 40000 };
      expect(dropped(fromWorld(back))).toBe(REASON.ingress);
      expect(left(fromWorld(back, PORTS.host)).port).toBe(PORTS.pod);
      // And the pod's goes on by the kernel.
      expect(left(fromPod({ ...AWAY, proto: 'udp' })).port).toBe(PORTS.host);
    });

    it("an error about what the kernel translates finds the pod's connection", () => {
      node.replace(root(11, STAGES.ingress, DENY));
      left(fromPod({ ...AWAY, proto: 'udp' }));
      const error = { src: '9.9.9.9', proto: 'icmp', icmpType: 3, inner: { ...AWAY, proto: 'udp' } };
      expect(reasonOf(fromWorld(error, PORTS.host))).toBe(18);
      expect(dropped(fromWorld(error))).toBe(REASON.ingress);
    });
  });

  it('not what stays in the pools', () => {
    expect(left(fromPod(OUT)).port).toBe(PORTS.uplink);
    expect(left(fromPod({ ...OUT, dst: '10.67.2.5' })).port).toBe(PORTS.uplink);
  });

  it("never leaves with a pod's address, if the kernel did not change it", () => {
    const send = (src: string, dst: string): PacketResult =>
      node.process(PORTS.host, buildFrame(makePacket({ ...AWAY, src, dst }), { dstMac: NODE.gateway }));
    expect(dropped(send('10.65.1.10', '1.1.1.1'))).toBe(REASON.source);
    // The node's own addresses may, its tunnel address included.
    for (const src of [NODE.v4, NODE.tunnelV4]) expect(left(send(src, '1.1.1.1')).port).toBe(PORTS.uplink);
    expect(left(send(NODE.v4, PEER.v4)).port).toBe(PORTS.uplink);
  });

  it('policy sees it leave by the uplink', () => {
    node.replace(root(0, STAGES.forwardOut, DENY));
    expect(dropped(fromPod(AWAY))).toBe(REASON.hostPolicy);
  });
});

describe('out of a tunnel', () => {
  it.each([
    ['VXLAN over IPv4', VXLAN4, IN],
    ['VXLAN over IPv6', VXLAN6, IN6],
    ['IPv6 in VXLAN over IPv4', VXLAN4, IN6],
    ['IPIP', IPIP, IN],
  ] as const)('%s', (_, tunnel, fields) => {
    const result = fromPeer(fields, tunnel);
    expect(reasonOf(result)).toBe(PASSED.new);
    const { port, frame } = left(result);
    expect(port).toBe(PORTS.pod);
    expect(macs(frame)).toBe(`${NODE.gateway} > 02:00:00:00:00:02`);
    expect(packetIn(frame)).toEqual(makePacket({ ...fields, ttl: 63 }));
  });

  it('UDP, ICMP and fragments of it', () => {
    for (const fields of [
      { ...IN, proto: 'udp' },
      { ...IN, proto: 'icmp' },
      { ...IN, proto: 'sctp' },
      { ...IN, payload: 16, fragment: { id: 9, offset: 0, more: true } },
      { ...IN, payload: 24, fragment: { id: 9, offset: 16, more: false } },
    ]) {
      expect(packetIn(left(fromPeer(fields)).frame)).toEqual(makePacket({ ...fields, ttl: 63 }));
    }
  });

  it("to the node's tunnel address", () => {
    const { port, frame } = left(fromPeer({ ...IN, dst: NODE.tunnelV4 }));
    expect(port).toBe(PORTS.host);
    expect(packetIn(frame)).toEqual(makePacket({ ...IN, dst: NODE.tunnelV4 }));
  });

  it.each([
    ['from a stranger', { ...VXLAN4, src: '192.168.0.9' }, {}],
    ['with another VNI', { ...VXLAN4, vni: VNI + 1 }, {}],
    ['with another inner MAC address', VXLAN4, { innerDstMac: PEER.vtepMac }],
    ['with a broadcast inside', VXLAN4, { innerDstMac: 'ff:ff:ff:ff:ff:ff' }],
    ['in a frame to another MAC address', VXLAN4, { dstMac: 'ff:ff:ff:ff:ff:ff' }],
    ['IPIP from a stranger', { ...IPIP, src: '192.168.0.9' }, {}],
    ['IPIP in a frame to another MAC address', IPIP, { dstMac: 'ff:ff:ff:ff:ff:ff' }],
  ] as const)('not %s', (_, tunnel, options) => {
    expect(dropped(fromPeer(IN, tunnel, options))).toBe(REASON.tunnel);
  });

  it('not from a node that has another kind of tunnel only', () => {
    const src = '192.168.0.3';
    node.insert(row('tunnel_peer', [...address(src), exact(17, 8)], 'peer'));
    left(fromPeer(IN, { ...VXLAN4, src }));
    expect(dropped(fromPeer(IN, { ...IPIP, src }))).toBe(REASON.tunnel);
  });

  it.each<[string, Tunnel, (frame: Uint8Array) => void]>([
    ['other flags', VXLAN4, (frame) => (frame[42] = 0x0c)],
    ['a reserved bit', VXLAN4, (frame) => (frame[45] = 1)],
    ['a reserved byte', VXLAN4, (frame) => (frame[49] = 1)],
    [
      'an inner packet longer than the outer one says',
      VXLAN4,
      (frame) => {
        shorten(frame, 20 + 8 + 8 + 14 + 44);
      },
    ],
    ['an outer first fragment', VXLAN4, (frame) => (frame[20] = 0x20)],
    [
      'IPIP: an inner packet longer than the outer one says',
      IPIP,
      (frame) => {
        shorten(frame, 64);
      },
    ],
    ['IPIP: an outer fragment', IPIP, (frame) => (frame[20] = 0x20)],
  ])('not of the shape: %s', (_, tunnel, change) => {
    expect(dropped(fromPeer(IN, tunnel, {}, change))).toBe(REASON.tunnel);
  });

  it('not other things than IP, and nothing too short for it', () => {
    expect(
      dropped(
        fromPeer(IN, VXLAN4, {}, (frame) => {
          shorten(frame, 20 + 8 + 8 + 14 + 19);
        }),
      ),
    ).toBe(1);
    expect(
      dropped(
        fromPeer(IN, IPIP, {}, (frame) => {
          shorten(frame, 39);
        }),
      ),
    ).toBe(1);
    expect(
      dropped(
        fromPeer(IN, VXLAN4, {}, (frame) => {
          frame.set([0x08, 0x06], 62);
        }),
      ),
    ).toBe(1);
    expect(dropped(fromPeer(IN, IPIP, {}, (frame) => (frame[34] = 0x46)))).toBe(1);
  });

  it('not a tunnel within a tunnel to this node', () => {
    const within = encapsulate(buildIp(makePacket(IN)), VXLAN4, TO_NODE).subarray(14);
    expect(dropped(node.process(PORTS.uplink, encapsulate(within, VXLAN4, TO_NODE)))).toBe(REASON.tunnel);
    expect(dropped(node.process(PORTS.uplink, encapsulate(within, IPIP, TO_NODE)))).toBe(REASON.tunnel);
  });

  it("a pod's own VXLAN is a packet like others, in the clear and in a tunnel", () => {
    const own: Tunnel = { kind: 'vxlan', src: '10.65.2.5', dst: '10.65.1.10', vni: 7, port: VXLAN_PORT };
    const frame = encapsulate(buildIp(makePacket(IN)), own, { dstMac: NODE.mac });
    for (const sent of [frame, encapsulate(frame.subarray(14), VXLAN4, TO_NODE)]) {
      const { port, frame: out } = left(node.process(PORTS.uplink, sent));
      expect(port).toBe(PORTS.pod);
      const expected = Buffer.from(frame.subarray(34));
      expect(out.subarray(34)).toEqual(expected);
      expect(internetChecksum(out.subarray(14, 34))).toBe(0);
    }
    const back = encapsulate(
      buildIp(makePacket(OUT)),
      { ...own, src: own.dst, dst: own.src },
      { dstMac: NODE.gateway },
    );
    const { frame: out } = left(node.process(PORTS.pod, back));
    expect(decapsulate(decapsulate(out)!.frame)!.tunnel).toEqual({ ...own, src: own.dst, dst: own.src });
  });

  it('from pods or the host there are no tunnels: neither from the right address nor to it', () => {
    for (const port of [PORTS.pod, PORTS.host]) {
      const frame = encapsulate(buildIp(makePacket(IN)), VXLAN4, { ...TO_NODE, dstMac: NODE.gateway });
      const result = node.process(port, frame);
      if (port === PORTS.pod) expect(dropped(result)).toBe(REASON.source);
      for (const { frame: out } of result.out) expect(decapsulate(out)?.tunnel).toEqual(VXLAN4);
    }
  });

  it('on the wire the mark of the second look means nothing', () => {
    left(fromPeer(IN));
    const frame = encapsulate(buildIp(makePacket(IN)), VXLAN4, TO_NODE);
    frame.set([0, 0], 12);
    expect(dropped(node.process(PORTS.uplink, frame))).toBe(1);
  });

  it('not from an address of this node, and no neighbour discovery', () => {
    expect(dropped(fromPeer({ ...IN, src: NODE.v4 }))).toBe(REASON.source);
    const solicitation = {
      src: 'fd00:65:2::5',
      dst: 'ff02::1:ff00:10',
      proto: 'icmpv6',
      icmpType: 135,
      ttl: 255,
      payload: 16,
    };
    expect(dropped(fromPeer(solicitation, VXLAN6))).toBe(REASON.neighbour);
  });

  // RFC 6040, 4.2, as Linux does it: CE around a packet that can not say so drops it.
  it.each([
    [0, 3, undefined],
    [1, 3, 3],
    [2, 3, 3],
    [3, 3, 3],
    [0, 2, 0],
    [1, 2, 1],
    [3, 0, 3],
  ])('ECN %d inside and %d around it', (inner, outer, expected) => {
    for (const [tunnel, fields] of [
      [VXLAN4, IN],
      [VXLAN6, IN6],
      [VXLAN4, IN6],
      [IPIP, IN],
    ] as const) {
      const ip = Buffer.from(buildFrame(makePacket(fields)));
      setTos(ip, 0xb8 | inner);
      const result = node.process(
        PORTS.uplink,
        encapsulate(ip.subarray(14), tunnel, { ...TO_NODE, tos: outer }),
      );
      if (expected === undefined) {
        expect(dropped(result)).toBe(REASON.tunnel);
        continue;
      }
      const { frame } = left(result);
      packetIn(frame);
      const tos = frame[12] === 0x08 ? frame[15]! : (frame.readUInt32BE(14) >>> 20) & 0xff;
      expect(tos).toBe(0xb8 | expected);
    }
  });
});

describe('policy at tunnels', () => {
  it.each([
    ['tunnelPreDnat', 'preDnat', 'in'],
    ['tunnelForwardIn', 'forwardIn', 'in'],
    ['tunnelHostIn', 'hostIn', 'host'],
    ['tunnelForwardOut', 'forwardOut', 'out'],
    ['tunnelHostOut', 'hostOut', 'hostOut'],
  ] as const)('%s is asked and %s is not', (asked, other, way) => {
    const send = (): PacketResult => {
      if (way === 'in') return fromPeer(IN);
      if (way === 'host') return fromPeer({ ...IN, dst: NODE.tunnelV4 });
      if (way === 'out') return fromPod(OUT);
      return node.process(
        PORTS.host,
        buildFrame(makePacket({ ...OUT, src: NODE.tunnelV4 }), { dstMac: NODE.gateway }),
      );
    };
    node.replace(root(0, STAGES[asked], DENY));
    expect(dropped(send())).toBe(REASON.hostPolicy);
    node.replace(root(0, STAGES[asked], UNMATCHED), root(0, STAGES[other], DENY));
    left(send());
  });

  it('untracked policy is not asked', () => {
    node.replace(root(0, STAGES.untrackedIn, DENY), root(0, STAGES.untrackedOut, DENY));
    left(fromPeer(IN));
    left(fromPod(OUT));
    left(
      node.process(
        PORTS.host,
        buildFrame(makePacket({ ...OUT, src: NODE.tunnelV4 }), { dstMac: NODE.gateway }),
      ),
    );
  });

  it("that of the kernel's tunnels, too", () => {
    node.replace(root(0, STAGES.tunnelForwardOut, DENY));
    expect(dropped(fromPod({ ...OUT, dst: '10.68.2.5' }))).toBe(REASON.hostPolicy);
  });

  it("pods' own policy judges the packet inside", () => {
    node.replace(root(11, STAGES.ingress, DENY));
    expect(dropped(fromPeer(IN))).toBe(8);
    node.replace(root(11, STAGES.egress, DENY));
    expect(dropped(fromPod(OUT))).toBe(7);
  });
});

/** Type of service or traffic class of the packet in a frame; the IPv4 checksum follows. */
function setTos(frame: Buffer, tos: number): void {
  if (frame[12] === 0x08) {
    frame[15] = tos;
    frame.fill(0, 24, 26);
    frame.writeUInt16BE(internetChecksum(frame.subarray(14, 34)), 24);
  } else {
    frame.writeUInt32BE(0x6000_0000 + tos * 2 ** 20, 14);
  }
}

/** The total length of the outer IPv4 header. */
function shorten(frame: Uint8Array, length: number): void {
  frame.set([length >> 8, length & 0xff], 16);
}

/**
 * What hosts on a link need, through the real driver, P4Runtime and interpreter: answers to ARP and neighbour solicitations, MAC
 * addresses, time to live, packets that are too big. The same bytes come out of DPDK (dpdk/differential.test.ts).
 */
import { SEED } from '../seed';
import fc from 'fast-check';
import { reasonName } from '../../src/cli/verdict';
import type { FelixModel } from '../../src/model/model';
import { buildFrame } from '../../src/packet/build';
import { makePacket } from '../../src/packet/describe';
import { arpFrame, solicitationFrame } from '../../src/packet/neighbour';
import { parseFrame } from '../../src/packet/parse';
import { EMBEDDED_LINKS, podMac, spellMac } from '../../src/translators/links';
import { icmpv6IsRight, ipv4HeaderIsRight } from '../support/checksums';
import { modelOf, NODE_IPV4, NODE_IPV6, policyOf, ruleOf, tierOf, workloadOf } from '../support/models';
import { PORTS, startEmbeddedNode, TARGET_KINDS, type EmbeddedNode } from './support/embedded-node';

const A = '10.65.0.1';
const B = '10.65.0.2';
const OUT = '203.0.113.9';
const A6 = 'fd00::a';
const B6 = 'fd00::b';
const OUT6 = '2001:db8::9';
const LOCAL6 = 'fe80::5';
const GATEWAY = 'ee:ee:ee:ee:ee:ee';
const GATEWAY6 = 'fe80::ecee:eeff:feee:eeee';
const A_MAC = '02:aa:00:00:00:01';
const [UPLINK_MAC, NEXT_HOP, HOST_MAC] = [
  EMBEDDED_LINKS.uplinkMac!,
  EMBEDDED_LINKS.nextHopMac!,
  EMBEDDED_LINKS.hostMac!,
].map(spellMac) as [string, string, string];
const HOST = PORTS.host;
const LINKS = { ...EMBEDDED_LINKS, podMtu: 1400, uplinkMtu: 1300 };

/** Pod a sends to anybody but port 9; anybody may send to pod b; only b's answers come back to a. */
function twoPods(action = 'Accept', stateOfA = 'active'): FelixModel {
  const out = policyOf({
    id: { kind: 'NetworkPolicy', namespace: 'shop', name: 'a' },
    outboundRules: [
      ruleOf({ action: 'deny', protocol: 'udp', dstPorts: [{ first: 9, last: 9 }] }),
      ruleOf({ action: 'allow' }),
    ],
  });
  const into = policyOf({
    id: { kind: 'NetworkPolicy', namespace: 'shop', name: 'b' },
    inboundRules: [ruleOf({ action: 'allow' })],
  });
  const tiers = (ingress: typeof out, egress: typeof out) => [
    tierOf({ name: 'default', ingressPolicies: [ingress.id], egressPolicies: [egress.id] }),
  ];
  return modelOf({
    config: { DefaultEndpointToHostAction: action },
    policies: [out, into],
    workloads: [
      workloadOf({
        name: 'cali-a',
        mac: A_MAC,
        state: stateOfA,
        ipv4Nets: [`${A}/32`],
        ipv6Nets: [`${A6}/128`],
        tiers: tiers(out, out),
      }),
      workloadOf({
        name: 'cali-b',
        ipv4Nets: [`${B}/32`],
        ipv6Nets: [`${B6}/128`],
        tiers: tiers(into, into),
      }),
    ],
  });
}

describe.each(TARGET_KINDS)('on a target of kind %s', (kind) => {
  let node: EmbeddedNode;
  let portOf: ReadonlyMap<string, number>;

  beforeEach(async () => {
    node = await startEmbeddedNode({ kind, links: LINKS });
    await program(twoPods());
  });
  afterEach(async () => {
    await node.stop();
  });

  async function program(model: FelixModel): Promise<void> {
    expect((await node.node.program(model)).applied.failed.size).toBe(0);
    portOf = new Map([...node.node.names.ports].map(([port, name]) => [name, port]));
  }

  interface Sent {
    readonly port: number | undefined;
    readonly frame: Uint8Array;
    readonly reason: number;
  }

  function send(from: string, frame: Uint8Array): Sent {
    const { out, trace } = node.engine.process(portOf.get(from)!, frame, true);
    const counted = trace.flatMap((step) =>
      step.kind === 'counter' && step.name.startsWith('reasons') ? [step.index] : [],
    );
    expect(counted).toHaveLength(1);
    expect(reasonName(counted[0]!)).not.toContain('reason');
    return { port: out[0]?.port, frame: out[0]?.frame ?? new Uint8Array(0), reason: counted[0]! };
  }

  const dropped = (reason: number) => ({ port: undefined, reason });

  /** From a pod, the host or the uplink, in a frame that is addressed to the node. */
  function packet(
    from: string,
    fields: Record<string, unknown>,
    dstMac?: string,
  ): Sent & { sent: Uint8Array } {
    const sent = buildFrame(makePacket(fields), {
      dstMac: dstMac ?? (from === 'uplink' ? UPLINK_MAC : GATEWAY),
      srcMac: '02:12:34:56:78:9a',
    });
    return { ...send(from, sent), sent };
  }

  const udp = { proto: 'udp', sport: 4000, dport: 53, payload: 11 };
  const v4 = { src: A, dst: B, ...udp };
  const v6 = { src: A6, dst: B6, ...udp };

  describe('ARP', () => {
    const ask = { senderMac: A_MAC, senderIp: A, targetIp: '169.254.1.1' };
    const answer = (targetIp: string): Uint8Array =>
      arpFrame({
        operation: 2,
        dstMac: A_MAC,
        senderMac: GATEWAY,
        senderIp: targetIp,
        targetMac: A_MAC,
        targetIp: A,
      });

    test.each(['169.254.1.1', '10.65.0.254', OUT, B, NODE_IPV4])(
      'a pod that asks for %s is told the gateway',
      (ip) => {
        expect(send('cali-a', arpFrame({ ...ask, targetIp: ip }))).toEqual({
          port: portOf.get('cali-a'),
          frame: answer(ip),
          reason: 23,
        });
      },
    );

    test('asked again by unicast, or in a frame that is padded, as well', () => {
      expect(send('cali-a', arpFrame({ ...ask, dstMac: GATEWAY })).frame).toEqual(answer('169.254.1.1'));
      const padded = Uint8Array.from([...arpFrame(ask), ...new Uint8Array(18)]);
      expect(send('cali-a', padded).frame.subarray(0, 42)).toEqual(answer('169.254.1.1'));
    });

    test.each([
      ['its own address', { targetIp: A, senderIp: B }],
      ['nothing: it announces its address', { targetIp: A }],
      ['whether its address is free', { senderIp: '0.0.0.0', targetIp: A }],
      ['whether another one is free', { senderIp: '0.0.0.0', targetIp: B }],
      ['a group', { targetIp: '224.0.0.251' }],
      ['the broadcast address', { targetIp: '255.255.255.255' }],
      ['nobody', { targetIp: '0.0.0.0' }],
      ['nothing: it answers', { operation: 2 }],
      ['another host of its link', { dstMac: '02:00:00:00:00:77' }],
    ])('nobody answers a pod that asks for %s', (_, change) => {
      expect(send('cali-a', arpFrame({ ...ask, ...change }))).toMatchObject(dropped(14));
    });

    test('nobody answers in the name of another pod', () => {
      expect(send('cali-a', arpFrame({ ...ask, senderIp: B }))).toMatchObject(dropped(3));
    });

    test('other hardware and protocols are not understood', () => {
      for (const [at, value] of [
        [15, 6],
        [16, 9],
        [18, 8],
        [19, 16],
        [21, 3],
      ] as const) {
        const frame = arpFrame(ask);
        frame[at] = value;
        expect(send('cali-a', frame)).toMatchObject(dropped(14));
      }
    });

    test('the host is told the gateway for pods, and nothing of its own address', () => {
      const host = { senderMac: HOST_MAC, senderIp: NODE_IPV4, targetIp: B };
      const { port, frame } = send('host', arpFrame(host));
      expect(port).toBe(HOST);
      expect(frame).toEqual(
        arpFrame({
          operation: 2,
          dstMac: HOST_MAC,
          senderMac: GATEWAY,
          senderIp: B,
          targetMac: HOST_MAC,
          targetIp: NODE_IPV4,
        }),
      );
      expect(send('host', arpFrame({ ...host, targetIp: NODE_IPV4, senderIp: OUT }))).toMatchObject(
        dropped(14),
      );
    });

    test("the uplink is told the node's own addresses, and no pod's", () => {
      const far = { senderMac: NEXT_HOP, senderIp: OUT, targetIp: NODE_IPV4 };
      const { port, frame } = send('uplink', arpFrame(far));
      expect(port).toBe(PORTS.uplink);
      expect(frame).toEqual(
        arpFrame({
          operation: 2,
          dstMac: NEXT_HOP,
          senderMac: UPLINK_MAC,
          senderIp: NODE_IPV4,
          targetMac: NEXT_HOP,
          targetIp: OUT,
        }),
      );
      expect(send('uplink', arpFrame({ ...far, targetIp: A }))).toMatchObject(dropped(14));
      expect(send('uplink', arpFrame({ ...far, senderIp: '0.0.0.0' }))).toMatchObject(dropped(14));
      expect(send('uplink', arpFrame({ ...far, senderIp: NODE_IPV4 }))).toMatchObject(dropped(14));
    });

    test('an endpoint that is not active gets no answer', async () => {
      await program(twoPods('Accept', 'inactive'));
      expect(send('cali-a', arpFrame(ask))).toMatchObject(dropped(10));
    });
  });

  describe('neighbour discovery', () => {
    const ask = { srcMac: A_MAC, src: A6, target: GATEWAY6 };

    /** The advertisement, read back byte by byte. */
    function advertised(frame: Uint8Array): object {
      expect(icmpv6IsRight(frame)).toBe(true);
      const parsed = parseFrame(frame);
      if (parsed.kind !== 'ip') throw new Error(parsed.kind);
      expect(parsed.checksumsOk).toBe(true);
      const { dstMac, srcMac, packet: p } = parsed;
      return {
        frame: [dstMac, srcMac],
        ip: [p.src, p.dst, p.ttl, frame[18]! * 256 + frame[19]!],
        type: [p.icmpType, p.icmpCode],
        flags: Buffer.from(frame.subarray(58, 62)).toString('hex'),
        target: Buffer.from(frame.subarray(62, 78)).toString('hex'),
        option: Buffer.from(frame.subarray(78, 86)).toString('hex'),
      };
    }

    const answer = (target: string, hex: string, to = A6) => ({
      frame: [A_MAC, GATEWAY],
      ip: [target, to, 255, 32],
      type: [136, 0],
      flags: 'c0000000',
      target: hex,
      option: '0201eeeeeeeeeeee',
    });

    test.each([
      [GATEWAY6, 'fe80000000000000ecee'.concat('eefffeeeeeee')],
      ['fe80::1', 'fe800000000000000000000000000001'],
      [B6, 'fd00000000000000000000000000000b'],
    ])('a pod that asks for %s is told the gateway', (target, hex) => {
      for (const option of [true, false]) {
        const { port, frame, reason } = send('cali-a', solicitationFrame({ ...ask, target, option }));
        expect({ port, reason }).toEqual({ port: portOf.get('cali-a'), reason: 23 });
        expect(frame).toHaveLength(86);
        expect(advertised(frame)).toEqual(answer(target, hex));
      }
    });

    test('asked by unicast, or from the link-local address, as well', () => {
      const hex = 'fe800000000000000000000000000001';
      const target = 'fe80::1';
      const unicast = solicitationFrame({ ...ask, target, dst: target, dstMac: GATEWAY, option: false });
      expect(advertised(send('cali-a', unicast).frame)).toEqual(answer(target, hex));
      const local = solicitationFrame({ ...ask, target, src: LOCAL6 });
      expect(advertised(send('cali-a', local).frame)).toEqual(answer(target, hex, LOCAL6));
    });

    test('checksums are right for any addresses', () => {
      const group = fc.integer({ min: 0, max: 0xffff });
      const suffix = fc.oneof(
        fc.constantFrom('0:0:0:0', 'ffff:ffff:ffff:ffff', '0:0:0:1'),
        fc.tuple(group, group, group, group).map((g) => g.map((n) => n.toString(16)).join(':')),
      );
      fc.assert(
        fc.property(suffix, suffix, fc.boolean(), (own, other, option) => {
          const frame = solicitationFrame({
            srcMac: A_MAC,
            src: `fe80:0:0:0:${own}`,
            target: `2001:db8:0:0:${other}`,
            option,
          });
          expect(icmpv6IsRight(send('cali-a', frame).frame)).toBe(true);
        }),
        { seed: SEED, numRuns: 300 },
      );
    });

    test('nobody answers duplicate address detection, questions for the own address or a group, in the name of another', () => {
      expect(send('cali-a', solicitationFrame({ ...ask, src: '::', target: A6 }))).toMatchObject(dropped(14));
      expect(send('cali-a', solicitationFrame({ ...ask, src: '::', target: B6 }))).toMatchObject(dropped(14));
      expect(send('cali-a', solicitationFrame({ ...ask, src: LOCAL6, target: A6 }))).toMatchObject(
        dropped(14),
      );
      expect(send('cali-a', solicitationFrame({ ...ask, target: 'ff02::1' }))).toMatchObject(dropped(14));
      expect(send('cali-a', solicitationFrame({ ...ask, src: B6 }))).toMatchObject(dropped(3));
      expect(send('cali-a', solicitationFrame({ ...ask, dstMac: '02:00:00:00:00:77' }))).toMatchObject(
        dropped(14),
      );
    });

    test.each([
      ['a hop limit below 255: it was routed', 21, 254],
      ['a router solicitation', 54, 133],
      ['a router advertisement', 54, 134],
      ['an advertisement', 54, 136],
      ['a redirect', 54, 137],
      ['a code', 55, 1],
      ['a length that is no solicitation', 19, 33],
    ])('%s is dropped', (_, at, value) => {
      const frame = solicitationFrame(ask);
      frame[at] = value;
      expect(send('cali-a', frame)).toMatchObject(dropped(14));
    });

    test("the host is told of pods, the uplink of the node's own addresses", () => {
      const host = { srcMac: HOST_MAC, src: NODE_IPV6, target: B6 };
      const { port, frame } = send('host', solicitationFrame(host));
      expect(port).toBe(HOST);
      expect(advertised(frame)).toMatchObject({ frame: [HOST_MAC, GATEWAY], ip: [B6, NODE_IPV6, 255, 32] });
      expect(send('host', solicitationFrame({ ...host, target: NODE_IPV6, src: LOCAL6 }))).toMatchObject(
        dropped(14),
      );
      const far = { srcMac: NEXT_HOP, src: LOCAL6, target: NODE_IPV6 };
      expect(advertised(send('uplink', solicitationFrame(far)).frame)).toMatchObject({
        frame: [NEXT_HOP, UPLINK_MAC],
        ip: [NODE_IPV6, LOCAL6, 255, 32],
        option: '0201020000000002',
      });
      expect(send('uplink', solicitationFrame({ ...far, target: B6 }))).toMatchObject(dropped(14));
    });
  });

  describe('MAC addresses', () => {
    const macs = ({ frame }: Sent): readonly string[] =>
      [frame.subarray(0, 6), frame.subarray(6, 12)].map((bytes) =>
        spellMac(BigInt(`0x${Buffer.from(bytes).toString('hex')}`)),
      );

    test('packets to a pod come from the gateway, to its own MAC or the one of its interface', () => {
      const toB = packet('cali-a', v4);
      expect(toB.port).toBe(portOf.get('cali-b'));
      expect(macs(toB)).toEqual([spellMac(podMac({ mac: '', name: 'cali-b' })), GATEWAY]);
      const back = packet('cali-b', { ...udp, src: B, dst: A, sport: 53, dport: 4000 });
      expect(macs(back)).toEqual([A_MAC, GATEWAY]);
      expect(macs(packet('cali-a', v6))).toEqual([spellMac(podMac({ mac: '', name: 'cali-b' })), GATEWAY]);
    });

    test('packets to the uplink go to the next hop, packets to the host to its interface', () => {
      expect(macs(packet('cali-a', { ...v4, dst: OUT }))).toEqual([NEXT_HOP, UPLINK_MAC]);
      expect(macs(packet('host', { ...v4, src: NODE_IPV4, dst: OUT }))).toEqual([NEXT_HOP, UPLINK_MAC]);
      expect(macs(packet('cali-a', { ...v4, dst: NODE_IPV4 }))).toEqual([HOST_MAC, GATEWAY]);
      expect(macs(packet('uplink', { ...v4, src: OUT, dst: NODE_IPV4 }))).toEqual([HOST_MAC, GATEWAY]);
    });

    test.each(['02:00:00:00:00:77', 'ff:ff:ff:ff:ff:ff', '01:00:5e:00:00:fb', 'ee:ee:ee:ee:ee:ef'])(
      'frames to %s are not for the node',
      (mac) => {
        for (const [from, src] of [
          ['cali-a', A],
          ['host', NODE_IPV4],
          ['uplink', OUT],
        ] as const)
          expect(packet(from, { ...v4, src }, mac)).toMatchObject(dropped(13));
        expect(packet('cali-a', v6, mac)).toMatchObject(dropped(13));
      },
    );
  });

  /** Both without MAC addresses, and without the time to live and the checksum of an IPv4 header. */
  function sameBut(frame: Uint8Array, sent: Uint8Array, routed: boolean): void {
    const rest = (bytes: Uint8Array): string => {
      const copy = Uint8Array.from(bytes.subarray(12));
      if (routed && copy[0] === 0x08) copy.fill(0, 10, 11).fill(0, 12, 14);
      else if (routed) copy[9] = 0;
      return Buffer.from(copy).toString('hex');
    };
    expect(rest(frame)).toBe(rest(sent));
  }

  describe('time to live', () => {
    const ttlOf = ({ frame }: Sent): number => frame[frame[12] === 0x08 ? 22 : 21]!;

    test.each([
      ['pod to pod', 'cali-a', v4, 'cali-b', 63],
      ['pod to pod, IPv6', 'cali-a', v6, 'cali-b', 63],
      ['pod to uplink', 'cali-a', { ...v4, dst: OUT }, 'uplink', 63],
      ['uplink to pod', 'uplink', { ...v4, src: OUT }, 'cali-b', 63],
      ['uplink to pod, IPv6', 'uplink', { ...v6, src: OUT6 }, 'cali-b', 63],
      ['host to pod', 'host', { ...v4, src: NODE_IPV4 }, 'cali-b', 64],
      ['host to uplink', 'host', { ...v4, src: NODE_IPV4, dst: OUT }, 'uplink', 64],
      ['pod to host', 'cali-a', { ...v4, dst: NODE_IPV4 }, 'host', 64],
      ['pod to host, the last hop', 'cali-a', { ...v4, dst: NODE_IPV4, ttl: 1 }, 'host', 1],
      ['uplink to host', 'uplink', { ...v4, src: OUT, dst: NODE_IPV4 }, 'host', 64],
      ['the last hop but one', 'cali-a', { ...v4, ttl: 2 }, 'cali-b', 1],
    ] as const)('%s', (_, from, fields, to, ttl) => {
      const got = packet(from, fields);
      expect(got.port).toBe(portOf.get(to));
      expect(ttlOf(got)).toBe(ttl);
      const v4Frame = got.frame[12] === 0x08;
      if (v4Frame) expect(ipv4HeaderIsRight(got.frame)).toBe(true);
      expect(parseFrame(got.frame)).toMatchObject({ kind: 'ip', checksumsOk: true });
      sameBut(got.frame, got.sent, true);
    });

    test('the checksum of an IPv4 header stays right, whatever it was', () => {
      const seen = new Set<number>();
      fc.assert(
        fc.property(fc.integer({ min: 2, max: 255 }), fc.integer({ min: 0, max: 0xffff }), (ttl, id) => {
          const sent = buildFrame(makePacket({ ...v4, ttl }), { dstMac: GATEWAY });
          const view = new DataView(sent.buffer);
          // The identification takes part in the sum; 0 and 0xffff are two spellings of one sum.
          view.setUint16(18, id);
          view.setUint16(24, 0);
          let sum = 0;
          for (let at = 14; at < 34; at += 2) sum += view.getUint16(at);
          view.setUint16(24, ~((sum & 0xffff) + (sum >> 16)) & 0xffff);
          expect(ipv4HeaderIsRight(sent)).toBe(true);
          const { frame } = send('cali-a', sent);
          expect(frame[22]).toBe(ttl - 1);
          expect(ipv4HeaderIsRight(frame)).toBe(true);
          seen.add(view.getUint16(24) >> 8);
        }),
        { seed: SEED, numRuns: 3000 },
      );
      // The carry is among them.
      expect(seen.has(0xff)).toBe(true);
    });

    test.each([
      ['pod to pod', 'cali-a', v4],
      ['pod to pod, IPv6', 'cali-a', v6],
      ['pod to uplink', 'cali-a', { ...v4, dst: OUT }],
      ['uplink to pod', 'uplink', { ...v4, src: OUT }],
      ['whatever policy says', 'cali-a', { ...v4, dport: 9 }],
    ] as const)('when it is over, the host gets the packet as it is: %s', (_, from, fields) => {
      for (const ttl of [1, 0]) {
        const got = packet(from, { ...fields, ttl });
        expect({ port: got.port, reason: got.reason }).toEqual({ port: HOST, reason: 21 });
        expect(Buffer.from(got.frame.subarray(0, 12)).toString('hex')).toBe(
          `${HOST_MAC}${GATEWAY}`.replaceAll(':', ''),
        );
        sameBut(got.frame, got.sent, false);
      }
    });

    test('it is no connection, and spoofed ones go nowhere', () => {
      packet('cali-a', { ...v4, dst: OUT, ttl: 1 });
      expect(packet('uplink', { ...udp, src: OUT, dst: A, sport: 53, dport: 4000 })).toMatchObject(
        dropped(8),
      );
      expect(packet('cali-a', { ...v4, src: B, ttl: 1 })).toMatchObject(dropped(3));
      expect(packet('cali-a', { ...v4, ttl: 1 }, '02:00:00:00:00:77')).toMatchObject(dropped(13));
    });

    test("the host's answer comes back to the pod", () => {
      const late = { ...v4, dst: OUT, ttl: 1 };
      packet('cali-a', late);
      const error = { src: NODE_IPV4, dst: A, proto: 'icmp', icmpType: 11, inner: late };
      const got = packet('host', error);
      expect(got.port).toBe(portOf.get('cali-a'));
      expect(got.frame.subarray(14)).toEqual(got.sent.subarray(14));
    });

    test('pods that may not talk to the host can not do so with a time to live of 1 either', async () => {
      await program(twoPods('Drop'));
      // The host may have addresses that Felix does not name.
      expect(packet('cali-a', { ...v4, dst: OUT, ttl: 1 })).toMatchObject(dropped(15));
      expect(packet('cali-a', { ...v4, ttl: 1 })).toMatchObject({ port: HOST, reason: 21 });
    });
  });

  describe('size', () => {
    /** `size` bytes from the IP header on. */
    const sized = <T extends { readonly src: string }>(fields: T, size: number) => ({
      ...fields,
      payload: size - 8 - (fields.src.includes(':') ? 40 : 20),
    });

    test.each([
      ['to a pod', 'cali-a', v4, 'cali-b', 1400],
      ['to a pod, IPv6', 'cali-a', v6, 'cali-b', 1400],
      ['to the uplink', 'cali-a', { ...v4, dst: OUT }, 'uplink', 1300],
      ['to the uplink, IPv6', 'cali-a', { ...v6, dst: OUT6 }, 'uplink', 1300],
      ['from the uplink', 'uplink', { ...v4, src: OUT }, 'cali-b', 1400],
    ] as const)('what the way does not take goes to the host as it is: %s', (_, from, fields, to, mtu) => {
      expect(packet(from, sized(fields, mtu))).toMatchObject({ port: portOf.get(to), reason: 16 });
      const got = packet(from, sized(fields, mtu + 1));
      expect({ port: got.port, reason: got.reason }).toEqual({ port: HOST, reason: 22 });
      sameBut(got.frame, got.sent, false);
    });

    test('policy is asked first: what the host sends on is what may go', () => {
      expect(packet('cali-a', sized({ ...v4, dport: 9 }, 1500))).toMatchObject(dropped(7));
      // And the answers are of a known connection.
      packet('cali-a', sized({ ...v4, dst: OUT }, 1500));
      expect(packet('uplink', { ...udp, src: OUT, dst: A, sport: 53, dport: 4000 })).toMatchObject({
        reason: 17,
      });
    });

    test('"fragmentation needed" of the host comes back to the pod', () => {
      const inner = { ...v4, dst: OUT };
      const error = { src: NODE_IPV4, dst: A, proto: 'icmp', icmpType: 3, icmpCode: 4, inner };
      expect(packet('host', error)).toMatchObject({ port: portOf.get('cali-a') });
    });

    test('from and to the host any size goes', () => {
      expect(packet('host', sized({ ...v4, src: NODE_IPV4 }, 4000))).toMatchObject({
        port: portOf.get('cali-b'),
      });
      expect(packet('cali-a', sized({ ...v4, dst: NODE_IPV4 }, 4000))).toMatchObject({ port: HOST });
    });

    test('with no stack to make the error it is dropped', async () => {
      await program(twoPods('Drop'));
      expect(packet('cali-a', sized({ ...v4, dst: OUT }, 1500))).toMatchObject(dropped(15));
    });
  });
});

/**
 * Floating IPs through the real driver, P4Runtime and interpreter. What comes out is held against a packet built anew, byte by byte: so
 * every checksum is right.
 */
import { reasonName } from '../../src/cli/verdict';
import type { FelixModel, HostEndpoint, Rule } from '../../src/model/model';
import { buildFrame } from '../../src/packet/build';
import { makePacket } from '../../src/packet/describe';
import { arpFrame } from '../../src/packet/neighbour';
import { EMBEDDED_LINKS, spellMac } from '../../src/translators/links';
import { icmpv6IsRight, ipv4HeaderIsRight } from '../support/checksums';
import {
  hostEndpointOf,
  modelOf,
  NODE_IPV4,
  NODE_IPV6,
  policyOf,
  ruleOf,
  tierOf,
  workloadOf,
} from '../support/models';
import { startEmbeddedNode, TARGET_KINDS, type EmbeddedNode } from './support/embedded-node';

const GATEWAY = spellMac(EMBEDDED_LINKS.gatewayMac);
const ASKER = '02:00:00:00:00:77';
const UPLINK_MAC = spellMac(EMBEDDED_LINKS.uplinkMac!);

/** The pod `a` has two floating IPs, of which the second is the one that it is to itself. */
const FAMILIES = [
  {
    family: 'IPv4',
    pod: '10.65.0.1',
    other: '10.65.0.2',
    floating: '192.0.2.90',
    first: '192.0.2.9',
    client: '203.0.113.9',
    router: '198.51.100.1',
    node: NODE_IPV4,
    echo: { proto: 'icmp', icmpType: 8 },
    answer: { proto: 'icmp', icmpType: 0 },
    error: { proto: 'icmp', icmpType: 3, icmpCode: 3 },
  },
  {
    family: 'IPv6',
    pod: 'fd00::a',
    other: 'fd00::b',
    floating: '2001:db8:9::90',
    first: '2001:db8:9::9',
    client: '2001:db8:1::9',
    router: '2001:db8:2::1',
    node: NODE_IPV6,
    echo: { proto: 'icmpv6', icmpType: 128 },
    answer: { proto: 'icmpv6', icmpType: 129 },
    error: { proto: 'icmpv6', icmpType: 1, icmpCode: 4 },
  },
] as const;

type Fields = Readonly<Record<string, unknown>>;

/** A request and its answer, of each protocol, without addresses. */
const TALKS = (echo: Fields, answer: Fields): readonly (readonly [string, Fields, Fields])[] => [
  ['TCP', { proto: 'tcp', sport: 4000, dport: 80 }, { proto: 'tcp', sport: 80, dport: 4000, tcpFlags: 'SA' }],
  [
    'UDP',
    { proto: 'udp', sport: 4000, dport: 53, payload: 33 },
    { proto: 'udp', sport: 53, dport: 4000, payload: 7 },
  ],
  [
    'UDP-Lite',
    { proto: 'udplite', sport: 4000, dport: 53, payload: 3 },
    { proto: 'udplite', sport: 53, dport: 4000 },
  ],
  [
    'SCTP',
    { proto: 'sctp', sport: 4000, dport: 99 },
    { proto: 'sctp', sport: 99, dport: 4000, sctpChunk: 'INIT_ACK' },
  ],
  ['echo', { ...echo, icmpId: 7, payload: 5 }, { ...answer, icmpId: 7, payload: 5 }],
  ['another protocol', { proto: 47, payload: 9 }, { proto: 47, payload: 2 }],
];

const EVERYTHING = policyOf({
  id: { kind: 'NetworkPolicy', namespace: 'shop', name: 'everything' },
  inboundRules: [ruleOf({ action: 'allow' })],
  outboundRules: [ruleOf({ action: 'allow' })],
});

interface State {
  readonly floating?: boolean;
  readonly inbound?: readonly Rule[];
  readonly aState?: string;
  readonly host?: Partial<HostEndpoint>;
  readonly policies?: FelixModel['policies'];
  readonly config?: Readonly<Record<string, string>>;
}

function model({
  floating = true,
  inbound,
  aState = 'active',
  host,
  policies,
  config,
}: State = {}): FelixModel {
  const into = policyOf({
    id: { kind: 'NetworkPolicy', namespace: 'shop', name: 'into' },
    inboundRules: inbound ?? [ruleOf({ action: 'allow' })],
    outboundRules: [ruleOf({ action: 'allow' })],
  });
  const tiers = [tierOf({ name: 'default', ingressPolicies: [into.id], egressPolicies: [into.id] })];
  const nats = FAMILIES.flatMap(({ pod, floating: one, first }) => [
    { external: one, internal: pod },
    { external: first, internal: pod },
  ]);
  const [four, six] = FAMILIES;
  return modelOf({
    config: { FloatingIPs: 'Enabled', ...config },
    policies: [into, EVERYTHING, ...(policies?.values() ?? [])],
    workloads: [
      workloadOf({
        name: 'cali-a',
        state: aState,
        ipv4Nets: [`${four.pod}/32`],
        ipv6Nets: [`${six.pod}/128`],
        tiers,
        ...(floating ? { nats } : {}),
      }),
      workloadOf({
        name: 'cali-b',
        ipv4Nets: [`${four.other}/32`],
        ipv6Nets: [`${six.other}/128`],
        tiers: [
          tierOf({ name: 'default', ingressPolicies: [EVERYTHING.id], egressPolicies: [EVERYTHING.id] }),
        ],
      }),
    ],
    ...(host === undefined ? {} : { hostEndpoints: [hostEndpointOf({ id: 'eth0', ...host })] }),
  });
}

describe.each(TARGET_KINDS)('on a target of kind %s', (kind) => {
  let node: EmbeddedNode;

  beforeEach(async () => {
    node = await startEmbeddedNode({ kind });
  });
  afterEach(async () => {
    await node.stop();
  });

  async function program(state: State = {}): Promise<void> {
    const { applied, notEnforced, problems } = await node.node.program(model(state));
    expect(applied.failed.size).toBe(0);
    expect([notEnforced, problems]).toEqual([[], []]);
  }

  interface Sent {
    readonly to: string | undefined;
    /** From the IP header on. */
    readonly ip: Buffer;
    readonly frame: Buffer;
    readonly reason: string;
  }

  function sendFrame(from: string, frame: Uint8Array): Sent {
    const port = [...node.node.names.ports].find(([, is]) => is === from)![0];
    const { out, trace } = node.engine.process(port, frame, true);
    const reasons = trace.flatMap((step) =>
      step.kind === 'counter' && step.name.startsWith('reasons') ? [step.index] : [],
    );
    expect(reasons).toHaveLength(1);
    const sent = Buffer.from(out[0]?.frame ?? new Uint8Array(0));
    return {
      to: out[0] === undefined ? undefined : node.node.names.ports.get(out[0].port),
      ip: sent.subarray(14),
      frame: sent,
      reason: reasonName(reasons[0]!),
    };
  }

  function send(from: string, fields: Fields): Sent {
    const dstMac = from === 'uplink' ? UPLINK_MAC : GATEWAY;
    return sendFrame(from, buildFrame(makePacket(fields), { dstMac }));
  }

  /** What leaves must be the packet of `becomes`; routed packets have one hop less. */
  function expectWay(from: string, fields: Fields, to: string, becomes: Fields): void {
    const sent = send(from, fields);
    const ttl = from === 'host' || to === 'host' ? 64 : 63;
    const wanted = buildFrame(makePacket({ ...fields, ttl, ...becomes }));
    expect([sent.to, sent.ip.toString('hex')]).toEqual([
      to,
      Buffer.from(wanted.subarray(14)).toString('hex'),
    ]);
  }

  function expectDropped(from: string, fields: Fields, why: RegExp): void {
    const { to, reason } = send(from, fields);
    expect([to, reason]).toEqual([undefined, expect.stringMatching(why)]);
  }

  describe.each(FAMILIES)('$family', (addresses) => {
    const { pod, other, floating, first, client, router, echo, answer, error } = addresses;
    const talks = TALKS(echo, answer);
    const [, request, reply] = talks[0]!;
    /** Whose checksums, where they have one, do not cover the addresses. */
    const plain = talks.filter(
      ([name]) => !/^(TCP|UDP)/.test(name) && (name !== 'echo' || addresses.family === 'IPv4'),
    );

    it.each(talks)(
      '%s: the pod gets what is sent there, and its answers come from there',
      async (_, there, back) => {
        await program();
        for (const [from, src] of [
          ['uplink', client],
          ['cali-b', other],
          ['host', addresses.node],
        ] as const) {
          const way = { ...there, src, dst: floating };
          expectWay(from, way, 'cali-a', { dst: pod });
          expectWay('cali-a', { ...back, src: pod, dst: src }, from, { src: floating });
          // Once more: both are established by now, or the like.
          expectWay(from, way, 'cali-a', { dst: pod });
          expectWay('cali-a', { ...back, src: pod, dst: src }, from, { src: floating });
        }
      },
    );

    it.each(talks)(
      '%s: what the pod opens itself, and what is sent to its own address, stays as it is',
      async (_, there, back) => {
        await program();
        expectWay('cali-a', { ...there, src: pod, dst: client }, 'uplink', {});
        expectWay('uplink', { ...back, src: client, dst: pod }, 'cali-a', {});
        expectWay('uplink', { ...there, src: router, dst: pod }, 'cali-a', {});
        expectWay('cali-a', { ...back, src: pod, dst: router }, 'uplink', {});
      },
    );

    // Of a protocol without ports a pod's packet to itself and the answer are of one connection and of one direction.
    it.each(talks.slice(0, 5))(
      '%s: a pod reaches itself, as the first of its floating IPs',
      async (_, there, back) => {
        await program();
        for (let round = 0; round < 2; round++) {
          expectWay('cali-a', { ...there, src: pod, dst: floating }, 'cali-a', { src: first, dst: pod });
          expectWay('cali-a', { ...back, src: pod, dst: first }, 'cali-a', { src: floating, dst: pod });
        }
      },
    );

    it('keeps to the policy of the pod, which sees its own address', async () => {
      const net = addresses.family === 'IPv4' ? `${pod}/32` : `${pod}/128`;
      await program({ inbound: [ruleOf({ action: 'allow', dstNets: [net], protocol: 'tcp' })] });
      expectWay('uplink', { ...request, src: client, dst: floating }, 'cali-a', { dst: pod });
      expectDropped('uplink', { ...request, proto: 'udp', src: client, dst: floating }, /ingress policy/);
      // A SYN ACK from nowhere.
      expectDropped('uplink', { ...reply, src: client, dst: floating }, /not the first packet/);
    });

    it('an error about an answer reaches the pod as one about what it has sent', async () => {
      await program();
      for (const [, there, back] of plain) {
        send('uplink', { ...there, src: client, dst: floating });
        send('cali-a', { ...back, src: pod, dst: client });
        const quoted = { ...back, dst: client };
        expectWay(
          'uplink',
          { ...error, src: router, dst: floating, inner: { ...quoted, src: floating } },
          'cali-a',
          {
            dst: pod,
            inner: { ...quoted, src: pod },
          },
        );
        // About a packet that the pod has not sent so: from another floating IP, or from none.
        for (const src of [first, pod])
          expectDropped(
            'uplink',
            { ...error, src: router, dst: floating, inner: { ...quoted, src } },
            /not the first packet/,
          );
      }
    });

    it('an error from the pod goes out from there, about what was sent there', async () => {
      await program();
      for (const [, there] of plain) {
        send('uplink', { ...there, src: client, dst: floating });
        const quoted = { ...there, src: client };
        expectWay('cali-a', { ...error, src: pod, dst: client, inner: { ...quoted, dst: pod } }, 'uplink', {
          src: floating,
          inner: { ...quoted, dst: floating },
        });
      }
    });

    it('an error that quotes a message with a checksum over addresses leaves that, and has a right one of its own', async () => {
      await program();
      for (const [, there, back] of talks.filter((talk) => !plain.includes(talk))) {
        send('uplink', { ...there, src: client, dst: floating });
        const out = send('cali-a', {
          ...error,
          src: pod,
          dst: client,
          inner: { ...there, src: client, dst: pod },
        });
        send('cali-a', { ...back, src: pod, dst: client });
        const into = send('uplink', {
          ...error,
          src: router,
          dst: floating,
          inner: { ...back, src: floating, dst: client },
        });
        expect([out.to, into.to]).toEqual(['uplink', 'cali-a']);
        for (const { frame } of [out, into]) {
          if (addresses.family === 'IPv6') expect(icmpv6IsRight(frame)).toBe(true);
          else {
            expect(ipv4HeaderIsRight(frame)).toBe(true);
            // The quoted packet, with an Ethernet header before it.
            expect(ipv4HeaderIsRight(Buffer.concat([frame.subarray(0, 14), frame.subarray(42)]))).toBe(true);
            expect(BigInt(`0x${frame.subarray(34).toString('hex')}`) % 0xffffn).toBe(0n);
          }
        }
      }
    });

    it('fragments go the way of their first one, both ways', async () => {
      await program();
      const piece = (offset: number, more: boolean): Fields => ({
        payload: 40,
        fragment: { id: 77, offset, more },
      });
      const [, there, back] = talks[1]!;
      const ways: readonly (readonly [string, Fields, string, Fields])[] = [
        ['uplink', { ...there, src: client, dst: floating }, 'cali-a', { dst: pod }],
        ['cali-a', { ...back, src: pod, dst: client }, 'uplink', { src: floating }],
        ['cali-a', { ...there, src: pod, dst: floating }, 'cali-a', { src: first, dst: pod }],
      ];
      for (const [from, fields, to, becomes] of ways) {
        expectDropped(from, { ...fields, ...piece(48, true) }, /later fragment/);
        expectWay(from, { ...fields, ...piece(0, true) }, to, becomes);
        expectWay(from, { ...fields, ...piece(48, true) }, to, becomes);
        expectWay(from, { ...fields, ...piece(88, false) }, to, becomes);
      }
      // The identification again, of a connection that is not translated: its pieces would be taken for those of the other.
      const direct = { ...back, sport: 54, src: pod, dst: client };
      expectDropped('cali-a', { ...direct, ...piece(0, true) }, /known by another address/);
    });

    it('one connection has one address of the pod', async () => {
      await program();
      expectWay('uplink', { ...request, src: client, dst: floating }, 'cali-a', { dst: pod });
      for (const dst of [pod, first])
        expectDropped('uplink', { ...request, src: client, dst }, /known by another address/);
      expectWay('cali-a', { ...reply, src: pod, dst: client }, 'uplink', { src: floating });
      const again = { ...request, sport: 4001 };
      expectWay('uplink', { ...again, src: client, dst: pod }, 'cali-a', {});
      expectDropped('uplink', { ...again, src: client, dst: floating }, /known by another address/);
    });

    it('a floating IP that is gone gets nothing; connections that were open are answered from there to the end', async () => {
      await program();
      const way = { ...request, src: client, dst: floating };
      expectWay('uplink', way, 'cali-a', { dst: pod });
      await program({ floating: false });
      expectDropped('uplink', way, /nobody here/);
      expectWay('cali-a', { ...reply, src: pod, dst: client }, 'uplink', { src: floating });
      expectWay('cali-a', { ...request, src: pod, dst: floating }, 'uplink', {});
    });

    it('an endpoint that is down gets nothing', async () => {
      await program({ aState: 'inactive' });
      expectDropped('uplink', { ...request, src: client, dst: floating }, /not active/);
    });

    it('preDNAT policy sees the floating IP, forward policy the pod', async () => {
      const bits = addresses.family === 'IPv4' ? 32 : 128;
      const asks = (name: string, rule: Rule) =>
        policyOf({ id: { kind: 'GlobalNetworkPolicy', namespace: '', name }, inboundRules: [rule] });
      const before = asks('before', ruleOf({ action: 'deny', dstNets: [`${floating}/${bits}`] }));
      const behind = asks('behind', ruleOf({ action: 'allow', dstNets: [`${pod}/${bits}`] }));
      const tier = (policy: typeof before) => [tierOf({ name: 'host', ingressPolicies: [policy.id] })];
      const policies = new Map([before, behind].map((policy) => [policy.id.name, policy]));
      await program({
        policies,
        host: { name: 'eth0', preDnatTiers: tier(before), forwardTiers: tier(behind) },
      });
      expectDropped('uplink', { ...request, src: client, dst: floating }, /host endpoint/);
      expectWay('uplink', { ...request, src: client, dst: first }, 'cali-a', { dst: pod });
      expectDropped('uplink', { ...request, src: client, dst: other }, /host endpoint/);
    });

    it('untracked policy sees the floating IP, and what it allows is not translated', async () => {
      const bits = addresses.family === 'IPv4' ? 32 : 128;
      const untracked = policyOf({
        id: { kind: 'GlobalNetworkPolicy', namespace: '', name: 'untracked' },
        inboundRules: [
          ruleOf({ action: 'allow', dstNets: [`${first}/${bits}`] }),
          ruleOf({ action: 'deny', dstNets: [`${floating}/${bits}`] }),
        ],
        outboundRules: [ruleOf({ action: 'deny', dstNets: [`${first}/${bits}`] })],
      });
      const tiers = [
        tierOf({ name: 'host', ingressPolicies: [untracked.id], egressPolicies: [untracked.id] }),
      ];
      await program({
        policies: new Map([['untracked', untracked]]),
        host: { name: 'eth0', untrackedTiers: tiers, profileIds: [] },
      });
      expectDropped('uplink', { ...request, src: client, dst: floating }, /host endpoint/);
      expectDropped('uplink', { ...request, src: client, dst: first }, /nobody here/);
      // From the node: what would leave by the uplink, were it not translated.
      expectDropped('host', { ...request, src: addresses.node, dst: first }, /host endpoint/);
      expectWay('host', { ...request, src: addresses.node, dst: floating }, 'cali-a', { dst: pod });
    });

    it('what is too big goes to the stack as it came', async () => {
      await program();
      const big = { proto: 'udp', sport: 4000, dport: 53, payload: 1600, src: client, dst: floating };
      const sent = send('uplink', big);
      expect([sent.to, sent.ip.toString('hex')]).toEqual([
        'host',
        Buffer.from(buildFrame(makePacket(big)).subarray(14)).toString('hex'),
      ]);
      // Its time is over: the same.
      expect(send('uplink', { ...request, src: client, dst: floating, ttl: 1 }).ip.toString('hex')).toBe(
        Buffer.from(
          buildFrame(makePacket({ ...request, src: client, dst: floating, ttl: 1 })).subarray(14),
        ).toString('hex'),
      );
    });
  });

  it('a UDP checksum that is not there stays so in IPv4', async () => {
    await program();
    const [{ pod, floating, client }] = FAMILIES;
    const frame = Buffer.from(
      buildFrame(makePacket({ proto: 'udp', sport: 1, dport: 2, payload: 4, src: client, dst: floating }), {
        dstMac: UPLINK_MAC,
      }),
    );
    frame.writeUInt16BE(0, 40);
    const { to, ip } = sendFrame('uplink', frame);
    expect([to, ip.readUInt16BE(26)]).toEqual(['cali-a', 0]);
    expect(ip.subarray(16, 20).join('.')).toBe(pod);
  });

  it('an answer that is too big and may be cut does not go to a stack that would send it untranslated', async () => {
    // So that the stack gets pods' packets at all.
    await program({ config: { DefaultEndpointToHostAction: 'Accept' } });
    const [{ pod, floating, client }] = FAMILIES;
    send('uplink', { proto: 'udp', sport: 1, dport: 2, src: client, dst: floating });
    const big = { proto: 'udp', sport: 2, dport: 1, payload: 1600, src: pod, dst: client };
    expect(send('cali-a', big).to).toBe('host');
    const frame = Buffer.from(buildFrame(makePacket(big), { dstMac: GATEWAY }));
    frame[20] = 0;
    frame.writeUInt16BE((frame.readUInt16BE(24) + 0x4000) % 0xffff, 24);
    expect(ipv4HeaderIsRight(frame)).toBe(true);
    expect(sendFrame('cali-a', frame).reason).toMatch(/^dropped: it needs an ICMP error/);
  });

  it('nobody answers for it at the uplink; pods are told that it is behind the gateway', async () => {
    await program();
    const [{ other, floating, client }] = FAMILIES;
    expect(
      sendFrame('uplink', arpFrame({ senderMac: ASKER, senderIp: client, targetIp: floating })).to,
    ).toBeUndefined();
    expect(sendFrame('cali-b', arpFrame({ senderMac: ASKER, senderIp: other, targetIp: floating })).to).toBe(
      'cali-b',
    );
  });
});

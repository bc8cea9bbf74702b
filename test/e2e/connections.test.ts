/** Connection tracking, fragments and ICMP errors through the real driver, P4Runtime and interpreter, with a clock that the test moves. */
import { sendPacket } from '../../src/cli/packets';
import { packetVerdict, type PacketVerdict } from '../../src/cli/verdict';
import type { FelixModel, Rule } from '../../src/model/model';
import { makePacket } from '../../src/packet/describe';
import type { TraceStep } from '../../src/p4switch/engine';
import { modelOf, NODE_IPV4, policyOf, ruleOf, tierOf, workloadOf } from '../support/models';
import { startEmbeddedNode, TARGET_KINDS, type EmbeddedNode } from './support/embedded-node';

const A = '10.65.0.1';
const B = '10.65.0.2';
const OUT = '203.0.113.9';
const DAY = 86_400;

describe.each(TARGET_KINDS)('on a target of kind %s', (kind) => {
  let node: EmbeddedNode;
  let trace: readonly TraceStep[] = [];

  beforeEach(async () => {
    node = await startEmbeddedNode({ kind });
  });
  afterEach(async () => {
    await node.stop();
  });

  /** Pods a and b; a may send anywhere, only `inbound` gets into b, nothing gets into a. */
  function twoPods(
    inbound: readonly Rule[],
    change: {
      readonly bAddress?: string;
      readonly bName?: string;
      readonly bState?: string;
      readonly outbound?: readonly Rule[];
    } = {},
  ): FelixModel {
    const into = policyOf({
      id: { kind: 'NetworkPolicy', namespace: 'shop', name: 'b' },
      tier: 'default',
      inboundRules: inbound,
    });
    const closed = policyOf({
      id: { kind: 'NetworkPolicy', namespace: 'shop', name: 'closed' },
      tier: 'default',
    });
    const outOfA = policyOf({
      id: { kind: 'NetworkPolicy', namespace: 'shop', name: 'out' },
      tier: 'default',
      outboundRules: change.outbound ?? [ruleOf({ action: 'allow' })],
    });
    const tier = (ingress: typeof into, egress: typeof into) => [
      tierOf({ name: 'default', ingressPolicies: [ingress.id], egressPolicies: [egress.id] }),
    ];
    return modelOf({
      policies: [into, closed, outOfA],
      workloads: [
        workloadOf({
          name: 'cali-a',
          ipv4Nets: [`${A}/32`],
          ipv6Nets: ['fd00::a/128'],
          tiers: tier(closed, outOfA),
        }),
        workloadOf({
          name: change.bName ?? 'cali-b',
          ipv4Nets: [`${change.bAddress ?? B}/32`],
          ipv6Nets: ['fd00::b/128'],
          state: change.bState ?? 'active',
          tiers: tier(into, closed),
        }),
      ],
    });
  }

  const anything = [ruleOf({ action: 'allow' })];
  const program = async (model: FelixModel): Promise<void> => {
    const { applied } = await node.node.program(model);
    expect(applied.failed.size).toBe(0);
  };

  function send(from: string, fields: Record<string, unknown>): PacketVerdict {
    const result = sendPacket(node.engine, node.node.names, { id: '-', from, packet: makePacket(fields) });
    trace = result.trace;
    return packetVerdict(result, node.node.names);
  }

  const walked = (): boolean => trace.some((step) => step.kind === 'table' && step.table === 'endpoint_root');
  const aToB = (fields: Record<string, unknown>): PacketVerdict =>
    send('cali-a', { src: A, dst: B, ...fields });
  const bToA = (fields: Record<string, unknown>): PacketVerdict =>
    send('cali-b', { src: B, dst: A, ...fields });
  const PASS = { verdict: 'allow', stage: 'conntrack' };
  const tcp = (tcpFlags: string, sport = 4000, dport = 80): Record<string, unknown> => ({
    proto: 'tcp',
    sport,
    dport,
    tcpFlags,
  });

  describe('TCP', () => {
    beforeEach(() => program(twoPods(anything)));

    test('the answer passes, and an established connection skips the policy', () => {
      expect(bToA(tcp('S', 80, 4000))).toMatchObject({ verdict: 'deny', stage: 'egress' });
      expect(aToB(tcp('S'))).toMatchObject({ verdict: 'allow', stage: 'ingress', out: 'cali-b' });
      expect(bToA(tcp('SA', 80, 4000))).toMatchObject({ ...PASS, out: 'cali-a' });
      expect(aToB(tcp('A'))).toMatchObject(PASS);
      expect(walked()).toBe(false);
      expect(bToA(tcp('FA', 80, 4000))).toMatchObject(PASS);
    });

    test('other ports of the same ends are another connection', () => {
      aToB(tcp('S'));
      expect(bToA(tcp('A', 80, 4001))).toMatchObject({ verdict: 'deny', stage: 'egress' });
      expect(bToA(tcp('A', 81, 4000))).toMatchObject({ verdict: 'deny', stage: 'egress' });
      expect(bToA({ ...tcp('A', 80, 4000), proto: 'udp' })).toMatchObject({
        verdict: 'deny',
        stage: 'egress',
      });
    });

    test('a SYN is judged anew, whatever connection its ports belong to', () => {
      aToB(tcp('S'));
      bToA(tcp('SA', 80, 4000));
      expect(bToA(tcp('S', 80, 4000))).toMatchObject({ verdict: 'deny', stage: 'egress' });
      expect(aToB(tcp('S'))).toMatchObject({ verdict: 'allow', stage: 'ingress' });
    });

    test.each(['SA', 'FA', 'R', 'RA'])('%s can not be first, and makes no entry', (flags) => {
      expect(aToB(tcp(flags))).toMatchObject({ verdict: 'deny', stage: 'conntrack' });
      expect(bToA(tcp('A', 80, 4000))).toMatchObject({ verdict: 'deny', stage: 'egress' });
    });

    test.each(['SA', 'FA', 'R'])(
      '%s is judged where DisableConntrackInvalidCheck says so, and makes no entry',
      async (flags) => {
        const unchecked = (model: FelixModel): FelixModel => {
          model.config = new Map([...model.config, ['DisableConntrackInvalidCheck', 'true']]);
          return model;
        };
        await program(unchecked(twoPods(anything)));
        expect(aToB(tcp(flags))).toMatchObject({ verdict: 'allow', stage: 'ingress', out: 'cali-b' });
        expect(bToA(tcp(flags, 80, 4000))).toMatchObject({ verdict: 'deny', stage: 'egress' });
        expect(bToA(tcp('A', 80, 4000))).toMatchObject({ verdict: 'deny', stage: 'egress' });
        expect(send('uplink', { src: OUT, dst: B, ...tcp(flags) })).toMatchObject({ verdict: 'allow' });
        expect(send('uplink', { src: OUT, dst: A, ...tcp(flags) })).toMatchObject({
          verdict: 'deny',
          stage: 'ingress',
        });
        for (const wrong of ['', 'SF'])
          expect(aToB(tcp(wrong))).toMatchObject({ verdict: 'deny', stage: 'conntrack' });
        // Of a connection that is known it is as ever.
        aToB(tcp('S'));
        expect(bToA(tcp('SA', 80, 4000))).toMatchObject(PASS);
        await program(twoPods(anything));
        expect(aToB(tcp(flags, 4001))).toMatchObject({ verdict: 'deny', stage: 'conntrack' });
      },
    );

    test('an ACK in mid-stream may be first, as in Linux', () => {
      expect(aToB(tcp('A'))).toMatchObject({ verdict: 'allow', stage: 'ingress' });
      expect(bToA(tcp('A', 80, 4000))).toMatchObject(PASS);
    });

    test('flags that no TCP sends are dropped, established or not', () => {
      aToB(tcp('S'));
      bToA(tcp('SA', 80, 4000));
      for (const flags of ['', 'SF', 'SR', 'FP', 'SFRAU']) {
        expect(aToB(tcp(flags))).toMatchObject({ verdict: 'deny', stage: 'conntrack' });
      }
    });

    test('lives for hours when established, minutes when half open or closing, seconds after a reset', () => {
      const lives = (age: number): boolean => {
        node.advance(age);
        return bToA(tcp('A', 80, 4000)).verdict === 'allow';
      };
      const connect = (): void => {
        node.advance(DAY);
        aToB(tcp('S'));
      };
      connect();
      expect(lives(121)).toBe(false);
      connect();
      bToA(tcp('SA', 80, 4000));
      expect(lives(11 * 3600)).toBe(true);
      expect(lives(13 * 3600)).toBe(false);
      connect();
      bToA(tcp('SA', 80, 4000));
      aToB(tcp('FA'));
      aToB(tcp('A'));
      expect(lives(121)).toBe(false);
      connect();
      bToA(tcp('SA', 80, 4000));
      bToA(tcp('R', 80, 4000));
      expect(lives(11)).toBe(false);
    });
  });

  test('a connection survives a policy that no longer allows it, and a new one does not start', async () => {
    await program(twoPods(anything));
    aToB(tcp('S'));
    bToA(tcp('SA', 80, 4000));
    await program(twoPods([]));
    expect(aToB(tcp('A'))).toMatchObject(PASS);
    expect(bToA(tcp('A', 80, 4000))).toMatchObject(PASS);
    expect(aToB(tcp('S', 4001))).toMatchObject({ verdict: 'deny', stage: 'ingress' });
  });

  test('UDP that was never answered obeys a changed policy at once', async () => {
    const udp = { proto: 'udp', sport: 4000, dport: 53 };
    const answer = { proto: 'udp', sport: 53, dport: 4000 };
    await program(twoPods(anything));
    expect(aToB(udp)).toMatchObject({ verdict: 'allow', stage: 'ingress' });
    expect(aToB(udp)).toMatchObject({ verdict: 'allow', stage: 'ingress' });
    await program(twoPods([]));
    expect(aToB(udp)).toMatchObject({ verdict: 'deny', stage: 'ingress' });
    await program(twoPods(anything));
    aToB(udp);
    expect(bToA(answer)).toMatchObject(PASS);
    await program(twoPods([]));
    expect(aToB(udp)).toMatchObject(PASS);
    node.advance(121);
    expect(aToB(udp)).toMatchObject({ verdict: 'deny', stage: 'ingress' });
  });

  test('a new pod with the address of a removed one does not inherit its connections', async () => {
    await program(twoPods(anything));
    aToB(tcp('S'));
    bToA(tcp('SA', 80, 4000));
    await program(twoPods(anything, { bName: 'cali-new' }));
    expect(send('cali-new', { src: B, dst: A, ...tcp('A', 80, 4000) })).toMatchObject({
      verdict: 'deny',
      stage: 'egress',
    });
  });

  test('an endpoint that is taken down loses its connections both ways', async () => {
    await program(twoPods(anything));
    aToB(tcp('S'));
    bToA(tcp('SA', 80, 4000));
    await program(twoPods(anything, { bState: 'inactive' }));
    expect(aToB(tcp('A'))).toMatchObject({ verdict: 'deny', stage: 'ingress' });
    expect(bToA(tcp('A', 80, 4000))).toMatchObject({ verdict: 'deny', stage: 'egress' });
    expect(send('host', { src: NODE_IPV4, dst: B, ...tcp('S') })).toMatchObject({
      verdict: 'deny',
      stage: 'ingress',
    });
  });

  describe('ICMP', () => {
    beforeEach(() => program(twoPods(anything)));

    test('the answer to a query passes; a query of the other end is not an answer', () => {
      const echo = { proto: 'icmp', icmpType: 8, icmpId: 77 };
      expect(aToB(echo)).toMatchObject({ verdict: 'allow', stage: 'ingress' });
      expect(bToA({ ...echo, icmpType: 0, icmpId: 78 })).toMatchObject({ verdict: 'deny', stage: 'egress' });
      expect(bToA(echo)).toMatchObject({ verdict: 'deny', stage: 'egress' });
      expect(bToA({ ...echo, icmpType: 0 })).toMatchObject(PASS);
      expect(aToB(echo)).toMatchObject(PASS);
    });

    test('an unasked answer passes only by policy, and opens no way back', () => {
      expect(aToB({ proto: 'icmp', icmpType: 0 })).toMatchObject({ verdict: 'allow', stage: 'ingress' });
      expect(bToA({ proto: 'icmp', icmpType: 8 })).toMatchObject({ verdict: 'deny', stage: 'egress' });
    });

    test('an error about a known connection passes, from whoever sends it', () => {
      const about = { src: A, dst: OUT, ...tcp('S') };
      const error = { src: '198.51.100.1', dst: A, proto: 'icmp', icmpType: 3, icmpCode: 4, inner: about };
      expect(send('uplink', error)).toMatchObject({ verdict: 'deny', stage: 'ingress' });
      expect(send('cali-a', about)).toMatchObject({ verdict: 'allow', out: 'uplink' });
      expect(send('uplink', error)).toMatchObject({ ...PASS, out: 'cali-a' });
      // Not the connection that it quotes, or not to the end that sent it.
      expect(send('uplink', { ...error, inner: { ...about, dport: 81 } })).toMatchObject({
        verdict: 'deny',
        stage: 'ingress',
      });
      expect(send('uplink', { ...error, inner: { ...about, src: OUT, dst: A } })).toMatchObject({
        verdict: 'deny',
        stage: 'ingress',
      });
    });

    test('an error about a ping passes, over IPv6 too', () => {
      const ping = { src: 'fd00::a', dst: '2001:db8::9', proto: 'icmpv6', icmpType: 128, icmpId: 5 };
      const error = { src: '2001:db8::1', dst: 'fd00::a', proto: 'icmpv6', icmpType: 1, inner: ping };
      expect(send('uplink', error)).toMatchObject({ verdict: 'deny', stage: 'ingress' });
      send('cali-a', ping);
      expect(send('uplink', error)).toMatchObject(PASS);
    });

    test('errors do not keep a connection alive', () => {
      const about = { src: A, dst: OUT, proto: 'udp', sport: 9, dport: 9 };
      const error = { src: OUT, dst: A, proto: 'icmp', icmpType: 3, inner: about };
      send('cali-a', about);
      node.advance(20);
      expect(send('uplink', error)).toMatchObject(PASS);
      node.advance(20);
      expect(send('uplink', error)).toMatchObject({ verdict: 'deny' });
    });
  });

  describe('SCTP', () => {
    beforeEach(() => program(twoPods(anything)));
    const sctp = (sctpChunk: string, sport = 4000, dport = 3868): Record<string, unknown> => ({
      proto: 'sctp',
      sport,
      dport,
      sctpChunk,
    });

    test('starts with INIT or HEARTBEAT', () => {
      expect(aToB(sctp('DATA'))).toMatchObject({ verdict: 'deny', stage: 'conntrack' });
      expect(aToB(sctp('HEARTBEAT', 1))).toMatchObject({ verdict: 'allow', stage: 'ingress' });
      expect(aToB(sctp('INIT'))).toMatchObject({ verdict: 'allow', stage: 'ingress' });
      expect(bToA(sctp('INIT_ACK', 3868, 4000))).toMatchObject(PASS);
      expect(aToB(sctp('DATA'))).toMatchObject(PASS);
    });
  });

  describe.each([
    ['IPv4', A, B, 'cali-b'],
    ['IPv6', 'fd00::a', 'fd00::b', 'cali-b'],
  ])('fragments, %s', (_, src, dst, out) => {
    const first = {
      src,
      dst,
      proto: 'udp',
      sport: 1,
      dport: 53,
      payload: 800,
      fragment: { id: 9, offset: 0, more: true },
    };
    const later = { src, dst, proto: 'udp', payload: 800, fragment: { id: 9, offset: 808, more: false } };

    test('later ones go the way of the first', async () => {
      await program(
        twoPods([ruleOf({ action: 'allow', protocol: 'udp', dstPorts: [{ first: 53, last: 53 }] })]),
      );
      expect(send('cali-a', later)).toMatchObject({ verdict: 'deny', stage: 'conntrack' });
      expect(send('cali-a', { ...first, dport: 54 })).toMatchObject({ verdict: 'deny', stage: 'ingress' });
      expect(send('cali-a', later)).toMatchObject({ verdict: 'deny', stage: 'conntrack' });
      expect(send('cali-a', first)).toMatchObject({ verdict: 'allow', stage: 'ingress', out });
      expect(send('cali-a', later)).toMatchObject({ ...PASS, out });
      expect(send('cali-a', { ...later, fragment: { ...later.fragment, id: 10 } })).toMatchObject({
        verdict: 'deny',
        stage: 'conntrack',
      });
      expect(send('cali-a', { ...later, proto: 'tcp' })).toMatchObject({
        verdict: 'deny',
        stage: 'conntrack',
      });
      node.advance(31);
      expect(send('cali-a', later)).toMatchObject({ verdict: 'deny', stage: 'conntrack' });
    });
  });

  test('the node reaches its pods whatever their policy, and their answers come back', async () => {
    await program(twoPods([]));
    const ssh = tcp('S', 5000, 22);
    expect(send('host', { src: NODE_IPV4, dst: B, ...ssh })).toMatchObject({
      verdict: 'allow',
      stage: 'route',
      out: 'cali-b',
    });
    expect(send('cali-b', { src: B, dst: NODE_IPV4, ...tcp('SA', 22, 5000) })).toMatchObject({
      ...PASS,
      out: 'host',
    });
    expect(send('cali-b', { src: B, dst: NODE_IPV4, ...tcp('S', 22, 5001) })).toMatchObject({
      verdict: 'deny',
      stage: 'egress',
    });
    expect(send('host', { src: OUT, dst: B, ...ssh })).toMatchObject({ verdict: 'deny', stage: 'ingress' });
  });
});

/** Policy of host endpoints with what it shares with connection tracking, through the real driver, P4Runtime and interpreter. */
import { sendPacket } from '../../src/cli/packets';
import { packetVerdict, reasonWords } from '../../src/cli/verdict';
import type { FelixModel, HostEndpoint, Rule } from '../../src/model/model';
import { makePacket } from '../../src/packet/describe';
import {
  hostEndpointOf,
  modelOf,
  NODE_IPV4,
  policyOf,
  ruleOf,
  tierOf,
  UPLINK,
  workloadOf,
} from '../support/models';
import type { ModelParts } from '../support/models';
import { startEmbeddedNode, TARGET_KINDS, type EmbeddedNode } from './support/embedded-node';

const POD = '10.65.0.1';
const POD_B = '10.65.0.2';
const OUT = '203.0.113.9';
const DAY = 86_400;

const allow: readonly Rule[] = [ruleOf({ action: 'allow' })];
const open = { name: 'open', inboundRules: allow, outboundRules: allow };

const toPort = (action: string, port: number): Rule =>
  ruleOf({ action, protocol: 'tcp', dstPorts: [{ first: port, last: port }] });
const fromPort = (action: string, port: number): Rule =>
  ruleOf({ action, protocol: 'tcp', srcPorts: [{ first: port, last: port }] });

/** A tier with one policy; it is in `tier` of the endpoint. */
function policy(name: string, inboundRules: readonly Rule[], outboundRules: readonly Rule[] = []) {
  const id = { kind: 'GlobalNetworkPolicy', namespace: '', name };
  return {
    policy: policyOf({ id, inboundRules, outboundRules }),
    tiers: [
      tierOf({
        name: 'default',
        ingressPolicies: inboundRules.length > 0 ? [id] : [],
        egressPolicies: outboundRules.length > 0 ? [id] : [],
      }),
    ],
  };
}

describe.each(TARGET_KINDS)('on a target of kind %s', (kind) => {
  let node: EmbeddedNode;

  beforeEach(async () => {
    node = await startEmbeddedNode({ kind });
  });
  afterEach(async () => {
    await node.stop();
  });

  const program = async (
    endpoints: readonly (Partial<HostEndpoint> & Pick<HostEndpoint, 'id'>)[],
    parts: ModelParts = {},
  ): Promise<readonly string[]> => {
    const model: FelixModel = modelOf({
      profiles: [open],
      workloads: [
        workloadOf({ name: 'cali-a', ipv4Nets: [`${POD}/32`], profileIds: ['open'] }),
        workloadOf({ name: 'cali-b', ipv4Nets: [`${POD_B}/32`], profileIds: ['open'] }),
      ],
      ...parts,
      hostEndpoints: endpoints.map(hostEndpointOf),
    });
    const { applied, problems } = await node.node.program(model);
    expect([...applied.failed.values()]).toEqual([]);
    return problems;
  };

  const send = (from: string, fields: Record<string, unknown>): string => {
    const packet = makePacket({ proto: 'tcp', sport: 40000, dport: 80, tcpFlags: 'S', ...fields });
    const result = sendPacket(node.engine, node.node.names, { id: '-', from, packet });
    const { verdict, stage, out } = packetVerdict(result, node.node.names);
    return verdict === 'allow' ? `to ${out} (${stage})` : `denied (${stage}): ${reasonWords(result)}`;
  };
  const toNode = (fields: Record<string, unknown> = {}): string =>
    send('uplink', { src: OUT, dst: NODE_IPV4, ...fields });
  const fromNode = (fields: Record<string, unknown> = {}): string =>
    send('host', { src: NODE_IPV4, dst: OUT, ...fields });
  const toPod = (fields: Record<string, unknown> = {}): string =>
    send('uplink', { src: OUT, dst: POD, ...fields });
  const fromPod = (fields: Record<string, unknown> = {}): string =>
    send('cali-a', { src: POD, dst: OUT, ...fields });

  const DENIED_IN = 'denied (host-in): policy of the host endpoint at the uplink';
  const INVALID = expect.stringMatching(/^denied \(conntrack\): not the first packet/) as unknown;

  test('without a host endpoint everything passes, also what belongs to no connection', async () => {
    await program([]);
    expect(toNode()).toBe('to host (route)');
    expect(toNode({ sport: 1, tcpFlags: 'SA' })).toBe('to host (route)');
    expect(fromNode({ sport: 2, tcpFlags: 'FA' })).toBe('to uplink (route)');
    expect(toPod({ sport: 3, tcpFlags: 'SA' })).toEqual(INVALID);
  });

  test('an endpoint without policy denies what is for the node and from it, but failsafe ports; pods are not concerned', async () => {
    await program([{ id: 'eth0', name: UPLINK }]);
    expect(toNode()).toBe(DENIED_IN);
    expect(fromNode()).toBe('denied (host-out): policy of the host endpoint at the uplink');
    expect(toPod()).toBe('to cali-a (ingress)');
    expect(fromPod({ sport: 7 })).toBe('to uplink (egress)');
    for (const dport of [22, 179, 2379, 2380, 5473, 6443, 6666, 6667]) {
      expect(toNode({ dport })).toBe('to host (host-in)');
      expect(fromNode({ sport: dport, dport: 40000, tcpFlags: 'SA' })).toBe('to uplink (conntrack)');
    }
    expect(toNode({ proto: 'udp', dport: 68 })).toBe('to host (host-in)');
    expect(fromNode({ dport: 22 })).toContain('denied');
    expect(fromNode({ proto: 'udp', dport: 53 })).toBe('to uplink (host-out)');
    expect(toNode({ proto: 'udp', sport: 53, dport: 40000 })).toBe('to host (conntrack)');
    // Linux drops what is invalid before failsafe ports are looked at.
    expect(toNode({ sport: 9, dport: 22, tcpFlags: 'SA' })).toEqual(INVALID);
  });

  test('failsafe ports may be limited to networks, and be none', async () => {
    const config = { FailsafeInboundHostPorts: 'tcp:203.0.113.0/24:80', FailsafeOutboundHostPorts: 'none' };
    await program([{ id: 'eth0', name: UPLINK }], { config });
    expect(toNode()).toBe('to host (host-in)');
    expect(toNode({ src: '198.51.100.1' })).toBe(DENIED_IN);
    expect(toNode({ dport: 22 })).toBe(DENIED_IN);
    expect(fromNode({ proto: 'udp', dport: 53 })).toContain('denied (host-out)');
  });

  test('connections outlive the arrival of an endpoint, and its changes', async () => {
    await program([]);
    expect(toNode()).toBe('to host (route)');
    expect(fromNode({ sport: 80, dport: 40000, tcpFlags: 'SA' })).toBe('to uplink (conntrack)');
    await program([{ id: 'eth0', name: UPLINK }]);
    expect(toNode({ tcpFlags: 'A' })).toBe('to host (conntrack)');
    expect(fromNode({ sport: 80, dport: 40000, tcpFlags: 'A' })).toBe('to uplink (conntrack)');
    expect(toNode({ sport: 40001 })).toBe(DENIED_IN);
    node.advance(DAY);
    expect(toNode({ tcpFlags: 'A' })).toBe(DENIED_IN);
  });

  test('untracked policy is asked of each packet, and what it allows is never a connection', async () => {
    const { policy: untracked, tiers } = policy(
      'untracked',
      [toPort('allow', 80), toPort('deny', 81)],
      [fromPort('allow', 80)],
    );
    await program([{ id: 'eth0', name: UPLINK, untrackedTiers: tiers }], { policies: [untracked] });
    expect(toNode()).toBe('to host (untracked-in)');
    expect(fromNode({ sport: 80, dport: 40000, tcpFlags: 'SA' })).toBe('to uplink (untracked-out)');
    expect(toNode({ tcpFlags: 'A' })).toBe('to host (untracked-in)');
    expect(toNode({ dport: 81 })).toBe('denied (untracked-in): policy of the host endpoint at the uplink');
    // Nothing matched, not even at the end of the tier: the other policies decide.
    expect(toNode({ dport: 82 })).toBe(DENIED_IN);
    expect(toNode({ dport: 22 })).toBe('to host (host-in)');
    // The pod's own policy is asked, and its answer belongs to no connection.
    expect(toPod()).toBe('to cali-a (ingress)');
    expect(fromPod({ sport: 80, dport: 40000, tcpFlags: 'SA' })).toEqual(INVALID);
    await program([{ id: 'eth0', name: UPLINK, profileIds: ['open'] }]);
    expect(fromNode({ sport: 80, dport: 40000, tcpFlags: 'SA' })).toEqual(INVALID);
  });

  test('an established connection that untracked policy denies ends', async () => {
    await program([]);
    expect(toNode({ dport: 81 })).toBe('to host (route)');
    expect(fromNode({ sport: 81, dport: 40000, tcpFlags: 'SA' })).toBe('to uplink (conntrack)');
    const { policy: untracked, tiers } = policy('untracked', [toPort('deny', 81)]);
    await program([{ id: 'eth0', name: UPLINK, untrackedTiers: tiers }], { policies: [untracked] });
    expect(toNode({ dport: 81, tcpFlags: 'A' })).toBe(
      'denied (untracked-in): policy of the host endpoint at the uplink',
    );
  });

  test('later fragments follow their first one, also where that was untracked', async () => {
    const { policy: untracked, tiers } = policy('untracked', [ruleOf({ action: 'allow', protocol: 'udp' })]);
    await program([{ id: 'eth0', name: UPLINK, untrackedTiers: tiers }], { policies: [untracked] });
    const fragment = (offset: number, id: number): Record<string, unknown> => ({
      proto: 'udp',
      dport: 5000,
      fragment: { id, offset, more: offset === 0 },
    });
    expect(toNode(fragment(64, 9))).toContain('denied (conntrack)');
    expect(toNode(fragment(0, 9))).toBe('to host (untracked-in)');
    expect(toNode(fragment(64, 9))).toBe('to host (conntrack)');
  });

  test('what preDNAT policy allows, host-in and forward-in are not asked of; the pod is', async () => {
    const { policy: preDnat, tiers } = policy('prednat', [toPort('allow', 80), toPort('deny', 81)]);
    const { policy: forward, tiers: forwardTiers } = policy('forward', [
      toPort('deny', 80),
      toPort('deny', 82),
    ]);
    await program([{ id: 'eth0', name: UPLINK, preDnatTiers: tiers, forwardTiers }], {
      policies: [preDnat, forward],
      workloads: [
        workloadOf({ name: 'cali-a', ipv4Nets: [`${POD}/32`], profileIds: ['open'] }),
        workloadOf({ name: 'cali-b', ipv4Nets: [`${POD_B}/32`] }),
      ],
    });
    expect(toNode()).toBe('to host (pre-dnat)');
    expect(toNode({ dport: 81 })).toBe('denied (pre-dnat): policy of the host endpoint at the uplink');
    expect(toNode({ dport: 82 })).toBe(DENIED_IN);
    expect(toPod()).toBe('to cali-a (ingress)');
    expect(toPod({ dport: 82 })).toBe('denied (forward-in): policy of the host endpoint at the uplink');
    expect(toPod({ dst: POD_B })).toContain('denied (ingress)');
    // It is not asked of what is forwarded from the pod; and it is a tier of Deny that knows no port 7.
    expect(fromPod({ dport: 81 })).toBe('to uplink (egress)');
    expect(toPod({ dport: 7 })).toBe('denied (forward-in): policy of the host endpoint at the uplink');
  });

  test('the endpoint of all interfaces is asked at pods’ interfaces too, the one of the uplink is not', async () => {
    const { policy: forward, tiers: forwardTiers } = policy(
      'forward',
      [toPort('deny', 81), ruleOf({ action: 'allow' })],
      [toPort('deny', 82), ruleOf({ action: 'allow' })],
    );
    const between = (dport: number): string => send('cali-a', { src: POD, dst: POD_B, dport });
    const config = { DefaultEndpointToHostAction: 'Accept' };
    const parts = { policies: [forward], config };
    await program([{ id: 'all', name: '*', forwardTiers, profileIds: ['open'] }], parts);
    expect(between(80)).toBe('to cali-b (ingress)');
    expect(between(81)).toContain('denied (egress)');
    expect(between(82)).toContain('denied (ingress)');
    expect(fromPod({ dport: 81 })).toContain('denied (egress)');
    expect(fromPod({ dport: 82 })).toBe('denied (forward-out): policy of the host endpoint at the uplink');
    // Not forwarded.
    expect(send('cali-a', { src: POD, dst: NODE_IPV4, dport: 81 })).toBe('to host (egress)');
    expect(send('host', { src: NODE_IPV4, dst: POD, dport: 82 })).toBe('to cali-a (route)');
    expect(send('host', { src: '172.17.0.2', dst: POD, dport: 81 })).toContain('denied (forward-other)');

    await program([{ id: 'eth0', name: UPLINK, forwardTiers }], parts);
    expect([between(81), between(82)]).toEqual(['to cali-b (ingress)', 'to cali-b (ingress)']);
    expect(fromPod({ dport: 81, sport: 5 })).toBe('to uplink (forward-out)');
    expect(fromPod({ dport: 82, sport: 5 })).toBe(
      'denied (forward-out): policy of the host endpoint at the uplink',
    );
  });

  test('of several endpoints the alphabetically first governs, a named one before *; untracked policy of * is left out', async () => {
    const { policy: untracked, tiers } = policy('untracked', [toPort('deny', 80)]);
    const everywhere = { id: 'a', name: '*', profileIds: ['open'], untrackedTiers: tiers };
    const parts = { policies: [untracked] };
    expect(await program([everywhere], parts)).toEqual([
      expect.stringMatching(/^host endpoint a: doNotTrack/),
    ]);
    expect(toNode()).toBe('to host (host-in)');
    const byAddress = { id: 'b', expectedIpv4Addrs: [NODE_IPV4], untrackedTiers: tiers };
    await program([everywhere, byAddress], parts);
    expect(toNode({ sport: 5 })).toContain('denied (untracked-in)');
    expect(await program([byAddress, { id: 'aa', name: UPLINK }, { id: 'x', name: 'eth7' }], parts)).toEqual(
      [],
    );
    expect(toNode({ sport: 6 })).toBe(DENIED_IN);
  });

  test('a policy that is named but unknown denies, also where others would go on', async () => {
    const id = { kind: 'GlobalNetworkPolicy', namespace: '', name: 'missing' };
    const tiers = [tierOf({ name: 'default', ingressPolicies: [id], egressPolicies: [id] })];
    await program([{ id: 'eth0', name: UPLINK, profileIds: ['open'], untrackedTiers: tiers }]);
    expect(toNode()).toContain('denied (untracked-in)');
    expect(fromNode()).toContain('denied (untracked-out)');
    expect(toNode({ dport: 22 })).toBe('to host (host-in)');
    await program([{ id: 'eth0', name: UPLINK, profileIds: ['open'], preDnatTiers: tiers }]);
    expect(toNode()).toContain('denied (pre-dnat)');
    expect(fromNode()).toBe('to uplink (host-out)');
    await program([{ id: 'eth0', name: UPLINK, profileIds: ['open'], forwardTiers: tiers }]);
    expect(toPod()).toContain('denied (forward-in)');
    expect(fromPod()).toContain('denied (forward-out)');
  });
});

test('if nobody said what the uplink is called, an endpoint that names an interface closes it', async () => {
  const node = await startEmbeddedNode({ uplink: '' });
  try {
    const model = modelOf({
      profiles: [open],
      workloads: [workloadOf({ name: 'cali-a', ipv4Nets: [`${POD}/32`], profileIds: ['open'] })],
      hostEndpoints: [hostEndpointOf({ id: 'eth0', name: UPLINK, profileIds: ['open'] })],
    });
    const { problems, hostsUp, hostsDown } = await node.node.program(model);
    expect(problems).toEqual([expect.stringContaining('interfaces.uplink')]);
    expect([[...hostsUp], [...hostsDown]]).toEqual([[], ['eth0']]);
    const send = (from: string, src: string, dst: string): string => {
      const packet = makePacket({ src, dst, proto: 'tcp', sport: 1, dport: 22, tcpFlags: 'S' });
      return packetVerdict(
        sendPacket(node.engine, node.node.names, { id: '-', from, packet }),
        node.node.names,
      ).verdict;
    };
    expect(send('uplink', OUT, NODE_IPV4)).toBe('deny');
    expect(send('host', NODE_IPV4, OUT)).toBe('deny');
    expect(send('uplink', OUT, POD)).toBe('deny');
    expect(send('host', NODE_IPV4, POD)).toBe('allow');
  } finally {
    await node.stop();
  }
});

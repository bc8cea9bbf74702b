import { makePacket } from '../../../src/packet/describe';
import type { NodeEvaluation } from '../../../src/translators/policy/reference';
import { evaluateNode } from '../../../src/translators/policy/reference';
import type { ModelParts } from '../../support/models';
import { modelOf, NODE_IPV4, NODE_IPV6, ruleOf, workloadOf } from '../../support/models';

const OPEN = {
  name: 'open',
  inboundRules: [ruleOf({ action: 'allow' })],
  outboundRules: [ruleOf({ action: 'allow' })],
};
const SENDS_ONLY = { name: 'sends-only', inboundRules: [], outboundRules: [ruleOf({ action: 'allow' })] };
const RECEIVES_ONLY = {
  name: 'receives-only',
  inboundRules: [ruleOf({ action: 'allow' })],
  outboundRules: [],
};

const a = workloadOf({
  name: 'cali-a',
  ipv4Nets: ['10.0.0.1/32'],
  ipv6Nets: ['fd00::1/128'],
  profileIds: ['open'],
  allowSpoofedSourcePrefixes: ['203.0.113.0/24'],
});
const sender = workloadOf({ name: 'cali-s', ipv4Nets: ['10.0.0.2/32'], profileIds: ['sends-only'] });
const receiver = workloadOf({ name: 'cali-r', ipv4Nets: ['10.0.0.3/32'], profileIds: ['receives-only'] });
const down = workloadOf({
  name: 'cali-d',
  ipv4Nets: ['10.0.0.4/32'],
  profileIds: ['open'],
  state: 'inactive',
});

function send(from: string, src: string, dst: string, parts: ModelParts = {}): NodeEvaluation {
  const model = modelOf({
    workloads: [a, sender, receiver, down],
    profiles: [OPEN, SENDS_ONLY, RECEIVES_ONLY],
    ...parts,
  });
  return evaluateNode(model, from, makePacket({ src, dst, proto: 'tcp', sport: 40000, dport: 80 }));
}

/** `to cali-a (ingress)`, `deny source-check spoofed-source`. */
function summary(result: NodeEvaluation): string {
  if (result.out === null) return `${result.verdict} ${result.stage} ${result.decidedBy.kind}`;
  const out = result.out.kind === 'workload' ? result.out.workload.name : result.out.kind;
  return `to ${out} (${result.stage})`;
}

test.each([
  ['pod to pod: both policies', 'cali-a', '10.0.0.1', '10.0.0.3', 'to cali-r (ingress)'],
  ['pod to pod, IPv6', 'cali-a', 'fd00::1', 'fd00::1', 'to cali-a (ingress)'],
  ['the sender may not', 'cali-r', '10.0.0.3', '10.0.0.1', 'deny egress no-profile-match'],
  ['the receiver may not', 'cali-a', '10.0.0.1', '10.0.0.2', 'deny ingress no-profile-match'],
  ['a pod to the world', 'cali-s', '10.0.0.2', '198.51.100.1', 'to uplink (egress)'],
  ['the address of another pod', 'cali-a', '10.0.0.2', '10.0.0.3', 'deny source-check spoofed-source'],
  [
    'a spoofed prefix without the configuration',
    'cali-a',
    '203.0.113.5',
    '10.0.0.3',
    'deny source-check spoofed-source',
  ],
  ['a pod that is down sends', 'cali-d', '10.0.0.4', '10.0.0.3', 'deny egress admin-down'],
  ['a pod that is down is sent to', 'cali-a', '10.0.0.1', '10.0.0.4', 'deny ingress admin-down'],
  ['a port that nobody knows', 'cali-x', '10.0.0.1', '10.0.0.3', 'deny route unknown-port'],
  [
    'a pod to its node: dropped by default',
    'cali-a',
    '10.0.0.1',
    NODE_IPV4,
    'deny route endpoint-to-host-action',
  ],
  [
    'a pod to its node: its own policy comes first',
    'cali-r',
    '10.0.0.3',
    NODE_IPV4,
    'deny egress no-profile-match',
  ],
  ['a pod to a neighbour of its node', 'cali-a', '10.0.0.1', '192.0.2.2', 'to uplink (egress)'],
  ['the world to a pod', 'uplink', '198.51.100.1', '10.0.0.3', 'to cali-r (ingress)'],
  ['the world to a closed pod', 'uplink', '198.51.100.1', '10.0.0.2', 'deny ingress no-profile-match'],
  ['the world to the node', 'uplink', '198.51.100.1', NODE_IPV4, 'to host (route)'],
  ['the world to the node, IPv6', 'uplink', '2001:db8::1', NODE_IPV6, 'to host (route)'],
  ['the world through the node', 'uplink', '198.51.100.1', '198.51.100.2', 'deny route no-route'],
  ['the node to a closed pod of its own', 'host', NODE_IPV4, '10.0.0.2', 'to cali-s (route)'],
  ['the node to a pod that is down', 'host', NODE_IPV4, '10.0.0.4', 'deny ingress admin-down'],
  [
    'something else on the host to a closed pod',
    'host',
    '172.17.0.2',
    '10.0.0.2',
    'deny ingress no-profile-match',
  ],
  ['something else on the host to an open pod', 'host', '172.17.0.2', '10.0.0.3', 'to cali-r (ingress)'],
  ['the node to the world', 'host', NODE_IPV4, '198.51.100.1', 'to uplink (route)'],
  ['an IPv4 address in IPv6 clothes', 'uplink', '2001:db8::1', '::ffff:10.0.0.3', 'deny route v4-mapped'],
])('%s', (_name, from, src, dst, expected) => {
  expect(summary(send(from, src, dst))).toBe(expected);
});

test('spoofed prefixes need WorkloadSourceSpoofing', () => {
  const config = { WorkloadSourceSpoofing: 'Any' };
  expect(summary(send('cali-a', '203.0.113.5', '10.0.0.3', { config }))).toBe('to cali-r (ingress)');
  expect(summary(send('cali-a', '203.0.112.5', '10.0.0.3', { config }))).toBe(
    'deny source-check spoofed-source',
  );
  expect(summary(send('cali-s', '203.0.113.5', '10.0.0.3', { config }))).toBe(
    'deny source-check spoofed-source',
  );
});

test.each([
  ['ACCEPT', 'to host (egress)'],
  ['Return', 'to host (egress)'],
  ['Drop', 'deny route endpoint-to-host-action'],
  ['whatever', 'deny route endpoint-to-host-action'],
])('DefaultEndpointToHostAction %s', (DefaultEndpointToHostAction, expected) => {
  expect(summary(send('cali-a', '10.0.0.1', NODE_IPV4, { config: { DefaultEndpointToHostAction } }))).toBe(
    expected,
  );
});

test('without the node’s name no address is its own', () => {
  expect(summary(send('uplink', '198.51.100.1', NODE_IPV4, { hosts: [] }))).toBe('deny route no-route');
});

test('hits are those of both policies, egress first', () => {
  expect(
    send('cali-a', '10.0.0.1', '10.0.0.3').hits.map((hit) => `${hit.kind} ${hit.name} ${hit.rule}`),
  ).toEqual(['Profile open 0', 'Profile receives-only 0']);
});

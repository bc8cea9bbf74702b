/** The archived predecessor's defects (docs/design.md has what is right instead): each one a test here, so that none comes back. */
import { sendPacket } from '../../src/cli/packets';
import { packetVerdict } from '../../src/cli/verdict';
import type { FelixModel, Policy, Rule } from '../../src/model/model';
import { makePacket } from '../../src/packet/describe';
import { modelOf, policyOf, ruleOf, tierOf, workloadOf } from '../support/models';
import { startEmbeddedNode, type EmbeddedNode } from './support/embedded-node';

const POD = '10.65.0.1';
const POD6 = 'fd00::1';
let node: EmbeddedNode;
beforeAll(async () => {
  node = await startEmbeddedNode();
});
afterAll(async () => {
  await node.stop();
});

const policy = (name: string, inboundRules: readonly Rule[], tier = 'default'): Policy =>
  policyOf({ id: { kind: 'GlobalNetworkPolicy', namespace: '', name }, tier, inboundRules });

/** One pod; `tiers` is a list of lists of its policies. */
async function podWith(...tiers: readonly (readonly Policy[])[]): Promise<FelixModel> {
  const model = modelOf({
    policies: tiers.flat(),
    workloads: [
      workloadOf({
        name: 'cali-pod',
        ipv4Nets: [`${POD}/32`, '10.65.0.2/32'],
        ipv6Nets: [`${POD6}/128`],
        tiers: tiers.map((policies, i) =>
          tierOf({ name: `tier-${i}`, ingressPolicies: policies.map(({ id }) => id) }),
        ),
      }),
    ],
  });
  const { applied } = await node.node.program(model);
  expect(applied.failed.size).toBe(0);
  node.advance(100_000);
  return model;
}

function inbound(fields: Record<string, unknown>, from = 'uplink'): string {
  const packet = makePacket({
    src: '203.0.113.1',
    dst: POD,
    proto: 'tcp',
    sport: 4000,
    dport: 80,
    ...fields,
  });
  return packetVerdict(sendPacket(node.engine, node.node.names, { id: '-', from, packet }), node.node.names)
    .verdict;
}

const allowAll = ruleOf({ action: 'allow' });

test("a rule's action is read: deny denies, pass goes on to the next tier, log goes on to the next rule", async () => {
  await podWith(
    [
      policy('a', [
        ruleOf({ action: 'log' }),
        ruleOf({ action: 'deny', protocol: 'udp' }),
        ruleOf({ action: 'pass' }),
        ruleOf({ action: 'deny' }),
      ]),
    ],
    [policy('b', [allowAll])],
  );
  expect(inbound({ proto: 'udp' })).toBe('deny');
  expect(inbound({})).toBe('allow');
});

test('a rule without a CIDR is a rule', async () => {
  await podWith([
    policy('a', [ruleOf({ action: 'allow', protocol: 'tcp', dstPorts: [{ first: 80, last: 80 }] })]),
  ]);
  expect(inbound({})).toBe('allow');
  expect(inbound({ dport: 81 })).toBe('deny');
});

test('every CIDR and every port range of a rule counts, not only the first', async () => {
  const rule = ruleOf({
    action: 'allow',
    protocol: 'tcp',
    srcNets: ['192.0.2.0/24', '198.51.100.0/24', '203.0.113.1/32'],
    dstPorts: [
      { first: 1, last: 2 },
      { first: 80, last: 90 },
      { first: 443, last: 443 },
    ],
  });
  await podWith([policy('a', [rule])]);
  for (const src of ['192.0.2.9', '198.51.100.9', '203.0.113.1']) {
    for (const dport of [2, 85, 443]) expect(inbound({ src, dport })).toBe('allow');
  }
  expect(inbound({ src: '203.0.113.2' })).toBe('deny');
});

test('a policy may have more than seven rules', async () => {
  const ports = Array.from({ length: 40 }, (_, i) => 1000 + i);
  await podWith([
    policy(
      'a',
      ports.map((port) =>
        ruleOf({ action: 'allow', protocol: 'tcp', dstPorts: [{ first: port, last: port }] }),
      ),
    ),
  ]);
  for (const dport of ports) expect(inbound({ dport })).toBe('allow');
  expect(inbound({ dport: 1040 })).toBe('deny');
});

test('every tier and every address of an endpoint counts, not only the first', async () => {
  await podWith(
    [policy('a', [ruleOf({ action: 'pass' })])],
    [policy('b', [ruleOf({ action: 'pass' })])],
    [policy('c', [ruleOf({ action: 'allow', protocol: 'tcp' })])],
  );
  expect(inbound({})).toBe('allow');
  expect(inbound({ dst: '10.65.0.2' })).toBe('allow');
  expect(inbound({ proto: 'udp' })).toBe('deny');
});

test('two policies on one pod do not collide', async () => {
  const on = (port: number): Rule =>
    ruleOf({ action: 'allow', protocol: 'tcp', dstPorts: [{ first: port, last: port }] });
  await podWith([policy('a', [on(80)]), policy('b', [on(81)])]);
  expect([80, 81, 82].map((dport) => inbound({ dport }))).toEqual(['allow', 'allow', 'deny']);
});

test('a protocol that no rule names is denied', async () => {
  await podWith([policy('a', [ruleOf({ action: 'allow', protocol: 'tcp' })])]);
  for (const proto of ['udp', 'icmp', 'sctp', 'gre', 253]) expect(inbound({ proto })).toBe('deny');
});

test('answers need no rule, and a long connection is not cut after a minute', async () => {
  await podWith([policy('a', [ruleOf({ action: 'allow', protocol: 'tcp' })])]);
  expect(inbound({})).toBe('allow');
  const answer = { src: POD, dst: '203.0.113.1', sport: 80, dport: 4000 };
  expect(inbound({ ...answer, tcpFlags: 'SA' }, 'cali-pod')).toBe('allow');
  node.advance(3600);
  expect(inbound({ ...answer, tcpFlags: 'A' }, 'cali-pod')).toBe('allow');
  node.advance(3600);
  expect(inbound({ tcpFlags: 'A' })).toBe('allow');
});

test('IPv6 is enforced', async () => {
  await podWith([policy('a', [ruleOf({ action: 'allow', protocol: 'tcp', srcNets: ['2001:db8::/32'] })])]);
  expect(inbound({ src: '2001:db8::9', dst: POD6 })).toBe('allow');
  expect(inbound({ src: '2001:db9::9', dst: POD6 })).toBe('deny');
  expect(inbound({})).toBe('deny');
});

test('what is there already is not written again', async () => {
  const model = await podWith([policy('a', [allowAll])], [policy('b', [allowAll])]);
  const again = await node.node.program(model);
  expect(again.applied.written).toBe(0);
});

/**
 * Updates that change two of the rows that one verdict hangs on, so that the old one of the first with the new one of the second
 * would let a packet through which neither state lets through. Each is tried in both directions, on both kinds of target.
 */
import type { FelixModel, IpSet, PolicyId, Rule } from '../../src/model/model';
import { makePacket } from '../../src/packet/describe';
import { modelOf, policyOf, ruleOf, tierOf, workloadOf } from '../support/models';
import { TARGET_KINDS } from './support/embedded-node';
import { startAtomicNode, statsText, type AtomicNode } from './support/atomicity';

type RuleFields = Partial<Rule> & Pick<Rule, 'action'>;

interface State {
  /** Of pod a; egress of pod b is open. Default: everything allowed. */
  readonly egressOfA?: readonly RuleFields[];
  readonly ingressOfB?: readonly RuleFields[];
  readonly sets?: Readonly<Record<string, readonly string[]>>;
}

const A = '10.0.0.1';
const B = '10.0.0.2';
const OUTSIDE = '10.9.9.9';
const allow: RuleFields = { action: 'allow' };
const deny: RuleFields = { action: 'deny' };
const ids = { a: policyId('egress-of-a'), b: policyId('ingress-of-b'), open: policyId('open') };

function policyId(name: string): PolicyId {
  return { kind: 'NetworkPolicy', namespace: 'shop', name };
}

function stateOf({ egressOfA = [allow], ingressOfB = [allow], sets = {} }: State): FelixModel {
  const tier = (ingress: PolicyId, egress: PolicyId) => [
    tierOf({ name: 'default', ingressPolicies: [ingress], egressPolicies: [egress] }),
  ];
  return modelOf({
    ipSets: Object.entries(sets).map(([id, members]): IpSet => ({
      id,
      type: 'IP',
      members: new Set(members),
    })),
    policies: [
      policyOf({ id: ids.a, outboundRules: egressOfA.map(ruleOf) }),
      policyOf({ id: ids.b, inboundRules: ingressOfB.map(ruleOf) }),
      policyOf({ id: ids.open, inboundRules: [ruleOf(allow)], outboundRules: [ruleOf(allow)] }),
    ],
    workloads: [
      workloadOf({ name: 'cali0', ipv4Nets: [`${A}/32`], tiers: tier(ids.open, ids.a) }),
      workloadOf({ name: 'cali1', ipv4Nets: [`${B}/32`], tiers: tier(ids.b, ids.open) }),
    ],
  });
}

const cases: readonly (readonly [string, State, State])[] = [
  ["the sender's and the receiver's program", { ingressOfB: [deny] }, { egressOfA: [deny] }],
  [
    'a program, and the membership of an address that it asks of',
    { ingressOfB: [{ action: 'allow', srcIpSetIds: ['s'] }], sets: { s: ['10.9.9.8'], t: [OUTSIDE, A] } },
    { ingressOfB: [{ action: 'allow', srcIpSetIds: ['t'] }], sets: { s: [OUTSIDE, A], t: ['10.9.9.8'] } },
  ],
  [
    'a program, and the ports that it asks of',
    { ingressOfB: [{ action: 'deny', protocol: 6, dstPorts: [{ first: 80, last: 90 }] }, allow] },
    { ingressOfB: [{ action: 'allow', protocol: 6, dstPorts: [{ first: 80, last: 85 }] }, deny] },
  ],
  [
    "the sender's program, and the sender's membership",
    { ingressOfB: [{ action: 'allow', srcIpSetIds: ['s'] }], sets: { s: [OUTSIDE] } },
    {
      egressOfA: [deny],
      ingressOfB: [{ action: 'allow', srcIpSetIds: ['s'] }],
      sets: { s: [OUTSIDE, A] },
    },
  ],
  [
    "the receiver's program, and the receiver's membership",
    {
      egressOfA: [{ action: 'allow', dstIpSetIds: ['s'] }],
      ingressOfB: [deny],
      sets: { s: [B, OUTSIDE] },
    },
    { egressOfA: [{ action: 'allow', dstIpSetIds: ['s'] }], sets: { s: [OUTSIDE] } },
  ],
  [
    "the sender's and the receiver's membership",
    {
      egressOfA: [{ action: 'allow', dstIpSetIds: ['s'] }],
      ingressOfB: [{ action: 'allow', srcIpSetIds: ['s'] }],
      sets: { s: [B, OUTSIDE] },
    },
    {
      egressOfA: [{ action: 'allow', dstIpSetIds: ['s'] }],
      ingressOfB: [{ action: 'allow', srcIpSetIds: ['s'] }],
      sets: { s: [A, OUTSIDE] },
    },
  ],
];

const packets = [6, 17].flatMap((proto) =>
  [79, 80, 86, 91].flatMap((dport) => [
    { from: 'cali0', packet: makePacket({ src: A, dst: B, proto, sport: 40_000, dport }) },
    { from: 'uplink', packet: makePacket({ src: OUTSIDE, dst: B, proto, sport: 40_000, dport }) },
  ]),
);

describe.each(TARGET_KINDS)('on a target of kind %s, when one update changes', (kind) => {
  let atomic: AtomicNode;
  beforeAll(async () => {
    atomic = await startAtomicNode({ kind, everyNode: 1 });
  });
  afterAll(async () => {
    console.info(`${kind}: ${statsText(atomic.stats)}`);
    await atomic.stop();
  });

  test.each(cases)('%s', async (_, one, other) => {
    await atomic.step(stateOf(one), packets);
    await atomic.step(stateOf(other), packets);
    await atomic.step(stateOf(one), packets);
  });
});

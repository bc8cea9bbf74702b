/**
 * Values that are none, in every field of a rule and in the members of sets: named with policy and rule, or set; an allow rule with
 * one matches nothing, a deny rule takes the condition as met.
 */
import type { IpSet, IpVersion, Rule } from '../../../src/model/model';
import { createPolicyCompiler } from '../../../src/translators/policy/compiler';
import { modelOf, policyOf, ruleOf, tierOf, workloadOf } from '../../support/models';
import { createWalker } from './row-walker';

const id = { kind: 'NetworkPolicy', namespace: 'shop', name: 'web' };
const own = '10.0.0.1';
const packet = { src: '10.0.0.2', dst: own, proto: 6, sport: 1234, dport: 80, icmpType: 0, icmpCode: 0 };
const ping = { ...packet, proto: 1, sport: 0, dport: 0, icmpType: 8 };

/** Rule 0 has the bad value, rule 1 does the opposite with everything. */
function judge(bad: Partial<Rule>, action: 'allow' | 'deny', ipSets: readonly IpSet[] = []) {
  const opposite = action === 'allow' ? 'deny' : 'allow';
  const policy = policyOf({
    id,
    inboundRules: [ruleOf({ action, ...bad }), ruleOf({ action: opposite })],
  });
  const workload = workloadOf({
    name: 'cali0',
    ipv4Nets: [`${own}/32`],
    tiers: [tierOf({ name: 'default', ingressPolicies: [id] })],
  });
  const model = modelOf({ ipSets, policies: [policy], workloads: [workload] });
  const compiled = createPolicyCompiler().compile(model, [{ ep: 1, workload }]);
  const isIcmp = bad.icmp !== undefined || bad.notIcmp !== undefined;
  const { verdict } = createWalker(compiled).walk(1, 'ingress', isIcmp ? ping : packet);
  return { verdict, problems: compiled.problems };
}

const NO_CIDR = [
  '',
  'x',
  '10.0.0.256',
  '10.0.0.1/33',
  '10.0.0.0/-1',
  '010.0.0.1',
  '10.1',
  '10.0.0.1/8/8',
  '10.0.0.1%eth0',
  ' 10.0.0.1',
];
const NO_CIDR_6 = [':::', 'fd00::/129', 'fe80::1%eth0', 'fd00::g'];
const NO_RANGE = [
  { first: 81, last: 80 },
  { first: -1, last: 80 },
  { first: 0, last: 65536 },
  { first: NaN, last: 80 },
  { first: 79.5, last: 80 },
];
const NO_ICMP = [{ type: 256 }, { type: -1 }, { type: 8, code: 256 }, { type: 8, code: -1 }, { type: 8.5 }];
const NO_PROTOCOL = [256, -1, 1.5, 'quic', '6 ', ''];

const cases: readonly (readonly [string, Partial<Rule>])[] = [
  ...(['srcNets', 'dstNets', 'notSrcNets', 'notDstNets'] as const).flatMap((field) =>
    NO_CIDR.map((net) => [`${field} "${net}"`, { [field]: [net] }] as const),
  ),
  ...(['srcPorts', 'dstPorts', 'notSrcPorts', 'notDstPorts'] as const).flatMap((field) =>
    NO_RANGE.map((range) => [`${field} ${range.first}-${range.last}`, { [field]: [range] }] as const),
  ),
  ...(['icmp', 'notIcmp'] as const).flatMap((field) =>
    NO_ICMP.map((match) => [`${field} ${JSON.stringify(match)}`, { [field]: match }] as const),
  ),
  ...(['protocol', 'notProtocol'] as const).flatMap((field) =>
    NO_PROTOCOL.map((protocol) => [`${field} ${protocol}`, { [field]: protocol }] as const),
  ),
  ['ipVersion 5', { ipVersion: 5 as IpVersion }],
];

test.each(cases)('%s: named, and closed', (_, bad) => {
  const allow = judge(bad, 'allow');
  expect(allow.problems).toEqual([
    expect.stringMatching(/^policy NetworkPolicy\/shop\/web ingress rule 0: ".*" is no /),
  ]);
  expect(allow.verdict).toBe('deny');
  const deny = judge(bad, 'deny');
  expect(deny.problems).toEqual(allow.problems);
  expect(deny.verdict).toBe('deny');
});

test.each(NO_CIDR_6)('IPv6 %s: named', (net) => {
  expect(judge({ srcNets: [net] }, 'allow').problems).toEqual([
    expect.stringContaining(`rule 0: "${net}" is no CIDR`),
  ]);
});

const BAD_MEMBERS: Readonly<Record<IpSet['type'], readonly string[]>> = {
  NET: ['10.0.0.0/40', 'x', ''],
  IP: ['10.0.0.300', '10.0.0.1,tcp:80', ''],
  IP_AND_PORT: [
    '10.0.0.2',
    '10.0.0.2,tcp:65536',
    '10.0.0.2,tcp:',
    '10.0.0.2,quic:80',
    'x,tcp:80',
    '10.0.0.2,tcp:80:81',
    '',
  ],
};

describe.each(Object.entries(BAD_MEMBERS) as [IpSet['type'], string[]][])(
  'members of a set of type %s',
  (type, members) => {
    const fields =
      type === 'IP_AND_PORT'
        ? ([
            'srcNamedPortIpSetIds',
            'dstNamedPortIpSetIds',
            'notSrcNamedPortIpSetIds',
            'notDstNamedPortIpSetIds',
            'dstIpPortSetIds',
          ] as const)
        : (['srcIpSetIds', 'dstIpSetIds', 'notSrcIpSetIds', 'notDstIpSetIds'] as const);

    test.each(members)('"%s": the set is named, and every use of it is closed', (member) => {
      const set: IpSet = { id: 's:web', type, members: new Set([member]) };
      for (const field of fields) {
        const allow = judge({ [field]: ['s:web'] }, 'allow', [set]);
        expect(allow.problems).toEqual([
          `IP set s:web: 1 members can not be read and match nothing, the first is "${member}"`,
        ]);
        expect({ field, verdict: allow.verdict }).toEqual({ field, verdict: 'deny' });
        expect({ field, verdict: judge({ [field]: ['s:web'] }, 'deny', [set]).verdict }).toEqual({
          field,
          verdict: 'deny',
        });
      }
    });
  },
);

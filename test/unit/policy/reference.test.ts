import type { FelixModel, IpSet, PolicyId, Rule, TierInfo } from '../../../src/model/model';
import type { Decision, PacketTuple } from '../../../src/translators/policy/reference';
import { evaluate } from '../../../src/translators/policy/reference';
import { modelOf, policyOf, ruleOf, tierOf, workloadOf } from '../../support/models';

const TCP: PacketTuple = {
  src: '10.0.0.1',
  dst: '10.0.0.2',
  proto: 6,
  sport: 40000,
  dport: 80,
  icmpType: 0,
  icmpCode: 0,
};
const TCP6: PacketTuple = { ...TCP, src: 'fd00::1', dst: 'fd00::2' };
const PING: PacketTuple = { ...TCP, proto: 1, sport: 0, dport: 0, icmpType: 8 };
const GRE: PacketTuple = { ...TCP, proto: 47, sport: 0, dport: 0 };

const SETS: readonly IpSet[] = [
  { id: 'net', type: 'NET', members: new Set(['10.0.0.0/31', 'fd00::1/128']) },
  { id: 'ips', type: 'IP', members: new Set(['10.0.0.2']) },
  { id: 'web', type: 'IP_AND_PORT', members: new Set(['10.0.0.2,tcp:80', '10.0.0.1,udp:53']) },
];

/** Ingress verdict of one rule that stands before "deny the rest" (allow) or before "allow the rest" (deny). */
function matches(rule: Partial<Rule>, packet: PacketTuple, action: 'allow' | 'deny' = 'allow'): boolean {
  const rest = ruleOf({ action: action === 'allow' ? 'deny' : 'allow' });
  const id: PolicyId = { kind: 'NetworkPolicy', namespace: 'ns', name: 'p' };
  const model = modelOf({
    ipSets: SETS,
    policies: [policyOf({ id, inboundRules: [ruleOf({ ...rule, action }), rest] })],
  });
  const workload = workloadOf({ name: 'cali0', tiers: [tierOf({ name: 'default', ingressPolicies: [id] })] });
  return evaluate(model, workload, 'ingress', packet).verdict === action;
}

describe('what a rule matches', () => {
  test.each<[string, Partial<Rule>, PacketTuple, boolean]>([
    ['nothing said', {}, GRE, true],
    ['protocol by name', { protocol: 'TCP' }, TCP, true],
    ['protocol by number', { protocol: 17 }, TCP, false],
    ['another protocol', { notProtocol: 'udp' }, TCP, true],
    ['not this protocol', { notProtocol: 6 }, TCP, false],
    ['one net of several', { srcNets: ['10.9.0.0/16', '10.0.0.1'] }, TCP, true],
    ['a net with host bits', { dstNets: ['10.0.0.255/24'] }, TCP, true],
    ['outside the net', { dstNets: ['10.0.0.0/31'] }, TCP, false],
    ['nets of the other family only', { srcNets: ['fd00::/8'] }, TCP, false],
    ['nets of both families', { srcNets: ['fd00::/8', '10.0.0.0/8'] }, TCP, true],
    ['negated nets of the other family only', { notSrcNets: ['fd00::/8'] }, TCP, false],
    ['a negated net', { notSrcNets: ['10.0.0.1/32'] }, TCP, false],
    ['a negated net elsewhere', { notSrcNets: ['10.0.0.2/32'] }, TCP, true],
    ['a negated catch-all of the other family', { notDstNets: ['::/0', '10.9.0.0/16'] }, TCP, true],
    ['a negated catch-all', { notDstNets: ['0.0.0.0/0'] }, TCP, false],
    ['IPv4 only', { ipVersion: 4 }, TCP6, false],
    ['IPv6 only', { ipVersion: 6 }, TCP6, true],
    ['in a set', { srcIpSetIds: ['net'] }, TCP, true],
    ['in a set of both families', { srcIpSetIds: ['net'] }, TCP6, true],
    ['in all sets', { dstIpSetIds: ['ips', 'net'] }, TCP, false],
    ['in none of the sets', { notSrcIpSetIds: ['ips', 'net'] }, TCP, false],
    ['not in the set', { notDstIpSetIds: ['net'] }, TCP, true],
    ['port range', { dstPorts: [{ first: 79, last: 81 }] }, TCP, true],
    ['above the range', { dstPorts: [{ first: 1, last: 79 }] }, TCP, false],
    ['numeric or named', { dstPorts: [{ first: 1, last: 1 }], dstNamedPortIpSetIds: ['web'] }, TCP, true],
    ['named for another protocol', { dstNamedPortIpSetIds: ['web'] }, { ...TCP, proto: 17 }, false],
    ['named source port', { srcNamedPortIpSetIds: ['web'] }, { ...TCP, proto: 17, sport: 53 }, true],
    ['negated named port', { notDstNamedPortIpSetIds: ['web'] }, TCP, false],
    ['ip and port set', { dstIpPortSetIds: ['web'] }, TCP, true],
    ['ip and port set, other port', { dstIpPortSetIds: ['web'] }, { ...TCP, dport: 81 }, false],
    ['negated ports of UDP-Lite', { notDstPorts: [{ first: 1, last: 1 }] }, { ...TCP, proto: 136 }, true],
    ['negated ports of what has none', { notDstPorts: [{ first: 1, last: 1 }] }, GRE, false],
    ['port 0 of what has none', { srcPorts: [{ first: 0, last: 0 }] }, PING, false],
    ['ICMP type', { icmp: { type: 8 } }, PING, true],
    ['ICMP type and code', { icmp: { type: 8, code: 1 } }, PING, false],
    ['negated ICMP type and code: both must be so', { notIcmp: { type: 8, code: 1 } }, PING, true],
    ['negated ICMP type', { notIcmp: { type: 8 } }, PING, false],
    ['negated ICMP of what has none', { notIcmp: { type: 8 } }, TCP, false],
    ['HTTP is not looked at', { hasHttpMatch: true }, TCP, true],
  ])('%s', (_name, rule, packet, expected) => {
    expect(matches(rule, packet)).toBe(expected);
    expect(matches(rule, packet, 'deny')).toBe(expected);
  });

  test.each<[string, Partial<Rule>]>([
    ['an IP set that is missing', { srcIpSetIds: ['gone'] }],
    ['a negated one', { notDstIpSetIds: ['gone'] }],
    ['a named port set', { dstNamedPortIpSetIds: ['gone'] }],
    ['a negated one of those', { notSrcNamedPortIpSetIds: ['gone'] }],
    ['an ip and port set', { dstIpPortSetIds: ['gone'] }],
    ['a set of the wrong type', { dstIpSetIds: ['web'] }],
    ['a protocol that nobody knows', { protocol: 'quic' }],
    ['not a protocol that nobody knows', { notProtocol: 'quic' }],
  ])('%s: allow does not match, deny does', (_name, rule) => {
    expect(matches(rule, TCP)).toBe(false);
    expect(matches(rule, TCP, 'deny')).toBe(true);
    // The rest of the rule counts all the same.
    expect(matches({ ...rule, dstNets: ['192.168.0.0/16'] }, TCP, 'deny')).toBe(false);
  });
});

describe('the order of tiers, policies and profiles', () => {
  const policy = (name: string, action: string, kind = 'NetworkPolicy'): ReturnType<typeof policyOf> =>
    policyOf({
      id: { kind, namespace: 'ns', name },
      inboundRules: action === '' ? [] : action.split(' ').map((a) => ruleOf({ action: a })),
    });
  const policies = [
    policy('none', ''),
    policy('allow', 'allow'),
    policy('deny', 'Deny'),
    policy('pass', 'next-tier'),
    policy('log-allow', 'log allow'),
    policy('odd', 'teleport'),
    policy('staged', 'deny', 'StagedNetworkPolicy'),
  ];
  const profile = (
    name: string,
    action: string,
  ): FelixModel['profiles'] extends ReadonlyMap<string, infer P> ? P : never => ({
    name,
    inboundRules: action === '' ? [] : [ruleOf({ action })],
    outboundRules: [],
  });
  const profiles = [profile('none', ''), profile('allow', 'allow'), profile('pass', 'pass')];
  const model = modelOf({ policies, profiles });

  const tier = (name: string, names: string, defaultAction: 'Deny' | 'Pass' = 'Deny'): TierInfo =>
    tierOf({
      name,
      defaultAction,
      ingressPolicies: names
        .split(' ')
        .filter((n) => n !== '')
        .map((n) => ({
          kind: n === 'staged' ? 'StagedNetworkPolicy' : 'NetworkPolicy',
          namespace: 'ns',
          name: n,
        })),
    });
  const rule = (tierName: string, name: string, index = 0): Decision => ({
    kind: 'rule',
    rule: { tier: tierName, kind: 'NetworkPolicy', namespace: 'ns', name, rule: index },
  });
  const profileRule = (name: string): Decision => ({
    kind: 'rule',
    rule: { tier: '', kind: 'Profile', namespace: '', name, rule: 0 },
  });

  test.each<[string, readonly TierInfo[], readonly string[], 'allow' | 'deny', Decision, number]>([
    ['nothing at all', [], [], 'deny', { kind: 'no-profile-match' }, 0],
    ['first policy that decides', [tier('a', 'none deny allow')], [], 'deny', rule('a', 'deny'), 1],
    ['log goes on', [tier('a', 'log-allow')], [], 'allow', rule('a', 'log-allow', 1), 2],
    [
      'end of tier',
      [tier('a', 'none'), tier('b', 'allow')],
      [],
      'deny',
      { kind: 'end-of-tier', tier: 'a' },
      0,
    ],
    [
      'default action Pass',
      [tier('a', 'none', 'Pass'), tier('b', 'allow')],
      [],
      'allow',
      rule('b', 'allow'),
      0 + 1,
    ],
    ['pass skips the rest', [tier('a', 'pass deny'), tier('b', 'allow')], [], 'allow', rule('b', 'allow'), 2],
    [
      'pass of the last tier: profiles',
      [tier('a', 'pass')],
      ['none', 'allow'],
      'allow',
      profileRule('allow'),
      2,
    ],
    ['an empty tier is none', [tier('a', ''), tier('b', 'allow')], [], 'allow', rule('b', 'allow'), 1],
    ['a staged tier is none', [tier('a', 'staged')], ['allow'], 'allow', profileRule('allow'), 1],
    [
      'staged beside enforced',
      [tier('a', 'staged none')],
      ['allow'],
      'deny',
      { kind: 'end-of-tier', tier: 'a' },
      0,
    ],
    ['an action nobody knows', [tier('a', 'odd')], ['allow'], 'deny', rule('a', 'odd'), 1],
    ['pass in a profile', [], ['pass', 'allow'], 'deny', profileRule('pass'), 1],
    [
      'a profile that is missing',
      [],
      ['gone', 'allow'],
      'deny',
      { kind: 'missing-profile', profile: 'gone' },
      0,
    ],
    [
      'a policy that is missing',
      [tier('a', 'gone allow', 'Pass')],
      ['allow'],
      'deny',
      { kind: 'missing-policy', tier: 'a', policy: { kind: 'NetworkPolicy', namespace: 'ns', name: 'gone' } },
      0,
    ],
    ['a decision before it', [tier('a', 'allow gone')], [], 'allow', rule('a', 'allow'), 1],
  ])('%s', (_name, tiers, profileIds, verdict, decidedBy, hits) => {
    const result = evaluate(model, workloadOf({ name: 'cali0', tiers, profileIds }), 'ingress', TCP);
    expect(result).toMatchObject({ verdict, decidedBy });
    expect(result.hits).toHaveLength(hits);
  });

  test('an endpoint that is not active gets and sends nothing', () => {
    const workload = workloadOf({ name: 'cali0', state: 'inactive', tiers: [tier('a', 'allow')] });
    for (const direction of ['ingress', 'egress'] as const) {
      expect(evaluate(model, workload, direction, TCP)).toMatchObject({
        verdict: 'deny',
        decidedBy: { kind: 'admin-down' },
      });
    }
  });
});

describe('encapsulated packets of pods', () => {
  const open = {
    name: 'open',
    inboundRules: [ruleOf({ action: 'allow' })],
    outboundRules: [ruleOf({ action: 'allow' })],
  };
  const workload = workloadOf({ name: 'cali0', profileIds: ['open'] });
  const verdict = (
    config: Record<string, string>,
    packet: PacketTuple,
    direction: 'ingress' | 'egress' = 'egress',
  ): string => evaluate(modelOf({ config, profiles: [open] }), workload, direction, packet).verdict;
  const vxlan = { ...TCP, proto: 17, dport: 4789 };
  const ipip = { ...GRE, proto: 4 };

  test('VXLAN, by its configured port', () => {
    expect(verdict({}, vxlan)).toBe('deny');
    expect(verdict({}, vxlan, 'ingress')).toBe('allow');
    expect(verdict({}, { ...vxlan, proto: 6 })).toBe('allow');
    expect(verdict({ VXLANPort: '4790' }, vxlan)).toBe('allow');
    expect(verdict({ VXLANPort: '4790' }, { ...vxlan, dport: 4790 })).toBe('deny');
    expect(verdict({ AllowVXLANPacketsFromWorkloads: 'True' }, vxlan)).toBe('allow');
  });

  test('IP in IP', () => {
    expect(verdict({}, ipip)).toBe('deny');
    expect(verdict({}, ipip, 'ingress')).toBe('allow');
    expect(verdict({ AllowIPIPPacketsFromWorkloads: 'false' }, ipip)).toBe('deny');
    expect(verdict({ AllowIPIPPacketsFromWorkloads: '1' }, ipip)).toBe('allow');
  });
});

import type { FelixModel, IpSet, Rule, WorkloadEndpoint } from '../../../src/model/model';
import { bitsOf } from '../../../src/translators/policy/words';
import { createPolicyCompiler } from '../../../src/translators/policy/compiler';
import { describeStep, type Direction } from '../../../src/translators/policy/outcomes';
import { evaluate, type PacketTuple } from '../../../src/translators/policy/reference';
import { parseCidr } from '../../../src/translators/address';
import { rowKey, type Row } from '../../../src/translators/rows';
import { modelOf, policyOf, ruleOf, tierOf, workloadOf } from '../../support/models';
import { createWalker } from './row-walker';

const ID = { kind: 'GlobalNetworkPolicy', namespace: '', name: 'p' };
const OTHER = { kind: 'GlobalNetworkPolicy', namespace: '', name: 'other' };

function set(id: string, type: IpSet['type'], ...members: string[]): IpSet {
  return { id, type, members: new Set(members) };
}

function pod(fields: Partial<WorkloadEndpoint> = {}): WorkloadEndpoint {
  const tier = tierOf({ name: 'default', ingressPolicies: [ID], egressPolicies: [ID] });
  return workloadOf({
    name: 'cali0',
    ipv4Nets: ['10.0.0.1/32'],
    ipv6Nets: ['fd00::1/128'],
    tiers: [tier],
    ...fields,
  });
}

/** One pod under one policy with these ingress rules. */
function ingressModel(
  rules: readonly (Partial<Rule> & Pick<Rule, 'action'>)[],
  ipSets: readonly IpSet[] = [],
): FelixModel {
  return modelOf({
    ipSets,
    policies: [policyOf({ id: ID, inboundRules: rules.map(ruleOf) })],
    workloads: [pod()],
  });
}

function endpoints(model: FelixModel): { ep: number; workload: WorkloadEndpoint }[] {
  return [...model.workloads.values()].map((workload, i) => ({ ep: i + 1, workload }));
}

function packet(fields: Partial<PacketTuple> = {}): PacketTuple {
  return {
    src: '10.9.9.9',
    dst: '10.0.0.1',
    proto: 6,
    sport: 40000,
    dport: 80,
    icmpType: 0,
    icmpCode: 0,
    ...fields,
  };
}

function judge(model: FelixModel, fields: Partial<PacketTuple>, direction: Direction = 'ingress'): string {
  const walked = createWalker(createPolicyCompiler().compile(model, endpoints(model))).walk(
    1,
    direction,
    packet(fields),
  );
  return `${walked.verdict}: ${walked.outcome.rules.map(describeStep).join(', then ')}`;
}

function table(rows: ReadonlyMap<string, Row>, name: string): Row[] {
  return [...rows.values()].filter((row) => row.table === name);
}

describe('classes', () => {
  const model = ingressModel(
    [
      { action: 'allow', srcIpSetIds: ['a'] },
      { action: 'deny', srcNets: ['10.2.0.0/16'] },
      { action: 'allow', srcNets: ['10.0.0.0/8'] },
    ],
    [
      set('a', 'NET', '10.2.0.5/32', '10.2.0.6/32', '10.2.0.0/24', '172.16.0.9/32'),
      set('unused', 'NET', '1.2.3.4/32'),
    ],
  );

  test('addresses have a row only where the CIDR around them says something else; sets that no rule names have none', () => {
    const compiler = createPolicyCompiler();
    const { rows } = compiler.compile(model, endpoints(model));
    const [row, ...rest] = table(rows, 'addr_labels');
    expect(rest).toEqual([]);
    expect(row!.match['lo']).toEqual({ kind: 'exact', value: 0xffff_ac10_0009n });
    const names = compiler.labelNames;
    expect(bitsOf(row!.params).map((bit) => names.find((label) => label.bit === bit)!.name)).toEqual([
      'IPv4',
      'set a',
    ]);
    const priorities = table(rows, 'addr_labels_prefix')
      .map((r) => r.priority)
      .sort((a, b) => a! - b!);
    // ::/0, the IPv4 catch-all, /8, /16, /24: the prefix length in 128 bits plus one.
    expect(priorities).toEqual([1, 97, 105, 113, 121]);
  });

  test('both catch-alls are there even without a rule', () => {
    const { rows } = createPolicyCompiler().compile(modelOf({}), []);
    const lo = { kind: 'ternary', value: 0xffff_0000_0000n, mask: 0xffff_ffff_0000_0000n };
    const hi = { kind: 'ternary', value: 0n, mask: 0xffff_ffff_ffff_ffffn };
    const page = { kind: 'exact', value: 1n };
    const matches = table(rows, 'addr_labels_prefix')
      .sort((a, b) => a.priority! - b.priority!)
      .map((r) => [r.table, r.match]);
    expect(matches).toEqual([
      ['addr_labels_prefix', { page }],
      ['addr_labels_prefix', { page, hi, lo }],
    ]);
  });

  test('an IPv4-compatible address with dots is the IPv6 address that Go reads', () => {
    for (const net of ['::1.2.3.4/128', '::0.0.0.0/96', '::1.2.3.4']) {
      const denied = ingressModel([{ action: 'deny', srcNets: [net] }, { action: 'allow' }]);
      const judged = judge(denied, { src: '::102:304', dst: 'fd00::1' });
      expect(judged).toMatch(/^deny/);
      expect(judge(denied, { src: '::1:102:304', dst: 'fd00::1' })).toMatch(/^allow/);
      const workload = [...denied.workloads.values()][0]!;
      const packetTuple = packet({ src: '::102:304', dst: 'fd00::1' });
      expect(evaluate(denied, workload, 'ingress', packetTuple).verdict).toBe('deny');
    }
    // Mapped ones are nowhere: the pipeline drops such packets.
    expect(parseCidr('::ffff:1.2.3.4')).toBeUndefined();
    expect(parseCidr('::1.2.3.4')?.text).toBe('::102:304/128');
  });

  test('IPv6 CIDRs that contain the mapped range say nothing of IPv4', () => {
    const wide = ingressModel([
      { action: 'allow', srcNets: ['::/0'] },
      { action: 'deny', srcNets: ['::/16'] },
    ]);
    expect(judge(wide, {})).toBe('deny: end of tier default ingress (deny)');
    expect(judge(wide, { src: '2001:db8::1', dst: 'fd00::1' })).toMatch(/^allow/);
  });
});

describe('numbers', () => {
  const rules: readonly (Partial<Rule> & Pick<Rule, 'action'>)[] = [
    { action: 'allow', protocol: 'tcp', srcIpSetIds: ['a'], dstPorts: [{ first: 80, last: 90 }] },
    { action: 'allow', protocol: 'udp', srcIpSetIds: ['b'] },
  ];
  const a = set('a', 'NET', '10.1.0.1/32', '10.1.0.2/32');
  const b = set('b', 'NET', '10.1.0.2/32', '10.1.0.3/32');

  test('a second compile of the same model changes nothing, and keys are those of rowKey', () => {
    const model = ingressModel(rules, [a, b]);
    const compiler = createPolicyCompiler();
    const first = compiler.compile(model, endpoints(model));
    for (const [key, row] of first.rows) expect(rowKey(row)).toBe(key);
    const { changes } = compiler.compile(model, endpoints(model));
    expect([changes.written.size, changes.removed.size]).toEqual([0, 0]);
  });

  test('a new member of a known kind costs one row, whoever mutates the members', () => {
    const members = new Set(a.members);
    const model = ingressModel(rules, [{ ...a, members }, b]);
    const compiler = createPolicyCompiler();
    compiler.compile(model, endpoints(model));
    members.add('10.1.0.77/32');
    const next = ingressModel(rules, [{ ...a, members }, b]);
    const { changes } = compiler.compile({ ...next, policies: model.policies }, endpoints(model));
    expect([...changes.written.values()].map((row) => row.table)).toEqual(['addr_labels']);
    expect(changes.removed.size).toBe(0);
  });

  test('an address that is in sets as none was before adds rows to the nodes there are', () => {
    const model = ingressModel(rules, [a, set('b', 'NET')]);
    const compiler = createPolicyCompiler();
    const root = (rows: ReadonlyMap<string, Row>): Row[] => table(rows, 'endpoint_root');
    const before = root(compiler.compile(model, endpoints(model)).rows);
    const next = { ...model, ipSets: ingressModel(rules, [a, b]).ipSets };
    const { rows, changes } = compiler.compile(next, endpoints(model));
    expect(root(rows)).toEqual(before);
    expect(changes.removed.size).toBe(0);
    // 10.1.0.3 and 10.1.0.2: two addresses, two classes at the root, and what lies behind the second.
    expect([...changes.written.values()].filter((r) => r.table === 'addr_labels')).toHaveLength(2);
    expect([...changes.written.values()].filter((r) => r.table === 'step_src')).toHaveLength(2);
  });

  test('pods with the same policies share all nodes', () => {
    const model = ingressModel(rules, [a, b]);
    const twins = [1, 2].map((ep) => ({
      ep,
      workload: pod({ name: `cali${ep}`, ipv4Nets: [`10.0.0.${ep}`] }),
    }));
    const one = createPolicyCompiler().compile(model, twins.slice(0, 1)).rows.size;
    expect(createPolicyCompiler().compile(model, twins).rows.size).toBe(one + 2);
  });

  test('what is no longer used goes, down to the catch-alls', () => {
    const model = ingressModel(rules, [a, b]);
    const compiler = createPolicyCompiler();
    compiler.compile(model, endpoints(model));
    const { rows, outcomes } = compiler.compile(model, []);
    const left = [...rows.values()].filter(({ match }) => match['ep']?.value !== 0n);
    expect(left.map((row) => row.table)).toEqual(['addr_labels_prefix', 'addr_labels_prefix']);
    // The miss, and "no host endpoint".
    expect(outcomes.size).toBe(2);
  });
});

describe('programs', () => {
  test('a pass before an unconditional deny of its tier still reaches the next tier', () => {
    const later = tierOf({ name: 'later', ingressPolicies: [OTHER] });
    const model = modelOf({
      policies: [
        policyOf({
          id: ID,
          inboundRules: [
            ruleOf({ action: 'log', protocol: 17 }),
            ruleOf({ action: 'pass', dstPorts: [{ first: 80, last: 80 }] }),
            ruleOf({ action: 'deny' }),
          ],
        }),
        policyOf({ id: OTHER, inboundRules: [ruleOf({ action: 'allow' })] }),
      ],
      workloads: [pod({ tiers: [tierOf({ name: 'default', ingressPolicies: [ID] }), later] })],
    });
    const p = 'default/GlobalNetworkPolicy p ingress rule';
    const allowed = 'later/GlobalNetworkPolicy other ingress rule 0 (allow)';
    expect(judge(model, {})).toBe(`allow: ${p} 1 (pass), then ${allowed}`);
    expect(judge(model, { proto: 17 })).toBe(`allow: ${p} 0 (log), then ${p} 1 (pass), then ${allowed}`);
    expect(judge(model, { dport: 81 })).toBe(`deny: ${p} 2 (deny)`);
    expect(judge(model, { proto: 1 })).toBe(`deny: ${p} 2 (deny)`);
  });

  test('what the endpoint names and Felix never sent denies, and is reported', () => {
    const model = modelOf({
      workloads: [
        pod(),
        pod({
          name: 'cali1',
          id: { orchestratorId: '', workloadId: '', endpointId: '' },
          tiers: [],
          profileIds: ['gone'],
        }),
      ],
    });
    const { problems, rows, outcomes } = createPolicyCompiler().compile(model, endpoints(model));
    const walker = createWalker({ rows, outcomes });
    expect(walker.walk(1, 'ingress', packet()).outcome.rules).toEqual([
      { kind: 'missing-policy', tier: 'default', policy: ID, direction: 'ingress' },
    ]);
    expect(walker.walk(2, 'ingress', packet()).outcome.rules).toEqual([
      { kind: 'missing-profile', profile: 'gone', direction: 'ingress' },
    ]);
    expect(problems.join('\n')).toMatch(/policy GlobalNetworkPolicy\/\/p .*\n.*profile gone /);
  });

  test('pods send no VXLAN and no IP-in-IP, unless the configuration lets them', () => {
    const open = policyOf({ id: ID, outboundRules: [ruleOf({ action: 'allow' })] });
    const vxlan = { src: '10.0.0.1', dst: '10.9.9.9', proto: 17, dport: 4789 };
    const ipip = { ...vxlan, proto: 4, dport: 0 };
    const closed = modelOf({ policies: [open], workloads: [pod()] });
    expect(judge(closed, vxlan, 'egress')).toBe('deny: vxlan packet from a workload (deny)');
    expect(judge(closed, { ...vxlan, proto: 6 }, 'egress')).toMatch(/^allow/);
    expect(judge(closed, ipip, 'egress')).toBe('deny: ipip packet from a workload (deny)');
    const config = { VXLANPort: '443', AllowIPIPPacketsFromWorkloads: 'T' };
    const other = modelOf({ config, policies: [open], workloads: [pod()] });
    expect(judge(other, vxlan, 'egress')).toMatch(/^allow/);
    expect(judge(other, { ...vxlan, dport: 443 }, 'egress')).toMatch(/^deny: vxlan/);
    expect(judge(other, ipip, 'egress')).toMatch(/^allow/);
  });

  test('a pod that may spoof its source is judged by the source that it uses', () => {
    const rules = [ruleOf({ action: 'deny', srcNets: ['203.0.113.0/24'] }), ruleOf({ action: 'allow' })];
    const model = modelOf({
      policies: [policyOf({ id: ID, outboundRules: rules })],
      workloads: [pod({ allowSpoofedSourcePrefixes: ['203.0.113.0/24'] })],
    });
    expect(judge(model, { src: '203.0.113.5', dst: '10.9.9.9' }, 'egress')).toMatch(/^deny/);
    expect(judge(model, { src: '10.0.0.1', dst: '10.9.9.9' }, 'egress')).toMatch(/^allow/);
  });

  test("a named port is the destination's own", () => {
    const http: Partial<Rule> = { dstNamedPortIpSetIds: ['n'], dstPorts: [{ first: 9, last: 9 }] };
    const sets = [set('n', 'IP_AND_PORT', '10.0.0.1,tcp:8080', '10.0.0.2,tcp:80', 'fd00::1,udp:53')];
    const model = ingressModel([{ action: 'allow', ...http }], sets);
    expect(judge(model, { dport: 8080 })).toMatch(/^allow/);
    expect(judge(model, { dport: 9 })).toMatch(/^allow/);
    expect(judge(model, { dport: 80 })).toMatch(/^deny/);
    expect(judge(model, { dport: 8080, proto: 17 })).toMatch(/^deny/);
    expect(judge(model, { src: 'fd00::9', dst: 'fd00::1', dport: 53, proto: 17 })).toMatch(/^allow/);
  });
});

describe('what can not be decided', () => {
  const unknowns: readonly (readonly [string, Partial<Rule>])[] = [
    ['an unknown set', { srcIpSetIds: ['gone'] }],
    ['an unknown set, negated', { notSrcIpSetIds: ['gone'] }],
    ['an unknown named port', { dstNamedPortIpSetIds: ['gone'] }],
    ['an unknown named port, negated', { notDstNamedPortIpSetIds: ['gone'] }],
    ['an unknown service set', { dstIpPortSetIds: ['gone'] }],
    ['a set of another kind', { srcIpSetIds: ['ports'] }],
    ['a set with members that can not be read, negated', { notSrcIpSetIds: ['odd'] }],
    ['a CIDR that can not be read', { srcNets: ['10.0.0/8'] }],
    ['a CIDR that can not be read, negated', { notSrcNets: ['10.0.0.0/33'] }],
    ['an unknown protocol', { protocol: 'quic' }],
    ['an unknown protocol, negated', { notProtocol: 300 }],
  ];
  const sets = [set('odd', 'NET', '10.1.0.0/16', 'nonsense'), set('ports', 'IP_AND_PORT', '10.9.9.9,tcp:80')];

  test.each(unknowns)(
    '%s: an allow rule does not match, a deny rule does, and it is reported',
    (_, match) => {
      const allow = ingressModel([{ action: 'allow', ...match }], sets);
      expect(judge(allow, {})).toBe('deny: end of tier default ingress (deny)');
      const deny = ingressModel([{ action: 'deny', ...match }, { action: 'allow' }], sets);
      expect(judge(deny, {})).toBe('deny: default/GlobalNetworkPolicy p ingress rule 0 (deny)');
      expect(createPolicyCompiler().compile(allow, endpoints(allow)).problems).toHaveLength(1);
    },
  );

  test('an unknown action denies', () => {
    expect(judge(ingressModel([{ action: 'mirror' }, { action: 'allow' }]), {})).toMatch(/rule 0 \(deny\)$/);
  });

  test('members that can be read count for an allow rule', () => {
    const model = ingressModel([{ action: 'allow', srcIpSetIds: ['odd'] }], sets);
    expect(judge(model, { src: '10.1.2.3' })).toMatch(/^allow/);
    expect(judge(model, { src: '10.2.2.3' })).toMatch(/^deny/);
  });
});

describe('outcomes', () => {
  const ports = Array.from({ length: 20 }, (_, i) => i);
  const model = ingressModel(
    ports.map((port) => ({
      action: port % 2 === 0 ? 'allow' : 'deny',
      protocol: 6,
      dstPorts: [{ first: port, last: port }],
    })),
  );

  test('beyond the counters share two, the verdicts stay, and it is reported', () => {
    const compiled = createPolicyCompiler({ outcomeLimit: 10 }).compile(model, endpoints(model));
    const walker = createWalker(compiled);
    const walked = ports.map((dport) => walker.walk(1, 'ingress', packet({ dport })));
    expect(walked.map((w) => w.verdict)).toEqual(ports.map((port) => (port % 2 === 0 ? 'allow' : 'deny')));
    expect(Math.max(...compiled.outcomes.keys())).toBe(9);
    expect(walked.filter((w) => w.outcome.rules[0]!.kind === 'overflow').length).toBeGreaterThan(10);
    expect(compiled.problems).toEqual([expect.stringMatching(/outcomes are more than the 10 counters/)]);
  });

  test('that fit have one counter each', () => {
    const compiled = createPolicyCompiler().compile(model, endpoints(model));
    expect(compiled.problems).toEqual([]);
    // The rules, the end of the tier, the two egress encapsulations with its end of tier, no host endpoint, and the miss.
    expect(compiled.outcomes.size).toBe(20 + 1 + 3 + 1 + 1);
  });
});

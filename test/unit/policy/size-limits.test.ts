/** Rules that make diagrams explode: their endpoint is closed, and nothing else changes. */
import fs from 'node:fs';
import path from 'node:path';
import fc from 'fast-check';
import type { FelixModel, IpSet, Policy, Rule, WorkloadEndpoint } from '../../../src/model/model';
import { parseP4InfoText } from '../../../src/p4info/text-format';
import { createPolicyCompiler, type CompiledPolicy } from '../../../src/translators/policy/compiler';
import { evaluate } from '../../../src/translators/policy/reference';
import { SIZE_LIMITS, type SizeLimits } from '../../../src/translators/policy/size-limits';
import { arbitraryScenario } from '../../support/arbitraries';
import { modelOf, policyOf, ruleOf, tierOf, workloadOf } from '../../support/models';
import { createWalker } from './row-walker';

const bad = { kind: 'GlobalNetworkPolicy', namespace: '', name: 'explosive' };
const good = { kind: 'GlobalNetworkPolicy', namespace: '', name: 'plain' };

/** A number that looks random and is the same every time. */
function mix(a: number, b: number): number {
  let h = Math.imul(a + 1, 0x9e3779b1) ^ Math.imul(b + 1, 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d);
  h = Math.imul(h ^ (h >>> 12), 0x297a2d39);
  return (h ^ (h >>> 15)) >>> 0;
}

/** Sets of which every address has its own combination. */
function setsOf(prefix: string, count: number, addresses: number): readonly IpSet[] {
  return Array.from({ length: count }, (_, set) => {
    const members = Array.from({ length: addresses }, (_, i) => i)
      .filter((i) => mix(i, set) % 2 === 0)
      .map((i) => `10.${prefix}.${i >> 8}.${i & 255}`);
    return { id: `s:${prefix}-${set}`, type: 'IP' as const, members: new Set(members) };
  });
}

function ports(i: number, width: number): Pick<Rule, 'srcPorts' | 'dstPorts'> {
  return {
    srcPorts: [{ first: 1000 + 37 * i, last: 1000 + 37 * i + width }],
    dstPorts: [{ first: 2000 + 41 * i, last: 2000 + 41 * i + width }],
  };
}

/** `count` rules, each with a source set, a destination set, source ports and destination ports of its own. */
function explosiveRules(count: number): readonly Rule[] {
  return Array.from({ length: count }, (_, i) =>
    ruleOf({
      action: i % 2 === 0 ? 'allow' : 'deny',
      protocol: i % 3 === 0 ? 6 : 17,
      srcIpSetIds: [`s:1-${i}`],
      dstIpSetIds: [`s:2-${i}`],
      ...ports(i, 2000),
    }),
  );
}

function explosiveModel(rules: number, addresses: number): FelixModel {
  const policies: readonly Policy[] = [
    policyOf({ id: bad, inboundRules: explosiveRules(rules), outboundRules: explosiveRules(rules) }),
    policyOf({
      id: good,
      inboundRules: [ruleOf({ action: 'allow', protocol: 6, srcIpSetIds: ['s:1-0'] })],
      outboundRules: [ruleOf({ action: 'allow' })],
    }),
  ];
  const workload = (name: string, ids: Policy['id'][], nets: readonly string[]): WorkloadEndpoint =>
    workloadOf({
      name,
      ipv4Nets: nets,
      tiers: [tierOf({ name: 'default', ingressPolicies: ids, egressPolicies: ids })],
      allowSpoofedSourcePrefixes: ['0.0.0.0/0'],
    });
  return modelOf({
    ipSets: [...setsOf('1', rules, addresses), ...setsOf('2', rules, addresses)],
    policies,
    workloads: [
      workload('cali0', [good], ['10.9.0.1/32']),
      workload('cali1', [bad, good], ['10.2.0.1/32', '10.2.0.2/32', '10.2.0.3/32']),
      workload('cali2', [good], ['10.9.0.2/32']),
    ],
  });
}

function placed(model: FelixModel) {
  return [...model.workloads.values()].map((workload, i) => ({ ep: i + 1, workload }));
}

const packet = { proto: 6, sport: 5, dport: 80, icmpType: 0, icmpCode: 0 };
const inSet = `10.1.0.${[...Array(200).keys()].find((i) => mix(i, 0) % 2 === 0)!}`;

describe('a policy with a source set, a destination set and ports of its own in each rule', () => {
  const model = explosiveModel(40, 3000);
  const compiler = createPolicyCompiler();
  let compiled: CompiledPolicy;
  let seconds: number;
  let megabytes: number;

  beforeAll(() => {
    const heap = process.memoryUsage().heapUsed;
    const started = performance.now();
    compiled = compiler.compile(model, placed(model));
    seconds = (performance.now() - started) / 1000;
    megabytes = (process.memoryUsage().heapUsed - heap) / 2 ** 20;
  });

  it('closes the endpoint, for the reason', () => {
    const walker = createWalker(compiled);
    for (const direction of ['ingress', 'egress'] as const) {
      const { verdict, outcome } = walker.walk(2, direction, { ...packet, src: inSet, dst: '10.2.0.1' });
      expect({ verdict, rules: outcome.rules }).toEqual({
        verdict: 'deny',
        rules: [{ kind: 'too-complex', direction }],
      });
    }
  });

  it('says so by the names of endpoint, tier and policies, with the numbers', () => {
    expect(compiled.problems).toEqual([
      expect.stringMatching(
        /^endpoint k8s\/default\/cali1\/eth0 \(cali1\) is closed for ingress: its \d+ rules would take more than one endpoint may \(65536 table rows, .*; policies: default\/GlobalNetworkPolicy\/\/explosive, default\/GlobalNetworkPolicy\/\/plain/,
      ),
      expect.stringMatching(/\(cali1\) is closed for egress/),
    ]);
    expect([...compiled.closed]).toEqual([[2, compiled.problems[0]]]);
  });

  it('leaves the other endpoints as they would be without it', () => {
    const walker = createWalker(compiled);
    for (const ep of [1, 3]) {
      const dst = `10.9.0.${ep === 1 ? 1 : 2}`;
      expect(walker.walk(ep, 'ingress', { ...packet, src: inSet, dst }).verdict).toBe('allow');
      expect(walker.walk(ep, 'ingress', { ...packet, proto: 17, src: inSet, dst }).verdict).toBe('deny');
      expect(walker.walk(ep, 'egress', { ...packet, src: dst, dst: '1.2.3.4' }).verdict).toBe('allow');
    }
  });

  it('is bounded in rows, time and memory', () => {
    const steps = [...compiled.rows.values()].filter((row) => row.table.startsWith('step_'));
    // Nothing of what was left out stays.
    expect(steps.length).toBeLessThan(10_000);
    expect(compiled.outcomes.size).toBeLessThan(20);
    expect(seconds).toBeLessThan(60);
    expect(megabytes).toBeLessThan(700);
  });

  it('costs nothing while nothing changes, and opens again with a policy that is not', () => {
    const started = performance.now();
    const again = compiler.compile(model, placed(model));
    expect([again.changes.written.size, again.changes.removed.size]).toEqual([0, 0]);
    expect(again.problems).toHaveLength(2);
    expect(performance.now() - started).toBeLessThan(5000);

    const calm = explosiveModel(2, 20);
    const after = compiler.compile(calm, placed(calm));
    expect(after.problems).toEqual([]);
    expect(after.rows.size).toBe(createPolicyCompiler().compile(calm, placed(calm)).rows.size);
  });
});

test('the limits are those of the step tables in p4info', () => {
  const file = path.join(__dirname, '../../../pipelines/p4-dpdk/calico.p4info.txtpb');
  const { tables } = parseP4InfoText(fs.readFileSync(file, 'utf8'));
  const steps = tables
    .filter((table) => table.preamble?.alias.startsWith('step_'))
    .reduce((sum, table) => sum + Number(table.size), 0);
  expect(SIZE_LIMITS.program.rows).toBeGreaterThan(steps / 12);
  expect(SIZE_LIMITS.program.rows).toBeLessThan(steps / 8);
  expect(SIZE_LIMITS.node.rows).toBeGreaterThan(steps);
});

/** Limits that random policies meet all the time. */
const SMALL: SizeLimits = {
  program: { rows: 12, rules: 30, questions: 200 },
  node: { rows: 30, rules: 80, questions: Infinity },
};

test('random policies: every verdict is the right one, or the endpoint is closed and named; the past does not matter', () => {
  let closed = 0;
  let open = 0;
  const property = fc.property(
    fc.array(arbitraryScenario(12), { minLength: 2, maxLength: 4 }),
    (scenarios) => {
      const compiler = createPolicyCompiler({ limits: SMALL });
      for (const { model: whole, packets } of scenarios) {
        // The rules of a host endpoint of all interfaces would stand before a pod's own.
        const model = { ...whole, hostEndpoints: new Map() };
        const endpoints = placed(model);
        compiler.compile(model, endpoints, 'transition');
        const compiled = compiler.compile(model, endpoints);
        const fresh = createPolicyCompiler({ limits: SMALL }).compile(model, endpoints);
        expect(compiled.problems).toEqual(fresh.problems);
        expect(compiled.rows.size).toBe(fresh.rows.size);
        expect(compiled.outcomes.size).toBe(fresh.outcomes.size);
        const walker = createWalker(compiled);
        for (const { ep, workload } of endpoints) {
          for (const direction of ['ingress', 'egress'] as const) {
            const name = `(${workload.name}) is closed for ${direction}`;
            const isClosed = compiled.problems.some((problem) => problem.includes(name));
            for (const { packet: given } of packets) {
              // A program is for packets to, or from, the endpoint's own address.
              const v6 = given.src.includes(':');
              const own = (v6 ? workload.ipv6Nets : workload.ipv4Nets)[0]!.split('/')[0]!;
              const asked = direction === 'ingress' ? { ...given, dst: own } : { ...given, src: own };
              const walked = walker.walk(ep, direction, asked);
              if (isClosed) {
                closed++;
                expect(walked.outcome.rules).toEqual([{ kind: 'too-complex', direction }]);
                expect(walked.verdict).toBe('deny');
              } else {
                open++;
                expect(walked.verdict).toBe(evaluate(model, workload, direction, asked).verdict);
              }
            }
          }
        }
      }
    },
  );
  fc.assert(property, { numRuns: 60 });
  // Both must be common, or the limits do not test anything.
  expect(closed).toBeGreaterThan(100);
  expect(open).toBeGreaterThan(100);
});

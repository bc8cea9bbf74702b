/** Which bit stands for which label: more labels than a page holds, and bits that change hands. */
import type { FelixModel, IpSet } from '../../../src/model/model';
import { createPolicyCompiler, type EndpointPrograms } from '../../../src/translators/policy/compiler';
import { createIntervals } from '../../../src/translators/policy/intervals';
import { createPages, PAGE_ROOM } from '../../../src/translators/policy/pages';
import { createPortLabels } from '../../../src/translators/policy/port-labels';
import { evaluate } from '../../../src/translators/policy/reference';
import { createRowStore } from '../../../src/translators/policy/row-store';
import { modelOf, policyOf, ruleOf, tierOf, workloadOf } from '../../support/models';
import { createWalker } from './row-walker';

const id = (name: string): { kind: string; namespace: string; name: string } => ({
  kind: 'GlobalNetworkPolicy',
  namespace: '',
  name,
});

function placed(model: FelixModel): readonly EndpointPrograms[] {
  return [...model.workloads.values()].map((workload, i) => ({ ep: i + 1, workload }));
}

function bitsByName(compiler: ReturnType<typeof createPolicyCompiler>): ReadonlyMap<string, number> {
  return new Map(compiler.labelNames.map(({ name, bit }) => [name, bit]));
}

/** `pods` endpoints that each name `setsEach` IP sets of their own, and all of them a common one. */
function labelled(pods: number, setsEach: number): FelixModel {
  const all = Array.from({ length: pods * setsEach }, (_, i) => ({
    id: `s:${i}`,
    type: 'NET' as const,
    members: new Set([`10.1.${i >> 8}.${i & 255}/32`, `10.2.${i >> 8}.${i & 252}/30`]),
  }));
  const common: IpSet = { id: 's:common', type: 'NET', members: new Set(['10.1.0.0/24']) };
  return modelOf({
    ipSets: [...all, common],
    policies: Array.from({ length: pods }, (_, pod) =>
      policyOf({
        id: id(`p${pod}`),
        inboundRules: [
          ruleOf({ action: 'deny', protocol: 17, srcIpSetIds: ['s:common'] }),
          ...all
            .slice(pod * setsEach, (pod + 1) * setsEach)
            .map((set, i) => ruleOf({ action: i % 3 === 0 ? 'deny' : 'allow', srcIpSetIds: [set.id] })),
        ],
      }),
    ),
    workloads: Array.from({ length: pods }, (_, pod) =>
      workloadOf({
        name: `cali${pod}`,
        id: { orchestratorId: 'k8s', workloadId: `shop/pod-${pod}`, endpointId: 'eth0' },
        ipv4Nets: [`10.0.0.${pod}/32`],
        tiers: [tierOf({ name: 'default', ingressPolicies: [id(`p${pod}`)] })],
      }),
    ),
  });
}

test('more labels than one page holds take several pages, and verdicts stay those of the rules', () => {
  const model = labelled(12, 100);
  const endpoints = placed(model);
  const compiler = createPolicyCompiler();
  const compiled = compiler.compile(model, endpoints);
  expect(compiled.problems).toEqual([]);
  expect(new Set(compiler.labelNames.map(({ page }) => page)).size).toBeGreaterThan(1);
  const walker = createWalker(compiled);
  for (const { ep, workload } of endpoints) {
    for (let i = 0; i < 1200; i += 151) {
      for (const src of [`10.1.${i >> 8}.${i & 255}`, `10.2.${i >> 8}.${i & 255}`]) {
        for (const proto of [6, 17]) {
          const own = workload.ipv4Nets[0]!.split('/')[0]!;
          const packet = { src, dst: own, proto, sport: 1, dport: 2, icmpType: 0, icmpCode: 0 };
          const want = evaluate(model, workload, 'ingress', packet).verdict;
          expect(walker.walk(ep, 'ingress', packet).verdict).toBe(want);
        }
      }
    }
  }
  // Pages that nobody needs any more go with all of their rows.
  const few = labelled(1, 100);
  compiler.settle();
  const after = compiler.compile(few, placed(few));
  const pages = [...after.rows.values()].flatMap((row) => row.match['page']?.value ?? []);
  expect(new Set(pages).size).toBe(1);
});

test('an endpoint that names more sets than a page holds is closed, and the others are not', () => {
  const many = labelled(1, PAGE_ROOM + 1);
  const other = labelled(2, 3);
  const model: FelixModel = {
    ...many,
    ipSets: new Map([...other.ipSets, ...many.ipSets]),
    policies: new Map([...other.policies, ...many.policies]),
    workloads: new Map([...other.workloads, ...many.workloads]),
  };
  const endpoints = placed(model);
  const compiled = createPolicyCompiler().compile(model, endpoints);
  expect(compiled.problems).toHaveLength(1);
  expect(compiled.problems[0]).toMatch(
    /^endpoint k8s\/shop\/pod-0\/eth0 \(cali0\) is closed for ingress: its rules name 512 IP sets/,
  );
  const walker = createWalker(compiled);
  const packet = { src: '10.1.0.1', proto: 6, sport: 1, dport: 2, icmpType: 0, icmpCode: 0 };
  expect(walker.walk(1, 'ingress', { ...packet, dst: '10.0.0.0' }).verdict).toBe('deny');
  expect(walker.walk(2, 'ingress', { ...packet, src: '10.1.0.4', dst: '10.0.0.1' }).verdict).toBe('allow');
});

test('a bit is not given to another set before the target has settled', () => {
  const one = (name: string): FelixModel =>
    modelOf({
      ipSets: [{ id: name, type: 'NET', members: new Set(['10.9.0.0/16']) }],
      policies: [policyOf({ id: id('p'), inboundRules: [ruleOf({ action: 'allow', srcIpSetIds: [name] })] })],
      workloads: [
        workloadOf({ name: 'cali0', tiers: [tierOf({ name: 'default', ingressPolicies: [id('p')] })] }),
      ],
    });
  const compiler = createPolicyCompiler();
  const taken = new Set<number>();
  // Every set gets a bit of its own as long as the target may hold rows of those before, however many there were.
  for (let i = 0; i < PAGE_ROOM; i++) {
    const model = one(`s:${i}`);
    compiler.compile(model, placed(model), 'transition');
    compiler.compile(model, placed(model));
    const bit = bitsByName(compiler).get(`set s:${i}`)!;
    expect(taken).not.toContain(bit);
    taken.add(bit);
  }
  compiler.settle();
  const model = one('s:last');
  compiler.compile(model, placed(model));
  expect(taken).toContain(bitsByName(compiler).get('set s:last'));
});

test('a full page with bits that may still be on the target is left alone: another page is opened, and closed again', () => {
  const pages = createPages();
  const labels = (from: number, count: number): ReadonlySet<number> =>
    new Set(Array.from({ length: count }, (_, i) => from + i));
  const compile = (from: number): number | undefined => {
    const page = pages.place(17, labels(from, PAGE_ROOM));
    pages.end(false);
    return page;
  };
  expect(compile(1000)).toBe(1);
  expect(compile(2000)).toBe(2);
  expect([...pages.pages.keys()]).toEqual([1, 2]);
  pages.settle();
  expect(compile(3000)).toBe(1);
  expect([...pages.pages.keys()]).toEqual([1]);
});

test('a program goes to the page that has most of its labels, of those that have room', () => {
  const pages = createPages();
  const labels = (first: number, count: number): ReadonlySet<number> =>
    new Set(Array.from({ length: count }, (_, i) => 100 + first + i));
  const first = pages.place(1, labels(0, 300))!;
  const second = pages.place(2, labels(300, 300))!;
  expect(second).not.toBe(first);
  expect(pages.place(3, labels(295, 20))).toBe(second);
  expect(pages.place(4, labels(285, 20))).toBe(first);
  // What it had has room: it stays.
  expect(pages.place(4, labels(299, 21))).toBe(first);
});

test('labels of ports that do not fit a page take another one, and come back after settling', () => {
  const intervals = createIntervals();
  const rows = createRowStore();
  const ports = createPortLabels('dport', rows);
  const set = (n: number): ReturnType<typeof intervals.of> =>
    intervals.of([{ first: 100 * n, last: 100 * n + 50 }]);
  const masks = Array.from({ length: 300 }, (_, n) => ports.take(6, [set(n)], n + 1));
  ports.update();
  expect(new Set(masks.map(({ page }) => page))).toEqual(new Set([0x6_0001, 0x6_0002]));
  for (const [n, mask] of masks.entries()) {
    const own = [...rows.rows.values()].filter((row) => row.match['page']!.value === BigInt(mask.page));
    const words = mask.words([0]);
    const asked = own.filter((row) => Object.keys(words).some((w) => (row.params[w]! & words[w]!) !== 0n));
    const ranges = asked.map(({ match: { port } }) => Number(port!.value));
    expect(Math.min(...ranges)).toBe(100 * n);
    expect(Math.max(...ranges)).toBeLessThanOrEqual(100 * n + 50);
  }
  for (const mask of masks) ports.release(mask);
  ports.update();
  expect(rows.rows.size).toBe(0);
  const page = (n: number): number => ports.take(6, [set(n)], n + 1).page;
  expect(page(600)).toBe(0x6_0002);
  ports.settle();
  expect(page(601)).toBe(0x6_0001);
});

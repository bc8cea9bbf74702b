/** A lab's file, through the frames of the contract and the real link, is the model that Felix would have given. */
import { Readable } from 'node:stream';
import { createFelixLink } from '../../../src/driver/felix/felix-link';
import { ipSetId, labModel, placePods } from '../../../src/lab/cluster';
import { encodeModel } from '../../../src/lab/felix-frames';
import { parseLabFile } from '../../../src/lab/lab-file';
import type { FelixModel } from '../../../src/model/model';

const FILE = parseLabFile(
  `
pods:
  - { name: web, labels: { app: web, tier: front } }
  - { name: db, labels: { app: db }, ips: [10.65.0.10] }
  - { name: client, labels: { app: client } }
policies:
  - name: last
    selector: all()
    ingress: [{ action: Deny }]
  - name: b
    order: 1
    selector: app == 'web' && tier == "front"
    ingress:
      - action: Allow
        protocol: TCP
        source: { selector: app == 'client', nets: [10.65.0.0/24] }
        destination: { ports: [80, "8000:8080"] }
    egress:
      - { action: Pass, protocol: UDP, destination: { selector: app == 'db', ports: [53] } }
  - name: a
    order: 1
    selector: app == 'db'
    types: [Egress]
`,
  'lab.yaml',
);
const PODS = placePods(FILE);

async function throughTheLink(model: FelixModel): Promise<{ forms: readonly string[]; model: FelixModel }> {
  const link = createFelixLink({ input: Readable.from([encodeModel(model)]), endsNormally: true });
  let inSync = false;
  for await (const batch of link) inSync = batch.inSync;
  expect(inSync).toBe(true);
  return { forms: link.formCandidates().map(({ name }) => name), model: link.model };
}

test('addresses are given in order, around those that the file names; every pod has a MAC of its own', () => {
  expect(PODS.map(({ ips }) => ips)).toEqual([
    ['10.65.0.11', 'fd00:65::11'],
    ['10.65.0.10'],
    ['10.65.0.12', 'fd00:65::12'],
  ]);
  expect(new Set(PODS.map(({ mac }) => mac)).size).toBe(PODS.length);
});

test('the driver reads it as it was meant', async () => {
  const meant = labModel(FILE, PODS);
  const { forms, model } = await throughTheLink(meant);
  expect(forms).toContain('v3.33');
  expect(model.inSync).toBe(true);
  expect([...model.workloads]).toEqual([...meant.workloads]);
  expect([...model.policies]).toEqual([...meant.policies]);
  expect([...model.profiles]).toEqual([...meant.profiles]);
  expect([...model.ipSets]).toEqual([...meant.ipSets]);
});

test('selectors are IP sets of the pods that they select', () => {
  const { ipSets, policies } = labModel(FILE, PODS);
  const [rule] = policies.get('GlobalNetworkPolicy//b')!.inboundRules;
  expect(rule).toMatchObject({
    action: 'allow',
    protocol: 'tcp',
    srcNets: ['10.65.0.0/24'],
    dstPorts: [
      { first: 80, last: 80 },
      { first: 8000, last: 8080 },
    ],
  });
  expect([...ipSets.get(rule!.srcIpSetIds[0]!)!.members]).toEqual(['10.65.0.12/32', 'fd00:65::12/128']);
  const [pass] = policies.get('GlobalNetworkPolicy//b')!.outboundRules;
  expect([...ipSets.get(pass!.dstIpSetIds[0]!)!.members]).toEqual(['10.65.0.10/32']);
  // Of recording 02-policy: original_src_selector staged-only == 'x'.
  expect(ipSetId({ 'staged-only': 'x' })).toBe('s:OqOZ2DbYLVzDiheWkEb-HMNKJDCDMJX7CljDkw');
});

test('policies are in order, and of the directions that they have', () => {
  const tiers = (pod: string): unknown =>
    [...labModel(FILE, PODS).workloads.values()]
      .find(({ id }) => id.workloadId === `lab/${pod}`)!
      .tiers.map((tier) => ({
        defaultAction: tier.defaultAction,
        ingress: tier.ingressPolicies.map(({ name }) => name),
        egress: tier.egressPolicies.map(({ name }) => name),
      }));
  expect(tiers('web')).toEqual([{ defaultAction: 'Deny', ingress: ['b', 'last'], egress: ['b'] }]);
  expect(tiers('db')).toEqual([{ defaultAction: 'Deny', ingress: ['last'], egress: ['a'] }]);
  expect(tiers('client')).toEqual([{ defaultAction: 'Deny', ingress: ['last'], egress: [] }]);
  const free = parseLabFile('pods: [{ name: web }]', 'lab.yaml');
  expect([...labModel(free, placePods(free)).workloads.values()][0]!.tiers).toEqual([]);
});

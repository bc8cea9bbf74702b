/**
 * What is shut, and for how long, when the target has no MODIFY (docs/guarantees.md, "Targets without MODIFY"), next to what is
 * on one that has it. The numbers are the document's: a change here is a change there.
 */
import type { FelixModel, Rule } from '../../src/model/model';
import { modelOf, policyOf, ruleOf, tierOf, workloadOf } from '../support/models';
import { startEmbeddedNode, TARGET_KINDS, type EmbeddedNode } from './support/embedded-node';
import { gateWatch, type GateReport, type GateWatch } from './support/gate-watch';

interface Cluster {
  readonly pods: number;
  readonly members: readonly string[];
  readonly nets: readonly string[];
  readonly shopRules: readonly Rule[];
}

const ports = (first: number, last = first): Partial<Rule> => ({
  protocol: 'tcp',
  dstPorts: [{ first, last }],
});
const fromSet = (fields: Partial<Rule> = {}): Rule =>
  ruleOf({ action: 'allow', srcIpSetIds: ['friends'], ...fields });

const BASE: Cluster = {
  pods: 4,
  members: ['10.65.9.1', '10.65.9.2'],
  nets: ['172.16.0.0/16'],
  shopRules: [fromSet(ports(80)), ruleOf({ action: 'allow', srcIpSetIds: ['offices'] })],
};

/** Pods 0 and 1 have the policy "shop", the others "other"; both know the sets. */
function cluster({ pods, members, nets, shopRules }: Cluster): FelixModel {
  const shop = policyOf({
    id: { kind: 'NetworkPolicy', namespace: 'shop', name: 'shop' },
    inboundRules: shopRules,
  });
  const other = policyOf({
    id: { kind: 'NetworkPolicy', namespace: 'shop', name: 'other' },
    inboundRules: [fromSet(ports(443)), fromSet(ports(8000, 8100))],
  });
  return modelOf({
    ipSets: [
      { id: 'friends', type: 'IP', members: new Set(members) },
      { id: 'offices', type: 'NET', members: new Set(nets) },
      { id: 'blocked', type: 'NET', members: new Set(['172.17.0.0/16']) },
    ],
    policies: [shop, other],
    workloads: Array.from({ length: pods }, (_, i) =>
      workloadOf({
        name: `cali-${i}`,
        ipv4Nets: [`10.65.0.${i + 1}/32`],
        tiers: [tierOf({ name: 'default', ingressPolicies: [i < 2 ? shop.id : other.id] })],
      }),
    ),
  });
}

describe.each(TARGET_KINDS)('on a target of kind %s', (kind) => {
  let embedded: EmbeddedNode;
  let watch: GateWatch;

  beforeEach(async () => {
    watch = gateWatch();
    embedded = await startEmbeddedNode({
      kind,
      onWrite: (op) => {
        watch.onWrite(op);
      },
    });
  });
  afterEach(async () => {
    await embedded.stop();
  });

  async function change(
    to: Partial<Cluster>,
    from: Cluster = BASE,
  ): Promise<GateReport & { because: string }> {
    await embedded.node.program(cluster(from));
    watch.report();
    const { applied } = await embedded.node.program(cluster({ ...from, ...to }));
    expect(applied.failed.size).toBe(0);
    return { ...watch.report(), because: applied.closedBecause };
  }

  const GATES = 8;
  const noModify = kind === 'p4-dpdk';
  /** How many gates are shut at most, and for how many writes; first with MODIFY, then without. */
  type Shut = readonly [gates: number, writes: number];
  const OPEN: Shut = [0, 0];

  test.each<[string, Partial<Cluster>, Shut, Shut]>([
    ['nothing', {}, OPEN, OPEN],
    ['a new member of a set', { members: [...BASE.members, '10.65.9.3'] }, OPEN, OPEN],
    ['a member less', { members: ['10.65.9.1'] }, OPEN, OPEN],
    ['no member any more', { members: [] }, OPEN, OPEN],
    ['a pod becomes a member', { members: [...BASE.members, '10.65.0.1'] }, OPEN, OPEN],
    ['a new CIDR', { nets: [...BASE.nets, '172.18.0.0/16'] }, OPEN, OPEN],
    ['a new pod', { pods: 5 }, OPEN, OPEN],
    ['a pod less', { pods: 3 }, OPEN, OPEN],
    // The gates of the pods that have the policy are flipped: DELETE, INSERT.
    [
      'another action of a rule',
      { shopRules: [{ ...BASE.shopRules[0]!, action: 'deny' }, BASE.shopRules[1]!] },
      OPEN,
      [2, 3],
    ],
    ['a rule with known ports', { shopRules: [...BASE.shopRules, fromSet(ports(443))] }, OPEN, [2, 3]],
    // A single port is a key of the new nodes only, and a range a label that only they ask for.
    ['a rule with a new port', { shopRules: [...BASE.shopRules, fromSet(ports(22))] }, OPEN, [2, 3]],
    [
      'a rule with a new range of ports',
      { shopRules: [...BASE.shopRules, fromSet(ports(8050, 8200))] },
      OPEN,
      [GATES, 47],
    ],
    // The labels of two addresses change under cover of addr_labels_prefix.
    ['members get a CIDR around them', { nets: [...BASE.nets, '10.65.9.0/24'] }, OPEN, OPEN],
    // The labels of a CIDR change, and nothing can cover that: every gate of the node.
    [
      'a rule names the CIDR of a set',
      { shopRules: [...BASE.shopRules, ruleOf({ action: 'deny', srcNets: ['172.16.0.0/16'] })] },
      OPEN,
      [GATES, 23],
    ],
  ])('%s', async (_, to, withModify, without) => {
    const [gates, writes] = noModify ? without : withModify;
    const { shut, shutFor, because } = await change(to);
    expect(shut).toBeLessThanOrEqual(gates);
    expect(shutFor).toBeLessThanOrEqual(writes);
    if (because !== '') expect(gates).toBe(GATES);
  });
});

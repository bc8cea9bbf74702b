/**
 * A small cluster as its datastore has it, and what of it is of concern to one node: the part of Calico that decides which messages Felix
 * sends. A policy is active when an endpoint of the node has it, an IP set when an active rule names it.
 */
import fc from 'fast-check';
import type {
  IpSet,
  Policy,
  PolicyId,
  Profile,
  Rule,
  TierInfo,
  WorkloadEndpoint,
} from '../../src/model/model';
import { policyKey, workloadKey } from '../../src/model/model';
import { arbitraryRule, INTERFACES } from './arbitraries';
import { NODE_NAME, policyOf, ruleOf, tierOf, workloadOf } from './models';

/** What Felix has to tell the driver, by the model's keys. */
export interface NodeView {
  readonly config: ReadonlyMap<string, string>;
  readonly ipSets: ReadonlyMap<string, IpSet>;
  readonly policies: ReadonlyMap<string, Policy>;
  readonly profiles: ReadonlyMap<string, Profile>;
  readonly workloads: ReadonlyMap<string, WorkloadEndpoint>;
}

export const NO_VIEW: NodeView = {
  config: new Map(),
  ipSets: new Map(),
  policies: new Map(),
  profiles: new Map(),
  workloads: new Map(),
};

/** One change by a user or a controller. Numbers choose among what there is, so that any sequence has a meaning. */
export type Edit =
  | { readonly kind: 'config'; readonly config: Readonly<Record<string, string>> }
  | { readonly kind: 'members'; readonly set: string; readonly toggled: readonly string[] }
  | { readonly kind: 'policy'; readonly policy: number; readonly rules: Rules | undefined }
  | { readonly kind: 'profile'; readonly profile: string; readonly rules: Rules | undefined }
  | { readonly kind: 'tier'; readonly tier: string; readonly defaultAction: TierInfo['defaultAction'] }
  | { readonly kind: 'pod'; readonly pod: number; readonly spec: PodSpec | undefined };

interface Rules {
  readonly inboundRules: readonly Rule[];
  readonly outboundRules: readonly Rule[];
}

interface PodSpec {
  /** Bit n: the n-th policy selects the pod, for ingress and for egress. */
  readonly ingress: number;
  readonly egress: number;
  readonly profileIds: readonly string[];
  readonly state: string;
  /** Index of its addresses; most pods have their own. */
  readonly address: number;
  readonly allowSpoofedSourcePrefixes: readonly string[];
}

/** In their order. */
const TIERS = ['kube-admin', 'security', 'default'] as const;

/** With the tier that Calico gives each for its kind and name. */
const POLICIES: readonly { readonly id: PolicyId; readonly tier: (typeof TIERS)[number] }[] = [
  { tier: 'default', id: { kind: 'GlobalNetworkPolicy', namespace: '', name: 'gnp-a' } },
  { tier: 'default', id: { kind: 'KubernetesNetworkPolicy', namespace: 'shop', name: 'web' } },
  { tier: 'default', id: { kind: 'NetworkPolicy', namespace: 'shop', name: 'web' } },
  { tier: 'security', id: { kind: 'GlobalNetworkPolicy', namespace: '', name: 'security.gnp-b' } },
  { tier: 'security', id: { kind: 'NetworkPolicy', namespace: 'shop', name: 'security.np-c' } },
  { tier: 'default', id: { kind: 'StagedNetworkPolicy', namespace: 'shop', name: 'snp-d' } },
  { tier: 'security', id: { kind: 'StagedGlobalNetworkPolicy', namespace: '', name: 'security.sgnp-e' } },
  { tier: 'kube-admin', id: { kind: 'KubernetesClusterNetworkPolicy', namespace: '', name: 'cnp-f' } },
];
const PROFILES = ['kns.shop', 'ksa.shop.default'];
const NET_SETS = ['s:nets-a', 's:nets-b', 's:ips'];
const PORT_SETS = ['n:ports-a', 'n:ports-b'];

/** Felix always writes the prefix length, and a catch-all as two halves. */
const NETS = [
  ...['10.0.0.1/32', '10.0.0.2/32', '10.0.0.3/32', '10.0.0.2/31', '10.0.0.0/30', '10.0.1.1/32', '10.0.0.0/8'],
  ...['203.0.113.7/32', '203.0.113.0/24', '0.0.0.0/1', '128.0.0.0/1', '172.16.5.9/32'],
  ...['fd00::1/128', 'fd00::2/128', 'fd00::/126', 'fd00:1::1/128', '2001:db8::7/128', '::/1', '8000::/1'],
];
const PORT_MEMBERS = ['10.0.0.1', '10.0.0.2', '10.0.0.3', '10.0.1.1', 'fd00::1', 'fd00::2'].flatMap((ip) =>
  ['tcp:80', 'tcp:443', 'udp:53', 'sctp:80'].map((port) => `${ip},${port}`),
);

const DENY_ALL: Rules = {
  inboundRules: [ruleOf({ action: 'deny' })],
  outboundRules: [ruleOf({ action: 'deny' })],
};

/** The datastore. `said`: which policies the release has. */
export interface Cluster {
  change(edit: Edit): void;
  /** What Felix has to say now. */
  view(): NodeView;
}

export function createCluster(said: (policy: Pick<Policy, 'id' | 'tier'>) => boolean): Cluster {
  let config: Readonly<Record<string, string>> = {};
  const members = new Map<string, Set<string>>();
  const policies = new Map<number, Policy>();
  const profiles = new Map<string, Rules>();
  const endings = new Map<string, TierInfo['defaultAction']>();
  const pods = new Map<number, PodSpec>();

  const listed = (mask: number, tier: string): PolicyId[] =>
    POLICIES.flatMap(({ id, tier: of }, i) =>
      (mask >> i) & 1 && of === tier && policies.has(i) ? [id] : [],
    );

  const workload = (pod: number, spec: PodSpec): WorkloadEndpoint => {
    const name = INTERFACES[pod]!;
    return workloadOf({
      name,
      id: { orchestratorId: 'k8s', workloadId: `shop/${name}`, endpointId: 'eth0' },
      state: spec.state,
      profileIds: spec.profileIds,
      ipv4Nets: [`10.0.0.${spec.address}/32`],
      ipv6Nets: [`fd00::${spec.address}/128`],
      allowSpoofedSourcePrefixes: spec.allowSpoofedSourcePrefixes,
      tiers: TIERS.map((tier) =>
        tierOf({
          name: tier,
          ingressPolicies: listed(spec.ingress, tier),
          egressPolicies: listed(spec.egress, tier),
          defaultAction: endings.get(tier) ?? 'Deny',
        }),
      ).filter(({ ingressPolicies, egressPolicies }) => ingressPolicies.length + egressPolicies.length > 0),
    });
  };

  return {
    change(edit) {
      switch (edit.kind) {
        case 'config':
          config = edit.config;
          break;
        case 'members': {
          const set = members.get(edit.set) ?? new Set<string>();
          members.set(edit.set, set);
          for (const member of edit.toggled) if (!set.delete(member)) set.add(member);
          break;
        }
        case 'policy': {
          const { id, tier } = POLICIES[edit.policy]!;
          if (edit.rules === undefined) policies.delete(edit.policy);
          else if (said({ id, tier })) policies.set(edit.policy, policyOf({ id, tier, ...edit.rules }));
          break;
        }
        case 'profile':
          if (edit.rules === undefined) profiles.delete(edit.profile);
          else profiles.set(edit.profile, edit.rules);
          break;
        case 'tier':
          endings.set(edit.tier, edit.defaultAction);
          break;
        case 'pod':
          if (edit.spec === undefined) pods.delete(edit.pod);
          else pods.set(edit.pod, edit.spec);
          break;
      }
    },
    view() {
      const workloads = [...pods].map(([pod, spec]) => workload(pod, spec));
      const keys = new Set(
        workloads
          .flatMap(({ tiers }) => tiers)
          .flatMap((tier) => [...tier.ingressPolicies, ...tier.egressPolicies].map(policyKey)),
      );
      const active = [...policies.values()].filter(({ id }) => keys.has(policyKey(id)));
      const named = [...new Set(workloads.flatMap(({ profileIds }) => profileIds))].map((name): Profile => ({
        name,
        // A profile that is not there comes as one that denies.
        ...(profiles.get(name) ?? DENY_ALL),
      }));
      const sets = new Set([...active, ...named].flatMap(rulesOf).flatMap(setsOf));
      return {
        config: new Map(Object.entries({ FelixHostname: NODE_NAME, ...config })),
        ipSets: new Map(
          [...sets].map((id): [string, IpSet] => [
            id,
            {
              id,
              type: PORT_SETS.includes(id) ? 'IP_AND_PORT' : 'NET',
              members: new Set(members.get(id)),
            },
          ]),
        ),
        policies: new Map(active.map((policy) => [policyKey(policy.id), policy])),
        profiles: new Map(named.map((profile) => [profile.name, profile])),
        workloads: new Map(workloads.map((one) => [workloadKey(one.id), one])),
      };
    },
  };
}

export function rulesOf({ inboundRules, outboundRules }: Rules): readonly Rule[] {
  return [...inboundRules, ...outboundRules];
}

export function setsOf(rule: Rule): readonly string[] {
  return [
    ...[rule.srcIpSetIds, rule.dstIpSetIds, rule.notSrcIpSetIds, rule.notDstIpSetIds],
    ...[rule.srcNamedPortIpSetIds, rule.dstNamedPortIpSetIds, rule.dstIpPortSetIds],
    ...[rule.notSrcNamedPortIpSetIds, rule.notDstNamedPortIpSetIds],
  ].flat();
}

/** Any combination of fields; every second rule asks for membership of a set, as most real ones do. */
const rule: fc.Arbitrary<Rule> = fc
  .tuple(
    arbitraryRule(),
    fc.oneof(
      { weight: 4, arbitrary: fc.constant<Partial<Rule>>({}) },
      { weight: 2, arbitrary: fc.constantFrom(...NET_SETS).map((id) => ({ srcIpSetIds: [id] })) },
      { weight: 1, arbitrary: fc.constantFrom(...NET_SETS).map((id) => ({ dstIpSetIds: [id] })) },
      { weight: 1, arbitrary: fc.constantFrom(...PORT_SETS).map((id) => ({ dstNamedPortIpSetIds: [id] })) },
    ),
  )
  .map(([any, sets]) => ({ ...any, ...sets }));

const someRules = fc.array(rule, { maxLength: 3 });
const rules: fc.Arbitrary<Rules> = fc.record({ inboundRules: someRules, outboundRules: someRules });

function mostly<T>(usual: fc.Arbitrary<T>, other: fc.Arbitrary<T>): fc.Arbitrary<T> {
  return fc.oneof({ weight: 5, arbitrary: usual }, { weight: 1, arbitrary: other });
}

function podEdit(pod: number): fc.Arbitrary<Edit> {
  return fc
    .record({
      ingress: fc.nat(255),
      egress: fc.nat(255),
      profileIds: fc.subarray(PROFILES),
      state: mostly(fc.constant('active'), fc.constant('inactive')),
      address: mostly(fc.constant(pod + 1), fc.integer({ min: 1, max: 4 })),
      allowSpoofedSourcePrefixes: mostly(
        fc.constant<readonly string[]>([]),
        fc.constant<readonly string[]>(['203.0.113.0/24']),
      ),
    })
    .map((spec) => ({ kind: 'pod', pod, spec }));
}

function membersEdit(set: string): fc.Arbitrary<Edit> {
  const universe = PORT_SETS.includes(set) ? PORT_MEMBERS : NETS;
  return fc
    .uniqueArray(fc.constantFrom(...universe), { minLength: 1, maxLength: 4 })
    .map((toggled) => ({ kind: 'members', set, toggled }));
}

const policyEdit: fc.Arbitrary<Edit> = fc
  .record({ policy: fc.nat(POLICIES.length - 1), rules })
  .map((fields) => ({ kind: 'policy', ...fields }));

export const arbitraryEdit: fc.Arbitrary<Edit> = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(...NET_SETS, ...PORT_SETS).chain(membersEdit) },
  { weight: 4, arbitrary: policyEdit },
  { weight: 3, arbitrary: fc.nat(INTERFACES.length - 1).chain(podEdit) },
  {
    weight: 1,
    arbitrary: fc
      .record({ policy: fc.nat(POLICIES.length - 1) })
      .map((fields): Edit => ({ kind: 'policy', ...fields, rules: undefined })),
  },
  {
    weight: 1,
    arbitrary: fc
      .record({ profile: fc.constantFrom(...PROFILES), rules: fc.option(rules, { nil: undefined }) })
      .map((fields): Edit => ({ kind: 'profile', ...fields })),
  },
  {
    weight: 2,
    arbitrary: fc.nat(INTERFACES.length - 1).map((pod): Edit => ({ kind: 'pod', pod, spec: undefined })),
  },
  {
    weight: 1,
    arbitrary: fc
      .record({
        tier: fc.constantFrom(...TIERS),
        defaultAction: fc.constantFrom<TierInfo['defaultAction']>('Deny', 'Pass'),
      })
      .map((fields): Edit => ({ kind: 'tier', ...fields })),
  },
  {
    weight: 1,
    arbitrary: fc
      .subarray<readonly [string, string]>([
        ['DefaultEndpointToHostAction', 'Accept'],
        ['WorkloadSourceSpoofing', 'Any'],
        ['AllowVXLANPacketsFromWorkloads', 'true'],
      ])
      .map((entries): Edit => ({ kind: 'config', config: Object.fromEntries(entries) })),
  },
);

/** A cluster in use: two or three pods, most policies and sets filled. */
export const arbitraryStart: fc.Arbitrary<readonly Edit[]> = fc
  .tuple(
    fc.tuple(...[...NET_SETS, ...PORT_SETS].map(membersEdit)),
    fc.array(policyEdit, { minLength: 4, maxLength: 8 }),
    fc.tuple(
      ...PROFILES.map((profile) => rules.map((made): Edit => ({ kind: 'profile', profile, rules: made }))),
    ),
    fc.subarray(
      INTERFACES.map((_, pod) => pod),
      { minLength: 1 },
    ),
    fc.tuple(...INTERFACES.map((_, pod) => podEdit(pod))),
  )
  .map(([sets, policies, profiles, running, pods]) => [
    ...sets,
    ...policies,
    ...profiles,
    ...pods.filter((_, pod) => running.includes(pod)),
  ]);

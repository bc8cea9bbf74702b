import type {
  FelixModel,
  WorkloadEndpoint,
  Policy,
  PolicyId,
  Rule,
  TierInfo,
} from '../../../../src/model/model';
import { isStaged, policyKey } from '../../../../src/model/model';
import type { FormName } from './recordings';

/** What a form has no means to say. Cluster policies came with 3.32, staged policies with 3.30, tiers with 3.29. */
export function lacks(form: FormName): (policy: Pick<Policy, 'id' | 'tier'>) => boolean {
  const cluster = form < 'v3.32';
  const staged = form < 'v3.30';
  const tiers = form < 'v3.29';
  return ({ id, tier }) =>
    (cluster && id.kind === 'KubernetesClusterNetworkPolicy') ||
    (staged && isStaged(id)) ||
    (tiers && tier !== 'default');
}

/** The model without some policies, the tiers that have none left, and the IP sets that nothing asks for any more. */
export function without(model: FelixModel, drop: (policy: Policy) => boolean): FelixModel {
  const policies = new Map([...model.policies].filter(([, policy]) => !drop(policy)));
  const kept = (ids: readonly PolicyId[]) => ids.filter((id) => policies.has(policyKey(id)));
  const tiers = (list: readonly TierInfo[]) =>
    list
      .map((tier) => ({
        ...tier,
        ingressPolicies: kept(tier.ingressPolicies),
        egressPolicies: kept(tier.egressPolicies),
      }))
      .filter((tier) => tier.ingressPolicies.length + tier.egressPolicies.length > 0);
  const used = new Set(
    [...policies.values(), ...model.profiles.values()]
      .flatMap((p) => [...p.inboundRules, ...p.outboundRules])
      .flatMap(setsOf),
  );
  return {
    ...model,
    policies,
    ipSets: new Map([...model.ipSets].filter(([id]) => used.has(id))),
    workloads: new Map([...model.workloads].map(([key, w]) => [key, { ...w, tiers: tiers(w.tiers) }])),
    hostEndpoints: new Map(
      [...model.hostEndpoints].map(([key, h]) => [
        key,
        {
          ...h,
          tiers: tiers(h.tiers),
          untrackedTiers: tiers(h.untrackedTiers),
          preDnatTiers: tiers(h.preDnatTiers),
          forwardTiers: tiers(h.forwardTiers),
        },
      ]),
    ),
  };
}

/** The IP sets that a rule asks for. */
export function setsOf(rule: Rule): string[] {
  return [
    ...rule.srcIpSetIds,
    ...rule.dstIpSetIds,
    ...rule.notSrcIpSetIds,
    ...rule.notDstIpSetIds,
    ...rule.srcNamedPortIpSetIds,
    ...rule.dstNamedPortIpSetIds,
    ...rule.notSrcNamedPortIpSetIds,
    ...rule.notDstNamedPortIpSetIds,
    ...rule.dstIpPortSetIds,
  ];
}

type Changeable = { -readonly [K in keyof WorkloadEndpoint]: WorkloadEndpoint[K] };

/** As releases before 3.30 have it: endpoints without limits and DSCP. */
export function withoutQos(model: FelixModel): FelixModel {
  const workloads = new Map<string, Changeable>(
    [...model.workloads].map(([key, workload]) => [key, { ...workload }]),
  );
  for (const workload of workloads.values()) {
    delete workload.qos;
    delete workload.dscps;
  }
  return { ...model, workloads };
}

import type { FelixModel, Policy, PolicyId, Rule, TierInfo } from '../../../../src/model/model';
import { isStaged, policyKey } from '../../../../src/model/model';
import type { Release } from './recordings';

/** What a release has no means to say. Staged policies came with 3.30, tiers with 3.29. */
export function lacks(release: Release): (policy: Policy) => boolean {
  const tiers = release === '3.26.5';
  const staged = tiers || release === '3.29.7';
  return (policy) => (staged && isStaged(policy.id)) || (tiers && policy.tier !== 'default');
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

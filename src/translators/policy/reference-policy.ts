/**
 * The verdict of one workload endpoint in one direction, rule by rule in Felix's order. See reference.ts.
 *
 * Authority: felix/rules/endpoints.go (endpointIptablesChain); for a pass in a profile, felix/bpf/polprog.
 */
import type { FelixModel, PolicyId, Rule, TierInfo, WorkloadEndpoint } from '../../model/model';
import { isStaged, policyKey } from '../../model/model';
import { felixConfiguration, type FelixConfiguration } from '../felix-configuration';
import type { PacketTuple } from './reference-match';
import { isDeny, packetFamily, ruleMatches } from './reference-match';

export type Direction = 'ingress' | 'egress';

/** One rule of one policy. Profiles have kind `Profile` and no tier or namespace. `rule` counts from 0, as sent. */
export interface RuleRef {
  readonly tier: string;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly rule: number;
}

/** What settled a verdict: a rule, or why there was none. */
export type Decision =
  | { readonly kind: 'rule'; readonly rule: RuleRef }
  | { readonly kind: 'admin-down' }
  | { readonly kind: 'encap-from-workload'; readonly encap: 'vxlan' | 'ipip' }
  | { readonly kind: 'end-of-tier'; readonly tier: string }
  | { readonly kind: 'missing-policy'; readonly tier: string; readonly policy: PolicyId }
  | { readonly kind: 'missing-profile'; readonly profile: string }
  | { readonly kind: 'no-profile-match' };

export interface Evaluation {
  readonly verdict: 'allow' | 'deny';
  readonly decidedBy: Decision;
  /** Every rule that the packet hit on its way, in order: logs, passes, and the deciding one. */
  readonly hits: readonly RuleRef[];
}

/** What the policy of `workload` says of `packet`, were it the first of its connection. Throws POLICY_INVALID for nonsense in the model. */
export function evaluate(
  model: FelixModel,
  workload: WorkloadEndpoint,
  direction: Direction,
  packet: PacketTuple,
): Evaluation {
  packetFamily(packet);
  const hits: RuleRef[] = [];
  const deny = (decidedBy: Decision): Evaluation => ({ verdict: 'deny', decidedBy, hits });

  if (workload.state !== 'active') return deny({ kind: 'admin-down' });
  if (direction === 'egress') {
    const encap = forbiddenEncap(felixConfiguration(model.config), packet);
    if (encap !== undefined) return deny({ kind: 'encap-from-workload', encap });
  }

  for (const tier of workload.tiers) {
    const outcome = evaluateTier(model, tier, direction, packet, hits);
    if (outcome !== 'next-tier') return { ...outcome, hits };
  }

  for (const name of workload.profileIds) {
    const profile = model.profiles.get(name);
    if (profile === undefined) return deny({ kind: 'missing-profile', profile: name });
    const rules = direction === 'ingress' ? profile.inboundRules : profile.outboundRules;
    const at = { tier: '', kind: 'Profile', namespace: '', name };
    const end = walkRules(model, rules, at, packet, hits);
    if (end !== undefined) {
      // A profile can not pass: there is nothing behind the profiles to pass to.
      return {
        verdict: end.action === 'allow' ? 'allow' : 'deny',
        decidedBy: { kind: 'rule', rule: end.rule },
        hits,
      };
    }
  }
  return deny({ kind: 'no-profile-match' });
}

function evaluateTier(
  model: FelixModel,
  tier: TierInfo,
  direction: Direction,
  packet: PacketTuple,
  hits: RuleRef[],
): Pick<Evaluation, 'verdict' | 'decidedBy'> | 'next-tier' {
  const listed = direction === 'ingress' ? tier.ingressPolicies : tier.egressPolicies;
  const enforced = listed.filter((id) => !isStaged(id));
  // Without an enforced policy the tier's default action does not apply either.
  if (enforced.length === 0) return 'next-tier';

  for (const id of enforced) {
    const policy = model.policies.get(policyKey(id));
    if (policy === undefined) {
      return { verdict: 'deny', decidedBy: { kind: 'missing-policy', tier: tier.name, policy: id } };
    }
    const rules = direction === 'ingress' ? policy.inboundRules : policy.outboundRules;
    const at = { tier: tier.name, kind: id.kind, namespace: id.namespace, name: id.name };
    const end = walkRules(model, rules, at, packet, hits);
    if (end === undefined) continue;
    if (end.action === 'pass') return 'next-tier';
    return { verdict: end.action, decidedBy: { kind: 'rule', rule: end.rule } };
  }

  if (tier.defaultAction === 'Pass') return 'next-tier';
  return { verdict: 'deny', decidedBy: { kind: 'end-of-tier', tier: tier.name } };
}

/**
 * Walks rules until one ends the policy; undefined when none does. Notes every hit.
 * What can not be decided is decided so that less is allowed: a deny rule takes the condition as met, other rules do not match, and
 * where a pass rule may match it denies, since the rules behind it in its tier were not meant for the packet.
 */
function walkRules(
  model: FelixModel,
  rules: readonly Rule[],
  at: Omit<RuleRef, 'rule'>,
  packet: PacketTuple,
  hits: RuleRef[],
): { readonly action: 'allow' | 'deny' | 'pass'; readonly rule: RuleRef } | undefined {
  for (const [index, rule] of rules.entries()) {
    const action = rule.action.toLowerCase();
    const passes = action === 'pass' || action === 'next-tier';
    const matches = ruleMatches(model, rule, packet, isDeny(action));
    if (!matches && !(passes && ruleMatches(model, rule, packet, true))) continue;
    const ref = { ...at, rule: index };
    hits.push(ref);
    if (!matches) return { action: 'deny', rule: ref };
    if (action === 'log') continue;
    if (isDeny(action)) return { action: 'deny', rule: ref };
    return { action: action === '' || action === 'allow' ? 'allow' : 'pass', rule: ref };
  }
  return undefined;
}

/** Pods must not send what would be taken for the node's own tunnels, unless the configuration lets them. */
function forbiddenEncap(
  { encapFromWorkloads, vxlan }: FelixConfiguration,
  packet: PacketTuple,
): 'vxlan' | 'ipip' | undefined {
  if (packet.proto === 17 && packet.dport === vxlan.port && !encapFromWorkloads.vxlan) return 'vxlan';
  if (packet.proto === 4 && !encapFromWorkloads.ipip) return 'ipip';
  return undefined;
}

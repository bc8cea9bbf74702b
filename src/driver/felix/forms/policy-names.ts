import type { PolicyId } from '../../../model/model';

/** A policy as Felix names it, in the model's terms. */
export interface PolicyRef {
  readonly id: PolicyId;
  /** "" when the message does not say. */
  readonly tier: string;
  /** The name on the wire where it is compound: two different ones must never become one id. */
  readonly compoundName?: string;
}

/** A name that can not be understood. It is never guessed at: the wrong policy would be enforced. */
export class PolicyNameError extends Error {}

/** Kubernetes policies in Calico's clothes (libcalico-go/lib/names at v3.31): prefix, kind, tier. */
const KUBERNETES_PREFIXES = [
  {
    prefix: 'knp.default.',
    kind: 'KubernetesNetworkPolicy',
    tier: 'default',
    namespaced: true,
    staged: true,
  },
  {
    prefix: 'kanp.adminnetworkpolicy.',
    kind: 'KubernetesAdminNetworkPolicy',
    tier: 'adminnetworkpolicy',
    namespaced: false,
    staged: false,
  },
  {
    prefix: 'kbanp.baselineadminnetworkpolicy.',
    kind: 'KubernetesBaselineAdminNetworkPolicy',
    tier: 'baselineadminnetworkpolicy',
    namespaced: false,
    staged: false,
  },
] as const;

/** OpenStack security groups keep their whole name, in every release, and live in the default tier. */
const OPENSTACK_PREFIX = 'ossg.';
/** The tier of policies that name none, in every release. */
export const DEFAULT_TIER = 'default';
const STAGED_PREFIX = 'staged:';

/**
 * Reads a compound name, as releases up to 3.31 use it, into what 3.32 and later send for the same policy:
 *
 *     shop/knp.default.db-rules          KubernetesNetworkPolicy        shop   db-rules
 *     shop/default.np-db                 NetworkPolicy                  shop   np-db
 *     security.gnp-db                    GlobalNetworkPolicy                   security.gnp-db
 *     gnp-raw                            GlobalNetworkPolicy                   gnp-raw
 *     front/staged:knp.default.sknp-cli  StagedKubernetesNetworkPolicy  front  sknp-cli
 *
 * Calico's own API puts a tier in front of every stored name; a policy that was written past it may have none, and is in the
 * tier `default` then (libcalico-go/lib/names, TierFromPolicyName).
 * @throws PolicyNameError
 */
export function parseCompoundName(compoundName: string): PolicyRef {
  const fail = (why: string): PolicyNameError =>
    new PolicyNameError(`the policy name ${JSON.stringify(compoundName)} ${why}`);

  const parts = compoundName.split('/');
  if (parts.length > 2 || parts.includes('')) {
    throw fail('is not [namespace/]name');
  }
  const namespace = parts.length === 2 ? parts[0]! : '';
  let rest = parts.at(-1)!;
  const staged = rest.startsWith(STAGED_PREFIX);
  if (staged) {
    rest = rest.slice(STAGED_PREFIX.length);
  }
  const kindPrefix = staged ? 'Staged' : '';
  const ref = (kind: string, name: string, tier: string): PolicyRef => {
    if (name === '' || tier === '') {
      throw fail('has an empty part');
    }
    return { id: { kind: kindPrefix + kind, namespace, name }, tier, compoundName };
  };

  for (const k8s of KUBERNETES_PREFIXES) {
    if (rest.startsWith(k8s.prefix)) {
      if (k8s.namespaced !== (namespace !== '')) {
        throw fail(`should ${k8s.namespaced ? '' : 'not '}have a namespace`);
      }
      if (staged && !k8s.staged) {
        throw fail('is of a kind that can not be staged');
      }
      return ref(k8s.kind, rest.slice(k8s.prefix.length), k8s.tier);
    }
  }
  const calicoKind = namespace === '' ? 'GlobalNetworkPolicy' : 'NetworkPolicy';
  const dot = rest.indexOf('.');
  if (rest.startsWith(OPENSTACK_PREFIX) || dot < 0) {
    return ref(calicoKind, rest, DEFAULT_TIER);
  }
  if (dot === rest.length - 1) {
    throw fail('has an empty part');
  }
  const tier = rest.slice(0, dot);
  return ref(calicoKind, tier === DEFAULT_TIER ? rest.slice(dot + 1) : rest, tier);
}

/**
 * PolicyID as releases up to 3.28 send it: every policy is in the one tier, also one that somebody called `security.x`, which keeps
 * its whole name, as everywhere else. @throws PolicyNameError
 */
export function singleTierPolicyOfId(id: unknown): PolicyRef {
  const { tier, name } = id as { readonly tier: string; readonly name: string };
  if (tier !== DEFAULT_TIER) {
    throw new PolicyNameError(`the policy ${JSON.stringify(name)} is in the tier ${JSON.stringify(tier)}`);
  }
  return { ...parseCompoundName(name), tier };
}

/** PolicyID as releases 3.29 to 3.31 send it. @throws PolicyNameError */
export function compoundPolicyOfId(id: unknown): PolicyRef {
  const { tier, name } = id as { readonly tier: string; readonly name: string };
  const ref = parseCompoundName(name);
  if (tier !== '' && tier !== ref.tier) {
    throw new PolicyNameError(
      `the policy name ${JSON.stringify(name)} does not fit its tier ${JSON.stringify(tier)}`,
    );
  }
  return ref;
}

/** PolicyID as releases from 3.32 send it. */
export function structuredPolicyOfId(id: unknown, tier: string | undefined): PolicyRef {
  const { kind, namespace, name } = id as PolicyId;
  if (kind === '' || name === '') {
    throw new PolicyNameError(
      `the policy id ${JSON.stringify({ kind, namespace, name })} has no kind or no name`,
    );
  }
  return { id: { kind, namespace, name }, tier: tier ?? '' };
}

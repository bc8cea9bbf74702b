import type { PolicyId } from '../../model/model';

export type Direction = 'ingress' | 'egress';
export type Verdict = 'allow' | 'deny';
export type Action = 'allow' | 'deny' | 'log' | 'pass';

/** A rule of a policy or of a profile; `index` is 0-based in the list of its direction. */
export interface RuleRef {
  readonly kind: 'rule';
  readonly tier: string | null;
  readonly policy: PolicyId | null;
  readonly profile: string | null;
  readonly direction: Direction;
  readonly index: number;
  readonly action: Action;
}

/** What decided without being a rule. All of them deny. */
export type Reason =
  | { readonly kind: 'end-of-tier'; readonly tier: string; readonly direction: Direction }
  | { readonly kind: 'no-profile-match'; readonly direction: Direction }
  | { readonly kind: 'admin-down'; readonly direction: Direction }
  /** The program's diagram is larger than the bound (size-limits.ts). */
  | { readonly kind: 'too-complex'; readonly direction: Direction }
  | { readonly kind: 'encap-from-workload'; readonly encap: 'vxlan' | 'ipip'; readonly direction: Direction }
  | {
      readonly kind: 'missing-policy';
      readonly tier: string;
      readonly policy: PolicyId;
      readonly direction: Direction;
    }
  | { readonly kind: 'missing-profile'; readonly profile: string; readonly direction: Direction }
  /** Outcome 0: the target has no row for the packet. */
  | { readonly kind: 'miss' }
  /** More outcomes are in use than the target has counters: the verdict holds, the rules are not known. */
  | { readonly kind: 'overflow' };

export type Step = RuleRef | Reason;

/** What a leaf says: the rules that the packet hit on its way (logs, passes), the deciding one last. */
export interface Outcome {
  /** Index of the counter `outcomes`. */
  readonly id: number;
  readonly verdict: Verdict;
  readonly rules: readonly Step[];
}

/** Size of the counter `outcomes`. */
export const OUTCOME_LIMIT = 65_536;
export const OUTCOME_MISS: Outcome = { id: 0, verdict: 'deny', rules: [{ kind: 'miss' }] };
export const OUTCOME_OVERFLOW_DENY: Outcome = { id: 1, verdict: 'deny', rules: [{ kind: 'overflow' }] };
export const OUTCOME_OVERFLOW_ALLOW: Outcome = { id: 2, verdict: 'allow', rules: [{ kind: 'overflow' }] };
export const FIRST_OUTCOME = 3;

const LEAF_BIT = 0x8000_0000;
const ALLOW_BIT = 0x4000_0000;

/** The node id that stands for an outcome. */
export function leafId(outcome: Pick<Outcome, 'id' | 'verdict'>): number {
  return LEAF_BIT + (outcome.verdict === 'allow' ? ALLOW_BIT : 0) + outcome.id;
}

/** A step as people read it: `default/GlobalNetworkPolicy gnp-bad ingress rule 0 (deny)`. */
export function describeStep(step: Step): string {
  switch (step.kind) {
    case 'rule':
      return step.policy !== null
        ? `${step.tier ?? ''}/${policyText(step.policy)} ${step.direction} rule ${step.index} (${step.action})`
        : `profile ${step.profile ?? ''} ${step.direction} rule ${step.index} (${step.action})`;
    case 'end-of-tier':
      return `end of tier ${step.tier} ${step.direction} (deny)`;
    case 'no-profile-match':
      return `no profile matched ${step.direction} (deny)`;
    case 'admin-down':
      return `endpoint is not active ${step.direction} (deny)`;
    case 'too-complex':
      return `policy is too complex for the target ${step.direction} (deny)`;
    case 'encap-from-workload':
      return `${step.encap} packet from a workload (deny)`;
    case 'missing-policy':
      return `${step.tier}/${policyText(step.policy)} ${step.direction} is named but unknown (deny)`;
    case 'missing-profile':
      return `profile ${step.profile} ${step.direction} is named but unknown (deny)`;
    case 'miss':
      return 'no row on the target (deny)';
    case 'overflow':
      return 'more outcomes than counters';
  }
}

function policyText(id: PolicyId): string {
  return `${id.kind} ${id.namespace === '' ? '' : `${id.namespace}/`}${id.name}`;
}

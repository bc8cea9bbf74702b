import type { PolicyId } from '../../model/model';

export type Direction = 'ingress' | 'egress';
/** `unmatched`: nothing decided, the packet goes on. Only programs of the uplink end so. */
export type Verdict = 'allow' | 'deny' | 'unmatched';
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

/** What decided without being a rule. All of them deny, but those for which it is said. */
export type Reason =
  | { readonly kind: 'end-of-tier'; readonly tier: string; readonly direction: Direction }
  | { readonly kind: 'no-profile-match'; readonly direction: Direction }
  | { readonly kind: 'admin-down'; readonly direction: Direction }
  /** The program's diagram is larger than the bound (size-limits.ts). */
  | { readonly kind: 'too-complex'; readonly direction: Stage }
  | { readonly kind: 'encap-from-workload'; readonly encap: 'vxlan' | 'ipip'; readonly direction: Direction }
  | {
      readonly kind: 'missing-policy';
      readonly tier: string;
      readonly policy: PolicyId;
      readonly direction: Direction;
    }
  | { readonly kind: 'missing-profile'; readonly profile: string; readonly direction: Direction }
  /**
   * A failsafe port of the host (Felix's FailsafeInboundHostPorts, FailsafeOutboundHostPorts), as Felix writes it: `tcp:22`. `answers`: a
   * packet that answers one to that port. Its verdict is that of the outcome: allow or unmatched.
   */
  | {
      readonly kind: 'failsafe';
      readonly list: 'inbound' | 'outbound';
      readonly port: string;
      readonly answers: boolean;
    }
  /** Unmatched: no rule of the host endpoint decided. */
  | { readonly kind: 'nothing-matched'; readonly stage: HostStage }
  /** Unmatched: no host endpoint governs the uplink. */
  | { readonly kind: 'no-host-endpoint' }
  /** It is not known which host endpoint governs the uplink. */
  | { readonly kind: 'unknown-uplink' }
  /** Outcome 0: the target has no row for the packet. */
  | { readonly kind: 'miss' }
  /** More outcomes are in use than the target has counters: the verdict holds, the rules are not known. */
  | { readonly kind: 'overflow' };

export type Step = RuleRef | Reason;

/** Where policy of host endpoints is asked (docs/decisions/0008). */
export type HostStage =
  | 'untracked-in'
  | 'untracked-out'
  | 'pre-dnat'
  | 'host-in'
  | 'host-out'
  | 'forward-in'
  | 'forward-out'
  | 'forward-other'
  | TunnelStage;

/** Of packets out of tunnels to other nodes, and into them: only the host endpoint of all interfaces (`*`) has a say. */
export type TunnelStage =
  'tunnel-pre-dnat' | 'tunnel-host-in' | 'tunnel-host-out' | 'tunnel-forward-in' | 'tunnel-forward-out';

/**
 * Where a program is asked: of a workload endpoint, or of the uplink. `egress-to-host`: of pods' packets to the node, where policy of `*` for what
 * is forwarded has no say; without such policy there is none, and `egress` is asked, which denies no less.
 */
export type Stage = Direction | 'egress-to-host' | HostStage;

/** The key field `direction` of endpoint_root. */
export const STAGE_NUMBERS: Readonly<Record<Stage, number>> = {
  ingress: 1,
  egress: 2,
  'untracked-in': 3,
  'untracked-out': 4,
  'pre-dnat': 5,
  'host-in': 6,
  'host-out': 7,
  'forward-in': 8,
  'forward-out': 9,
  'forward-other': 10,
  'egress-to-host': 11,
  'tunnel-pre-dnat': 12,
  'tunnel-host-in': 13,
  'tunnel-host-out': 14,
  'tunnel-forward-in': 15,
  'tunnel-forward-out': 16,
};

const STAGES_BY_NUMBER = new Map(
  (Object.entries(STAGE_NUMBERS) as [Stage, number][]).map(([stage, number]) => [number, stage] as const),
);

/** Undefined for a number that is none of STAGE_NUMBERS. */
export function stageOf(number: number): Stage | undefined {
  return STAGES_BY_NUMBER.get(number);
}

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
export const OUTCOME_OVERFLOW_UNMATCHED: Outcome = {
  id: 3,
  verdict: 'unmatched',
  rules: [{ kind: 'overflow' }],
};
export const FIRST_OUTCOME = 4;

/** Node ids from here on are leaves. */
export const FIRST_LEAF = 0x8000_0000;
/** Where the leaves of each verdict begin; the low 29 bits are the outcome. */
const LEAVES: Readonly<Record<Verdict, number>> = {
  deny: FIRST_LEAF,
  unmatched: 0xa000_0000,
  allow: 0xc000_0000,
};
const OUTCOME_SPAN = 0x2000_0000;

/** The node id that stands for an outcome. */
export function leafId(outcome: Pick<Outcome, 'id' | 'verdict'>): number {
  return LEAVES[outcome.verdict] + outcome.id;
}

/** What a leaf's node id, at least FIRST_LEAF, says. */
export function readLeaf(node: number): Pick<Outcome, 'id' | 'verdict'> {
  const verdict = node >= LEAVES.allow ? 'allow' : node >= LEAVES.unmatched ? 'unmatched' : 'deny';
  return { id: node % OUTCOME_SPAN, verdict };
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
    case 'failsafe':
      return `${step.answers ? 'answers of ' : ''}failsafe port ${step.list} ${step.port}`;
    case 'nothing-matched':
      return `no rule matched ${step.stage} (goes on)`;
    case 'no-host-endpoint':
      return 'no host endpoint (goes on)';
    case 'unknown-uplink':
      return "a host endpoint may be the uplink's, whose interface is not configured (deny)";
    case 'miss':
      return 'no row on the target (deny)';
    case 'overflow':
      return 'more outcomes than counters';
  }
}

function policyText(id: PolicyId): string {
  return `${id.kind} ${id.namespace === '' ? '' : `${id.namespace}/`}${id.name}`;
}

/** Whether the driver does its work, as `/healthz` and `/readyz` say it. Pure: the facts come in, the answer goes out. */
import type { UnsupportedSetting } from '../translators/unsupported-settings';
import type { EndpointFailure } from './endpoint-failures';
import type { NotEnforced } from '../translators/limits';
import type { TargetState } from './target-session';

export type FailedEndpoint = Pick<EndpointFailure, 'workload' | 'policies' | 'reason'>;

/** What the last apply left undone. */
export interface ApplyFailures {
  readonly endpoints: readonly FailedEndpoint[];
  readonly ofTheNode: readonly string[];
  /** What endpoints do not get of what Felix asked for: limits and the like. */
  readonly notEnforced: readonly NotEnforced[];
  /** Endpoints that are all right. */
  readonly endpointsUp: number;
}

/** Times in milliseconds, of one clock. */
export interface HealthFacts {
  readonly now: number;
  readonly felixInSync: boolean;
  readonly target: TargetState;
  /** Of the target's present connection; undefined: nothing was applied on it yet. */
  readonly applied: ApplyFailures | undefined;
  /** Since when messages of Felix's, or a target that is back, wait for a write; undefined when nothing waits. */
  readonly waitingSince: number | undefined;
  /** What of the host's network is not as it should be. */
  readonly hostNetwork: readonly string[];
  /** What Felix is told and the dataplane does not do. */
  readonly unsupportedSettings: readonly UnsupportedSetting[];
}

export interface Health {
  readonly ok: boolean;
  /** Why not; empty when ok. */
  readonly reasons: readonly string[];
  /** Closed endpoints, which alone do not keep the node from being ready; the first 50. */
  readonly failedEndpoints: readonly FailedEndpoint[];
  /** As in ApplyFailures; the first 50. It keeps nobody from being ready. */
  readonly notEnforced: readonly NotEnforced[];
  /** Settings of Felix that matter and are not honoured; they do not keep the node from being ready. The first 50. */
  readonly unsupportedSettings: readonly UnsupportedSetting[];
}

/** Milliseconds: a write of a node that takes longer, with a target that is there, has got stuck. */
export const STUCK_AFTER = 300_000;
/** Endpoints, and settings, that an answer names. */
const SHOWN = 50;

/** Ready: in sync with Felix, primary on the target, and all of it written but for single endpoints, which are closed. */
export function readiness(facts: HealthFacts): Health {
  const { applied, felixInSync, target } = facts;
  const reasons: string[] = facts.hostNetwork.slice(0, SHOWN);
  if (!felixInSync) reasons.push('Felix has not said InSync yet');
  if (target.kind !== 'ready') reasons.push(targetWords(target));
  else if (felixInSync && applied === undefined) reasons.push('the target is being written');
  if (applied !== undefined) {
    reasons.push(...applied.ofTheNode.slice(0, SHOWN));
    if (applied.endpointsUp === 0 && applied.endpoints.length > 0)
      reasons.push('every endpoint is closed, because the target refused rows');
  }
  return answer(reasons, facts);
}

/** Healthy: nothing that a restart would cure. A target that is away is none of it; the driver waits for it. */
export function liveness(facts: HealthFacts): Health {
  const { now, target, waitingSince } = facts;
  const stuck = target.kind === 'ready' && waitingSince !== undefined && now - waitingSince > STUCK_AFTER;
  return answer(
    stuck ? [`a write of the target has taken ${Math.round((now - waitingSince) / 1000)} s`] : [],
    facts,
  );
}

function answer(reasons: readonly string[], { applied, unsupportedSettings }: HealthFacts): Health {
  return {
    ok: reasons.length === 0,
    reasons,
    failedEndpoints: (applied?.endpoints ?? []).slice(0, SHOWN),
    notEnforced: (applied?.notEnforced ?? []).slice(0, SHOWN),
    unsupportedSettings: unsupportedSettings.slice(0, SHOWN),
  };
}

function targetWords(state: Exclude<TargetState, { kind: 'ready' }>): string {
  switch (state.kind) {
    case 'connecting':
      return `the target is not connected${state.reason === '' ? '' : `: ${state.reason}`}`;
    case 'standby':
      return `another controller is primary on the target: ${state.reason}`;
    case 'failed':
      return state.error.message;
    case 'closed':
      return 'the driver is stopping';
  }
}

/**
 * What became of a packet, in Calico's words, from the engine's trace: the program leaves the reason in the counter
 * `reasons` and each policy's outcome in `outcomes` (docs/pipeline.md).
 */
import type { PacketResult } from '../p4switch/engine';
import { decapsulate, type Tunnel } from '../packet/tunnel';
import type { TargetNames } from '../driver/names';
import { stageOf, type HostStage, type Outcome, type Step } from '../translators/policy/outcomes';

export type Stage = 'egress' | 'ingress' | HostStage | 'source-check' | 'conntrack' | 'route';

/**
 * The deciding policy; "" where a part does not apply. Profiles have kind `Profile` and no tier. `rule` counts from 0 in the policy's
 * list; -1 with no name is the end of a tier, where no rule matched.
 */
export interface DecidingPolicy {
  readonly tier: string;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly rule: number;
}

export interface PacketVerdict {
  readonly verdict: 'allow' | 'deny';
  /** Name of the port it left by. */
  readonly out: string | null;
  readonly stage: Stage;
  readonly policy: DecidingPolicy | null;
  /** It left in this tunnel, to another node. */
  readonly tunnel?: Tunnel;
}

/** The program's REASON_* and PASSED_* constants (calico.p4), with the stage that each belongs to. */
const REASONS: ReadonlyMap<number, { readonly stage: Stage; readonly words: string }> = new Map([
  [
    1,
    {
      stage: 'route',
      words: 'not an IP packet that the pipeline understands (options, extension headers, lengths)',
    },
  ],
  [2, { stage: 'source-check', words: 'no endpoint has the port that it came in by' }],
  [3, { stage: 'source-check', words: 'the pod may not send from this source address' }],
  [4, { stage: 'route', words: 'nobody here has the destination address' }],
  [5, { stage: 'conntrack', words: 'not the first packet of a connection, and no connection is known' }],
  [6, { stage: 'conntrack', words: 'a later fragment whose first fragment was not let through' }],
  [7, { stage: 'egress', words: 'egress policy of the source' }],
  [8, { stage: 'ingress', words: 'ingress policy of the destination' }],
  [
    9,
    {
      stage: 'route',
      words: 'pods may not send to the host (DefaultEndpointToHostAction)',
    },
  ],
  [10, { stage: 'egress', words: 'the endpoint that it comes from is not active' }],
  [11, { stage: 'ingress', words: 'the endpoint that it goes to is not active' }],
  [12, { stage: 'route', words: 'the target has no labels for an address: it is not set up' }],
  [13, { stage: 'route', words: 'the frame is not addressed to the node' }],
  [
    14,
    {
      stage: 'route',
      words: 'ARP or neighbour discovery that is not answered (only questions about other addresses are)',
    },
  ],
  [
    15,
    {
      stage: 'route',
      words: 'it needs an ICMP error (time to live, size), and no stack is there to make it',
    },
  ],
  [17, { stage: 'conntrack', words: 'belongs to an established connection' }],
  [18, { stage: 'conntrack', words: 'an ICMP error about a known connection' }],
  [19, { stage: 'conntrack', words: 'a later fragment of a packet that was let through' }],
  [20, { stage: 'route', words: 'between the host and the uplink, where no host endpoint is' }],
  [21, { stage: 'route', words: 'its time to live is over: the host answers with an ICMP error' }],
  [22, { stage: 'route', words: 'larger than the way takes: the host answers with an ICMP error' }],
  [23, { stage: 'route', words: 'ARP or neighbour solicitation, answered' }],
  [24, { stage: 'route', words: 'policy of the host endpoint at the uplink' }],
  [25, { stage: 'route', words: 'untracked policy of the host endpoint allows it' }],
  [26, { stage: 'route', words: 'over a limit of the endpoint (packet rate or bandwidth)' }],
  [
    28,
    {
      stage: 'route',
      words:
        'a packet for a tunnel of the node that it does not take (from no known node, another VNI or inner address, or not of the shape)',
    },
  ],
  [
    27,
    {
      stage: 'conntrack',
      words: 'the same connection is known by another address of the pod, a floating IP or its own',
    },
  ],
]);
const PASSED_NEW = 16;
const PASSED_TTL = 21;
const PASSED_TOO_BIG = 22;
const PASSED_UNTRACKED = 25;
const REASON_HOST_POLICY = 24;
const REASON_LIMIT = 26;
const REASON_TRANSLATION = 27;
const REASON_TUNNEL = 28;
/** The reasons to drop that stand behind those to pass. */
const DROPPED: ReadonlySet<number> = new Set([
  REASON_HOST_POLICY,
  REASON_LIMIT,
  REASON_TRANSLATION,
  REASON_TUNNEL,
]);
/** Of these the stage and the policy are those of the last program that decided. */
const BY_POLICY: ReadonlySet<number> = new Set([7, 8, PASSED_NEW, REASON_HOST_POLICY, PASSED_UNTRACKED]);

/** The register arrays that p4c makes of the program's counters. */
const REASONS_COUNTER = /^reasons(_|$)/;
const OUTCOMES_COUNTER = /^outcomes(_|$)/;

export function packetVerdict(result: PacketResult, names: TargetNames): PacketVerdict {
  const { stage, outcome } = decision(result, names);
  const [sent] = result.out;
  return {
    verdict: sent === undefined ? 'deny' : 'allow',
    out: sent === undefined ? null : (names.ports.get(sent.port) ?? `port ${sent.port}`),
    stage,
    policy: outcome === undefined ? null : decidingPolicy(outcome),
    ...tunnelOf(result),
  };
}

/** The headers that the program put around the packet: not those of a tunnel that a pod has itself. */
function tunnelOf({ out, trace }: PacketResult): { readonly tunnel?: Tunnel } {
  const put = trace.some(
    (step) => step.kind === 'table' && step.table === 'next_hop' && /^to_(vxlan|ipip)/.test(step.action),
  );
  const [sent] = out;
  const toStack = [PASSED_TTL, PASSED_TOO_BIG].includes(lastCount({ out, trace }, REASONS_COUNTER) ?? 0);
  if (!put || sent === undefined || toStack) return {};
  const tunnel = decapsulate(sent.frame)?.tunnel;
  return tunnel === undefined ? {} : { tunnel };
}

/** Why, in words: for `trace`. */
export function reasonWords(result: PacketResult): string {
  const reason = lastCount(result, REASONS_COUNTER);
  if (reason === PASSED_NEW) return 'a new connection that policy allows';
  return REASONS.get(reason ?? -1)?.words ?? 'the pipeline gave no reason';
}

/** One line of the counter `reasons`. */
export function reasonName(reason: number): string {
  if (reason === PASSED_NEW) return 'passed: a new connection that policy allows';
  const words = REASONS.get(reason)?.words ?? `reason ${reason}`;
  const dropped = reason < PASSED_NEW || DROPPED.has(reason);
  return `${dropped ? 'dropped' : 'passed'}: ${words}`;
}

function decision(result: PacketResult, names: TargetNames): { stage: Stage; outcome?: Outcome | undefined } {
  const reason = lastCount(result, REASONS_COUNTER) ?? -1;
  return (
    (BY_POLICY.has(reason) ? lastDecided(result, names) : undefined) ?? {
      stage: REASONS.get(reason)?.stage ?? 'route',
    }
  );
}

/** The last program that did not leave the packet to others. */
function lastDecided(
  result: PacketResult,
  names: TargetNames,
): { readonly stage: Stage; readonly outcome: Outcome | undefined } | undefined {
  let stage: Stage = 'route';
  let decided: { readonly stage: Stage; readonly outcome: Outcome | undefined } | undefined;
  for (const step of result.trace) {
    if (step.kind === 'table' && step.table === 'endpoint_root') {
      const asked = stageOf(Number(step.keys[1])) ?? 'route';
      stage = asked === 'egress-to-host' ? 'egress' : asked;
    } else if (step.kind === 'counter' && OUTCOMES_COUNTER.test(step.name)) {
      const outcome = names.outcomes.get(step.index);
      if (outcome?.verdict !== 'unmatched') decided = { stage, outcome };
    }
  }
  return decided;
}

function lastCount(result: PacketResult, counter: RegExp): number | undefined {
  const step = result.trace.findLast(
    (candidate) => candidate.kind === 'counter' && counter.test(candidate.name),
  );
  return step?.kind === 'counter' ? step.index : undefined;
}

/** The last step of an outcome is the one that decided. */
function decidingPolicy(outcome: Outcome): DecidingPolicy | null {
  const step: Step | undefined = outcome.rules.at(-1);
  switch (step?.kind) {
    case 'rule':
      return step.policy === null
        ? { tier: '', kind: 'Profile', namespace: '', name: step.profile ?? '', rule: step.index }
        : { tier: step.tier ?? '', ...step.policy, rule: step.index };
    case 'end-of-tier':
      return { tier: step.tier, kind: '', namespace: '', name: '', rule: -1 };
    case 'missing-policy':
      return { tier: step.tier, ...step.policy, rule: -1 };
    default:
      return null;
  }
}

import type {
  FelixModel,
  HostEndpoint,
  Policy,
  Profile,
  Rule,
  TierInfo,
  WorkloadEndpoint,
} from '../../model/model';
import { isStaged, policyKey } from '../../model/model';
import { felixConfiguration } from '../felix-configuration';
import type { FailsafePort } from '../felix-values';
import { isEverywhere } from '../host-endpoints';
import type { AddressView, Forms } from './forms';
import type { Action, Direction, HostStage, Reason, RuleRef, Stage } from './outcomes';
import { PROTO_IPIP, PROTO_UDP } from './protocols';
import type { HitAction, SrcForm } from './rule-form';
import type { PortMatch, RuleContext, RuleMatch } from './rules';
import { readAction, readMatch, setsOf } from './rules';
import type { Turn } from './turns';

export interface ProgramRule {
  readonly form: SrcForm;
  readonly turn: Turn;
}

/** Whose programs there are. */
export type Subject =
  | {
      readonly kind: 'workload';
      readonly workload: WorkloadEndpoint;
      /** The host endpoint of all interfaces: it governs the pod's too, as to what is forwarded. */
      readonly everywhere: HostEndpoint | undefined;
    }
  | {
      readonly kind: 'uplink';
      readonly endpoint: HostEndpoint | 'none' | 'unknown';
      readonly everywhere: HostEndpoint | undefined;
    };

/** Where the subject's programs are asked. */
export function stagesOf(subject: Subject): readonly Stage[] {
  if (subject.kind === 'uplink') return UPLINK_STAGES;
  const forwards = subject.everywhere !== undefined && subject.everywhere.forwardTiers.length > 0;
  return forwards ? ['ingress', 'egress', 'egress-to-host'] : ['ingress', 'egress'];
}

export const UPLINK_STAGES: readonly HostStage[] = [
  'untracked-in',
  'untracked-out',
  'pre-dnat',
  'host-in',
  'host-out',
  'forward-in',
  'forward-out',
  'forward-other',
  'tunnel-pre-dnat',
  'tunnel-host-in',
  'tunnel-host-out',
  'tunnel-forward-in',
  'tunnel-forward-out',
];

/**
 * Linux judges a tunnel's packets at its interface (vxlan.calico, tunl0, wireguard.cali), which only the endpoint of all interfaces
 * governs: as if that were the uplink's.
 */
const AT_TUNNELS: Readonly<Partial<Record<HostStage, HostStage>>> = {
  'tunnel-pre-dnat': 'pre-dnat',
  'tunnel-host-in': 'host-in',
  'tunnel-host-out': 'host-out',
  'tunnel-forward-in': 'forward-in',
  'tunnel-forward-out': 'forward-out',
};

/**
 * The ordered rules of one subject at one stage, ended by a rule that matches everything: it denies, or at the uplink leaves the
 * packet unmatched where Felix lets the packet go on.
 *
 * Authority: felix/rules/endpoints.go (endpointIptablesChain). Where the dataplanes differ (a pass in a profile: the eBPF one
 * denies, iptables looks at the next profile) the one that allows less is taken.
 */
export interface Programs {
  /** Starts a compile. */
  begin(model: FelixModel, onProblem: (message: string) => void): void;
  /**
   * `own` are the addresses of a workload endpoint: the program is for packets that come from (egress) or go to (ingress) one of them. Empty:
   * for all packets.
   */
  of(subject: Subject, stage: Stage, own: readonly AddressView[]): readonly ProgramRule[];
  /** Labels and sets of ports were forgotten: rules are read again when they are asked for. */
  forget(): void;
  /** What stands in for a program that is too complex: it denies everything. */
  closed(stage: Stage): readonly ProgramRule[];
}

/** What an allow rule does: it ends the program, or what the host endpoint has to say in a pod's program. */
type Allowing = 'allow' | 'accept';

interface Compiled {
  /** What was wrong with the IP sets that the rules name, when they were compiled. */
  readonly setStates: string;
  readonly forms: readonly SrcForm[];
  readonly problems: readonly string[];
}

const EVERYTHING: RuleMatch = {
  src: null,
  dst: null,
  protocol: { is: null, not: null },
  srcPorts: null,
  dstPorts: null,
  icmp: null,
};

export function createPrograms(forms: Forms, context: Omit<RuleContext, 'onProblem'>): Programs {
  let compiled = new WeakMap<readonly Rule[], Map<string, Compiled>>();
  let model!: FelixModel;
  let onProblem: (message: string) => void = () => undefined;
  let seenThisTime = new Map<readonly Rule[], Map<string, Compiled>>();
  let encaps: readonly SrcForm[] = [];

  const deny = (reason: Reason, match: RuleMatch = EVERYTHING): SrcForm =>
    // EVERYTHING and the encapsulations always can match.
    forms.rule(match, forms.hit(reason, 'deny'))!;

  /** `where` is the rule without index and action; it is part of the cache's key with the list's identity. */
  const compile = (
    rules: readonly Rule[],
    where: Omit<RuleRef, 'index' | 'action'>,
    name: string,
    allowing: Allowing,
  ): readonly SrcForm[] => {
    const place = `${where.tier ?? ''}|${name}|${where.direction}|${allowing}`;
    const seen = seenThisTime.get(rules)?.get(place);
    if (seen !== undefined) {
      for (const problem of seen.problems) onProblem(problem);
      return seen.forms;
    }

    const setProblems = rules
      .flatMap((rule) => setsOf(rule))
      .flatMap(({ id, use }) => context.ipSets.problem(id, use) ?? []);
    const setStates = setProblems.join();
    let cache = compiled.get(rules);
    if (cache === undefined) {
      cache = new Map();
      compiled.set(rules, cache);
    }
    let found = cache.get(place);
    if (found?.setStates !== setStates) {
      const problems: string[] = [...setProblems];
      const list: SrcForm[] = [];
      rules.forEach((rule, index) => {
        const problem = (message: string): void => {
          problems.push(`${name} ${where.direction} rule ${index}: ${message}`);
        };
        const read = readAction(rule.action, problem);
        const doubt = { any: false };
        const onUndecided = (): void => {
          doubt.any = true;
        };
        const add = (match: RuleMatch | undefined, action: Action): void => {
          const form =
            match === undefined
              ? undefined
              : forms.rule(
                  match,
                  forms.hit({ ...where, index, action }, action === 'allow' ? allowing : action),
                );
          if (form !== undefined) list.push(form);
        };
        // There is nothing behind the profiles to pass to.
        const action = read === 'pass' && where.profile !== null ? 'deny' : read;
        add(readMatch(rule, read, { ...context, onProblem: problem, onUndecided }), action);
        // Whoever may have been meant to pass is kept from the rules behind.
        if (read === 'pass' && doubt.any) {
          add(readMatch(rule, 'deny', { ...context, onProblem: () => undefined }), 'deny');
        }
      });
      found = { setStates, forms: list, problems };
      cache.set(place, found);
    }
    for (const problem of found.problems) onProblem(problem);
    const seenOf = seenThisTime.get(rules);
    if (seenOf === undefined) seenThisTime.set(rules, new Map([[place, found]]));
    else seenOf.set(place, found);
    return found.forms;
  };

  const policyRules = (
    tier: string,
    policy: Policy,
    direction: Direction,
    allowing: Allowing,
  ): readonly SrcForm[] =>
    compile(
      direction === 'ingress' ? policy.inboundRules : policy.outboundRules,
      { kind: 'rule', tier, policy: policy.id, profile: null, direction },
      `policy ${policyKey(policy.id)}`,
      allowing,
    );

  const profileRules = (profile: Profile, direction: Direction): readonly SrcForm[] =>
    compile(
      direction === 'ingress' ? profile.inboundRules : profile.outboundRules,
      { kind: 'rule', tier: null, policy: null, profile: profile.name, direction },
      `profile ${profile.name}`,
      'allow',
    );

  /** `ends`: what no policy of a tier decides is denied there, unless the tier says Pass. */
  const tierRules = (
    tier: TierInfo,
    direction: Direction,
    ends: boolean,
    allowing: Allowing,
  ): readonly SrcForm[] => {
    const named = direction === 'ingress' ? tier.ingressPolicies : tier.egressPolicies;
    const enforced = named.filter((id) => !isStaged(id));
    if (enforced.length === 0) return [];
    const out: SrcForm[] = [];
    for (const id of enforced) {
      const policy = model.policies.get(policyKey(id));
      if (policy === undefined) {
        onProblem(
          `policy ${policyKey(id)} is named by an endpoint but unknown: its place in tier ${tier.name} denies`,
        );
        out.push(deny({ kind: 'missing-policy', tier: tier.name, policy: id, direction }));
      } else out.push(...policyRules(tier.name, policy, direction, allowing));
    }
    if (ends && tier.defaultAction !== 'Pass') {
      out.push(deny({ kind: 'end-of-tier', tier: tier.name, direction }));
    }
    return out;
  };

  const profilesOf = (names: readonly string[], direction: Direction): readonly (readonly SrcForm[])[] =>
    names.map((name) => {
      const profile = model.profiles.get(name);
      if (profile !== undefined) return profileRules(profile, direction);
      onProblem(`profile ${name} is named by an endpoint but unknown: it denies`);
      return [deny({ kind: 'missing-profile', profile: name, direction })];
    });

  /** `answers`: by the source port, of the other end too. */
  const failsafe = (
    list: 'inbound' | 'outbound',
    { protocol, port, net }: FailsafePort,
    answers: boolean,
    action: HitAction,
  ): SrcForm[] => {
    const { intervals, labels, prefixes } = context;
    const ports: PortMatch = {
      kind: 'asked',
      positive: { intervals: intervals.of([{ first: port, last: port }]), sets: [] },
      negative: null,
      everySet: [],
    };
    const prefix = net === undefined ? undefined : prefixes.parse(net.text);
    // An IPv6 form of IPv4 addresses: no packet has it.
    if (prefix === 'nowhere') return [];
    const address =
      net === undefined || prefix === undefined
        ? null
        : { allOf: [labels.nets([prefix], net.text)], noneOf: [] };
    const name = protocol === 6 ? 'tcp' : 'udp';
    const text = net === undefined ? `${name}:${port}` : `${name}:[${net.text}]:${port}`;
    // The network is that of the other side: where inbound packets come from, and outbound ones, or answers to inbound ones, go.
    const outwards = (list === 'outbound') !== answers;
    const form = forms.rule(
      {
        ...EVERYTHING,
        protocol: { is: protocol, not: null },
        src: outwards ? null : address,
        dst: outwards ? address : null,
        srcPorts: answers ? ports : null,
        dstPorts: answers ? null : ports,
      },
      forms.hit({ kind: 'failsafe', list, port: text, answers }, action),
    );
    return form === undefined ? [] : [form];
  };

  /** Felix's chains cali-failsafe-in and cali-failsafe-out; in the raw table, before connections are known, with the answers. */
  const failsafes = (direction: Direction, raw: boolean, action: HitAction): readonly SrcForm[] => {
    const { failsafeInbound: inbound, failsafeOutbound: outbound } = felixConfiguration(model.config);
    const [own, other] =
      direction === 'ingress' ? (['inbound', 'outbound'] as const) : (['outbound', 'inbound'] as const);
    const lists = { inbound, outbound };
    return [
      ...lists[own].flatMap((port) => failsafe(own, port, false, action)),
      ...(raw ? lists[other].flatMap((port) => failsafe(other, port, true, action)) : []),
    ];
  };

  /** One turn for each list. Who skips with `accept` goes on behind all of them, or where it is said. */
  const inTurns = (lists: readonly (readonly SrcForm[])[], first = 0): readonly ProgramRule[] =>
    lists.flatMap((list, i) =>
      list.map((form) => ({
        form,
        turn: { at: first + i, to: first + (form.hit.action === 'accept' ? lists.length : i + 1) },
      })),
    );

  /** Lists that are asked of whoever the rules before did not decide on. */
  const behind = (
    before: readonly ProgramRule[],
    lists: readonly (readonly SrcForm[])[],
  ): readonly ProgramRule[] => [
    ...before,
    ...inTurns(
      lists,
      before.reduce((end, { turn }) => Math.max(end, turn.to), 0),
    ),
  ];

  const unmatched = (reason: Reason): readonly SrcForm[] => [
    forms.rule(EVERYTHING, forms.hit(reason, 'unmatched'))!,
  ];

  const always = (list: readonly SrcForm[]): readonly ProgramRule[] => inTurns([list]);

  const tiersOf = (
    tiers: readonly TierInfo[],
    direction: Direction,
    ends: boolean,
    allowing: Allowing = 'allow',
  ): readonly (readonly SrcForm[])[] =>
    tiers.map((tier) => tierRules(tier, direction, ends, allowing)).filter(({ length }) => length > 0);

  /** Where no tier has a say, neither have failsafe ports. */
  const behindFailsafes = (
    direction: Direction,
    raw: boolean,
    tiers: readonly (readonly SrcForm[])[],
    stage: HostStage,
  ): readonly ProgramRule[] => {
    const end = unmatched({ kind: 'nothing-matched', stage });
    return tiers.length === 0
      ? always(end)
      : inTurns([failsafes(direction, raw, 'unmatched'), ...tiers, end]);
  };

  const hostRules = (endpoint: HostEndpoint, stage: HostStage): readonly ProgramRule[] => {
    const direction = stage.endsWith('-out') ? 'egress' : 'ingress';
    switch (stage) {
      case 'untracked-in':
      case 'untracked-out': {
        const tiers = isEverywhere(endpoint) ? [] : tiersOf(endpoint.untrackedTiers, direction, false);
        return behindFailsafes(direction, true, tiers, stage);
      }
      case 'pre-dnat':
        return behindFailsafes(direction, false, tiersOf(endpoint.preDnatTiers, direction, false), stage);
      case 'host-in':
      case 'host-out':
        return inTurns([
          failsafes(direction, false, 'allow'),
          ...tiersOf(endpoint.tiers, direction, true),
          ...profilesOf(endpoint.profileIds, direction),
          [deny({ kind: 'no-profile-match', direction })],
        ]);
      case 'forward-in':
      case 'forward-out':
        return inTurns([
          ...tiersOf(endpoint.forwardTiers, direction, true),
          unmatched({ kind: 'nothing-matched', stage }),
        ]);
      case 'forward-other':
        return behind(forwardedBy(endpoint, direction), [unmatched({ kind: 'nothing-matched', stage })]);
      case 'tunnel-pre-dnat':
      case 'tunnel-host-in':
      case 'tunnel-host-out':
      case 'tunnel-forward-in':
      case 'tunnel-forward-out':
        return hostRules(endpoint, AT_TUNNELS[stage]!);
    }
  };

  /**
   * What the endpoint of all interfaces says of packets that are forwarded from (ingress) or to (egress) an interface which is not the
   * uplink. Whoever it does not deny goes on behind it. Packets to the host (`toHost`) meet its preDNAT policy only.
   */
  const forwardedBy = (
    endpoint: HostEndpoint,
    direction: Direction,
    toHost = false,
  ): readonly ProgramRule[] => {
    const forward = toHost ? [] : tiersOf(endpoint.forwardTiers, direction, true, 'accept');
    const preDnat = direction === 'ingress' ? tiersOf(endpoint.preDnatTiers, direction, false, 'accept') : [];
    if (preDnat.length === 0) return inTurns(forward);
    const lists = [[], ...preDnat, ...forward];
    const toForward = { at: 0, to: 1 + preDnat.length };
    return [
      ...failsafes(direction, false, 'pass').map((form) => ({ form, turn: toForward })),
      ...inTurns(lists),
    ];
  };

  /** Pods must not send what the network would take for the nodes' own tunnels. */
  const encapRules = (): readonly SrcForm[] => {
    const { intervals } = context;
    const out: SrcForm[] = [];
    const { encapFromWorkloads, vxlan } = felixConfiguration(model.config);
    if (!encapFromWorkloads.vxlan) {
      const dstPorts: PortMatch = {
        kind: 'asked',
        positive: { intervals: intervals.of([{ first: vxlan.port, last: vxlan.port }]), sets: [] },
        negative: null,
        everySet: [],
      };
      out.push(
        deny(
          { kind: 'encap-from-workload', encap: 'vxlan', direction: 'egress' },
          { ...EVERYTHING, protocol: { is: PROTO_UDP, not: null }, dstPorts },
        ),
      );
    }
    if (!encapFromWorkloads.ipip) {
      out.push(
        deny(
          { kind: 'encap-from-workload', encap: 'ipip', direction: 'egress' },
          { ...EVERYTHING, protocol: { is: PROTO_IPIP, not: null } },
        ),
      );
    }
    return out;
  };

  return {
    begin(now, problem) {
      model = now;
      onProblem = problem;
      seenThisTime = new Map();
      encaps = encapRules();
    },
    forget() {
      compiled = new WeakMap();
    },
    closed: (stage) => always([deny({ kind: 'too-complex', direction: stage })]),
    of(subject, stage, own) {
      if (subject.kind === 'uplink') {
        const hostStage = stage as HostStage;
        const everywhere = hostStage === 'forward-other' || AT_TUNNELS[hostStage] !== undefined;
        const endpoint = everywhere ? (subject.everywhere ?? 'none') : subject.endpoint;
        if (endpoint === 'none') return always(unmatched({ kind: 'no-host-endpoint' }));
        if (endpoint === 'unknown') return always([deny({ kind: 'unknown-uplink' })]);
        return hostRules(endpoint, hostStage);
      }
      const direction = stage === 'ingress' ? 'ingress' : 'egress';
      const { workload, everywhere } = subject;
      if (workload.state !== 'active') return always([deny({ kind: 'admin-down', direction })]);
      // The packet comes in, or leaves, by an interface of the host: its direction there is the opposite.
      const before =
        everywhere === undefined
          ? []
          : forwardedBy(
              everywhere,
              direction === 'egress' ? 'ingress' : 'egress',
              stage === 'egress-to-host',
            );
      const rules = behind(before, [
        ...(direction === 'egress' ? [encaps] : []),
        ...tiersOf(workload.tiers, direction, true),
        ...profilesOf(workload.profileIds, direction),
        [deny({ kind: 'no-profile-match', direction })],
      ]);
      return rules.flatMap(({ form, turn }) => {
        const known = forms.assume(form, direction === 'egress' ? 'src' : 'dst', own);
        return known === undefined ? [] : { form: known, turn };
      });
    },
  };
}

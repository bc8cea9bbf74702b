import type { FelixModel, Policy, Profile, Rule, TierInfo, WorkloadEndpoint } from '../../model/model';
import { isStaged, policyKey } from '../../model/model';
import { felixConfiguration } from '../felix-configuration';
import type { AddressView, Forms } from './forms';
import type { Action, Direction, Reason, RuleRef } from './outcomes';
import { PROTO_IPIP, PROTO_UDP } from './protocols';
import type { SrcForm } from './rule-form';
import type { PortMatch, RuleContext, RuleMatch } from './rules';
import { readAction, readMatch, setsOf } from './rules';

export interface ProgramRule {
  readonly form: SrcForm;
  /** Rules of one tier have the same number, and stand together. */
  readonly tier: number;
}

/**
 * The ordered rules of one endpoint in one direction, ended by a rule that denies everything.
 *
 * Authority: felix/rules/endpoints.go (endpointIptablesChain). Where the dataplanes differ (a pass in a profile: the eBPF one
 * denies, iptables looks at the next profile) the one that allows less is taken.
 */
export interface Programs {
  /** Starts a compile. */
  begin(model: FelixModel, onProblem: (message: string) => void): void;
  /** `own` are the endpoint's addresses: the program is for packets that come from (egress) or go to (ingress) one of them. */
  of(workload: WorkloadEndpoint, direction: Direction, own: readonly AddressView[]): readonly ProgramRule[];
  /** Labels and sets of ports were forgotten: rules are read again when they are asked for. */
  forget(): void;
  /** What stands in for a program that is too complex: it denies everything. */
  closed(direction: Direction): readonly ProgramRule[];
}

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
  ): readonly SrcForm[] => {
    const place = `${where.tier ?? ''}|${name}|${where.direction}`;
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
              : forms.rule(match, forms.hit({ ...where, index, action }, action));
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

  const policyRules = (tier: string, policy: Policy, direction: Direction): readonly SrcForm[] =>
    compile(
      direction === 'ingress' ? policy.inboundRules : policy.outboundRules,
      { kind: 'rule', tier, policy: policy.id, profile: null, direction },
      `policy ${policyKey(policy.id)}`,
    );

  const profileRules = (profile: Profile, direction: Direction): readonly SrcForm[] =>
    compile(
      direction === 'ingress' ? profile.inboundRules : profile.outboundRules,
      { kind: 'rule', tier: null, policy: null, profile: profile.name, direction },
      `profile ${profile.name}`,
    );

  const tierRules = (tier: TierInfo, direction: Direction): readonly SrcForm[] => {
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
      } else out.push(...policyRules(tier.name, policy, direction));
    }
    if (tier.defaultAction !== 'Pass') out.push(deny({ kind: 'end-of-tier', tier: tier.name, direction }));
    return out;
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
    closed: (direction) => [{ form: deny({ kind: 'too-complex', direction }), tier: 0 }],
    of(workload, direction, own) {
      if (workload.state !== 'active') {
        return [{ form: deny({ kind: 'admin-down', direction }), tier: 0 }];
      }
      const out: ProgramRule[] = [];
      let tier = 0;
      const add = (list: readonly SrcForm[]): void => {
        for (const form of list) {
          const known = forms.assume(form, direction === 'egress' ? 'src' : 'dst', own);
          if (known !== undefined) out.push({ form: known, tier });
        }
        tier++;
      };
      if (direction === 'egress') add(encaps);
      for (const info of workload.tiers) add(tierRules(info, direction));
      for (const name of workload.profileIds) {
        const profile = model.profiles.get(name);
        if (profile === undefined) {
          onProblem(`profile ${name} is named by an endpoint but unknown: it denies`);
          add([deny({ kind: 'missing-profile', profile: name, direction })]);
        } else add(profileRules(profile, direction));
      }
      add([deny({ kind: 'no-profile-match', direction })]);
      return out;
    },
  };
}

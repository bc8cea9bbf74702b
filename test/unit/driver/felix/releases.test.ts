import { createFelixSession } from '../../../../src/driver/felix/felix-session';
import type { FelixModel, PolicyId, Rule, TierInfo } from '../../../../src/model/model';
import { isStaged, policyKey } from '../../../../src/model/model';
import { framesOf, recording } from './recordings';

/** Last frame of each step of the one scenario (release.md), for 3.30.7, 3.32.1 and 3.33.0-pre. */
const STEPS: readonly (readonly [string, number, number, number])[] = [
  ['start-of-day', 108, 93, 93],
  ['pod-add', 118, 103, 103],
  ['remote-pod-add', 119, 104, 104],
  ['pod-label', 124, 109, 109],
  ['remote-pod-label', 128, 113, 113],
  ['knp-edit', 131, 116, 116],
  ['gnp-edit', 139, 124, 124],
  ['gns-edit', 140, 125, 125],
  ['knp-delete', 146, 131, 131],
  ['gnp-delete', 149, 134, 134],
  ['ns-label', 151, 136, 136],
  ['pod-delete', 159, 144, 144],
  ['remote-pod-delete', 163, 148, 148],
  ['node-add', 178, 163, 160],
  ['node-delete', 188, 173, 168],
  ['hep-delete', 189, 174, 169],
  ['tier-policy-delete', 191, 176, 171],
  ['staged-delete', 193, 178, 173],
  ['gnp-bad-delete', 201, 186, 181],
];

/** The model as text-like data, without what the contract says differs: rule ids, the configuration, and the place of staged policies. */
function essence(model: FelixModel) {
  const rules = (list: readonly Rule[]) => list.map((rule) => ({ ...rule, ruleId: '' }));
  const enforced = (ids: readonly PolicyId[]) => ids.filter((id) => !isStaged(id)).map(policyKey);
  const staged = (ids: readonly PolicyId[]) => ids.filter(isStaged).map(policyKey).sort();
  const tiers = (list: readonly TierInfo[]) =>
    list.map((t) => ({
      ...t,
      ingressPolicies: enforced(t.ingressPolicies),
      egressPolicies: enforced(t.egressPolicies),
      staged: [staged(t.ingressPolicies), staged(t.egressPolicies)],
    }));
  const byKey = <T, U>(map: ReadonlyMap<string, T>, f: (value: T) => U) =>
    Object.fromEntries([...map].sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, value]) => [key, f(value)]));
  return {
    policies: byKey(model.policies, (p) => ({
      ...p,
      inboundRules: rules(p.inboundRules),
      outboundRules: rules(p.outboundRules),
    })),
    profiles: byKey(model.profiles, (p) => ({
      ...p,
      inboundRules: rules(p.inboundRules),
      outboundRules: rules(p.outboundRules),
    })),
    workloads: byKey(model.workloads, (w) => ({ ...w, tiers: tiers(w.tiers) })),
    hostEndpoints: byKey(model.hostEndpoints, (h) => ({
      ...h,
      tiers: tiers(h.tiers),
      untrackedTiers: tiers(h.untrackedTiers),
      preDnatTiers: tiers(h.preDnatTiers),
      forwardTiers: tiers(h.forwardTiers),
    })),
    ipSets: byKey(model.ipSets, (s) => ({ type: s.type, members: [...s.members].sort() })),
    hosts: byKey(model.hosts, (h) => h),
  };
}

/** The essence after each step. */
function essences(name: string, lastFrames: readonly number[]) {
  const session = createFelixSession();
  const frames = framesOf(recording(name));
  let at = 0;
  return lastFrames.map((last) => {
    for (; at <= last; at++) {
      session.push(frames[at]!);
    }
    return essence(session.model);
  });
}

describe('one scenario on three releases gives one model', () => {
  const newest = essences(
    'release-3.33.0-pre',
    STEPS.map((s) => s[3]),
  );
  const older = {
    '3.30.7': essences(
      'release-3.30.7',
      STEPS.map((s) => s[1]),
    ),
    '3.32.1': essences(
      'release-3.32.1',
      STEPS.map((s) => s[2]),
    ),
  };

  test.each(
    STEPS.flatMap(([step], i) =>
      (['3.30.7', '3.32.1'] as const).map((release) => [step, release, i] as const),
    ),
  )('after %s, %s says what 3.33 says', (_step, release, i) => {
    expect(older[release][i]).toEqual(newest[i]);
  });

  test('the scenario has every kind of name', () => {
    expect(Object.keys(newest[0]!.policies)).toEqual(
      expect.arrayContaining([
        'GlobalNetworkPolicy//gnp-bad',
        'GlobalNetworkPolicy//security.gnp-db',
        'KubernetesNetworkPolicy/shop/db-rules',
        'NetworkPolicy/shop/np-db',
        'StagedGlobalNetworkPolicy//sgnp-all',
        'StagedKubernetesNetworkPolicy/front/sknp-cli',
        'StagedNetworkPolicy/shop/snp-web',
      ]),
    );
  });
});

import { createFelixSession } from '../../../../src/driver/felix/felix-session';
import type { FelixModel, PolicyId, Route, Rule, TierInfo } from '../../../../src/model/model';
import { isStaged, policyKey, ROUTE_TYPE } from '../../../../src/model/model';
import type { Release } from './recordings';
import { framesOf, recording, RELEASES, STEPS } from './recordings';
import { snapshot } from './streams';
import { lacks, without, withoutQos } from './without';

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
    // Whether an address is borrowed is said from a late 3.29 on, and up to there a route has one type; 3.30 leaves tunnels at that.
    routes: byKey(model.routes, (r) => ({ ...r, borrowed: false, types: mainType(r) })),
    vteps: byKey(model.vteps, (v) => v),
    encapsulation: { ...model.encapsulation, noEncap: false },
    // allowedUses: from 3.31.6 on.
    pools: byKey(model.pools, (p) => ({ ...p, allowedUses: [] })),
  };
}

function mainType({ types, node }: Route): number {
  const { localTunnel, remoteTunnel, localWorkload, remoteWorkload } = ROUTE_TYPE;
  const tunnel = types & (localTunnel | remoteTunnel);
  if (tunnel !== 0) return tunnel;
  const both = localWorkload | remoteWorkload;
  if ((types & both) !== both) return types;
  return node === 'node-a' ? localWorkload : remoteWorkload;
}

/** The model after each step; undefined for a step that the release lacks. */
function models(release: Release): (FelixModel | undefined)[] {
  const session = createFelixSession();
  const frames = framesOf(recording(`release-${release}`));
  const index = RELEASES.findIndex(([name]) => name === release);
  let at = 0;
  return STEPS.map(([, last]) => {
    const until = last[index];
    if (until === undefined) {
      return undefined;
    }
    for (; at <= until; at++) {
      session.push(frames[at]!);
    }
    return snapshot(session.model);
  });
}

describe('one scenario on five releases gives one model', () => {
  const all = new Map(RELEASES.map(([release]) => [release, models(release)]));
  const newest = all.get('3.33.0-pre')!;
  const pairs = STEPS.flatMap(([step], i) =>
    RELEASES.slice(0, -1)
      .filter(([release]) => all.get(release)![i] !== undefined)
      .map(([release, form]) => [step, release, form, i] as const),
  );

  test.each(pairs)(
    'after %s, %s (%s) says what 3.33 says, but for what it lacks',
    (_step, release, form, i) => {
      const older = all.get(release)![i]!;
      expect([...older.policies.values()].filter(lacks(form))).toEqual([]);
      const known = form < 'v3.30' ? withoutQos(newest[i]!) : newest[i]!;
      expect(essence(without(older, lacks(form)))).toEqual(essence(without(known, lacks(form))));
    },
  );

  test('the scenario has every kind of name', () => {
    expect([...newest[0]!.policies.keys()]).toEqual(
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

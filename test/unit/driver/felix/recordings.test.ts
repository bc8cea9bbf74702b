import { createFelixSession } from '../../../../src/driver/felix/felix-session';
import type { FelixModel, TierInfo } from '../../../../src/model/model';
import { policyKey } from '../../../../src/model/model';
import { felixConfiguration } from '../../../../src/translators/felix-configuration';
import { unsupportedSettings } from '../../../../src/translators/unsupported-settings';
import { framesOf, recording, testWith } from './recordings';
import { setsOf } from './without';

/** Name, form and frames of every recording in a form that is understood. */
const UNDERSTOOD = [
  ['01-minimal', 'v3.33', 21],
  ['02-policy', 'v3.33', 270],
  ['03-vxlan-routes', 'v3.33', 207],
  ['04-ipip-noencap-routes', 'v3.33', 70],
  ['04b-ipip-default-routes', 'v3.33', 39],
  ['06-config-changes', 'v3.33', 14],
  ['06-config-changes-run5', 'v3.33', 17],
  ['07-k8s-via-typha', 'v3.33', 73],
  ['08s-scale-small', 'v3.33', 4073],
  ['08-scale', 'v3.33', 47240],
  ['release-3.26.5', 'v3.26', 180],
  ['release-3.29.7', 'v3.29', 187],
  ['release-3.30.7', 'v3.30', 202],
  ['release-3.32.1', 'v3.32', 187],
  ['release-3.33.0-pre', 'v3.33', 182],
] as const;

function tiersOf(model: FelixModel): TierInfo[] {
  return [
    ...[...model.workloads.values()].flatMap((w) => w.tiers),
    ...[...model.hostEndpoints.values()].flatMap((h) => [
      ...h.tiers,
      ...h.untrackedTiers,
      ...h.preDnatTiers,
      ...h.forwardTiers,
    ]),
  ];
}

/** Names that lead nowhere: what a stream read in the wrong form is full of. */
function danglingNames(model: FelixModel): string[] {
  const policies = tiersOf(model).flatMap((t) => [...t.ingressPolicies, ...t.egressPolicies].map(policyKey));
  const profiles = [...model.workloads.values(), ...model.hostEndpoints.values()].flatMap(
    (e) => e.profileIds,
  );
  const rules = [...model.policies.values(), ...model.profiles.values()].flatMap((p) => [
    ...p.inboundRules,
    ...p.outboundRules,
  ]);
  return [
    ...policies.filter((key) => !model.policies.has(key)),
    ...profiles.filter((name) => !model.profiles.has(name)),
    ...rules.flatMap(setsOf).filter((id) => !model.ipSets.has(id)),
  ];
}

for (const [name, form, frames] of UNDERSTOOD) {
  testWith(name)(`${name} is read to its end as ${form}, and every name leads somewhere`, () => {
    const session = createFelixSession();
    const stream = framesOf(recording(name));
    // A flush is not atomic, but its order is such that nothing dangles at any moment; looking at each frame is for the small ones.
    const lookEvery = Math.ceil(stream.length / 100);
    stream.forEach((frame, i) => {
      session.push(frame);
      if (i % lookEvery === 0 || i === stream.length - 1) {
        expect({ frame: i, dangling: danglingNames(session.model) }).toEqual({ frame: i, dangling: [] });
      }
    });
    session.end();

    expect(session.frames).toBe(frames);
    expect(session.model.inSync).toBe(true);
    expect(session.formCandidates().map((f) => f.name)).toEqual([form]);
    expect(session.model.workloads.size).toBeGreaterThan(0);
    // Real settings: all of them can be read, and there is none that the table lacks.
    expect(session.model.config.size).toBeGreaterThan(5);
    expect(felixConfiguration(session.model.config).problems).toEqual([]);
    expect(unsupportedSettings(session.model.config).filter(({ value }) => value === undefined)).toEqual([]);
  });
}

testWith('08-scale')('a scale stream takes a fraction of a second a megabyte', () => {
  const stream = recording('08-scale');
  const before = process.cpuUsage();
  const session = createFelixSession();
  session.push(stream);
  const { user } = process.cpuUsage(before);
  expect(session.frames).toBe(47240);
  // 0.5 s on the machine where this was written; the limit is for the day when something becomes quadratic.
  expect(user / 1e6).toBeLessThan(10);
});

/**
 * A stream whose frames fit several forms is not judged by luck: as long as forms are left to choose from, they all give the same
 * model. So it does not matter which of them reads, and when.
 */
import fc from 'fast-check';
import { isDeepStrictEqual } from 'node:util';
import { createEnvelopeReader } from '../../../../src/driver/felix/envelope';
import { createFormDetector } from '../../../../src/driver/felix/form-detector';
import type { Form } from '../../../../src/driver/felix/forms';
import { FORMS } from '../../../../src/driver/felix/forms';
import { decodeMessage } from '../../../../src/driver/felix/message-decoder';
import type { ModelBuilder } from '../../../../src/driver/felix/model-builder';
import { createModelBuilder } from '../../../../src/driver/felix/model-builder';
import { CalicoP4Error } from '../../../../src/errors';
import { FORM_NAMES, framesOf, recording, RELEASES } from './recordings';
import type { FormName } from './recordings';
import type { Payload } from './streams';
import { felixStream } from './streams';
import { transcoded } from './transcoder';

/** How long each number of forms was left, in frames; throws where the forms that are left disagree, or the one that reads does with them. */
function watch(frames: readonly Uint8Array[]): Map<number, number> {
  const envelopes = createEnvelopeReader();
  const detector = createFormDetector();
  const reader = createModelBuilder();
  const alone = new Map<Form, ModelBuilder>(FORMS.map((form) => [form, createModelBuilder()]));
  const left = new Map<number, number>();
  for (const frame of frames) {
    const envelope = envelopes.read(frame.subarray(8));
    const form = detector.observe(envelope);
    reader.apply(decodeMessage(envelope, form));
    const candidates = detector.candidates();
    left.set(candidates.length, (left.get(candidates.length) ?? 0) + 1);
    for (const [candidate, builder] of alone) {
      if (!candidates.includes(candidate)) {
        alone.delete(candidate);
        continue;
      }
      try {
        builder.apply(decodeMessage(envelope, candidate));
      } catch (e) {
        throw new Error(`${form.name} reads frame ${envelope.frame}, ${candidate.name} does not`, {
          cause: e,
        });
      }
      if (!isDeepStrictEqual(builder.model, reader.model)) {
        expect({ frame: envelope.frame, form: candidate.name, model: builder.model }).toEqual({
          frame: envelope.frame,
          form: candidate.name,
          model: reader.model,
        });
      }
    }
  }
  return left;
}

test.each(RELEASES)('recording of %s', (release) => {
  const left = watch(framesOf(recording(`release-${release}`)));
  // Something had to be watched.
  expect(
    [...left].filter(([forms]) => forms > 1).reduce((sum, [, frames]) => sum + frames, 0),
  ).toBeGreaterThan(0);
});

const OTHERS = [
  '01-minimal',
  '03-vxlan-routes',
  '04-ipip-noencap-routes',
  '04b-ipip-default-routes',
  '06-config-changes',
  '07-k8s-via-typha',
];
test.each(OTHERS.flatMap((name) => FORM_NAMES.map((form) => [name, form] as const)))(
  '%s as %s',
  (name, form) => {
    watch(transcoded(recording(name), form).flatMap((frames) => framesOf(frames)));
  },
);

test('any messages in any order', () => {
  const payload = fc.constantFrom<readonly [FormName, Payload]>(
    ...['192.0.2.1', '192.0.2.1/24', ''].map((ipv4Addr) =>
      sent('hostMetadataUpdate', { hostname: 'n', ipv4Addr }),
    ),
    sent('hostMetadataRemove', { hostname: 'n' }),
    sent('hostMetadataV6Update', { hostname: 'n', ipv6Addr: 'fd00::1' }, 'v3.32'),
    sent('hostMetadataV6Remove', { hostname: 'n' }, 'v3.32'),
    sent(
      'hostMetadataV4v6Update',
      { hostname: 'n', ipv4Addr: '192.0.2.1/24', ipv6Addr: 'fd00::1/64' },
      'v3.32',
    ),
    sent('hostMetadataV4v6Remove', { hostname: 'n' }, 'v3.32'),
    ...['default.x', 'x', 'security.x', 'shop/knp.default.x'].flatMap((name) => [
      policy({ tier: 'default', name }),
      policy({ tier: 'security', name }),
      endpoint({ name: 'default', ingressPolicies: [name] }),
      endpoint({ name: 'default', ingressPolicies: [name], defaultAction: 'Pass' }),
      endpoint({ name: 'security', ingressPolicies: [name] }),
    ]),
    sent('activePolicyUpdate', {
      id: { name: 'x', kind: 'GlobalNetworkPolicy' },
      policy: { tier: 'default' },
    }),
    ...(['tiers', 'untrackedTiers', 'preDnatTiers', 'forwardTiers'] as const).flatMap((list) => [
      host({ [list]: [{ name: 'default' }] }),
      host({ [list]: [{ name: 'default', defaultAction: 'Deny' }] }),
      host({ [list]: [{ name: 'security' }] }),
    ]),
    sent('routeUpdate', { dst: '10.0.0.0/8', type: 3 }, 'v3.29'),
    sent('routeUpdate', { dst: '10.0.0.0/8', types: 5 }),
    sent('routeUpdate', { dst: '10.0.0.0/8' }),
    sent('inSync', {}),
  );
  fc.assert(
    fc.property(fc.array(payload, { maxLength: 8 }), (payloads) => {
      const frames = payloads.map(([form, one], i) => felixStream(form, [one], i));
      try {
        watch(frames);
      } catch (e) {
        // Refused: then nothing is enforced.
        if (!(e instanceof CalicoP4Error && e.code.startsWith('FELIX_'))) {
          throw e;
        }
      }
    }),
    { numRuns: 3000 },
  );
});

function sent(name: string, payload: object, form: FormName = 'v3.33'): readonly [FormName, Payload] {
  return [form, { [name]: payload }];
}

function policy(id: object): readonly [FormName, Payload] {
  return sent('activePolicyUpdate', { id, policy: {} }, 'v3.30');
}

function endpoint(tier: object): readonly [FormName, Payload] {
  const id = { orchestratorId: 'k8s', workloadId: 'shop/web-0', endpointId: 'eth0' };
  return sent('workloadEndpointUpdate', { id, endpoint: { name: 'cali1', tiers: [tier] } }, 'v3.30');
}

function host(lists: object): readonly [FormName, Payload] {
  return sent(
    'hostEndpointUpdate',
    { id: { endpointId: 'eth0' }, endpoint: { name: 'eth0', ...lists } },
    'v3.30',
  );
}

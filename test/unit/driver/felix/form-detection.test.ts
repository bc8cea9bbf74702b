import { decodeMessage } from '../../../../src/driver/felix/message-decoder';
import { createEnvelopeReader } from '../../../../src/driver/felix/envelope';
import { createFelixSession } from '../../../../src/driver/felix/felix-session';
import { FORMS } from '../../../../src/driver/felix/forms';
import { createModelBuilder } from '../../../../src/driver/felix/model-builder';
import { framesOf, recording, RELEASES } from './recordings';
import type { Payload } from './streams';
import { felixStream, messageType, rawFrame, renumbered } from './streams';

const config: Payload = { configUpdate: { config: { FelixHostname: 'n' } } };
const inSync: Payload = { inSync: {} };
const workloadId = { orchestratorId: 'k8s', workloadId: 'shop/web-0', endpointId: 'eth0' };
const compoundPolicy: Payload = {
  activePolicyUpdate: {
    id: { tier: 'default', name: 'default.x' },
    policy: { inboundRules: [{ action: 'allow' }] },
  },
};
const structuredPolicy: Payload = {
  activePolicyUpdate: { id: { name: 'x', kind: 'GlobalNetworkPolicy' }, policy: { tier: 'default' } },
};
const bareEndpoint: Payload = {
  workloadEndpointUpdate: { id: workloadId, endpoint: { state: 'active', name: 'cali1' } },
};
const tiered = (entries: readonly unknown[], tier: object = {}): Payload => ({
  workloadEndpointUpdate: {
    id: workloadId,
    endpoint: {
      state: 'active',
      name: 'cali1',
      tiers: [{ name: 'default', ingressPolicies: entries, ...tier }],
    },
  },
});
const policyIn = (tier: string, name: string): Payload => ({
  activePolicyUpdate: { id: { tier, name }, policy: {} },
});
const hostEndpoint = (endpoint: object): Payload => ({
  hostEndpointUpdate: { id: { endpointId: 'eth0' }, endpoint: { name: 'eth0', ...endpoint } },
});
const node = (ipv4Addr: string): Payload => ({ hostMetadataUpdate: { hostname: 'n', ipv4Addr } });

function code(...streams: readonly Uint8Array[]): string | undefined {
  const session = createFelixSession();
  try {
    streams.forEach((s) => {
      session.push(s);
    });
    return undefined;
  } catch (e) {
    return (e as { code?: string }).code;
  }
}

function candidates(...streams: readonly Uint8Array[]): string[] {
  const session = createFelixSession();
  streams.forEach((s) => {
    session.push(s);
  });
  return session.formCandidates().map((f) => f.name);
}

const ALL = FORMS.map((form) => form.name);
const route = (form: string, fields: object): Buffer =>
  felixStream(form, [config, { routeUpdate: { dst: '10.65.1.0/26', ...fields } }]);

describe('what tells the forms apart', () => {
  test.each([
    ['nothing but configuration', felixStream('v3.33', [config]), ALL],
    ['an endpoint without policies', felixStream('v3.33', [config, bareEndpoint]), ALL],
    [
      'a policy with a compound name',
      felixStream('v3.30', [config, compoundPolicy]),
      ['v3.26', 'v3.29', 'v3.30'],
    ],
    ['one in a tier', felixStream('v3.30', [config, policyIn('security', 'security.x')]), ['v3.29', 'v3.30']],
    [
      'one that is called as if it were in a tier',
      felixStream('v3.30', [config, policyIn('default', 'security.x')]),
      ['v3.26'],
    ],
    [
      'a tier of compound names that does not say its end',
      felixStream('v3.30', [config, tiered(['shop/knp.default.x'])]),
      ['v3.26', 'v3.30'],
    ],
    [
      'one that says it',
      felixStream('v3.30', [config, tiered(['shop/knp.default.x'], { defaultAction: 'Deny' })]),
      ['v3.29', 'v3.30'],
    ],
    [
      'another than default, which never says it',
      felixStream('v3.30', [config, tiered(['security.x'], { name: 'security' })]),
      ['v3.29', 'v3.30'],
    ],
    [
      'an untracked tier that does not say its end',
      felixStream('v3.30', [config, hostEndpoint({ untrackedTiers: [{ name: 'default' }] })]),
      ['v3.26'],
    ],
    [
      'a pre-DNAT tier that does not',
      felixStream('v3.30', [config, hostEndpoint({ preDnatTiers: [{ name: 'default' }] })]),
      ['v3.26'],
    ],
    [
      'an untracked tier that does',
      felixStream('v3.30', [
        config,
        hostEndpoint({ untrackedTiers: [{ name: 'default', defaultAction: 'Pass' }] }),
      ]),
      ['v3.29', 'v3.30', 'v3.32', 'v3.33'],
    ],
    ['a policy with a kind', felixStream('v3.33', [config, structuredPolicy]), ['v3.32', 'v3.33']],
    [
      'a tier of such',
      felixStream('v3.33', [config, tiered([{ name: 'x', kind: 'GlobalNetworkPolicy' }])]),
      ['v3.32', 'v3.33'],
    ],
    ['a route with an enum', route('v3.29', { type: 1 }), ['v3.26', 'v3.29']],
    ['a route with a bitmap', route('v3.33', { types: 5 }), ['v3.30', 'v3.32', 'v3.33']],
    ['a route of type 0', route('v3.33', {}), ALL],
    ['a node with prefix lengths', felixStream('v3.33', [config, node('192.0.2.1/24')]), ['v3.33']],
    ['a node without', felixStream('v3.33', [config, node('192.0.2.1')]), ALL],
    [
      'a node in a message of its own for IPv6',
      felixStream('v3.32', [config, { hostMetadataV6Update: { hostname: 'n', ipv6Addr: 'fd00::1' } }]),
      ['v3.26', 'v3.29', 'v3.30', 'v3.32'],
    ],
  ])('%s', (_, stream, left) => {
    expect(candidates(stream)).toEqual(left);
  });

  test('the cluster’s CalicoVersion says nothing: Felix itself may be of another', () => {
    const claims = (version: string): Payload => ({ configUpdate: { config: { CalicoVersion: version } } });
    for (const version of ['v3.26.5', 'v3.33.0', 'nonsense']) {
      expect(candidates(felixStream('v3.33', [claims(version)]))).toEqual(ALL);
    }
  });
});

test('the tiers before the others: Pass up to 3.28, what they say from 3.29', () => {
  const tiers = { untrackedTiers: [{ name: 'default' }], preDnatTiers: [{ name: 'default' }] };
  const session = createFelixSession();
  session.push(
    felixStream('v3.26', [
      hostEndpoint({ ...tiers, tiers: [{ name: 'default' }], forwardTiers: [{ name: 'default' }] }),
    ]),
  );
  const [read] = [...session.model.hostEndpoints.values()];
  const ends = (list: readonly { readonly defaultAction: string }[]) => list.map((t) => t.defaultAction);
  expect([
    ends(read!.untrackedTiers),
    ends(read!.preDnatTiers),
    ends(read!.tiers),
    ends(read!.forwardTiers),
  ]).toEqual([['Pass'], ['Pass'], ['Deny'], ['Deny']]);

  // In what is known to be of a later release they must not be silent.
  expect(code(route('v3.33', { types: 1 }), felixStream('v3.30', [hostEndpoint(tiers)], 2))).toBe(
    'FELIX_FORM_UNKNOWN',
  );
});

test('a tier that is not there yet says nothing from 3.30 either, and ends in Deny', () => {
  const session = createFelixSession();
  session.push(route('v3.30', { types: 1 }));
  session.push(
    felixStream(
      'v3.30',
      [
        tiered(['default.x'], { defaultAction: 'Pass' }),
        tiered(['default.x']),
        tiered(['security.x'], { name: 'security' }),
        tiered(['default.x'], { defaultAction: 'Pass' }),
        tiered(['default.x']),
      ],
      2,
    ),
  );
  expect([...session.model.workloads.values()][0]!.tiers[0]!.defaultAction).toBe('Deny');
  expect(session.formCandidates().map((f) => f.name)).toEqual(['v3.30']);
});

test('a snapshot without evidence is taken, and the first evidence after InSync decides', () => {
  const plain = felixStream('v3.33', [config, bareEndpoint, inSync]);
  expect(candidates(plain)).toEqual(ALL);
  const session = createFelixSession();
  session.push(plain);
  session.push(felixStream('v3.30', [compoundPolicy, tiered(['default.x'], { defaultAction: 'Pass' })], 3));
  expect(session.formCandidates().map((f) => f.name)).toEqual(['v3.29', 'v3.30']);
  expect([...session.model.policies.keys()]).toEqual(['GlobalNetworkPolicy//x']);
  const [tier] = [...session.model.workloads.values()][0]!.tiers;
  expect(tier).toMatchObject({ ingressPolicies: [{ name: 'x' }], defaultAction: 'Pass' });
});

test('a node that came before the forms were told apart leaves by the messages of its own form', () => {
  const remove = { hostMetadataRemove: { hostname: 'n' } };
  const v6 = { hostMetadataV6Update: { hostname: 'n', ipv6Addr: 'fd00::1' } };
  const v6Remove = { hostMetadataV6Remove: { hostname: 'n' } };
  const split = createFelixSession();
  split.push(felixStream('v3.32', [config, node('192.0.2.1'), v6]));
  expect(split.model.hosts.get('n')).toEqual({ hostname: 'n', ipv4Addr: '192.0.2.1', ipv6Addr: 'fd00::1' });
  const whole = { hostMetadataV4v6Update: { hostname: 'n', ipv4Addr: '192.0.2.1/24' } };
  split.push(felixStream('v3.32', [whole, node('192.0.2.1')], 3));
  expect(split.model.hosts.get('n')!.ipv4Addr).toBe('192.0.2.1/24');
  split.push(felixStream('v3.32', [remove, v6Remove, { hostMetadataV4v6Remove: { hostname: 'n' } }], 5));
  expect(split.model.hosts.size).toBe(0);

  const merged = createFelixSession();
  merged.push(felixStream('v3.33', [config, node('192.0.2.1'), node('192.0.2.2/24'), node('192.0.2.3')]));
  expect(merged.model.hosts.get('n')).toEqual({ hostname: 'n', ipv4Addr: '192.0.2.3', ipv6Addr: '' });
  merged.push(felixStream('v3.33', [remove], 4));
  expect(merged.model.hosts.size).toBe(0);
});

describe('a stream of two forms is refused', () => {
  const streams = new Map(RELEASES.map(([release]) => [release, framesOf(recording(`release-${release}`))]));
  const mixes = RELEASES.flatMap(([one]) =>
    RELEASES.flatMap(([other]) =>
      one === other ? [] : [94, 130, 160].map((at) => [one, at, other] as const),
    ),
  );

  test.each(mixes)('%s to frame %i, then %s', (one, at, other) => {
    const first = streams.get(one)!.slice(0, at);
    // A Felix that was replaced by another.
    expect(code(...first, ...renumbered(streams.get(other)!, at))).toMatch(/^FELIX_FORM_(CHANGED|UNKNOWN)$/);
    // Two that share a pipe: what they say may fall out with each other before the forms do.
    expect(code(...first, ...renumbered(streams.get(other)!.slice(at - 20), at))).toMatch(
      /^FELIX_(FORM_CHANGED|FORM_UNKNOWN|MESSAGE_INVALID)$/,
    );
  });

  test('in the smallest', () => {
    expect(
      code(
        felixStream('v3.30', [config, compoundPolicy]),
        felixStream('v3.33', [tiered([{ name: 'x', kind: 'K' }])], 2),
      ),
    ).toBe('FELIX_FORM_CHANGED');
  });

  test('within one message', () => {
    const endpoint = messageType('v3.30', 'WorkloadEndpointUpdate');
    const mixed = Buffer.concat([
      endpoint
        .encode(endpoint.fromObject(tiered(['default.x'])['workloadEndpointUpdate'] as object))
        .finish(),
      messageType('v3.33', 'WorkloadEndpointUpdate')
        .encode(
          messageType('v3.33', 'WorkloadEndpointUpdate').fromObject(
            tiered([{ name: 'x', kind: 'K' }])['workloadEndpointUpdate'] as object,
          ),
        )
        .finish(),
    ]);
    const frame = rawFrame(1, Buffer.concat([Uint8Array.of(11 * 8 + 2, ...varint(mixed.length)), mixed]));
    expect(code(felixStream('v3.33', [config]), frame)).toBe('FELIX_FORM_UNKNOWN');
  });
});

describe('what is of no form', () => {
  test('routes of both kinds', () => {
    // RouteUpdate { type = 1: REMOTE_WORKLOAD, dst = 3: "::/0", types = 12: REMOTE_WORKLOAD }
    const both = Buffer.from('08011a043a3a2f306001', 'hex');
    expect(code(rawFrame(0, Buffer.concat([Uint8Array.of(0xba, 0x01, both.length), both])))).toBe(
      'FELIX_FORM_UNKNOWN',
    );
  });

  test('names of 3.32 beside routes of 3.29', () => {
    expect(code(route('v3.29', { type: 1 }), felixStream('v3.32', [structuredPolicy], 2))).toBe(
      'FELIX_FORM_UNKNOWN',
    );
  });

  test('a policy id with neither tier nor kind', () => {
    expect(
      code(felixStream('v3.33', [config, { activePolicyUpdate: { id: { name: 'x' }, policy: {} } }])),
    ).toBe('FELIX_FORM_UNKNOWN');
  });

  test('a tier entry that is neither a name nor an id', () => {
    expect(code(felixStream('v3.30', [config, tiered(['has space'])]))).toBe('FELIX_FORM_UNKNOWN');
    expect(code(felixStream('v3.33', [config, tiered([{ name: 'x' }])]))).toBe('FELIX_FORM_UNKNOWN');
    expect(code(felixStream('v3.33', [config, tiered([{}])]))).toBe('FELIX_FORM_UNKNOWN');
  });

  test('names of 3.30 beside nodes of 3.33', () => {
    const whole = node('192.0.2.1/24');
    expect(code(felixStream('v3.30', [config, compoundPolicy]), felixStream('v3.33', [whole], 2))).toBe(
      'FELIX_FORM_UNKNOWN',
    );
  });
});

test('a stream read in the form of another never becomes a model without a word', () => {
  for (const [release, own] of RELEASES) {
    const { policyIds, tiers } = FORMS.find((form) => form.name === own)!.traits;
    const apart = FORMS.filter(
      ({ traits }) =>
        traits.policyIds[0] !== policyIds[0] || (tiers[0] === 'many' && traits.tiers[0] === 'one'),
    );
    for (const form of apart) {
      // Without the detector: what the decoder alone would make of it.
      const read = () => {
        const envelopes = createEnvelopeReader();
        const builder = createModelBuilder();
        for (const frame of framesOf(recording(`release-${release}`))) {
          builder.apply(decodeMessage(envelopes.read(frame.subarray(8)), form));
        }
      };
      expect(read).toThrow(expect.objectContaining({ code: 'FELIX_MESSAGE_INVALID' }) as Error);
    }
  }
});

function varint(value: number): number[] {
  return value < 128 ? [value] : [(value & 127) | 128, ...varint(value >> 7)];
}

import { decodeMessage } from '../../../../src/driver/felix/message-decoder';
import { createEnvelopeReader } from '../../../../src/driver/felix/envelope';
import { createFelixSession } from '../../../../src/driver/felix/felix-session';
import { FORMS } from '../../../../src/driver/felix/forms';
import { encodeFrame } from '../../../../src/driver/felix/frame-decoder';
import { createModelBuilder } from '../../../../src/driver/felix/model-builder';
import { policyKey } from '../../../../src/model/model';
import { framesOf, recording } from './recordings';
import type { Payload } from './streams';
import { felixStream, messageType, rawFrame } from './streams';

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
const tiered = (entries: readonly unknown[]): Payload => ({
  workloadEndpointUpdate: {
    id: workloadId,
    endpoint: { state: 'active', name: 'cali1', tiers: [{ name: 'default', ingressPolicies: entries }] },
  },
});

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

/** The frames with sequence numbers that fit after `first`. */
function renumbered(frames: readonly Buffer[], first: number): Buffer[] {
  const type = messageType('v3.33', 'ToDataplane');
  return frames.map((frame, i) => {
    // Appended: the last one of a field counts, and all else stays byte for byte. The scanner of the envelope does the same.
    const number = type.encode(type.create({ sequenceNumber: first + i })).finish();
    return Buffer.from(
      encodeFrame(Buffer.concat([frame.subarray(8), first + i === 0 ? Buffer.from([120, 0]) : number])),
    );
  });
}

test('one endpoint, policy or node is enough to tell the form', () => {
  expect(candidates(felixStream('v3.30', [config, compoundPolicy]))).toEqual(['v3.30']);
  expect(candidates(felixStream('v3.30', [config, tiered(['shop/knp.default.x'])]))).toEqual(['v3.30']);
  expect(candidates(felixStream('v3.33', [config, structuredPolicy]))).toEqual(['v3.32', 'v3.33']);
  expect(
    candidates(felixStream('v3.33', [config, tiered([{ name: 'x', kind: 'GlobalNetworkPolicy' }])])),
  ).toEqual(['v3.32', 'v3.33']);
  const node = { hostMetadataUpdate: { hostname: 'n', ipv4Addr: '192.0.2.1/24' } };
  expect(candidates(felixStream('v3.33', [config, node]))).toEqual(['v3.33']);
});

test('a snapshot without evidence is taken, and the first evidence after InSync decides', () => {
  const plain = felixStream('v3.33', [config, bareEndpoint, inSync]);
  expect(candidates(plain)).toEqual(['v3.30', 'v3.32', 'v3.33']);
  const session = createFelixSession();
  session.push(plain);
  session.push(felixStream('v3.30', [compoundPolicy, tiered(['default.x'])], 3));
  expect(session.formCandidates().map((f) => f.name)).toEqual(['v3.30']);
  expect([...session.model.policies.keys()]).toEqual(['GlobalNetworkPolicy//x']);
  expect([...session.model.workloads.values()][0]!.tiers[0]!.ingressPolicies.map(policyKey)).toEqual([
    'GlobalNetworkPolicy//x',
  ]);
});

describe('a stream of two forms is refused', () => {
  const old = framesOf(recording('release-3.30.7'));
  const recent = framesOf(recording('release-3.33.0-pre'));

  test.each([60, 109, 150, 190])('3.30 to frame %i, then 3.33', (at) => {
    expect(code(...old.slice(0, at), ...renumbered(recent.slice(at - 30), at))).toBe('FELIX_FORM_CHANGED');
  });

  test.each([60, 94, 150])('3.33 to frame %i, then 3.30', (at) => {
    expect(code(...recent.slice(0, at), ...renumbered(old.slice(at), at))).toBe('FELIX_FORM_CHANGED');
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
  test('routes of Calico up to 3.29', () => {
    // RouteUpdate { type = 1: REMOTE_WORKLOAD, dst = 3: "::/0" }
    const route = Buffer.from('08011a043a3a2f30', 'hex');
    expect(code(rawFrame(0, Buffer.concat([Uint8Array.of(0xba, 0x01, route.length), route])))).toBe(
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
    const node = { hostMetadataUpdate: { hostname: 'n', ipv4Addr: '192.0.2.1/24' } };
    expect(code(felixStream('v3.30', [config, compoundPolicy]), felixStream('v3.33', [node], 2))).toBe(
      'FELIX_FORM_UNKNOWN',
    );
  });
});

test('a stream read in the form of another never becomes a model without a word', () => {
  for (const [name, own] of [
    ['release-3.30.7', 'v3.30'],
    ['release-3.33.0-pre', 'v3.33'],
  ] as const) {
    for (const form of FORMS.filter(
      (f) => f.traits.policyIds !== FORMS.find((o) => o.name === own)!.traits.policyIds,
    )) {
      // Without the detector: what the decoder alone would make of it.
      const read = () => {
        const envelopes = createEnvelopeReader();
        const builder = createModelBuilder();
        for (const frame of framesOf(recording(name))) {
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

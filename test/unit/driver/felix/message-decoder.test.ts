import { createFelixSession } from '../../../../src/driver/felix/felix-session';
import type { CalicoP4Error } from '../../../../src/errors';
import type { WorkloadEndpoint } from '../../../../src/model/model';
import { FORM_NAMES } from './recordings';
import type { Payload } from './streams';
import { felixStream, messageType, rawFrame } from './streams';

function read(...streams: readonly Uint8Array[]) {
  const session = createFelixSession();
  streams.forEach((s) => {
    session.push(s);
  });
  return session.model;
}

function failure(...streams: readonly Uint8Array[]): CalicoP4Error {
  try {
    read(...streams);
  } catch (e) {
    return e as CalicoP4Error;
  }
  throw new Error('nothing was refused');
}

const policyWith = (rule: object): Payload => ({
  activePolicyUpdate: {
    id: { name: 'web', namespace: 'shop', kind: 'NetworkPolicy' },
    policy: { tier: 'default', inboundRules: [{ action: 'allow' }, rule] },
  },
});
const ruleOf = (rule: object) =>
  [...read(felixStream('v3.33', [policyWith(rule)])).policies.values()][0]!.inboundRules[1]!;

/** A ToDataplane frame whose payload is these bytes. */
const payloadFrame = (number: number, body: Uint8Array): Buffer => {
  const tag = number * 8 + 2;
  const header = tag < 128 ? [tag] : [(tag & 127) | 128, tag >> 7];
  return rawFrame(0, Buffer.concat([Uint8Array.of(...header, body.length), body]));
};

test('every match of a rule reaches the model', () => {
  expect(
    ruleOf({
      action: 'Next-Tier',
      ipVersion: 6,
      protocol: { name: 'tcp' },
      notProtocol: { number: 0 },
      srcNet: ['10.0.0.0/8'],
      notSrcNet: ['10.1.0.0/16'],
      dstNet: ['fd00::/8'],
      notDstNet: ['fd01::/16'],
      srcPorts: [{ first: 0, last: 0 }],
      notSrcPorts: [{ first: 1, last: 2 }],
      dstPorts: [{ first: 80, last: 65535 }],
      notDstPorts: [{ first: 3, last: 4 }],
      icmpType: 0,
      notIcmpTypeCode: { type: 3, code: 0 },
      srcIpSetIds: ['a'],
      dstIpSetIds: ['b'],
      notSrcIpSetIds: ['c'],
      notDstIpSetIds: ['d'],
      srcNamedPortIpSetIds: ['e'],
      dstNamedPortIpSetIds: ['f'],
      notSrcNamedPortIpSetIds: ['g'],
      notDstNamedPortIpSetIds: ['h'],
      dstIpPortSetIds: ['i'],
      httpMatch: { methods: ['GET'] },
      ruleId: 'r',
    }),
  ).toEqual({
    action: 'next-tier',
    ipVersion: 6,
    protocol: 'tcp',
    notProtocol: 0,
    srcNets: ['10.0.0.0/8'],
    notSrcNets: ['10.1.0.0/16'],
    dstNets: ['fd00::/8'],
    notDstNets: ['fd01::/16'],
    srcPorts: [{ first: 0, last: 0 }],
    notSrcPorts: [{ first: 1, last: 2 }],
    dstPorts: [{ first: 80, last: 65535 }],
    notDstPorts: [{ first: 3, last: 4 }],
    icmp: { type: 0 },
    notIcmp: { type: 3, code: 0 },
    srcIpSetIds: ['a'],
    dstIpSetIds: ['b'],
    notSrcIpSetIds: ['c'],
    notDstIpSetIds: ['d'],
    srcNamedPortIpSetIds: ['e'],
    dstNamedPortIpSetIds: ['f'],
    notSrcNamedPortIpSetIds: ['g'],
    notDstNamedPortIpSetIds: ['h'],
    dstIpPortSetIds: ['i'],
    hasHttpMatch: true,
    ruleId: 'r',
  });
});

test('a rule without matches has none, and is allow', () => {
  const rule = ruleOf({});
  expect(rule).toMatchObject({ action: '', ipVersion: 0, srcNets: [], dstPorts: [], hasHttpMatch: false });
  for (const absent of ['protocol', 'notProtocol', 'icmp', 'notIcmp']) {
    expect(rule).not.toHaveProperty(absent);
  }
});

test.each<[string, object]>([
  ['action', { action: 'reject' }],
  ['IP version', { ipVersion: 5 }],
  ['protocol', { protocol: {} }],
  ['protocol', { protocol: { number: 256 } }],
  ['protocol', { notProtocol: { name: '' } }],
  ['port range', { dstPorts: [{ first: 2, last: 1 }] }],
  ['port range', { srcPorts: [{ first: 0, last: 65536 }] }],
  ['port range', { notDstPorts: [{ first: -1, last: 1 }] }],
  ['ICMP', { icmpType: 256 }],
  ['ICMP', { notIcmpTypeCode: { type: 1, code: -1 } }],
])('a bad %s is refused by the name of its policy (%j)', (what, rule) => {
  const e = failure(felixStream('v3.33', [policyWith(rule)]));
  expect(e.code).toBe('FELIX_MESSAGE_INVALID');
  expect(e.message).toContain('policy NetworkPolicy shop/web, inbound rule 1');
  expect(e.message).toContain(what);
});

describe('what protobuf would pass over', () => {
  const rule = messageType('v3.33', 'Rule');
  const policyOfRule = (bytes: Uint8Array): Buffer => {
    // ActivePolicyUpdate { id { name "x", kind "K" }, policy { inbound_rules: bytes } }
    const id = Buffer.from('12017822014b', 'hex');
    const policy = Buffer.concat([Uint8Array.of(0x0a, bytes.length), bytes]);
    return payloadFrame(
      7,
      Buffer.concat([Uint8Array.of(0x0a, id.length), id, Uint8Array.of(0x12, policy.length), policy]),
    );
  };

  test('an unknown match of a rule is refused: without it the rule would match more', () => {
    const known = rule.encode({ action: 'allow' }).finish();
    expect(read(policyOfRule(known)).policies.size).toBe(1);
    // Field 199, a string.
    expect(failure(policyOfRule(Buffer.concat([known, Buffer.from('ba0c0161', 'hex')]))).code).toBe(
      'FELIX_MESSAGE_INVALID',
    );
  });

  test('a known field in another encoding is refused', () => {
    // IPSetUpdate { id "s", members = 2 as a number }
    expect(failure(payloadFrame(2, Buffer.from('0a01731005', 'hex'))).message).toContain('field 2');
    // WorkloadEndpointUpdate { id { workload_id "w" }, endpoint { tiers = 7 as a number } }
    expect(failure(payloadFrame(11, Buffer.from('0a031a01772a023801', 'hex'))).message).toContain('field 7');
  });

  test('an unknown field of an endpoint is passed over, as a patch release may add one', () => {
    // WorkloadEndpointUpdate { id { workload_id "w" }, endpoint { field 30: "x" } }
    expect(read(payloadFrame(11, Buffer.from('0a031a01772a04f2010178', 'hex'))).workloads.size).toBe(1);
  });

  test('the endpoint field 14 of 3.30 is a number, of 3.31 a message', () => {
    const endpoint = (field14: string) => Buffer.from(`0a031a01772a${field14}`, 'hex');
    const evidence = felixStream(
      'v3.30',
      [{ activePolicyRemove: { id: { tier: 'default', name: 'default.x' } } }],
      1,
    );
    expect(read(payloadFrame(11, endpoint('027001')), evidence).workloads.size).toBe(1);
    expect(read(payloadFrame(11, endpoint('0472020801')), evidence).workloads.size).toBe(1);
  });
});

test.each<[string, Buffer]>([
  ['an unknown payload', payloadFrame(39, Buffer.alloc(0))],
  ['no payload', rawFrame(0, Buffer.alloc(0))],
  ['two payloads', rawFrame(0, Buffer.from('0a001200', 'hex'))],
  ['a number that is no sequence number', rawFrame(0, Buffer.from('0a004001', 'hex'))],
  ['an IP set type that is unknown', felixStream('v3.33', [{ ipsetUpdate: { id: 's', type: 3 } }])],
  ['an IP set without an id', felixStream('v3.33', [{ ipsetUpdate: { members: ['10.0.0.1/32'] } }])],
  ['a policy without an id', felixStream('v3.33', [{ activePolicyUpdate: { policy: {} } }])],
  [
    'a policy without content',
    felixStream('v3.33', [{ activePolicyUpdate: { id: { name: 'x', kind: 'K' } } }]),
  ],
  ['a profile without a name', felixStream('v3.33', [{ activeProfileUpdate: { id: {}, profile: {} } }])],
  ['an endpoint without an id', felixStream('v3.33', [{ workloadEndpointUpdate: { endpoint: {} } }])],
  [
    'an endpoint without content',
    felixStream('v3.33', [{ workloadEndpointUpdate: { id: { workloadId: 'w' } } }]),
  ],
  [
    'a default action that is unknown',
    felixStream('v3.33', [
      {
        workloadEndpointUpdate: {
          id: { workloadId: 'w' },
          endpoint: { tiers: [{ defaultAction: 'Allow' }] },
        },
      },
    ]),
  ],
  [
    'a compound name that does not fit its tier',
    felixStream('v3.30', [{ activePolicyRemove: { id: { tier: 'security', name: 'default.x' } } }]),
  ],
  ['text that is no UTF-8', payloadFrame(2, Buffer.from('0a01ff', 'hex'))],
])('%s is refused', (_what, stream) => {
  expect(failure(stream).code).toBe('FELIX_MESSAGE_INVALID');
});

test('a gap, a repetition and a start in the middle are refused', () => {
  const message: Payload = { encapsulation: {} };
  const at = (n: number) => felixStream('v3.33', [message], n);
  expect(failure(at(0), at(2)).code).toBe('FELIX_SEQUENCE_GAP');
  expect(failure(at(0), at(1), at(1)).code).toBe('FELIX_SEQUENCE_GAP');
  expect(failure(at(7)).code).toBe('FELIX_SEQUENCE_GAP');
});

test('64-bit values of no interest do no harm', () => {
  const qosControls = { IngressBandwidth: '9223372036854775807', EgressBurst: '-1' };
  const model = read(
    felixStream('v3.33', [
      { workloadEndpointUpdate: { id: { workloadId: 'w' }, endpoint: { name: 'cali1', qosControls } } },
    ]),
  );
  expect([...model.workloads.values()][0]!.name).toBe('cali1');
});

test('no default action is Deny', () => {
  const tiers = ['', 'Deny', 'Pass'].map((defaultAction, i) => ({ name: `t${i}`, defaultAction }));
  const model = read(
    felixStream('v3.33', [{ workloadEndpointUpdate: { id: { workloadId: 'w' }, endpoint: { tiers } } }]),
  );
  expect([...model.workloads.values()][0]!.tiers.map((t) => t.defaultAction)).toEqual([
    'Deny',
    'Deny',
    'Pass',
  ]);
});

describe('what pods have beside policy', () => {
  const endpointOf = (form: Parameters<typeof felixStream>[0], endpoint: object): WorkloadEndpoint => {
    const id = { orchestratorId: 'k8s', workloadId: 'w' };
    const model = read(felixStream(form, [{ workloadEndpointUpdate: { id, endpoint } }]));
    return [...model.workloads.values()][0]!;
  };

  test.each(['v3.30', 'v3.32', 'v3.33'] as const)('limits, 64 bits of each, as %s sends them', (form) => {
    const qosControls = {
      IngressBandwidth: '9223372036854775807',
      EgressBandwidth: '9007199254740993',
      IngressBurst: '4294967296',
      EgressBurst: '1',
      IngressPacketRate: '2',
      EgressPacketRate: '3',
      IngressMaxConnections: '4',
      EgressMaxConnections: '5',
      IngressPeakrate: '6',
      EgressPeakrate: '-7',
      IngressMinburst: '8',
      EgressMinburst: '9',
      IngressPacketBurst: '10',
      EgressPacketBurst: '11',
    };
    expect(endpointOf(form, { qosControls }).qos).toEqual({
      ingress: {
        bandwidth: 9223372036854775807n,
        burst: 4294967296n,
        peakRate: 6n,
        minBurst: 8n,
        packetRate: 2n,
        packetBurst: 10n,
        maxConnections: 4n,
      },
      egress: {
        bandwidth: 9007199254740993n,
        burst: 1n,
        peakRate: -7n,
        minBurst: 9n,
        packetRate: 3n,
        packetBurst: 11n,
        maxConnections: 5n,
      },
    });
    expect(endpointOf(form, { qosControls: {} })).not.toHaveProperty('qos');
    const policies = endpointOf(form, { qosPolicies: [{ dscp: 46 }, { dscp: 0 }] });
    expect(policies.dscps).toEqual([46, 0]);
  });

  test.each(FORM_NAMES)('floating IPs and pools, as %s sends them', (form) => {
    const nats = {
      ipv4Nat: [{ extIp: '192.0.2.1', intIp: '10.65.0.1' }],
      ipv6Nat: [{ extIp: '2001:db8::1', intIp: 'fd00::1' }],
    };
    const endpoint = endpointOf(form, nats);
    expect(endpoint.nats).toEqual([
      { external: '192.0.2.1', internal: '10.65.0.1' },
      { external: '2001:db8::1', internal: 'fd00::1' },
    ]);
    for (const absent of ['qos', 'dscps']) expect(endpoint).not.toHaveProperty(absent);

    const pool = { cidr: '10.65.0.0/16', masquerade: true, vxlanMode: 'Always' };
    const update = { ipamPoolUpdate: { id: '10.65.0.0-16', pool } };
    expect([...read(felixStream(form, [update])).pools.values()]).toEqual([
      {
        id: '10.65.0.0-16',
        cidr: '10.65.0.0/16',
        masquerade: true,
        ipipMode: '',
        vxlanMode: 'always',
        allowedUses: [],
      },
    ]);
    const removed = [update, { ipamPoolRemove: { id: '10.65.0.0-16' } }];
    expect(read(felixStream(form, removed)).pools.size).toBe(0);
    expect(failure(felixStream(form, [{ ipamPoolUpdate: { id: 'x' } }])).code).toBe('FELIX_MESSAGE_INVALID');
  });
});

describe('where addresses are', () => {
  const dst = '10.66.1.0/26';
  const route = { dst, dstNodeName: 'r1', dstNodeIp: '10.1.0.11', ipPoolType: 2, sameSubnet: true };
  const expected = {
    dst,
    poolType: 'vxlan',
    node: 'r1',
    nodeIp: '10.1.0.11',
    sameSubnet: true,
    localWorkload: false,
    borrowed: false,
  };
  const usesEnum = (form: string): boolean => form < 'v3.30';

  test.each(FORM_NAMES)('routes of every type, as %s sends them', (form) => {
    const types = usesEnum(form) ? [0, 1, 2, 3, 4, 5, 6] : [0, 1, 2, 4, 8, 16, 32];
    const bits = [0, 1, 2, 4, 8, 16, 32];
    types.forEach((type, i) => {
      const update = { routeUpdate: { ...route, ...(usesEnum(form) ? { type } : { types: type }) } };
      const { routes } = read(felixStream(form, [update]));
      expect([...routes]).toEqual([[dst, { ...expected, types: bits[i] }]]);
    });
  });

  test('several types at once, borrowed, local', () => {
    const borrowed = { ...route, types: 5, borrowed: true, localWorkload: true, sameSubnet: false };
    expect(read(felixStream('v3.33', [{ routeUpdate: borrowed }])).routes.get(dst)).toEqual({
      ...expected,
      types: 5,
      borrowed: true,
      localWorkload: true,
      sameSubnet: false,
    });
  });

  test('a pool type that nobody knows is unknown; a route type is refused where it is an enumeration', () => {
    const odd = { routeUpdate: { ...route, types: 1, ipPoolType: 9 } };
    expect(read(felixStream('v3.33', [odd])).routes.get(dst)!.poolType).toBe('unknown');
    expect(failure(felixStream('v3.29', [{ routeUpdate: { ...route, type: 9 } }])).code).toBe(
      'FELIX_MESSAGE_INVALID',
    );
    expect(failure(felixStream('v3.33', [{ routeUpdate: { types: 1 } }])).code).toBe('FELIX_MESSAGE_INVALID');
  });

  test.each(FORM_NAMES)('tunnels, and what is taken back, as %s sends them', (form) => {
    const vtep = {
      node: 'r1',
      mac: '66:00:00:00:00:01',
      ipv4Addr: '10.66.1.1',
      parentDeviceIp: '10.1.0.11',
      macV6: '66:00:00:00:00:06',
      ipv6Addr: 'fd00:66::1',
      parentDeviceIpv6: 'fd00:1::11',
    };
    const said = [
      { vtepUpdate: vtep },
      { wireguardEndpointUpdate: { hostname: 'r1', publicKey: 'k4', interfaceIpv4Addr: '10.66.1.9' } },
      { wireguardEndpointV6Update: { hostname: 'r1', publicKeyV6: 'k6', interfaceIpv6Addr: 'fd00:66::9' } },
      { encapsulation: { ipipEnabled: true, vxlanEnabledV6: true } },
      { routeUpdate: usesEnum(form) ? { ...route, type: 1 } : { ...route, types: 1 } },
    ];
    const model = read(felixStream(form, said));
    expect([...model.vteps.values()]).toEqual([
      {
        node: 'r1',
        mac: '66:00:00:00:00:01',
        address: '10.66.1.1',
        parentIp: '10.1.0.11',
        macV6: '66:00:00:00:00:06',
        addressV6: 'fd00:66::1',
        parentIpV6: 'fd00:1::11',
      },
    ]);
    expect([...model.wireguard.values()]).toEqual([{ node: 'r1', publicKey: 'k4', address: '10.66.1.9' }]);
    expect([...model.wireguardV6.values()]).toEqual([{ node: 'r1', publicKey: 'k6', address: 'fd00:66::9' }]);
    expect(model.encapsulation).toEqual({ ipip: true, vxlan: false, vxlanV6: true, noEncap: false });
    const gone = read(
      felixStream(form, [
        ...said,
        { vtepRemove: { node: 'r1' } },
        { wireguardEndpointRemove: { hostname: 'r1' } },
        { wireguardEndpointV6Remove: { hostname: 'r1' } },
        { routeRemove: { dst } },
      ]),
    );
    for (const map of [gone.vteps, gone.wireguard, gone.wireguardV6, gone.routes]) expect(map.size).toBe(0);
  });
});

/**
 * Random nodes and packets (fast-check) for "compiled tables = reference evaluator". Universes of addresses, ports and
 * protocols are small, so that random packets match random rules often; every choice shrinks towards less: fewer
 * endpoints, tiers, policies, rules and matches, then simpler ones.
 */
import fc from 'fast-check';
import type {
  FelixModel,
  HostEndpoint,
  IpSet,
  Policy,
  PolicyId,
  PortRange,
  Profile,
  Rule,
  TierInfo,
  WorkloadEndpoint,
} from '../../src/model/model';
import { makePacket } from '../../src/packet/describe';
import type { Packet } from '../../src/packet/packet';
import {
  hostEndpointOf,
  modelOf,
  NODE_IPV4,
  NODE_IPV6,
  policyOf,
  ruleOf,
  tierOf,
  UPLINK,
  workloadOf,
} from './models';

/** Interface names of the workloads that a model can have; a model with n workloads has the first n. */
export const INTERFACES = ['cali0', 'cali1', 'cali2'] as const;

const V4 = [
  '10.0.0.1',
  '10.0.0.2',
  '10.0.0.3',
  '10.0.0.4',
  '10.0.1.1',
  '172.16.5.9',
  '203.0.113.7',
  NODE_IPV4,
];
const V6 = ['fd00::1', 'fd00::2', 'fd00::3', 'fd00::4', 'fd00:1::1', '2001:db8::7', 'fe80::9', NODE_IPV6];

const NETS4 = [
  '10.0.0.1/32',
  '10.0.0.2/32',
  '10.0.0.2/31',
  '10.0.0.0/30',
  '10.0.0.0/24',
  '10.0.0.0/8',
  '203.0.113.7/32',
  '203.0.113.0/24',
  '128.0.0.0/1',
  '0.0.0.0/1',
  '0.0.0.0/0',
];
const NETS6 = [
  'fd00::1/128',
  'fd00::2/128',
  'fd00::2/127',
  'fd00::/126',
  'fd00::/64',
  'fd00::/8',
  '2001:db8::7/128',
  '2001:db8::/32',
  '8000::/1',
  '::/1',
  '::/0',
];
/** As IP set members: Felix sends a catch-all as two halves. */
const MEMBER_NETS = [...NETS4, ...NETS6].filter((net) => !net.endsWith('/0'));

const PORTS = [0, 1, 53, 79, 80, 81, 443, 1023, 1024, 4789, 65534, 65535];
const PROTOCOLS = [6, 17, 132, 1, 58, 136, 4, 253];
const PROTOCOL_NAMES = ['tcp', 'udp', 'sctp', 'icmp', 'icmpv6', 'udplite'];
const ICMP_TYPES = [8, 0, 3, 128, 255];
const ICMP_CODES = [0, 3, 255];

const ADDRESS_SETS = ['s:nets-a', 's:nets-b', 's:ips'];
const PORT_SETS = ['n:ports-a', 'n:ports-b'];

const POLICY_IDS: readonly PolicyId[] = [
  { kind: 'GlobalNetworkPolicy', namespace: '', name: 'p0' },
  { kind: 'NetworkPolicy', namespace: 'shop', name: 'p1' },
  { kind: 'KubernetesNetworkPolicy', namespace: 'shop', name: 'p1' },
  { kind: 'KubernetesClusterNetworkPolicy', namespace: '', name: 'p3' },
  { kind: 'StagedNetworkPolicy', namespace: 'shop', name: 'p4' },
  { kind: 'StagedGlobalNetworkPolicy', namespace: '', name: 'p5' },
];
const PROFILE_NAMES = ['kns.shop', 'ksa.shop.default'];

/** `T[]` that is empty most of the time. */
function sometimes<T>(items: fc.Arbitrary<T>, maxLength = 3): fc.Arbitrary<readonly T[]> {
  return fc.oneof(
    { withCrossShrink: true },
    { weight: 24, arbitrary: fc.constant<readonly T[]>([]) },
    { weight: 1, arbitrary: fc.array(items, { minLength: 1, maxLength }) },
  );
}

/** `T[]` that is seldom empty, and shrinks to it. */
function several<T>(items: fc.Arbitrary<T>, maxLength: number): fc.Arbitrary<readonly T[]> {
  return fc.oneof(
    { withCrossShrink: true },
    { weight: 1, arbitrary: fc.constant<readonly T[]>([]) },
    { weight: 6, arbitrary: fc.array(items, { minLength: 1, maxLength, size: 'max' }) },
  );
}

/** An object that has the field now and then. */
function maybe<K extends string, T>(
  key: K,
  value: fc.Arbitrary<T>,
  weight = 1,
): fc.Arbitrary<Partial<Record<K, T>>> {
  return fc.oneof(
    { withCrossShrink: true },
    { weight: 20, arbitrary: fc.constant<Partial<Record<K, T>>>({}) },
    { weight, arbitrary: value.map((v) => ({ [key]: v }) as Partial<Record<K, T>>) },
  );
}

const portRange: fc.Arbitrary<PortRange> = fc.oneof(
  fc.constantFrom(...PORTS).map((port) => ({ first: port, last: port })),
  fc
    .tuple(fc.constantFrom(...PORTS), fc.constantFrom(...PORTS))
    .map(([a, b]) => ({ first: Math.min(a, b), last: Math.max(a, b) })),
);

/** Mostly of one family, as rules are; both now and then, which Felix filters per family. */
const nets: fc.Arbitrary<readonly string[]> = fc.oneof(
  { withCrossShrink: true },
  { weight: 24, arbitrary: fc.constant<readonly string[]>([]) },
  { weight: 2, arbitrary: fc.array(fc.constantFrom(...NETS4), { minLength: 1, maxLength: 3 }) },
  { weight: 1, arbitrary: fc.array(fc.constantFrom(...NETS6), { minLength: 1, maxLength: 3 }) },
  { weight: 1, arbitrary: fc.array(fc.constantFrom(...NETS4, ...NETS6), { minLength: 2, maxLength: 4 }) },
);

const protocol = fc.constantFrom<number | string>(...PROTOCOLS, ...PROTOCOL_NAMES);

const icmp = fc.oneof(
  fc.record({ type: fc.constantFrom(...ICMP_TYPES) }),
  fc.record({ type: fc.constantFrom(...ICMP_TYPES), code: fc.constantFrom(...ICMP_CODES) }),
);

export interface ModelOptions {
  /** Rules name IP sets, tiers policies and endpoints profiles that the model lacks. Felix never does that. Default false. */
  readonly missing?: boolean;
  /** Default 4. */
  readonly maxRulesPerPolicy?: number;
  /** Workloads have floating IPs, some of which lead nowhere. Default false. */
  readonly floatingIps?: boolean;
}

/** One rule with any combination of fields. */
export function arbitraryRule(options: ModelOptions = {}): fc.Arbitrary<Rule> {
  const missing = options.missing === true ? ['s:missing'] : [];
  const addressSet = fc.constantFrom(...ADDRESS_SETS, ...missing);
  const portSet = fc.constantFrom(...PORT_SETS, ...missing);
  const action = fc.oneof(
    { weight: 8, arbitrary: fc.constantFrom('allow', 'deny') },
    { weight: 2, arbitrary: fc.constantFrom('pass', 'next-tier', 'log') },
    { weight: 1, arbitrary: fc.constantFrom('', 'Allow', 'Deny') },
  );
  const fields = fc.record({
    action,
    srcNets: nets,
    dstNets: nets,
    notSrcNets: nets,
    notDstNets: nets,
    srcPorts: sometimes(portRange),
    dstPorts: sometimes(portRange),
    notSrcPorts: sometimes(portRange),
    notDstPorts: sometimes(portRange),
    srcNamedPortIpSetIds: sometimes(portSet, 2),
    dstNamedPortIpSetIds: sometimes(portSet, 2),
    notSrcNamedPortIpSetIds: sometimes(portSet, 2),
    notDstNamedPortIpSetIds: sometimes(portSet, 2),
    srcIpSetIds: sometimes(addressSet, 2),
    dstIpSetIds: sometimes(addressSet, 2),
    notSrcIpSetIds: sometimes(addressSet, 2),
    notDstIpSetIds: sometimes(addressSet, 2),
    dstIpPortSetIds: sometimes(portSet, 2),
  });
  return fc
    .tuple(
      fields,
      maybe('protocol', protocol, 10),
      maybe('notProtocol', protocol),
      maybe('icmp', icmp),
      maybe('notIcmp', icmp),
      maybe('ipVersion', fc.constantFrom<4 | 6>(4, 6)),
      maybe('hasHttpMatch', fc.constant(true)),
    )
    .map((parts) => ruleOf(Object.assign({}, ...parts) as Partial<Rule> & Pick<Rule, 'action'>));
}

function subset<T>(items: readonly T[], minLength: number, maxLength: number): fc.Arbitrary<ReadonlySet<T>> {
  return fc
    .uniqueArray(fc.constantFrom(...items), { minLength, maxLength })
    .map((members) => new Set(members));
}

const ipSets: fc.Arbitrary<readonly IpSet[]> = fc.tuple(
  ...ADDRESS_SETS.map((id) =>
    id === 's:ips'
      ? subset([...V4, ...V6], 0, 5).map((members): IpSet => ({ id, type: 'IP', members }))
      : subset(MEMBER_NETS, 0, 5).map((members): IpSet => ({ id, type: 'NET', members })),
  ),
  ...PORT_SETS.map((id) =>
    fc
      .uniqueArray(
        fc
          .tuple(
            fc.constantFrom(...V4.slice(0, 5), ...V6.slice(0, 5)),
            fc.constantFrom('tcp', 'udp', 'sctp'),
            fc.constantFrom(...PORTS),
          )
          .map(([ip, proto, port]) => `${ip},${proto}:${port}`),
        { maxLength: 6 },
      )
      .map((members): IpSet => ({ id, type: 'IP_AND_PORT', members: new Set(members) })),
  ),
);

function tier(name: string, options: ModelOptions): fc.Arbitrary<TierInfo> {
  const missing: readonly PolicyId[] =
    options.missing === true ? [{ kind: 'NetworkPolicy', namespace: 'shop', name: 'missing' }] : [];
  const policies = fc.uniqueArray(fc.constantFrom(...POLICY_IDS, ...missing), { maxLength: 3, size: 'max' });
  return fc
    .record({
      ingressPolicies: policies,
      egressPolicies: policies,
      defaultAction: fc.constantFrom<'Deny' | 'Pass'>('Pass', 'Deny'),
    })
    .map((fields) => tierOf({ name, ...fields }));
}

/** Workload i owns 10.0.0.(i+1) and fd00::(i+1); the first may own a net more. */
function workload(index: number, options: ModelOptions): fc.Arbitrary<WorkloadEndpoint> {
  const missing = options.missing === true ? ['kns.missing'] : [];
  return fc
    .record({
      tiers: fc
        .integer({ min: 0, max: 3 })
        .chain((count) => fc.tuple(...Array.from({ length: count }, (_, i) => tier(`tier${i}`, options)))),
      profileIds: fc.uniqueArray(fc.constantFrom(...PROFILE_NAMES, ...missing), {
        maxLength: 2,
        size: 'max',
      }),
      state: fc.oneof(
        { weight: 12, arbitrary: fc.constant('active') },
        { weight: 1, arbitrary: fc.constantFrom('inactive', '') },
      ),
      allowSpoofedSourcePrefixes: sometimes(fc.constantFrom('203.0.113.0/24', '2001:db8::/32'), 2),
      ...(options.floatingIps === true ? { nats } : {}),
    })
    .map((fields) =>
      workloadOf({
        name: INTERFACES[index]!,
        ipv4Nets: [`10.0.0.${index + 1}/32`],
        ipv6Nets: [`fd00::${index + 1}/128`],
        ...fields,
      }),
    );
}

const nats = fc.array(
  fc.oneof(
    fc.record({
      external: fc.constantFrom('10.0.1.1', '203.0.113.7', '172.16.5.9', '10.0.0.2', '10.0.0.4', NODE_IPV4),
      internal: fc.constantFrom('10.0.0.1', '10.0.0.2', '10.0.0.3', '10.0.0.4', NODE_IPV4, 'fd00::1'),
    }),
    fc.record({
      external: fc.constantFrom('fd00:1::1', '2001:db8::7', 'fd00::2', 'fd00::4', NODE_IPV6),
      internal: fc.constantFrom('fd00::1', 'fd00::2', 'fd00::3', 'fd00::4', NODE_IPV6, '10.0.0.1'),
    }),
  ),
  { maxLength: 5, size: 'max' },
);

/** Tiers of a host endpoint: of one kind of policy there are often none. */
function tiers(options: ModelOptions): fc.Arbitrary<readonly TierInfo[]> {
  return fc.oneof(
    { withCrossShrink: true },
    { weight: 1, arbitrary: fc.constant<readonly TierInfo[]>([]) },
    {
      weight: 2,
      arbitrary: fc
        .integer({ min: 1, max: 2 })
        .chain((count) => fc.tuple(...Array.from({ length: count }, (_, i) => tier(`tier${i}`, options)))),
    },
  );
}

/** Of the uplink by name or by address, of another interface, of all. */
function hostEndpoint(id: string, options: ModelOptions): fc.Arbitrary<HostEndpoint> {
  const missing = options.missing === true ? ['kns.missing'] : [];
  return fc
    .record({
      where: fc.constantFrom<Partial<HostEndpoint>>(
        { name: '*' },
        { name: UPLINK },
        { expectedIpv4Addrs: [NODE_IPV4] },
        { expectedIpv6Addrs: ['fd00::77', NODE_IPV6] },
        { name: 'eth7', expectedIpv4Addrs: [NODE_IPV4] },
        { expectedIpv4Addrs: ['10.0.0.1'] },
      ),
      tiers: tiers(options),
      untrackedTiers: tiers(options),
      preDnatTiers: tiers(options),
      forwardTiers: tiers(options),
      profileIds: fc.uniqueArray(fc.constantFrom(...PROFILE_NAMES, ...missing), {
        maxLength: 2,
        size: 'max',
      }),
    })
    .map(({ where, ...fields }) => hostEndpointOf({ id, ...where, ...fields }));
}

function hostEndpoints(options: ModelOptions): fc.Arbitrary<readonly HostEndpoint[]> {
  return fc.oneof(
    { withCrossShrink: true },
    { weight: 3, arbitrary: fc.constant<readonly HostEndpoint[]>([]) },
    { weight: 2, arbitrary: hostEndpoint('hep-b', options).map((one) => [one]) },
    {
      weight: 2,
      arbitrary: fc.tuple(...['hep-b', 'hep-a', 'hep-c'].map((id) => hostEndpoint(id, options))),
    },
  );
}

const failsafes = fc.constantFrom('none', '', 'tcp:80', 'udp:10.0.0.0/24:53,tcp:[fd00::/64]:443,tcp:80');

const config: fc.Arbitrary<Readonly<Record<string, string>>> = fc
  .tuple(
    maybe('DefaultEndpointToHostAction', fc.constantFrom('Drop', 'Accept', 'RETURN'), 10),
    maybe('WorkloadSourceSpoofing', fc.constantFrom('Any', 'Disabled'), 10),
    maybe('VXLANPort', fc.constantFrom('443', '4789')),
    maybe('AllowVXLANPacketsFromWorkloads', fc.constantFrom('true', 'False')),
    maybe('AllowIPIPPacketsFromWorkloads', fc.constantFrom('yes', '0')),
    maybe('FailsafeInboundHostPorts', failsafes, 20),
    maybe('FailsafeOutboundHostPorts', failsafes, 20),
  )
  .map((parts) => Object.assign({}, ...parts) as Record<string, string>);

const withFloatingIps = fc
  .tuple(config, maybe('FloatingIPs', fc.constantFrom('Enabled', 'enabled', 'Disabled'), 40))
  .map(([others, floating]): Readonly<Record<string, string>> => ({ ...others, ...floating }));

/**
 * A node in sync: one to three workloads, up to three tiers each, six policies (two of them staged), two profiles, five IP sets,
 * and up to three host endpoints, which may name the interface UPLINK.
 */
export function arbitraryModel(options: ModelOptions = {}): fc.Arbitrary<FelixModel> {
  const rules = several(arbitraryRule(options), options.maxRulesPerPolicy ?? 4);
  const policies: fc.Arbitrary<readonly Policy[]> = fc.tuple(
    ...POLICY_IDS.map((id) =>
      fc.record({ inboundRules: rules, outboundRules: rules }).map((fields) => policyOf({ id, ...fields })),
    ),
  );
  const profiles: fc.Arbitrary<readonly Profile[]> = fc.tuple(
    ...PROFILE_NAMES.map((name) =>
      fc.record({ inboundRules: rules, outboundRules: rules }).map((fields) => ({ name, ...fields })),
    ),
  );
  return fc
    .record({
      config: options.floatingIps === true ? withFloatingIps : config,
      ipSets,
      policies,
      profiles,
      hostEndpoints: hostEndpoints(options),
      workloads: fc
        .integer({ min: 1, max: INTERFACES.length })
        .chain((count) => fc.tuple(...Array.from({ length: count }, (_, i) => workload(i, options)))),
    })
    .map(modelOf);
}

/** A whole first packet of a connection, of one family, with addresses of the universe. */
export const arbitraryPacket: fc.Arbitrary<Packet> = fc
  .oneof(fc.constant(V4), fc.constant(V4), fc.constant(V6))
  .chain((addresses) =>
    fc.record({
      src: fc.constantFrom(...addresses),
      // Pods have the first addresses.
      dst: fc.oneof(fc.constantFrom(...addresses.slice(0, 3)), fc.constantFrom(...addresses)),
      proto: fc.oneof(
        { weight: 3, arbitrary: fc.constantFrom(6, 17) },
        { weight: 2, arbitrary: fc.constantFrom(...PROTOCOLS) },
      ),
      sport: fc.constantFrom(...PORTS),
      dport: fc.constantFrom(...PORTS),
      icmpType: fc.constantFrom(...ICMP_TYPES),
      icmpCode: fc.constantFrom(...ICMP_CODES),
    }),
  )
  .map(makePacket);

/** A packet and where it comes in; from a pod it mostly has the pod's own source address. */
export interface NodePacket {
  readonly from: string;
  readonly packet: Packet;
}

export const arbitraryNodePacket: fc.Arbitrary<NodePacket> = fc
  .record({
    packet: arbitraryPacket,
    from: fc.oneof(
      { weight: 3, arbitrary: fc.constantFrom<string>(...INTERFACES) },
      { weight: 3, arbitrary: fc.constant('uplink') },
      { weight: 2, arbitrary: fc.constant('host') },
    ),
    honest: fc.integer({ min: 0, max: 5 }).map((n) => n < 5),
  })
  .map(({ packet, from, honest }) => {
    const index = INTERFACES.findIndex((name) => name === from);
    const v6 = packet.src.includes(':');
    if (!honest || from === 'uplink') return { from, packet };
    const own =
      from === 'host' ? (v6 ? NODE_IPV6 : NODE_IPV4) : v6 ? `fd00::${index + 1}` : `10.0.0.${index + 1}`;
    return { from, packet: { ...packet, src: own } };
  });

export interface Scenario {
  readonly model: FelixModel;
  readonly packets: readonly NodePacket[];
}

/**
 * A node and packets for it; those from workloads that the model lacks are left out. The packets are judged one by one:
 * run through one switch they can be replies to each other.
 */
export function arbitraryScenario(packetCount = 40, options: ModelOptions = {}): fc.Arbitrary<Scenario> {
  return fc
    .record({
      model: arbitraryModel(options),
      packets: fc.array(arbitraryNodePacket, { minLength: 1, maxLength: packetCount, size: 'max' }),
    })
    .map(({ model, packets }) => {
      const names = new Set([...model.workloads.values()].map((w) => w.name));
      return { model, packets: packets.filter((p) => !p.from.startsWith('cali') || names.has(p.from)) };
    });
}

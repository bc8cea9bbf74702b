/**
 * Calico's own policy cases (test/conformance/polprog.json) as models, packets and Felix streams. Each case is told twice:
 * as the ingress policy of the destination, and as the egress policy of the source.
 */
import fs from 'node:fs';
import path from 'node:path';
import type {
  FelixModel,
  IcmpMatch,
  IpSet,
  Policy,
  PolicyId,
  PortRange,
  Profile,
  Rule,
  WorkloadEndpoint,
} from '../../src/model/model';
import { makePacket } from '../../src/packet/describe';
import type { Packet } from '../../src/packet/packet';
import { hasIcmp } from '../../src/packet/packet';
import { encodeModel } from './felix-stream';
import { modelOf, policyOf, ruleOf, tierOf, workloadOf } from './models';

export interface ConformancePacket {
  readonly packet: Packet;
  readonly expected: 'allow' | 'deny';
  /** Where the packet comes in: `uplink` for ingress, the workload's interface for egress. */
  readonly from: string;
}

export interface ConformanceCase {
  readonly name: string;
  readonly direction: 'ingress' | 'egress';
  readonly model: FelixModel;
  /** The endpoint whose policy the case is about. */
  readonly workload: WorkloadEndpoint;
  readonly packets: readonly ConformancePacket[];
}

/** Cases that are not about a workload's policy, each with the reason why it is not run. */
export interface SkippedCase {
  readonly name: string;
  readonly reason: string;
}

interface RawPacket {
  readonly protocol: number;
  readonly src: string;
  readonly sport: number;
  readonly dst: string;
  readonly dport: number;
}

interface RawRule {
  readonly action?: string;
  readonly ipVersion?: string | number;
  readonly protocol?: RawProtocol;
  readonly notProtocol?: RawProtocol;
  readonly srcPorts?: readonly Partial<PortRange>[];
  readonly notSrcPorts?: readonly Partial<PortRange>[];
  readonly dstPorts?: readonly Partial<PortRange>[];
  readonly notDstPorts?: readonly Partial<PortRange>[];
  readonly icmpType?: number;
  readonly notIcmpType?: number;
  readonly icmpTypeCode?: Partial<IcmpMatch>;
  readonly notIcmpTypeCode?: Partial<IcmpMatch>;
  readonly [listField: string]: unknown;
}

interface RawProtocol {
  readonly name?: string;
  readonly number?: number;
}

interface RawPolicy {
  readonly name: string;
  readonly rules?: readonly RawRule[];
}

interface RawCase {
  readonly name: string;
  readonly tiers?: readonly {
    readonly name: string;
    readonly endAction?: string;
    readonly policies?: readonly RawPolicy[];
  }[];
  readonly profiles?: readonly RawPolicy[];
  readonly ipsets?: Readonly<Record<string, readonly string[]>>;
  readonly allowed?: readonly RawPacket[];
  readonly dropped?: readonly RawPacket[];
  readonly unmatched?: readonly RawPacket[];
  readonly forHostInterface: boolean;
  readonly forXDP: boolean;
  readonly suppressNormalHostPolicy: boolean;
}

const CASES_FILE = path.join(__dirname, '..', 'conformance', 'polprog.json');
const INTERFACE = 'caliconform01';

/** Every case that is about workload policy, twice, and the names of the others. */
export function loadConformance(file = CASES_FILE): {
  readonly cases: readonly ConformanceCase[];
  readonly skipped: readonly SkippedCase[];
} {
  const raw = JSON.parse(fs.readFileSync(file, 'utf8')) as readonly RawCase[];
  const cases: ConformanceCase[] = [];
  const skipped: SkippedCase[] = [];
  for (const rawCase of raw) {
    const reason = notOurs(rawCase);
    if (reason === undefined) cases.push(buildCase(rawCase, 'ingress'), buildCase(rawCase, 'egress'));
    else skipped.push({ name: rawCase.name, reason });
  }
  return { cases, skipped };
}

/** What Felix would send for the case, in the 3.33 form. */
export function conformanceStream(conformanceCase: ConformanceCase): Uint8Array {
  return encodeModel(conformanceCase.model);
}

/** The case's packets as lines of a packet file; ids count from 0. */
export function conformancePacketLines(packets: readonly ConformancePacket[]): string {
  return packets
    .map(({ packet, from }, index) => {
      const { src, dst, proto, sport, dport, icmpType, icmpCode } = packet;
      return JSON.stringify({ id: String(index), from, src, dst, proto, sport, dport, icmpType, icmpCode });
    })
    .join('\n');
}

/**
 * The packets in groups in which no packet belongs to the connection of another: each group can run through one switch
 * without a packet being let through as a reply of an earlier one.
 */
export function independentPackets(
  packets: readonly ConformancePacket[],
): readonly (readonly ConformancePacket[])[] {
  const groups: { readonly keys: Set<string>; readonly packets: ConformancePacket[] }[] = [];
  for (const item of packets) {
    const key = connectionKey(item.packet);
    let group = groups.find((g) => !g.keys.has(key));
    if (group === undefined) {
      group = { keys: new Set(), packets: [] };
      groups.push(group);
    }
    group.keys.add(key);
    group.packets.push(item);
  }
  return groups.map((g) => g.packets);
}

/** The same for both directions of a connection. */
function connectionKey(packet: Packet): string {
  const ends = [`${packet.src}|${packet.sport}`, `${packet.dst}|${packet.dport}`].sort();
  return `${packet.proto}|${ends.join('|')}`;
}

/** The policy program of a workload has none of these; `unmatched` is a verdict of untracked host policy only. */
function notOurs(raw: RawCase): string | undefined {
  if (raw.forXDP) return 'untracked policy of a host interface (XDP)';
  if (raw.forHostInterface) return 'policy of a host interface';
  if (raw.suppressNormalHostPolicy) return 'host policy is suppressed: about a host endpoint';
  if ((raw.unmatched ?? []).length > 0) return 'expects packets that no policy decides: untracked policy';
  return undefined;
}

function buildCase(raw: RawCase, direction: 'ingress' | 'egress'): ConformanceCase {
  const ingress = direction === 'ingress';
  const from = ingress ? 'uplink' : INTERFACE;
  const packets = [
    ...(raw.dropped ?? []).map((p) => ({ packet: packetOf(p), expected: 'deny' as const, from })),
    ...(raw.allowed ?? []).map((p) => ({ packet: packetOf(p), expected: 'allow' as const, from })),
  ];
  const own = [...new Set(packets.map(({ packet }) => (ingress ? packet.dst : packet.src)))];

  const policies: Policy[] = [];
  const tiers = (raw.tiers ?? []).map((tier) => {
    const ids = (tier.policies ?? []).map((policy) => {
      const id: PolicyId = {
        kind: 'GlobalNetworkPolicy',
        namespace: '',
        name: `${tier.name}.${policy.name}`,
      };
      const rules = (policy.rules ?? []).map(ruleFromJson);
      policies.push(policyOf({ id, tier: tier.name, ...rulesOf(rules, ingress) }));
      return id;
    });
    return tierOf({
      name: tier.name,
      ...(ingress ? { ingressPolicies: ids } : { egressPolicies: ids }),
      defaultAction: tier.endAction?.toLowerCase() === 'pass' ? 'Pass' : 'Deny',
    });
  });
  const profiles: Profile[] = (raw.profiles ?? []).map((profile) => ({
    name: profile.name,
    ...rulesOf((profile.rules ?? []).map(ruleFromJson), ingress),
  }));

  if (!ingress) {
    // A source of one packet is the destination of another: what the case does not speak of must not decide.
    const id: PolicyId = { kind: 'GlobalNetworkPolicy', namespace: '', name: 'open.ingress' };
    policies.push(policyOf({ id, tier: 'open', inboundRules: [ruleOf({ action: 'allow' })] }));
    tiers.unshift(tierOf({ name: 'open', ingressPolicies: [id] }));
  }

  const workload = workloadOf({
    name: INTERFACE,
    ipv4Nets: own.filter((a) => !a.includes(':')).map((a) => `${a}/32`),
    ipv6Nets: own.filter((a) => a.includes(':')).map((a) => `${a}/128`),
    tiers,
    profileIds: profiles.map((profile) => profile.name),
  });
  const ipSets = Object.entries(raw.ipsets ?? {}).map(([id, members]) => ipSetOf(id, members));
  return {
    name: raw.name,
    direction,
    model: modelOf({ ipSets, policies, profiles, workloads: [workload] }),
    workload,
    packets,
  };
}

function rulesOf(
  rules: readonly Rule[],
  ingress: boolean,
): { readonly inboundRules: readonly Rule[]; readonly outboundRules: readonly Rule[] } {
  return ingress ? { inboundRules: rules, outboundRules: [] } : { inboundRules: [], outboundRules: rules };
}

/** For ICMP the case format has code * 256 + type in the place of the destination port. */
function packetOf(raw: RawPacket): Packet {
  const { protocol, src, dst } = raw;
  return hasIcmp(protocol)
    ? makePacket({ src, dst, proto: protocol, icmpType: raw.dport & 0xff, icmpCode: raw.dport >> 8 })
    : makePacket({ src, dst, proto: protocol, sport: raw.sport, dport: raw.dport });
}

/** Members are `IP`, `CIDR` or `IP,proto:port`; Felix sends the last without a prefix length. */
function ipSetOf(id: string, members: readonly string[]): IpSet {
  if (members.some((member) => member.includes(','))) {
    return { id, type: 'IP_AND_PORT', members: new Set(members.map((m) => m.replace(/\/(32|128),/, ','))) };
  }
  return { id, type: members.every((m) => !m.includes('/')) ? 'IP' : 'NET', members: new Set(members) };
}

const LIST_FIELDS = {
  srcNet: 'srcNets',
  notSrcNet: 'notSrcNets',
  dstNet: 'dstNets',
  notDstNet: 'notDstNets',
  srcNamedPortIpSetIds: 'srcNamedPortIpSetIds',
  notSrcNamedPortIpSetIds: 'notSrcNamedPortIpSetIds',
  dstNamedPortIpSetIds: 'dstNamedPortIpSetIds',
  notDstNamedPortIpSetIds: 'notDstNamedPortIpSetIds',
  srcIpSetIds: 'srcIpSetIds',
  dstIpSetIds: 'dstIpSetIds',
  notSrcIpSetIds: 'notSrcIpSetIds',
  notDstIpSetIds: 'notDstIpSetIds',
  dstIpPortSetIds: 'dstIpPortSetIds',
} as const satisfies Readonly<Record<string, keyof Rule>>;

const OTHER_FIELDS = [
  'action',
  'ipVersion',
  'protocol',
  'notProtocol',
  'srcPorts',
  'notSrcPorts',
  'dstPorts',
  'notDstPorts',
  'icmpType',
  'icmpTypeCode',
  'notIcmpType',
  'notIcmpTypeCode',
  'ruleId',
];

/** A rule in protobuf's JSON, where zeros are left out. Throws for a field that is not carried over: it would be lost silently. */
export function ruleFromJson(raw: RawRule): Rule {
  const unknown = Object.keys(raw).find((key) => !(key in LIST_FIELDS) && !OTHER_FIELDS.includes(key));
  if (unknown !== undefined) throw new Error(`conformance rule field "${unknown}" is not known to this test`);
  const lists = Object.entries(LIST_FIELDS)
    .filter(([from]) => raw[from] !== undefined)
    .map(([from, to]) => [to, raw[from]]);
  return ruleOf({
    ...(Object.fromEntries(lists) as Partial<Rule>),
    action: (raw.action ?? '').toLowerCase(),
    ipVersion: ipVersionOf(raw.ipVersion),
    srcPorts: portsOf(raw.srcPorts),
    notSrcPorts: portsOf(raw.notSrcPorts),
    dstPorts: portsOf(raw.dstPorts),
    notDstPorts: portsOf(raw.notDstPorts),
    ...(raw.protocol === undefined ? {} : { protocol: raw.protocol.name ?? raw.protocol.number ?? 0 }),
    ...(raw.notProtocol === undefined
      ? {}
      : { notProtocol: raw.notProtocol.name ?? raw.notProtocol.number ?? 0 }),
    ...icmpOf('icmp', raw.icmpType, raw.icmpTypeCode),
    ...icmpOf('notIcmp', raw.notIcmpType, raw.notIcmpTypeCode),
  });
}

function ipVersionOf(value: string | number | undefined): 0 | 4 | 6 {
  if (value === 'IPV4' || value === 4) return 4;
  return value === 'IPV6' || value === 6 ? 6 : 0;
}

function portsOf(ranges: readonly Partial<PortRange>[] | undefined): readonly PortRange[] {
  return (ranges ?? []).map((range) => ({ first: range.first ?? 0, last: range.last ?? 0 }));
}

function icmpOf(
  field: 'icmp' | 'notIcmp',
  type: number | undefined,
  typeCode: Partial<IcmpMatch> | undefined,
): Partial<Rule> {
  if (typeCode !== undefined) return { [field]: { type: typeCode.type ?? 0, code: typeCode.code ?? 0 } };
  return type === undefined ? {} : { [field]: { type } };
}

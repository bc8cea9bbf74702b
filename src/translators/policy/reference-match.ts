/**
 * Does one rule match one packet? Written to be obviously right and nothing else: every question is answered from the
 * strings that Felix sent, each time anew. Shares no code with the policy compiler, which is tested against it.
 *
 * Authority: felix/rules/policy.go (FilterRuleToIPVersion, CalculateRuleMatch) and felix/bpf/polprog/pol_prog_builder.go.
 */
import ipaddr from 'ipaddr.js';
import { CalicoP4Error } from '../../errors';
import type { FelixModel, IcmpMatch, IpSet, PortRange, Rule } from '../../model/model';

/** What policy can see of a packet. `src` and `dst` are plain addresses of one family; fields that the protocol lacks are 0. */
export interface PacketTuple {
  readonly src: string;
  readonly dst: string;
  /** IP protocol number. */
  readonly proto: number;
  readonly sport: number;
  readonly dport: number;
  readonly icmpType: number;
  readonly icmpCode: number;
}

type Address = ipaddr.IPv4 | ipaddr.IPv6;

/** `a.b.c.d` or IPv6. Throws POLICY_INVALID. */
function parseAddress(text: string): Address {
  if (!ipaddr.isValid(text)) {
    throw new CalicoP4Error('POLICY_INVALID', `"${text}" is no IP address`, { address: text });
  }
  // ipaddr.js takes `::1.2.3.4` for `::ffff:1.2.3.4`; it is `::102:304`.
  const [, ...quad] = /^::(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(text) ?? [];
  if (quad.length === 4) {
    const [a, b, c, d] = quad.map(Number) as [number, number, number, number];
    return new ipaddr.IPv6([0, 0, 0, 0, 0, 0, a * 256 + b, c * 256 + d]);
  }
  return ipaddr.parse(text);
}

/** 4 or 6, by the packet's addresses. Throws POLICY_INVALID when source and destination differ in family. */
export function packetFamily(packet: Pick<PacketTuple, 'src' | 'dst'>): 4 | 6 {
  const src = parseAddress(packet.src).kind();
  const dst = parseAddress(packet.dst).kind();
  if (src !== dst) {
    throw new CalicoP4Error(
      'POLICY_INVALID',
      `a packet from ${packet.src} to ${packet.dst} has two IP versions`,
    );
  }
  return src === 'ipv4' ? 4 : 6;
}

/** Whether `address` lies in `net`, a CIDR (bits after the prefix are ignored) or a plain address. Other family: no. */
export function netContains(net: string, address: string): boolean {
  const a = parseAddress(address);
  const [base, length] = parseNet(net);
  if (base.kind() !== a.kind()) return false;
  const x = base.toByteArray();
  const y = a.toByteArray();
  for (let bit = 0; bit < length; bit++) {
    const byte = Math.floor(bit / 8);
    const mask = 0x80 >> (bit % 8);
    if ((x[byte]! & mask) !== (y[byte]! & mask)) return false;
  }
  return true;
}

function parseNet(net: string): [Address, number] {
  if (net.includes('/')) {
    if (!ipaddr.isValidCIDR(net)) {
      throw new CalicoP4Error('POLICY_INVALID', `"${net}" is no CIDR`, { net });
    }
    const [base, length] = net.split('/') as [string, string];
    return [parseAddress(base), Number(length)];
  }
  const address = parseAddress(net);
  return [address, address.kind() === 'ipv4' ? 32 : 128];
}

/** Protocol names that Felix sends in rules and in IP set members. */
const PROTOCOL_NUMBERS: Readonly<Record<string, number>> = {
  icmp: 1,
  tcp: 6,
  udp: 17,
  icmpv6: 58,
  sctp: 132,
  udplite: 136,
};

function protocolNumber(protocol: number | string): number | undefined {
  if (typeof protocol === 'number') return protocol;
  if (/^\d+$/.test(protocol)) return Number(protocol);
  return PROTOCOL_NUMBERS[protocol.toLowerCase()];
}

/** TCP, UDP, SCTP and UDP-Lite have ports. */
export function hasPorts(proto: number): boolean {
  return proto === 6 || proto === 17 || proto === 132 || proto === 136;
}

/** ICMP and ICMPv6 have a type and a code. */
export function hasIcmp(proto: number): boolean {
  return proto === 1 || proto === 58;
}

/**
 * Whether every condition of `rule` holds for `packet`.
 * @param undecided what to take a condition for that can not be decided: an IP set that the model lacks or that is of the wrong
 * type, a protocol name that nobody knows
 */
export function ruleMatches(model: FelixModel, rule: Rule, packet: PacketTuple, undecided: boolean): boolean {
  const family = packetFamily(packet);
  if (!appliesToFamily(rule, family)) return false;

  if (!undecided && namesUnusableSet(model, rule)) return false;

  if (rule.protocol !== undefined) {
    const wanted = protocolNumber(rule.protocol);
    if (wanted === undefined ? !undecided : wanted !== packet.proto) return false;
  }
  if (rule.notProtocol !== undefined) {
    const unwanted = protocolNumber(rule.notProtocol);
    if (unwanted === undefined ? !undecided : unwanted === packet.proto) return false;
  }

  // Nets of the other family match nothing here, which is what filtering them out comes to.
  if (rule.srcNets.length > 0 && !rule.srcNets.some((n) => netContains(n, packet.src))) return false;
  if (rule.dstNets.length > 0 && !rule.dstNets.some((n) => netContains(n, packet.dst))) return false;
  if (rule.notSrcNets.some((n) => netContains(n, packet.src))) return false;
  if (rule.notDstNets.some((n) => netContains(n, packet.dst))) return false;

  const inSet = (id: string, address: string): boolean | undefined =>
    addressInSet(model.ipSets.get(id), address);
  if (!rule.srcIpSetIds.every((id) => inSet(id, packet.src) ?? undecided)) return false;
  if (!rule.dstIpSetIds.every((id) => inSet(id, packet.dst) ?? undecided)) return false;
  if (rule.notSrcIpSetIds.some((id) => inSet(id, packet.src) ?? !undecided)) return false;
  if (rule.notDstIpSetIds.some((id) => inSet(id, packet.dst) ?? !undecided)) return false;

  const inPortSet = (id: string, address: string, port: number): boolean | undefined =>
    portInSet(model.ipSets.get(id), address, packet.proto, port);
  if (!rule.dstIpPortSetIds.every((id) => inPortSet(id, packet.dst, packet.dport) ?? undecided)) return false;

  if (hasPortMatch(rule) && !hasPorts(packet.proto)) return false;
  if (rule.srcPorts.length > 0 || rule.srcNamedPortIpSetIds.length > 0) {
    const numeric = portInRanges(rule.srcPorts, packet.sport);
    const named = rule.srcNamedPortIpSetIds.some(
      (id) => inPortSet(id, packet.src, packet.sport) ?? undecided,
    );
    if (!numeric && !named) return false;
  }
  if (rule.dstPorts.length > 0 || rule.dstNamedPortIpSetIds.length > 0) {
    const numeric = portInRanges(rule.dstPorts, packet.dport);
    const named = rule.dstNamedPortIpSetIds.some(
      (id) => inPortSet(id, packet.dst, packet.dport) ?? undecided,
    );
    if (!numeric && !named) return false;
  }
  if (portInRanges(rule.notSrcPorts, packet.sport)) return false;
  if (portInRanges(rule.notDstPorts, packet.dport)) return false;
  if (rule.notSrcNamedPortIpSetIds.some((id) => inPortSet(id, packet.src, packet.sport) ?? !undecided))
    return false;
  if (rule.notDstNamedPortIpSetIds.some((id) => inPortSet(id, packet.dst, packet.dport) ?? !undecided))
    return false;

  if (rule.icmp !== undefined || rule.notIcmp !== undefined) {
    if (!hasIcmp(packet.proto)) return false;
    if (rule.icmp !== undefined && !icmpIs(rule.icmp, packet)) return false;
    if (rule.notIcmp !== undefined && icmpIs(rule.notIcmp, packet)) return false;
  }
  return true;
}

/** The rule's action denies: deny, and every action that is not known. */
export function isDeny(action: string): boolean {
  return !['', 'allow', 'log', 'pass', 'next-tier'].includes(action.toLowerCase());
}

/**
 * A rule is for both families unless it says so, or one of its net fields has nothing left of the family. A negated
 * catch-all drops the whole rule, although its other nets would be enough to decide.
 */
function appliesToFamily(rule: Rule, family: 4 | 6): boolean {
  if (rule.ipVersion !== 0 && rule.ipVersion !== family) return false;
  const ofFamily = (net: string): boolean => net.includes(':') === (family === 6);
  for (const nets of [rule.srcNets, rule.dstNets, rule.notSrcNets, rule.notDstNets]) {
    if (nets.length > 0 && !nets.some(ofFamily)) return false;
  }
  const catchAll = family === 4 ? '0.0.0.0/0' : '::/0';
  return !rule.notSrcNets.includes(catchAll) && !rule.notDstNets.includes(catchAll);
}

function hasPortMatch(rule: Rule): boolean {
  return (
    rule.srcPorts.length > 0 ||
    rule.dstPorts.length > 0 ||
    rule.notSrcPorts.length > 0 ||
    rule.notDstPorts.length > 0 ||
    rule.srcNamedPortIpSetIds.length > 0 ||
    rule.dstNamedPortIpSetIds.length > 0 ||
    rule.notSrcNamedPortIpSetIds.length > 0 ||
    rule.notDstNamedPortIpSetIds.length > 0
  );
}

function namesUnusableSet(model: FelixModel, rule: Rule): boolean {
  const addressSets = [
    ...rule.srcIpSetIds,
    ...rule.dstIpSetIds,
    ...rule.notSrcIpSetIds,
    ...rule.notDstIpSetIds,
  ];
  const portSets = [
    ...rule.dstIpPortSetIds,
    ...rule.srcNamedPortIpSetIds,
    ...rule.dstNamedPortIpSetIds,
    ...rule.notSrcNamedPortIpSetIds,
    ...rule.notDstNamedPortIpSetIds,
  ];
  const isAddressSet = (set: IpSet | undefined): boolean => set?.type === 'IP' || set?.type === 'NET';
  const isPortSet = (set: IpSet | undefined): boolean => set?.type === 'IP_AND_PORT';
  return (
    addressSets.some((id) => !isAddressSet(model.ipSets.get(id))) ||
    portSets.some((id) => !isPortSet(model.ipSets.get(id)))
  );
}

/** undefined when there is no such set of addresses. */
function addressInSet(set: IpSet | undefined, address: string): boolean | undefined {
  if (set === undefined || set.type === 'IP_AND_PORT') return undefined;
  return [...set.members].some((member) => netContains(member, address));
}

/** Members are `IP,proto:port`. undefined when there is no such set of ports. */
function portInSet(
  set: IpSet | undefined,
  address: string,
  proto: number,
  port: number,
): boolean | undefined {
  if (set?.type !== 'IP_AND_PORT') return undefined;
  if (!hasPorts(proto)) return false;
  return [...set.members].some((member) => {
    const [net, protoAndPort] = member.split(',');
    const [memberProto, memberPort] = (protoAndPort ?? '').split(':');
    if (net === undefined || memberProto === undefined || memberPort === undefined) {
      throw new CalicoP4Error('POLICY_INVALID', `IP set ${set.id}: member "${member}" is not IP,proto:port`);
    }
    return netContains(net, address) && protocolNumber(memberProto) === proto && Number(memberPort) === port;
  });
}

function portInRanges(ranges: readonly PortRange[], port: number): boolean {
  return ranges.some((r) => r.first <= port && port <= r.last);
}

function icmpIs(match: IcmpMatch, packet: PacketTuple): boolean {
  return match.type === packet.icmpType && (match.code === undefined || match.code === packet.icmpCode);
}

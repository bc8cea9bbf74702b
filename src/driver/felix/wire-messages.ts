/**
 * The shape of what protobufjs makes of the messages, for those that reach the model. Names are those of the .proto
 * files in camel case. Fields that were not sent hold their defaults; message fields that were not sent are null, and
 * the name of a oneof tells which of its members was sent.
 */
export interface WireRule {
  readonly action: string;
  readonly ipVersion: number;
  readonly protocol: WireProtocol | null;
  readonly srcNet: readonly string[];
  readonly srcPorts: readonly WirePortRange[];
  readonly dstNet: readonly string[];
  readonly dstPorts: readonly WirePortRange[];
  readonly icmp?: 'icmpType' | 'icmpTypeCode';
  readonly icmpType: number;
  readonly icmpTypeCode: WireIcmpTypeAndCode | null;
  readonly srcIpSetIds: readonly string[];
  readonly dstIpSetIds: readonly string[];
  readonly srcNamedPortIpSetIds: readonly string[];
  readonly dstNamedPortIpSetIds: readonly string[];
  readonly dstIpPortSetIds: readonly string[];
  readonly notProtocol: WireProtocol | null;
  readonly notSrcNet: readonly string[];
  readonly notSrcPorts: readonly WirePortRange[];
  readonly notDstNet: readonly string[];
  readonly notDstPorts: readonly WirePortRange[];
  readonly notIcmp?: 'notIcmpType' | 'notIcmpTypeCode';
  readonly notIcmpType: number;
  readonly notIcmpTypeCode: WireIcmpTypeAndCode | null;
  readonly notSrcIpSetIds: readonly string[];
  readonly notDstIpSetIds: readonly string[];
  readonly notSrcNamedPortIpSetIds: readonly string[];
  readonly notDstNamedPortIpSetIds: readonly string[];
  readonly httpMatch: object | null;
  readonly ruleId: string;
}

export interface WireProtocol {
  readonly numberOrName?: 'number' | 'name';
  readonly number: number;
  readonly name: string;
}

export interface WirePortRange {
  readonly first: number;
  readonly last: number;
}

export interface WireIcmpTypeAndCode {
  readonly type: number;
  readonly code: number;
}

/** A policy or a profile: profiles have no more than the rules. */
export interface WireRules {
  readonly inboundRules: readonly WireRule[];
  readonly outboundRules: readonly WireRule[];
}

export interface WirePolicy extends WireRules {
  readonly untracked: boolean;
  readonly preDnat: boolean;
  /** Absent in forms up to 3.31. */
  readonly tier?: string;
}

export interface WireTierInfo {
  readonly name: string;
  /** Read by the form. */
  readonly ingressPolicies: readonly unknown[];
  readonly egressPolicies: readonly unknown[];
  /** Absent in the form up to 3.28. */
  readonly defaultAction?: string;
}

export interface WireWorkloadEndpointId {
  readonly orchestratorId: string;
  readonly workloadId: string;
  readonly endpointId: string;
}

export interface WireWorkloadEndpoint {
  readonly state: string;
  readonly name: string;
  readonly mac: string;
  readonly profileIds: readonly string[];
  readonly ipv4Nets: readonly string[];
  readonly ipv6Nets: readonly string[];
  readonly tiers: readonly WireTierInfo[];
  readonly allowSpoofedSourcePrefixes: readonly string[];
  readonly ipv4Nat: readonly WireNatInfo[];
  readonly ipv6Nat: readonly WireNatInfo[];
  /** These two are absent in forms up to 3.29. */
  readonly qosControls?: WireQosControls | null;
  readonly qosPolicies?: readonly WireQosPolicy[];
}

export interface WireNatInfo {
  readonly extIp: string;
  readonly intIp: string;
}

/** A number where protobufjs finds no library for 64 bits. */
export type Wire64 = Long | number;

/** Names as in the contract, which has them in capitals. */
export interface WireQosControls {
  readonly IngressBandwidth: Wire64;
  readonly EgressBandwidth: Wire64;
  readonly IngressBurst: Wire64;
  readonly EgressBurst: Wire64;
  readonly IngressPacketRate: Wire64;
  readonly EgressPacketRate: Wire64;
  readonly IngressMaxConnections: Wire64;
  readonly EgressMaxConnections: Wire64;
  readonly IngressPeakrate: Wire64;
  readonly EgressPeakrate: Wire64;
  readonly IngressMinburst: Wire64;
  readonly EgressMinburst: Wire64;
  readonly IngressPacketBurst: Wire64;
  readonly EgressPacketBurst: Wire64;
}

export interface WireQosPolicy {
  readonly destination: string;
  readonly dscp: number;
}

export interface WireIpamPool {
  readonly cidr: string;
  readonly masquerade: boolean;
  readonly ipipMode: string;
  readonly vxlanMode: string;
  /** Absent in forms up to 3.32. */
  readonly allowedUses?: readonly string[];
}

export interface WireHostEndpoint {
  readonly name: string;
  readonly profileIds: readonly string[];
  readonly tiers: readonly WireTierInfo[];
  readonly untrackedTiers: readonly WireTierInfo[];
  readonly preDnatTiers: readonly WireTierInfo[];
  readonly forwardTiers: readonly WireTierInfo[];
  readonly expectedIpv4Addrs: readonly string[];
  readonly expectedIpv6Addrs: readonly string[];
  /** Absent in forms up to 3.29. */
  readonly qosPolicies?: readonly WireQosPolicy[];
}

/** Every payload's fields that are read, none of which any form uses for two things. */
export interface WirePayload {
  readonly id: unknown;
  readonly type: number;
  readonly members: readonly string[];
  readonly addedMembers: readonly string[];
  readonly removedMembers: readonly string[];
  readonly policy: WirePolicy | null;
  readonly profile: WireRules | null;
  readonly endpoint: object | null;
  readonly config: Readonly<Record<string, string>>;
  readonly hostname: string;
  readonly ipv4Addr?: string;
  readonly ipv6Addr?: string;
  readonly pool: WireIpamPool | null;
  /** Of a route; in forms up to 3.29 `type` says it as a number of an enumeration. */
  readonly types?: number;
  readonly ipPoolType: number;
  readonly dst: string;
  readonly dstNodeName: string;
  readonly dstNodeIp: string;
  readonly sameSubnet: boolean;
  readonly localWorkload: boolean;
  /** Absent in the form 3.26. */
  readonly borrowed?: boolean;
  /** Of a tunnel endpoint. */
  readonly node: string;
  readonly mac: string;
  readonly parentDeviceIp: string;
  readonly macV6: string;
  readonly parentDeviceIpv6: string;
  readonly ipipEnabled: boolean;
  readonly vxlanEnabled: boolean;
  readonly vxlanEnabledV6: boolean;
  /** Absent in forms up to 3.32. */
  readonly noEncapEnabled?: boolean;
  readonly publicKey: string;
  readonly interfaceIpv4Addr: string;
  readonly publicKeyV6: string;
  readonly interfaceIpv6Addr: string;
}

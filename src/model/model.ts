/**
 * What Felix said, in one form for every release of its contract. The felix link writes it, translators read it.
 * Names are Calico's. Everything is plain data: no I/O, no methods.
 */

/** A rule's IP version: 0 matches both families. */
export type IpVersion = 0 | 4 | 6;

export interface PortRange {
  readonly first: number;
  readonly last: number;
}

/** ICMP match: `code` absent means every code of the type. */
export interface IcmpMatch {
  readonly type: number;
  readonly code?: number;
}

/** One Calico rule. A list that is empty is no match at all on that field; ports in host order. */
export interface Rule {
  /** As sent: allow, deny, log, next-tier, pass; "" is allow (felix/rules/policy.go). Case-insensitive. */
  readonly action: string;
  readonly ipVersion: IpVersion;
  /** IP protocol number, or a name; absent matches every protocol. */
  readonly protocol?: number | string;
  readonly notProtocol?: number | string;
  readonly srcNets: readonly string[];
  readonly notSrcNets: readonly string[];
  readonly dstNets: readonly string[];
  readonly notDstNets: readonly string[];
  readonly srcPorts: readonly PortRange[];
  readonly notSrcPorts: readonly PortRange[];
  readonly dstPorts: readonly PortRange[];
  readonly notDstPorts: readonly PortRange[];
  readonly srcNamedPortIpSetIds: readonly string[];
  readonly notSrcNamedPortIpSetIds: readonly string[];
  readonly dstNamedPortIpSetIds: readonly string[];
  readonly notDstNamedPortIpSetIds: readonly string[];
  readonly icmp?: IcmpMatch;
  readonly notIcmp?: IcmpMatch;
  /** A packet must be in all of them. */
  readonly srcIpSetIds: readonly string[];
  readonly dstIpSetIds: readonly string[];
  /** A packet must be in none of them. */
  readonly notSrcIpSetIds: readonly string[];
  readonly notDstIpSetIds: readonly string[];
  /** A packet's (destination, protocol, port) must be in all of them. */
  readonly dstIpPortSetIds: readonly string[];
  /** True when the rule carries an HTTP match. Calico's Linux dataplanes do not look at it (docs/guarantees.md). */
  readonly hasHttpMatch: boolean;
  readonly ruleId: string;
}

/** Kinds whose name starts with `Staged` are never enforced. `Profile` is not a Felix kind: profiles have no kind. */
export interface PolicyId {
  readonly kind: string;
  /** "" for kinds without a namespace. */
  readonly namespace: string;
  readonly name: string;
}

export interface Policy {
  readonly id: PolicyId;
  readonly tier: string;
  readonly inboundRules: readonly Rule[];
  readonly outboundRules: readonly Rule[];
  readonly untracked: boolean;
  readonly preDnat: boolean;
}

export interface Profile {
  readonly name: string;
  readonly inboundRules: readonly Rule[];
  readonly outboundRules: readonly Rule[];
}

/** NET members are CIDRs, IP members addresses, IP_AND_PORT members `IP,proto:port`; both families share a set. */
export type IpSetType = 'IP' | 'NET' | 'IP_AND_PORT';

/**
 * `members` is one live Set that later changes mutate; a changed set is a new IpSet around it. So identity (===) tells that a set
 * changed, but an older IpSet shows the newer members: who needs the old ones keeps a copy, and brings it up to date by `change`.
 */
export interface IpSet {
  readonly id: string;
  readonly type: IpSetType;
  readonly members: ReadonlySet<string>;
  /**
   * How this object came of an earlier one. Absent when that is not known, or is as much as the set itself: then read all members.
   * Not enumerable: a comparison, a spread or a clone of the set does not see its history.
   */
  readonly change?: IpSetChange;
}

/**
 * One step back in the history of a set of one type. A reader who knows some earlier object walks `change.before` back to it
 * and applies what it met, oldest first; when the walk ends without meeting it, the whole set must be read.
 *
 * The history is short: the steps of one batch become one step when the batch is taken (ModelBuilder.takeChanges), and of the older ones
 * no more are kept than 8 batches, nor more members than the set has plus 1,024. The oldest objects then lose their `change`.
 */
export interface IpSetChange {
  readonly before: IpSet;
  /** Members that `before` did not have; without repetition. One of the two lists may be empty, or both. */
  readonly added: readonly string[];
  /** Members that `before` had and this object has not. */
  readonly removed: readonly string[];
}

export interface TierInfo {
  readonly name: string;
  readonly ingressPolicies: readonly PolicyId[];
  readonly egressPolicies: readonly PolicyId[];
  /** What happens at the tier's end; an empty string on the wire is Deny. */
  readonly defaultAction: 'Deny' | 'Pass';
}

export interface WorkloadEndpointId {
  readonly orchestratorId: string;
  readonly workloadId: string;
  readonly endpointId: string;
}

export interface WorkloadEndpoint {
  readonly id: WorkloadEndpointId;
  /** `active` is admin up; anything else drops all traffic (felix/rules/endpoints.go). */
  readonly state: string;
  /** Host-side interface name, for example cali1a1d93fb084. */
  readonly name: string;
  readonly mac: string;
  readonly profileIds: readonly string[];
  readonly ipv4Nets: readonly string[];
  readonly ipv6Nets: readonly string[];
  readonly tiers: readonly TierInfo[];
  readonly allowSpoofedSourcePrefixes: readonly string[];
  /** Absent when Felix set no limit in either direction. */
  readonly qos?: QosControls;
  /** Differentiated services code points, 0 to 63; Calico sends one at most and uses the first. Absent: left as it is. */
  readonly dscps?: readonly number[];
  /** Floating IPs, both families; absent when it has none. */
  readonly nats?: readonly NatInfo[];
}

/** A floating IP: packets to `external` go to `internal`, an address of the endpoint. */
export interface NatInfo {
  readonly external: string;
  readonly internal: string;
}

/** Limits of an endpoint. */
export interface QosControls {
  /** What goes to the endpoint. */
  readonly ingress: QosLimits;
  /** What comes from it. */
  readonly egress: QosLimits;
}

/** As Felix sends them, with its units; 0 is no limit. 64-bit values, above 2^32 as a rule. */
export interface QosLimits {
  /** Bits per second. */
  readonly bandwidth: bigint;
  /** Bits. */
  readonly burst: bigint;
  /** Bits per second. */
  readonly peakRate: bigint;
  /** Bytes. */
  readonly minBurst: bigint;
  /** Packets per second. */
  readonly packetRate: bigint;
  /** Packets. */
  readonly packetBurst: bigint;
  readonly maxConnections: bigint;
}

export interface HostEndpoint {
  readonly id: string;
  /** Interface name; `*` or "" for all interfaces. */
  readonly name: string;
  readonly profileIds: readonly string[];
  readonly tiers: readonly TierInfo[];
  readonly untrackedTiers: readonly TierInfo[];
  readonly preDnatTiers: readonly TierInfo[];
  readonly forwardTiers: readonly TierInfo[];
  readonly expectedIpv4Addrs: readonly string[];
  readonly expectedIpv6Addrs: readonly string[];
  /** As of a workload endpoint; for what the host sends. */
  readonly dscps?: readonly number[];
}

/** Addresses are CIDRs (`10.1.0.10/24`) or plain, "" when unknown. */
export interface HostMetadata {
  readonly hostname: string;
  readonly ipv4Addr: string;
  readonly ipv6Addr: string;
}

export interface IpamPool {
  readonly id: string;
  readonly cidr: string;
  /** What leaves the pool for addresses of no pool is masqueraded (natOutgoing). */
  readonly masquerade: boolean;
  /** `always`, `cross-subnet`, or "" for none, as Felix spells them. */
  readonly ipipMode: string;
  readonly vxlanMode: string;
  /** Workload, Tunnel, LoadBalancer; empty where the release does not say: then it is for workloads and tunnels. */
  readonly allowedUses: readonly string[];
}

/** Bits of Route.types; releases up to 3.29 send one of them at a time. 0 is the CIDR of an IP pool. */
export const ROUTE_TYPE = {
  remoteWorkload: 1,
  remoteHost: 2,
  localWorkload: 4,
  localHost: 8,
  remoteTunnel: 16,
  localTunnel: 32,
} as const;

/** How packets to addresses of an IP pool travel between nodes. `unknown`: something that this version does not know. */
export type PoolType = 'none' | 'no-encap' | 'vxlan' | 'ipip' | 'unknown';

/** What Felix knows of where a CIDR is: an IPAM block, a borrowed address, a node's own address or that of its tunnel, a pool. */
export interface Route {
  /** A CIDR. */
  readonly dst: string;
  /** ROUTE_TYPE bits. */
  readonly types: number;
  readonly poolType: PoolType;
  /** The node that has it; "" for a pool. */
  readonly node: string;
  /** That node's address, of the family of `dst`; "" while it is not known. */
  readonly nodeIp: string;
  /** The pool is encapsulated only across subnets, and the node is on ours. */
  readonly sameSubnet: boolean;
  /** A workload of this node has the address. */
  readonly localWorkload: boolean;
  /** Out of a block of another node. Releases before 3.29.2 do not say it. */
  readonly borrowed: boolean;
}

/** VXLAN tunnel endpoint of a node. Each family has its own; "" for what the node has not. */
export interface Vtep {
  readonly node: string;
  /** Of the tunnel's end, and its address inside of the tunnel. */
  readonly mac: string;
  readonly address: string;
  /** The node's own address, where packets of the tunnel go. */
  readonly parentIp: string;
  readonly macV6: string;
  readonly addressV6: string;
  readonly parentIpV6: string;
}

/** Which kinds of tunnels the cluster's IP pools ask for. */
export interface Encapsulation {
  readonly ipip: boolean;
  readonly vxlan: boolean;
  readonly vxlanV6: boolean;
  /** Felix's dataplane routes pools without encapsulation itself; otherwise BIRD does. */
  readonly noEncap: boolean;
}

/** A node's end of WireGuard, of one family. */
export interface WireguardEndpoint {
  readonly node: string;
  readonly publicKey: string;
  readonly address: string;
}

/** How packets get to other nodes. */
export interface FelixNetwork {
  /** Keyed by `dst`, as Felix spells it. */
  readonly routes: ReadonlyMap<string, Route>;
  /** Keyed by node. */
  readonly vteps: ReadonlyMap<string, Vtep>;
  /** Keyed by node. */
  readonly wireguard: ReadonlyMap<string, WireguardEndpoint>;
  readonly wireguardV6: ReadonlyMap<string, WireguardEndpoint>;
  /** Replaced at a change, as `config`. */
  readonly encapsulation: Encapsulation;
}

/**
 * The node's desired state. One owner (the felix link's model builder) mutates the maps; readers treat them as read-only.
 * Values are immutable: a change replaces the value, so identity (===) tells whether something changed.
 */
export interface FelixModel extends FelixNetwork {
  /** Raw configuration (string values as Felix sent them); every ConfigUpdate carries all of it. */
  config: ReadonlyMap<string, string>;
  /** Keyed by IP set id. */
  readonly ipSets: ReadonlyMap<string, IpSet>;
  /** Keyed by policyKey(id). */
  readonly policies: ReadonlyMap<string, Policy>;
  /** Keyed by profile name. */
  readonly profiles: ReadonlyMap<string, Profile>;
  /** Keyed by workloadKey(id). */
  readonly workloads: ReadonlyMap<string, WorkloadEndpoint>;
  /** Keyed by endpoint id. */
  readonly hostEndpoints: ReadonlyMap<string, HostEndpoint>;
  /** Keyed by hostname. */
  readonly hosts: ReadonlyMap<string, HostMetadata>;
  /** Keyed by Calico's id of the pool. */
  readonly pools: ReadonlyMap<string, IpamPool>;
  readonly inSync: boolean;
}

/** Before Felix says anything about it. */
export const NO_NETWORK: FelixNetwork = {
  routes: new Map(),
  vteps: new Map(),
  wireguard: new Map(),
  wireguardV6: new Map(),
  encapsulation: { ipip: false, vxlan: false, vxlanV6: false, noEncap: false },
};

/** Key of a policy: the name alone is not unique (felix-contract). */
export function policyKey(id: PolicyId): string {
  return `${id.kind}/${id.namespace}/${id.name}`;
}

export function workloadKey(id: WorkloadEndpointId): string {
  return `${id.orchestratorId}/${id.workloadId}/${id.endpointId}`;
}

/** Staged policies are delivered and never enforced (libcalico-go/lib/backend/model KindIsStaged). */
export function isStaged(id: PolicyId): boolean {
  return id.kind.startsWith('Staged');
}

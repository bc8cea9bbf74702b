/** Building blocks of models for tests: complete objects from the fields that a test is about. */
import type {
  FelixNetwork,
  FelixModel,
  HostEndpoint,
  HostMetadata,
  IpamPool,
  IpSet,
  Policy,
  Profile,
  Rule,
  TierInfo,
  WorkloadEndpoint,
} from '../../src/model/model';
import { NO_NETWORK, policyKey, workloadKey } from '../../src/model/model';

/** The node that `modelOf` describes, and its own addresses. */
export const NODE_NAME = 'node-under-test';
export const NODE_IPV4 = '192.0.2.1';
export const NODE_IPV6 = '2001:db8:ffff::1';

export const NODE: HostMetadata = {
  hostname: NODE_NAME,
  ipv4Addr: `${NODE_IPV4}/24`,
  ipv6Addr: `${NODE_IPV6}/64`,
};

export function ruleOf(fields: Partial<Rule> & Pick<Rule, 'action'>): Rule {
  return {
    ipVersion: 0,
    srcNets: [],
    notSrcNets: [],
    dstNets: [],
    notDstNets: [],
    srcPorts: [],
    notSrcPorts: [],
    dstPorts: [],
    notDstPorts: [],
    srcNamedPortIpSetIds: [],
    notSrcNamedPortIpSetIds: [],
    dstNamedPortIpSetIds: [],
    notDstNamedPortIpSetIds: [],
    srcIpSetIds: [],
    dstIpSetIds: [],
    notSrcIpSetIds: [],
    notDstIpSetIds: [],
    dstIpPortSetIds: [],
    hasHttpMatch: false,
    ruleId: '',
    ...fields,
  };
}

export function policyOf(fields: Partial<Policy> & Pick<Policy, 'id'>): Policy {
  return {
    tier: 'default',
    inboundRules: [],
    outboundRules: [],
    untracked: false,
    preDnat: false,
    ...fields,
  };
}

export function tierOf(fields: Partial<TierInfo> & Pick<TierInfo, 'name'>): TierInfo {
  return { ingressPolicies: [], egressPolicies: [], defaultAction: 'Deny', ...fields };
}

/** An active endpoint; `name` is its interface and names the workload too. */
export function workloadOf(
  fields: Partial<WorkloadEndpoint> & Pick<WorkloadEndpoint, 'name'>,
): WorkloadEndpoint {
  return {
    id: { orchestratorId: 'k8s', workloadId: `default/${fields.name}`, endpointId: 'eth0' },
    state: 'active',
    mac: '',
    profileIds: [],
    ipv4Nets: [],
    ipv6Nets: [],
    tiers: [],
    allowSpoofedSourcePrefixes: [],
    ...fields,
  };
}

/** The interface at the uplink, for host endpoints that name one. */
export const UPLINK = 'eth0';

/** Without policy, and in force nowhere unless it says where. */
export function hostEndpointOf(fields: Partial<HostEndpoint> & Pick<HostEndpoint, 'id'>): HostEndpoint {
  return {
    name: '',
    profileIds: [],
    tiers: [],
    untrackedTiers: [],
    preDnatTiers: [],
    forwardTiers: [],
    expectedIpv4Addrs: [],
    expectedIpv6Addrs: [],
    ...fields,
  };
}

export interface ModelParts {
  readonly config?: Readonly<Record<string, string>>;
  readonly ipSets?: readonly IpSet[];
  readonly policies?: readonly Policy[];
  readonly profiles?: readonly Profile[];
  readonly workloads?: readonly WorkloadEndpoint[];
  readonly hostEndpoints?: readonly HostEndpoint[];
  readonly hosts?: readonly HostMetadata[];
  readonly pools?: readonly IpamPool[];
  readonly network?: Partial<FelixNetwork>;
}

/** A model in sync, of the node NODE unless `hosts` says otherwise. */
export function modelOf(parts: ModelParts): FelixModel {
  return {
    config: new Map(Object.entries({ FelixHostname: NODE_NAME, ...parts.config })),
    ipSets: new Map((parts.ipSets ?? []).map((set) => [set.id, set])),
    policies: new Map((parts.policies ?? []).map((policy) => [policyKey(policy.id), policy])),
    profiles: new Map((parts.profiles ?? []).map((profile) => [profile.name, profile])),
    workloads: new Map((parts.workloads ?? []).map((workload) => [workloadKey(workload.id), workload])),
    hostEndpoints: new Map((parts.hostEndpoints ?? []).map((endpoint) => [endpoint.id, endpoint])),
    hosts: new Map((parts.hosts ?? [NODE]).map((host) => [host.hostname, host])),
    pools: new Map((parts.pools ?? []).map((pool) => [pool.id, pool])),
    ...NO_NETWORK,
    ...parts.network,
    inSync: true,
  };
}

/** What Felix would make of a lab: workload endpoints with their policies in order, and selectors as IP sets. Pure. */
import { createHash } from 'node:crypto';
import { isIPv4 } from 'node:net';
import { CalicoP4Error } from '../errors';
import type {
  FelixModel,
  HostMetadata,
  IpSet,
  Policy,
  PolicyId,
  PortRange,
  Profile,
  Rule,
  TierInfo,
  WorkloadEndpoint,
} from '../model/model';
import { NO_NETWORK, policyKey, workloadKey } from '../model/model';
import { parseCidr } from '../translators/address';
import type { LabFile, LabFilePod, LabFilePolicy, LabFileRule } from './lab-file';
import type { LabPod } from './places';
import { normalSelector, type SelectorLabels, selects } from './selector';

/** A pod of a lab file. */
export interface FilePod extends LabPod {
  readonly labels: SelectorLabels;
}

/** The Kubernetes namespace of all pods of a lab. */
const NAMESPACE = 'lab';
/** Allows everything, as that of a Kubernetes namespace does: it judges pods that no policy selects. */
const PROFILE = `kns.${NAMESPACE}`;
const FIRST_ADDRESS = 10;
/** Of the node. */
const HOSTNAME = 'lab';

/** Gives addresses and MACs in the order of the file. */
export function placePods({ pods, outside, host }: LabFile): readonly FilePod[] {
  const places = [...pods, outside, host];
  const taken = new Set(places.flatMap(({ ips = [] }) => ips.map((ip) => parseCidr(ip)!.text)));
  let next = FIRST_ADDRESS;
  const addresses = (): readonly string[] => {
    for (; next <= 254;) {
      const ips = [`10.65.0.${next}`, `fd00:65::${next}`];
      next += 1;
      if (!ips.some((ip) => taken.has(parseCidr(ip)!.text))) return ips;
    }
    throw new CalicoP4Error('CONFIG_INVALID', 'no addresses are left in 10.65.0.0/24: give fewer ips');
  };
  return pods.map((pod, i) => ({
    name: pod.name,
    labels: labelsOf(pod),
    interface: `cali${pod.name}`,
    mac: `02:65:00:00:00:${(i + 1).toString(16).padStart(2, '0')}`,
    ips: pod.ips ?? addresses(),
    serve: pod.serve,
    workloadId: `${NAMESPACE}/${pod.name}`,
  }));
}

/** Labels that Kubernetes' pods have in Calico, and the file's own. */
function labelsOf({ labels }: LabFilePod): SelectorLabels {
  return { 'projectcalico.org/namespace': NAMESPACE, 'projectcalico.org/orchestrator': 'k8s', ...labels };
}

/** The state of the node, complete. */
export function labModel(file: LabFile, pods: readonly FilePod[]): FelixModel {
  const ipSets = new Map<string, IpSet>();
  /** The id of the set of the pods that a selector selects, as Felix makes both. */
  const setOf = (labels: SelectorLabels): string => {
    const id = ipSetId(labels);
    const members = pods.filter((pod) => selects(labels, pod.labels)).flatMap(({ ips }) => ips.map(asNet));
    ipSets.set(id, { id, type: 'NET', members: new Set(members) });
    return id;
  };
  const policies = file.policies.map((policy) => policyOf(policy, setOf));
  const endpoints = pods.map((pod) => endpointOf(pod, file.policies));
  const open = [anyRule('allow')];
  const profile: Profile = { name: PROFILE, inboundRules: open, outboundRules: open };
  return {
    config: new Map([
      ['FelixHostname', HOSTNAME],
      // As in Calico's manifests. Felix's own default is Drop.
      ['DefaultEndpointToHostAction', 'Accept'],
    ]),
    ipSets,
    policies: new Map(policies.map((policy) => [policyKey(policy.id), policy])),
    profiles: new Map([[PROFILE, profile]]),
    workloads: new Map(endpoints.map((endpoint) => [workloadKey(endpoint.id), endpoint])),
    hostEndpoints: new Map(),
    hosts: new Map([[HOSTNAME, hostOf(file)]]),
    pools: new Map(),
    ...NO_NETWORK,
    inSync: true,
  };
}

function hostOf({ host }: LabFile): HostMetadata {
  const v4 = host.ips.find(isIPv4);
  const v6 = host.ips.find((ip) => !isIPv4(ip));
  return {
    hostname: HOSTNAME,
    ipv4Addr: v4 === undefined ? '' : asNet(v4),
    ipv6Addr: v6 === undefined ? '' : asNet(v6),
  };
}

function asNet(ip: string): string {
  return `${ip}/${isIPv4(ip) ? 32 : 128}`;
}

function policyId(name: string): PolicyId {
  return { kind: 'GlobalNetworkPolicy', namespace: '', name };
}

/** What Felix calls the set of a selector (libcalico-go/lib/hash). */
export function ipSetId(selector: SelectorLabels): string {
  return `s:${createHash('sha224')
    .update(`s:${normalSelector(selector)}`)
    .digest('base64url')}`;
}

type SetOf = (selector: SelectorLabels) => string;

function policyOf(policy: LabFilePolicy, setOf: SetOf): Policy {
  const rules = (direction: string, of: readonly LabFileRule[] = []): Rule[] =>
    of.map((rule, i) => ruleOf(rule, `${policy.name}-${direction}-${i}`, setOf));
  return {
    id: policyId(policy.name),
    tier: 'default',
    inboundRules: rules('ingress', policy.ingress),
    outboundRules: rules('egress', policy.egress),
    untracked: false,
    preDnat: false,
  };
}

function ruleOf({ action, protocol, source, destination }: LabFileRule, ruleId: string, setOf: SetOf): Rule {
  return {
    ...anyRule(action.toLowerCase()),
    ...(protocol === undefined ? {} : { protocol: protocol.toLowerCase() }),
    srcNets: source.nets ?? [],
    dstNets: destination.nets ?? [],
    srcPorts: (source.ports ?? []).map(portRange),
    dstPorts: (destination.ports ?? []).map(portRange),
    srcIpSetIds: source.selector === undefined ? [] : [setOf(source.selector)],
    dstIpSetIds: destination.selector === undefined ? [] : [setOf(destination.selector)],
    ruleId,
  };
}

function portRange(port: number | string): PortRange {
  const [first = 0, last = first] = String(port).split(':').map(Number);
  return { first, last };
}

function endpointOf(pod: FilePod, policies: readonly LabFilePolicy[]): WorkloadEndpoint {
  const applied = policies
    .filter(({ selector }) => selects(selector, pod.labels))
    .sort((a, b) => (a.order ?? Infinity) - (b.order ?? Infinity) || (a.name < b.name ? -1 : 1));
  const ofType = (type: 'Ingress' | 'Egress'): PolicyId[] =>
    applied.filter((policy) => typesOf(policy).includes(type)).map(({ name }) => policyId(name));
  const tier: TierInfo = {
    name: 'default',
    ingressPolicies: ofType('Ingress'),
    egressPolicies: ofType('Egress'),
    defaultAction: 'Deny',
  };
  return {
    id: { orchestratorId: 'k8s', workloadId: pod.workloadId, endpointId: 'eth0' },
    state: 'active',
    name: pod.interface,
    mac: pod.mac,
    profileIds: [PROFILE],
    ipv4Nets: pod.ips.filter(isIPv4).map(asNet),
    ipv6Nets: pod.ips.filter((ip) => !isIPv4(ip)).map(asNet),
    tiers: applied.length === 0 ? [] : [tier],
    allowSpoofedSourcePrefixes: [],
  };
}

/** As Calico's API fills them in: Ingress unless there are egress rules alone, Egress when there are any. */
function typesOf({ types, ingress, egress }: LabFilePolicy): readonly ('Ingress' | 'Egress')[] {
  if (types !== undefined) return types;
  if (egress === undefined) return ['Ingress'];
  return ingress === undefined ? ['Egress'] : ['Ingress', 'Egress'];
}

/** A rule that matches every packet. */
function anyRule(action: string): Rule {
  return {
    action,
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
  };
}

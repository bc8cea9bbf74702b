/**
 * The whole node's decision for the first packet of a connection. See reference.ts.
 * Host endpoint policy is not enforced by this version: where it could say no, the packet is denied.
 */
import ipaddr from 'ipaddr.js';
import type { FelixModel, WorkloadEndpoint } from '../../model/model';
import { workloadKey } from '../../model/model';
import { felixConfiguration } from '../felix-configuration';
import type { PacketTuple } from './reference-match';
import { netContains, packetFamily } from './reference-match';
import type { Decision, RuleRef } from './reference-policy';
import { evaluate } from './reference-policy';

/** Where the decision fell. For an allowed packet: the last policy that it had to pass, `route` when there was none. */
export type NodeStage = 'source-check' | 'route' | 'egress' | 'ingress';

export type NodeDecision =
  | Decision
  | { readonly kind: 'unknown-port' }
  | { readonly kind: 'v4-mapped' }
  | { readonly kind: 'spoofed-source' }
  | { readonly kind: 'endpoint-to-host-action' }
  | { readonly kind: 'host-endpoints-present' }
  | { readonly kind: 'no-route' }
  /** Allowed, and no policy was asked: host traffic. */
  | { readonly kind: 'unpoliced' };

export type NodeOutput =
  | { readonly kind: 'workload'; readonly workload: WorkloadEndpoint }
  | { readonly kind: 'host' }
  | { readonly kind: 'uplink' };

export interface NodeEvaluation {
  readonly verdict: 'allow' | 'deny';
  /** Where the packet leaves; null when it is denied. */
  readonly out: NodeOutput | null;
  readonly stage: NodeStage;
  readonly decidedBy: NodeDecision;
  readonly hits: readonly RuleRef[];
}

/** `from` is a workload's interface name, `uplink` or `host`. Throws POLICY_INVALID for nonsense in the model. */
export function evaluateNode(model: FelixModel, from: string, packet: PacketTuple): NodeEvaluation {
  const hits: RuleRef[] = [];
  const deny = (stage: NodeStage, decidedBy: NodeDecision): NodeEvaluation => ({
    verdict: 'deny',
    out: null,
    stage,
    decidedBy,
    hits,
  });

  packetFamily(packet);
  if (isV4Mapped(packet.src) || isV4Mapped(packet.dst)) return deny('route', { kind: 'v4-mapped' });

  const source = from === 'uplink' || from === 'host' ? undefined : workloadByInterface(model, from);
  if (source === undefined && from !== 'uplink' && from !== 'host') {
    return deny('route', { kind: 'unknown-port' });
  }
  // An endpoint that is down is closed whatever the other end's policy says.
  if (source !== undefined && source.state !== 'active') return deny('egress', { kind: 'admin-down' });
  if (source !== undefined && !mayUseSource(model, source, packet.src)) {
    return deny('source-check', { kind: 'spoofed-source' });
  }

  const out = destination(model, packet.dst);
  if (out.kind === 'workload' && out.workload.state !== 'active')
    return deny('ingress', { kind: 'admin-down' });

  let stage: NodeStage = 'route';
  let decidedBy: NodeDecision = { kind: 'unpoliced' };

  if (source !== undefined) {
    const egress = evaluate(model, source, 'egress', packet);
    hits.push(...egress.hits);
    if (egress.verdict === 'deny') return deny('egress', egress.decidedBy);
    stage = 'egress';
    decidedBy = egress.decidedBy;
  }

  switch (out.kind) {
    case 'workload': {
      const fromNodeItself = from === 'host' && isOwnAddress(model, packet.src);
      // Calico does not police the node's own traffic to its pods.
      if (fromNodeItself) break;
      const ingress = evaluate(model, out.workload, 'ingress', packet);
      hits.push(...ingress.hits);
      if (ingress.verdict === 'deny') return deny('ingress', ingress.decidedBy);
      stage = 'ingress';
      decidedBy = ingress.decidedBy;
      break;
    }
    case 'host':
      if (source !== undefined && !podsMayReachHost(model)) {
        return deny('route', { kind: 'endpoint-to-host-action' });
      }
      if (from === 'uplink' && model.hostEndpoints.size > 0) {
        return deny('route', { kind: 'host-endpoints-present' });
      }
      break;
    case 'uplink':
      if (from === 'uplink') return deny('route', { kind: 'no-route' });
      if (from === 'host' && model.hostEndpoints.size > 0) {
        return deny('route', { kind: 'host-endpoints-present' });
      }
      break;
  }
  return { verdict: 'allow', out, stage, decidedBy, hits };
}

/** The program drops these: inside it an IPv4 address looks the same (docs/design.md, Addresses). */
function isV4Mapped(address: string): boolean {
  const parsed = ipaddr.parse(address);
  return parsed instanceof ipaddr.IPv6 && parsed.isIPv4MappedAddress();
}

function workloadsInOrder(model: FelixModel): readonly WorkloadEndpoint[] {
  return [...model.workloads.values()].sort((a, b) => (workloadKey(a.id) < workloadKey(b.id) ? -1 : 1));
}

function workloadByInterface(model: FelixModel, name: string): WorkloadEndpoint | undefined {
  return workloadsInOrder(model).find((w) => w.name === name);
}

/** Felix refuses endpoints with spoofed prefixes unless WorkloadSourceSpoofing is Any (felix/calc/validation_filter.go). */
function mayUseSource(model: FelixModel, workload: WorkloadEndpoint, address: string): boolean {
  if ([...workload.ipv4Nets, ...workload.ipv6Nets].some((net) => netContains(net, address))) return true;
  if (!felixConfiguration(model.config).sourceSpoofing) return false;
  return workload.allowSpoofedSourcePrefixes.some((net) => netContains(net, address));
}

/** A pod's address wins over the node's own, and that over the rest of the world. */
function destination(model: FelixModel, address: string): NodeOutput {
  for (const workload of workloadsInOrder(model)) {
    if ([...workload.ipv4Nets, ...workload.ipv6Nets].some((net) => netContains(net, address))) {
      return { kind: 'workload', workload };
    }
  }
  return isOwnAddress(model, address) ? { kind: 'host' } : { kind: 'uplink' };
}

/** Node addresses come as CIDRs (`10.1.0.10/24`) of which only the address itself is the node. */
function isOwnAddress(model: FelixModel, address: string): boolean {
  const { hostname } = felixConfiguration(model.config);
  const host = hostname === undefined ? undefined : model.hosts.get(hostname);
  if (host === undefined) return false;
  return [host.ipv4Addr, host.ipv6Addr]
    .filter((own) => own !== '')
    .some((own) => netContains(own.split('/')[0]!, address));
}

function podsMayReachHost(model: FelixModel): boolean {
  return felixConfiguration(model.config).endpointToHost !== 'drop';
}

/** The whole node's decision for the first packet of a connection. See reference.ts. */
import ipaddr from 'ipaddr.js';
import type { FelixModel, WorkloadEndpoint } from '../../model/model';
import { workloadKey } from '../../model/model';
import { floatingTarget, opensConnection } from './reference-floating';
import type { HostChain } from './reference-host';
import { deniedByAllInterfaces, endpointOfUplink, evaluateAtPod, evaluateHostChain } from './reference-host';
import { felixConfiguration } from '../felix-configuration';
import type { PacketTuple } from './reference-match';
import { netContains, packetFamily } from './reference-match';
import type { Decision, RuleRef } from './reference-policy';

/** Where the decision fell. For an allowed packet: the last policy that allowed it, `route` when there was none. */
export type NodeStage =
  'source-check' | 'route' | 'egress' | 'ingress' | HostChain | 'forward-other' | 'conntrack';

export type NodeDecision =
  | Decision
  | { readonly kind: 'unknown-port' }
  | { readonly kind: 'v4-mapped' }
  | { readonly kind: 'spoofed-source' }
  | { readonly kind: 'endpoint-to-host-action' }
  | { readonly kind: 'no-route' }
  /** To a floating IP, by what connection tracking does not translate. */
  | { readonly kind: 'not-translated' }
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

/**
 * `from` is a workload's interface name, `uplink` or `host`; `uplink` the name of the interface at the uplink, "" when nobody told.
 * Throws POLICY_INVALID for nonsense in the model.
 */
export function evaluateNode(
  model: FelixModel,
  from: string,
  asSent: PacketTuple,
  uplink = '',
): NodeEvaluation {
  const hits: RuleRef[] = [];
  const deny = (stage: NodeStage, decidedBy: NodeDecision): NodeEvaluation => ({
    verdict: 'deny',
    out: null,
    stage,
    decidedBy,
    hits,
  });

  packetFamily(asSent);
  if (isV4Mapped(asSent.src) || isV4Mapped(asSent.dst)) return deny('route', { kind: 'v4-mapped' });

  const source = from === 'uplink' || from === 'host' ? undefined : workloadByInterface(model, from);
  if (source === undefined && from !== 'uplink' && from !== 'host') {
    return deny('route', { kind: 'unknown-port' });
  }
  // An endpoint that is down is closed whatever the other end's policy says.
  if (source !== undefined && source.state !== 'active') return deny('egress', { kind: 'admin-down' });
  if (source !== undefined && !mayUseSource(model, source, asSent.src)) {
    return deny('source-check', { kind: 'spoofed-source' });
  }

  const own = floatingTarget(model, workloadsInOrder(model), asSent.dst, (address) => {
    const { kind } = destination(model, address);
    return kind === 'workload' ? 'pod' : kind === 'host' ? 'node' : undefined;
  });
  /** As Linux has it behind the nat table of PREROUTING or OUTPUT. */
  const packet = own === undefined ? asSent : { ...asSent, dst: own };
  const out = destination(model, packet.dst);
  if (out.kind === 'workload' && out.workload.state !== 'active')
    return deny('ingress', { kind: 'admin-down' });

  if (out.kind === 'uplink' && from === 'uplink') return deny('route', { kind: 'no-route' });

  let stage: NodeStage = 'route';
  let decidedBy: NodeDecision = { kind: 'unpoliced' };
  const atUplink = endpointOfUplink(model, uplink);
  /** What the uplink's host endpoint says there. */
  const ask = (chain: HostChain): 'allow' | 'deny' | 'unmatched' => {
    const isBefore = chain.startsWith('untracked') || chain === 'pre-dnat';
    const outcome = evaluateHostChain(model, atUplink, chain, isBefore ? asSent : packet);
    hits.push(...outcome.hits);
    if (outcome.verdict !== 'unmatched') {
      stage = chain;
      decidedBy = outcome.decidedBy;
    }
    return outcome.verdict;
  };
  const denied = (): NodeEvaluation => deny(stage, decidedBy);

  if (from === 'uplink') {
    const untracked = ask('untracked-in');
    if (untracked === 'deny') return denied();
    // Untracked, so not translated: nobody here has the address.
    if (untracked === 'allow' && own !== undefined) return deny('route', { kind: 'no-route' });
    if (untracked === 'unmatched') {
      const preDnat = ask('pre-dnat');
      if (preDnat === 'deny') return denied();
      // What was allowed so far carries the accept mark by the policies behind.
      if (preDnat === 'unmatched' && ask(out.kind === 'host' ? 'host-in' : 'forward-in') === 'deny')
        return denied();
    }
  }
  if (from === 'host' && (out.kind === 'uplink' || own !== undefined)) {
    const untracked = ask('untracked-out');
    if (untracked === 'deny') return denied();
    if (untracked === 'allow' && own !== undefined) return deny('route', { kind: 'no-route' });
    if (out.kind === 'uplink' && untracked === 'unmatched' && ask('host-out') === 'deny') return denied();
  }

  if (source !== undefined) {
    const egress = evaluateAtPod(model, source, 'egress', packet, out.kind === 'host');
    hits.push(...egress.hits);
    if (egress.verdict === 'deny') return deny('egress', egress.decidedBy);
    stage = 'egress';
    decidedBy = egress.decidedBy;
    if (out.kind === 'host' && !podsMayReachHost(model)) {
      return deny('route', { kind: 'endpoint-to-host-action' });
    }
    if (out.kind === 'uplink' && ask('forward-out') === 'deny') return denied();
  }

  // Calico does not police the node's own traffic to its pods.
  if (out.kind === 'workload' && !(from === 'host' && isOwnAddress(model, packet.src))) {
    if (from === 'host') {
      const other = deniedByAllInterfaces(model, 'in', packet, hits);
      if (other !== undefined) return deny('forward-other', other);
    }
    const ingress = evaluateAtPod(model, out.workload, 'ingress', packet);
    hits.push(...ingress.hits);
    if (ingress.verdict === 'deny') return deny('ingress', ingress.decidedBy);
    stage = 'ingress';
    decidedBy = ingress.decidedBy;
  }
  if (own !== undefined && !opensConnection(packet)) return deny('conntrack', { kind: 'not-translated' });
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

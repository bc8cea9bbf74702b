/**
 * What policy of host endpoints says of the first packet of a connection, rule by rule in Felix's order. See reference.ts.
 *
 * Authority: felix/rules/static.go (the raw, mangle and filter chains, failsafe ports), felix/rules/endpoints.go (endpointIptablesChain),
 * felix/rules/dispatch.go (which interfaces `*` is for), felix/dataplane/linux/endpoint_mgr.go (resolveHostEndpoints).
 */
import type { FelixModel, HostEndpoint, TierInfo, WorkloadEndpoint } from '../../model/model';
import { felixConfiguration } from '../felix-configuration';
import type { PacketTuple } from './reference-match';
import { netContains } from './reference-match';
import type { Decision, Direction, Evaluation, RuleRef } from './reference-policy';
import { evaluate, evaluateProfiles, evaluateTier } from './reference-policy';

/** `from-*`: Linux' chain for packets that come in by the endpoint's interface; `to-*`: for those that leave there. */
export type HostChain =
  'untracked-in' | 'untracked-out' | 'pre-dnat' | 'host-in' | 'host-out' | 'forward-in' | 'forward-out';

export interface HostEvaluation {
  /** `unmatched`: the chain lets the packet go on. */
  readonly verdict: 'allow' | 'deny' | 'unmatched';
  readonly decidedBy: Decision;
  readonly hits: readonly RuleRef[];
}

/** The endpoint that governs the uplink: `unknown` when one names an interface, and nobody said what the uplink is called. */
export function endpointOfUplink(model: FelixModel, uplink: string): HostEndpoint | 'none' | 'unknown' {
  for (const id of [...model.hostEndpoints.keys()].sort()) {
    const endpoint = model.hostEndpoints.get(id)!;
    if (endpoint.name === '*') continue;
    if (endpoint.name !== '') {
      if (uplink === '') return 'unknown';
      if (endpoint.name === uplink) return endpoint;
      continue;
    }
    const host = model.hosts.get(felixConfiguration(model.config).hostname ?? '');
    const own = [host?.ipv4Addr ?? '', host?.ipv6Addr ?? ''].filter((text) => text !== '');
    const expected = [...endpoint.expectedIpv4Addrs, ...endpoint.expectedIpv6Addrs];
    if (expected.some((wanted) => own.some((text) => netContains(text.split('/')[0]!, wanted))))
      return endpoint;
  }
  return endpointOfAllInterfaces(model) ?? 'none';
}

/** The endpoint `*`, which governs every interface that no other does. */
export function endpointOfAllInterfaces(model: FelixModel): HostEndpoint | undefined {
  const ids = [...model.hostEndpoints.keys()].filter((id) => model.hostEndpoints.get(id)!.name === '*');
  return model.hostEndpoints.get(ids.sort()[0] ?? '');
}

export function evaluateHostChain(
  model: FelixModel,
  endpoint: HostEndpoint | 'none' | 'unknown',
  chain: HostChain,
  packet: PacketTuple,
): HostEvaluation {
  if (endpoint === 'none') return { verdict: 'unmatched', decidedBy: { kind: 'no-host-endpoint' }, hits: [] };
  if (endpoint === 'unknown') return { verdict: 'deny', decidedBy: { kind: 'unknown-uplink' }, hits: [] };
  const hits: RuleRef[] = [];
  const unmatched: HostEvaluation = { verdict: 'unmatched', decidedBy: { kind: 'nothing-matched' }, hits };
  const walk = (
    tiers: readonly TierInfo[],
    direction: Direction,
    endOfTierDrops: boolean,
  ): HostEvaluation => {
    for (const tier of tiers) {
      const outcome = evaluateTier(model, tier, direction, packet, hits, endOfTierDrops);
      if (outcome !== 'next-tier') return { ...outcome, hits };
    }
    return unmatched;
  };
  switch (chain) {
    case 'untracked-in': {
      // Felix takes no untracked policy for all interfaces.
      if (endpoint.name === '*') return unmatched;
      if (isFailsafeIn(model, packet) || isAnswerOfFailsafeOut(model, packet)) return unmatched;
      return walk(endpoint.untrackedTiers, 'ingress', false);
    }
    case 'untracked-out': {
      if (endpoint.name === '*') return unmatched;
      if (isFailsafeOut(model, packet) || isAnswerOfFailsafeIn(model, packet)) return unmatched;
      return walk(endpoint.untrackedTiers, 'egress', false);
    }
    case 'pre-dnat':
      if (isFailsafeIn(model, packet)) return unmatched;
      return walk(endpoint.preDnatTiers, 'ingress', false);
    case 'forward-in':
      return walk(endpoint.forwardTiers, 'ingress', true);
    case 'forward-out':
      return walk(endpoint.forwardTiers, 'egress', true);
    case 'host-in':
    case 'host-out': {
      const direction = chain === 'host-in' ? 'ingress' : 'egress';
      const failsafe = chain === 'host-in' ? isFailsafeIn(model, packet) : isFailsafeOut(model, packet);
      if (failsafe) return { verdict: 'allow', decidedBy: { kind: 'failsafe' }, hits };
      const byTiers = walk(endpoint.tiers, direction, true);
      if (byTiers.verdict !== 'unmatched') return byTiers;
      return { ...evaluateProfiles(model, endpoint.profileIds, direction, packet, hits), hits };
    }
  }
}

/**
 * What `*` says of a packet at an interface other than the uplink: where it comes in (preDNAT, then forward policy unless that allowed
 * it, or the packet is for the host) or leaves. Undefined: it may go on.
 */
export function deniedByAllInterfaces(
  model: FelixModel,
  side: 'in' | 'in-to-host' | 'out',
  packet: PacketTuple,
  hits: RuleRef[],
): Decision | undefined {
  const endpoint = endpointOfAllInterfaces(model) ?? 'none';
  const chains = {
    in: ['pre-dnat', 'forward-in'],
    'in-to-host': ['pre-dnat'],
    out: ['forward-out'],
  } as const;
  for (const chain of chains[side]) {
    const outcome = evaluateHostChain(model, endpoint, chain, packet);
    hits.push(...outcome.hits);
    if (outcome.verdict === 'deny') return outcome.decidedBy;
    if (outcome.verdict === 'allow') return undefined;
  }
  return undefined;
}

/** All policy at a pod's interface: that of `*`, then the pod's own. */
export function evaluateAtPod(
  model: FelixModel,
  workload: WorkloadEndpoint,
  direction: Direction,
  packet: PacketTuple,
  toHost = false,
): Evaluation {
  if (workload.state !== 'active') return evaluate(model, workload, direction, packet);
  const hits: RuleRef[] = [];
  const side = direction === 'ingress' ? 'out' : toHost ? 'in-to-host' : 'in';
  const denied = deniedByAllInterfaces(model, side, packet, hits);
  if (denied !== undefined) return { verdict: 'deny', decidedBy: denied, hits };
  const own = evaluate(model, workload, direction, packet);
  return { ...own, hits: [...hits, ...own.hits] };
}

const FAILSAFE_IN = 'tcp:22,udp:68,tcp:179,tcp:2379,tcp:2380,tcp:5473,tcp:6443,tcp:6666,tcp:6667';
const FAILSAFE_OUT = 'udp:53,udp:67,tcp:179,tcp:2379,tcp:2380,tcp:5473,tcp:6443,tcp:6666,tcp:6667';

function isFailsafeIn(model: FelixModel, { proto, dport, src }: PacketTuple): boolean {
  return isListed(model.config.get('FailsafeInboundHostPorts') || FAILSAFE_IN, proto, dport, src);
}

function isFailsafeOut(model: FelixModel, { proto, dport, dst }: PacketTuple): boolean {
  return isListed(model.config.get('FailsafeOutboundHostPorts') || FAILSAFE_OUT, proto, dport, dst);
}

function isAnswerOfFailsafeIn(model: FelixModel, { proto, sport, dst }: PacketTuple): boolean {
  return isListed(model.config.get('FailsafeInboundHostPorts') || FAILSAFE_IN, proto, sport, dst);
}

function isAnswerOfFailsafeOut(model: FelixModel, { proto, sport, src }: PacketTuple): boolean {
  return isListed(model.config.get('FailsafeOutboundHostPorts') || FAILSAFE_OUT, proto, sport, src);
}

/** `list` is as people write it: `tcp:22`, `udp:10.0.0.0/8:53`, `tcp:[fd00::/8]:22`, or `none`. */
function isListed(list: string, proto: number, port: number, peer: string): boolean {
  if (list.toLowerCase() === 'none') return false;
  return list.split(',').some((item) => {
    const [, name, , v6, v4, number] =
      /^(tcp|udp):(\[([^\]]+)\]:|(?:([0-9./]+):)?)(\d+)$/.exec(item.trim()) ?? [];
    if (name === undefined || proto !== (name === 'tcp' ? 6 : 17) || Number(number) !== port) return false;
    const net = v6 ?? v4;
    return net === undefined || netContains(net, peer);
  });
}

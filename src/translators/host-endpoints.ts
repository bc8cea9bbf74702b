/**
 * Which host endpoints are in force, and where (docs/decisions/0008). Authority: felix/dataplane/linux/endpoint_mgr.go,
 * resolveHostEndpoints and updateHostEndpoints.
 */
import type { FelixModel, HostEndpoint } from '../model/model';
import { parseCidr } from './address';
import { felixConfiguration } from './felix-configuration';

export interface HostEndpointsInForce {
  /**
   * At the uplink. `unknown`: one that names an interface may be the uplink's, whose name nobody told: nothing may pass that
   * policy of host endpoints could stop.
   */
  readonly uplink: HostEndpoint | 'none' | 'unknown';
  /**
   * At every interface that no other endpoint governs, pods' included: `*`. There it has a say in what is forwarded, with its preDNAT
   * and its forward tiers.
   */
  readonly everywhere: HostEndpoint | undefined;
  /** Endpoints that are in force nowhere. */
  readonly idle: readonly HostEndpoint[];
}

/** @param uplink the name of the uplink's interface; "" when it is not known */
export function hostEndpointsInForce(
  model: Pick<FelixModel, 'config' | 'hosts' | 'hostEndpoints'>,
  uplink: string,
): HostEndpointsInForce {
  const inOrder = [...model.hostEndpoints.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  const everywhere = inOrder.find(isEverywhere);
  const own = ownAddresses(model);
  const matching = inOrder.find((endpoint) => !isEverywhere(endpoint) && mayMatch(endpoint, uplink, own));
  const undecided = matching !== undefined && matching.name !== '' && uplink === '';
  const atUplink = undecided ? ('unknown' as const) : (matching ?? everywhere ?? 'none');
  return {
    uplink: atUplink,
    everywhere,
    idle: inOrder.filter((endpoint) => endpoint !== atUplink && endpoint !== everywhere),
  };
}

/** What of them can not be done as Felix wants it, in words. Of idle ones Felix is told by their status. */
export function hostEndpointProblems({ uplink, everywhere, idle }: HostEndpointsInForce): readonly string[] {
  const problems: string[] = [];
  if (uplink === 'unknown') {
    problems.push(
      `host endpoint ${idle.map(({ id }) => id).join(', ')}: the name of the uplink's interface is not configured (interfaces.uplink), and it may be the one that an endpoint names: nothing passes between the uplink and the node or its pods`,
    );
  }
  if (everywhere !== undefined && everywhere.untrackedTiers.length > 0) {
    problems.push(
      `host endpoint ${everywhere.id}: doNotTrack policy is not supported for all interfaces (*), as in Felix: it is left out`,
    );
  }
  return problems;
}

export function isEverywhere({ name }: HostEndpoint): boolean {
  return name === '*';
}

/** Whether the endpoint is the uplink's; of one with a name, if the uplink's is not known, whether it may be. */
function mayMatch(
  { name, expectedIpv4Addrs, expectedIpv6Addrs }: HostEndpoint,
  uplink: string,
  own: ReadonlySet<string>,
): boolean {
  if (name !== '') return uplink === '' || name === uplink;
  return [...expectedIpv4Addrs, ...expectedIpv6Addrs].some((text) => own.has(parseCidr(text)?.text ?? ''));
}

/** The node's own, each as parseCidr spells it. */
export function ownAddresses({ config, hosts }: Pick<FelixModel, 'config' | 'hosts'>): ReadonlySet<string> {
  const host = hosts.get(felixConfiguration(config).hostname ?? '');
  return new Set(
    [host?.ipv4Addr, host?.ipv6Addr].flatMap((text) => parseCidr(text?.split('/')[0] ?? '')?.text ?? []),
  );
}

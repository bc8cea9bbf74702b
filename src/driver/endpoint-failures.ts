/** From rows that the target does not hold as desired, and programs that are too large, to the endpoints that stay closed for it, in Calico's words. */
import { policyKey, workloadKey, type HostEndpoint, type TierInfo } from '../model/model';
import type { ApplyResult, RowFailure } from '../p4target/apply-result';
import { entryText } from '../p4target/row-text';
import type { PlacedEndpoint } from '../translators/endpoints';
import type { HostEndpointsInForce } from '../translators/host-endpoints';

export interface EndpointFailure {
  readonly ep: number;
  /** workloadKey, for example `k8s/shop/web-0/eth0`; of a host endpoint `host endpoint ID`. */
  readonly workload: string;
  /** The id of the host endpoint at the uplink, if it is one. */
  readonly hostEndpoint?: string;
  /** The policies, or else the profiles, that apply to the endpoint and are enforced by closing it. */
  readonly policies: readonly string[];
  /** The first of its rows that failed, and why; of a held one, together with the row that the target refused first. Or why its program is none. */
  readonly reason: string;
}

/**
 * Endpoints that a failed row belongs to. Rows without an endpoint need not be looked at: one that an endpoint's program needs takes the
 * endpoint's root row with it (reconciler.ts, F1 and F2), and one that was only to be swept away hurts nobody.
 *
 * @param closed endpoints of which a program is closed because it is too large: CompiledPolicy.closed
 */
export function endpointFailures(
  applied: ApplyResult,
  endpoints: readonly PlacedEndpoint[],
  { uplink }: Pick<HostEndpointsInForce, 'uplink'>,
  closed: ReadonlyMap<number, string>,
): EndpointFailure[] {
  if (applied.failed.size === 0 && closed.size === 0) return [];
  const first = new Map<number, RowFailure>();
  for (const failure of applied.failed.values()) {
    const ep = endpointOf(failure);
    if (ep === undefined) continue;
    const known = first.get(ep);
    if (known === undefined || (known.kind === 'held' && failure.kind === 'refused')) first.set(ep, failure);
  }
  const reasonOf = (ep: number): string | undefined => {
    const failure = first.get(ep);
    if (failure === undefined) return closed.get(ep);
    const cause = failure.kind === 'held' ? `; ${applied.error?.message ?? ''}` : '';
    return `${entryText(failure.row)}: ${failure.message}${cause}`;
  };
  const ofUplink = reasonOf(UPLINK_EP);
  const hosts: EndpointFailure[] =
    ofUplink === undefined || typeof uplink === 'string'
      ? []
      : [
          {
            ep: UPLINK_EP,
            workload: `host endpoint ${uplink.id}`,
            hostEndpoint: uplink.id,
            policies: policiesOf(tiersOfHost(uplink), uplink.profileIds),
            reason: ofUplink,
          },
        ];
  return [
    ...hosts,
    ...endpoints.flatMap(({ ep, workload }) => {
      const reason = reasonOf(ep);
      if (reason === undefined) return [];
      return {
        ep,
        workload: workloadKey(workload.id),
        policies: policiesOf(workload.tiers, workload.profileIds),
        reason,
      };
    }),
  ];
}

/** Tables whose rows of no endpoint serve the whole node: its two ports, its addresses, its way out. */
const NODE_TABLES: ReadonlySet<string> = new Set([
  'port_in',
  'host_address',
  'default_route',
  'local',
  'packet_limits',
  'byte_limits',
]);

/** Failed rows that concern more than one endpoint, or one that is gone and could not be closed: one line each. */
export function failuresOfNode(
  applied: ApplyResult,
  endpoints: readonly PlacedEndpoint[],
  { uplink }: Pick<HostEndpointsInForce, 'uplink'>,
): string[] {
  if (applied.failed.size === 0) return [];
  const present = new Set(endpoints.map(({ ep }) => ep));
  if (typeof uplink !== 'string') present.add(UPLINK_EP);
  return [...applied.failed.values()].flatMap((failure) => {
    const ep = endpointOf(failure);
    const ofNode = ep === undefined ? NODE_TABLES.has(failure.row.table) : !present.has(ep);
    return ofNode ? [`${entryText(failure.row)}: ${failure.message}`] : [];
  });
}

/** The endpoint id in the uplink's rows of endpoint_root. */
const UPLINK_EP = 0;

function endpointOf({ row }: RowFailure): number | undefined {
  const ep = row.match['ep']?.value ?? row.params['ep'];
  return ep === undefined ? undefined : Number(ep);
}

function tiersOfHost(endpoint: HostEndpoint): readonly TierInfo[] {
  const { tiers, untrackedTiers, preDnatTiers, forwardTiers } = endpoint;
  return [...tiers, ...untrackedTiers, ...preDnatTiers, ...forwardTiers];
}

function policiesOf(tiers: readonly TierInfo[], profileIds: readonly string[]): string[] {
  const policies = tiers.flatMap(({ ingressPolicies, egressPolicies }) =>
    [...ingressPolicies, ...egressPolicies].map(policyKey),
  );
  return policies.length > 0 ? [...new Set(policies)] : profileIds.map((name) => `profile ${name}`);
}

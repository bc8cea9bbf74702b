import type { WorkloadEndpoint } from '../../model/model';
import type { Prefix, PrefixCache } from './address';
import type { AddressView } from './forms';
import type { Membership } from './ip-sets';
import type { Labels } from './labels';

/**
 * The endpoint's own addresses as rules see them, straight from the sets. The pipeline asks an endpoint's ingress policy only for
 * packets to, and its egress policy only for packets from, such an address (tables `local` and `pod_source`), so that what
 * the rules ask of that side is answered here once, instead of in the diagram for every class there is.
 */
export function ownAddresses(
  workload: WorkloadEndpoint,
  prefixes: PrefixCache,
  labels: Labels,
  membership: (group: number) => Membership,
): readonly AddressView[] {
  return ownPrefixes(workload, prefixes).map((prefix) => view(prefix, prefixes, labels, membership));
}

/** Only single addresses are delivered to an endpoint, or taken from it. */
export function ownPrefixes(workload: WorkloadEndpoint, prefixes: PrefixCache): readonly Prefix[] {
  return [...workload.ipv4Nets, ...workload.ipv6Nets].flatMap((net) => {
    const prefix = prefixes.parse(net);
    return typeof prefix === 'object' && prefix.host ? [prefix] : [];
  });
}

function view(
  address: Prefix,
  prefixes: PrefixCache,
  labels: Labels,
  membership: (group: number) => Membership,
): AddressView {
  // The prefixes around are those known now: reading a set makes more of them known, so they are looked up after it was read.
  const isIn = (members: ReadonlySet<Prefix> | undefined): boolean =>
    members !== undefined && (members.has(address) || prefixes.around(address).some((p) => members.has(p)));
  return {
    has(label) {
      const info = labels.info(label);
      return info.kind === 'family'
        ? info.family === address.family
        : isIn(membership(labels.groupOf(label)).get(label));
    },
    slices: (group) =>
      [...membership(group)].flatMap(([label, members]) => {
        const info = labels.info(label);
        return info.kind === 'slice' && isIn(members)
          ? [{ label, protocol: info.protocol, port: info.port }]
          : [];
      }),
  };
}

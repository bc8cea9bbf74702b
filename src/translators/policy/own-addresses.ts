import type { WorkloadEndpoint } from '../../model/model';
import type { Prefix, PrefixCache } from './address';
import type { ClassView } from './conditions';
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
): readonly ClassView[] {
  const views: ClassView[] = [];
  for (const net of [...workload.ipv4Nets, ...workload.ipv6Nets]) {
    const prefix = prefixes.parse(net);
    // Only single addresses are delivered to an endpoint, or taken from it.
    if (typeof prefix === 'object' && prefix.host) views.push(view(prefix, prefixes, labels, membership));
  }
  return views;
}

function view(
  address: Prefix,
  prefixes: PrefixCache,
  labels: Labels,
  membership: (group: number) => Membership,
): ClassView {
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

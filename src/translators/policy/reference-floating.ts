/** What floating IPs do to the first packet of a connection. See reference.ts. Authority: felix/dataplane/linux/floating_ip_mgr.go. */
import type { FelixModel, WorkloadEndpoint } from '../../model/model';
import { felixConfiguration } from '../felix-configuration';
import type { PacketTuple } from './reference-match';
import { netContains } from './reference-match';

/**
 * The pod's own address that packets to `address` go to; undefined if it is no floating IP here.
 *
 * @param isTaken whether an address is one of a pod, or of the node, here
 */
export function floatingTarget(
  model: FelixModel,
  workloads: readonly WorkloadEndpoint[],
  address: string,
  isTaken: (address: string) => 'pod' | 'node' | undefined,
): string | undefined {
  if (isTaken(address) !== undefined) return undefined;
  const targets = workloads
    .filter(({ id }) => felixConfiguration(model.config).floatingIps || id.orchestratorId === 'openstack')
    .flatMap(({ nats = [] }) => nats)
    .filter(({ external }) => netContains(external, address))
    .map(({ internal }) => internal)
    .filter((internal) => internal.includes(':') === address.includes(':') && isTaken(internal) === 'pod');
  return targets.sort()[0];
}

/** Conntrack calls a message of ICMP invalid that neither opens a connection nor belongs to one; such a packet is not translated. */
export function opensConnection({ proto, icmpType }: PacketTuple): boolean {
  if (proto === 1) return [8, 13, 15, 17].includes(icmpType);
  return proto !== 58 || icmpType === 128;
}

/**
 * Floating IPs: rows of `local` that send a packet on to the pod's own address (docs/pipeline.md, Floating IPs). Pure.
 * Rules: felix/dataplane/linux/floating_ip_mgr.go and felix/rules/nat.go (cali-fip-dnat, cali-fip-snat).
 */
import type { FelixModel, WorkloadEndpoint } from '../model/model';
import { workloadKey } from '../model/model';
import { parseCidr, type Cidr } from './address';
import { felixConfiguration } from './felix-configuration';
import { ownAddresses } from './host-endpoints';
import type { NotEnforced } from './limits';
import type { Row } from './rows';

export interface FloatingIps {
  readonly rows: readonly Row[];
  /** Those that nobody reaches a pod by. */
  readonly notEnforced: readonly NotEnforced[];
}

interface Mapping {
  readonly endpoint: string;
  readonly external: Cidr;
  readonly internal: Cidr;
}

/**
 * @param endpoints those that the node serves
 * @param pods which pod of the node has an address, by its canonical text
 */
export function floatingIps(
  model: Pick<FelixModel, 'config' | 'hosts'>,
  endpoints: readonly { readonly workload: WorkloadEndpoint }[],
  pods: ReadonlyMap<string, string>,
): FloatingIps {
  const notEnforced: NotEnforced[] = [];
  const own = ownAddresses(model);
  const chosen = new Map<string, Mapping>();
  for (const { workload } of endpoints) {
    if (workload.nats === undefined || !isOn(model, workload)) continue;
    const endpoint = workloadKey(workload.id);
    for (const nat of workload.nats) {
      const lacks = (why: string): void => {
        notEnforced.push({ endpoint, what: `floating IP ${nat.external} for ${nat.internal}: ${why}` });
      };
      const [external, internal] = [single(nat.external), single(nat.internal)];
      if (external === undefined || internal?.ipVersion !== external.ipVersion) {
        lacks('these are no two addresses of one family');
        continue;
      }
      const owner = pods.get(external.text) ?? (own.has(external.text) ? 'the node' : undefined);
      // Linux would translate what is sent to it; here what has the address already keeps it.
      if (owner !== undefined) {
        lacks(`the address belongs to ${owner}, and packets go there`);
        continue;
      }
      if (!pods.has(internal.text)) {
        lacks(`${nat.internal} is no address of a pod on this node`);
        continue;
      }
      const other = chosen.get(external.text);
      if (other === undefined || goesBefore(internal, other.internal)) {
        if (other !== undefined) shadowed(other, internal, notEnforced);
        chosen.set(external.text, { endpoint, external, internal });
      } else if (other.internal.text !== internal.text) {
        lacks(`packets to it go to ${spell(other.internal)}, which comes first`);
      }
    }
  }
  return { rows: rowsOf([...chosen.values()]), notEnforced };
}

/** Felix's setting FloatingIPs, by default Disabled; OpenStack's endpoints have them always. */
function isOn(model: Pick<FelixModel, 'config'>, { id }: WorkloadEndpoint): boolean {
  return id.orchestratorId === 'openstack' || felixConfiguration(model.config).floatingIps;
}

function single(text: string): Cidr | undefined {
  const cidr = parseCidr(text);
  return cidr?.single === true ? cidr : undefined;
}

/** Of two addresses for one floating IP Felix takes the one that comes first as text; of two floating IPs for one address too. */
function goesBefore(a: Cidr, b: Cidr): boolean {
  return spell(a) < spell(b);
}

function spell({ text }: Cidr): string {
  return text.split('/')[0]!;
}

function shadowed({ endpoint, external, internal }: Mapping, by: Cidr, notEnforced: NotEnforced[]): void {
  notEnforced.push({
    endpoint,
    what: `floating IP ${spell(external)} for ${spell(internal)}: packets to it go to ${spell(by)}, which comes first`,
  });
}

function rowsOf(mappings: readonly Mapping[]): Row[] {
  const backs = new Map<string, Cidr>();
  for (const { external, internal } of mappings) {
    const back = backs.get(internal.text);
    if (back === undefined || goesBefore(external, back)) backs.set(internal.text, external);
  }
  return mappings.map(({ endpoint, external, internal }) => {
    const back = backs.get(internal.text)!;
    return {
      table: 'local',
      match: {
        hi: { kind: 'exact', value: external.hi },
        lo: { kind: 'exact', value: external.lo },
      },
      action: 'to_floating',
      params: {
        hi: internal.hi,
        lo: internal.lo,
        ipv4: ipv4Of(internal),
        back_hi: back.hi,
        back_lo: back.lo,
        back_ipv4: ipv4Of(back),
      },
      note: `floating IP of ${endpoint}`,
    };
  });
}

/** The address as it stands in a packet; of IPv6 nothing looks at it. */
function ipv4Of({ lo, ipVersion }: Cidr): bigint {
  return ipVersion === 4 ? lo & 0xffff_ffffn : 0n;
}

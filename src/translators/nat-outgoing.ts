/** Rows of masquerade_pools: natOutgoing of IP pools (docs/decisions/0011). */
import { parseCidr } from './address';
import type { NotEnforced } from './limits';
import { ternary, type NetworkInputs } from './network-rows';
import { rowKey, type Row } from './rows';

export interface NatRows {
  readonly rows: readonly Row[];
  /** Nothing of pods may leave by the default route. */
  readonly keepPodsIn: boolean;
  readonly notEnforced: readonly NotEnforced[];
}

/** Pools whose packets to the rest of the world go through the host's stack, which gives them the node's address. */
export function masqueradeRows(
  { model, ports, links, facts }: NetworkInputs,
  problems: Set<string>,
): NatRows {
  const asking = [...model.pools.values()].filter(({ masquerade }) => masquerade);
  const keepIn = (why: string): NatRows => {
    problems.add(`natOutgoing of IP pools: ${why}: nothing of pods leaves the cluster`);
    return { rows: [], keepPodsIn: true, notEnforced: [] };
  };
  if (asking.length === 0) return { rows: [], keepPodsIn: false, notEnforced: [] };
  if (facts.natOutgoing === 'off') {
    const notEnforced = asking.map(({ id }) => ({
      endpoint: `IP pool ${id}`,
      what: 'natOutgoing: nobody translates (interfaces.host): what its pods send out of the cluster keeps their addresses',
    }));
    return { rows: [], keepPodsIn: false, notEnforced };
  }
  if (facts.natOutgoing === 'failed') return keepIn("the host's rules could not be set");
  if (links.hostMac === undefined)
    return keepIn("the MAC address of the host's port is not known (macs.host)");
  const rows: Row[] = [];
  for (const pool of asking) {
    const cidr = parseCidr(pool.cidr);
    if (cidr === undefined) return keepIn(`"${pool.cidr}" is no CIDR`);
    rows.push({
      table: 'masquerade_pools',
      match: ternary(cidr),
      priority: cidr.prefixLen + 1,
      action: 'masquerade',
      params: { port: BigInt(ports.host), dst: links.hostMac, src: links.gatewayMac },
      note: `IP pool ${pool.id}`,
    });
  }
  const unique = new Map(rows.map((row) => [rowKey(row), row]));
  return { rows: [...unique.values()], keepPodsIn: false, notEnforced: [] };
}

/**
 * Which port and which endpoint id a workload endpoint has on the target. The one piece of state between Felix's model
 * and the rows: ids are never used twice while a target lives, so that a new pod never inherits the connections of an
 * old one (docs/design.md).
 */
import type { WorkloadEndpoint } from '../model/model';
import { workloadKey } from '../model/model';
import { parseCidr } from '../translators/address';
import type { PlacedEndpoint } from '../translators/endpoints';
import { rowKey, type Row } from '../translators/rows';

export interface Placement {
  /** Gives every endpoint its place; those not listed any more lose theirs. Order in, order out. */
  place(workloads: readonly WorkloadEndpoint[]): readonly PlacedEndpoint[];
  /**
   * The target was read again. Ids that occur there are not given to anybody from now on, and an endpoint whose id another
   * controller used for other addresses gets a new one: connections of those may still be on the target.
   */
  avoid(found: readonly Row[]): void;
}

interface Place {
  readonly ep: number;
  readonly port: number;
}

/**
 * @param firstPort lowest P4 port number for pods; ports of removed endpoints are used again, the lowest first.
 * @param found rows read back from the target: an endpoint whose addresses are all delivered to one place there keeps
 *   it, so that a restart of the driver changes nothing; ids that occur there are not given to others.
 */
export function createPlacement(firstPort: number, found: readonly Row[] = []): Placement {
  const places = new Map<string, Place>();
  const delivered = new Map<string, Place>();
  let nextEp = 1;
  let last: readonly PlacedEndpoint[] = [];
  const avoid = (rows: readonly Row[]): void => {
    /** rowKey of the rows of `local` by endpoint. */
    const addresses = new Map(last.map(({ ep, workload }) => [ep, new Set(localKeys(workload))]));
    const misused = new Set<number>();
    for (const row of rows) {
      const ep = endpointOf(row);
      nextEp = Math.max(nextEp, ep + 1);
      if (row.table === 'local' && addresses.get(ep)?.has(rowKey(row)) === false) misused.add(ep);
    }
    for (const [key, { ep }] of places) if (misused.has(ep)) places.delete(key);
  };
  avoid(found);
  for (const row of found) {
    const ep = endpointOf(row);
    if (row.table === 'local' && row.action === 'to_pod') {
      delivered.set(rowKey(row), { ep, port: Number(row.params['port']) });
    }
  }

  return {
    avoid,
    place(workloads) {
      const wanted = new Map(workloads.map((workload) => [placeKey(workload), workload]));
      for (const key of places.keys()) if (!wanted.has(key)) places.delete(key);
      const usedPorts = new Set([...places.values()].map((place) => place.port));
      const usedEps = new Set([...places.values()].map((place) => place.ep));

      for (const [key, workload] of wanted) {
        if (places.has(key)) continue;
        const kept = keptPlace(workload, delivered);
        if (
          kept !== undefined &&
          kept.port >= firstPort &&
          !usedPorts.has(kept.port) &&
          !usedEps.has(kept.ep)
        ) {
          places.set(key, kept);
          usedPorts.add(kept.port);
          usedEps.add(kept.ep);
        }
      }
      // Read back once: later an address that comes back is a new pod.
      delivered.clear();

      let port = firstPort;
      for (const key of wanted.keys()) {
        if (places.has(key)) continue;
        while (usedPorts.has(port)) port++;
        usedPorts.add(port);
        places.set(key, { ep: nextEp++, port });
      }
      last = workloads.map((workload) => ({ workload, ...places.get(placeKey(workload))! }));
      return last;
    },
  };
}

/** 0: the row is of no endpoint. */
function endpointOf(row: Row): number {
  return Number(
    row.params['ep'] ?? (row.table === 'endpoint_root' ? row.match['ep']?.value : undefined) ?? 0n,
  );
}

/** A workload that comes back with another interface is another pod. */
function placeKey(workload: WorkloadEndpoint): string {
  return `${workloadKey(workload.id)} ${workload.name}`;
}

function keptPlace(workload: WorkloadEndpoint, delivered: ReadonlyMap<string, Place>): Place | undefined {
  let kept: Place | undefined;
  for (const key of localKeys(workload)) {
    const place = key === undefined ? undefined : delivered.get(key);
    if (place === undefined || (kept !== undefined && kept.ep !== place.ep)) return undefined;
    kept = place;
  }
  return kept;
}

/** rowKey of the rows of `local` that deliver to the workload; undefined for an address that is none. */
function localKeys({ ipv4Nets, ipv6Nets }: WorkloadEndpoint): (string | undefined)[] {
  return ipv4Nets.concat(ipv6Nets).map((net) => {
    const cidr = parseCidr(net);
    if (cidr === undefined) return undefined;
    return rowKey({
      table: 'local',
      match: { hi: { kind: 'exact', value: cidr.hi }, lo: { kind: 'exact', value: cidr.lo } },
    });
  });
}

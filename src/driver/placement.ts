/**
 * Which port and which endpoint id a workload endpoint has on the target. The one piece of state between Felix's model
 * and the rows: ids are never used twice while a target lives, so that a new pod never inherits the connections of an
 * old one (docs/design.md).
 */
import type { WorkloadEndpoint } from '../model/model';
import { workloadKey } from '../model/model';
import { parseCidr } from '../translators/address';
import type { PlacedEndpoint } from '../translators/endpoints';
import { shortName } from '../translators/policy/contents';
import { NO_MEMORY, type NumberMemory } from '../translators/policy/number-memory';
import { rowKey, type Row } from '../translators/rows';

export interface Placement {
  /** Gives every endpoint its place; those not listed any more lose theirs. Order in, order out. */
  place(workloads: readonly WorkloadEndpoint[]): readonly PlacedEndpoint[];
  /**
   * The target was read again. Ids that occur there are not given to anybody from now on, and an endpoint whose id another
   * controller used for other addresses gets a new one: connections of those may still be on the target. True when there are such.
   */
  avoid(found: readonly Row[]): boolean;
}

interface Place {
  readonly ep: number;
  readonly port: number;
}

/**
 * @param firstPort lowest P4 port number for pods; ports of removed endpoints are used again, the lowest first.
 * @param found rows read back from the target: an endpoint whose addresses are all delivered to one place there keeps
 *   it, so that a restart of the driver changes nothing; ids that occur there are not given to others.
 * @param memory where places are kept for the next process; what it remembers goes before `found` if it `isTrusted`: it also tells
 *   a pod from another one that has got its address since.
 */
export function createPlacement(
  firstPort: number,
  found: readonly Row[] = [],
  memory: NumberMemory = NO_MEMORY,
  isTrusted = false,
): Placement {
  const places = new Map<string, Place>();
  const delivered = new Map<string, Place>();
  /** By name. */
  const remembered = new Map<string, Place>();
  let nextEp = 1;
  /** An endpoint that stays where it is stays the same object. */
  let last: readonly PlacedEndpoint[] = [];
  const avoid = (rows: readonly Row[]): boolean => {
    /** rowKey of the rows of `local` by endpoint. */
    const addresses = new Map(last.map(({ ep, workload }) => [ep, new Set(localKeys(workload))]));
    const misused = new Set<number>();
    for (const row of rows) {
      const ep = endpointOf(row);
      nextEp = Math.max(nextEp, ep + 1);
      if (row.table === 'local' && addresses.get(ep)?.has(rowKey(row)) === false) misused.add(ep);
    }
    for (const [key, { ep }] of places) {
      if (!misused.has(ep)) continue;
      places.delete(key);
      memory.drop('endpoint', ep);
    }
    return misused.size > 0;
  };
  avoid(found);
  const foundAt = new Map<number, string[]>();
  for (const row of found) {
    const ep = endpointOf(row);
    if (row.table === 'local' && row.action === 'to_pod') {
      const key = rowKey(row);
      delivered.set(key, { ep, port: Number(row.params['port']) });
      foundAt.set(ep, [...(foundAt.get(ep) ?? []), key]);
    }
  }
  for (const [ep, content] of memory.remembered('endpoint')) {
    const [port = '', name = ''] = content.split(' ');
    nextEp = Math.max(nextEp, ep + 1);
    remembered.set(name, { ep, port: Number(port) });
  }

  /** The highest id stays in the memory when its endpoint has gone: ids are not used twice, over restarts neither. */
  let highest: number | undefined;
  const release = (ep: number): void => {
    if (ep !== nextEp - 1) memory.drop('endpoint', ep);
    else {
      highest = ep;
      memory.note('endpoint', ep, GONE);
    }
  };
  const newId = (): number => {
    if (highest !== undefined) memory.drop('endpoint', highest);
    highest = undefined;
    return nextEp++;
  };

  const keptFor = (workload: WorkloadEndpoint): Place | undefined => {
    if (!isTrusted) return keptPlace(workload, delivered);
    const place = remembered.get(shortName(placeKey(workload)));
    if (place === undefined) return undefined;
    // Other addresses have used the id: their connections may still be on the target.
    const own = new Set(localKeys(workload));
    return (foundAt.get(place.ep) ?? []).every((key) => own.has(key)) ? place : undefined;
  };

  return {
    avoid,
    place(workloads) {
      const before = new Map(last.map((placed) => [placed.workload, placed]));
      const wanted = new Map(workloads.map((workload) => [placeKey(workload), workload]));
      for (const [key, { ep }] of places) {
        if (wanted.has(key)) continue;
        places.delete(key);
        release(ep);
      }
      const usedPorts = new Set([...places.values()].map((place) => place.port));
      const usedEps = new Set([...places.values()].map((place) => place.ep));

      for (const [key, workload] of wanted) {
        if (places.has(key)) continue;
        const kept = keptFor(workload);
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
      // A port is where somebody has attached the pod's interface, so it is kept also where nothing else of before is.
      for (const [key, workload] of wanted) {
        const port = remembered.get(shortName(placeKey(workload)))?.port;
        if (places.has(key) || port === undefined || port < firstPort || usedPorts.has(port)) continue;
        usedPorts.add(port);
        places.set(key, { ep: newId(), port });
      }
      // Read back once: later an address that comes back is a new pod.
      delivered.clear();
      foundAt.clear();
      for (const { ep } of remembered.values()) if (!usedEps.has(ep)) release(ep);
      remembered.clear();

      let port = firstPort;
      for (const key of wanted.keys()) {
        if (places.has(key)) continue;
        while (usedPorts.has(port)) port++;
        usedPorts.add(port);
        places.set(key, { ep: newId(), port });
      }
      for (const [key, { ep, port: own }] of places) {
        memory.note('endpoint', ep, `${own} ${shortName(key)}`);
      }
      last = workloads.map((workload) => {
        const place = places.get(placeKey(workload))!;
        const known = before.get(workload);
        return known?.ep === place.ep && known.port === place.port ? known : { workload, ...place };
      });
      return last;
    },
  };
}

/** What stands for an id whose endpoint has gone: no port and name. */
const GONE = '- gone';

/** 0: the row is of no endpoint. */
function endpointOf(row: Row): number {
  return Number(
    row.params['ep'] ?? (row.table === 'endpoint_root' ? row.match['ep']?.value : undefined) ?? 0n,
  );
}

const placeKeys = new WeakMap<WorkloadEndpoint, string>();

/** A workload that comes back with another interface is another pod. */
function placeKey(workload: WorkloadEndpoint): string {
  let key = placeKeys.get(workload);
  if (key === undefined) {
    key = `${workloadKey(workload.id)} ${workload.name}`;
    placeKeys.set(workload, key);
  }
  return key;
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

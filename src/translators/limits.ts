/**
 * Limits and DSCP of endpoints: the rows of packet_limits, byte_limits, pod_dscp, host_dscp and cluster_pools, and what of them is
 * not enforced. Pure. Rules: felix/dataplane/linux/qos (bandwidth), felix/rules/endpoints.go (packet rates, connections),
 * felix/dataplane/linux/dscp_mgr.go.
 */
import type { FelixModel, QosLimits, WorkloadEndpoint } from '../model/model';
import { parseCidr, type Cidr } from './address';
import { felixConfiguration } from './felix-configuration';
import { sameContent, type Row } from './rows';

/** What of the limits the target can do. */
export interface LimitFeatures {
  /** Meters limit: TargetTraits.meters. */
  readonly meters: boolean;
}

/** Something that Felix asked for and that packets of the endpoint do not get. It opens nothing. */
export interface NotEnforced {
  /** workloadKey, or the id of a host endpoint. */
  readonly endpoint: string;
  readonly what: string;
}

/** What an endpoint's rows of port_in and local say, and the rows that stand behind it. */
export interface EndpointLimits {
  /** Parameter of from_pod: the number of the meters for what it sends, 0 for no limit, plus MARK_DSCP. */
  readonly from: { readonly extras: bigint };
  /** Parameter of to_pod: the number of the meters for what it gets, 0 for no limit. */
  readonly to: { readonly limit: bigint };
  readonly rows: readonly Row[];
  readonly notEnforced: readonly string[];
}

/** Cells of each of the two meters (a test holds it against the program). 0 is nobody's: it stands for no limit. */
export const LIMITS = 2048;

/** As in the program: the sender has a row of pod_dscp. */
const MARK_DSCP = 0x8000_0000n;

/** `-m limit` and nftables' `limit rate` have this where releases before 3.30.2 give none. */
const DEFAULT_PACKET_BURST = 5n;

/** Rows that close nothing by being absent: they stay until the new ones are there. */
export function isLimit({ table }: Row): boolean {
  return table === 'packet_limits' || table === 'byte_limits';
}

/** An endpoint has two numbers, by its port; ports are used again, and so are numbers, each time with limits of their own. */
function limitNumber(port: number, direction: 'ingress' | 'egress'): bigint {
  return BigInt(2 * port + (direction === 'ingress' ? 1 : 2));
}

/** `note` goes into the rows. */
export function endpointLimits(
  { workload, ep, port }: { readonly workload: WorkloadEndpoint; readonly ep: number; readonly port: number },
  settings: LimitFeatures,
  note: string,
): EndpointLimits {
  const rows: Row[] = [];
  const notEnforced: string[] = [];
  const { qos } = workload;

  const limit = (direction: 'ingress' | 'egress'): bigint => {
    if (qos === undefined) return 0n;
    const wanted = metersOf(qos[direction], (what) => notEnforced.push(`${direction} ${what}`));
    if (wanted.length === 0) return 0n;
    const number = limitNumber(port, direction);
    const why = !settings.meters
      ? 'meters of this target do nothing'
      : number >= LIMITS
        ? `the target has meters for ports up to ${LIMITS / 2 - 2}, and its port is ${port}`
        : undefined;
    if (why !== undefined) {
      for (const { words } of wanted) notEnforced.push(`${direction} ${words}: ${why}`);
      return 0n;
    }
    for (const { table, params } of wanted) {
      rows.push({
        table,
        match: { index: { kind: 'exact', value: number } },
        action: 'limit',
        params,
        note: `${note} ${direction}`,
      });
    }
    return number;
  };
  const to = { limit: limit('ingress') };
  const from = { extras: limit('egress') };

  const dscp = workload.dscps?.[0];
  if (dscp === undefined) return { from, to, rows, notEnforced };
  const action = setDscp(dscp);
  if (action === undefined) {
    notEnforced.push(`DSCP ${dscp}: values are 0 to 63`);
    return { from, to, rows, notEnforced };
  }
  rows.push({
    table: 'pod_dscp',
    match: { ep: { kind: 'exact', value: BigInt(ep) } },
    ...action,
    note,
  });
  return { from: { extras: from.extras | MARK_DSCP }, to, rows, notEnforced };
}

interface Meter {
  readonly table: 'packet_limits' | 'byte_limits';
  readonly params: Row['params'];
  /** For people. */
  readonly words: string;
}

/** The meters of one direction; `lacks` is told what no meter can do. */
function metersOf(limits: QosLimits, lacks: (what: string) => void): Meter[] {
  const { bandwidth, burst, peakRate, minBurst, packetRate, packetBurst, maxConnections } = limits;
  const meters: Meter[] = [];
  if (packetRate !== 0n) {
    const words = `packet rate ${packetRate}/s`;
    const most = packetBurst === 0n ? DEFAULT_PACKET_BURST : packetBurst;
    if (packetRate < 0n || most < 0n) lacks(`${words} with a burst of ${packetBurst}: this is no rate`);
    else meters.push({ table: 'packet_limits', params: meter(packetRate, most), words });
  }
  if (bandwidth !== 0n) {
    const words = `bandwidth ${bandwidth} bit/s`;
    // As GetTBFValues does: whole bytes.
    const [rate, most, peak] = [bandwidth / 8n, burst / 8n, peakRate / 8n];
    if (rate < 1n || most < 1n) {
      lacks(`${words} with a burst of ${burst} bits: rates and bursts are a byte at least`);
    } else if (peakRate === 0n) {
      meters.push({ table: 'byte_limits', params: meter(rate, most), words });
    } else {
      // The kernel refuses the whole of it. The bandwidth alone is better than nothing.
      const fits = peak > rate && minBurst >= 1n;
      if (!fits)
        lacks(
          `peak rate ${peakRate} bit/s with ${minBurst} bytes: it is not above the bandwidth, or has no burst`,
        );
      const params = fits
        ? { ...meter(rate, most), peak_rate: peak, peak_burst: minBurst }
        : meter(rate, most);
      meters.push({ table: 'byte_limits', params, words });
    }
  }
  if (maxConnections !== 0n)
    lacks(`limit of ${maxConnections} connections: the target can not count connections`);
  return meters;
}

function meter(rate: bigint, burst: bigint): Row['params'] {
  return { rate, burst, peak_rate: rate, peak_burst: burst };
}

/**
 * Addresses of the cluster: DSCP is left alone in packets to them, and their source is not translated. Only asked where there is one or the
 * other. Authority: felix/dataplane/linux/masq_mgr.go (pools that are for load balancers only are not among them).
 */
export function poolRows({ pools, hosts, config }: FelixModel, problems: string[]): Row[] {
  const rows: Row[] = [];
  const add = (cidr: Cidr, note: string): void => {
    rows.push({
      table: 'cluster_pools',
      match: {
        hi: { kind: 'ternary', value: cidr.hi, mask: cidr.maskHi },
        lo: { kind: 'ternary', value: cidr.lo, mask: cidr.maskLo },
      },
      priority: cidr.prefixLen + 1,
      action: 'in_pool',
      params: {},
      note,
    });
  };
  for (const [id, pool] of pools) {
    const { allowedUses } = pool;
    if (allowedUses.length === 1 && allowedUses[0] === 'LoadBalancer') continue;
    const cidr = parseCidr(pool.cidr);
    if (cidr === undefined)
      problems.push(
        `IP pool ${id}: "${pool.cidr}" is no CIDR: its addresses are taken for none of the cluster`,
      );
    else add(cidr, `IP pool ${id}`);
  }
  if (felixConfiguration(config).natOutgoingSparesHosts) {
    for (const { hostname, ipv4Addr, ipv6Addr } of hosts.values()) {
      for (const text of [ipv4Addr, ipv6Addr]) {
        const cidr = parseCidr(text.split('/')[0]!);
        if (cidr !== undefined) add(cidr, `node ${hostname}`);
      }
    }
  }
  return rows;
}

/**
 * Host endpoints have DSCP too, for what the node itself sends from the addresses that they expect. Of two for one address Linux sets one
 * and then the other: by the text of all addresses of an endpoint, the last one stays.
 */
export function hostDscpRows({ hostEndpoints }: FelixModel): {
  readonly rows: readonly Row[];
  readonly notEnforced: readonly NotEnforced[];
} {
  const rows = new Map<string, Row>();
  const notEnforced: NotEnforced[] = [];
  const marked = [...hostEndpoints.values()].flatMap(({ id, dscps, expectedIpv4Addrs, expectedIpv6Addrs }) =>
    dscps?.[0] === undefined
      ? []
      : [expectedIpv4Addrs, expectedIpv6Addrs].map((texts) => ({
          id,
          dscp: dscps[0]!,
          texts,
          all: texts.join(),
        })),
  );
  marked.sort((a, b) => (a.all < b.all ? -1 : a.all > b.all ? 1 : a.id < b.id ? -1 : 1));
  for (const { id, dscp, texts } of marked) {
    const action = setDscp(dscp);
    if (action === undefined) {
      if (texts.length > 0) notEnforced.push({ endpoint: id, what: `DSCP ${dscp}: values are 0 to 63` });
      continue;
    }
    for (const text of texts) {
      const address = parseCidr(text.split('/')[0]!);
      if (address === undefined) {
        notEnforced.push({ endpoint: id, what: `DSCP ${dscp} for "${text}": this is no address` });
        continue;
      }
      rows.set(address.text, {
        table: 'host_dscp',
        match: { hi: { kind: 'exact', value: address.hi }, lo: { kind: 'exact', value: address.lo } },
        ...action,
        note: `host endpoint ${id}`,
      });
    }
  }
  return { rows: [...rows.values()], notEnforced };
}

/** In its place in IPv4's type of service and in the first word of IPv6; undefined where it is none. */
function setDscp(dscp: number): Pick<Row, 'action' | 'params'> | undefined {
  if (!Number.isInteger(dscp) || dscp < 0 || dscp > 63) return undefined;
  return { action: 'set_dscp', params: { tos: BigInt(dscp << 2), traffic_class: BigInt(dscp) << 22n } };
}

/**
 * Rows that send the same packets the same way, whatever the limits and marks that they name: one may become the other in place, where
 * taking it away first would have the packets go elsewhere meanwhile.
 */
export function sameWay(a: Row, b: Row): boolean {
  if (a.table === b.table && WAYS_TO_NODES.has(a.table)) return true;
  return sameContent(a, { ...b, params: { ...b.params, ...onTheWay(a) } });
}

/**
 * Ways to other nodes change in place: whichever of the two a packet meets, it is whole, and without any it would follow the default route
 * or be lost.
 */
const WAYS_TO_NODES: ReadonlySet<string> = new Set([
  'next_hop',
  'remote_address',
  'remote_block',
  'tunnel_here',
  'masquerade_pools',
]);

/** Parameters of port_in and local that say what happens to a packet, and not where it goes. */
function onTheWay({ params }: Row): Row['params'] {
  return Object.fromEntries(
    ['extras', 'limit'].flatMap((name) => (params[name] === undefined ? [] : [[name, params[name]]])),
  );
}

/**
 * Where packets come from and go to: the rows of port_in, pod_source, pod_source_prefix, host_address, local,
 * default_route and host_stack (docs/pipeline.md), through limits.ts those of limits and DSCP, and through floating-ips.ts those of floating IPs. Pure: ids and ports are given, rows come out.
 */
import type { FelixModel, WorkloadEndpoint } from '../model/model';
import { workloadKey } from '../model/model';
import { parseCidr, type Cidr } from './address';
import { endpointLimits, hostDscpRows, poolRows, type LimitFeatures, type NotEnforced } from './limits';
import { felixConfiguration } from './felix-configuration';
import { floatingIps } from './floating-ips';
import { EMBEDDED_LINKS, parseMac, podMac, type NodeLinks } from './links';
import type { NetworkRows } from './routes';
import type { RowParts } from './row-parts';
import { rowKey, type MatchValue, type Row } from './rows';

/** Values of the fields `source` and `target` of default_route and host_stack, and of the program's SIDE_* constants. */
const SIDE = { pod: 1n, uplink: 2n, host: 3n } as const;

/** P4 port numbers of the node's two fixed ports. */
export interface NodePorts {
  readonly uplink: number;
  readonly host: number;
}

/** A workload endpoint that has a port and an id on the target. */
export interface PlacedEndpoint {
  readonly workload: WorkloadEndpoint;
  /** Endpoint id: part of the connection keys and the key of endpoint_root. Never 0. */
  readonly ep: number;
  readonly port: number;
}

/** What of the node's network endpoints and the node itself hang on (routes.ts). */
export type NodeNetwork = Pick<NetworkRows, 'ownAddresses' | 'keepPodsIn' | 'needsPools'> & {
  /** Where frames to addresses that nobody knows are sent; undefined: not known, and none are. */
  readonly defaultMac: bigint | undefined;
};

export interface EndpointRows {
  readonly rows: readonly Row[];
  /** What could not be done, for the log: always the closed way. */
  readonly problems: readonly string[];
  readonly notEnforced: readonly NotEnforced[];
}

/**
 * Workload endpoints that the node serves. Two endpoints with one interface name: the lower id wins and the other gets
 * nothing, as Felix shadows it (felix/dataplane/linux/endpoint_mgr.go).
 */
export function activeWorkloads(model: FelixModel): WorkloadEndpoint[] {
  const byInterface = new Map<string, WorkloadEndpoint>();
  for (const key of [...model.workloads.keys()].sort()) {
    const workload = model.workloads.get(key)!;
    if (!byInterface.has(workload.name)) byInterface.set(workload.name, workload);
  }
  return [...byInterface.values()];
}

export function endpointRows(
  model: FelixModel,
  endpoints: readonly PlacedEndpoint[],
  ports: NodePorts,
  links: NodeLinks = EMBEDDED_LINKS,
  features: LimitFeatures = { meters: true },
  network: NodeNetwork = plainNetwork(links),
): EndpointRows {
  const { parts, problems, notEnforced } = endpointParts(model, endpoints, ports, links, features, network);
  return { rows: dedupe(parts.flat()), problems, notEnforced };
}

/** No tunnels, and the one router that the links name. */
function plainNetwork({ nextHopMac }: NodeLinks): NodeNetwork {
  return { ownAddresses: [], keepPodsIn: false, needsPools: false, defaultMac: nextHopMac };
}

/** The rows of endpointRows: a part for each endpoint, the same array as long as nothing in it changes, and two for the node. */
export function endpointParts(
  model: FelixModel,
  endpoints: readonly PlacedEndpoint[],
  ports: NodePorts,
  links: NodeLinks = EMBEDDED_LINKS,
  features: LimitFeatures = { meters: true },
  network: NodeNetwork = plainNetwork(links),
): Omit<EndpointRows, 'rows'> & { readonly parts: RowParts } {
  const configuration = felixConfiguration(model.config);
  const { rows, problems } = linkRows(model, ports, links, network);
  problems.push(...configuration.problems);
  const parts: (readonly Row[])[] = [rows];
  const delivered = new Map<string, string>();
  const hostDscp = hostDscpRows(model);
  const notEnforced = [...hostDscp.notEnforced];
  const settings: WorkloadSettings = {
    spoofing: configuration.sourceSpoofing,
    meters: features.meters,
  };
  for (const placed of endpoints) {
    const own = workloadRows(placed, links, settings);
    notEnforced.push(...own.notEnforced);
    problems.push(...own.problems);
    const elsewhere = new Set<Row>();
    for (const { address: text, net, row } of own.deliveries) {
      const owner = delivered.get(text);
      if (owner === undefined) delivered.set(text, own.name);
      else {
        problems.push(`workload ${own.name}: address ${net} belongs to ${owner} too: it is delivered there`);
        elsewhere.add(row);
      }
    }
    parts.push(elsewhere.size === 0 ? own.rows : dedupe(own.rows.filter((row) => !elsewhere.has(row))));
  }
  const hasDscp =
    hostDscp.rows.length > 0 || parts.some((part) => part.some(({ table }) => table === 'pod_dscp'));
  const pools = hasDscp || network.needsPools ? poolRows(model, problems) : [];
  const ofHost = dedupe([...hostRows(model, ports, links, network, delivered, problems), ...pools]);
  const floating = floatingIps(model, endpoints, delivered);
  notEnforced.push(...floating.notEnforced);
  // The node's own go before, also those that Felix does not name.
  parts.push(dedupe([...hostDscp.rows, ...floating.rows, ...ofHost, ...invalidRows(model)]));
  return { parts, problems, notEnforced };
}

/** What an endpoint asks for, whatever others do. */
interface WorkloadRows {
  readonly name: string;
  /** Those of `deliveries` included. */
  readonly rows: readonly Row[];
  /** Rows of `local`: an address belongs to the first endpoint that has it. */
  readonly deliveries: readonly { readonly address: string; readonly net: string; readonly row: Row }[];
  readonly problems: readonly string[];
  readonly notEnforced: readonly NotEnforced[];
}

/** What of the node's configuration, and of the target, an endpoint's rows hang on. */
interface WorkloadSettings extends LimitFeatures {
  readonly spoofing: boolean;
}

/** Most endpoints stay what they are from one state to the next. */
const known = new WeakMap<
  WorkloadEndpoint,
  {
    readonly placed: PlacedEndpoint;
    readonly links: NodeLinks;
    readonly settings: WorkloadSettings;
    readonly made: WorkloadRows;
  }
>();

function workloadRows(placed: PlacedEndpoint, links: NodeLinks, settings: WorkloadSettings): WorkloadRows {
  const found = known.get(placed.workload);
  if (
    found?.placed.ep === placed.ep &&
    found.placed.port === placed.port &&
    found.links === links &&
    found.settings.spoofing === settings.spoofing &&
    found.settings.meters === settings.meters
  )
    return found.made;
  const made = makeWorkloadRows(placed, links, settings);
  known.set(placed.workload, { placed, links, settings, made });
  return made;
}

/**
 * An endpoint that is not active gets nothing through, established or not: Felix drops before it looks at connections
 * (felix/rules/endpoints.go, "Endpoint admin disabled").
 */
function makeWorkloadRows(
  { workload, ep, port }: PlacedEndpoint,
  links: NodeLinks,
  settings: WorkloadSettings,
): WorkloadRows {
  const rows: Row[] = [];
  const deliveries: { readonly address: string; readonly net: string; readonly row: Row }[] = [];
  const problems: string[] = [];
  const name = workloadKey(workload.id);
  const note = `${name} (${workload.name})`;
  const active = workload.state === 'active';
  const limits = active ? endpointLimits({ workload, ep, port }, settings, note) : undefined;
  rows.push(...(limits?.rows ?? []));
  const notEnforced = (limits?.notEnforced ?? []).map((what) => ({ endpoint: name, what }));
  rows.push(
    limits !== undefined
      ? {
          table: 'port_in',
          match: { port: exact(port) },
          action: 'from_pod',
          params: { ep: BigInt(ep), mac: links.gatewayMac, port: BigInt(port), ...limits.from },
          note,
        }
      : { table: 'port_in', match: { port: exact(port) }, action: 'from_disabled', params: {}, note },
  );
  if (workload.mac !== '' && parseMac(workload.mac) === undefined) {
    problems.push(
      `workload ${name}: "${workload.mac}" is no MAC address of an interface: packets go to the one that follows from ${workload.name}`,
    );
  }
  for (const net of workload.ipv4Nets.concat(workload.ipv6Nets)) {
    const cidr = parseCidr(net);
    if (cidr === undefined || !cidr.single) {
      problems.push(`workload ${name}: "${net}" is no single address: the endpoint does not get it`);
      continue;
    }
    rows.push({
      table: 'pod_source',
      match: { ep: exact(ep), ...address(cidr) },
      action: 'source_ok',
      params: {},
      note,
    });
    const row: Row = {
      table: 'local',
      match: address(cidr),
      ...(limits !== undefined
        ? {
            action: 'to_pod',
            params: {
              port: BigInt(port),
              ep: BigInt(ep),
              dst: podMac(workload),
              src: links.gatewayMac,
              mtu: BigInt(links.podMtu),
              ...limits.to,
            },
          }
        : { action: 'to_disabled', params: {} }),
      note,
    };
    rows.push(row);
    deliveries.push({ address: cidr.text, net, row });
  }
  for (const net of settings.spoofing ? workload.allowSpoofedSourcePrefixes : []) {
    const cidr = parseCidr(net);
    if (cidr === undefined) {
      problems.push(`workload ${name}: allowed source prefix "${net}" is no CIDR: ignored`);
      continue;
    }
    rows.push(sourcePrefixRow(ep, cidr, note));
  }
  return { name, rows, deliveries, problems, notEnforced };
}

/** Felix's setting DisableConntrackInvalidCheck: what connection tracking calls invalid is not dropped for that (felix/rules/endpoints.go). */
function invalidRows(model: FelixModel): Row[] {
  if (!felixConfiguration(model.config).letsInvalidPass) return [];
  return Object.entries(SIDE).map(([side, source]) => ({
    table: 'invalid',
    match: { source: exact(source) },
    action: 'let_judge',
    params: {},
    note: `packets from the ${side} that belong to no connection`,
  }));
}

/** DefaultEndpointToHostAction: what is returned to the host's own rules gets to the host's stack, which has them. */
function podsReachHost(model: FelixModel): boolean {
  return felixConfiguration(model.config).endpointToHost !== 'drop';
}

/** The node's two fixed ports, the way out, and the way to the stack that makes ICMP errors. */
function linkRows(
  model: FelixModel,
  ports: NodePorts,
  links: NodeLinks,
  { defaultMac, keepPodsIn }: NodeNetwork,
): { readonly rows: Row[]; readonly problems: string[] } {
  const { gatewayMac, uplinkMac, hostMac, uplinkMtu } = links;
  const rows: Row[] = [];
  const problems: string[] = [];
  if (uplinkMac === undefined) {
    problems.push(
      'the MAC address of the uplink is not known (macs.uplink): nothing comes in or leaves there',
    );
  } else {
    rows.push({
      table: 'port_in',
      match: { port: exact(ports.uplink) },
      action: 'from_uplink',
      params: { mac: uplinkMac, port: BigInt(ports.uplink) },
      note: 'uplink',
    });
  }
  rows.push({
    table: 'port_in',
    match: { port: exact(ports.host) },
    action: 'from_host',
    params: { mac: gatewayMac, port: BigInt(ports.host) },
    note: 'host',
  });
  if (hostMac === undefined) {
    problems.push("the MAC address of the host's port is not known (macs.host): nothing is sent there");
  }
  if (uplinkMac !== undefined && defaultMac === undefined) {
    problems.push(
      'the MAC address of the next hop is not known (macs.nextHop, or the neighbour that the default route names): nothing leaves by the uplink but for known nodes',
    );
  }
  if (uplinkMac !== undefined && defaultMac !== undefined) {
    const params = { port: BigInt(ports.uplink), dst: defaultMac, src: uplinkMac, mtu: BigInt(uplinkMtu) };
    const route = (source: bigint, from: string): Row => ({
      table: 'default_route',
      match: { source: exact(source) },
      action: 'to_uplink',
      params,
      note: `addresses that nobody knows, from ${from}`,
    });
    if (!keepPodsIn) rows.push(route(SIDE.pod, 'pods'));
    rows.push(route(SIDE.host, 'the host'));
  }
  rows.push(...stackRows(model, ports, links));
  return { rows, problems };
}

/**
 * Who gets what can not be routed (time to live, size), to make the ICMP error. A packet for an address that nobody here has may be
 * for an address of the host that Felix does not name: the host's stack would take it in, with a time to live of 1, whatever
 * DefaultEndpointToHostAction says. So it gets those only where pods may talk to the host; a stack of its own gets them always.
 */
function stackRows(model: FelixModel, ports: NodePorts, links: NodeLinks): Row[] {
  const stack =
    links.errorStack ?? (links.hostMac === undefined ? undefined : { port: ports.host, mac: links.hostMac });
  if (stack === undefined) return [];
  const ways: (readonly [bigint, bigint])[] = [
    [SIDE.pod, SIDE.pod],
    [SIDE.uplink, SIDE.pod],
  ];
  if (links.errorStack !== undefined || podsReachHost(model)) ways.push([SIDE.pod, SIDE.uplink]);
  return ways.map(([source, target]) => ({
    table: 'host_stack',
    match: { source: exact(source), target: exact(target) },
    action: 'to_stack',
    params: { port: BigInt(stack.port), dst: stack.mac, src: links.gatewayMac },
    note: 'packets that need an ICMP error',
  }));
}

/** The node's own addresses. Packets of pods to them obey DefaultEndpointToHostAction (default Drop). */
function hostRows(
  model: FelixModel,
  ports: NodePorts,
  links: NodeLinks,
  { ownAddresses }: NodeNetwork,
  delivered: ReadonlyMap<string, string>,
  problems: string[],
): Row[] {
  const rows: Row[] = [];
  const fromPods = podsReachHost(model) ? 1n : 0n;
  const own = model.hosts.get(felixConfiguration(model.config).hostname ?? '');
  const name = own === undefined ? 'host' : `host ${own.hostname}`;
  const seen = new Set<string>();
  const add = (cidr: Cidr, note: string): void => {
    if (seen.has(cidr.text)) return;
    seen.add(cidr.text);
    const owner = delivered.get(cidr.text);
    if (owner !== undefined) problems.push(`${name}: address ${cidr.text} belongs to workload ${owner} too`);
    rows.push({ table: 'host_address', match: address(cidr), action: 'own_address', params: {}, note });
    if (owner !== undefined) return;
    if (links.hostMac === undefined) {
      // Without a row the address would be nobody's, and pods' packets to it would leave by the uplink.
      rows.push({ table: 'local', match: address(cidr), action: 'to_disabled', params: {}, note });
      return;
    }
    rows.push({
      table: 'local',
      match: address(cidr),
      action: 'to_host',
      params: {
        port: BigInt(ports.host),
        from_pods: fromPods,
        dst: links.hostMac,
        src: links.gatewayMac,
      },
      note,
    });
  };
  for (const text of [own?.ipv4Addr ?? '', own?.ipv6Addr ?? '']) {
    if (text === '') continue;
    const cidr = parseCidr(text.split('/')[0]!);
    if (cidr === undefined) problems.push(`${name}: "${text}" is no address: ignored`);
    else add(cidr, name);
  }
  for (const { address: cidr, what } of ownAddresses) add(cidr, `${name}: ${what}`);
  return rows;
}

function sourcePrefixRow(ep: number, cidr: Cidr, note: string): Row {
  return {
    table: 'pod_source_prefix',
    match: {
      ep: exact(ep),
      hi: { kind: 'ternary', value: cidr.hi, mask: cidr.maskHi },
      lo: { kind: 'ternary', value: cidr.lo, mask: cidr.maskLo },
    },
    priority: cidr.prefixLen + 1,
    action: 'source_prefix_ok',
    params: {},
    note,
  };
}

function address(cidr: Cidr): { hi: MatchValue; lo: MatchValue } {
  return { hi: exact(cidr.hi), lo: exact(cidr.lo) };
}

function exact(value: number | bigint): MatchValue {
  return { kind: 'exact', value: BigInt(value) };
}

/** An endpoint may list an address twice; one row is enough. */
function dedupe(rows: readonly Row[]): Row[] {
  return [...new Map(rows.map((row) => [rowKey(row), row])).values()];
}

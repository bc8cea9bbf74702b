/**
 * How packets get to other nodes: the rows of remote_address, remote_block, next_hop, tunnel_here, tunnel_peer and masquerade_pools
 * (docs/routes.md). Pure but for what it remembers: what did not change keeps its rows, so that a change costs what changed.
 */
import type { FelixModel, IpamPool, Route } from '../model/model';
import { parseCidr, spellAddress, type Cidr } from './address';
import { addressOf, contains, HOP_KIND, waysOf, type Hop, type Ways } from './hops';
import type { NotEnforced } from './limits';
import { masqueradeRows } from './nat-outgoing';
import type { NetworkFacts } from './network-facts';
import { exact, sameRows, ternary, type NetworkInputs } from './network-rows';
import { hopRow } from './next-hops';
import type { RowParts } from './row-parts';
import type { Row } from './rows';
import { ownAddresses, tunnelRows, type OwnAddress } from './tunnels';

export interface NetworkRows {
  /** The same array as long as nothing in it changed, and each part likewise. */
  readonly parts: RowParts;
  /** Addresses whose MAC address is asked of NetworkFacts.macOf, spelled as there; the same set as long as they are the same. */
  readonly nextHops: ReadonlySet<string>;
  /** Addresses of the node besides its own two: of its tunnels, and what the host's stack has; the same array likewise. */
  readonly ownAddresses: readonly OwnAddress[];
  /** Nothing of pods may leave by the default route. */
  readonly keepPodsIn: boolean;
  /** Something has to know which addresses are in the cluster (cluster_pools). */
  readonly needsPools: boolean;
  /** By spelled address: the node that has it, for people. */
  readonly nodes: ReadonlyMap<string, string>;
  readonly problems: readonly string[];
  readonly notEnforced: readonly NotEnforced[];
}

/** One node's network; ask it with each state in turn. */
export function createNetworkRows(): (inputs: NetworkInputs) => NetworkRows {
  let changed = createInputsWatch();
  let last: NetworkRows | undefined;
  const byRoute = new WeakMap<Route, { readonly cidr: Cidr | undefined; to?: unknown; row?: Row }>();
  let routeParts = new Map<string, readonly Row[]>();
  let others: readonly (readonly Row[])[] = [];

  const cidrOf = (route: Route) => {
    let known = byRoute.get(route);
    if (known === undefined) byRoute.set(route, (known = { cidr: parseCidr(route.dst) }));
    return known;
  };

  const read = (inputs: NetworkInputs): NetworkRows => {
    const { model, facts } = inputs;
    const ways = waysOf(model, facts);
    const problems = new Set<string>();
    const hops = new Map<string, Hop>();
    /** Of two that claim one address, always the same. */
    const addHop = (hop: Hop): void => {
      const was = hops.get(hopKey(hop));
      if (was === undefined || hop.node < was.node) hops.set(hopKey(hop), hop);
    };
    const taken = new Set<string>();
    const byNode = new Map<string, Row[]>();
    const felixLeaves = kernelRoutesInPools(model, facts);

    for (const route of model.routes.values()) {
      const known = cidrOf(route);
      const { cidr } = known;
      if (cidr === undefined) {
        problems.add(`route ${route.dst}: this is no CIDR: ignored`);
        continue;
      }
      const ofBird = route.poolType === 'no-encap' && !model.encapsulation.noEncap;
      if (ofBird && felixLeaves.has(cidr.text)) continue;
      const to = ways.to(route, cidr);
      if (to === 'nothing' || taken.has(cidr.text)) continue;
      taken.add(cidr.text);
      if (to.kind !== 'drop') addHop(to);
      else if (route.node !== ways.own.name) problems.add(`packets to ${route.node} are dropped: ${to.why}`);
      if (known.row === undefined || !sameTarget(known.to, to)) known.row = placeRow(cidr, to, route.node);
      known.to = to;
      const rows = byNode.get(route.node);
      if (rows === undefined) byNode.set(route.node, [known.row]);
      else rows.push(known.row);
    }
    const parts = new Map<string, readonly Row[]>();
    for (const [node, rows] of byNode) parts.set(node, sameRows(routeParts.get(node), rows));
    routeParts = parts;

    const fixed: Row[] = [];
    for (const [text, { dst, gateway, device }] of felixLeaves) {
      if (taken.has(text)) continue;
      taken.add(text);
      const hop = kernelHop(gateway, device);
      if (hop !== undefined) addHop(hop);
      fixed.push(placeRow(dst, hop ?? { kind: 'drop', why: 'a blackhole of BIRD' }, ''));
    }
    for (const pool of model.pools.values()) {
      const cidr = parseCidr(pool.cidr);
      if (cidr === undefined || taken.has(cidr.text) || !staysIn(pool, ways)) continue;
      taken.add(cidr.text);
      fixed.push(placeRow(cidr, { kind: 'drop', why: 'no node has it' }, ''));
    }
    const nextHops = new Set<string>();
    const next = [...hops.values()].flatMap((hop) => {
      const row = hopRow(hop, inputs, ways, nextHops);
      return row === undefined ? [] : [row];
    });
    const nat = masqueradeRows(inputs, problems);
    const made = [fixed, next, tunnelRows(inputs, ways, problems), nat.rows];
    others = made.map((rows, i) => sameRows(others[i], rows));
    const own = ownAddresses(inputs, ways);
    return {
      parts: [...routeParts.values(), ...others],
      nextHops: last !== undefined && sameItems(last.nextHops, nextHops) ? last.nextHops : nextHops,
      ownAddresses: last !== undefined && sameAddresses(last.ownAddresses, own) ? last.ownAddresses : own,
      keepPodsIn: nat.keepPodsIn,
      needsPools: nat.rows.length > 0,
      nodes: nodeNames(model, hops),
      problems: [...problems].sort(),
      notEnforced: nat.notEnforced,
    };
  };

  return (inputs) => {
    if (last !== undefined && !changed(inputs)) return last;
    if (last === undefined) {
      changed = createInputsWatch();
      changed(inputs);
    }
    last = read(inputs);
    return last;
  };
}

/** Whether anything that the rows are made of is another than when this was last asked. */
function createInputsWatch(): (inputs: NetworkInputs) => boolean {
  let before: readonly unknown[] = [];
  return ({ model, ports, links, facts }) => {
    const now: unknown[] = [ports, links, facts, model.config, model.encapsulation];
    for (const map of [
      model.routes,
      model.vteps,
      model.wireguard,
      model.wireguardV6,
      model.hosts,
      model.pools,
    ]) {
      now.push(map.size);
      for (const value of map.values()) now.push(value);
    }
    const same = now.length === before.length && now.every((item, i) => item === before[i]);
    before = now;
    return !same;
  };
}

function sameItems<T>(a: ReadonlySet<T>, b: ReadonlySet<T>): boolean {
  return a.size === b.size && [...a].every((item) => b.has(item));
}

function sameAddresses(a: readonly OwnAddress[], b: readonly OwnAddress[]): boolean {
  return (
    a.length === b.length &&
    a.every(({ address, what }, i) => address.text === b[i]!.address.text && what === b[i]!.what)
  );
}

type Target = Hop | { readonly kind: 'drop'; readonly why: string };

function sameTarget(a: unknown, b: Target): boolean {
  if (a === b) return true;
  const before = a as Target | undefined;
  if (before === undefined || before.kind !== b.kind) return false;
  if (before.kind === 'drop' || b.kind === 'drop')
    return before.kind === 'drop' && b.kind === 'drop' && before.why === b.why;
  return before.address.text === b.address.text && before.node === b.node;
}

function hopKey({ kind, address }: Hop): string {
  return `${kind} ${address.text}`;
}

/** A row of remote_address for one address, else of remote_block. */
function placeRow(dst: Cidr, to: Target, node: string): Row {
  const where = node === '' ? '' : `node ${node}`;
  const note = to.kind === 'drop' ? [where, to.why].filter((word) => word !== '').join(': ') : where;
  const params: Row['params'] =
    to.kind === 'drop' ? {} : { kind: HOP_KIND[to.kind], hop_hi: to.address.hi, hop_lo: to.address.lo };
  const noted = note === '' ? {} : { note };
  if (dst.single) {
    return {
      table: 'remote_address',
      match: { dst_hi: exact(dst.hi), dst_lo: exact(dst.lo) },
      action: to.kind === 'drop' ? 'blackhole' : 'via',
      params,
      ...noted,
    };
  }
  return {
    table: 'remote_block',
    match: ternary(dst),
    priority: dst.prefixLen + 1,
    action: to.kind === 'drop' ? 'block_blackhole' : 'block_via',
    params,
    ...noted,
  };
}

/** By the CIDR's canonical spelling. BIRD may know ways to anywhere; what is in no pool follows the default route. */
function kernelRoutesInPools({ pools }: FelixModel, { kernelRoutes }: NetworkFacts) {
  const inPools = new Map<string, NetworkFacts['kernelRoutes'][number]>();
  if (kernelRoutes.length === 0) return inPools;
  const cidrs = [...pools.values()].flatMap(({ cidr }) => parseCidr(cidr) ?? []);
  for (const route of kernelRoutes) {
    if (cidrs.some((pool) => contains(pool, route.dst))) inPools.set(route.dst.text, route);
  }
  return inPools;
}

/** BIRD sends packets of IP-in-IP pools into the tunnel device. */
function kernelHop(gateway: Cidr | undefined, device: string): Hop | undefined {
  if (gateway === undefined) return undefined;
  return { kind: device === 'tunl0' ? 'ipip' : 'link', address: gateway, node: '' };
}

/** What no node has of a pool whose packets travel in tunnels does not leave as it is. */
function staysIn({ vxlanMode, ipipMode, cidr }: IpamPool, { configuration }: Ways): boolean {
  const { wireguard } = configuration;
  const encrypted = cidr.includes(':') ? wireguard.enabledV6 : wireguard.enabled;
  return [vxlanMode, ipipMode].some((mode) => mode !== '' && mode !== 'never') || encrypted;
}

function nodeNames(
  { hosts, vteps }: FelixModel,
  hops: ReadonlyMap<string, Hop>,
): ReadonlyMap<string, string> {
  const names = new Map<string, string>();
  const name = (address: Cidr | undefined, node: string): void => {
    if (address !== undefined && node !== '') names.set(spellAddress(address.hi, address.lo), node);
  };
  for (const { address, node } of hops.values()) name(address, node);
  for (const { node, address, addressV6 } of vteps.values())
    for (const text of [address, addressV6]) name(addressOf(text), node);
  for (const { hostname, ipv4Addr, ipv6Addr } of hosts.values())
    for (const text of [ipv4Addr, ipv6Addr]) name(addressOf(text), hostname);
  return names;
}

/** What the host's network must have for what Felix says: routes and addresses on the host's interface, and nftables rules. Pure. */
import type { FelixModel } from '../../model/model';
import { parseCidr, spellAddress, type Cidr } from '../../translators/address';
import { felixConfiguration } from '../../translators/felix-configuration';
import { addressOf, contains } from '../../translators/hops';
import type { OwnAddress } from '../../translators/tunnels';
import type { KernelState } from './kernel';
import { GATEWAY_V4, GATEWAY_V6, isOurs, type Interfaces } from './ways';

/** Of routes on the host, where DeviceRouteProtocol does not say another: a number that nobody else has by default. */
const ROUTE_PROTOCOL = 88;

export interface HostPlan {
  /** Routes by which the host's stack sends to pods: `dst`, and the source that its packets get. */
  readonly routes: readonly HostRoute[];
  /** Of tunnels, on the host's interface. */
  readonly addresses: readonly Cidr[];
  readonly protocol: number;
  /** The table inet calico-p4, as nft reads it. */
  readonly rules: string;
}

export interface HostRoute {
  readonly dst: Cidr;
  readonly source: Cidr | undefined;
}

export interface PlanInputs {
  readonly model: FelixModel;
  readonly kernel: KernelState;
  readonly interfaces: Interfaces;
  /** Addresses of the node besides its own two (NetworkRows.ownAddresses). */
  readonly ownAddresses: readonly OwnAddress[];
}

export function hostPlan(inputs: PlanInputs): HostPlan {
  const { model, kernel, interfaces, ownAddresses } = inputs;
  const { routeProtocol } = felixConfiguration(model.config);
  const tunnels = ownAddresses.filter(({ what }) => what !== 'address of the host').map((one) => one.address);
  const pools = poolsOf(model);
  const sourceFor = (dst: Cidr, encapsulated: boolean): Cidr | undefined =>
    encapsulated ? tunnels.find(({ ipVersion }) => ipVersion === dst.ipVersion) : undefined;
  const routes = new Map<string, HostRoute>();
  for (const { cidr, encapsulated } of pools)
    routes.set(cidr.text, { dst: cidr, source: sourceFor(cidr, encapsulated) });
  // BIRD has the node's own blocks dropped, which would be closer than the pool.
  const closer = kernel.routes
    .filter((route) => route.type !== 'unicast' && !isOurs(route, interfaces.host))
    .map(({ dst }) => dst);
  for (const workload of model.workloads.values()) {
    for (const net of [...workload.ipv4Nets, ...workload.ipv6Nets]) {
      const address = parseCidr(net);
      if (address?.single !== true) continue;
      const pool = pools.find(({ cidr }) => contains(cidr, address));
      if (pool !== undefined && !closer.some((dst) => contains(dst, address))) continue;
      routes.set(address.text, { dst: address, source: sourceFor(address, pool?.encapsulated ?? false) });
    }
  }
  return {
    routes: [...routes.values()],
    addresses: tunnels,
    protocol: routeProtocol ?? ROUTE_PROTOCOL,
    rules: hostRules(inputs),
  };
}

/** Those of pods and tunnels, each CIDR once. */
function poolsOf({ pools }: FelixModel): readonly { readonly cidr: Cidr; readonly encapsulated: boolean }[] {
  const found = new Map<string, { readonly cidr: Cidr; readonly encapsulated: boolean }>();
  for (const { cidr: text, allowedUses, vxlanMode, ipipMode } of pools.values()) {
    const cidr = parseCidr(text);
    if (cidr === undefined || (allowedUses.length === 1 && allowedUses[0] === 'LoadBalancer')) continue;
    const encapsulated = [vxlanMode, ipipMode].some((mode) => mode !== '' && mode !== 'never');
    found.set(cidr.text, { cidr, encapsulated });
  }
  return [...found.values()];
}

export const GATEWAYS: readonly (readonly [4 | 6, string])[] = [
  [4, GATEWAY_V4],
  [6, GATEWAY_V6],
];

/**
 * The guard: the kernel gets nothing of what comes in by the uplink but what it needs to learn neighbours. Packet sockets, by which the
 * target reads, see frames before it.
 */
export function guardRules(uplink: string): string {
  return `table netdev calico-p4 {
  chain uplink {
    type filter hook ingress device "${uplink}" priority -500; policy drop;
    arp operation { request, reply } accept
    icmpv6 type nd-neighbor-advert accept
  }
}
`;
}

/**
 * natOutgoing as felix/rules/nat.go has it, at the host's interface, which is the way to the uplink here. What pods send out by it must not
 * get to the host itself past DefaultEndpointToHostAction; nor do senders get redirects, since packets leave the way they come.
 */
export function hostRules({ model, interfaces, ownAddresses }: PlanInputs): string {
  const configuration = felixConfiguration(model.config);
  const { natOutgoingSparesHosts, natPorts, natAddress, endpointToHost } = configuration;
  const pools = poolsOf(model).map(({ cidr }) => cidr);
  const asking = [...model.pools.values()]
    .filter(({ masquerade }) => masquerade)
    .flatMap(({ cidr }) => parseCidr(cidr) ?? []);
  const nodes = [...model.hosts.values()].flatMap(({ ipv4Addr, ipv6Addr }) =>
    [ipv4Addr, ipv6Addr].flatMap((text) => addressOf(text) ?? []),
  );
  const self = model.hosts.get(configuration.hostname ?? '');
  const own = [
    ...[self?.ipv4Addr ?? '', self?.ipv6Addr ?? ''].flatMap((text) => addressOf(text) ?? []),
    ...ownAddresses.map(({ address }) => address),
  ];
  const device = JSON.stringify(interfaces.host);
  const sets: string[] = [];
  const set = (name: string, type: string, members: readonly Cidr[]): void => {
    const elements = [
      ...new Set(members.map(({ text, single }) => (single ? text.split('/')[0]! : text))),
    ].sort();
    const listed = elements.length === 0 ? '' : `\n    elements = { ${elements.join(', ')} }`;
    sets.push(`  set ${name} {\n    type ${type}\n    flags interval\n    auto-merge${listed}\n  }`);
  };
  const postrouting: string[] = [];
  const input: string[] = [];
  for (const ipVersion of [4, 6] as const) {
    const [ip, type] = ipVersion === 4 ? ['ip', 'ipv4_addr'] : ['ip6', 'ipv6_addr'];
    const only = (cidrs: readonly Cidr[]): readonly Cidr[] =>
      cidrs.filter((one) => one.ipVersion === ipVersion);
    set(`pools${ipVersion}`, type, only(pools));
    set(`masquerade${ipVersion}`, type, only(asking));
    set(`own${ipVersion}`, type, only(own));
    if (natOutgoingSparesHosts) set(`nodes${ipVersion}`, type, only(nodes));
    const spared = natOutgoingSparesHosts ? ` ${ip} daddr != @nodes${ipVersion}` : '';
    const match = `oifname ${device} ${ip} saddr @masquerade${ipVersion} ${ip} daddr != @pools${ipVersion}${spared}`;
    const address =
      ipVersion === 4 && natAddress !== undefined ? spellAddress(natAddress.hi, natAddress.lo) : '';
    const verdict = (ports: string): string =>
      address !== ''
        ? `snat ip to ${address}${ports}`
        : ports === ''
          ? 'masquerade'
          : `masquerade to ${ports}`;
    if (natPorts !== undefined) {
      for (const protocol of ['tcp', 'udp'])
        postrouting.push(
          `${match} meta l4proto ${protocol} ${verdict(`:${natPorts.first}-${natPorts.last}`)}`,
        );
    }
    postrouting.push(`${match} ${verdict('')}`);
    if (endpointToHost === 'drop')
      input.push(`iifname ${device} fib daddr type local ${ip} daddr != @own${ipVersion} drop`);
  }
  const chain = (name: string, hook: string, rules: readonly string[]): string =>
    `  chain ${name} {\n    ${hook}; policy accept;\n${rules.map((rule) => `    ${rule}\n`).join('')}  }`;
  const output = [
    `oifname ${device} icmp type redirect drop`,
    `oifname ${device} icmpv6 type nd-redirect drop`,
  ];
  return `table inet calico-p4 {
${[
  ...sets,
  chain('postrouting', 'type nat hook postrouting priority srcnat', postrouting),
  chain('input', 'type filter hook input priority -5', input),
  chain('output', 'type filter hook output priority -5', output),
].join('\n')}
}
`;
}

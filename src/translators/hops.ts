/**
 * Where packets to a route's addresses go. Authority: felix/dataplane/linux/route_mgr.go, vxlan_mgr.go, ipip_mgr.go, noencap_mgr.go.
 * Where Linux has no route because something is not known yet, packets would follow the default route; here they are dropped.
 */
import { ROUTE_TYPE, type FelixModel, type Route, type Vtep } from '../model/model';
import { parseCidr, type Cidr } from './address';
import { felixConfiguration, type FelixConfiguration } from './felix-configuration';
import { parseMac } from './links';
import type { NetworkFacts } from './network-facts';

/** The field `kind` of next_hop, as in the program. */
export const HOP_KIND = { link: 1n, vxlan: 2n, ipip: 3n, stack: 4n } as const;

/** Of one family, with all that is needed. */
export interface VxlanEnd {
  readonly address: Cidr;
  readonly parent: Cidr;
  readonly mac: bigint;
}

export type Hop =
  /** A node or a router on the way, by its address. */
  | { readonly kind: 'link'; readonly address: Cidr; readonly node: string }
  /** By the end's address inside of the tunnel, which no other has. */
  | { readonly kind: 'vxlan'; readonly address: Cidr; readonly end: VxlanEnd; readonly node: string }
  /** By the other node's address. */
  | { readonly kind: 'ipip'; readonly address: Cidr; readonly node: string }
  /** Through the host's WireGuard device, by the address that the other node has there. */
  | { readonly kind: 'stack'; readonly address: Cidr; readonly node: string };

/** `nothing`: the route says nothing about packets of ours; `drop`: they must not go anywhere. */
export type Destination = Hop | { readonly kind: 'drop'; readonly why: string } | 'nothing';

export interface Ways {
  readonly configuration: FelixConfiguration;
  readonly own: OwnNode;
  to(route: Route, dst: Cidr): Destination;
}

/** What this node has; undefined: not known, and no such tunnel begins or ends here. */
export interface OwnNode {
  readonly name: string;
  readonly ipv4: Cidr | undefined;
  readonly ipv6: Cidr | undefined;
  readonly subnets: readonly Cidr[];
  readonly vxlan: VxlanEnd | undefined;
  readonly vxlanV6: VxlanEnd | undefined;
}

const { remoteWorkload, remoteTunnel, remoteHost, localWorkload, localTunnel } = ROUTE_TYPE;

/** What a model says about ways; to be asked as long as the model is what it is now. */
export function waysOf(model: FelixModel, facts: NetworkFacts): Ways {
  const configuration = felixConfiguration(model.config);
  const own = ownNode(model, configuration.hostname ?? '');
  const { encapsulation, vteps, hosts } = model;
  const { wireguard } = configuration;

  const perNode = new Map<string, Hop | { readonly kind: 'drop'; readonly why: string }>();
  /** The same object for the same node and kind: there are thousands of routes, and few nodes. */
  const once = (key: string, make: () => Hop | string): Destination => {
    let made = perNode.get(key);
    if (made === undefined) {
      const found = make();
      made = typeof found === 'string' ? { kind: 'drop', why: found } : found;
      perNode.set(key, made);
    }
    return made;
  };
  const link = (node: string, nodeIp: string): Destination =>
    once(`link ${node} ${nodeIp}`, () => {
      const address = addressOf(nodeIp);
      return address === undefined
        ? `the address of node ${node} is not known`
        : { kind: 'link', address, node };
    });
  const vxlan = (node: string, ipVersion: 4 | 6): Destination =>
    once(`vxlan${ipVersion} ${node}`, () => {
      if (!(ipVersion === 4 ? encapsulation.vxlan : encapsulation.vxlanV6))
        return `VXLAN is not in use for IPv${ipVersion}`;
      if ((ipVersion === 4 ? own.vxlan : own.vxlanV6) === undefined)
        return `this node has no VXLAN tunnel endpoint for IPv${ipVersion}`;
      const end = vxlanEnd(vteps.get(node), ipVersion);
      return end === undefined
        ? `node ${node} has no VXLAN tunnel endpoint for IPv${ipVersion}`
        : { kind: 'vxlan', address: end.address, end, node };
    });
  const ipip = (node: string): Destination =>
    once(`ipip ${node}`, () => {
      if (!encapsulation.ipip) return 'IP-in-IP is not in use';
      if (own.ipv4 === undefined) return "this node's IPv4 address is not known";
      const address = addressOf(hosts.get(node)?.ipv4Addr ?? '');
      return address === undefined
        ? `the IPv4 address of node ${node} is not known`
        : { kind: 'ipip', address, node };
    });
  /** undefined: the node does not take part in WireGuard. */
  const encrypted = (node: string, nodeIp: string, ipVersion: 4 | 6): Destination | undefined => {
    const [enabled, ends, device] =
      ipVersion === 4
        ? [wireguard.enabled, model.wireguard, facts.wireguard.v4]
        : [wireguard.enabledV6, model.wireguardV6, facts.wireguard.v6];
    const end = enabled ? ends.get(node) : undefined;
    if (end === undefined || end.publicKey === '') return undefined;
    return once(`wireguard${ipVersion} ${node} ${nodeIp}`, () => {
      if (!device) return `node ${node} is reached by WireGuard, and the host has no such device`;
      const address = addressOf(end.address) ?? addressOf(nodeIp);
      return address === undefined
        ? `the address of node ${node} is not known`
        : { kind: 'stack', address, node };
    });
  };

  return {
    configuration,
    own,
    to(route, dst) {
      const { types, node, nodeIp, poolType, sameSubnet } = route;
      if (own.name === '') return { kind: 'drop', why: "this node's name is not known (FelixHostname)" };
      const ofPods = types & (remoteWorkload | remoteTunnel | localWorkload | localTunnel);
      if (ofPods === 0) {
        // The CIDR of a pool, or of a node: those on our link are reached there.
        const onLink = (types & remoteHost) !== 0 && node !== own.name && dst.single;
        return onLink && own.subnets.some((subnet) => contains(subnet, dst))
          ? link(node, dst.text)
          : 'nothing';
      }
      if (node === '') return { kind: 'drop', why: 'no node has it' };
      if (node === own.name) {
        // What `local` has goes there. A block's other addresses are nobody's; a borrowed one must not go to the node of its block.
        const ordinary = route.localWorkload && !route.borrowed && types === localWorkload;
        return dst.single && (ordinary || (types & localTunnel) !== 0)
          ? 'nothing'
          : { kind: 'drop', why: 'of this node' };
      }
      const wireguardHop = encrypted(node, nodeIp, dst.ipVersion);
      if (wireguardHop !== undefined) return wireguardHop;
      switch (poolType) {
        case 'vxlan':
          return sameSubnet ? link(node, nodeIp) : vxlan(node, dst.ipVersion);
        case 'ipip':
          if (dst.ipVersion === 6) return { kind: 'drop', why: 'IP-in-IP is for IPv4' };
          return sameSubnet ? link(node, nodeIp) : ipip(node);
        case 'no-encap':
          return link(node, nodeIp);
        default:
          return { kind: 'drop', why: 'its IP pool is not known' };
      }
    },
  };
}

function ownNode({ hosts, vteps }: FelixModel, name: string): OwnNode {
  const host = hosts.get(name);
  const vtep = vteps.get(name);
  const texts = [host?.ipv4Addr ?? '', host?.ipv6Addr ?? ''];
  return {
    name,
    ipv4: addressOf(texts[0]!),
    ipv6: addressOf(texts[1]!),
    // Older releases may say no prefix length: then nobody is known to be near.
    subnets: texts.flatMap((text) => (text.includes('/') ? (parseCidr(text) ?? []) : [])),
    vxlan: vxlanEnd(vtep, 4),
    vxlanV6: vxlanEnd(vtep, 6),
  };
}

/** undefined unless all of it is there. */
export function vxlanEnd(vtep: Vtep | undefined, ipVersion: 4 | 6): VxlanEnd | undefined {
  if (vtep === undefined) return undefined;
  const [addressText, parentText, macText] =
    ipVersion === 4 ? [vtep.address, vtep.parentIp, vtep.mac] : [vtep.addressV6, vtep.parentIpV6, vtep.macV6];
  const [address, parent, mac] = [addressOf(addressText), addressOf(parentText), parseMac(macText)];
  return address?.ipVersion !== ipVersion || parent?.ipVersion !== ipVersion || mac === undefined
    ? undefined
    : { address, parent, mac };
}

/** The address of `10.1.0.10/24` or `10.1.0.10`. */
export function addressOf(text: string): Cidr | undefined {
  return parseCidr(text.split('/')[0]!);
}

export function contains(outer: Cidr, inner: Cidr): boolean {
  return (
    outer.prefixLen <= inner.prefixLen &&
    (inner.hi & outer.maskHi) === outer.hi &&
    (inner.lo & outer.maskLo) === outer.lo
  );
}

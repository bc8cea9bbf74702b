/** Rows of tunnel_here and tunnel_peer, and the node's own addresses in tunnels. */
import type { FelixModel } from '../model/model';
import { ROUTE_TYPE } from '../model/model';
import { parseCidr, type Cidr } from './address';
import { addressOf, vxlanEnd, type Ways } from './hops';
import type { NetworkFacts } from './network-facts';
import { exact, type NetworkInputs } from './network-rows';
import { rowKey, type Row } from './rows';

export interface OwnAddress {
  readonly address: Cidr;
  readonly what: string;
}

const UDP = 17n;
const IPIP = 4n;

/** Tunnels that end here, and the nodes whose packets they take (felix/rules/static.go: from known nodes only). */
export function tunnelRows({ model, ports, links }: NetworkInputs, ways: Ways, problems: Set<string>): Row[] {
  const { own, configuration } = ways;
  const { encapsulation } = model;
  if (links.uplinkMac === undefined) return [];
  const rows: Row[] = [];
  const peers = new Map<string, Row>();
  const here = (
    at: Cidr,
    proto: bigint,
    dport: number,
    innerMac: bigint,
    vni: number,
    note: string,
  ): void => {
    rows.push({
      table: 'tunnel_here',
      match: {
        port: exact(BigInt(ports.uplink)),
        dst_hi: exact(at.hi),
        dst_lo: exact(at.lo),
        proto: exact(proto),
        dport: exact(BigInt(dport)),
      },
      action: 'ends_here',
      params: { mac: links.uplinkMac!, inner_mac: innerMac, vni: BigInt(vni) },
      note,
    });
  };
  const peer = (from: Cidr, proto: bigint, note: string): void => {
    const match = { src_hi: exact(from.hi), src_lo: exact(from.lo), proto: exact(proto) };
    const row: Row = { table: 'tunnel_peer', match, action: 'peer', params: {}, note };
    if (!peers.has(rowKey(row))) peers.set(rowKey(row), row);
  };
  const outsiders = (proto: bigint, ipVersion: 4 | 6): void => {
    for (const net of configuration.externalNodes) {
      if (net.ipVersion !== ipVersion) continue;
      if (net.single) peer(net, proto, 'external node');
      else
        problems.add(
          `ExternalNodesCIDRList: ${net.text} is no single address: tunnel packets from there are dropped; name the nodes' addresses`,
        );
    }
  };
  for (const ipVersion of [4, 6] as const) {
    const end = ipVersion === 4 ? own.vxlan : own.vxlanV6;
    if (end === undefined || !(ipVersion === 4 ? encapsulation.vxlan : encapsulation.vxlanV6)) continue;
    const { port, vni } = configuration.vxlan;
    here(end.parent, UDP, port, end.mac, vni, `VXLAN of IPv${ipVersion}`);
    for (const vtep of [...model.vteps.values()].sort((a, b) => (a.node < b.node ? -1 : 1))) {
      const other = vtep.node === own.name ? undefined : vxlanEnd(vtep, ipVersion);
      if (other !== undefined) peer(other.parent, UDP, `node ${vtep.node}`);
    }
    outsiders(UDP, ipVersion);
  }
  if (encapsulation.ipip && own.ipv4 !== undefined) {
    here(own.ipv4, IPIP, 0, 0n, 0, 'IP-in-IP');
    for (const host of [...model.hosts.values()].sort((a, b) => (a.hostname < b.hostname ? -1 : 1))) {
      const other = host.hostname === own.name ? undefined : addressOf(host.ipv4Addr);
      if (other !== undefined) peer(other, IPIP, `node ${host.hostname}`);
    }
    outsiders(IPIP, 4);
  }
  return [...rows, ...peers.values()];
}

/** In a fixed order, each once. */
export function ownAddresses(
  { model, facts }: { readonly model: FelixModel; readonly facts: NetworkFacts },
  { own, configuration }: Ways,
): OwnAddress[] {
  const found = new Map<string, OwnAddress>();
  const add = (address: Cidr | undefined, what: string): void => {
    if (address?.single === true && !found.has(address.text)) found.set(address.text, { address, what });
  };
  add(own.vxlan?.address, 'VXLAN tunnel');
  add(own.vxlanV6?.address, 'VXLAN tunnel');
  add(configuration.ipip.tunnelAddress, 'IP-in-IP tunnel');
  add(addressOf(model.wireguard.get(own.name)?.address ?? ''), 'WireGuard');
  add(addressOf(model.wireguardV6.get(own.name)?.address ?? ''), 'WireGuard');
  for (const { dst, node, types } of model.routes.values()) {
    if (node === own.name && (types & ROUTE_TYPE.localTunnel) !== 0) add(parseCidr(dst), 'tunnel');
  }
  for (const address of facts.hostAddresses) add(address, 'address of the host');
  return [...found.values()].sort((a, b) => (a.address.text < b.address.text ? -1 : 1));
}

/** Rows of next_hop: how a packet leaves for a hop. */
import { spellAddress } from './address';
import { HOP_KIND, type Hop, type Ways } from './hops';
import { exact, ipv4, type NetworkInputs } from './network-rows';
import type { Row } from './rows';

/** Bytes around a packet in a tunnel (felix/dataplane/linux/int_dataplane.go). */
const OVERHEAD = { vxlan: 50, vxlanV6: 70, ipip: 20 } as const;

/** undefined while something is not known: packets that ask for the hop are dropped. */
export function hopRow(hop: Hop, inputs: NetworkInputs, ways: Ways, asked: Set<string>): Row | undefined {
  const { links, ports, facts } = inputs;
  const { configuration, own } = ways;
  const match = {
    kind: exact(HOP_KIND[hop.kind]),
    hop_hi: exact(hop.address.hi),
    hop_lo: exact(hop.address.lo),
  };
  const note = hop.node === '' ? {} : { note: `node ${hop.node}` };
  if (hop.kind === 'stack') {
    if (links.hostMac === undefined) return undefined;
    const params = { port: BigInt(ports.host), dst: links.hostMac, src: links.gatewayMac };
    return { table: 'next_hop', match, action: 'to_stack_hop', params, ...note };
  }
  const outer = hop.kind === 'vxlan' ? hop.end.parent : hop.address;
  const spelled = spellAddress(outer.hi, outer.lo);
  asked.add(spelled);
  const dst = facts.macOf(spelled);
  if (dst === undefined || links.uplinkMac === undefined) return undefined;
  const frame = { port: BigInt(ports.uplink), dst, src: links.uplinkMac };
  const mtu = (set: number, overhead: number): bigint => {
    const fits = links.uplinkMtu - overhead;
    return BigInt(set === 0 ? fits : Math.min(set, fits));
  };
  switch (hop.kind) {
    case 'link':
      return { table: 'next_hop', match, action: 'to_link', params: { ...frame, mtu: mtu(0, 0) }, ...note };
    case 'ipip': {
      if (own.ipv4 === undefined) return undefined;
      const params = {
        ...frame,
        src_ip: ipv4(own.ipv4),
        dst_ip: ipv4(hop.address),
        mtu: mtu(configuration.ipip.mtu, OVERHEAD.ipip),
      };
      return { table: 'next_hop', match, action: 'to_ipip', params, ...note };
    }
    case 'vxlan': {
      const isV4 = hop.address.ipVersion === 4;
      const from = isV4 ? own.vxlan : own.vxlanV6;
      if (from === undefined) return undefined;
      const inner = { inner_dst: hop.end.mac, inner_src: from.mac };
      const { vni, port: dport, mtu: mtu4, mtuV6 } = configuration.vxlan;
      const tunnel = { vni: BigInt(vni), dport: BigInt(dport), ...inner };
      const params: Row['params'] = isV4
        ? {
            ...frame,
            src_ip: ipv4(from.parent),
            dst_ip: ipv4(hop.end.parent),
            ...tunnel,
            mtu: mtu(mtu4, OVERHEAD.vxlan),
          }
        : {
            ...frame,
            src_hi: from.parent.hi,
            src_lo: from.parent.lo,
            dst_hi: hop.end.parent.hi,
            dst_lo: hop.end.parent.lo,
            ...tunnel,
            mtu: mtu(mtuV6, OVERHEAD.vxlanV6),
          };
      return { table: 'next_hop', match, action: isV4 ? 'to_vxlan4' : 'to_vxlan6', params, ...note };
    }
  }
}

/** Packets through the embedded switch, from a port that people know by name. */
import { CalicoP4Error } from '../errors';
import type { TargetNames } from '../driver/names';
import type { Engine, PacketResult } from '../p4switch/engine';
import { buildFrame, buildIp } from '../packet/build';
import { PROTO } from '../packet/packet';
import { encapsulate, type Tunnel } from '../packet/tunnel';
import { parseCidr } from '../translators/address';
import { spellMac } from '../translators/links';
import type { PacketLine } from '../packet/describe';

/**
 * In a frame that is addressed to the node, as what sends there addresses it.
 * @throws CalicoP4Error USAGE when no port has that name
 */
export function sendPacket(engine: Engine, names: TargetNames, line: PacketLine): PacketResult {
  const port = portByName(names, line.from);
  const mac = macAtPort(engine, port);
  const toNode = mac === undefined ? {} : { dstMac: spellMac(mac) };
  const frame =
    line.tunnel === undefined
      ? buildFrame(line.packet, toNode)
      : encapsulate(buildIp(line.packet), line.tunnel, { ...toNode, ...innerMac(engine, port, line.tunnel) });
  return engine.process(port, frame, true);
}

/** As the row of tunnel_here wants it; nothing where no such tunnel ends. */
function innerMac(engine: Engine, port: number, tunnel: Tunnel): { readonly innerDstMac?: string } {
  if (tunnel.kind === 'ipip') return {};
  const { hi, lo } = parseCidr(tunnel.dst)!;
  const ones = (1n << 64n) - 1n;
  const key = [
    { value: BigInt(port), mask: 0xffff_ffffn },
    { value: hi, mask: ones },
    { value: lo, mask: ones },
    { value: BigInt(PROTO.udp), mask: 0xffn },
    { value: BigInt(tunnel.port), mask: 0xffffn },
  ];
  // ends_here(mac, inner_mac, vni)
  const mac = engine.find('tunnel_here', key, 0)?.action.params[1];
  return mac === undefined ? {} : { innerDstMac: spellMac(mac) };
}

/** The node's MAC address at a port, by the row of port_in; undefined where nothing is taken in. */
export function macAtPort(engine: Engine, port: number): bigint | undefined {
  const action = engine.find('port_in', [{ value: BigInt(port), mask: 0xffff_ffffn }], 0)?.action;
  // In the order of the program's parameters: from_pod(ep, mac, port), from_uplink(mac, port), from_host(mac, port).
  return action?.params[action.name.startsWith('from_pod') ? 1 : 0];
}

function portByName(names: TargetNames, from: string): number {
  for (const [port, name] of names.ports) if (name === from) return port;
  const known = [...names.ports.values()].join(', ');
  throw new CalicoP4Error('USAGE', `no port "${from}": packets come from ${known}`);
}

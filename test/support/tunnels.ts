/**
 * A node with tunnels in the interpreter, from rows of the program's own tables: no driver, no policy but what a test gives. Numbers of
 * ports: 0 uplink, 1 host, 2 a pod, 3 another one.
 */
import fs from 'node:fs';
import path from 'node:path';
import type { PacketResult, SpecKey } from '../../src/p4switch/engine';
import { createInterpreter } from '../../src/p4switch/interpreter/interpreter';
import { parseSpec } from '../../src/p4switch/spec/parser';
import { parseCidr } from '../../src/translators/address';
import { address, exact, halves, prioritised, row, type TableRow } from './table-rows';

export const SPEC = fs.readFileSync(path.resolve('pipelines/p4-dpdk/calico.spec'), 'utf8');

export const PORTS = { uplink: 0, host: 1, pod: 2, other: 3 } as const;
export const NODE = {
  mac: '02:00:00:00:01:01',
  vtepMac: '66:00:00:00:01:01',
  v4: '192.168.0.1',
  v6: 'fd00:100::1',
  tunnelV4: '10.65.1.0',
  gateway: 'ee:ee:ee:ee:ee:ee',
} as const;
export const PEER = {
  mac: '02:00:00:00:02:02',
  vtepMac: '66:00:00:00:02:02',
  v4: '192.168.0.2',
  v6: 'fd00:100::2',
} as const;
export const VNI = 4096;
export const VXLAN_PORT = 4789;
/** What fits into the tunnels of the test, and what the link takes. */
export const SIZES = { vxlan4: 1450, vxlan6: 1430, ipip: 1480, link: 1500 } as const;

const ALLOW = 0xc0000001;
export const DENY = 0x80000001;
export const UNMATCHED = 0xa0000001;

/** Of endpoint_root, by number of the stage. */
export const STAGES = {
  ingress: 1,
  egress: 2,
  untrackedIn: 3,
  untrackedOut: 4,
  preDnat: 5,
  hostIn: 6,
  hostOut: 7,
  forwardIn: 8,
  forwardOut: 9,
  forwardOther: 10,
  tunnelPreDnat: 12,
  tunnelHostIn: 13,
  tunnelHostOut: 14,
  tunnelForwardIn: 15,
  tunnelForwardOut: 16,
} as const;

export function root(ep: number, stage: number, node: number): TableRow {
  return row('endpoint_root', [exact(ep, 32), exact(stage, 8)], 'root', 1, node, 0, 0, 0, 0, 0);
}

/** The rows of the node: pods may do everything, and no host endpoint is there. */
export function nodeRows(): readonly TableRow[] {
  const { uplink, host, pod, other } = PORTS;
  const pods = [
    [pod, 11, '10.65.1.10', 'fd00:65::10'],
    [other, 12, '10.65.1.11', 'fd00:65::11'],
  ] as const;
  const onLink = [mac(PEER.mac), mac(NODE.mac)] as const;
  const vxlan = [VNI, VXLAN_PORT, mac(PEER.vtepMac), mac(NODE.vtepMac)] as const;
  return [
    row('port_in', [exact(uplink, 32)], 'from_uplink', mac(NODE.mac), uplink),
    row('port_in', [exact(host, 32)], 'from_host', mac(NODE.gateway), host),
    ...pods.flatMap(([port, ep, v4, v6]) => [
      row('port_in', [exact(port, 32)], 'from_pod', ep, mac(NODE.gateway), port, 0),
      ...[v4, v6].flatMap((a) => [
        row('pod_source', [exact(ep, 32), ...address(a)], 'source_ok'),
        row('local', address(a), 'to_pod', port, ep, 0x020000000000 + port, mac(NODE.gateway), 1500, 0),
      ]),
      root(ep, STAGES.ingress, ALLOW),
      root(ep, STAGES.egress, ALLOW),
    ]),
    ...[NODE.v4, NODE.v6, NODE.tunnelV4].flatMap((a) => [
      row('local', address(a), 'to_host', host, 1, 0x0200000000aa, mac(NODE.gateway)),
      row('host_address', address(a), 'own_address'),
    ]),
    ...Object.values(STAGES)
      .filter((stage) => stage > 2)
      .map((stage) => root(0, stage, UNMATCHED)),
    ...[1, 3].map((source) =>
      row(
        'default_route',
        [exact(source, 8)],
        'to_uplink',
        uplink,
        mac('02:00:00:00:09:09'),
        mac(NODE.mac),
        1500,
      ),
    ),
    row('host_stack', [exact(1, 8), exact(2, 8)], 'to_stack', host, 0x0200000000aa, mac(NODE.gateway)),
    row('host_stack', [exact(2, 8), exact(1, 8)], 'to_stack', host, 0x0200000000aa, mac(NODE.gateway)),
    // Tunnels that end here.
    row('tunnel_here', here(NODE.v4, 17, VXLAN_PORT), 'ends_here', mac(NODE.mac), mac(NODE.vtepMac), VNI),
    row('tunnel_here', here(NODE.v6, 17, VXLAN_PORT), 'ends_here', mac(NODE.mac), mac(NODE.vtepMac), VNI),
    row('tunnel_here', here(NODE.v4, 4, 0), 'ends_here', mac(NODE.mac), 0, 0),
    row('tunnel_peer', [...address(PEER.v4), exact(17, 8)], 'peer'),
    row('tunnel_peer', [...address(PEER.v6), exact(17, 8)], 'peer'),
    row('tunnel_peer', [...address(PEER.v4), exact(4, 8)], 'peer'),
    // Routes to the other node.
    block('10.65.2.0/26', 'block_via', 2, ...halves(PEER.v4)),
    block('fd00:65:2::/122', 'block_via', 2, ...halves(PEER.v6)),
    block('10.66.2.0/26', 'block_via', 3, ...halves(PEER.v4)),
    block('10.67.2.0/26', 'block_via', 1, ...halves(PEER.v4)),
    block('10.68.2.0/26', 'block_via', 4, ...halves(PEER.v4)),
    block('10.69.2.0/26', 'block_via', 2, ...halves('192.168.0.77')),
    block('10.65.0.0/16', 'block_blackhole'),
    row('remote_address', address('10.65.2.63'), 'blackhole'),
    row('remote_address', address('10.65.3.7'), 'via', 2, ...halves(PEER.v4)),
    row('remote_address', address(PEER.v4), 'via', 1, ...halves(PEER.v4)),
    row('next_hop', hop(1, PEER.v4), 'to_link', uplink, ...onLink, SIZES.link),
    row(
      'next_hop',
      hop(2, PEER.v4),
      'to_vxlan4',
      uplink,
      ...onLink,
      v4Number(NODE.v4),
      v4Number(PEER.v4),
      ...vxlan,
      SIZES.vxlan4,
    ),
    row(
      'next_hop',
      hop(2, PEER.v6),
      'to_vxlan6',
      uplink,
      ...onLink,
      ...halves(NODE.v6),
      ...halves(PEER.v6),
      ...vxlan,
      SIZES.vxlan6,
    ),
    row(
      'next_hop',
      hop(3, PEER.v4),
      'to_ipip',
      uplink,
      ...onLink,
      v4Number(NODE.v4),
      v4Number(PEER.v4),
      SIZES.ipip,
    ),
    row('next_hop', hop(4, PEER.v4), 'to_stack_hop', host, 0x0200000000aa, mac(NODE.gateway)),
  ];
}

/** Pods of 10.65.0.0/16 and fd00:65::/32 leave the pools with the node's address. */
export function masqueradeRows(): readonly TableRow[] {
  const pools = ['10.65.0.0/16', '10.66.0.0/16', '10.67.0.0/16', '10.68.0.0/16', 'fd00:65::/32'];
  return [
    ...pools.map((cidr) => wide('cluster_pools', cidr, 'in_pool')),
    ...['10.65.0.0/16', 'fd00:65::/32'].map((cidr) =>
      wide('masquerade_pools', cidr, 'masquerade', PORTS.host, 0x0200000000aa, mac(NODE.gateway)),
    ),
  ];
}

export interface TunnelNode {
  readonly insert: (...rows: readonly TableRow[]) => void;
  readonly replace: (...rows: readonly TableRow[]) => void;
  readonly process: (port: number, frame: Uint8Array) => PacketResult;
}

export function tunnelNode(spec = parseSpec(SPEC)): TunnelNode {
  const engine = createInterpreter(spec, { now: () => 0 });
  const insert = (...rows: readonly TableRow[]): void => {
    for (const { table, entry } of rows) engine.apply({ kind: 'insert', table, entry });
  };
  insert(...nodeRows());
  return {
    insert,
    replace(...rows) {
      for (const { table, entry } of rows) engine.apply({ kind: 'modify', table, entry });
    },
    process: (port, frame) => engine.process(port, frame, true),
  };
}

/** Why, as the program counted it. */
export function reasonOf({ trace }: PacketResult): number {
  const counted = trace.flatMap((step) =>
    step.kind === 'counter' && step.name.startsWith('reasons') ? [step.index] : [],
  );
  if (counted.length !== 1) throw new Error(`counted ${counted.length} times`);
  return counted[0]!;
}

function here(dst: string, proto: number, dport: number): readonly SpecKey[] {
  return [exact(PORTS.uplink, 32), ...address(dst), exact(proto, 8), exact(dport, 16)];
}

function hop(kind: number, via: string): readonly SpecKey[] {
  return [exact(kind, 8), ...address(via)];
}

function block(cidr: string, action: string, ...params: readonly (number | bigint)[]): TableRow {
  return wide('remote_block', cidr, action, ...params);
}

function wide(
  table: string,
  cidr: string,
  action: string,
  ...params: readonly (number | bigint)[]
): TableRow {
  const { hi, lo, maskHi, maskLo, prefixLen } = parseCidr(cidr)!;
  const keys = [
    { value: hi, mask: maskHi },
    { value: lo, mask: maskLo },
  ];
  return prioritised(table, keys, 1 + prefixLen, action, ...params);
}

function v4Number(text: string): bigint {
  return halves(text)[1] & 0xffff_ffffn;
}

export function mac(text: string): bigint {
  return BigInt(`0x${text.replaceAll(':', '')}`);
}

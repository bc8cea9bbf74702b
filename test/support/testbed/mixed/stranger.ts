/** A station that talks VXLAN as Calico's nodes do, and is none of them until somebody makes it one. */
import { createHash } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import { Namespace } from '../../../e2e/engine/namespaces';
import type { Addresses } from './cni';
import type { Lan } from './lan';

export interface Stranger {
  readonly space: Namespace;
  readonly addresses: Addresses;
  /** Sends what is for an IPv4 address to a node, in VXLAN. */
  aim(node: string, nodeAddress: string, pod: string): void;
  readonly stop: () => void;
}

const DEVICE = 'vx';
/** Calico's defaults. */
const VXLAN = { vni: 4096, port: 4789 } as const;

/** @param tunnel as Calico's IPAM would give them to a node: the source of what it sends */
export function startStranger(lan: Lan, number: number, tunnel: Addresses): Stranger {
  const space = new Namespace();
  const addresses = { v4: `192.0.2.${number}`, v6: `2001:db8::${number}` };
  lan.attach(space, number);
  space.ip('address', 'add', `${addresses.v4}/24`, 'dev', 'eth0');
  space.ip(
    ...['link', 'add', DEVICE, 'address', tunnelMac('stranger'), 'type', 'vxlan'],
    ...[
      'id',
      String(VXLAN.vni),
      'dstport',
      String(VXLAN.port),
      'local',
      addresses.v4,
      'dev',
      'eth0',
      'nolearning',
    ],
  );
  space.ip('address', 'add', `${tunnel.v4}/32`, 'dev', DEVICE);
  space.ip('link', 'set', DEVICE, 'up');
  return {
    space,
    addresses,
    aim(node, nodeAddress, pod) {
      const mac = tunnelMac(node);
      execFileSync('bridge', ['-n', space.name, 'fdb', 'replace', mac, 'dev', DEVICE, 'dst', nodeAddress]);
      space.ip('neighbour', 'replace', pod, 'lladdr', mac, 'dev', DEVICE);
      space.ip('route', 'replace', `${pod}/32`, 'dev', DEVICE, 'src', tunnel.v4);
    },
    stop: () => {
      space.delete();
    },
  };
}

/** Of a node's VXLAN device, where its Node object names none (felix/calc/vxlan_resolver.go): "f" and a hash of its name. */
function tunnelMac(node: string): string {
  const bytes = Buffer.concat([Buffer.from('f'), createHash('sha1').update(node).digest().subarray(0, 5)]);
  return bytes.toString('hex').replace(/..(?!$)/g, '$&:');
}

/** One Ethernet between the nodes of a cluster: a bridge in a namespace of its own, a veth to each node. */
import { Namespace } from '../../../e2e/engine/namespaces';

/** Everything that is no node: the nodes' next hop, and by itself what pods outside the cluster talk to. */
export const WORLD = { v4: '192.0.2.254', v6: '2001:db8::fe' } as const;

export interface Lan {
  /** At the addresses of WORLD. */
  readonly world: Namespace;
  /**
   * Gives a namespace an `eth0` on the network, without addresses. Frames leave it with whole checksums and not larger than the MTU, as
   * they leave a real NIC.
   *
   * @param number of the station, 1..254
   * @returns its MAC address
   */
  attach(space: Namespace, number: number): string;
  readonly stop: () => void;
}

export function startLan(): Lan {
  const wire = new Namespace();
  // What the wire's kernel would say by itself is nobody's.
  wire.sysctl('ipv6/conf/default/disable_ipv6', 1);
  wire.ip('link', 'add', 'br0', 'type', 'bridge', 'stp_state', '0', 'mcast_snooping', '0');
  wire.ip('link', 'set', 'br0', 'up');
  const world = new Namespace();
  const attach: Lan['attach'] = (space, number) => {
    const mac = `02:00:00:00:01:${number.toString(16).padStart(2, '0')}`;
    const port = `port${number}`;
    wire.ip('link', 'add', port, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', space.name);
    wire.ip('link', 'set', port, 'master', 'br0', 'up');
    space.ip('link', 'set', 'eth0', 'address', mac);
    space.ethtool('-K', 'eth0', 'tx', 'off', 'gso', 'off', 'tso', 'off');
    space.ip('link', 'set', 'eth0', 'up');
    return mac;
  };
  attach(world, 254);
  world.ip('address', 'add', `${WORLD.v4}/24`, 'dev', 'eth0');
  world.ip('address', 'add', `${WORLD.v6}/64`, 'dev', 'eth0', 'nodad');
  return {
    world,
    attach,
    stop: () => {
      world.delete();
      wire.delete();
    },
  };
}

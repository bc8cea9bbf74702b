/** Felix with its own Linux dataplane (iptables, vxlan.calico) in a network namespace, and pods made by Calico's CNI plugin. */
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { supervise } from '../supervisor';
import { OWN_FILES } from './cni';
import { WORLD } from './lan';
import type { Dataplane, Station } from './cluster';

/** calico-node as it is where nothing is set: the node's addresses and Felix. */
export function startLinuxNode(station: Station): Promise<Dataplane> {
  const { name, space, addresses, cluster } = station;
  for (const [key, value] of [
    ['ipv4/ip_forward', 1],
    ['ipv6/conf/all/forwarding', 1],
    ['ipv6/conf/eth0/accept_ra', 0],
  ] as const)
    space.sysctl(key, value);
  space.ip('address', 'replace', `${addresses.v4}/24`, 'dev', 'eth0');
  space.ip('address', 'replace', `${addresses.v6}/64`, 'dev', 'eth0', 'nodad');
  // Without one, Linux does not answer pods that ask for 169.254.1.1 (proxy_arp).
  space.ip('route', 'replace', 'default', 'via', WORLD.v4);
  space.ip('-6', 'route', 'replace', 'default', 'via', WORLD.v6);

  const files = path.join(cluster.folder, name);
  mkdirSync(files, { recursive: true });
  const felix = supervise(cluster.folder, {
    name: `${name}.felix`,
    command: 'ip',
    args: [
      ...['netns', 'exec', space.name, 'sh', '-c', OWN_FILES, files],
      ...[cluster.binaries.felix, `--config-file=${path.join(cluster.folder, 'no-felix.cfg')}`],
    ],
    env: {
      DATASTORE_TYPE: 'kubernetes',
      KUBECONFIG: cluster.controlPlane.kubeconfig,
      FELIX_FELIXHOSTNAME: name,
      FELIX_IPTABLESBACKEND: 'NFT',
      FELIX_IPV6SUPPORT: 'true',
      FELIX_XDPENABLED: 'false',
      FELIX_BPFCONNECTTIMELOADBALANCING: 'Disabled',
      FELIX_HEALTHENABLED: 'true',
      FELIX_USAGEREPORTINGENABLED: 'false',
      FELIX_LOGFILEPATH: 'none',
      FELIX_LOGSEVERITYSYS: 'none',
      FELIX_LOGSEVERITYSCREEN: 'info',
    },
  });
  const ready = async (): Promise<boolean> =>
    (await space.node(
      "fetch('http://127.0.0.1:9099/readiness').then((r) => console.log(r.ok), () => console.log(false))",
    )) === 'true';
  const call = ({ namespace, name: pod, pools }: Parameters<Dataplane['addPod']>[0]) =>
    ({
      plugin: 'calico',
      node: name,
      on: space,
      containerId: `${namespace}-${pod}`,
      pod: { namespace, name: pod },
      pools,
    }) as const;
  return Promise.resolve({
    kind: 'linux',
    logs: [felix.log],
    ready,
    async addPod(pod, inside) {
      return (await cluster.cni.call({ ...call(pod), command: 'ADD', netns: inside.path }))!;
    },
    async removePod(pod, inside) {
      await cluster.cni.call({ ...call(pod), command: 'DEL', netns: inside.path });
    },
    setPlainRoutes(routes) {
      const wanted = new Map(routes.map(({ cidr, via }) => [cidr, via]));
      for (const family of ['-4', '-6']) {
        const there = space.ip(family, 'route', 'show', 'proto', BIRD).split('\n').filter(Boolean);
        for (const cidr of there.map((line) => line.split(' ')[0]!))
          if (!wanted.has(cidr)) space.ip(family, 'route', 'delete', cidr, 'proto', BIRD);
      }
      for (const [cidr, via] of wanted)
        space.ip(
          cidr.includes(':') ? '-6' : '-4',
          'route',
          'replace',
          cidr,
          'via',
          via,
          'dev',
          'eth0',
          'proto',
          BIRD,
        );
      return Promise.resolve();
    },
    routes: () => Promise.resolve(space.ip('-4', 'route') + space.ip('-6', 'route')),
    stop: () => felix.stop(),
  });
}

/** Number of the origin of routes that BIRD makes. */
const BIRD = '12';

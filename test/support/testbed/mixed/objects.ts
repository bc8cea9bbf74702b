/** What a cluster with VXLAN and no-encap pools has in its datastore, and what calico-node and kube-controllers do there. */
import { calico } from '../calico-objects';
import type { ControlPlane, Manifest } from '../control-plane';
import type { Addresses, PoolNames } from './cni';

/** Pods get their addresses from one of these. */
export const POOLS = {
  vxlan: { v4: 'vxlan-ipv4', v6: 'vxlan-ipv6' },
  plain: { v4: 'plain-ipv4', v6: 'plain-ipv6' },
  /** Calico has no IPIP for IPv6. */
  ipip: { v4: 'ipip-ipv4', v6: 'plain-ipv6' },
} as const satisfies Readonly<Record<string, PoolNames>>;
export type PoolKind = keyof typeof POOLS;

/** Of no-encap pools: who is not told of their blocks by Felix is told by BIRD. */
const CIDRS = {
  [POOLS.vxlan.v4]: '10.66.0.0/16',
  [POOLS.vxlan.v6]: 'fd00:66::/64',
  [POOLS.plain.v4]: '10.67.0.0/16',
  [POOLS.plain.v6]: 'fd00:67::/64',
} as const;

export function mixedClusterObjects(): readonly Manifest[] {
  const pools = Object.entries(CIDRS).map(([name, cidr]) =>
    calico('IPPool', name, {
      cidr,
      ipipMode: 'Never',
      vxlanMode: name.startsWith('vxlan') ? 'Always' : 'Never',
      natOutgoing: true,
      nodeSelector: 'all()',
      blockSize: cidr.includes(':') ? 122 : 26,
    }),
  );
  return [
    calico('ClusterInformation', 'default', {
      clusterGUID: '0123456789abcdef0123456789abcdef',
      clusterType: 'k8s,kdd',
      datastoreReady: true,
    }),
    ...pools,
  ];
}

/** Not among the others: Linux nodes here have no IPIP. */
export function ipipPool(): Manifest {
  return calico('IPPool', POOLS.ipip.v4, {
    cidr: '10.68.0.0/16',
    ipipMode: 'Always',
    vxlanMode: 'Never',
    nodeSelector: 'all()',
    blockSize: 26,
  });
}

/** As calico-node writes it at its start. */
export function nodeObject(name: string, { v4, v6 }: Addresses, tunnel?: Addresses): Manifest {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: {
      name,
      annotations: {
        'projectcalico.org/IPv4Address': `${v4}/24`,
        'projectcalico.org/IPv6Address': `${v6}/64`,
        ...(tunnel === undefined
          ? {}
          : {
              'projectcalico.org/IPv4VXLANTunnelAddr': tunnel.v4,
              'projectcalico.org/IPv6VXLANTunnelAddr': tunnel.v6,
            }),
      },
    },
  };
}

/** A block of addresses that IPAM gave to a node. */
export interface Block {
  readonly cidr: string;
  readonly node: string;
}

interface List<Spec> {
  readonly items: readonly { readonly metadata: { readonly name: string }; readonly spec: Spec }[];
}

async function list<Spec>(controlPlane: ControlPlane, kind: string): Promise<List<Spec>> {
  const said = await controlPlane.kubectl(['get', `${kind}.crd.projectcalico.org`, '--output=json']);
  return JSON.parse(said) as List<Spec>;
}

interface BlockSpec {
  readonly cidr: string;
  readonly affinity?: string;
}

export async function blocksOf(controlPlane: ControlPlane): Promise<readonly Block[]> {
  const { items } = await list<BlockSpec>(controlPlane, 'ipamblocks');
  return items.flatMap(({ spec: { cidr, affinity } }) =>
    affinity?.startsWith('host:') === true ? [{ cidr, node: affinity.slice('host:'.length) }] : [],
  );
}

export function isPlain({ cidr }: Block): boolean {
  return /^(10\.67\.|fd00:67:)/.test(cidr);
}

/** What is left of a node that is gone for good goes as well: Calico's kube-controllers do it. */
export async function forgetNode(controlPlane: ControlPlane, node: string): Promise<void> {
  await controlPlane.kubectl(['delete', 'node', node, '--ignore-not-found']);
  const blocks = await list<BlockSpec>(controlPlane, 'ipamblocks');
  const affinities = await list<{ readonly node: string }>(controlPlane, 'blockaffinities');
  const names = [
    ...affinities.items
      .filter(({ spec }) => spec.node === node)
      .map(({ metadata }) => `blockaffinities.crd.projectcalico.org/${metadata.name}`),
    ...blocks.items
      .filter(({ spec }) => spec.affinity === `host:${node}`)
      .map(({ metadata }) => `ipamblocks.crd.projectcalico.org/${metadata.name}`),
  ];
  if (names.length > 0) await controlPlane.kubectl(['delete', ...names]);
}

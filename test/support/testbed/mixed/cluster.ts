/**
 * A cluster on one machine: nodes are network namespaces on one Ethernet, each with a Felix and a dataplane of its own, pods are network
 * namespaces, and the control plane is the test's. Addresses come from Calico's IPAM. What is not here is done by the test: BIRD (routes
 * of the no-encap pools on Linux nodes), calico-node's start (node objects, tunnel addresses) and kube-controllers (gone nodes).
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Namespace } from '../../../e2e/engine/namespaces';
import type { Binaries } from '../binaries';
import { namespaceObject, newPodObject } from '../calico-objects';
import { type ControlPlane, startControlPlane } from '../control-plane';
import { eventually } from '../supervisor';
import { startEchoServer } from '../traffic';
import { type Addresses, type Cni, createCni, type PoolNames } from './cni';
import { type Door, startDoor } from './door';
import { type Lan, startLan } from './lan';
import {
  blocksOf,
  forgetNode,
  isPlain,
  mixedClusterObjects,
  nodeObject,
  type PoolKind,
  POOLS,
} from './objects';

export interface PodRequest {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly pool: PoolKind;
}

/** As dataplanes see it. */
export interface NewPod {
  readonly namespace: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly pools: PoolNames;
}

export interface ClusterPod extends NewPod {
  readonly node: string;
  readonly space: Namespace;
  readonly addresses: Addresses;
}

/** What makes a namespace a node. */
export interface Dataplane {
  readonly kind: 'linux' | 'p4';
  readonly logs: readonly string[];
  ready(): Promise<boolean>;
  /** Gives the pod's namespace its eth0, and the pod its addresses. */
  addPod(pod: NewPod, inside: Namespace): Promise<Addresses>;
  removePod(pod: NewPod, inside: Namespace): Promise<void>;
  /** Blocks of no-encap pools on other nodes, and these nodes' addresses. */
  setPlainRoutes(routes: readonly { readonly cidr: string; readonly via: string }[]): Promise<void>;
  /** Text that names every block of addresses that it has a way to. */
  routes(): Promise<string>;
  stop(): Promise<void>;
}

export interface Station {
  readonly name: string;
  readonly space: Namespace;
  /** Of eth0, which is there without addresses. */
  readonly mac: string;
  readonly addresses: Addresses;
  readonly cluster: Pick<Cluster, 'folder' | 'binaries' | 'controlPlane' | 'cni'>;
}

export interface Cluster {
  readonly folder: string;
  readonly binaries: Binaries;
  readonly controlPlane: ControlPlane;
  readonly cni: Cni;
  readonly lan: Lan;
  /** Makes a node, or makes another kind of it. Returns when its dataplane is ready. */
  join(name: string, start: (station: Station) => Promise<Dataplane>): Promise<void>;
  /** Ends its dataplane, but not what the cluster knows of it, and gives what the node is on. */
  stopDataplane(name: string): Promise<Namespace>;
  /** A node without pods goes for good. */
  leave(name: string): Promise<void>;
  addPod(node: string, pod: PodRequest): Promise<ClusterPod>;
  removePod(name: string): Promise<void>;
  pod(name: string): ClusterPod;
  node(name: string): Station & { readonly dataplane: Dataplane };
  readonly logs: () => readonly string[];
  stop(): Promise<void>;
}

export const NAMESPACE = 'shop';

interface Member extends Station {
  readonly stop: () => void;
  dataplane: Dataplane | undefined;
}

interface LivingPod extends ClusterPod {
  readonly stop: () => void;
}

/** @throws with the last lines of the logs; what was started is stopped */
export async function startCluster(binaries: Binaries): Promise<Cluster> {
  const folder = mkdtempSync(path.join(tmpdir(), 'calico-p4-mixed-'));
  const members = new Map<string, Member>();
  const pods = new Map<string, LivingPod>();
  const undo: (() => void | Promise<void>)[] = [
    () => {
      rmSync(folder, { recursive: true, force: true });
    },
  ];
  const stop = async (): Promise<void> => {
    for (const { stop: end } of pods.values()) end();
    for (const { dataplane } of members.values()) await dataplane?.stop().catch(() => undefined);
    for (const { stop: end } of members.values()) end();
    for (let step = undo.pop(); step !== undefined; step = undo.pop()) await step();
  };
  let [lan, door, controlPlane]: [Lan?, Door?, ControlPlane?] = [];
  try {
    lan = startLan();
    undo.push(lan.stop);
    controlPlane = await startControlPlane(folder, binaries);
    undo.push(() => controlPlane?.stop());
    door = await startDoor(folder, controlPlane.port);
    undo.push(door.stop);
    await controlPlane.apply(...mixedClusterObjects(), namespaceObject(NAMESPACE));
  } catch (error) {
    await stop();
    throw error;
  }
  return clusterOf({ folder, binaries, controlPlane, lan, door, members, pods, stop });
}

interface Parts {
  readonly folder: string;
  readonly binaries: Binaries;
  readonly controlPlane: ControlPlane;
  readonly lan: Lan;
  readonly door: Door;
  readonly members: Map<string, Member>;
  readonly pods: Map<string, LivingPod>;
  readonly stop: () => Promise<void>;
}

function clusterOf({ folder, binaries, controlPlane, lan, door, members, pods, stop }: Parts): Cluster {
  const cni = createCni(folder, binaries, controlPlane.kubeconfig);
  let stations = 0;

  const member = (name: string): Member => {
    const found = members.get(name);
    if (found === undefined) throw new Error(`${name} is no node of the cluster`);
    return found;
  };
  /** What BIRD would do: blocks of other nodes are routes. */
  const spreadRoutes = async (): Promise<void> => {
    const blocks = (await blocksOf(controlPlane)).filter(isPlain);
    for (const { name, dataplane } of members.values()) {
      const others = blocks.filter(({ node }) => node !== name && members.has(node));
      await dataplane?.setPlainRoutes(
        others.map(({ cidr, node }) => {
          const { v4, v6 } = member(node).addresses;
          return { cidr, via: cidr.includes(':') ? v6 : v4 };
        }),
      );
    }
  };
  const tunnelCall = (node: string) =>
    ({ plugin: 'calico-ipam', node, containerId: `tunnel-${node}`, pools: POOLS.vxlan }) as const;

  const place = async (name: string): Promise<Member> => {
    const there = members.get(name);
    if (there !== undefined) return there;
    const number = ++stations;
    const space = new Namespace();
    const addresses = { v4: `192.0.2.${number}`, v6: `2001:db8::${number}` };
    const stops: (() => void)[] = [];
    const one: Member = {
      name,
      space,
      mac: lan.attach(space, number),
      addresses,
      cluster,
      stop: () => {
        for (const end of stops) end();
        space.delete();
      },
      dataplane: undefined,
    };
    members.set(name, one);
    stops.push((await door.open(space)).stop);
    // IPAM asks for the node, so it is there before it has its tunnels' addresses.
    await controlPlane.apply(nodeObject(name, addresses));
    const tunnel = await cni.call({ ...tunnelCall(name), command: 'ADD' });
    await controlPlane.apply(nodeObject(name, addresses, tunnel));
    return one;
  };

  const cluster: Cluster = {
    folder,
    binaries,
    controlPlane,
    cni,
    lan,
    async join(name, start) {
      const one = await place(name);
      one.dataplane = await start(one);
      const { dataplane } = one;
      await eventually(`node ${name}`, async () => (await dataplane.ready()) || undefined, {
        logs: dataplane.logs,
      });
      await spreadRoutes();
    },
    async stopDataplane(name) {
      const one = member(name);
      await one.dataplane?.stop();
      one.dataplane = undefined;
      return one.space;
    },
    async leave(name) {
      const one = member(name);
      await one.dataplane?.stop();
      await cni.call({ ...tunnelCall(name), command: 'DEL' });
      await forgetNode(controlPlane, name);
      members.delete(name);
      one.stop();
      await spreadRoutes();
    },
    async addPod(node, { name, labels, pool }) {
      const { dataplane } = member(node);
      if (dataplane === undefined) throw new Error(`${node} has no dataplane`);
      const pod: NewPod = { namespace: NAMESPACE, name, labels, pools: POOLS[pool] };
      const space = new Namespace();
      let echo: { readonly stop: () => void } | undefined;
      const end = (): void => {
        echo?.stop();
        space.delete();
      };
      try {
        await controlPlane.apply(newPodObject(node, pod));
        const addresses = await dataplane.addPod(pod, space);
        echo = await startEchoServer(space);
        const living: LivingPod = { ...pod, node, space, addresses, stop: end };
        pods.set(name, living);
        await spreadRoutes();
        return living;
      } catch (error) {
        end();
        throw error;
      }
    },
    async removePod(name) {
      const pod = cluster.pod(name);
      await member(pod.node).dataplane?.removePod(pod, pod.space);
      await controlPlane.kubectl(['-n', NAMESPACE, 'delete', 'pod', name, '--wait=false', '--force']);
      pods.get(name)!.stop();
      pods.delete(name);
    },
    pod(name) {
      const found = pods.get(name);
      if (found === undefined) throw new Error(`${name} is no pod of the cluster`);
      return found;
    },
    node(name) {
      const one = member(name);
      if (one.dataplane === undefined) throw new Error(`${name} has no dataplane`);
      return { ...one, dataplane: one.dataplane };
    },
    logs: () => [...members.values()].flatMap(({ dataplane }) => dataplane?.logs ?? []),
    stop,
  };
  return cluster;
}

/**
 * What has to be true of a cluster, whatever dataplanes its nodes have: the same assertions for a node with calico-p4 among Linux nodes,
 * and for Linux nodes alone, which shows that it is Calico's behaviour that is asked for.
 */
import { describeTestbed } from '../../support/testbed/binaries';
import {
  type Cluster,
  type Dataplane,
  NAMESPACE,
  startCluster,
  type Station,
} from '../../support/testbed/mixed/cluster';
import { startLinuxNode } from '../../support/testbed/mixed/linux-node';
import { blocksOf, forgetNode, nodeObject, type PoolKind, POOLS } from '../../support/testbed/mixed/objects';
import { containerIdOf } from '../../support/testbed/mixed/cni';
import { onlyFrom, onlyTo } from '../../support/testbed/mixed/policies';
import { ask, untilReach } from '../../support/testbed/mixed/reach';
import { startStranger } from '../../support/testbed/mixed/stranger';
import { seenAs, startMirror } from '../../support/testbed/mixed/world';
import { eventually } from '../../support/testbed/supervisor';
import { startTraffic, TRAFFIC_PORT } from '../../support/testbed/traffic';
import { startStream } from '../engine/namespaces';

/** Label `app` of a pod is its name. */
const PODS: readonly (readonly [pod: string, pool: PoolKind])[] = [
  ['client', 'vxlan'],
  ['web', 'vxlan'],
  ['plain', 'plain'],
];
const SIDES = [
  ['west', 'east'],
  ['east', 'west'],
] as const;

/**
 * @param title of the cluster
 * @param start makes node `west` what it is at first, and the node that joins later
 */
export function describeCluster(title: string, start: (station: Station) => Promise<Dataplane>): void {
  jest.setTimeout(90_000);
  describeTestbed(title, { namespaces: true, linuxDataplane: true }, (binaries) => {
    let cluster: Cluster;
    const stops: (() => void | Promise<void>)[] = [];

    const addPods = async (node: string): Promise<void> => {
      for (const [pod, pool] of PODS) await addPod(node, pod, pool);
    };
    const addPod = async (node: string, pod: string, pool: PoolKind): Promise<void> => {
      const name = `${node}-${pod}`;
      await cluster.addPod(node, { name, labels: { app: name }, pool });
    };
    const reach = (...lines: readonly string[]): Promise<void> => untilReach(cluster, lines);

    beforeAll(async () => {
      cluster = await startCluster(binaries);
      stops.push(() => cluster.stop());
      await cluster.join('west', start);
      await cluster.join('east', startLinuxNode);
      await addPods('west');
      await addPods('east');
      stops.push((await startMirror(cluster.lan.world)).stop);
    }, 120_000);
    afterAll(async () => {
      for (const stop of stops.reverse()) await stop();
    }, 60_000);
    afterEach(async () => {
      await cluster.controlPlane.kubectl(['-n', NAMESPACE, 'delete', 'networkpolicy', '--all']);
    });

    it('pods of different nodes reach each other, through VXLAN and without', async () => {
      await reach(
        ...SIDES.flatMap(([from, to]) => [
          `${from}-client -> ${to}-web: all`,
          `${from}-plain -> ${to}-plain: all`,
          // One way through the tunnel, the other without.
          `${from}-client -> ${to}-plain: all`,
          `${from}-client -> ${from}-web: all`,
        ]),
      );
    });

    it.each(SIDES)('byte streams go from %s to %s and back, unharmed', async (from, to) => {
      for (const [source, target] of [
        ['client', 'web'],
        ['plain', 'plain'],
      ] as const) {
        const { addresses } = cluster.pod(`${to}-${target}`);
        for (const address of [addresses.v4, addresses.v6]) {
          const stream = await startStream(cluster.pod(`${from}-${source}`).space, address, TRAFFIC_PORT);
          try {
            for (let step = 0; step < 20; step++) await stream.progress();
            expect(await stream.finish()).toBe('the same bytes');
          } finally {
            stream.kill();
          }
        }
      }
    });

    const reached = async (from: string, pods: readonly string[], seconds: number): Promise<void> => {
      for (const pod of pods) {
        const { addresses } = cluster.pod(pod);
        await eventually(
          `node ${from} to reach ${pod}`,
          async () => {
            const found = await ask(cluster.node(from).space, addresses);
            if (found !== 'all') throw new Error(found);
            return true;
          },
          { seconds, logs: cluster.logs() },
        );
      }
    };

    it.each(SIDES)('node %s reaches its pods and those of node %s', async (from, to) => {
      await reached(from, [`${from}-client`, `${to}-client`], 15);
    });

    it('a node reaches pods of an encapsulated pool, and of one without, on a Linux node', async () => {
      await reached('west', ['east-client', 'east-plain'], 15);
    });

    // The node asks from its own address, which no pool has: answers of the pod must not be taken for what NAT outgoing is for.
    it('node east reaches pods of a pool without encapsulation', async () => {
      await reached('east', ['west-plain'], 5);
    });

    it.each(['west', 'east'])('the world sees pods of %s as their node', async (node) => {
      const { v4, v6 } = cluster.node(node).addresses;
      for (const pod of ['client', 'plain'])
        expect(await seenAs(cluster.pod(`${node}-${pod}`).space)).toBe([v4, v4, v6, v6].join(' '));
    });

    describe.each(SIDES)('policy of pods on %s about pods on %s', (here, there) => {
      it('who may come', async () => {
        await cluster.controlPlane.apply(onlyFrom(`${here}-web`, `${there}-client`));
        await reach(
          `${there}-client -> ${here}-web: all`,
          `${there}-web -> ${here}-web: none`,
          `${there}-plain -> ${here}-web: none`,
          `${here}-client -> ${here}-web: none`,
          `${here}-web -> ${there}-web: all`,
        );
        await cluster.controlPlane.apply(
          onlyFrom(`${here}-web`, `${there}-web`, [['TCP', TRAFFIC_PORT]]),
          onlyFrom(`${here}-plain`, `${there}-client`),
        );
        await reach(
          `${there}-client -> ${here}-web: none`,
          `${there}-web -> ${here}-web: tcp4 tcp6`,
          `${there}-client -> ${here}-plain: all`,
          `${there}-plain -> ${here}-plain: none`,
        );
      });

      it('to whom they may go', async () => {
        await cluster.controlPlane.apply(onlyTo(`${here}-client`, `${there}-web`));
        await reach(
          `${here}-client -> ${there}-web: all`,
          `${here}-client -> ${there}-client: none`,
          `${here}-client -> ${there}-plain: none`,
          `${here}-web -> ${there}-client: all`,
          `${there}-client -> ${here}-client: all`,
        );
        await cluster.controlPlane.apply(
          onlyTo(`${here}-client`, `${there}-client`, [['UDP', TRAFFIC_PORT]]),
          onlyTo(`${here}-plain`, `${there}-client`),
        );
        await reach(
          `${here}-client -> ${there}-web: none`,
          `${here}-client -> ${there}-client: udp4 udp6`,
          `${here}-plain -> ${there}-client: all`,
          `${here}-plain -> ${there}-plain: none`,
        );
      });
    });

    it('a label of a pod on the other node is enough to change who may come', async () => {
      await cluster.controlPlane.apply(onlyFrom('west-web', 'guest'), onlyFrom('east-web', 'guest'));
      await reach('west-client -> east-web: none', 'east-client -> west-web: none');
      const label = (...what: readonly string[]): Promise<string> =>
        cluster.controlPlane.kubectl(['-n', NAMESPACE, 'label', '--overwrite', 'pod', ...what]);
      for (const pod of ['west-client', 'east-client']) await label(pod, 'app=guest');
      await reach('west-client -> east-web: all', 'east-client -> west-web: all');
      for (const pod of ['west-client', 'east-client']) await label(pod, `app=${pod}`);
      await reach('west-client -> east-web: none', 'east-client -> west-web: none');
    });

    it('VXLAN from a station that is no node is not let in', async () => {
      const { controlPlane, cni } = cluster;
      const number = 60;
      // IPAM gives addresses to nodes alone. So it was one, once.
      await controlPlane.apply(
        nodeObject('stranger', { v4: `192.0.2.${number}`, v6: `2001:db8::${number}` }),
      );
      const tunnel = (await cni.call({
        command: 'ADD',
        plugin: 'calico-ipam',
        node: 'stranger',
        containerId: containerIdOf('tunnel', 'stranger'),
        pools: POOLS.vxlan,
      }))!;
      await controlPlane.kubectl(['delete', 'node', 'stranger']);
      const stranger = startStranger(cluster.lan, number, tunnel);
      try {
        const asked = async (): Promise<readonly string[]> =>
          Promise.all(
            ['west', 'east'].map((node) => ask(stranger.space, cluster.pod(`${node}-web`).addresses)),
          );
        for (const node of ['west', 'east']) {
          const { addresses } = cluster.pod(`${node}-web`);
          stranger.aim(node, cluster.node(node).addresses.v4, addresses.v4);
        }
        expect(await asked()).toEqual(['none', 'none']);
        // The same packets, when the datastore says that it is a node.
        await controlPlane.apply(nodeObject('stranger', stranger.addresses, tunnel));
        await eventually(
          'the new node to be let in',
          async () => {
            const found = await asked();
            if (found.some((ways) => ways !== 'tcp4 udp4 icmp4')) throw new Error(found.join(', '));
            return true;
          },
          { seconds: 20, logs: cluster.logs() },
        );
        await controlPlane.kubectl(['delete', 'node', 'stranger']);
        await eventually('it to be a stranger again', async () => {
          return (await asked()).every((ways) => ways === 'none') || undefined;
        });
      } finally {
        stranger.stop();
        await forgetNode(controlPlane, 'stranger');
      }
    });

    it('a node joins, and leaves; connections of others go on', async () => {
      const traffic = await startTraffic(
        cluster.pod('west-client').space,
        cluster.pod('east-web').addresses.v4,
      );
      try {
        await traffic.reset();
        await cluster.join('south', start);
        await addPod('south', 'client', 'vxlan');
        await addPod('south', 'plain', 'plain');
        await cluster.controlPlane.apply(onlyFrom('west-web', 'south-client'));
        await reach(
          'south-client -> west-web: all',
          'south-client -> east-web: all',
          'east-client -> south-client: all',
          'east-client -> west-web: none',
          'west-client -> south-client: all',
          'south-plain -> west-plain: all',
          'west-plain -> south-plain: all',
        );
        const left = (await blocksOf(cluster.controlPlane)).filter(({ node }) => node === 'south');
        expect(left.length).toBeGreaterThanOrEqual(4);
        const known = async (): Promise<readonly string[]> => {
          const routes = await cluster.node('west').dataplane.routes();
          return left.filter(({ cidr }) => routes.includes(cidr)).map(({ cidr }) => cidr);
        };
        expect(await known()).toHaveLength(left.length);
        for (const pod of ['south-client', 'south-plain']) await cluster.removePod(pod);
        await cluster.leave('south');
        await eventually('no way to the node', async () => (await known()).length === 0 || undefined, {
          seconds: 20,
        });
        expect(await lost(traffic)).toEqual(NOTHING);
      } finally {
        traffic.stop();
      }
    });

    it('a node is drained and replaced by a Linux one; connections of others go on', async () => {
      await cluster.join('north', startLinuxNode);
      await addPod('north', 'client', 'vxlan');
      const others = await startTraffic(
        cluster.pod('north-client').space,
        cluster.pod('east-web').addresses.v4,
      );
      const last = await startTraffic(cluster.pod('east-client').space, cluster.pod('west-web').addresses.v4);
      try {
        await Promise.all([others.reset(), last.reset()]);
        for (const pod of ['client', 'plain']) await cluster.removePod(`west-${pod}`);
        expect(await lost(last)).toEqual(NOTHING);
        last.stop();
        await cluster.removePod('west-web');
        await cluster.stopDataplane('west');
        await cluster.join('west', startLinuxNode);
        await addPods('west');
        await cluster.controlPlane.apply(onlyFrom('west-web', 'east-client'));
        await reach(
          'east-client -> west-web: all',
          'north-client -> west-web: none',
          'west-client -> north-client: all',
          'west-plain -> east-plain: all',
          'east-plain -> west-plain: all',
        );
        expect(await lost(others)).toEqual(NOTHING);
      } finally {
        last.stop();
        others.stop();
      }
    });
  });
}

const NOTHING = { flow: 0, stream: '', newFlows: 0 } as const;

async function lost(traffic: Awaited<ReturnType<typeof startTraffic>>): Promise<object> {
  const { flow, stream, newFlows } = await traffic.report();
  expect(flow.sent).toBeGreaterThan(100);
  return { flow: flow.lost, stream: stream.broken, newFlows: newFlows.lost };
}

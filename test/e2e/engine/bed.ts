/**
 * A node for tests: the real driver, P4Runtime and the native engine, and Linux at every port. Pods are namespaces set up as Calico's
 * CNI plugin does it; the host's stack is a namespace too, and so is the world behind the uplink.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createNode, type Node } from '../../../src/driver/node';
import { openTarget } from '../../../src/driver/target';
import type { FelixModel } from '../../../src/model/model';
import { type EngineNode, startEngineNode } from '../../../src/p4switch/dpdk/node';
import type { PortSpec } from '../../../src/p4switch/dpdk/ports';
import { Which } from '../../../src/p4switch/dpdk/protocol';
import { startDpdkSwitch } from '../../../src/p4switch/dpdk/switch';
import { parseSpec } from '../../../src/p4switch/spec/parser';
import { type NodeLinks, podMac, spellMac } from '../../../src/translators/links';
import { NODE_IPV4, NODE_IPV6 } from '../../support/models';
import { engineBinary } from './engine';
import { Namespace } from './namespaces';

export const PORTS = { uplink: 0, host: 1, firstPod: 2 } as const;
export const GATEWAY6 = 'fe80::ecee:eeff:feee:eeee';
/** On the uplink's network, which the node shares. */
export const FAR = { v4: '192.0.2.9', v6: '2001:db8:ffff::9' } as const;
/** On no network, so that it leaves by the next hop: FAR. */
export const BEYOND = '203.0.113.9';

export interface BedPod {
  /** Of its interface in Calico's eyes; its workload has no MAC address. */
  readonly name: string;
  readonly v4: string;
  readonly v6: string;
}

/** What is at the uplink. */
export interface BedUplink {
  readonly wire: Namespace;
  readonly far: Namespace;
}

export interface Bed {
  readonly engine: EngineNode;
  readonly driver: Node;
  /** Makes a model the node's state. Returns when all of its rows are in. */
  program(model: FelixModel): Promise<void>;
  /** The namespace of a pod of the model in force; its interface is eth0. */
  addPod(pod: BedPod): Promise<Namespace>;
  /** The host's stack: cali0 is its interface. */
  addHost(): Promise<Namespace>;
  /** A veth from `up0`, the engine's uplink, to `eth0` in a namespace, which has no addresses yet. */
  addUplink(more?: Partial<PortSpec>): Promise<BedUplink>;
  /** What became of packets so far, by number (docs/pipeline.md). */
  reasons(): Promise<readonly bigint[]>;
  /** Processes and other things to be ended before namespaces are. */
  atEnd(undo: () => void | Promise<void>): void;
  stop(): Promise<void>;
}

/** Nothing is left of one that did not start. */
export async function startBed(links: NodeLinks): Promise<Bed> {
  const folder = mkdtempSync(path.join(tmpdir(), 'calico-p4-bed-'));
  const undoing: (() => void | Promise<void>)[] = [
    () => {
      rmSync(folder, { recursive: true, force: true });
    },
  ];
  const atEnd = (undo: () => void | Promise<void>): void => {
    undoing.push(undo);
  };
  const stop = async (): Promise<void> => {
    for (let undo = undoing.pop(); undo !== undefined; undo = undoing.pop()) await undo();
  };
  const space = (): Namespace => {
    const made = new Namespace();
    atEnd(() => {
      made.delete();
    });
    return made;
  };
  const tap = (netns: string, name: string, mac: bigint): PortSpec => ({
    kind: 'tap',
    name,
    netns,
    mtu: links.podMtu,
    mac: spellMac(mac),
    vlan: 0,
    persistent: false,
  });
  try {
    const engine = await startEngineNode({
      socket: path.join(folder, 'engine.sock'),
      binary: engineBinary(),
    });
    atEnd(() => engine.stop('quit'));
    const listen = { address: `unix:${path.join(folder, 'p4rt.sock')}`, deviceId: 1n };
    const server = await startDpdkSwitch(listen, engine);
    atEnd(() => server.stop());
    const target = await openTarget(
      { address: server.address, kind: 'embedded', deviceId: 1, electionId: '1' },
      (error) => {
        throw error;
      },
    );
    atEnd(() => {
      target.close();
    });
    const driver = await createNode({ reconciler: target.reconciler, ports: PORTS, links });
    return {
      engine,
      driver,
      async program(model) {
        const { applied } = await driver.program(model);
        if (applied.failed.size > 0) throw new Error(`${applied.failed.size} rows were not taken`);
      },
      async addPod(pod) {
        const made = space();
        const [port] = [...driver.names.ports].find(([, name]) => name === pod.name)!;
        await engine.attach(port, tap(made.path, 'eth0', podMac({ mac: '', name: pod.name })));
        made.ip('addr', 'add', `${pod.v4}/32`, 'dev', 'eth0');
        made.ip('route', 'add', '169.254.1.1', 'dev', 'eth0', 'scope', 'link');
        made.ip('route', 'add', 'default', 'via', '169.254.1.1');
        made.ip('addr', 'add', `${pod.v6}/128`, 'dev', 'eth0', 'nodad');
        made.ip('-6', 'route', 'add', 'default', 'via', GATEWAY6, 'dev', 'eth0');
        return made;
      },
      async addHost() {
        const made = space();
        await engine.attach(PORTS.host, tap(made.path, 'cali0', links.hostMac!));
        setUpHost(made, links.uplinkMtu);
        return made;
      },
      async addUplink(more = {}) {
        const [wire, far] = [space(), space()];
        wire.ip('link', 'add', 'up0', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', far.name);
        // What the kernels would say there by themselves is no traffic of the node.
        wire.sysctl('ipv6/conf/up0/disable_ipv6', 1);
        wire.ip('link', 'set', 'up0', 'address', spellMac(links.uplinkMac!), 'up');
        const spec: PortSpec = { ...tap(wire.path, 'up0', 0n), kind: 'packet', mtu: 0, mac: '', ...more };
        await engine.attach(PORTS.uplink, spec);
        return { wire, far };
      },
      reasons() {
        return engine.host.withClient(async (client) => {
          const d = await client.describe(Which.running, parseSpec(engine.running()!.text));
          const [name, { size }] = [...d.regarrays].find(([array]) => array.startsWith('reasons'))!;
          return client.registers(d, name, 0, size);
        });
      },
      atEnd,
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** It forwards nothing here but for what it must make ICMP errors of. */
function setUpHost(host: Namespace, uplinkMtu: number): void {
  for (const [key, value] of [
    ['ipv4/ip_forward', 1],
    ['ipv4/icmp_ratelimit', 0],
    ['ipv4/conf/all/rp_filter', 0],
    ['ipv4/conf/cali0/rp_filter', 0],
    ['ipv4/conf/all/send_redirects', 0],
    ['ipv4/conf/cali0/send_redirects', 0],
    ['ipv6/conf/all/forwarding', 1],
    ['ipv6/icmp/ratelimit', 0],
  ] as const)
    host.sysctl(key, value);
  host.ip('addr', 'add', `${NODE_IPV4}/32`, 'dev', 'cali0');
  host.ip('addr', 'add', `${NODE_IPV6}/128`, 'dev', 'cali0', 'nodad');
  host.ip('route', 'add', '10.65.0.0/24', 'dev', 'cali0', 'src', NODE_IPV4);
  host.ip('-6', 'route', 'add', 'fd00::/64', 'dev', 'cali0', 'src', NODE_IPV6);
  const mtu = ['mtu', 'lock', String(uplinkMtu)];
  host.ip('route', 'add', 'default', 'dev', 'cali0', 'src', NODE_IPV4, ...mtu);
  host.ip('-6', 'route', 'add', 'default', 'dev', 'cali0', 'src', NODE_IPV6, ...mtu);
}

/** Addresses and routes of the world, on an interface that is there. */
export function setUpFar(far: Namespace, device: string): void {
  far.ip('addr', 'add', `${FAR.v4}/24`, 'dev', device);
  far.ip('addr', 'add', `${FAR.v6}/64`, 'dev', device, 'nodad');
  far.ip('addr', 'add', `${BEYOND}/32`, 'dev', 'lo');
  far.ip('route', 'add', '10.65.0.0/24', 'via', NODE_IPV4);
  far.ip('-6', 'route', 'add', 'fd00::/64', 'via', NODE_IPV6);
}

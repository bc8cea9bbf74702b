/**
 * A node with calico-p4 in a network namespace: the engine has its eth0 and the host's TAP, Felix runs the driver. What a CNI plugin
 * would do for pods (a TAP of the engine, addresses of Calico's IPAM) is done here.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { readNames } from '../../../../src/driver/names';
import { endProcesses, processesWith } from '../../../../src/lab/processes';
import { connectEngine } from '../../../../src/p4switch/dpdk/link';
import { attachPort, detachPort } from '../../../../src/p4switch/dpdk/ports';
import { EMBEDDED_LINKS, podMac, spellMac } from '../../../../src/translators/links';
import type { Namespace } from '../../../e2e/engine/namespaces';
import { cleanEnvironment } from '../binaries';
import { interfaceOf, podAnnotations } from '../calico-objects';
import { configurePod, externalDriver } from '../node';
import { eventually, supervise } from '../supervisor';
import type { Dataplane, NewPod, Station } from './cluster';
import { containerIdOf } from './cni';

const ROOT = path.join(__dirname, '../../../..');
const MAIN = path.join(ROOT, 'bin/calico-p4');
/** Where the target and the driver's metrics listen: loopback of the node's namespace is its own. */
const TARGET = '127.0.0.1:9559';
const METRICS = '127.0.0.1:9191';
const PORT = { uplink: 0, host: 1, firstPod: 2 } as const;
/** The engine's interface to the host's stack. */
export const HOST_TAP = 'cali0';
/** Of pods, so that what they send fits into VXLAN over IPv6. */
const POD_MTU = 1430;

export interface P4Node extends Dataplane {
  /** What `calico-p4` says on the node. */
  command(...args: readonly string[]): Promise<string>;
}

/** @throws with the last lines of the logs; what was started is stopped */
export async function startP4Node(station: Station): Promise<P4Node> {
  const { name, space, mac, addresses, cluster } = station;
  const folder = path.join(cluster.folder, name);
  mkdirSync(folder, { recursive: true });
  const engineSocket = path.join(folder, 'engine.sock');
  const names = path.join(folder, 'names.json');
  const config = path.join(folder, 'driver.yaml');
  const hostMac = spellMac(EMBEDDED_LINKS.hostMac!);
  writeFileSync(
    config,
    JSON.stringify({
      target: { address: TARGET },
      ports: PORT,
      interfaces: { uplink: 'eth0', host: HOST_TAP },
      macs: { uplink: mac, host: hostMac },
      mtu: { pods: POD_MTU, uplink: 1500 },
      metrics: { listen: METRICS },
      felix: { heartbeatSeconds: 1 },
      namesFile: names,
      journalFile: path.join(folder, 'journal'),
    }),
  );
  const inside = (program: string, ...args: readonly string[]) =>
    ({ command: 'ip', args: ['netns', 'exec', space.name, program, ...args] }) as const;
  const undo: (() => Promise<void>)[] = [];
  const stop = async (): Promise<void> => {
    for (let step = undo.pop(); step !== undefined; step = undo.pop()) await step().catch(() => undefined);
  };
  try {
    const server = supervise(cluster.folder, {
      name: `${name}.switch`,
      ...inside(
        MAIN,
        'switch',
        '--engine=dpdk',
        `--engine-socket=${engineSocket}`,
        `--listen=${TARGET}`,
        `--port=${PORT.uplink}=packet:eth0`,
        `--port=${PORT.host}=tap:${HOST_TAP},mac=${hostMac}`,
      ),
    });
    undo.push(async () => {
      await server.stop();
      // Its socket is ours alone, so what listens there is our engine.
      await endProcesses(processesWith(['--socket', engineSocket]));
    });
    await eventually(
      `${HOST_TAP} of ${name}`,
      () => {
        setUpHost(space, addresses);
        return true;
      },
      { logs: [server.log], seconds: 20 },
    );
    const felix = supervise(cluster.folder, {
      name: `${name}.felix`,
      ...inside(cluster.binaries.felix, `--config-file=${path.join(folder, 'no-felix.cfg')}`),
      env: {
        DATASTORE_TYPE: 'kubernetes',
        KUBECONFIG: cluster.controlPlane.kubeconfig,
        ...externalDriver(),
        FELIX_FELIXHOSTNAME: name,
        CALICO_P4_CONFIG: config,
      },
    });
    undo.push(async () => {
      await felix.stop();
      // The node's stack gets back what the driver has taken from it.
      execFileSync('ip', [...inside(MAIN, 'cleanup').args], {
        env: { ...cleanEnvironment(), CALICO_P4_CONFIG: config },
        stdio: 'ignore',
      });
    });
    const logs = [felix.log, server.log];
    const ipam = (pod: NewPod) =>
      ({
        plugin: 'calico-ipam',
        node: name,
        containerId: containerIdOf(pod.namespace, pod.name),
        pod: { namespace: pod.namespace, name: pod.name },
        pools: pod.pools,
      }) as const;
    const portOf = (pod: NewPod): number | undefined =>
      [...readNames(names).ports].find(([, its]) => its === interfaceOf(pod))?.[0];
    return {
      kind: 'p4',
      logs,
      async ready() {
        const said = await space.node(
          `fetch('http://${METRICS}/readyz').then((r) => console.log(r.ok), () => console.log(false))`,
        );
        return said === 'true';
      },
      async addPod(pod, podSpace) {
        const given = (await cluster.cni.call({ ...ipam(pod), command: 'ADD' }))!;
        const plan = { ...pod, ipv4: given.v4, ipv6: given.v6 };
        const annotations = Object.entries(podAnnotations(plan)).map(([key, value]) => `${key}=${value}`);
        await cluster.controlPlane.kubectl([
          '-n',
          pod.namespace,
          'annotate',
          'pod',
          pod.name,
          ...annotations,
        ]);
        const port = await eventually(`a port for ${pod.name}`, () => portOf(pod), { logs });
        const link = await connectEngine(engineSocket);
        try {
          await attachPort(link, port, {
            kind: 'tap',
            name: 'eth0',
            netns: podSpace.path,
            mtu: POD_MTU,
            mac: spellMac(podMac({ mac: '', name: interfaceOf(pod) })),
            vlan: 0,
            persistent: true,
          });
        } finally {
          link.close();
        }
        await configurePod(podSpace, plan, logs);
        return given;
      },
      async removePod(pod) {
        const port = portOf(pod);
        if (port !== undefined) {
          const link = await connectEngine(engineSocket);
          try {
            await detachPort(link, port, true);
          } finally {
            link.close();
          }
        }
        await cluster.cni.call({ ...ipam(pod), command: 'DEL' });
      },
      setPlainRoutes: () => Promise.resolve(),
      routes: () => tables('--table=remote_block', '--table=remote_address'),
      command: (...args) => space.run(MAIN, ...args),
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }

  async function tables(...only: readonly string[]): Promise<string> {
    const said = only.map((one) => space.run(MAIN, 'tables', `--target=${TARGET}`, `--names=${names}`, one));
    return (await Promise.all(said)).join('\n');
  }
}

/** The node's addresses and default route are on the engine's interface: eth0 is the engine's. */
function setUpHost(space: Namespace, { v4, v6 }: Station['addresses']): void {
  space.ip('link', 'set', HOST_TAP, 'up');
  space.ip('address', 'replace', `${v4}/32`, 'dev', HOST_TAP);
  space.ip('address', 'replace', `${v6}/128`, 'dev', HOST_TAP, 'nodad');
  space.ip('route', 'replace', 'default', 'dev', HOST_TAP, 'src', v4);
  space.ip('-6', 'route', 'replace', 'default', 'dev', HOST_TAP, 'src', v6);
}

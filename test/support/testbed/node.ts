/**
 * One node of a cluster made of real parts: a control plane, the embedded switch with the native engine, and Felix, which starts
 * calico-p4's driver. Pods are objects of the API and network namespaces whose eth0 is a port of the engine.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { readNames } from '../../../src/driver/names';
import { endProcesses, processesWith } from '../../../src/lab/processes';
import { podMac, spellMac } from '../../../src/translators/links';
import { Namespace } from '../../e2e/engine/namespaces';
import type { Binaries } from './binaries';
import {
  clusterObjects,
  defaultTier,
  interfaceOf,
  namespaceObject,
  podObject,
  type PodPlan,
} from './calico-objects';
import { type ControlPlane, freePort, startControlPlane } from './control-plane';
import { eventually, supervise, type Supervised } from './supervisor';

const ROOT = path.join(__dirname, '../../..');
export const NODE_NAME = 'testbed';

export interface TestNode {
  readonly controlPlane: ControlPlane;
  readonly felix: Supervised;
  /** The P4Runtime server; the engine is another process, which lives on without it. */
  readonly server: Supervised;
  /** @throws when there is none */
  readonly enginePid: () => number;
  /** @throws when there is none */
  readonly driverPid: () => number;
  /** The namespace of a pod of the plan. */
  pod(name: string): Namespace;
  /** What the driver's /readyz says; undefined when nobody answers. */
  ready(): Promise<{ readonly ok: boolean } | undefined>;
  untilReady(): Promise<void>;
  /** A value of the driver's metrics, by series. */
  metric(series: string): Promise<number>;
  /** Rows that this run of the driver has written. */
  rowsWritten(): Promise<number>;
  stop(): Promise<void>;
}

/**
 * Everything up, and every pod with its policy in force.
 *
 * @param plan pods in the order of their ports
 * @throws with the last lines of the logs; what was started is stopped
 */
export async function startTestNode(binaries: Binaries, plan: readonly PodPlan[]): Promise<TestNode> {
  const folder = mkdtempSync(path.join(tmpdir(), 'calico-p4-testbed-'));
  const spaces = new Map<string, Namespace>();
  const engineSocket = path.join(folder, 'engine.sock');
  const undo: (() => Promise<void>)[] = [];
  const stop = async (): Promise<void> => {
    for (const step of [...undo].reverse()) await step().catch(() => undefined);
    for (const space of spaces.values()) space.delete();
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    for (const { name } of plan) spaces.set(name, new Namespace());
    const controlPlane = await startControlPlane(folder, binaries);
    undo.push(() => controlPlane.stop());
    await controlPlane.apply(
      ...clusterObjects(NODE_NAME),
      ...(hasTiers(binaries) ? [defaultTier()] : []),
      ...[...new Set(plan.map(({ namespace }) => namespace))].map(namespaceObject),
    );

    const target = `127.0.0.1:${await freePort()}`;
    const metrics = `127.0.0.1:${await freePort()}`;
    const ports = plan.map((pod, index) => {
      const mac = spellMac(podMac({ mac: '', name: interfaceOf(pod) }));
      return `--port=${FIRST_PORT + index}=tap:eth0@${spaces.get(pod.name)!.path},mac=${mac}`;
    });
    const server = supervise(folder, {
      name: 'switch',
      command: path.join(ROOT, 'bin/calico-p4'),
      args: ['switch', '--engine=dpdk', `--engine-socket=${engineSocket}`, `--listen=${target}`, ...ports],
    });
    undo.push(async () => {
      await server.stop();
      // Its socket is ours alone, so what listens there is our engine.
      await endProcesses(processesWith(['--socket', engineSocket]));
    });
    const names = path.join(folder, 'names.json');
    const config = path.join(folder, 'driver.yaml');
    writeFileSync(
      config,
      JSON.stringify({
        target: { address: target },
        ports: { firstPod: FIRST_PORT },
        metrics: { listen: metrics },
        felix: { heartbeatSeconds: 1 },
        namesFile: names,
        journalFile: path.join(folder, 'journal'),
      }),
    );
    const felix = supervise(folder, {
      name: 'felix',
      command: binaries.felix,
      args: [`--config-file=${path.join(folder, 'no-felix.cfg')}`],
      env: {
        ...felixEnvironment(controlPlane.kubeconfig),
        CALICO_P4_CONFIG: config,
      },
    });
    undo.push(() => felix.stop());
    const logs = [felix.log, server.log];

    const node: TestNode = {
      controlPlane,
      felix,
      server,
      enginePid: () => only(processesWith(['--socket', engineSocket]), 'engine'),
      driverPid: () => only(childrenOf(felix.pid()), 'driver'),
      pod: (name) => spaces.get(name)!,
      async ready() {
        try {
          return (await (await fetch(`http://${metrics}/readyz`)).json()) as { readonly ok: boolean };
        } catch {
          return undefined;
        }
      },
      async untilReady() {
        await eventually('the driver', async () => (await node.ready())?.ok === true || undefined, { logs });
      },
      async metric(series) {
        const found = (await metricsOf(metrics)).get(series);
        if (found === undefined) throw new Error(`${series} is none of the driver's metrics`);
        return found;
      },
      async rowsWritten() {
        const rows = [...(await metricsOf(metrics))].filter(([series]) =>
          series.startsWith('calico_p4_rows_written_total'),
        );
        return rows.reduce((sum, [, count]) => sum + count, 0);
      },
      stop,
    };
    // One after the other, so that ports are given in the plan's order.
    for (const [index, pod] of plan.entries()) {
      await controlPlane.apply(podObject(NODE_NAME, pod));
      const port = FIRST_PORT + index;
      await eventually(
        `pod ${pod.name} at port ${port}`,
        () => readNames(names).ports.get(port) === interfaceOf(pod) || undefined,
        { logs },
      );
      await configurePod(spaces.get(pod.name)!, pod, logs);
    }
    await node.untilReady();
    return node;
  } catch (error) {
    await stop();
    throw error;
  }
}

const FIRST_PORT = 2;

/** Felix from 3.29 waits for tiers; before, there is no such resource. */
function hasTiers({ crds }: Binaries): boolean {
  return readdirSync(crds).some((file) => file.endsWith('_tiers.yaml'));
}

/** How calico-node is set up for an external dataplane and the Kubernetes datastore. */
export function felixEnvironment(kubeconfig: string): NodeJS.ProcessEnv {
  return {
    DATASTORE_TYPE: 'kubernetes',
    KUBECONFIG: kubeconfig,
    ...externalDriver(),
  };
}

export function externalDriver(): NodeJS.ProcessEnv {
  return {
    FELIX_FELIXHOSTNAME: NODE_NAME,
    FELIX_USEINTERNALDATAPLANEDRIVER: 'false',
    FELIX_DATAPLANEDRIVER: path.join(ROOT, 'bin/calico-p4-felix-driver'),
    FELIX_USAGEREPORTINGENABLED: 'false',
    FELIX_LOGFILEPATH: 'none',
    FELIX_LOGSEVERITYSYS: 'none',
    FELIX_LOGSEVERITYSCREEN: 'info',
  };
}

/** Addresses and routes as Calico's CNI plugin gives them; the interface comes from the engine. */
export async function configurePod(
  space: Namespace,
  { ipv4, ipv6 }: Pick<PodPlan, 'ipv4' | 'ipv6'>,
  logs: readonly string[],
): Promise<void> {
  await eventually(
    `eth0 in ${space.name}`,
    () => {
      space.ip('link', 'set', 'eth0', 'up');
      return true;
    },
    { logs },
  );
  space.ip('address', 'add', `${ipv4}/32`, 'dev', 'eth0');
  space.ip('route', 'add', '169.254.1.1', 'dev', 'eth0', 'scope', 'link');
  space.ip('route', 'add', 'default', 'via', '169.254.1.1', 'dev', 'eth0');
  space.ip('address', 'add', `${ipv6}/128`, 'dev', 'eth0', 'nodad');
  space.ip('-6', 'route', 'add', 'default', 'via', 'fe80::ecee:eeff:feee:eeee', 'dev', 'eth0');
}

function childrenOf(pid: number | undefined): number[] {
  if (pid === undefined) return [];
  return readdirSync(`/proc/${pid}/task`).flatMap((task) =>
    readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').split(' ').filter(Boolean).map(Number),
  );
}

function only(pids: readonly number[], what: string): number {
  if (pids.length !== 1) throw new Error(`${pids.length} processes are the ${what}`);
  return pids[0]!;
}

async function metricsOf(address: string): Promise<ReadonlyMap<string, number>> {
  const text = await (await fetch(`http://${address}/metrics`)).text();
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => {
      const at = line.lastIndexOf(' ');
      return [line.slice(0, at), Number(line.slice(at + 1))];
    }),
  );
}

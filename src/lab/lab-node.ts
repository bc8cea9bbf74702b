/** The process of a lab: native engine and P4Runtime switch, the driver, and a Felix that says what a lab file or a recording says. */
import { spawn, type ChildProcess } from 'node:child_process';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { loadConfig } from '../driver/config';
import { readNames } from '../driver/names';
import { runNodeDriver } from '../driver/run';
import { CalicoP4Error } from '../errors';
import { setLogLevel } from '../log';
import { findEngineBinary } from '../p4switch/dpdk/binary';
import { startEngineNode, type EngineNode } from '../p4switch/dpdk/node';
import { startDpdkSwitch } from '../p4switch/dpdk/switch';
import { startLabFelix } from './felix';
import { type LabPaths, type LabState, namespaceOf, readState, writeState } from './lab-state';
import type { LabPlace, LabPod } from './places';
import { type LabPlan, planLab } from './plan';
import { configureHost, configureOutside, configurePod, hostPort, outsidePort, podPort } from './pod-network';
import { startTime } from './processes';

/** Milliseconds for all rows of a lab. */
const PROGRAM_PATIENCE = 60_000;
/** Milliseconds between an endpoint's status and its name in the names file. */
const NAMES_PATIENCE = 5000;

/** P4 port numbers of a lab. */
export const LAB_PORTS = { uplink: 0, host: 1, firstPod: 2 } as const;

/** What was wrong with the engine before anything is made. @throws CalicoP4Error USAGE */
export function requireEngine(): string {
  const binary = findEngineBinary();
  if (binary === undefined)
    throw new CalicoP4Error('USAGE', 'lab: the native engine is not built: make engine');
  return binary;
}

/** Runs until SIGTERM. `lab up` has written the state, the source and the driver's configuration, and made the namespaces. */
export async function runLabNode(lab: LabPaths): Promise<void> {
  setLogLevel('info');
  const started = readState(lab);
  if (started === undefined)
    throw new CalicoP4Error('USAGE', `${lab.state} is not there: lab up starts this`);
  const daemon = { pid: process.pid, started: startTime(process.pid)! };
  writeState(lab, { ...started, daemon });
  const plan = await planLab(started.source);
  const node = await startEngineNode({ socket: lab.engineSocket, binary: requireEngine() });
  const servers: ChildProcess[] = [];
  try {
    const server = await startDpdkSwitch({ address: lab.target, deviceId: 1n }, node);
    const enforced = createCount();
    const driver = runNodeDriver(loadConfig({}, lab.driverConfig), (frame) => {
      enforced.set(frame + 1);
    });
    // Watched here too: it may fail while pods are set up.
    driver.catch(() => undefined);
    const setUp = async (): Promise<LabState> => {
      const felix = await startLabFelix(lab.felixSocket, plan.stream);
      await enforced.reaches(plan.frames, PROGRAM_PATIENCE);
      await felix.allUp(
        plan.pods.map(({ workloadId }) => workloadId),
        PROGRAM_PATIENCE,
      );
      const ports = await portsOf(lab, plan.pods);
      for (const pod of plan.pods)
        await startPod(namespaceOf(lab, pod.name), node, pod, ports.get(pod.interface)!);
      await startEnds(lab, node, plan);
      for (const place of [...plan.pods, plan.outside, plan.host])
        servers.push(...serve(namespaceOf(lab, place.name), place));
      return {
        ...started,
        phase: 'up',
        daemon,
        pods: started.pods.map((pod) => ({ ...pod, port: ports.get(pod.interface)! })),
      };
    };
    const up = await Promise.race([setUp(), driver.then(() => undefined)]);
    if (up !== undefined) writeState(lab, up);
    await driver;
    await server.stop();
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    writeState(lab, { ...started, daemon, phase: 'failed', why });
    throw error;
  } finally {
    for (const child of servers) child.kill('SIGTERM');
    await node.stop('quit');
  }
}

/** The P4 port of each interface, as the driver has given them. */
async function portsOf(lab: LabPaths, pods: readonly LabPod[]): Promise<ReadonlyMap<string, number>> {
  const until = Date.now() + NAMES_PATIENCE;
  for (;;) {
    try {
      const ports = new Map([...readNames(lab.names).ports].map(([port, name]) => [name, port]));
      if (pods.every((pod) => ports.has(pod.interface))) return ports;
    } catch (error) {
      if (Date.now() > until) throw error;
    }
    if (Date.now() > until)
      throw new CalicoP4Error('USAGE', `${lab.names} does not have the ports of all pods`);
    await sleep(20);
  }
}

/** Its policy is in force already. */
async function startPod(namespace: string, node: EngineNode, pod: LabPod, port: number): Promise<void> {
  await node.attach(port, podPort(namespace, pod));
  configurePod(namespace, pod);
}

/** The node's two other ports. */
async function startEnds(lab: LabPaths, node: EngineNode, { outside, host }: LabPlan): Promise<void> {
  const [world, own] = [namespaceOf(lab, outside.name), namespaceOf(lab, host.name)];
  await node.attach(LAB_PORTS.host, hostPort(own));
  configureHost(own, host);
  await node.attach(LAB_PORTS.uplink, outsidePort(world));
  configureOutside(world, outside, host);
}

function serve(namespace: string, { name, serve }: LabPlace): readonly ChildProcess[] {
  if (serve.length === 0) return [];
  const program = [process.execPath, path.join(__dirname, 'answer.js'), name, ...serve.map(String)];
  return [spawn('ip', ['netns', 'exec', namespace, ...program], { stdio: ['ignore', 'ignore', 'inherit'] })];
}

interface Count {
  set(count: number): void;
  /** @throws CalicoP4Error TARGET_WRITE_FAILED when it does not in that many milliseconds */
  reaches(count: number, milliseconds: number): Promise<void>;
}

/** Felix's messages that the target has: statuses alone may be of an earlier moment of a recording. */
function createCount(): Count {
  let now = 0;
  return {
    set(count) {
      now = count;
    },
    async reaches(count, milliseconds) {
      const until = Date.now() + milliseconds;
      while (now < count) {
        if (Date.now() > until)
          throw new CalicoP4Error(
            'TARGET_WRITE_FAILED',
            `${now} of Felix's ${count} messages are in force after ${milliseconds / 1000} s`,
          );
        await sleep(20);
      }
    },
  };
}

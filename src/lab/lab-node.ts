/** The process of a lab: native engine and P4Runtime switch, the driver, and a Felix that says what the lab file says. */
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
import { labModel, type LabPod, placePods, workloadIdOf } from './cluster';
import { startLabFelix } from './felix';
import { modelPayloads } from './felix-frames';
import { readLabFile } from './lab-file';
import { type LabPaths, type LabState, namespaceOf, readState, writeState } from './lab-state';
import { configurePod, podPort } from './pod-network';
import { startTime } from './processes';

/** Milliseconds for all rows of a lab. */
const PROGRAM_PATIENCE = 60_000;
/** Milliseconds between an endpoint's status and its name in the names file. */
const NAMES_PATIENCE = 5000;

/** What was wrong with the engine before anything is made. @throws CalicoP4Error USAGE */
export function requireEngine(): string {
  const binary = findEngineBinary();
  if (binary === undefined)
    throw new CalicoP4Error('USAGE', 'lab: the native engine is not built: make engine');
  return binary;
}

/** Runs until SIGTERM. `lab up` has written the state, the lab file and the driver's configuration, and made the namespaces. */
export async function runLabNode(lab: LabPaths): Promise<void> {
  setLogLevel('info');
  const started = readState(lab);
  if (started === undefined)
    throw new CalicoP4Error('USAGE', `${lab.state} is not there: lab up starts this`);
  const daemon = { pid: process.pid, started: startTime(process.pid)! };
  writeState(lab, { ...started, daemon });
  const file = readLabFile(lab.file);
  const pods = placePods(file);
  const node = await startEngineNode({ socket: lab.engineSocket, binary: requireEngine() });
  const servers: ChildProcess[] = [];
  try {
    const server = await startDpdkSwitch({ address: lab.target, deviceId: 1n }, node);
    const driver = runNodeDriver(loadConfig({}, lab.driverConfig));
    // Watched here too: it may fail while pods are set up.
    driver.catch(() => undefined);
    const setUp = async (): Promise<LabState> => {
      const felix = await startLabFelix(lab.felixSocket, modelPayloads(labModel(file, pods)));
      await felix.allUp(pods.map(workloadIdOf), PROGRAM_PATIENCE);
      const ports = await portsOf(lab, pods);
      for (const pod of pods) servers.push(...(await startPod(lab, node, pod, ports.get(pod.interface)!)));
      return {
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

/** Its policy is in force already. @returns its servers */
async function startPod(
  lab: LabPaths,
  node: EngineNode,
  pod: LabPod,
  port: number,
): Promise<readonly ChildProcess[]> {
  const namespace = namespaceOf(lab, pod.name);
  await node.attach(port, podPort(namespace, pod));
  configurePod(namespace, pod);
  if (pod.serve.length === 0) return [];
  const program = [process.execPath, path.join(__dirname, 'answer.js'), pod.name, ...pod.serve.map(String)];
  return [spawn('ip', ['netns', 'exec', namespace, ...program], { stdio: ['ignore', 'ignore', 'inherit'] })];
}

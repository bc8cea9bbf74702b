/** `lab up` and `lab down`: what they make and remove on the machine. */
import { spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { stringify } from 'yaml';
import { CalicoP4Error } from '../errors';
import { LAB_PORTS, requireEngine } from './lab-node';
import { type LabPaths, type LabState, namespaceOf, readState, removeState, writeState } from './lab-state';
import type { LabPlace } from './places';
import { keepSource, type LabSource, planLab } from './plan';
import { addNamespace, deleteNamespace, namespaces, processesIn } from './pod-network';
import { endProcesses, processesWith, startTime } from './processes';

/** Milliseconds from the start of the daemon until all pods are connected. */
const PATIENCE = 90_000;

/** @throws CalicoP4Error USAGE */
export function requireRoot(): void {
  if (process.geteuid?.() !== 0)
    throw new CalicoP4Error('USAGE', 'lab: network namespaces and interfaces need root: run it with sudo');
}

/**
 * Builds the lab and returns when every pod is connected, with its policy in force. What was made is removed again when it fails.
 *
 * @param program the command line that starts a command of calico-p4
 * @throws CalicoP4Error CONFIG_INVALID for the file; FELIX_* for the recording; USAGE when a lab is there; what the daemon failed with
 */
export async function labUp(lab: LabPaths, source: LabSource, program: readonly string[]): Promise<LabState> {
  requireNone(lab);
  requireEngine();
  const plan = await planLab(source);
  const places = [...plan.pods, plan.outside, plan.host];
  const taken = namespaces().filter((name) => places.some((place) => name === namespaceOf(lab, place.name)));
  if (taken.length > 0)
    throw new CalicoP4Error('USAGE', `namespaces of the lab's names are there already: ${taken.join(', ')}`);
  const stateOf = ({ name, ips, serve }: LabPlace): LabState['host'] => ({
    name,
    namespace: namespaceOf(lab, name),
    ips: [...ips],
    serve: [...serve],
  });
  writeState(lab, {
    phase: 'starting',
    source: { ...source, path: lab.source },
    pods: plan.pods.map((pod) => ({ ...stateOf(pod), interface: pod.interface })),
    left: plan.left,
    outside: stateOf(plan.outside),
    host: stateOf(plan.host),
  });
  try {
    keepSource(source, plan, lab.source);
    writeFileSync(lab.driverConfig, stringify(driverConfig(lab)));
    for (const { name } of places) addNamespace(namespaceOf(lab, name), places);
    return await startDaemon(lab, program);
  } catch (error) {
    const log = lastLines(lab.log) + lastLines(`${lab.engineSocket}.log`);
    await labDown(lab);
    if (!(error instanceof CalicoP4Error)) throw error;
    throw new CalicoP4Error(error.code, `${error.message}${log}`, {}, { cause: error });
  }
}

/** Ends its processes, those that run in its pods too, and removes its namespaces and files. Also a lab that crashed. False when there is none. */
export async function labDown(lab: LabPaths): Promise<boolean> {
  const state = readState(lab);
  if (state === undefined) {
    // An `up` that was ended before it wrote anything.
    const there = existsSync(lab.folder);
    if (there) removeState(lab);
    return there;
  }
  if (isAlive(state)) await endProcesses([state.daemon!.pid]);
  // It records itself when it has started; an `up` that was interrupted may have left one that did not come so far.
  if (state.daemon === undefined) await endProcesses(processesWith(['lab', 'node', '--name', lab.name]));
  // Its socket is ours alone, so what listens there is our engine.
  await endProcesses(processesWith(['--socket', lab.engineSocket]));
  const there = namespaces();
  for (const { namespace } of [...state.pods, state.outside, state.host]) {
    if (there.includes(namespace)) await endProcesses(processesIn(namespace));
    deleteNamespace(namespace);
  }
  removeState(lab);
  return true;
}

/** Whether the process that serves the lab runs. */
export function isAlive({ daemon }: LabState): boolean {
  return daemon !== undefined && startTime(daemon.pid) === daemon.started;
}

function requireNone(lab: LabPaths): void {
  const state = readState(lab);
  if (state === undefined) return;
  throw new CalicoP4Error(
    'USAGE',
    isAlive(state)
      ? 'a lab is up already: `lab down` ends it'
      : 'what a crashed lab left is still there: `lab down` removes it',
  );
}

function driverConfig(lab: LabPaths): object {
  return {
    target: { address: lab.target },
    ports: LAB_PORTS,
    felix: { link: `unix:${lab.felixSocket}` },
    metrics: { listen: '' },
    namesFile: lab.names,
    journalFile: '',
  };
}

async function startDaemon(lab: LabPaths, [command = '', ...args]: readonly string[]): Promise<LabState> {
  mkdirSync(lab.folder, { recursive: true, mode: 0o700 });
  const log = openSync(lab.log, 'a', 0o600);
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !OURS.test(name)));
  const child = spawn(command, [...args, 'lab', 'node', '--name', lab.name], {
    detached: true,
    stdio: ['ignore', log, log],
    env: { ...env, CALICO_P4_LOG_LEVEL: 'info' },
  });
  closeSync(log);
  let ended: string | undefined;
  child.once('error', (error) => (ended = error.message));
  child.once('exit', (code, signal) => (ended = signal ?? `status ${String(code)}`));
  child.unref();
  const until = Date.now() + PATIENCE;
  for (;;) {
    const state = readState(lab);
    if (state?.phase === 'up') return state;
    if (state?.phase === 'failed') throw failure(state.why ?? 'nothing is known');
    if (ended !== undefined) throw failure(`its process ended (${ended})`);
    if (Date.now() > until) throw failure(`it was not ready after ${PATIENCE / 1000} s`);
    await sleep(50);
  }
}

/** The lab's driver is configured by its file alone; which engine is to run stays the user's choice. */
const OURS = /^CALICO_P4_(?!ENGINE$)/;

function failure(why: string): CalicoP4Error {
  return new CalicoP4Error('TARGET_UNREACHABLE', `the lab did not start: ${why}`);
}

/** For the message of a lab that failed, whose log is removed with it. */
function lastLines(file: string): string {
  try {
    const lines = readFileSync(file, 'utf8').trimEnd().split('\n').slice(-5);
    return lines.join('') === '' ? '' : `\n${file} ends with:\n  ${lines.join('\n  ')}`;
  } catch {
    return '';
  }
}

/** `calico-p4 lab`: a small node on one machine, to play with. */
import { spawn } from 'node:child_process';
import path from 'node:path';
import { CalicoP4Error } from '../errors';
import { isAlive, labDown, labUp, requireRoot } from '../lab/lab';
import { LAB_PORTS, runLabNode } from '../lab/lab-node';
import { labPaths, readState, type LabPaths, type LabState } from '../lab/lab-state';
import type { LabSource } from '../lab/plan';
import { connectEngine } from '../p4switch/dpdk/link';
import { listPorts, type PortState } from '../p4switch/dpdk/ports';
import { parseStopAt } from './stream';

/** Of the engine's ports, at most. */
const MOST_PODS = 250;

export interface UpOptions extends LabOptions {
  /** A recorded Felix. */
  readonly recording?: string;
  /** Where the recording ends; see parseStopAt. */
  readonly at: string;
  /** The most pods that are made of a recording. */
  readonly pods: string;
}

export interface LabOptions {
  /** Of the lab, where there are several. */
  readonly name: string;
}

type Print = (line: string) => void;

/** `lab up [FILE]`, `lab up --recording STREAM`. */
export async function up(file: string | undefined, options: UpOptions, print: Print): Promise<void> {
  requireRoot();
  const lab = labPaths(options.name);
  const { pods, left } = await labUp(lab, sourceOf(file, options), [process.execPath, process.argv[1]!]);
  const some = left > 0 ? `${pods.length} of ${pods.length + left} pods (--pods): ` : '';
  print(`lab is up: ${some}${pods.map((pod) => pod.name).join(', ')}`);
}

function sourceOf(file: string | undefined, { recording, at, pods }: UpOptions): LabSource {
  if (recording === undefined) return { kind: 'file', path: file ?? defaultFile() };
  if (file !== undefined)
    throw new CalicoP4Error('USAGE', `give a lab file or --recording, not both: ${file}, ${recording}`);
  const most = /^\d{1,3}$/.test(pods) ? Number(pods) : 0;
  if (most < 1 || most > MOST_PODS)
    throw new CalicoP4Error('USAGE', `--pods ${pods}: give a number from 1 to ${MOST_PODS}`);
  return { kind: 'recording', path: recording, at: parseStopAt(at), most };
}

/** `lab down`. */
export async function down({ name }: LabOptions, print: Print): Promise<void> {
  requireRoot();
  print((await labDown(labPaths(name))) ? 'lab is down' : 'no lab is up');
}

/** `lab status`. */
export async function status({ name }: LabOptions, print: Print): Promise<void> {
  requireRoot();
  const lab = labPaths(name);
  const state = requireState(lab);
  const ports = await portStates(lab);
  const alive = isAlive(state);
  print(
    `${alive ? state.phase : 'crashed: `lab down` removes what it left'}; P4Runtime at ${lab.target}, names in ${lab.names}`,
  );
  const places = [
    ...state.pods,
    { ...state.outside, interface: 'uplink', port: LAB_PORTS.uplink },
    { ...state.host, interface: 'host', port: LAB_PORTS.host },
  ];
  const rows = places.map((pod) => {
    const port = ports?.find((one) => one.port === pod.port);
    const state =
      ports === undefined ? 'no engine' : port === undefined ? 'no port' : port.gone ? 'gone' : 'up';
    const { rxPackets = 0n, txPackets = 0n } = port?.counters ?? {};
    return [
      pod.name,
      state,
      `port ${pod.port ?? '-'}`,
      pod.interface,
      pod.ips.join(' '),
      `sent ${rxPackets}`,
      `received ${txPackets}`,
    ];
  });
  const widths = rows[0]?.map((_, i) => Math.max(...rows.map((row) => row[i]!.length))) ?? [];
  for (const row of rows)
    print(
      row
        .map((cell, i) => cell.padEnd(widths[i]!))
        .join('  ')
        .trimEnd(),
    );
}

/** `lab exec POD|outside|host -- COMMAND…`: exits as the command does. */
export async function exec(pod: string, words: readonly string[], { name }: LabOptions): Promise<void> {
  requireRoot();
  const state = requireState(labPaths(name));
  const places = [...state.pods, state.outside, state.host];
  const found = places.find((one) => one.name === pod);
  if (found === undefined)
    throw new CalicoP4Error(
      'USAGE',
      `the lab has no pod ${pod}; there are ${places.map((p) => p.name).join(', ')}`,
    );
  const command = words[0] === '--' ? words.slice(1) : words;
  if (command.length === 0)
    throw new CalicoP4Error('USAGE', `lab exec ${pod}: give a command, for example -- ping web`);
  const child = spawn('ip', ['netns', 'exec', found.namespace, ...command], { stdio: 'inherit' });
  // A Ctrl-C is for the command, which gets it from the terminal too.
  const ignore = (): void => undefined;
  process.on('SIGINT', ignore);
  process.exitCode = await new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => {
      resolve(code ?? (signal === 'SIGINT' ? 130 : 1));
    });
  });
  process.off('SIGINT', ignore);
}

/** `lab node`: started by `lab up`. */
export async function node({ name }: LabOptions): Promise<void> {
  requireRoot();
  try {
    await runLabNode(labPaths(name));
  } catch (error) {
    process.stderr.write(`calico-p4: ${error instanceof Error ? error.message : String(error)}\n`);
    // The driver may still wait for Felix.
    process.exit(1);
  }
  process.exit(0);
}

function requireState(lab: LabPaths): LabState {
  const state = readState(lab);
  if (state === undefined) throw new CalicoP4Error('USAGE', 'no lab is up: `calico-p4 lab up` builds one');
  return state;
}

/** Undefined when no engine answers. */
async function portStates(lab: LabPaths): Promise<readonly PortState[] | undefined> {
  try {
    const link = await connectEngine(lab.engineSocket);
    try {
      return await listPorts(link);
    } finally {
      link.close();
    }
  } catch {
    return undefined;
  }
}

/** Beside this program, wherever it is called from. */
function defaultFile(): string {
  return path.join(path.dirname(process.argv[1]!), '..', 'examples', 'lab.yaml');
}

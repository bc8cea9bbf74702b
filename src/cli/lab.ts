/** `calico-p4 lab`: a small node on one machine, to play with. */
import { spawn } from 'node:child_process';
import path from 'node:path';
import { CalicoP4Error } from '../errors';
import { isAlive, labDown, labUp, requireRoot } from '../lab/lab';
import { runLabNode } from '../lab/lab-node';
import { labPaths, readState, type LabPaths, type LabState } from '../lab/lab-state';
import { connectEngine } from '../p4switch/dpdk/link';
import { listPorts, type PortState } from '../p4switch/dpdk/ports';

export interface LabOptions {
  /** Of the lab, where there are several. */
  readonly name: string;
}

type Print = (line: string) => void;

/** `lab up [FILE]`. */
export async function up(file: string | undefined, { name }: LabOptions, print: Print): Promise<void> {
  requireRoot();
  const lab = labPaths(name);
  const state = await labUp(lab, file ?? defaultFile(), [process.execPath, process.argv[1]!]);
  print(`lab is up: ${state.pods.map((pod) => pod.name).join(', ')}`);
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
  const rows = state.pods.map((pod) => {
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

/** `lab exec POD -- COMMAND…`: exits as the command does. */
export async function exec(pod: string, words: readonly string[], { name }: LabOptions): Promise<void> {
  requireRoot();
  const state = requireState(labPaths(name));
  const found = state.pods.find((one) => one.name === pod);
  if (found === undefined)
    throw new CalicoP4Error(
      'USAGE',
      `the lab has no pod ${pod}; there are ${state.pods.map((p) => p.name).join(', ')}`,
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

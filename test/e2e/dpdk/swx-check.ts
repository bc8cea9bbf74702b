/** Runs swx-check, the program that executes a `.spec` inside DPDK, and speaks its commands. */
import { execFileSync, spawnSync } from 'node:child_process';
import path from 'node:path';
import type { SpecEntry } from '../../../src/p4switch/engine';
import type { Spec } from '../../../src/p4switch/spec/ast';

export const repoRoot = path.join(__dirname, '..', '..', '..');

/** Input and output ports that swx-check has: 0 to 15. */
export const SWX_PORTS = 16;

/** Compiles swx-check unless it is up to date. Throws with the script's own words when something is missing. */
export function buildSwxCheck(): void {
  execFileSync(path.join(repoRoot, 'scripts', 'build-swx-check'), { stdio: ['ignore', 'ignore', 'pipe'] });
}

export interface SwxCheckRun {
  /** 0: fine; 1: DPDK refuses the spec or a command; 2: DPDK does not start. */
  readonly status: number | null;
  /** One for each `packet` and `register` command. */
  readonly answers: readonly string[];
  readonly stderr: string;
}

/** Loads the spec at `specPath` and runs the commands, in one process that ends by itself. */
export function runSwxCheck(specPath: string, commands: readonly string[]): SwxCheckRun {
  const { status, stdout, stderr, error } = spawnSync(
    path.join(repoRoot, '.stamps', 'swx-check'),
    [specPath],
    { input: `${commands.join('\n')}\n`, encoding: 'utf8', timeout: 60_000, maxBuffer: 256 << 20 },
  );
  if (error) throw error;
  return { status, answers: stdout.split('\n').slice(0, -1), stderr };
}

/** P4Runtime: larger wins. DPDK: 0 is the highest. */
const LOWEST_PRIORITY = 0xffff;

/** `entry` command. DPDK takes the priority of LPM tables from the mask. */
export function entryCommand(spec: Spec, tableName: string, entry: SpecEntry): string {
  const table = spec.tables.get(tableName)!;
  const hex = (value: bigint): string => `0x${value.toString(16)}`;
  const keys = table.keys.map(({ match }, i) => {
    const { value, mask } = entry.keys[i]!;
    return match === 'exact' ? hex(value) : `${hex(value)}/${hex(mask)}`;
  });
  const priority = table.keys.some(({ match }) => match === 'wildcard')
    ? ['priority', `${LOWEST_PRIORITY - entry.priority}`]
    : [];
  const fields = spec.actions.get(entry.action.name)!.args?.fields ?? [];
  const params = fields.flatMap(({ name }, i) => [name, hex(entry.action.params[i]!)]);
  return ['entry', tableName, 'match', ...keys, ...priority, 'action', entry.action.name, ...params].join(
    ' ',
  );
}

export function packetCommand(port: number, frame: Uint8Array): string {
  return `packet ${port} ${Buffer.from(frame).toString('hex')}`;
}

export function registerCommand(name: string, index: number): string {
  return `register ${name} ${index}`;
}

/** What all measurements share: how a process reports, the recordings, the switch in a process of its own. */
import { spawn, execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { openTarget, type Target } from '../../src/driver/target';
import { FRAME_HEADER_BYTES } from '../../src/driver/felix/frame-decoder';

/** One measurement's numbers, by name. Seconds, unless the name says otherwise. */
export type Figures = Readonly<Record<string, number | string>>;

/** The last line of a measuring process. */
export function report(figures: Figures): never {
  const { user, system } = process.cpuUsage();
  const peak = process.resourceUsage().maxRSS / 1024;
  const all = { ...figures, 'CPU s': (user + system) / 1e6, 'peak MB': Math.round(peak) };
  process.stdout.write(`${JSON.stringify(all)}\n`);
  process.exit(0);
}

export async function timed<T>(work: () => T | Promise<T>): Promise<readonly [number, T]> {
  const began = performance.now();
  const result = await work();
  return [(performance.now() - began) / 1000, result];
}

export function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1]!;
}

/** Beside the checkout, or in test/recordings. */
function recordingPath(name: string): string {
  for (let at = __dirname; dirname(at) !== at; at = dirname(at)) {
    for (const folder of [join(at, 'test', 'recordings'), join(at, 'shared', 'recordings')]) {
      if (existsSync(join(folder, name))) return join(folder, name);
    }
  }
  throw new Error(`there is no recording ${name}`);
}

/** The frames of a recording, headers included. */
export function recording(name: string): readonly Uint8Array[] {
  const path = recordingPath(name);
  const bytes = path.endsWith('.xz')
    ? execFileSync('xz', ['-dkc', path], { maxBuffer: 2 ** 30 })
    : readFileSync(path);
  const frames: Uint8Array[] = [];
  for (let at = 0; at < bytes.length;) {
    const end = at + FRAME_HEADER_BYTES + Number(bytes.readBigUInt64LE(at));
    frames.push(bytes.subarray(at, end));
    at = end;
  }
  return frames;
}

export interface SwitchProcess {
  readonly target: Target;
  /** Peak memory of the switch's process, in MB. */
  readonly peak: () => number;
  readonly stop: () => void;
}

/** The embedded switch in a process of its own, as in production, and a session with it. */
export async function startSwitchProcess(): Promise<SwitchProcess> {
  const folder = mkdtempSync(join(tmpdir(), 'calico-p4-bench-'));
  const address = `unix:${join(folder, 'p4rt.sock')}`;
  const child = spawn(process.execPath, [join(__dirname, 'switch.js'), address], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await new Promise((resolve, reject) => {
    child.stdout.once('data', resolve);
    child.once('exit', reject);
  });
  const options = { address, kind: 'embedded', deviceId: 1, electionId: '1' } as const;
  const target = await openTarget(options, (error) => {
    throw error;
  });
  return {
    target,
    peak() {
      const text = readFileSync(`/proc/${child.pid ?? 0}/status`, 'utf8');
      return Math.round(Number(/VmHWM:\s+(\d+)/.exec(text)?.[1] ?? 0) / 1024);
    },
    stop() {
      child.kill();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

export function writeJson(path: string, value: unknown): void {
  writeFileSync(path, `${JSON.stringify(value, undefined, 2)}\n`);
}

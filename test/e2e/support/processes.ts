import { spawn, type ChildProcess, type StdioOptions } from 'node:child_process';
import path from 'node:path';

export const ROOT = path.join(__dirname, '../../..');

/** A command of ours as a user runs it, from bin/ and dist/ (`make build`). */
export interface Running {
  readonly child: ChildProcess;
  readonly output: () => { readonly stdout: string; readonly stderr: string };
  /** Resolves with the exit code; -1 for a signal. */
  readonly ended: Promise<number>;
}

export function start(
  bin: string,
  args: readonly string[],
  options: { readonly stdio?: StdioOptions; readonly env?: NodeJS.ProcessEnv } = {},
): Running {
  return spawnRunning(path.join(ROOT, 'bin', bin), args, options);
}

/** Any program. */
export function spawnRunning(
  program: string,
  args: readonly string[],
  options: { readonly stdio?: StdioOptions; readonly env?: NodeJS.ProcessEnv } = {},
): Running {
  const child = spawn(program, args, {
    stdio: options.stdio ?? ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...options.env },
  });
  let stdout = '';
  let stderr = '';
  child.stdout?.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr?.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const ended = new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => {
      resolve(code ?? -1);
    });
  });
  return { child, output: () => ({ stdout, stderr }), ended };
}

export async function run(
  bin: string,
  args: readonly string[],
  env?: NodeJS.ProcessEnv,
): Promise<{ code: number; stdout: string; stderr: string }> {
  const running = start(bin, args, env === undefined ? {} : { env });
  const code = await running.ended;
  return { code, ...running.output() };
}

export async function until(what: string, condition: () => boolean, seconds = 20): Promise<void> {
  const end = Date.now() + seconds * 1000;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`waited ${seconds} s for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Ends a process that the test started, if it still runs. */
export async function stop(running: Running | undefined): Promise<void> {
  if (running === undefined || running.child.exitCode !== null || running.child.signalCode !== null) return;
  running.child.kill('SIGTERM');
  await running.ended;
}

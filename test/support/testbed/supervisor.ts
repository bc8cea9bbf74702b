/** Processes of the test bed: kept running as a node's supervisor does it, killed by their id, and gone at the end. */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { cleanEnvironment, lastLines } from './binaries';

export interface Supervised {
  readonly name: string;
  /** The file with what it wrote, all its runs. */
  readonly log: string;
  /** Of the present run; undefined between two. */
  pid(): number | undefined;
  /** Runs so far. */
  starts(): number;
  /** Ends the present run; with `hold`, the next one waits for release(). */
  kill(signal: NodeJS.Signals, hold?: 'hold'): void;
  release(): void;
  /** Ends it for good. Returns when it is gone. */
  stop(): Promise<void>;
}

export interface Program {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
}

/** Milliseconds between the end of a run and the next, as runit has it. */
const PAUSE = 1000;
/** Milliseconds that a process has to end by itself. */
const GRACE = 5000;

/** Starts a program, and starts it again whenever it ends. */
export function supervise(folder: string, program: Program): Supervised {
  const { name, command, args } = program;
  const log = path.join(folder, `${name}.log`);
  const env = { ...cleanEnvironment(), ...program.env };
  let starts = 0;
  let child: ChildProcess | undefined;
  let held = false;
  let stopped = false;
  let timer: NodeJS.Timeout | undefined;
  let ended = Promise.resolve();

  const run = (): void => {
    timer = undefined;
    starts++;
    const out = openSync(log, 'a');
    const started = spawn(command, args, { cwd: folder, env, stdio: ['ignore', out, out] });
    closeSync(out);
    child = started;
    ended = new Promise((resolve) => {
      const over = (): void => {
        child = undefined;
        resolve();
        if (!stopped && !held) timer = setTimeout(run, PAUSE);
      };
      started.once('exit', over);
      started.once('error', over);
    });
  };
  run();
  return {
    name,
    log,
    pid: () => child?.pid,
    starts: () => starts,
    kill(signal, hold) {
      held = hold === 'hold';
      child?.kill(signal);
    },
    release() {
      held = false;
      if (!stopped && child === undefined && timer === undefined) run();
    },
    async stop() {
      stopped = true;
      clearTimeout(timer);
      const killer = setTimeout(() => child?.kill('SIGKILL'), GRACE);
      child?.kill('SIGTERM');
      await ended;
      clearTimeout(killer);
    },
  };
}

/** Asks again and again, an error being a no. @throws with what it was, and the last lines of the logs, when time is over */
export async function eventually<T>(
  what: string,
  ask: () => T | undefined | Promise<T | undefined>,
  options: { readonly seconds?: number; readonly logs?: readonly string[] } = {},
): Promise<T> {
  const { seconds = 45, logs = [] } = options;
  const end = Date.now() + seconds * 1000;
  let last: unknown;
  for (;;) {
    try {
      const answer = await ask();
      if (answer !== undefined && answer !== false) return answer;
      last = answer;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) {
      const said = logs.map((log) => `\n--- ${log}\n${lastLines(log)}`).join('');
      throw new Error(`waited ${seconds} s for ${what} (last: ${String(last)})${said}`);
    }
    await sleep(50);
  }
}

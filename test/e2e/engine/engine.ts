/** The native engine for tests: built when it is missing, one process for each test that wants one. */
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type EngineClient, engineClient } from '../../../src/p4switch/dpdk/client';
import type { Description } from '../../../src/p4switch/dpdk/description';
import { connectEngine, type EngineLink } from '../../../src/p4switch/dpdk/link';
import { Which } from '../../../src/p4switch/dpdk/protocol';
import type { Spec } from '../../../src/p4switch/spec/ast';

export const repoRoot = path.join(__dirname, '..', '..', '..');

type Build = 'plain' | 'asan';

/** Why the engine can not run here; undefined when it can. Builds it. */
function whyNot(build: Build): string | undefined {
  try {
    execFileSync('make', ['-C', path.join(repoRoot, 'native'), build === 'asan' ? 'asan' : 'all'], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
  } catch (error) {
    return `the engine can not be built: ${error instanceof Error ? error.message : String(error)}`;
  }
  if (!existsSync(engineBinary(build))) return 'DPDK 22.11 is not installed (make engine says how)';
  return undefined;
}

export function engineBinary(build: Build = 'plain'): string {
  return path.join(repoRoot, 'native', 'build', `calico-p4-engine${build === 'asan' ? '-asan' : ''}`);
}

/** Whether the pipeline was compiled into the engine: its compiler is there when dist/ is. */
function isCompiledIn(): boolean {
  return existsSync(path.join(repoRoot, 'native', 'build', 'programs.c'));
}

/**
 * `describe`, or a skipped one that says why: the engine is not built, or has no machine code where `compiled` is needed, or the
 * user is not root where `root` is needed.
 */
export function describeEngine(
  name: string,
  needs: { readonly root?: boolean; readonly build?: Build; readonly compiled?: boolean },
  body: () => void,
): void {
  const why =
    needs.root === true && process.geteuid?.() !== 0
      ? 'it needs root (network namespaces)'
      : (whyNot(needs.build ?? 'plain') ??
        (needs.compiled === true && !isCompiledIn()
          ? 'the compiler of programs is not built: npx tsc -p tsconfig.build.json'
          : undefined));
  if (why === undefined) {
    describe(name, body);
    return;
  }
  process.stderr.write(`skipped: ${name}: ${why}\n`);
  describe.skip(`${name} (skipped: ${why})`, body);
}

export interface RunningEngine {
  readonly socket: string;
  readonly pid: number;
  readonly link: EngineLink;
  readonly client: EngineClient;
  /** Loads and activates. */
  run(text: string, spec: Spec): Promise<Description>;
  /** What it wrote to standard error so far. */
  errors(): string;
  /** Ends it; the signal or status it ended with. */
  stop(): Promise<string>;
  readonly ended: Promise<string>;
}

/** Starts an engine of its own on a socket in a new folder. `binary`: another one than that of `build`. */
export async function startEngine(
  options: readonly string[] = [],
  build: Build = 'plain',
  binary: string = engineBinary(build),
): Promise<RunningEngine> {
  const folder = mkdtempSync(path.join(tmpdir(), 'calico-p4-engine-'));
  const socket = path.join(folder, 'engine.sock');
  const child = spawn(binary, ['--socket', socket, ...options], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ASAN_OPTIONS: 'detect_leaks=0:abort_on_error=1' },
  });
  let stderr = '';
  child.stderr.on('data', (text: Buffer) => {
    stderr += text.toString();
  });
  const ended = new Promise<string>((resolve) => {
    child.once('exit', (code, signal) => {
      resolve(signal ?? `status ${String(code)}`);
    });
  });
  await new Promise<void>((resolve, reject) => {
    child.stdout.once('data', () => {
      resolve();
    });
    void ended.then((how) => {
      reject(new Error(`the engine ended (${how}): ${stderr}`));
    });
  });
  const link = await connectEngine(socket);
  const client = engineClient(link);
  return {
    socket,
    pid: child.pid!,
    link,
    client,
    async run(text, spec) {
      await client.load(text, new Uint8Array(0));
      const description = await client.describe(Which.staged, spec);
      await client.activate();
      return description;
    },
    errors: () => stderr,
    async stop() {
      link.close();
      child.kill('SIGTERM');
      const how = await ended;
      rmSync(folder, { recursive: true, force: true });
      return how;
    },
    ended,
  };
}

/** Process ids of the engines that listen on a socket, which is the test's own. */
export function enginesOn(socket: string): readonly number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
        return words[0]!.endsWith('calico-p4-engine') && words.includes(socket);
      } catch {
        return false;
      }
    })
    .map(Number);
}

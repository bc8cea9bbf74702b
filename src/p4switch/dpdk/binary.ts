import { spawn } from 'node:child_process';
import { accessSync, constants, existsSync, mkdirSync, openSync, closeSync } from 'node:fs';
import path from 'node:path';
import { CalicoP4Error } from '../../errors';

/** The root of this package: the folder of package.json above this file, compiled or not. */
function packageRoot(): string {
  let folder = __dirname;
  while (!existsSync(path.join(folder, 'package.json')) && folder !== path.dirname(folder))
    folder = path.dirname(folder);
  return folder;
}

/** Where `make engine` puts the engine, or CALICO_P4_ENGINE; undefined when it is not there. */
export function findEngineBinary(): string | undefined {
  const file =
    process.env['CALICO_P4_ENGINE'] ?? path.join(packageRoot(), 'native', 'build', 'calico-p4-engine');
  try {
    accessSync(file, constants.X_OK);
    return file;
  } catch {
    return undefined;
  }
}

export interface EngineProcess {
  readonly pid: number;
  /** Resolves with words for the log when it ended. */
  readonly ended: Promise<string>;
}

/**
 * Starts the engine so that it outlives this process. Its output goes to `logFile`.
 *
 * @throws CalicoP4Error TARGET_UNREACHABLE
 */
export function spawnEngine(
  binary: string,
  socket: string,
  options: readonly string[],
  logFile: string,
): EngineProcess {
  mkdirSync(path.dirname(socket), { recursive: true, mode: 0o700 });
  const log = openSync(logFile, 'a', 0o600);
  try {
    const child = spawn(binary, ['--socket', socket, ...options], {
      detached: true,
      stdio: ['ignore', log, log],
    });
    const ended = new Promise<string>((resolve) => {
      child.once('error', (error) => {
        resolve(error.message);
      });
      child.once('exit', (code, signal) => {
        resolve(signal === null ? `exit status ${String(code)}` : signal);
      });
    });
    child.unref();
    if (child.pid === undefined)
      throw new CalicoP4Error('TARGET_UNREACHABLE', `the engine ${binary} can not be started`);
    return { pid: child.pid, ended };
  } finally {
    closeSync(log);
  }
}

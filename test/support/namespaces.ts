/** Network namespaces of a test, with names of its own, removed at its end. */
import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';

/** Why there can be none here; undefined: there can. */
export function whyNoNamespaces(): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root';
  for (const [program, args] of [
    ['ip', ['-V']],
    ['nft', ['--version']],
    ['sysctl', ['--version']],
  ] as const) {
    if (spawnSync(program, args).status !== 0) return `needs ${program}`;
  }
  if (spawnSync('unshare', ['-n', 'nft', 'list', 'ruleset']).status !== 0)
    return 'needs network namespaces and nftables in the kernel';
  return undefined;
}

export interface Namespaces {
  /** The whole name of one, for `ip netns exec`. */
  name(short: string): string;
  /** Runs `ip` in it; throws what it complains of. */
  ip(short: string, words: string): string;
  /** Runs a program in it; its output, also when it fails. */
  run(short: string, program: string, args: readonly string[], input?: string): string;
  remove(): void;
}

export function makeNamespaces(...shorts: readonly string[]): Namespaces {
  const id = randomBytes(3).toString('hex');
  const name = (short: string): string => `hn${id}-${short}`;
  const made: string[] = [];
  const remove = (): void => {
    for (const one of made.splice(0)) spawnSync('ip', ['netns', 'del', one]);
  };
  try {
    for (const short of shorts) {
      execFileSync('ip', ['netns', 'add', name(short)]);
      made.push(name(short));
      execFileSync('ip', ['-n', name(short), 'link', 'set', 'lo', 'up']);
    }
  } catch (error) {
    remove();
    throw error;
  }
  return {
    name,
    ip: (short, words) =>
      execFileSync('ip', ['-n', name(short), ...words.split(' ')], { encoding: 'utf8', stdio: 'pipe' }),
    run: (short, program, args, input) => {
      const { stdout, stderr } = spawnSync('ip', ['netns', 'exec', name(short), program, ...args], {
        encoding: 'utf8',
        timeout: 10_000,
        ...(input === undefined ? {} : { input }),
      });
      return `${stdout}${stderr}`;
    },
    remove,
  };
}

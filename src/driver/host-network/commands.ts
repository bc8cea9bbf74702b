/** Runs the tools of the host's network, `ip`, `nft` and `sysctl`: each with its arguments as they are, never through a shell. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { CalicoP4Error } from '../../errors';

export interface Commands {
  /** What it wrote to its standard output. @throws CalicoP4Error HOST_NETWORK_FAILED with what it complained of */
  run(program: string, args: readonly string[], input?: string): Promise<string>;
  /** Tells each line of a program that goes on; starts it again when it ends. Returns what stops it. */
  follow(program: string, args: readonly string[], onLine: (line: string) => void): () => void;
}

/** Milliseconds after which one that does not come to an end is ended. */
const TIMEOUT = 10_000;
/** Milliseconds until a program that is followed, and has ended, is started again. */
const AGAIN = 1000;

/** @param prefix what to start them with, for example `ip netns exec NAME` */
export function createCommands(prefix: readonly string[] = []): Commands {
  const line = (program: string, args: readonly string[]): readonly [string, readonly string[]] => {
    const [first, ...rest] = [...prefix, program, ...args] as [string, ...string[]];
    return [first, rest];
  };
  return {
    run(program, args, input) {
      return new Promise((resolve, reject) => {
        const child = spawn(...line(program, args), { stdio: ['pipe', 'pipe', 'pipe'], timeout: TIMEOUT });
        const out: Buffer[] = [];
        const err: Buffer[] = [];
        child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
        child.stderr.on('data', (chunk: Buffer) => err.push(chunk));
        const failed = (why: string, cause?: Error): void => {
          const what = [program, ...args].join(' ');
          reject(
            new CalicoP4Error(
              'HOST_NETWORK_FAILED',
              `the host's network: \`${what}\` failed: ${why}`,
              { program },
              cause === undefined ? {} : { cause },
            ),
          );
        };
        child.on('error', (error) => {
          failed(`${error.message}: install iproute2, nftables and procps, and run as root`, error);
        });
        // One that does not read what it is given says why when it ends.
        child.stdin.on('error', () => undefined);
        child.on('close', (code, signal) => {
          if (code === 0) resolve(Buffer.concat(out).toString());
          else {
            const said = Buffer.concat(err).toString().trim().split('\n').slice(0, 3).join('; ');
            failed(said === '' ? `exit code ${code ?? 'none'} ${signal ?? ''}` : said);
          }
        });
        child.stdin.end(input ?? '');
      });
    },
    follow(program, args, onLine) {
      let stopped = false;
      let again: NodeJS.Timeout | undefined;
      let end = (): void => undefined;
      const start = (): void => {
        const child = spawn(...line(program, args), { stdio: ['ignore', 'pipe', 'ignore'] });
        createInterface({ input: child.stdout }).on('line', onLine);
        let ended = false;
        const over = (): void => {
          if (ended) return;
          ended = true;
          // What happened meanwhile was not told.
          if (stopped) return;
          again = setTimeout(() => {
            start();
            onLine('');
          }, AGAIN);
          again.unref();
        };
        child.on('error', over);
        child.on('close', over);
        end = () => child.kill();
      };
      start();
      return () => {
        stopped = true;
        clearTimeout(again);
        end();
      };
    },
  };
}

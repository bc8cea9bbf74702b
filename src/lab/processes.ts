/** Processes of a lab: found, told apart from those of others, and ended. */
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** Milliseconds that a process has to end by itself. */
const GRACE = 4000;

/** When a process started, in ticks since the machine did; undefined when there is none (or a dead one that nobody has waited for). */
export function startTime(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name in parentheses may contain anything.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

/** Processes whose arguments contain these, one after the other. */
export function processesWith(args: readonly string[]): number[] {
  const wanted = `\0${args.join('\0')}\0`;
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .map(Number)
    .filter((pid) => {
      try {
        return `\0${readFileSync(`/proc/${pid}/cmdline`, 'utf8')}`.includes(wanted);
      } catch {
        return false;
      }
    });
}

/** SIGTERM, and SIGKILL to those that are still there after a while. Returns when they are gone. */
export async function endProcesses(pids: readonly number[]): Promise<void> {
  const running = new Map(pids.map((pid) => [pid, startTime(pid)]));
  const left = (): number[] =>
    [...running].flatMap(([pid, started]) =>
      started !== undefined && startTime(pid) === started ? [pid] : [],
    );
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    for (const pid of left()) signalTo(pid, signal);
    for (let waited = 0; left().length > 0 && waited < GRACE; waited += 20) await sleep(20);
  }
}

function signalTo(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It ended meanwhile.
  }
}

/** Keeps the names file up to date, not more often than people can look. */
import type { Logger } from '../log';
import { writeNames, type TargetNames } from './names';

export interface NamesFile {
  /** The file is written at once if the last time is long enough ago, or when it is. */
  change(names: () => TargetNames): void;
  /** Writes what is still to be written. */
  close(): void;
}

/** Milliseconds between two writes. */
const PAUSE = 1000;

/** An empty path keeps nothing. When the file can not be written, that is said once, and the driver goes on. */
export function createNamesFile(path: string, log: Logger): NamesFile {
  let failed = path === '';
  let waiting: (() => TargetNames) | undefined;
  let timer: NodeJS.Timeout | undefined;

  const write = (): void => {
    timer = undefined;
    if (waiting === undefined || failed) return;
    const names = waiting();
    waiting = undefined;
    try {
      writeNames(path, names);
    } catch (error) {
      failed = true;
      log.warn('can not write the names file; `tables` and `trace` will show numbers', {
        path,
        reason: error instanceof Error ? error.message : String(error),
      });
    }
    timer = setTimeout(write, PAUSE);
    timer.unref();
  };

  return {
    change(names) {
      waiting = names;
      if (timer === undefined) write();
    },
    close() {
      clearTimeout(timer);
      write();
      clearTimeout(timer);
    },
  };
}

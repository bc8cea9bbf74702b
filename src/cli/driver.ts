import { stringify } from 'yaml';
import { loadConfig } from '../driver/config';
import { growHeapSlowly } from '../driver/heap';
import { runNodeDriver } from '../driver/run';
import { setLogLevel } from '../log';

export interface DriverOptions {
  readonly config?: string;
  readonly printConfig?: boolean;
}

/** `calico-p4 driver`: runs until Felix goes away, which is an error, or SIGTERM, which is not. */
export async function runDriver(options: DriverOptions, print: (line: string) => void): Promise<void> {
  const config = loadConfig(process.env, options.config);
  if (options.printConfig === true) {
    print(stringify(config).trimEnd());
    return;
  }
  setLogLevel(config.logLevel);
  growHeapSlowly();
  await runNodeDriver(config);
}

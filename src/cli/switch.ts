import { CalicoP4Error } from '../errors';
import { startInterpreter } from './embedded';
import { untilSignal } from './signals';

export interface SwitchOptions {
  readonly listen: string;
  readonly deviceId: string;
}

/** `calico-p4 switch`: runs until SIGTERM or SIGINT. Its tables live as long as it does. */
export async function runSwitch(options: SwitchOptions, print: (line: string) => void): Promise<void> {
  const server = await startInterpreter(options.listen, parseDeviceId(options.deviceId));
  print(`embedded switch: P4Runtime at ${server.address}, device id ${options.deviceId}, interpreter`);
  await untilSignal();
  await server.stop();
}

export function parseDeviceId(text: string): number {
  const id = /^\d{1,15}$/.test(text) ? Number(text) : 0;
  if (id > 0) return id;
  throw new CalicoP4Error('USAGE', `--device-id ${text}: give a number greater than 0`);
}

import { readFileSync } from 'node:fs';
import { CalicoP4Error } from '../errors';
import type { SwitchTls } from '../p4switch/server/server';
import { startInterpreter } from './embedded';
import { untilSignal } from './signals';

export interface SwitchOptions {
  readonly listen: string;
  readonly deviceId: string;
  /** Paths of PEM files. */
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly tlsClientCa?: string;
  /** Behave as infrap4d does. */
  readonly strict?: boolean;
}

/** `calico-p4 switch`: runs until SIGTERM or SIGINT. Its tables live as long as it does. */
export async function runSwitch(options: SwitchOptions, print: (line: string) => void): Promise<void> {
  const tls = readTls(options);
  const server = await startInterpreter(options.listen, parseDeviceId(options.deviceId), {
    ...(tls === undefined ? {} : { tls }),
    behaviour: options.strict === true ? 'infrap4d' : 'specification',
  });
  const like = options.strict === true ? ', behaves as infrap4d (target.kind p4-dpdk)' : '';
  print(`embedded switch: P4Runtime at ${server.address}, device id ${options.deviceId}, interpreter${like}`);
  await untilSignal();
  await server.stop();
}

function readTls({ tlsCert, tlsKey, tlsClientCa }: SwitchOptions): SwitchTls | undefined {
  if (tlsCert === undefined && tlsKey === undefined && tlsClientCa === undefined) return undefined;
  if (tlsCert === undefined || tlsKey === undefined)
    throw new CalicoP4Error('USAGE', 'TLS needs both --tls-cert and --tls-key');
  return {
    cert: pem('--tls-cert', tlsCert),
    key: pem('--tls-key', tlsKey),
    ...(tlsClientCa === undefined ? {} : { clientCa: pem('--tls-client-ca', tlsClientCa) }),
  };
}

function pem(option: string, file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new CalicoP4Error('USAGE', `${option}: can not read ${file} (${why})`, { file }, { cause });
  }
}

export function parseDeviceId(text: string): number {
  const id = /^\d{1,15}$/.test(text) ? Number(text) : 0;
  if (id > 0) return id;
  throw new CalicoP4Error('USAGE', `--device-id ${text}: give a number greater than 0`);
}

import { readFileSync } from 'node:fs';
import { CalicoP4Error } from '../errors';
import type { SwitchTls } from '../p4switch/server/server';
import { findEngineBinary } from '../p4switch/dpdk/binary';
import { startEngineNode } from '../p4switch/dpdk/node';
import { parsePort } from '../p4switch/dpdk/ports';
import { startDpdkSwitch } from '../p4switch/dpdk/switch';
import type { BehaviourName } from '../p4switch/server/behaviour';
import type { SwitchServer } from '../p4switch/server/server';
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
  /** dpdk, interpreter, or auto: dpdk where the engine was built and the user is root. */
  readonly engine: string;
  readonly engineSocket: string;
  /** Further arguments of the native engine. */
  readonly engineOption: readonly string[];
  /** End the native engine with the switch; else packets go on without it. */
  readonly endEngine?: boolean;
  /** Ports of the native engine; see parsePort. */
  readonly port: readonly string[];
}

/**
 * `calico-p4 switch`: runs until SIGTERM or SIGINT. The interpreter's tables live as long as it does; the native engine
 * goes on with its own, and the next switch finds them there.
 */
export async function runSwitch(options: SwitchOptions, print: (line: string) => void): Promise<void> {
  const tls = readTls(options);
  const deviceId = parseDeviceId(options.deviceId);
  const behaviour: BehaviourName = options.strict === true ? 'infrap4d' : 'specification';
  const serving = { behaviour, ...(tls === undefined ? {} : { tls }) };
  const choice = chooseEngine(options.engine, process.geteuid?.() === 0, findEngineBinary());
  const like = options.strict === true ? ', behaves as infrap4d (target.kind p4-dpdk)' : '';
  const says = (server: SwitchServer, engine: string): void => {
    print(`embedded switch: P4Runtime at ${server.address}, device id ${options.deviceId}, ${engine}${like}`);
  };
  if (choice.engine === 'interpreter') {
    if (options.port.length > 0)
      throw new CalicoP4Error(
        'USAGE',
        `--port is for the native engine, not for the interpreter (${choice.why})`,
      );
    const server = await startInterpreter(options.listen, deviceId, serving);
    says(server, `interpreter (${choice.why})`);
    await untilSignal();
    await server.stop();
    return;
  }
  const ports = options.port.map(parsePort);
  const { binary } = choice;
  const { engineSocket: socket, engineOption } = options;
  const node = await startEngineNode({ socket, binary, arguments: engineOption });
  try {
    const more = { address: options.listen, deviceId: BigInt(deviceId), ...serving };
    const server = await startDpdkSwitch(more, node);
    for (const { port, spec } of ports) await node.attach(port, spec);
    says(server, `native engine at ${socket} (${choice.why})`);
    await untilSignal();
    await server.stop();
  } finally {
    await node.stop(options.endEngine === true ? 'quit' : 'leave');
  }
}

type EngineChoice =
  | { readonly engine: 'interpreter'; readonly why: string }
  | { readonly engine: 'dpdk'; readonly binary: string; readonly why: string };

/** @throws CalicoP4Error USAGE when what was asked for can not be had */
export function chooseEngine(asked: string, isRoot: boolean, binary: string | undefined): EngineChoice {
  const missing =
    binary === undefined
      ? 'the native engine is not built: make engine'
      : isRoot
        ? undefined
        : 'the native engine needs root';
  switch (asked) {
    case 'interpreter':
      return { engine: 'interpreter', why: 'as asked' };
    case 'dpdk':
      if (missing !== undefined) throw new CalicoP4Error('USAGE', `--engine dpdk: ${missing}`);
      return { engine: 'dpdk', binary: binary!, why: 'as asked' };
    case 'auto':
      if (missing !== undefined) return { engine: 'interpreter', why: missing };
      return { engine: 'dpdk', binary: binary!, why: 'it is built, and the user is root' };
    default:
      throw new CalicoP4Error('USAGE', `--engine ${asked}: give dpdk, interpreter or auto`);
  }
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

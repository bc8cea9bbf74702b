import { chmodSync, rmSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { P4RuntimeService } from 'p4runtime-js-bindings';
import { CalicoP4Error } from '../../errors';
import { logger } from '../../log';
import type { Engine } from '../engine';
import { Arbitration } from './arbitration';
import { behaviour, type BehaviourName } from './behaviour';
import { type CreateEngine, Device, type FoundPipeline } from './device';
import { p4runtimeService } from './service';

export interface SwitchServerOptions {
  /** `unix:/path`, or `host:port` (port 0: any free one). A unix socket is for its owner only (mode 0600). */
  readonly address: string;
  /** Not 0: P4Runtime keeps that for "unset". */
  readonly deviceId: bigint;
  /** Makes what executes a pipeline, at each pipeline config that is set. */
  readonly createEngine: CreateEngine;
  /** What an engine in another process runs already. */
  readonly found?: FoundPipeline;
  /** TLS, in PEM form; without it connections are not encrypted. */
  readonly tls?: SwitchTls;
  /** What it does; the specification's unless told. */
  readonly behaviour?: BehaviourName;
  /** Controllers connected at a time; 20 unless told. */
  readonly maxStreams?: number;
}

export interface SwitchTls {
  readonly cert: Buffer;
  readonly key: Buffer;
  /** Controllers must show a certificate of one of these authorities. */
  readonly clientCa?: Buffer;
}

export interface SwitchServer {
  /** As a client dials it, with the port that was chosen. */
  readonly address: string;
  /** What packets go through now; undefined until a pipeline config was committed, and another one after each. */
  engine(): Engine | undefined;
  /** Ends all calls and frees the address. */
  stop(): Promise<void>;
}

/** As large as a Write or a pipeline config may be. */
const MAX_RECEIVE_BYTES = 64 * 1024 * 1024;
const DEFAULT_MAX_STREAMS = 20;

/** Starts the P4Runtime server of the embedded switch. Throws TARGET_UNREACHABLE when it can not listen. */
export async function startSwitchServer(options: SwitchServerOptions): Promise<SwitchServer> {
  if (options.deviceId <= 0n)
    throw new CalicoP4Error('CONFIG_INVALID', 'the device id of a switch must be above 0');
  const does = behaviour(options.behaviour ?? 'specification');
  const device = new Device(options.createEngine, does);
  if (options.found !== undefined) await adopt(device, options.found);
  const arbitration = new Arbitration(options.deviceId, does);
  const server = new Server({
    'grpc.max_receive_message_length': MAX_RECEIVE_BYTES,
    'grpc.max_send_message_length': -1,
  });
  server.addService(
    P4RuntimeService,
    p4runtimeService(device, arbitration, options.maxStreams ?? DEFAULT_MAX_STREAMS),
  );
  const address = await listen(server, options.address, credentials(options.tls));
  logger('switch').debug('P4Runtime server listens', { address, deviceId: String(options.deviceId) });
  return {
    address,
    engine: () => device.engine(),
    stop() {
      server.forceShutdown();
      const path = socketPath(options.address);
      if (path !== undefined) rmSync(path, { force: true });
      return Promise.resolve();
    },
  };
}

/** A program that this release does not understand goes on as it is, until a controller sets another one. */
async function adopt(device: Device, found: FoundPipeline): Promise<void> {
  try {
    await device.adopt(found);
  } catch (error) {
    if (error instanceof CalicoP4Error && error.code === 'TARGET_UNREACHABLE') throw error;
    logger('switch').warn(
      'the running program can not be taken over; packets go on with it until a pipeline is set',
      {
        why: error instanceof Error ? error.message : String(error),
      },
    );
  }
}

function credentials(tls: SwitchTls | undefined): ServerCredentials {
  if (tls === undefined) return ServerCredentials.createInsecure();
  const pair = { cert_chain: tls.cert, private_key: tls.key };
  return ServerCredentials.createSsl(tls.clientCa ?? null, [pair], tls.clientCa !== undefined);
}

function socketPath(address: string): string | undefined {
  return address.startsWith('unix:') ? address.slice('unix:'.length).replace(/^\/\/(?=\/)/, '') : undefined;
}

async function listen(server: Server, address: string, secured: ServerCredentials): Promise<string> {
  const path = socketPath(address);
  if (path !== undefined) await removeStaleSocket(path);
  // The socket is made with the umask's mode: nobody else may connect before chmod.
  const umask = path === undefined ? undefined : process.umask(0o177);
  try {
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync(address, secured, (error, bound) => {
        if (error) reject(error);
        else resolve(bound);
      });
    });
    if (path !== undefined) {
      chmodSync(path, 0o600);
      return address;
    }
    return address.replace(/:\d+$/, `:${port}`);
  } catch (error) {
    throw new CalicoP4Error(
      'TARGET_UNREACHABLE',
      `can not listen on ${address}: ${error instanceof Error ? error.message : String(error)}; choose another address`,
      { address },
      { cause: error },
    );
  } finally {
    if (umask !== undefined) process.umask(umask);
  }
}

/** A socket that a killed switch left behind would keep the new one from listening; one in use is left alone. */
async function removeStaleSocket(path: string): Promise<void> {
  if (!statSync(path, { throwIfNoEntry: false })?.isSocket()) return;
  const inUse = await new Promise<boolean>((resolve) => {
    const probe = connect(path);
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', () => {
      resolve(false);
    });
  });
  if (!inUse) rmSync(path);
}

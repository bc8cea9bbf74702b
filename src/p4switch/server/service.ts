import { once } from 'node:events';
import type { sendUnaryData, ServerDuplexStream, ServerWritableStream } from '@grpc/grpc-js';
import { status } from '@grpc/grpc-js';
import type {
  Entity,
  P4RuntimeServer,
  ReadRequest,
  ReadResponse,
  StreamError,
  StreamMessageRequest,
  StreamMessageResponse,
} from 'p4runtime-js-bindings';
import { type Arbitration, type Controller } from './arbitration';
import type { Device } from './device';
import { selectEntities } from './read';
import { invalid, Refusal, refusalOf } from './refusal';
import { batchError, rpcError, type RpcError } from './rpc-status';
import { refreshForReads, refreshForUpdates } from './refresh';
import { writeBatch } from './write';

/** The version of the specification that the server follows. */
export const P4RUNTIME_VERSION = '1.5.0';

const ENTITIES_PER_MESSAGE = 1000;

/** The RPCs of P4Runtime over one device. `maxStreams` bounds the controllers that are connected at a time. */
export function p4runtimeService(
  device: Device,
  arbitration: Arbitration,
  maxStreams: number,
): P4RuntimeServer {
  let streams = 0;
  const inTurn = turns();
  return {
    write(call, callback) {
      void answer(callback, () =>
        inTurn(async () => {
          arbitration.checkPrimary(call.request);
          const pipeline = device.pipeline();
          await refreshForUpdates(pipeline, call.request.updates);
          const error = batchError('write', await writeBatch(pipeline, call.request));
          if (error) throw new BatchFailure(error);
          return {};
        }),
      );
    },

    read(call) {
      void streamEntities(device, arbitration, inTurn, call);
    },

    setForwardingPipelineConfig(call, callback) {
      void answer(callback, () =>
        inTurn(async () => {
          arbitration.checkPrimary(call.request);
          await device.setConfig(call.request);
          return {};
        }),
      );
    },

    getForwardingPipelineConfig(call, callback) {
      void answer(callback, () => {
        arbitration.checkDevice(call.request.deviceId);
        return { config: device.config(call.request.responseType) };
      });
    },

    capabilities(call, callback) {
      void answer(callback, () => {
        if (call.request.deviceId !== 0n) arbitration.checkDevice(call.request.deviceId);
        return { p4runtimeApiVersion: P4RUNTIME_VERSION, experimental: undefined };
      });
    },

    streamChannel(call) {
      if (streams >= maxStreams) {
        end(
          call,
          new Refusal(status.RESOURCE_EXHAUSTED, `this switch serves ${maxStreams} streams, all in use`),
        );
        return;
      }
      streams++;
      serveController(arbitration, call, () => streams--);
    },
  };
}

/** Carries a batch's status, with its details, through `answer`. */
class BatchFailure extends Error {
  constructor(readonly rpc: RpcError) {
    super(rpc.details);
  }
}

type InTurn = <T>(work: () => Promise<T>) => Promise<T>;

/** Runs one piece of work after the other: a Write may wait for another process, and the next must see what it did. */
function turns(): InTurn {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => {
    const mine = last.then(work);
    last = mine.catch(() => undefined);
    return mine;
  };
}

async function answer<T>(callback: sendUnaryData<T>, work: () => T | Promise<T>): Promise<void> {
  let result: T;
  try {
    result = await work();
  } catch (error) {
    callback(toRpcError(error));
    return;
  }
  callback(null, result);
}

function toRpcError(error: unknown): RpcError {
  return error instanceof BatchFailure ? error.rpc : rpcError(refusalOf(error));
}

async function streamEntities(
  device: Device,
  arbitration: Arbitration,
  inTurn: InTurn,
  call: ServerWritableStream<ReadRequest, ReadResponse>,
): Promise<void> {
  const cancelled = once(call, 'cancelled').then(
    () => undefined,
    () => undefined,
  );
  try {
    arbitration.checkDevice(call.request.deviceId);
    const { selected, outcomes } = await inTurn(async () => {
      const pipeline = device.pipeline();
      await refreshForReads(pipeline, call.request.entities);
      return selectEntities(pipeline, call.request);
    });
    for (const part of selected) {
      for (const entities of chunks(part)) {
        if (call.cancelled) return;
        if (!call.write({ entities })) await Promise.race([once(call, 'drain'), cancelled]);
      }
    }
    const error = batchError('read', outcomes);
    if (error) throw new BatchFailure(error);
    call.end();
  } catch (error) {
    if (!call.cancelled) call.emit('error', toRpcError(error));
  }
}

function* chunks(entities: Iterable<Entity>): Iterable<Entity[]> {
  let chunk: Entity[] = [];
  for (const entity of entities) {
    chunk.push(entity);
    if (chunk.length < ENTITIES_PER_MESSAGE) continue;
    yield chunk;
    chunk = [];
  }
  if (chunk.length > 0) yield chunk;
}

type Stream = ServerDuplexStream<StreamMessageRequest, StreamMessageResponse>;

function end(call: Stream, refusal: Refusal): void {
  call.emit('error', rpcError(refusal));
}

function serveController(arbitration: Arbitration, call: Stream, left: () => void): void {
  let gone = false;
  const controller: Controller = {
    notify(value) {
      if (!gone && !call.cancelled) call.write({ update: { $case: 'arbitration', value } });
    },
  };
  const leave = (): void => {
    if (gone) return;
    gone = true;
    arbitration.leave(controller);
    left();
  };
  call.on('data', (request: StreamMessageRequest) => {
    if (gone) return;
    try {
      handleStreamMessage(arbitration, controller, request, call);
    } catch (error) {
      leave();
      end(call, refusalOf(error));
    }
  });
  call.on('end', () => {
    leave();
    call.end();
  });
  call.on('cancelled', leave);
  call.on('error', leave);
  call.on('close', leave);
}

/** A refused arbitration ends the stream; anything else that goes wrong is a StreamError on it. */
function handleStreamMessage(
  arbitration: Arbitration,
  controller: Controller,
  { update }: StreamMessageRequest,
  call: Stream,
): void {
  if (!update) throw invalid('a stream message has no content that this server knows');
  if (update.$case === 'arbitration') {
    arbitration.update(controller, update.value);
    return;
  }
  call.write({ update: { $case: 'error', value: streamError(arbitration.isPrimary(controller), update) } });
}

type OtherMessage = Exclude<NonNullable<StreamMessageRequest['update']>, { $case: 'arbitration' }>;

/** Pipelines of this switch exchange no packets and no digests with controllers. */
function streamError(isPrimary: boolean, update: OtherMessage): StreamError {
  const denied = update.$case === 'packet' && !isPrimary;
  const details = ((): StreamError['details'] => {
    switch (update.$case) {
      case 'packet':
        return { $case: 'packetOut', value: { packetOut: undefined } };
      case 'digestAck':
        return { $case: 'digestListAck', value: { digestListAck: update.value } };
      case 'other':
        return { $case: 'other', value: { other: update.value } };
    }
  })();
  return {
    canonicalCode: denied ? status.PERMISSION_DENIED : status.UNIMPLEMENTED,
    message: denied ? 'only the primary sends packets' : `this switch does not take ${update.$case}`,
    space: '',
    code: 0,
    details,
  };
}

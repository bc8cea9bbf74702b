import { credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import {
  type Entity,
  Error as P4Error,
  type MasterArbitrationUpdate,
  type P4Info,
  P4RuntimeClient,
  ReadRequest,
  SetForwardingPipelineConfigRequest,
  SetForwardingPipelineConfigRequest_Action as Action,
  Status,
  StreamMessageRequest,
  type StreamMessageResponse,
  type Uint128,
  Update_Type,
  WriteRequest,
  WriteRequest_Atomicity as Atomicity,
} from 'p4runtime-js-bindings';

export { Action, Atomicity, Update_Type };
export const DEVICE = 7n;

export function uint128(n: bigint): Uint128 {
  return { high: n >> 64n, low: n & 0xffff_ffff_ffff_ffffn };
}

/** One end of a StreamChannel: what came in, in order, and how it ended. */
export class Channel {
  private readonly inbox: StreamMessageResponse[] = [];
  private readonly waiting: ((m: StreamMessageResponse) => void)[] = [];
  readonly ended: Promise<status>;
  private readonly call;

  constructor(client: P4RuntimeClient) {
    this.call = client.streamChannel();
    this.call.on('data', (m: StreamMessageResponse) => {
      const waiter = this.waiting.shift();
      if (waiter) waiter(m);
      else this.inbox.push(m);
    });
    this.call.on('error', () => undefined);
    this.ended = new Promise((resolve) =>
      this.call.on('status', (s) => {
        resolve(s.code);
      }),
    );
  }

  send(message: Parameters<typeof StreamMessageRequest.fromPartial>[0]): void {
    this.call.write(StreamMessageRequest.fromPartial(message));
  }

  arbitrate(
    electionId: bigint | undefined,
    more: { deviceId?: bigint; role?: string; config?: boolean } = {},
  ): void {
    const role =
      more.role !== undefined || more.config
        ? { name: more.role ?? '', config: more.config ? { typeUrl: 'x' } : undefined }
        : undefined;
    this.send({
      update: {
        $case: 'arbitration',
        value: {
          deviceId: more.deviceId ?? DEVICE,
          ...(electionId === undefined ? {} : { electionId: uint128(electionId) }),
          ...(role ? { role } : {}),
        },
      },
    });
  }

  next(): Promise<StreamMessageResponse> {
    const message = this.inbox.shift();
    return message ? Promise.resolve(message) : new Promise((resolve) => this.waiting.push(resolve));
  }

  async nextArbitration(): Promise<MasterArbitrationUpdate> {
    const { update } = await this.next();
    if (update?.$case !== 'arbitration') throw new Error(`not an arbitration: ${update?.$case}`);
    return update.value;
  }

  /** [status, highest election id] of the next arbitration message, as text. */
  async verdict(): Promise<string> {
    const m = await this.nextArbitration();
    const id = m.electionId && (m.electionId.high << 64n) + m.electionId.low;
    return `${status[m.status!.code]} ${id}`;
  }

  get pending(): number {
    return this.inbox.length;
  }

  close(): void {
    this.call.end();
  }
  cancel(): void {
    this.call.cancel();
  }
}

/** What a failed RPC told: its code, and for batches the code of each member. */
export interface Failure {
  readonly code: string;
  readonly message: string;
  readonly each: readonly string[];
  readonly eachMessage: readonly string[];
}

function failure(error: ServiceError): Failure {
  const [bin] = error.metadata.get('grpc-status-details-bin');
  const details = bin ? Status.decode(bin as Buffer).details.map((d) => P4Error.decode(d.value)) : [];
  return {
    code: status[error.code],
    message: error.details,
    each: details.map((d) => status[d.canonicalCode]!),
    eachMessage: details.map((d) => d.message),
  };
}

export function isFailure(result: object): result is Failure {
  return 'code' in result;
}

/** A P4Runtime controller for tests, over a real connection. */
export class TestController {
  readonly client: P4RuntimeClient;
  electionId: bigint | undefined;
  role = '';

  constructor(address: string) {
    this.client = new P4RuntimeClient(address, credentials.createInsecure(), {
      'grpc.max_receive_message_length': -1,
      'grpc.use_local_subchannel_pool': 1,
    });
  }

  /** Opens a channel and becomes primary. */
  async primary(electionId = 1n): Promise<Channel> {
    const channel = new Channel(this.client);
    channel.arbitrate(electionId);
    await channel.nextArbitration();
    this.electionId = electionId;
    return channel;
  }

  private unary<T>(
    start: (done: (error: ServiceError | null, value: T) => void) => unknown,
  ): Promise<T | Failure> {
    return new Promise((resolve) => {
      start((error, value) => {
        resolve(error ? failure(error) : value);
      });
    });
  }

  private sender(): { deviceId: bigint; role: string; electionId?: Uint128 } {
    return {
      deviceId: DEVICE,
      role: this.role,
      ...(this.electionId === undefined ? {} : { electionId: uint128(this.electionId) }),
    };
  }

  setPipeline(
    p4info: P4Info | undefined,
    deviceConfig: string,
    action = Action.VERIFY_AND_COMMIT,
    cookie?: bigint,
  ) {
    const config =
      p4info || deviceConfig
        ? {
            p4info,
            p4DeviceConfig: Buffer.from(deviceConfig),
            ...(cookie === undefined ? {} : { cookie: { cookie } }),
          }
        : undefined;
    return this.unary<object>((done) =>
      this.client.setForwardingPipelineConfig(
        SetForwardingPipelineConfigRequest.fromPartial({ ...this.sender(), action, config }),
        done,
      ),
    );
  }

  write(
    updates: readonly (readonly [Update_Type, PartialEntity])[],
    more: Parameters<typeof WriteRequest.fromPartial>[0] = {},
  ) {
    return this.unary<object>((done) =>
      this.client.write(
        WriteRequest.fromPartial({
          ...this.sender(),
          updates: updates.map(([type, entity]) => ({ type, entity: { entity } })),
          ...more,
        }),
        done,
      ),
    );
  }

  /** "OK", or the code of the one update's failure. */
  async outcome(type: Update_Type, entity: PartialEntity): Promise<string> {
    const result = await this.write([[type, entity]]);
    if (!isFailure(result)) return 'OK';
    return result.code === 'UNKNOWN' ? result.each[0]! : `rpc ${result.code}`;
  }

  /** The entities, their number in each message, and the failure that ended the stream, if one did. */
  read(
    entities: readonly PartialEntity[],
    deviceId = DEVICE,
  ): Promise<{ entities: Entity[]; chunks: number[]; failure?: Failure }> {
    const call = this.client.read(
      ReadRequest.fromPartial({ deviceId, entities: entities.map((entity) => ({ entity })) }),
      new Metadata(),
    );
    const all: Entity[] = [];
    const chunks: number[] = [];
    return new Promise((resolve) => {
      call.on('data', (r: { entities: Entity[] }) => {
        all.push(...r.entities);
        chunks.push(r.entities.length);
      });
      call.on('end', () => {
        resolve({ entities: all, chunks });
      });
      call.on('error', (e: ServiceError) => {
        resolve({ entities: all, chunks, failure: failure(e) });
      });
    });
  }

  close(): void {
    this.client.close();
  }
}

type UpdateList = NonNullable<Parameters<typeof WriteRequest.fromPartial>[0]['updates']>;
export type PartialEntity = NonNullable<NonNullable<UpdateList[number]['entity']>['entity']>;

import { Metadata, status, type CallOptions, type ServiceError } from '@grpc/grpc-js';
import {
  GetForwardingPipelineConfigRequest_ResponseType as ResponseType,
  P4RuntimeClient,
  SetForwardingPipelineConfigRequest_Action as SetAction,
  type Entity,
  type GetForwardingPipelineConfigResponse,
  type MeterEntry,
  type ReadResponse,
  type TableEntry,
  Update,
  type WriteResponse,
} from 'p4runtime-js-bindings';
import { CalicoP4Error } from '../errors';
import { logger } from '../log';
import { becomePrimary, ElectionIdInUse, type Arbitration } from './arbitration';
import type { ClientOptions } from './client-options';
import { isCode, isServiceError, isUnavailable, targetError, updateOutcomes } from './grpc-errors';
import { pipelineCookie, type PipelineConfig } from './pipeline-config';
import { retried } from './retry';
import type { UpdateOutcome } from './row-target';
import { channelCredentials } from './target-address';
import { writeRequest, WRITE_METHOD } from './write-request';

const log = logger('p4runtime');

/**
 * A P4Runtime session. Writes are one at a time, in batches; each ends with what became of each update. When we are not
 * primary any more, every write throws, without asking the server.
 */
export class P4Client {
  readonly #options: ClientOptions;
  readonly #rpc: P4RuntimeClient;
  #arbitration: Arbitration | undefined;
  /** The last Write; the next one waits for it. */
  #writing: Promise<unknown> = Promise.resolve();

  private constructor(options: ClientOptions) {
    this.#options = options;
    const { security } = options;
    const serverName = security.kind === 'tls' ? security.serverName : undefined;
    this.#rpc = new P4RuntimeClient(options.address, channelCredentials(security), {
      // A Read of a large table comes in few, large messages.
      'grpc.max_receive_message_length': -1,
      'grpc.max_send_message_length': -1,
      // A server that comes back is found soon. Nothing is shared with an older session, whose certificates may be old.
      'grpc.initial_reconnect_backoff_ms': 200,
      'grpc.max_reconnect_backoff_ms': 2000,
      'grpc.use_local_subchannel_pool': 1,
      ...(serverName === undefined ? {} : { 'grpc.ssl_target_name_override': serverName }),
    });
  }

  /** A session that only reads: no arbitration, no writes. @throws CalicoP4Error TARGET_UNREACHABLE, CONFIG_INVALID */
  static async connectToRead(options: ClientOptions): Promise<P4Client> {
    const client = new P4Client(options);
    try {
      await client.#ready();
      return client;
    } catch (error) {
      client.close();
      throw error;
    }
  }

  /**
   * Connects and becomes primary.
   *
   * @throws CalicoP4Error TARGET_UNREACHABLE, TARGET_NOT_PRIMARY, CONFIG_INVALID
   */
  static async connect(options: ClientOptions): Promise<P4Client> {
    const client = await P4Client.connectToRead(options);
    const { deviceId, electionId, onLost, onWaiting, signal, timeouts, waitAsBackup } = options;
    const arbitrate = (): Promise<Arbitration> =>
      becomePrimary(client.#rpc.streamChannel(), {
        target: client.target,
        deviceId,
        electionId,
        timeout: waitAsBackup ? undefined : timeouts.connect,
        signal,
        onWaiting,
        onLost,
      });
    try {
      const until = Date.now() + timeouts.connect;
      const policy = { attempts: Infinity, firstDelay: 50, maxDelay: 1000, factor: 2 };
      const again = (error: unknown): boolean =>
        error instanceof ElectionIdInUse && Date.now() < until && signal?.aborted !== true;
      client.#arbitration = await retried(policy, again, arbitrate);
      return client;
    } catch (error) {
      client.close();
      throw error;
    }
  }

  /** Updates in one Write. */
  get maxBatch(): number {
    return this.#options.maxBatch;
  }

  /** For messages: the address. */
  get target(): string {
    return `P4Runtime target ${this.#options.address}`;
  }

  close(): void {
    this.#arbitration?.close();
    this.#rpc.close();
  }

  /**
   * Has the target run this pipeline. Setting it empties all tables, so it is left alone when it runs there already.
   *
   * @returns true when the pipeline was set, false when it ran already
   * @throws CalicoP4Error PIPELINE_MISMATCH when the target refuses it, TARGET_UNREACHABLE, TARGET_NOT_PRIMARY
   */
  async ensurePipeline(config: PipelineConfig): Promise<boolean> {
    const cookie = pipelineCookie(config);
    if ((await this.pipelineCookie()) === cookie) return false;
    this.#requirePrimary();
    const { deviceId, timeouts } = this.#options;
    const request = {
      deviceId,
      roleId: 0n,
      role: '',
      electionId: this.#arbitration?.electionId,
      action: SetAction.VERIFY_AND_COMMIT,
      config: { p4info: config.p4info, p4DeviceConfig: Buffer.from(config.deviceConfig), cookie: { cookie } },
    };
    try {
      await this.#call(timeouts.pipeline, (md, opts, done) =>
        this.#rpc.setForwardingPipelineConfig(request, md, opts, done),
      );
    } catch (error) {
      if (isServiceError(error) && error.code === status.INVALID_ARGUMENT) {
        throw new CalicoP4Error(
          'PIPELINE_MISMATCH',
          `${this.target} refuses the pipeline: ${error.details}; is it the right kind of target for it?`,
          {},
          { cause: error },
        );
      }
      throw targetError(this.target, 'set the pipeline', error);
    }
    log.info('pipeline set', { target: this.#options.address, cookie: cookie.toString(16) });
    return true;
  }

  /** The cookie of the pipeline that the target runs; undefined when it has none, or does not say. */
  async pipelineCookie(timeout = this.#options.timeouts.call): Promise<bigint | undefined> {
    const request = { deviceId: this.#options.deviceId, responseType: ResponseType.COOKIE_ONLY };
    const none: readonly number[] = [status.FAILED_PRECONDITION, status.NOT_FOUND, status.UNIMPLEMENTED];
    try {
      const response = await this.#call<GetForwardingPipelineConfigResponse>(timeout, (md, opts, done) =>
        this.#rpc.getForwardingPipelineConfig(request, md, opts, done),
      );
      return response.config?.cookie?.cookie;
    } catch (error) {
      if (isServiceError(error) && none.includes(error.code)) return undefined;
      throw targetError(this.target, 'ask for the pipeline', error);
    }
  }

  /**
   * Writes updates that are independent of each other.
   *
   * @param updates messages, or their bytes
   * @returns one outcome per update, in order
   * @throws CalicoP4Error TARGET_NOT_PRIMARY, TARGET_UNREACHABLE, TARGET_WRITE_FAILED: what became of the updates is
   * not known
   */
  write(updates: readonly (Update | Uint8Array)[]): Promise<UpdateOutcome[]> {
    const bytes = updates.map((u) => (u instanceof Uint8Array ? u : Update.encode(u).finish()));
    const result = this.#writing.then(() => this.#writeAll(bytes));
    this.#writing = result.catch(() => undefined);
    return result;
  }

  async #writeAll(updates: readonly Uint8Array[]): Promise<UpdateOutcome[]> {
    const outcomes: UpdateOutcome[] = [];
    for (let at = 0; at < updates.length; at += this.#options.maxBatch) {
      outcomes.push(...(await this.#writeBatch(updates.slice(at, at + this.#options.maxBatch))));
    }
    return outcomes;
  }

  /** Some servers stop at the first failure and answer ABORTED for the rest: those are sent again, without it. */
  async #writeBatch(batch: readonly Uint8Array[]): Promise<UpdateOutcome[]> {
    const outcomes = new Array<UpdateOutcome>(batch.length);
    let open = [...batch.keys()];
    while (open.length > 0) {
      const got = await this.#writeOnce(open.map((i) => batch[i]!));
      for (const [n, i] of open.entries()) outcomes[i] = got[n]!;
      const aborted = open.filter((_, n) => isAborted(got[n]!));
      // Every round must settle one at least, or the server aborts everything.
      if (aborted.length === open.length) break;
      open = aborted;
    }
    return outcomes;
  }

  async #writeOnce(updates: readonly Uint8Array[]): Promise<UpdateOutcome[]> {
    const { deviceId, timeouts, retry } = this.#options;
    const { path, serialize, deserialize } = WRITE_METHOD;
    const request = writeRequest({ deviceId, electionId: this.#arbitration?.electionId }, updates);
    const began = performance.now();
    const answered = (): void => {
      this.#options.onWrite((performance.now() - began) / 1000, updates.length);
    };
    try {
      // Trying again is safe: an insert that was done already answers ALREADY_EXISTS, a delete NOT_FOUND.
      await retried(retry, isUnavailable, () => {
        this.#requirePrimary();
        return this.#call<WriteResponse>(timeouts.call, (md, opts, done) =>
          this.#rpc.makeUnaryRequest(path, serialize, deserialize, request, md, opts, (e, r) => {
            done(e, r as WriteResponse);
          }),
        );
      });
      answered();
      return updates.map(() => DONE);
    } catch (error) {
      if (isServiceError(error) && !NOT_ANSWERED.includes(error.code)) answered();
      const outcomes = isServiceError(error) ? await this.#outcomes(error, updates) : undefined;
      if (outcomes) return outcomes;
      throw targetError(this.target, `write ${updates.length} updates`, error);
    }
  }

  /** Per-update outcomes of a failed Write. Where the server does not say, one update a Write tells. */
  async #outcomes(error: ServiceError, updates: readonly Uint8Array[]): Promise<UpdateOutcome[] | undefined> {
    const told = updateOutcomes(error, updates.length);
    if (told) return told;
    if (WHOLE_REQUEST.includes(error.code)) return undefined;
    if (updates.length === 1) return [{ ok: false, code: error.code, message: error.details }];
    const outcomes: UpdateOutcome[] = [];
    for (const update of updates) outcomes.push(...(await this.#writeOnce([update])));
    return outcomes;
  }

  /** All entries of a table. @throws CalicoP4Error TARGET_UNREACHABLE, TARGET_WRITE_FAILED */
  async readEntries(pattern: TableEntry, tableName: string): Promise<TableEntry[]> {
    const entries: TableEntry[] = [];
    await this.#read(
      { entity: { $case: 'tableEntry', value: pattern } },
      `read table ${tableName}`,
      (entity) => {
        if (entity.entity?.$case === 'tableEntry' && !entity.entity.value.isDefaultAction) {
          entries.push(entity.entity.value);
        }
      },
    );
    return entries;
  }

  /** The cells of a meter that the pattern selects. Errors as readEntries. */
  async readMeter(pattern: MeterEntry, name: string): Promise<MeterEntry[]> {
    const cells: MeterEntry[] = [];
    await this.#read({ entity: { $case: 'meterEntry', value: pattern } }, `read meter ${name}`, (entity) => {
      if (entity.entity?.$case === 'meterEntry') cells.push(entity.entity.value);
    });
    return cells;
  }

  /** Packets counted, by index; indices at 0 are left out. Errors as readEntries. */
  async readCounter(counterId: number, name: string): Promise<Map<number, bigint>> {
    const counts = new Map<number, bigint>();
    const entity: Entity = {
      entity: { $case: 'counterEntry', value: { counterId, index: undefined, data: undefined } },
    };
    await this.#read(entity, `read counter ${name}`, (got) => {
      if (got.entity?.$case !== 'counterEntry') return;
      const { index, data } = got.entity.value;
      if (data && data.packetCount !== 0n) counts.set(Number(index?.index ?? 0n), data.packetCount);
    });
    return counts;
  }

  async #read(entity: Entity, doing: string, each: (entity: Entity) => void): Promise<void> {
    const { deviceId, timeouts, retry } = this.#options;
    const readOnce = (): Promise<Entity[]> =>
      new Promise((resolve, reject) => {
        const got: Entity[] = [];
        const call = this.#rpc.read(
          { deviceId, role: '', entities: [entity] },
          { deadline: Date.now() + timeouts.call },
        );
        call.on('data', (response: ReadResponse) => {
          for (const e of response.entities) got.push(e);
        });
        call.on('error', reject);
        call.on('end', () => {
          resolve(got);
        });
      });
    try {
      for (const got of await retried(retry, isUnavailable, readOnce)) each(got);
    } catch (error) {
      throw targetError(this.target, doing, error);
    }
  }

  async #ready(): Promise<void> {
    const { signal, timeouts } = this.#options;
    const until = Date.now() + timeouts.connect;
    let error: Error | undefined;
    do {
      // In slices: gRPC's wait can not be ended, and would keep a process that is told to stop.
      const slice = Math.min(until, Date.now() + WAIT_SLICE);
      error = await new Promise<Error | undefined>((resolve) => {
        this.#rpc.waitForReady(slice, resolve);
      });
      if (error === undefined) return;
    } while (Date.now() < until && signal?.aborted !== true);
    throw unreachable(this.target, timeouts.connect, await this.#whyNot(error));
  }

  /** gRPC says only that the time is up; a call that does not wait says why: refused, a certificate, … */
  async #whyNot(error: Error): Promise<Error> {
    if (this.#options.signal?.aborted === true) return error;
    try {
      await this.pipelineCookie(1000);
      return error;
    } catch (cause) {
      return cause instanceof CalicoP4Error && isServiceError(cause.cause) ? cause.cause : error;
    }
  }

  #requirePrimary(): void {
    const arbitration = this.#arbitration;
    if (!arbitration)
      throw new CalicoP4Error('TARGET_NOT_PRIMARY', `${this.target}: this session only reads`);
    if (arbitration.lost) throw arbitration.lost;
  }

  #call<T>(timeout: number, start: Start<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      start(new Metadata(), { deadline: Date.now() + timeout }, (error, response) => {
        if (error) reject(error);
        else resolve(response);
      });
    });
  }
}

const DONE: UpdateOutcome = { ok: true };

type Start<T> = (
  metadata: Metadata,
  options: Partial<CallOptions>,
  done: (error: ServiceError | null, response: T) => void,
) => unknown;

/** Milliseconds. */
const WAIT_SLICE = 500;

const NOT_ANSWERED: readonly number[] = [status.UNAVAILABLE, status.DEADLINE_EXCEEDED, status.CANCELLED];

/** Codes that are about the session or the request, not about one update. */
const WHOLE_REQUEST: readonly number[] = [
  status.UNAVAILABLE,
  status.DEADLINE_EXCEEDED,
  status.CANCELLED,
  status.PERMISSION_DENIED,
  status.UNAUTHENTICATED,
  status.FAILED_PRECONDITION,
  status.UNIMPLEMENTED,
];

function isAborted(outcome: UpdateOutcome): boolean {
  return !outcome.ok && isCode(outcome.code, status.ABORTED);
}

function unreachable(target: string, timeout: number, cause: Error): CalicoP4Error {
  return new CalicoP4Error(
    'TARGET_UNREACHABLE',
    `${target} did not answer within ${timeout} ms (${isServiceError(cause) ? cause.details : cause.message}); check that the P4Runtime server runs there and that address and ` +
      'TLS settings are right',
    {},
    { cause },
  );
}

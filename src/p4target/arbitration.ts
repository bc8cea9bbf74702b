import { status, type ClientDuplexStream } from '@grpc/grpc-js';
import type {
  MasterArbitrationUpdate,
  StreamMessageRequest,
  StreamMessageResponse,
  Uint128,
} from 'p4runtime-js-bindings';
import { CalicoP4Error } from '../errors';
import { logger } from '../log';
import { isCode, isServiceError, targetError } from './grpc-errors';

const log = logger('p4runtime');

export interface ArbitrationOptions {
  /** For messages. */
  readonly target: string;
  readonly deviceId: bigint;
  readonly electionId: Uint128;
  /** Milliseconds to wait for being primary; undefined: as a backup, for as long as it takes. */
  readonly timeout: number | undefined;
  /** Ends the wait. */
  readonly signal?: AbortSignal | undefined;
  /** Each time the server says that another controller is primary, in its words. */
  readonly onWaiting?: ((said: string) => void) | undefined;
  /** Called once when we stop being primary, or the stream ends, after having been primary. Nothing may be written then. */
  readonly onLost: (error: CalicoP4Error) => void;
}

type Stream = ClientDuplexStream<StreamMessageRequest, StreamMessageResponse>;

/** Our claim to be the one who writes: kept as long as the stream stays open. */
export interface Arbitration {
  /** Undefined while we are primary; why not, after that. */
  readonly lost: CalicoP4Error | undefined;
  /** What we are primary with: the id that was asked for, or the one that a primary who is gone left behind. */
  readonly electionId: Uint128;
  close(): void;
}

/**
 * Asks to be primary, and waits for it. The highest election id that the target has ever seen wins, and the target
 * remembers it when its owner leaves or steps back. Then it says that there is no primary (NOT_FOUND; P4Runtime 1.4, section 5.3),
 * and we claim that id. An equal one that another session still holds is ElectionIdInUse: ask again later.
 *
 * @throws CalicoP4Error TARGET_NOT_PRIMARY when another controller still is after the timeout, TARGET_UNREACHABLE
 */
export function becomePrimary(stream: Stream, options: ArbitrationOptions): Promise<Arbitration> {
  const { target, signal } = options;
  let { electionId } = options;
  let phase: 'waiting' | 'primary' | 'over' = 'waiting';
  let lost: CalicoP4Error | undefined;
  let said = 'no answer';

  return new Promise((resolve, reject) => {
    const end = (error: CalicoP4Error): void => {
      const before = phase;
      if (before === 'over') return;
      phase = 'over';
      lost = error;
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
      if (before === 'waiting') {
        stream.cancel();
        reject(error);
      } else {
        log.error('no longer primary', { reason: error.message });
        options.onLost(error);
      }
    };
    const { timeout } = options;
    const timer =
      timeout === undefined
        ? undefined
        : setTimeout(() => {
            end(
              notPrimary(
                `${target}: not primary after ${timeout} ms (${said}) with election id ${idText(electionId)}`,
              ),
            );
          }, timeout);
    const abort = (): void => {
      end(notPrimary(`${target}: stopped waiting to be primary`));
    };
    signal?.addEventListener('abort', abort);
    stream.on('data', (message: StreamMessageResponse) => {
      if (message.update?.$case !== 'arbitration') return;
      const { status: answer, electionId: winner } = message.update.value;
      if (answer === undefined || isCode(answer.code, status.OK)) {
        if (phase !== 'waiting') return;
        phase = 'primary';
        clearTimeout(timer);
        signal?.removeEventListener('abort', abort);
        resolve({
          electionId,
          get lost() {
            return lost;
          },
          close() {
            phase = 'over';
            lost ??= notPrimary(`${target}: the connection was closed`);
            stream.end();
            stream.cancel();
          },
        });
        return;
      }
      said = `${answer.message}${winner ? `; the highest election id is ${idText(winner)}` : ''}`;
      if (phase === 'primary') {
        end(
          notPrimary(
            `${target}: another controller has become primary (${said}); ours is ${idText(electionId)}`,
          ),
        );
        return;
      }
      if (isCode(answer.code, status.NOT_FOUND) && winner !== undefined && isAbove(winner, electionId)) {
        log.info('nobody is primary: claiming the election id of the last one', {
          target,
          electionId: idText(winner),
        });
        electionId = winner;
        stream.write({ update: { $case: 'arbitration', value: claim(options.deviceId, electionId) } });
        return;
      }
      log.info('waiting to be primary', { target, said });
      options.onWaiting?.(said);
    });
    stream.on('error', (error) => {
      // P4Runtime, section 5.3: the server refuses an election id that another stream holds.
      const inUse =
        phase === 'waiting' && isServiceError(error) && isCode(error.code, status.INVALID_ARGUMENT);
      if (inUse) end(new ElectionIdInUse(target, electionId, error));
      else end(targetError(target, 'keep the stream of controller arbitration open', error));
    });
    stream.on('end', () => {
      end(
        new CalicoP4Error(
          'TARGET_UNREACHABLE',
          `${target}: the server ended the stream of controller arbitration`,
        ),
      );
    });
    // After the listeners: cancelling a stream makes it emit an error.
    if (signal?.aborted === true) abort();
    else stream.write({ update: { $case: 'arbitration', value: claim(options.deviceId, electionId) } });
  });
}

/** Another session has our election id: most often our own last run, whose connection the server still believes in. */
export class ElectionIdInUse extends CalicoP4Error {
  constructor(target: string, id: Uint128, cause: Error) {
    super(
      'TARGET_NOT_PRIMARY',
      `${target}: another controller holds election id ${idText(id)} (${cause.message}): stop it, or raise our election id`,
      {},
      { cause },
    );
  }
}

function claim(deviceId: bigint, electionId: Uint128): MasterArbitrationUpdate {
  return { deviceId, role: undefined, electionId, status: undefined };
}

function isAbove(a: Uint128, b: Uint128): boolean {
  return a.high > b.high || (a.high === b.high && a.low > b.low);
}

function notPrimary(what: string): CalicoP4Error {
  return new CalicoP4Error(
    'TARGET_NOT_PRIMARY',
    `${what}: stop the other controller, or raise our election id`,
  );
}

function idText(id: Uint128): string {
  return id.high === 0n ? `${id.low}` : `${id.high}:${id.low}`;
}

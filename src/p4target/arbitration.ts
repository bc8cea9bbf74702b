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
  /** Milliseconds to wait for being primary. */
  readonly timeout: number;
  /** Called once when we stop being primary, or the stream ends, after having been primary. Nothing may be written then. */
  readonly onLost: (error: CalicoP4Error) => void;
}

type Stream = ClientDuplexStream<StreamMessageRequest, StreamMessageResponse>;

/** Our claim to be the one who writes: kept as long as the stream stays open. */
export interface Arbitration {
  /** Undefined while we are primary; why not, after that. */
  readonly lost: CalicoP4Error | undefined;
  close(): void;
}

/**
 * Asks to be primary, and waits for it. The highest election id that the target has ever seen wins, so with a lower one
 * only the timeout can follow; with an equal one that another session still holds, ElectionIdInUse: ask again later.
 *
 * @throws CalicoP4Error TARGET_NOT_PRIMARY when another controller still is after the timeout, TARGET_UNREACHABLE
 */
export function becomePrimary(stream: Stream, options: ArbitrationOptions): Promise<Arbitration> {
  const { target, electionId } = options;
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
      if (before === 'waiting') {
        stream.cancel();
        reject(error);
      } else {
        log.error('no longer primary', { reason: error.message });
        options.onLost(error);
      }
    };
    const timer = setTimeout(() => {
      end(
        notPrimary(
          `${target}: not primary after ${options.timeout} ms (${said}) with election id ${idText(electionId)}`,
        ),
      );
    }, options.timeout);

    stream.on('data', (message: StreamMessageResponse) => {
      if (message.update?.$case !== 'arbitration') return;
      const { status: answer, electionId: winner } = message.update.value;
      if (answer === undefined || isCode(answer.code, status.OK)) {
        if (phase !== 'waiting') return;
        phase = 'primary';
        clearTimeout(timer);
        resolve({
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
      } else {
        log.info('waiting to be primary', { target, said });
      }
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
    stream.write({ update: { $case: 'arbitration', value: claim(options) } });
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

function claim({ deviceId, electionId }: ArbitrationOptions): MasterArbitrationUpdate {
  return { deviceId, role: undefined, electionId, status: undefined };
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

import { Metadata, status, type ServiceError } from '@grpc/grpc-js';
import { Error as P4Error, Status } from 'p4runtime-js-bindings';
import { CalicoP4Error } from '../errors';
import type { UpdateOutcome } from './row-target';

/** The trailer in which gRPC carries a google.rpc.Status. */
const DETAILS_KEY = 'grpc-status-details-bin';

/** Compares a code as it came over the wire with one that gRPC defines. */
export function isCode(code: number, wanted: status): boolean {
  const numeric: number = wanted;
  return code === numeric;
}

/** The name of a code, for messages. */
export function codeName(code: number): string {
  const names: Readonly<Record<number, string | undefined>> = status;
  return names[code] ?? `code ${code}`;
}

export function isServiceError(error: unknown): error is ServiceError {
  return (
    error instanceof Error && 'code' in error && 'metadata' in error && error.metadata instanceof Metadata
  );
}

/** UNAVAILABLE: the server was not reached, or says that it is worth trying again. */
export function isUnavailable(error: unknown): boolean {
  return isServiceError(error) && error.code === status.UNAVAILABLE;
}

/**
 * What became of each of `count` updates of a Write that failed: the p4.v1.Error of each, in the order of the updates.
 * undefined when the error has no such details (then it is about the request as a whole, or the server does not say).
 */
export function updateOutcomes(error: ServiceError, count: number): UpdateOutcome[] | undefined {
  const raw = error.metadata.get(DETAILS_KEY)[0];
  if (!Buffer.isBuffer(raw)) return undefined;
  try {
    const { details } = Status.decode(raw);
    if (details.length !== count) return undefined;
    return details.map((any) => {
      const { canonicalCode, message, space, code } = P4Error.decode(any.value);
      if (isCode(canonicalCode, status.OK)) return { ok: true };
      const vendor = space === '' && code === 0 ? '' : ` (${space} ${code})`;
      return { ok: false, code: canonicalCode, message: `${message}${vendor}` };
    });
  } catch {
    return undefined;
  }
}

/** An RPC's failure in the terms of this program. `doing` ends "could not …", for example "read table ct". */
export function targetError(target: string, doing: string, error: unknown): CalicoP4Error {
  if (error instanceof CalicoP4Error) return error;
  if (!isServiceError(error)) {
    const why = error instanceof Error ? error.message : String(error);
    return new CalicoP4Error(
      'TARGET_UNREACHABLE',
      `${target}: could not ${doing}: ${why}`,
      {},
      { cause: error },
    );
  }
  const name = codeName(error.code);
  const said = `${target}: could not ${doing}: ${name}: ${error.details}`;
  const context = { target, grpcCode: error.code };
  switch (error.code) {
    case status.UNAVAILABLE:
    case status.DEADLINE_EXCEEDED:
    case status.CANCELLED:
      return new CalicoP4Error(
        'TARGET_UNREACHABLE',
        `${said}; check that the P4Runtime server runs there and that address and TLS settings are right`,
        context,
        { cause: error },
      );
    case status.PERMISSION_DENIED:
      return new CalicoP4Error(
        'TARGET_NOT_PRIMARY',
        `${said}; another controller with a higher election id is primary: stop it, or raise our election id`,
        context,
        { cause: error },
      );
    case status.FAILED_PRECONDITION:
      return new CalicoP4Error(
        'PIPELINE_MISMATCH',
        `${said}; the target has no pipeline, or another one: start the driver, which sets it`,
        context,
        { cause: error },
      );
    default:
      return new CalicoP4Error('TARGET_WRITE_FAILED', said, context, { cause: error });
  }
}

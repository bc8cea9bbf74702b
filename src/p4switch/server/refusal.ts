import { status } from '@grpc/grpc-js';
import { CalicoP4Error } from '../../errors';

/**
 * Why the server does not do what a controller asks: a gRPC status code, as the P4Runtime specification has it for the
 * case, and words for the person behind the controller. Never leaves the server as an exception.
 */
export class Refusal extends Error {
  constructor(
    readonly code: status,
    message: string,
  ) {
    super(message);
    this.name = 'Refusal';
  }
}

/** The most frequent one: the request is malformed, or contradicts p4info. */
export function invalid(message: string): Refusal {
  return new Refusal(status.INVALID_ARGUMENT, message);
}

export function unimplemented(message: string): Refusal {
  return new Refusal(status.UNIMPLEMENTED, message);
}

/** What to answer for anything thrown: an unexpected error is INTERNAL, with its message. */
export function refusalOf(error: unknown): Refusal {
  if (error instanceof Refusal) return error;
  if (error instanceof CalicoP4Error && error.code === 'TARGET_UNREACHABLE')
    return new Refusal(status.UNAVAILABLE, error.message);
  if (error instanceof CalicoP4Error && error.code === 'TARGET_TABLE_FULL')
    return new Refusal(status.RESOURCE_EXHAUSTED, error.message);
  return new Refusal(status.INTERNAL, error instanceof Error ? error.message : String(error));
}

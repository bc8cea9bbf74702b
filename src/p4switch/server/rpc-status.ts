import { Metadata, status } from '@grpc/grpc-js';
import { Error as P4Error, Status } from 'p4runtime-js-bindings';
import type { Refusal } from './refusal';
import type { Outcomes } from './write';

const TYPE_URL = 'type.googleapis.com/p4.v1.Error';

/**
 * Largest status that a gRPC client takes without a setting of its own is 8 KB of metadata for C-core clients and 64 KB
 * for Node's. Messages are left out beyond this many bytes, and all the details where they are too many even so.
 */
const MAX_DETAILS = 44 * 1024;

/** The error that ends an RPC, as grpc-js wants it. */
export interface RpcError {
  readonly code: status;
  readonly details: string;
  readonly metadata?: Metadata;
}

export function rpcError(refusal: Refusal): RpcError {
  return { code: refusal.code, details: refusal.message };
}

/** The status of a batch: undefined when all of it worked, else UNKNOWN with a p4.v1.Error for each of its members. */
export function batchError(what: 'write' | 'read', outcomes: Outcomes): RpcError | undefined {
  const first = outcomes.find((o) => o !== undefined);
  if (!first) return undefined;
  const failed = outcomes.filter((o) => o !== undefined).length;
  const message = `${failed} of ${outcomes.length} in this ${what} failed; the first: ${first.message}`;
  const metadata = new Metadata();
  const details = encodeDetails(message, outcomes, true) ?? encodeDetails(message, outcomes, false);
  if (details) metadata.set('grpc-status-details-bin', details);
  return { code: status.UNKNOWN, details: message, metadata };
}

function encodeDetails(message: string, outcomes: Outcomes, withMessages: boolean): Buffer | undefined {
  const details = outcomes.map((o) => ({
    typeUrl: TYPE_URL,
    value: Buffer.from(
      P4Error.encode({
        canonicalCode: o?.code ?? status.OK,
        message: withMessages ? (o?.message ?? '') : '',
        space: '',
        code: 0,
        details: undefined,
      }).finish(),
    ),
  }));
  const encoded = Buffer.from(Status.encode({ code: status.UNKNOWN, message, details }).finish());
  return encoded.length > MAX_DETAILS ? undefined : encoded;
}

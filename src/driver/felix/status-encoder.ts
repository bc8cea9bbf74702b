import { Writer } from 'protobufjs';
import type { WorkloadEndpointId } from '../../model/model';

/**
 * What the driver tells Felix, as FromDataplane messages (felix-proto, the same numbers in every form). Written by hand
 * because an endpoint goes back as the very bytes that Felix sent, whatever its release put in them.
 */

/** `up` only when the endpoint's rows are on the target; `error` when they can not be put there. */
export type EndpointStatus = 'up' | 'down' | 'error';

export type StatusMessage =
  /** The heartbeat; `uptimeSeconds` of the driver. */
  | { readonly kind: 'process'; readonly now: Date; readonly uptimeSeconds: number }
  | {
      readonly kind: 'workload';
      readonly id: WorkloadEndpointId;
      readonly status: EndpointStatus;
      /** The bytes of felix.WorkloadEndpoint as Felix sent them; Felix from 3.30 wants them back. */
      readonly encoded?: Uint8Array;
    }
  | { readonly kind: 'workload-remove'; readonly id: WorkloadEndpointId }
  | { readonly kind: 'host-endpoint'; readonly id: string; readonly status: EndpointStatus }
  | { readonly kind: 'host-endpoint-remove'; readonly id: string }
  | { readonly kind: 'dataplane-in-sync' };

/** Field numbers of FromDataplane. */
const SEQUENCE_NUMBER = 8;
const PAYLOAD: Readonly<Record<StatusMessage['kind'], number>> = {
  process: 3,
  'host-endpoint': 4,
  'host-endpoint-remove': 5,
  workload: 6,
  'workload-remove': 7,
  'dataplane-in-sync': 10,
};

/** One FromDataplane message, without its frame. Sequence numbers start at 0. */
export function encodeStatus(message: StatusMessage, sequence: number): Uint8Array {
  const out = Writer.create();
  out.uint32(lengthDelimited(PAYLOAD[message.kind])).bytes(encodePayload(message));
  if (sequence !== 0) {
    out.uint32(SEQUENCE_NUMBER * 8).uint64(sequence);
  }
  return out.finish();
}

function encodePayload(message: StatusMessage): Uint8Array {
  const out = Writer.create();
  switch (message.kind) {
    case 'process':
      put(out, 1, message.now.toISOString());
      out.uint32(2 * 8 + 1).double(message.uptimeSeconds);
      break;
    case 'workload':
      out.uint32(lengthDelimited(1)).bytes(workloadId(message.id));
      out.uint32(lengthDelimited(2)).bytes(endpointStatus(message.status));
      if (message.encoded !== undefined) {
        out.uint32(lengthDelimited(3)).bytes(message.encoded);
      }
      break;
    case 'workload-remove':
      out.uint32(lengthDelimited(1)).bytes(workloadId(message.id));
      break;
    case 'host-endpoint':
      out.uint32(lengthDelimited(1)).bytes(hostEndpointId(message.id));
      out.uint32(lengthDelimited(2)).bytes(endpointStatus(message.status));
      break;
    case 'host-endpoint-remove':
      out.uint32(lengthDelimited(1)).bytes(hostEndpointId(message.id));
      break;
    case 'dataplane-in-sync':
      break;
  }
  return out.finish();
}

function workloadId(id: WorkloadEndpointId): Uint8Array {
  const out = Writer.create();
  put(out, 2, id.orchestratorId);
  put(out, 3, id.workloadId);
  put(out, 4, id.endpointId);
  return out.finish();
}

function hostEndpointId(id: string): Uint8Array {
  return put(Writer.create(), 2, id).finish();
}

function endpointStatus(status: EndpointStatus): Uint8Array {
  return put(Writer.create(), 1, status).finish();
}

/** A string field; empty ones are left out, as proto3 does. */
function put(out: Writer, fieldNumber: number, value: string): Writer {
  return value === '' ? out : out.uint32(lengthDelimited(fieldNumber)).string(value);
}

function lengthDelimited(fieldNumber: number): number {
  return fieldNumber * 8 + 2;
}

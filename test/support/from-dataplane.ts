import path from 'node:path';
import protobuf from 'protobufjs';

const root = protobuf.loadSync(path.join(__dirname, '../../felix-proto/v3.33.proto'));
const FromDataplane = root.lookupType('felix.FromDataplane');

interface Decoded {
  readonly sequenceNumber?: number;
  readonly processStatusUpdate?: { readonly isoTimestamp: string; readonly uptime: number };
  readonly workloadEndpointStatusUpdate?: {
    readonly id: { readonly workloadId: string };
    readonly status: { readonly status: string };
    readonly endpoint?: { readonly name: string };
  };
  readonly workloadEndpointStatusRemove?: { readonly id: { readonly workloadId: string } };
  readonly hostEndpointStatusUpdate?: {
    readonly id: { readonly endpointId: string };
    readonly status: { readonly status: string };
  };
  readonly hostEndpointStatusRemove?: { readonly id: { readonly endpointId: string } };
}

/** One message of the driver to Felix, as a test wants to see it. */
export function decodeFromDataplane(message: Uint8Array): {
  readonly kind: string;
  readonly sequence: number;
  readonly workload?: string;
  readonly host?: string;
  readonly status?: string;
} {
  const decoded = FromDataplane.toObject(FromDataplane.decode(message), {
    longs: Number,
    defaults: false,
  }) as Decoded;
  const sequence = decoded.sequenceNumber ?? 0;
  if (decoded.processStatusUpdate) return { kind: 'process', sequence };
  const update = decoded.workloadEndpointStatusUpdate;
  if (update) {
    return { kind: 'workload', sequence, workload: update.id.workloadId, status: update.status.status };
  }
  const remove = decoded.workloadEndpointStatusRemove;
  if (remove) return { kind: 'workload-remove', sequence, workload: remove.id.workloadId };
  const host = decoded.hostEndpointStatusUpdate;
  if (host) return { kind: 'host', sequence, host: host.id.endpointId, status: host.status.status };
  const gone = decoded.hostEndpointStatusRemove;
  if (gone) return { kind: 'host-remove', sequence, host: gone.id.endpointId };
  return { kind: 'other', sequence };
}

/** The lab's Felix: writes its stream to a driver that listens on a unix socket, and hears what it reports. */
import { setTimeout as sleep } from 'node:timers/promises';
import protobuf from 'protobufjs';
import { z } from 'zod';
import { CalicoP4Error } from '../errors';
import { createFrameDecoder } from '../driver/felix/frame-decoder';
import { connectFelixSocket, type FelixStreams } from '../driver/felix/felix-streams';

export interface LabFelix {
  /** Resolves when the driver has reported all these workloads up. @throws CalicoP4Error FELIX_LINK_CLOSED, TARGET_WRITE_FAILED */
  allUp(workloadIds: readonly string[], milliseconds: number): Promise<void>;
  close(): void;
}

/** Milliseconds for the driver to listen. */
const PATIENCE = 15_000;

/** Of FromDataplane, what is the same in all forms of the contract: a recording may speak any. */
const FROM_DATAPLANE = protobuf.Root.fromJSON({
  nested: {
    FromDataplane: { fields: { workloadEndpointStatusUpdate: { type: 'Update', id: 6 } } },
    Update: { fields: { id: { type: 'EndpointId', id: 1 }, status: { type: 'Status', id: 2 } } },
    EndpointId: { fields: { workloadId: { type: 'string', id: 3 } } },
    Status: { fields: { status: { type: 'string', id: 1 } } },
  },
}).lookupType('FromDataplane');

const endpointStatus = z.object({
  workloadEndpointStatusUpdate: z.object({
    id: z.object({ workloadId: z.string() }),
    status: z.object({ status: z.string() }),
  }),
});

/** @throws CalicoP4Error FELIX_LINK_CLOSED when no driver listens */
export async function startLabFelix(socketPath: string, stream: Uint8Array): Promise<LabFelix> {
  const { input, output } = await connectPatiently(socketPath);
  const statuses = new Map<string, string>();
  const decoder = createFrameDecoder();
  let ended = false;
  let wake: () => void = () => undefined;
  input.on('data', (chunk: Uint8Array) => {
    for (const message of decoder.push(chunk)) {
      const { data } = endpointStatus.safeParse(FROM_DATAPLANE.toObject(FROM_DATAPLANE.decode(message)));
      if (data === undefined) continue;
      const { id, status } = data.workloadEndpointStatusUpdate;
      statuses.set(id.workloadId, status.status);
    }
    wake();
  });
  const end = (): void => {
    ended = true;
    wake();
  };
  input.on('error', end);
  input.on('close', end);
  output.write(stream);

  return {
    async allUp(workloadIds, milliseconds) {
      const until = Date.now() + milliseconds;
      for (;;) {
        const waiting = workloadIds.filter((id) => statuses.get(id) !== 'up');
        if (waiting.length === 0) return;
        if (ended) throw new CalicoP4Error('FELIX_LINK_CLOSED', 'the driver of the lab ended');
        if (Date.now() > until) {
          const how = waiting.map((id) => `${id} (${statuses.get(id) ?? 'nothing said'})`).join(', ');
          throw new CalicoP4Error('TARGET_WRITE_FAILED', `pods that the driver does not report up: ${how}`);
        }
        const timeout = new AbortController();
        await Promise.race([
          new Promise<void>((resolve) => (wake = resolve)),
          sleep(until - Date.now() + 1, undefined, { signal: timeout.signal }).catch(() => undefined),
        ]);
        timeout.abort();
      }
    },
    close() {
      input.destroy();
      output.destroy();
    },
  };
}

async function connectPatiently(path: string): Promise<FelixStreams> {
  const until = Date.now() + PATIENCE;
  for (;;) {
    try {
      return await connectFelixSocket(path);
    } catch (error) {
      if (Date.now() > until) throw error;
      await sleep(20);
    }
  }
}

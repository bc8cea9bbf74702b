import {
  Metadata,
  Server,
  ServerCredentials,
  status,
  type sendUnaryData,
  type ServerDuplexStream,
  type ServerUnaryCall,
} from '@grpc/grpc-js';
import {
  Any,
  Error as P4Error,
  P4RuntimeService,
  Status,
  TableEntry,
  type StreamMessageRequest,
  type StreamMessageResponse,
  type Update,
  type WriteRequest,
} from 'p4runtime-js-bindings';
import { P4Client } from '../../../src/p4target/client';
import { clientOptions } from '../../../src/p4target/client-options';
import { tableUpdate } from '../../../src/p4target/write-request';

/*
 * Servers that nobody can install here answer a failed Write in ways of their own. These are small servers over real
 * gRPC that do so; table id 1 is taken, table id 2 is full.
 */

type Answer = { readonly code: status; readonly details?: readonly number[] } | 'ok';

const FAILS: Readonly<Record<number, status>> = { 1: status.ALREADY_EXISTS, 2: status.RESOURCE_EXHAUSTED };

function codeOf(update: Update): status {
  const entity = update.entity?.entity;
  return (entity?.$case === 'tableEntry' ? FAILS[entity.value.tableId] : undefined) ?? status.OK;
}

let server: Server | undefined;
let client: P4Client | undefined;

async function start(
  answer: (updates: readonly Update[], call: number) => Answer,
): Promise<{ writes: Update[][] }> {
  const writes: Update[][] = [];
  const service = {
    write(call: ServerUnaryCall<WriteRequest, object>, done: sendUnaryData<object>): void {
      const { updates } = call.request;
      writes.push(updates);
      const said = answer(updates, writes.length);
      if (said === 'ok') {
        done(null, {});
        return;
      }
      const metadata = new Metadata();
      if (said.details)
        metadata.set('grpc-status-details-bin', Buffer.from(statusBytes(said.code, said.details)));
      done({ code: said.code, details: 'odd', metadata });
    },
    streamChannel(stream: ServerDuplexStream<StreamMessageRequest, StreamMessageResponse>): void {
      stream.on('data', (request: StreamMessageRequest) => {
        if (request.update?.$case !== 'arbitration') return;
        const { deviceId, electionId } = request.update.value;
        const value = {
          deviceId,
          electionId,
          role: undefined,
          status: { code: 0, message: '', details: [] },
        };
        stream.write({ update: { $case: 'arbitration', value } });
      });
      stream.on('end', () => stream.end());
    },
  };
  const started = new Server();
  started.addService(P4RuntimeService, service);
  const port = await new Promise<number>((resolve, reject) => {
    started.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) => {
      if (error) reject(error);
      else resolve(bound);
    });
  });
  server = started;
  client = await P4Client.connect(
    clientOptions({
      address: `127.0.0.1:${port}`,
      retry: { attempts: 3, firstDelay: 1, maxDelay: 1, factor: 1 },
    }),
  );
  return { writes };
}

function statusBytes(code: number, codes: readonly number[]): Uint8Array {
  const details = codes.map((canonicalCode) => {
    const value = P4Error.encode({
      canonicalCode,
      message: 'odd',
      space: '',
      code: 0,
      details: undefined,
    }).finish();
    return Any.create({ typeUrl: 'type.googleapis.com/p4.v1.Error', value: Buffer.from(value) });
  });
  return Status.encode({ code, message: 'odd', details }).finish();
}

function insert(tableId: number): Update {
  return tableUpdate('insert', TableEntry.fromPartial({ tableId }));
}

async function outcomes(tableIds: readonly number[]): Promise<(number | 'ok')[]> {
  const got = await client!.write(tableIds.map(insert));
  return got.map((o) => (o.ok ? 'ok' : o.code));
}

afterEach(() => {
  client?.close();
  server?.forceShutdown();
});

it('a server that gives no details is asked one update at a time', async () => {
  const { writes } = await start((updates) =>
    updates.every((u) => codeOf(u) === status.OK)
      ? 'ok'
      : { code: updates.length > 1 ? status.UNKNOWN : codeOf(updates[0]!) },
  );
  expect(await outcomes([5, 1, 6])).toEqual(['ok', status.ALREADY_EXISTS, 'ok']);
  expect(writes.map((w) => w.length)).toEqual([3, 1, 1, 1]);
});

it('updates that a server aborts after the first failure are sent again', async () => {
  const { writes } = await start((updates) => {
    const first = updates.findIndex((u) => codeOf(u) !== status.OK);
    if (first < 0) return 'ok';
    const details = updates.map((u, i) => (i < first ? 0 : i === first ? codeOf(u) : status.ABORTED));
    return { code: status.UNKNOWN, details };
  });
  expect(await outcomes([5, 1, 6, 2, 7])).toEqual([
    'ok',
    status.ALREADY_EXISTS,
    'ok',
    status.RESOURCE_EXHAUSTED,
    'ok',
  ]);
  expect(writes.map((w) => w.length)).toEqual([5, 3, 1]);
});

it('a server that aborts everything is not asked for ever', async () => {
  await start((updates) => ({ code: status.UNKNOWN, details: updates.map(() => status.ABORTED) }));
  expect(await outcomes([5, 6])).toEqual([status.ABORTED, status.ABORTED]);
});

it('UNAVAILABLE is tried again, a bounded number of times', async () => {
  const { writes } = await start((_, call) => (call < 3 ? { code: status.UNAVAILABLE } : 'ok'));
  expect(await outcomes([5])).toEqual(['ok']);
  expect(writes.length).toBe(3);
});

it('UNAVAILABLE for good, and PERMISSION_DENIED, are errors of the whole Write', async () => {
  let code: status = status.UNAVAILABLE;
  const { writes } = await start(() => ({ code }));
  await expect(outcomes([5])).rejects.toMatchObject({ code: 'TARGET_UNREACHABLE' });
  expect(writes.length).toBe(3);
  code = status.PERMISSION_DENIED;
  await expect(outcomes([5, 6])).rejects.toMatchObject({ code: 'TARGET_NOT_PRIMARY' });
});

it('one Write is in flight at a time', async () => {
  const { writes } = await start(() => 'ok');
  await Promise.all([outcomes([5, 6]), outcomes([7])]);
  expect(writes.map((w) => w.length)).toEqual([2, 1]);
});

/**
 * Whatever comes to the P4Runtime server: each call is answered with a status of gRPC, the server lives on, and its tables hold what
 * the answers said, no more and no less.
 */
import http2 from 'node:http2';
import { status } from '@grpc/grpc-js';
import fc from 'fast-check';
import {
  P4RuntimeService,
  ReadRequest,
  SetForwardingPipelineConfigRequest,
  StreamMessageRequest,
  WriteRequest,
} from 'p4runtime-js-bindings';
import { createInterpreter } from '../../src/p4switch/interpreter/interpreter';
import { startSwitchServer, type SwitchServer } from '../../src/p4switch/server/server';
import {
  Action,
  Channel,
  DEVICE,
  isFailure,
  TestController,
  Update_Type,
  type Failure,
  type PartialEntity,
} from '../unit/p4switch/server/controller';
import { P4INFO, SPEC } from '../unit/p4switch/server/small-pipeline';
import { fuzz, timeoutOf } from './support/budget';
import { MUTATIONS, mutate } from './support/wire-mutations';

const MAX_STREAMS = 4;

let server: SwitchServer;
let controller: TestController;
let channel: Channel;
let session: http2.ClientHttp2Session;

beforeAll(async () => {
  server = await startSwitchServer({
    address: '127.0.0.1:0',
    deviceId: DEVICE,
    maxStreams: MAX_STREAMS,
    createEngine: (spec) => createInterpreter(spec, { now: () => 0 }),
  });
  controller = new TestController(server.address);
  channel = await controller.primary(5n);
  expect(await controller.setPipeline(P4INFO, SPEC)).toEqual({});
  session = http2.connect(`http://${server.address}`);
  session.on('error', () => undefined);
});
afterAll(async () => {
  session.destroy();
  channel.cancel();
  controller.close();
  await server.stop();
});

/** A message as gRPC frames it, sent as it is; the status that came back, or what became of the call. */
function call(method: keyof typeof P4RuntimeService, body: Uint8Array): Promise<number> {
  return new Promise((resolve, reject) => {
    const stream = session.request({
      ':method': 'POST',
      ':path': P4RuntimeService[method].path,
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    let code: unknown;
    stream.on('response', (headers) => {
      code ??= headers['grpc-status'];
    });
    stream.on('trailers', (headers: http2.IncomingHttpHeaders) => {
      code ??= headers['grpc-status'];
    });
    stream.on('error', () => undefined);
    stream.on('close', () => {
      if (code === undefined) reject(new Error(`${method} was closed without a status`));
      else resolve(Number(code));
    });
    stream.on('data', () => undefined);
    const header = Buffer.alloc(5);
    header.writeUInt32BE(body.length, 1);
    stream.end(Buffer.concat([header, body]));
  });
}

const tables = P4INFO.tables.map((table) => table.preamble!.id);
const actions = P4INFO.actions.map((action) => action.preamble!.id);
const id = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(...tables) },
  { weight: 1, arbitrary: fc.constantFrom(0, 1, 0xffff_ffff) },
);
const value = fc
  .oneof(
    { weight: 5, arbitrary: fc.constantFrom([8, 0], [8, 6], [1], [0]) },
    { weight: 1, arbitrary: fc.array(fc.nat(255), { maxLength: 20 }) },
  )
  .map((bytes) => Buffer.from(bytes));

/** Table entries that are often right: the ids are those of the pipeline, the numbers small. */
const entry = fc
  .record({
    tableId: id,
    match: fc.array(
      fc.record({
        fieldId: fc.constantFrom(1, 1, 1, 2, 3, 0),
        fieldMatchType: fc.oneof(
          { weight: 4, arbitrary: value.map((v) => ({ $case: 'exact' as const, value: { value: v } })) },
          fc.tuple(value, fc.integer({ min: -1, max: 60 })).map(([v, prefixLen]) => ({
            $case: 'lpm' as const,
            value: { value: v, prefixLen },
          })),
          fc
            .tuple(value, value)
            .map(([v, mask]) => ({ $case: 'ternary' as const, value: { value: v, mask } })),
          fc.tuple(value, value).map(([low, high]) => ({ $case: 'range' as const, value: { low, high } })),
        ),
      }),
      { maxLength: 3 },
    ),
    action: fc.option(
      fc.record({
        actionId: fc.constantFrom(...actions, 0, 77),
        params: fc.array(fc.record({ paramId: fc.constantFrom(1, 2, 2, 3), value }), { maxLength: 3 }),
      }),
      { freq: 8 },
    ),
    priority: fc.constantFrom(0, 0, 1, 10, -1),
    isDefaultAction: fc.constantFrom(false, false, false, true),
  })
  .map(({ action, ...rest }): PartialEntity => ({
    $case: 'tableEntry',
    value: { ...rest, ...(action === null ? {} : { action: { type: { $case: 'action', value: action } } }) },
  }));

const update = fc.tuple(
  fc.constantFrom(
    Update_Type.INSERT,
    Update_Type.INSERT,
    Update_Type.MODIFY,
    Update_Type.DELETE,
    Update_Type.UNSPECIFIED,
  ),
  entry,
);

const right: fc.Arbitrary<PartialEntity> = fc.nat(30).map((type) => ({
  $case: 'tableEntry',
  value: {
    tableId: P4INFO.tables.find((t) => t.preamble!.alias === 'by_type')!.preamble!.id,
    match: [{ fieldId: 1, fieldMatchType: { $case: 'exact', value: { value: Buffer.of(type + 1) } } }],
    action: {
      type: {
        $case: 'action',
        value: { actionId: P4INFO.actions.find((a) => a.preamble!.alias === 'drop')!.preamble!.id },
      },
    },
  },
}));

/** Every entry of every table, as text that two equal entries share. */
async function contents(): Promise<readonly string[]> {
  const { entities, failure } = await controller.read([{ $case: 'tableEntry', value: {} }]);
  expect(failure).toBeUndefined();
  return entities
    .flatMap(({ entity }) =>
      entity?.$case === 'tableEntry' && !entity.value.isDefaultAction ? [keyOf(entity)] : [],
    )
    .sort();
}

function keyOf(entity: PartialEntity): string {
  const request = WriteRequest.fromPartial({ updates: [{ entity: { entity } }] });
  return Buffer.from(WriteRequest.encode(request).finish()).toString('hex');
}

test(
  'writes: the tables are what the answers said',
  async () => {
    let accepted = 0;
    const property = fc.asyncProperty(
      fc.array(fc.oneof(update, fc.tuple(fc.constantFrom(Update_Type.INSERT, Update_Type.DELETE), right)), {
        minLength: 1,
        maxLength: 12,
      }),
      async (updates) => {
        const before = (await contents()).length;
        const result: object | Failure = await controller.write(updates);
        const codes =
          isFailure(result) && result.code === 'UNKNOWN'
            ? result.each
            : updates.map(() => (isFailure(result) ? result.code : 'OK'));
        for (const code of codes) expect(Object.keys(status)).toContain(code);
        let grown = 0;
        updates.forEach(([type, entity], i) => {
          if (codes[i] !== 'OK') return;
          accepted++;
          if (entity.$case === 'tableEntry' && entity.value?.isDefaultAction === true) return;
          grown += type === Update_Type.INSERT ? 1 : type === Update_Type.DELETE ? -1 : 0;
        });
        expect((await contents()).length - before).toBe(grown);
      },
    );
    await fuzz('p4runtime writes', 200, property);
    expect(accepted).toBeGreaterThan(100);
  },
  timeoutOf('p4runtime writes'),
);

test(
  'bytes: every call has a status, nothing that was refused changed a table, the server lives on',
  async () => {
    const electionId = { high: 0n, low: 5n };
    const messages: readonly (readonly [keyof typeof P4RuntimeService, Uint8Array])[] = [
      [
        'write',
        WriteRequest.encode(
          WriteRequest.fromPartial({
            deviceId: DEVICE,
            electionId,
            updates: [
              { type: Update_Type.INSERT, entity: { entity: fc.sample(right, { seed: 1, numRuns: 1 })[0]! } },
            ],
          }),
        ).finish(),
      ],
      [
        'read',
        ReadRequest.encode(
          ReadRequest.fromPartial({
            deviceId: DEVICE,
            entities: [{ entity: { $case: 'tableEntry', value: {} } }],
          }),
        ).finish(),
      ],
      [
        'setForwardingPipelineConfig',
        SetForwardingPipelineConfigRequest.encode(
          SetForwardingPipelineConfigRequest.fromPartial({
            deviceId: DEVICE,
            electionId,
            action: Action.VERIFY,
            config: { p4info: P4INFO, p4DeviceConfig: Buffer.from(SPEC) },
          }),
        ).finish(),
      ],
      ['getForwardingPipelineConfig', Uint8Array.of(8, 7)],
      ['capabilities', Uint8Array.of(8, 7)],
      [
        'streamChannel',
        StreamMessageRequest.encode(
          StreamMessageRequest.fromPartial({
            update: { $case: 'arbitration', value: { deviceId: DEVICE, electionId: { high: 0n, low: 1n } } },
          }),
        ).finish(),
      ],
    ];
    const mutation = fc.record({
      kind: fc.constantFrom(...MUTATIONS),
      at: fc.nat(),
      depth: fc.nat(6),
      value: fc.nat(),
    });
    const property = fc.asyncProperty(
      fc.nat(messages.length - 1),
      fc.oneof(
        { weight: 4, arbitrary: fc.array(mutation, { minLength: 1, maxLength: 4 }) },
        { weight: 1, arbitrary: fc.uint8Array({ maxLength: 200 }) },
      ),
      async (which, changes) => {
        const [method, message] = messages[which]!;
        const body = changes instanceof Uint8Array ? changes : changes.reduce<Uint8Array>(mutate, message);
        const before = await contents();
        const code = await call(method, body);
        expect(status[code]).toBeDefined();
        if (code !== 0) expect(await contents()).toEqual(before);
      },
    );
    await fuzz('p4runtime bytes', 200, property);
    expect(server.engine()).toBeDefined();
  },
  timeoutOf('p4runtime bytes'),
);

test('a message over 64 MiB is RESOURCE_EXHAUSTED, and the next call is answered', async () => {
  const large = WriteRequest.fromPartial({
    updates: [
      { entity: { entity: { $case: 'tableEntry', value: { metadata: Buffer.alloc(65 * 1024 * 1024) } } } },
    ],
  });
  expect(await controller.write([], large)).toMatchObject({ code: 'RESOURCE_EXHAUSTED' });
  // Not a Write: the fuzzing before may have made another controller the primary.
  expect(await call('capabilities', Uint8Array.of(8, Number(DEVICE)))).toBe(status.OK);
});

test('one stream more than the limit is RESOURCE_EXHAUSTED, and a place that became free is given again', async () => {
  const others = Array.from({ length: MAX_STREAMS - 1 }, () => new Channel(controller.client));
  others.forEach((other, i) => {
    other.arbitrate(BigInt(i + 1));
  });
  await Promise.all(others.map((other) => other.nextArbitration()));
  const tooMany = new Channel(controller.client);
  expect(await tooMany.ended).toBe(status.RESOURCE_EXHAUSTED);
  for (const other of others) other.cancel();
  await Promise.all(others.map((other) => other.ended));
  await new Promise((resolve) => setTimeout(resolve, 100));
  const again = new Channel(controller.client);
  again.arbitrate(1n);
  await again.nextArbitration();
  again.cancel();
});

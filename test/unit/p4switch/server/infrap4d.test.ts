/** The differences of `behaviour: 'infrap4d'` from the specification, each with what the specification's server answers. */
import { GetForwardingPipelineConfigRequest_ResponseType as ResponseType } from 'p4runtime-js-bindings';
import { createInterpreter } from '../../../../src/p4switch/interpreter/interpreter';
import { startSwitchServer, type SwitchServer } from '../../../../src/p4switch/server/server';
import { Action, Atomicity, Channel, DEVICE, isFailure, TestController, Update_Type } from './controller';
import type { PartialEntity } from './controller';
import { ID, P4INFO, P4INFO_TEXT, SPEC } from './small-pipeline';
import { parseP4InfoText } from '../../../../src/p4info/text-format';

let server: SwitchServer;
let controller: TestController;
beforeEach(async () => {
  server = await startSwitchServer({
    address: '127.0.0.1:0',
    deviceId: DEVICE,
    behaviour: 'infrap4d',
    createEngine: (spec) => createInterpreter(spec, { now: () => 0 }),
  });
  controller = new TestController(server.address);
  await controller.primary();
  expect(await controller.setPipeline(P4INFO, SPEC, Action.VERIFY_AND_COMMIT, 99n)).toEqual({});
});
afterEach(async () => {
  controller.close();
  await server.stop();
});

const { INSERT, MODIFY, DELETE } = Update_Type;
const bytes = (...values: number[]): Buffer => Buffer.from(values);

function byType(type: Buffer, action: object | null = send(1, 2)): PartialEntity {
  const match = [{ fieldId: 1, fieldMatchType: { $case: 'exact' as const, value: { value: type } } }];
  return { $case: 'tableEntry', value: { tableId: ID.byType, match, ...(action && { action }) } };
}

function send(port: number, tag?: number): object {
  const params = [{ paramId: 1, value: bytes(port) }];
  if (tag !== undefined) params.push({ paramId: 2, value: bytes(tag) });
  return { type: { $case: 'action', value: { actionId: ID.send, params } } };
}

const defaultOf = (tableId: number, action?: object): PartialEntity => ({
  $case: 'tableEntry',
  value: { tableId, isDefaultAction: true, ...(action && { action }) },
});
const drop = { type: { $case: 'action' as const, value: { actionId: ID.drop } } };

async function entries(pattern: PartialEntity): Promise<unknown[]> {
  const { entities, failure } = await controller.read([pattern]);
  expect(failure).toBeUndefined();
  return entities.map(({ entity }) => {
    if (entity?.$case !== 'tableEntry') throw new Error('no table entry');
    const { match, action } = entity.value;
    const m = match[0]?.fieldMatchType;
    const of = action?.type?.$case === 'action' ? action.type.value : undefined;
    return {
      key: m?.$case === 'exact' ? m.value.value.toString('hex') : undefined,
      params: of?.params.map((p) => p.value.toString('hex')),
    };
  });
}

async function readFailure(pattern: PartialEntity): Promise<readonly string[] | undefined> {
  return (await controller.read([pattern])).failure?.each;
}

const all = (tableId: number): PartialEntity => ({ $case: 'tableEntry', value: { tableId } });

test('MODIFY of an entry is OK and does nothing, there or not', async () => {
  expect(await controller.outcome(INSERT, byType(bytes(8, 0)))).toBe('OK');
  expect(await controller.outcome(MODIFY, byType(bytes(8, 0), send(9, 9)))).toBe('OK');
  expect(await controller.outcome(MODIFY, byType(bytes(8, 6), send(9, 9)))).toBe('OK');
  expect(await entries(all(ID.byType))).toEqual([{ key: '0800', params: ['00000001', '0002'] }]);
});

test('a default action can be set; its reset is OK and does nothing', async () => {
  expect(await controller.outcome(MODIFY, defaultOf(ID.byType, drop))).toBe('OK');
  expect(await controller.outcome(MODIFY, defaultOf(ID.byType))).toBe('OK');
  const { entities } = await controller.read([defaultOf(ID.byType)]);
  expect(entities).toMatchObject([
    { entity: { value: { action: { type: { value: { actionId: ID.drop } } } } } },
  ]);
});

test.each([Atomicity.ROLLBACK_ON_ERROR, Atomicity.DATAPLANE_ATOMIC])(
  'atomicity %s is refused, and nothing is written',
  async (atomicity) => {
    const result = await controller.write([[INSERT, byType(bytes(8, 0))]], { atomicity });
    expect(result).toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(await entries(all(ID.byType))).toEqual([]);
  },
);

test('what became of each update of a failed Write, in order', async () => {
  const result = await controller.write([
    [INSERT, byType(bytes(8, 0))],
    [INSERT, byType(bytes(8, 0))],
    [DELETE, byType(bytes(8, 6))],
    [INSERT, byType(bytes(8, 1))],
  ]);
  expect(isFailure(result) && result.each).toEqual(['OK', 'ALREADY_EXISTS', 'NOT_FOUND', 'OK']);
});

test('a table that packets write can not be read, and so not all tables at once', async () => {
  expect(await readFailure(all(ID.flows))).toEqual(['UNIMPLEMENTED']);
  expect(await readFailure(all(0))).toEqual(['UNIMPLEMENTED']);
  expect(await readFailure(all(ID.byType))).toBeUndefined();
});

test('one entry that is not there is an error; filters other than a key are refused', async () => {
  expect(await controller.outcome(INSERT, byType(bytes(8, 0)))).toBe('OK');
  expect(await entries(byType(bytes(0, 8, 0), null))).toHaveLength(1);
  expect(await readFailure(byType(bytes(8, 6), null))).toEqual(['NOT_FOUND']);
  const filtered: PartialEntity = {
    $case: 'tableEntry',
    value: { tableId: ID.byType, action: { type: { $case: 'action', value: { actionId: ID.send } } } },
  };
  expect(await readFailure(filtered)).toEqual(['INVALID_ARGUMENT']);
});

test('byte strings are taken in any length, and given back in full', async () => {
  expect(await controller.outcome(INSERT, byType(bytes(5)))).toBe('OK');
  expect(await controller.outcome(INSERT, byType(bytes(0, 0, 5)))).toBe('ALREADY_EXISTS');
  expect(await entries(all(ID.byType))).toEqual([{ key: '0005', params: ['00000001', '0002'] }]);
  const marks = await controller.read([{ $case: 'registerEntry', value: { registerId: ID.marks } }]);
  expect(marks.entities[0]).toMatchObject({
    entity: { value: { data: { data: { value: Buffer.alloc(6) } } } },
  });
});

test('parameters and exact fields that are left out are 0; others are checked', async () => {
  expect(await controller.outcome(INSERT, byType(bytes(8, 0), send(7)))).toBe('OK');
  expect(await entries(all(ID.byType))).toEqual([{ key: '0800', params: ['00000007', '0000'] }]);
  const without: PartialEntity = { $case: 'tableEntry', value: { tableId: ID.byType, action: send(1, 1) } };
  expect(await controller.outcome(INSERT, without)).toBe('OK');
  expect(await controller.outcome(INSERT, byType(bytes(0)))).toBe('ALREADY_EXISTS');
  expect(await controller.outcome(INSERT, byType(bytes(1, 0, 0)))).toBe('INVALID_ARGUMENT');
});

test('OPTIONAL is refused', async () => {
  const value = { value: bytes(1) };
  const entry: PartialEntity = {
    $case: 'tableEntry',
    value: {
      tableId: ID.byMask,
      priority: 1,
      match: [
        { fieldId: 2, fieldMatchType: { $case: 'optional', value } },
        { fieldId: 3, fieldMatchType: { $case: 'exact', value } },
      ],
      action: send(1, 1),
    },
  };
  expect(await controller.outcome(INSERT, entry)).toBe('UNIMPLEMENTED');
});

test('direct counters, meters and idle timeouts are taken, and nothing counts', async () => {
  const more = `
direct_counters { preamble { id: 318767105 name: "Main.c" alias: "c" } spec { unit: BOTH } direct_table_id: ${ID.byType} }
meters { preamble { id: 335544321 name: "Main.m" alias: "m" } spec { unit: BYTES } size: 4 }
`;
  expect(await controller.setPipeline(parseP4InfoText(P4INFO_TEXT + more), SPEC)).toEqual({});
  const entry = byType(bytes(8, 0));
  if (entry.$case !== 'tableEntry') throw new Error('no table entry');
  const timed: PartialEntity = { $case: 'tableEntry', value: { ...entry.value, idleTimeoutNs: 5n } };
  expect(await controller.outcome(INSERT, timed)).toBe('OK');
  const counter = (type: Buffer): PartialEntity => {
    const of = byType(type, null);
    if (of.$case !== 'tableEntry') throw new Error('no table entry');
    return { $case: 'directCounterEntry', value: { tableEntry: of.value, data: { packetCount: 9n } } };
  };
  expect(await controller.outcome(MODIFY, counter(bytes(8, 0)))).toBe('OK');
  expect(await controller.outcome(MODIFY, counter(bytes(8, 6)))).toBe('NOT_FOUND');
  const { entities } = await controller.read([counter(bytes(8, 0))]);
  expect(entities).toMatchObject([{ entity: { value: { data: { packetCount: 0n, byteCount: 0n } } } }]);
  const meter = (meterId: number): PartialEntity => ({ $case: 'meterEntry', value: { meterId } });
  expect(await controller.outcome(MODIFY, meter(335544321))).toBe('OK');
  expect(await controller.outcome(MODIFY, meter(335544322))).toBe('INVALID_ARGUMENT');
});

test('metadata of an entry is not kept', async () => {
  const entry = byType(bytes(8, 0));
  if (entry.$case !== 'tableEntry') throw new Error('no table entry');
  await controller.outcome(INSERT, { ...entry, value: { ...entry.value, metadata: bytes(1) } });
  const { entities } = await controller.read([all(ID.byType)]);
  expect(entities).toMatchObject([{ entity: { value: { metadata: Buffer.alloc(0) } } }]);
});

test('RECONCILE_AND_COMMIT is unimplemented; the cookie comes back', async () => {
  const result = await controller.setPipeline(P4INFO, SPEC, Action.RECONCILE_AND_COMMIT);
  expect(result).toMatchObject({ code: 'UNIMPLEMENTED' });
  const config = await new Promise((resolve, reject) => {
    controller.client.getForwardingPipelineConfig(
      { deviceId: DEVICE, responseType: ResponseType.COOKIE_ONLY },
      (error, response) => {
        if (error) reject(error);
        else resolve(response.config);
      },
    );
  });
  expect(config).toMatchObject({ cookie: { cookie: 99n } });
});

test('device 0 is an invalid one', async () => {
  expect((await controller.read([all(ID.byType)], 0n)).failure?.code).toBe('INVALID_ARGUMENT');
  const channel = new Channel(controller.client);
  channel.arbitrate(5n, { deviceId: 0n });
  expect(await channel.ended).toBe(3);
});

test('five controllers, and a sixth when one of them is gone', async () => {
  const channels: Channel[] = [];
  for (let id = 10n; id < 14n; id++) {
    const channel = new Channel(controller.client);
    channel.arbitrate(id);
    await channel.nextArbitration();
    channels.push(channel);
  }
  const sixth = new Channel(controller.client);
  sixth.arbitrate(20n);
  expect(await sixth.ended).toBe(8);
  channels[0]!.close();
  await channels[0]!.ended;
  const next = new Channel(controller.client);
  next.arbitrate(21n);
  expect(await next.verdict()).toBe('OK 21');
});

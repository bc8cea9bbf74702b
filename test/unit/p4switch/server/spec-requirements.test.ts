/** Requirements of the P4Runtime specification that the tests beside this one do not meet on their way; named as in docs/p4runtime-compliance.md. */
import type { ServiceError } from '@grpc/grpc-js';
import {
  P4Info,
  SetForwardingPipelineConfigRequest,
  Status,
  WriteRequest,
  type TableEntry,
} from 'p4runtime-js-bindings';
import { createInterpreter } from '../../../../src/p4switch/interpreter/interpreter';
import { startSwitchServer, type SwitchServer } from '../../../../src/p4switch/server/server';
import {
  Action,
  Channel,
  DEVICE,
  isFailure,
  type PartialEntity,
  TestController,
  uint128,
  Update_Type,
} from './controller';
import { ID, P4INFO, SPEC } from './small-pipeline';

const { INSERT, MODIFY, DELETE } = Update_Type;
const ELECTION = 5n;

let server: SwitchServer;
let controller: TestController;
let primary: Channel;
const others: TestController[] = [];

beforeEach(async () => {
  server = await startSwitchServer({
    address: '127.0.0.1:0',
    deviceId: DEVICE,
    createEngine: (spec) => createInterpreter(spec, { now: () => 0 }),
  });
  controller = new TestController(server.address);
  primary = await controller.primary(ELECTION);
  expect(await controller.setPipeline(P4INFO, SPEC)).toEqual({});
});
afterEach(async () => {
  for (const other of others.splice(0)) other.close();
  controller.close();
  await server.stop();
});

function another(): TestController {
  const other = new TestController(server.address);
  others.push(other);
  return other;
}

type Entry = NonNullable<Extract<PartialEntity, { $case?: 'tableEntry' }>['value']>;
const entity = (value: Entry): PartialEntity => ({ $case: 'tableEntry', value });
const exact = (fieldId: number, ...value: number[]) => ({
  fieldId,
  fieldMatchType: { $case: 'exact' as const, value: { value: Buffer.from(value) } },
});
const act = (actionId: number) => ({ type: { $case: 'action' as const, value: { actionId } } });
const byType = (type: number, action = act(ID.drop)): Entry => ({
  tableId: ID.byType,
  match: [exact(1, type)],
  action,
});
const masked = (priority: number): Entry => ({
  tableId: ID.byMask,
  match: [exact(3, 0)],
  priority,
  action: act(ID.drop),
});
const entries = async (value: Entry = {}): Promise<TableEntry[]> =>
  (await controller.read([entity(value)])).entities.map((e) => (e.entity as { value: TableEntry }).value);

describe('arbitration', () => {
  test('two roles may have one election id', async () => {
    const other = new Channel(another().client);
    other.arbitrate(ELECTION, { role: 'stats' });
    expect(await other.verdict()).toBe(`OK ${ELECTION}`);
    expect(primary.pending).toBe(0);
  });

  test('a notification names device and role', async () => {
    const other = new Channel(another().client);
    other.arbitrate(1n, { role: 'stats' });
    expect(await other.nextArbitration()).toMatchObject({ deviceId: DEVICE, role: { name: 'stats' } });
    const backup = new Channel(another().client);
    backup.arbitrate(1n);
    expect(await backup.nextArbitration()).toMatchObject({ deviceId: DEVICE, role: undefined });
  });

  test('the highest election id is remembered when every controller is gone', async () => {
    primary.close();
    await primary.ended;
    const late = new Channel(another().client);
    late.arbitrate(ELECTION - 1n);
    expect(await late.verdict()).toBe(`NOT_FOUND ${ELECTION}`);
    late.arbitrate(ELECTION);
    expect(await late.verdict()).toBe(`OK ${ELECTION}`);
  });

  test('a pipeline is for the device, the role and the primary, in this order', async () => {
    const writer = another();
    const set = (deviceId: bigint, role: string, electionId: bigint) =>
      new Promise((resolve) => {
        writer.client.setForwardingPipelineConfig(
          SetForwardingPipelineConfigRequest.fromPartial({
            deviceId,
            role,
            electionId: uint128(electionId),
            action: Action.VERIFY,
          }),
          (error: ServiceError | null) => {
            resolve(error?.code);
          },
        );
      });
    const [NOT_FOUND, PERMISSION_DENIED, INVALID_ARGUMENT] = [5, 7, 3];
    expect(await set(DEVICE + 1n, 'nobody', 1n)).toBe(NOT_FOUND);
    expect(await set(DEVICE, 'nobody', 1n)).toBe(NOT_FOUND);
    expect(await set(DEVICE, '', 1n)).toBe(PERMISSION_DENIED);
    expect(await set(DEVICE, '', ELECTION)).toBe(INVALID_ARGUMENT);
  });
});

describe('writing', () => {
  test('a role that nobody has', async () => {
    expect(await controller.write([[INSERT, entity(byType(1))]], { role: 'nobody' })).toMatchObject({
      code: 'NOT_FOUND',
    });
  });

  test('an INSERT of what is there changes nothing', async () => {
    expect(await controller.outcome(INSERT, entity({ ...byType(1), metadata: Buffer.from('first') }))).toBe(
      'OK',
    );
    const before = await entries();
    const again = { ...byType(1), metadata: Buffer.from('second') };
    expect(await controller.outcome(INSERT, entity(again))).toBe('ALREADY_EXISTS');
    expect(await entries()).toEqual(before);
  });

  test.each<[string, Update_Type, Entry]>([
    ['table id 0', INSERT, { ...byType(1), tableId: 0 }],
    ['field id 0', INSERT, { ...byType(1), match: [exact(0, 1)] }],
    ['action id 0', INSERT, byType(1, act(0))],
    ['a DELETE with table id 0', DELETE, { ...byType(1), tableId: 0 }],
    [
      'an idle timeout of a default entry',
      MODIFY,
      { tableId: ID.byType, isDefaultAction: true, idleTimeoutNs: 1n },
    ],
    ['the time of the last hit', INSERT, { ...byType(1), timeSinceLastHit: {} }],
  ])('INVALID_ARGUMENT: %s', async (_, type, value) => {
    expect(await controller.outcome(type, entity(value))).toBe('INVALID_ARGUMENT');
    expect(await entries()).toEqual([]);
  });

  test('an update without an entity', async () => {
    expect(await controller.write([], { updates: [{ type: INSERT }] })).toMatchObject({
      each: ['INVALID_ARGUMENT'],
    });
  });

  test('the default entry of a constant table is not constant', async () => {
    const info = P4Info.decode(P4Info.encode(P4INFO).finish());
    info.tables[0]!.isConstTable = true;
    expect(await controller.setPipeline(info, SPEC)).toEqual({});
    const value: Entry = { tableId: ID.byType, isDefaultAction: true, action: act(ID.drop) };
    expect(await controller.outcome(MODIFY, entity(value))).toBe('OK');
    expect(await entries({ tableId: ID.byType, isDefaultAction: true })).toMatchObject([value]);
  });

  test('a register is written as a whole', async () => {
    const data = { data: { $case: 'bitstring' as const, value: Buffer.of(7) } };
    expect(
      await controller.outcome(MODIFY, { $case: 'registerEntry', value: { registerId: ID.marks, data } }),
    ).toBe('OK');
    const { entities } = await controller.read([{ $case: 'registerEntry', value: { registerId: ID.marks } }]);
    expect(entities).toHaveLength(4);
    expect(entities).toMatchObject(entities.map(() => ({ entity: { value: { data } } })));
  });
});

describe('what a failed Write tells', () => {
  const refusal = (updates: readonly (readonly [Update_Type, PartialEntity])[], electionId: bigint) =>
    new Promise<ServiceError>((resolve, reject) => {
      const request = WriteRequest.fromPartial({
        deviceId: DEVICE,
        electionId: uint128(electionId),
        updates: updates.map(([type, value]) => ({ type, entity: { entity: value } })),
      });
      controller.client.write(request, (error: ServiceError | null) => {
        if (error) resolve(error);
        else reject(new Error('it was taken'));
      });
    });

  test('code and message are the same in the details; each update has a status, without words where it succeeded', async () => {
    const error = await refusal(
      [
        [INSERT, entity(byType(1))],
        [INSERT, entity(byType(1))],
      ],
      ELECTION,
    );
    const [bin] = error.metadata.get('grpc-status-details-bin');
    const { code, message, details } = Status.decode(bin as Buffer);
    expect({ code, message }).toEqual({ code: error.code, message: error.details });
    expect(details.map(({ typeUrl }) => typeUrl)).toEqual(
      details.map(() => 'type.googleapis.com/p4.v1.Error'),
    );
    const result = await controller.write([
      [INSERT, entity(byType(2))],
      [INSERT, entity(byType(2))],
    ]);
    expect(isFailure(result) && result.each).toEqual(['OK', 'ALREADY_EXISTS']);
    expect(isFailure(result) && result.eachMessage[0]).toBe('');
  });

  test('what fails before the first update has no details', async () => {
    const error = await refusal([[INSERT, entity(byType(1))]], ELECTION + 1n);
    expect(error.code).toBe(7);
    const [bin] = error.metadata.get('grpc-status-details-bin');
    expect(bin === undefined ? [] : Status.decode(bin as Buffer).details).toEqual([]);
    expect(await entries()).toEqual([]);
  });
});

describe('reading', () => {
  test('needs no stream and no election id', async () => {
    await controller.outcome(INSERT, entity(byType(1)));
    const reader = another();
    expect((await reader.read([entity({})])).entities).toHaveLength(1);
  });

  test('a request without an entity is invalid, and the others are answered', async () => {
    await controller.outcome(INSERT, entity(byType(1)));
    const empty = undefined as unknown as PartialEntity;
    const { entities, failure } = await controller.read([empty, entity({})]);
    expect(entities).toHaveLength(1);
    expect(failure).toMatchObject({ code: 'UNKNOWN', each: ['INVALID_ARGUMENT', 'OK'] });
  });

  test('is of a moment before a Write or after it', async () => {
    const all = Array.from({ length: 4500 }, (_, i) => entity(masked(i + 1)));
    expect(await controller.write(all.map((value) => [INSERT, value] as const))).toEqual({});
    const reader = another();
    const seen: number[] = [];
    // Reads that start before, with and after the Write that removes everything.
    const reads = Array.from({ length: 4 }, () => reader.read([entity({ tableId: ID.byMask })]));
    const removed = controller.write(all.map((value) => [DELETE, value] as const));
    reads.push(reader.read([entity({ tableId: ID.byMask })]));
    for (const { entities, failure } of await Promise.all(reads)) {
      expect(failure).toBeUndefined();
      seen.push(entities.length);
    }
    expect(await removed).toEqual({});
    seen.push((await entries({ tableId: ID.byMask })).length);
    expect(seen.filter((count) => count !== 0 && count !== 4500)).toEqual([]);
    expect(seen.at(0)).toBe(4500);
    expect(seen.at(-1)).toBe(0);
  });
});

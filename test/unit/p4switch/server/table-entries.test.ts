import { P4Info, TableEntry } from 'p4runtime-js-bindings';
import { createInterpreter, type Interpreter } from '../../../../src/p4switch/interpreter/interpreter';
import type { SpecEntry } from '../../../../src/p4switch/engine';
import { startSwitchServer, type SwitchServer } from '../../../../src/p4switch/server/server';
import { Action, Atomicity, isFailure, type PartialEntity, TestController, Update_Type } from './controller';
import { ID, P4INFO, SPEC } from './small-pipeline';

const { INSERT, MODIFY, DELETE } = Update_Type;
type PartialTableEntry = Extract<PartialEntity, { $case?: 'tableEntry' }>['value'];

let server: SwitchServer;
let controller: TestController;
const bytes = (...values: number[]): Buffer => Buffer.from(values);

beforeAll(async () => {
  server = await startSwitchServer({
    address: '127.0.0.1:0',
    deviceId: 7n,
    createEngine: (spec) => createInterpreter(spec, { now: () => 0 }),
  });
  controller = new TestController(server.address);
  await controller.primary();
});
afterAll(async () => {
  controller.close();
  await server.stop();
});
beforeEach(async () => {
  expect(await controller.setPipeline(P4INFO, SPEC)).toEqual({});
});

const entity = (value: PartialTableEntry): PartialEntity => ({ $case: 'tableEntry', value });
const exact = (fieldId: number, ...value: number[]) => ({
  fieldId,
  fieldMatchType: { $case: 'exact' as const, value: { value: bytes(...value) } },
});
const lpm = (fieldId: number, value: number[], prefixLen: number) => ({
  fieldId,
  fieldMatchType: { $case: 'lpm' as const, value: { value: bytes(...value), prefixLen } },
});
const ternary = (fieldId: number, value: number[], mask: number[]) => ({
  fieldId,
  fieldMatchType: { $case: 'ternary' as const, value: { value: bytes(...value), mask: bytes(...mask) } },
});
const optional = (fieldId: number, ...value: number[]) => ({
  fieldId,
  fieldMatchType: { $case: 'optional' as const, value: { value: bytes(...value) } },
});
const act = (actionId: number, ...params: [number, number[]][]) => ({
  type: {
    $case: 'action' as const,
    value: { actionId, params: params.map(([paramId, value]) => ({ paramId, value: bytes(...value) })) },
  },
});
const send = act(ID.send, [1, [9]], [2, [4, 1]]);
const byType = (...type: number[]) => ({ tableId: ID.byType, match: [exact(1, ...type)], action: send });
const prefix = { tableId: ID.byPrefix, match: [lpm(1, [10, 0, 0, 0, 0, 0], 8), exact(2, 5)], action: send };
const mask = {
  tableId: ID.byMask,
  match: [ternary(1, [0x12, 0], [0xff, 0]), optional(2, 0xf, 0xff), exact(3, 0)],
  priority: 10,
  action: send,
};

describe('what is written is read back', () => {
  async function readBack(filter: PartialTableEntry): Promise<TableEntry[]> {
    const { entities, failure } = await controller.read([entity(filter)]);
    expect(failure).toBeUndefined();
    return entities.map((e) => (e.entity as { value: TableEntry }).value);
  }

  test.each<[string, PartialTableEntry]>([
    ['exact', byType(8, 0)],
    ['zero in a match and in parameters', { ...byType(0), action: act(ID.send, [1, [0]], [2, [0]]) }],
    ['lpm and exact', prefix],
    ['lpm left out', { ...prefix, match: [exact(2, 5)] }],
    ['lpm of the full width', { ...prefix, match: [lpm(1, [1, 2, 3, 4, 5, 6], 48), exact(2, 5)] }],
    ['lpm of one bit', { ...prefix, match: [lpm(1, [0x80, 0, 0, 0, 0, 0], 1), exact(2, 5)] }],
    ['ternary, optional and exact', mask],
    ['ternary and optional left out', { ...mask, match: [exact(3, 7)] }],
    ['metadata', { ...byType(8, 0), metadata: Buffer.from('mine'), controllerMetadata: 99n }],
  ])('%s', async (_, entry) => {
    expect(await controller.outcome(INSERT, entity(entry))).toBe('OK');
    const [found, ...others] = await readBack({ tableId: entry!.tableId });
    expect(others).toEqual([]);
    expect(found).toEqual(TableEntry.fromPartial(entry!));
    expect(
      await readBack({ tableId: entry!.tableId, match: entry!.match, priority: entry!.priority }),
    ).toEqual([found]);
    expect(await controller.outcome(DELETE, entity({ ...entry, action: undefined }))).toBe('OK');
    expect(await readBack({ tableId: entry!.tableId })).toEqual([]);
  });

  test('padded byte strings name the same entry, and come back canonical', async () => {
    expect(await controller.outcome(INSERT, entity(byType(0, 0, 0, 5)))).toBe('OK');
    expect(await controller.outcome(INSERT, entity(byType(5)))).toBe('ALREADY_EXISTS');
    expect((await readBack({ tableId: ID.byType }))[0]!.match).toEqual([exact(1, 5)]);
  });

  test('parameters arrive at the engine in the order of the spec', async () => {
    await controller.outcome(INSERT, entity(byType(8, 0)));
    expect([...server.engine()!.entries('by_type')].map((e) => e.action)).toEqual([
      { name: 'send', params: [9n, 0x401n] },
    ]);
    await controller.outcome(INSERT, entity(prefix));
    expect([...server.engine()!.entries('by_prefix')]).toEqual([
      {
        keys: [
          { value: 0x0a0000000000n, mask: 0xff0000000000n },
          { value: 5n, mask: 0xffffffffn },
        ],
        priority: 0,
        action: { name: 'send_1', params: [9n, 0x401n] },
      },
    ]);
  });

  test('a field that the spec pads to whole bytes', async () => {
    const info = P4Info.decode(P4Info.encode(P4INFO).finish());
    info.tables[1]!.matchFields[0]!.bitwidth = 44;
    expect(await controller.setPipeline(info, SPEC)).toEqual({});
    const entry = { ...prefix, match: [lpm(1, [0xa, 0xb0, 0, 0, 0, 0], 8), exact(2, 5)] };
    expect(await controller.outcome(INSERT, entity(entry))).toBe('OK');
    const [{ keys }] = [...server.engine()!.entries('by_prefix')] as [SpecEntry];
    expect(keys[0]).toEqual({ value: 0xab000000000n, mask: 0xfff000000000n | (0xfn << 44n) });
    expect(await readBack({ tableId: ID.byPrefix })).toEqual([TableEntry.fromPartial(entry)]);
  });

  test('filters: all tables, action, priority, metadata, key without priority', async () => {
    const low = { ...mask, priority: 3, metadata: Buffer.from('low') };
    const drop = { ...mask, match: [exact(3, 9)], action: act(ID.drop) };
    for (const e of [byType(1), prefix, mask, low, drop])
      expect(await controller.outcome(INSERT, entity(e))).toBe('OK');
    expect(await readBack({})).toHaveLength(5);
    expect(await readBack({ tableId: ID.byMask })).toHaveLength(3);
    expect(await readBack({ tableId: ID.byMask, action: act(ID.drop) })).toHaveLength(1);
    expect(await readBack({ tableId: ID.byMask, priority: 3 })).toHaveLength(1);
    expect(await readBack({ tableId: ID.byMask, match: mask.match })).toHaveLength(2);
    expect(await readBack({ tableId: ID.byMask, metadata: Buffer.from('low') })).toHaveLength(1);
    expect(await readBack({ tableId: ID.byType, match: [exact(1, 2)] })).toEqual([]);
  });

  test('modify changes the action and the metadata, and nothing without an action', async () => {
    await controller.outcome(INSERT, entity({ ...byType(8, 0), metadata: Buffer.from('a') }));
    expect(await controller.outcome(MODIFY, entity({ ...byType(8, 0), action: act(ID.drop) }))).toBe('OK');
    expect(await readBack({ tableId: ID.byType })).toEqual([
      TableEntry.fromPartial({ ...byType(8, 0), action: act(ID.drop) }),
    ]);
    expect(await controller.outcome(MODIFY, entity({ ...byType(8, 0), action: undefined }))).toBe('OK');
    expect((await readBack({ tableId: ID.byType }))[0]!.action).toEqual(act(ID.drop));
  });

  test('default entries: read, modify, reset', async () => {
    const filter = { tableId: ID.byMask, isDefaultAction: true };
    const original = [TableEntry.fromPartial({ ...filter, action: act(ID.drop) })];
    expect(await readBack(filter)).toEqual(original);
    const table = { tableId: ID.byType, isDefaultAction: true };
    const changed = { ...table, action: send, metadata: Buffer.from('x') };
    expect(await controller.outcome(MODIFY, entity(changed))).toBe('OK');
    expect(await readBack(table)).toEqual([TableEntry.fromPartial(changed)]);
    expect(await readBack({ tableId: ID.byType })).toEqual([]);
    expect(await controller.outcome(MODIFY, entity(table))).toBe('OK');
    expect(await readBack(table)).toEqual([TableEntry.fromPartial({ ...table, action: act(ID.noAction) })]);
  });

  test('learned entries are readable and constant', async () => {
    const frame = Buffer.from('0102030405060a0b0c0d0e0f0800', 'hex');
    server.engine()!.process(1, Buffer.concat([frame, Buffer.alloc(46)]), false);
    const learned = {
      tableId: ID.flows,
      match: [exact(1, 1, 2, 3, 4, 5, 6), exact(2, 10, 11, 12, 13, 14, 15)],
      action: act(ID.flowHit),
      isConst: true,
    };
    expect(await readBack({ tableId: ID.flows })).toEqual([TableEntry.fromPartial(learned)]);
    expect(await readBack({ tableId: ID.flows, match: learned.match })).toHaveLength(1);
    expect(await readBack({})).toHaveLength(1);
    const other = { tableId: ID.flows, match: [exact(1, 1), exact(2, 2)], action: act(ID.flowHit) };
    expect(await controller.outcome(INSERT, entity(other))).toBe('PERMISSION_DENIED');
    expect(await controller.outcome(DELETE, entity({ ...learned, isConst: false }))).toBe(
      'PERMISSION_DENIED',
    );
  });

  test('large reads come in chunks, in one piece with the moment of the request', async () => {
    const many = Array.from(
      { length: 2500 },
      (_, i) => [INSERT, entity({ ...mask, priority: i + 1 })] as const,
    );
    expect(await controller.write(many)).toEqual({});
    const { entities, chunks } = await controller.read([entity({ tableId: ID.byMask })]);
    expect(entities).toHaveLength(2500);
    expect(chunks).toEqual([1000, 1000, 500]);
  });
});

describe('error codes', () => {
  test.each<[string, string, Update_Type, PartialTableEntry]>([
    ['INVALID_ARGUMENT', 'an update without a type', Update_Type.UNSPECIFIED, byType(1)],
    ['INVALID_ARGUMENT', 'an unknown table', INSERT, { ...byType(1), tableId: 5 }],
    ['INVALID_ARGUMENT', 'an unknown match field', INSERT, { ...byType(1), match: [exact(2, 1)] }],
    [
      'INVALID_ARGUMENT',
      'a match field given twice',
      INSERT,
      { ...byType(1), match: [exact(1, 1), exact(1, 1)] },
    ],
    ['INVALID_ARGUMENT', 'a missing exact field', INSERT, { ...byType(1), match: [] }],
    ['INVALID_ARGUMENT', 'a match field without a value', INSERT, { ...byType(1), match: [{ fieldId: 1 }] }],
    ['INVALID_ARGUMENT', 'another kind of match', INSERT, { ...byType(1), match: [lpm(1, [1], 16)] }],
    ['INVALID_ARGUMENT', 'an empty byte string', INSERT, byType()],
    ['INVALID_ARGUMENT', 'a value that is too wide', INSERT, byType(1, 0, 0)],
    [
      'INVALID_ARGUMENT',
      'a value one bit too wide',
      INSERT,
      { ...mask, match: [optional(2, 0x10, 0), exact(3, 0)] },
    ],
    ['INVALID_ARGUMENT', 'an absurdly long value', INSERT, byType(...new Array<number>(5000).fill(255))],
    ['OK', 'a long value of leading zeros', INSERT, byType(...new Array<number>(5000).fill(0), 9)],
    [
      'INVALID_ARGUMENT',
      'lpm: bits beyond the prefix',
      INSERT,
      { ...prefix, match: [lpm(1, [1], 40), exact(2, 5)] },
    ],
    ['INVALID_ARGUMENT', 'lpm: prefix length 0', INSERT, { ...prefix, match: [lpm(1, [0], 0), exact(2, 5)] }],
    [
      'INVALID_ARGUMENT',
      'lpm: prefix too long',
      INSERT,
      { ...prefix, match: [lpm(1, [0], 49), exact(2, 5)] },
    ],
    [
      'INVALID_ARGUMENT',
      'lpm: negative prefix',
      INSERT,
      { ...prefix, match: [lpm(1, [0], -1), exact(2, 5)] },
    ],
    ['INVALID_ARGUMENT', 'ternary: mask 0', INSERT, { ...mask, match: [ternary(1, [0], [0]), exact(3, 0)] }],
    [
      'INVALID_ARGUMENT',
      'ternary: bits outside the mask',
      INSERT,
      { ...mask, match: [ternary(1, [3], [1]), exact(3, 0)] },
    ],
    ['INVALID_ARGUMENT', 'ternary: no priority', INSERT, { ...mask, priority: 0 }],
    ['INVALID_ARGUMENT', 'ternary: negative priority', INSERT, { ...mask, priority: -1 }],
    ['INVALID_ARGUMENT', 'exact: a priority', INSERT, { ...byType(1), priority: 1 }],
    ['INVALID_ARGUMENT', 'lpm: a priority', INSERT, { ...prefix, priority: 1 }],
    ['INVALID_ARGUMENT', 'no action', INSERT, { ...byType(1), action: undefined }],
    ['INVALID_ARGUMENT', 'an empty action', INSERT, { ...byType(1), action: {} }],
    ['INVALID_ARGUMENT', 'an unknown action', INSERT, { ...byType(1), action: act(5) }],
    ['INVALID_ARGUMENT', 'an action of another table', INSERT, { ...byType(1), action: act(ID.flowHit) }],
    [
      'PERMISSION_DENIED',
      'a default-only action in an entry',
      INSERT,
      { ...byType(1), action: act(ID.noAction) },
    ],
    ['INVALID_ARGUMENT', 'a missing parameter', INSERT, { ...byType(1), action: act(ID.send, [1, [1]]) }],
    ['INVALID_ARGUMENT', 'an unknown parameter', INSERT, { ...byType(1), action: act(ID.drop, [1, [1]]) }],
    [
      'INVALID_ARGUMENT',
      'a parameter given twice',
      INSERT,
      { ...byType(1), action: act(ID.send, [1, [1]], [1, [1]], [2, [1]]) },
    ],
    [
      'INVALID_ARGUMENT',
      'a parameter too wide',
      INSERT,
      { ...byType(1), action: act(ID.send, [1, [1]], [2, [0x10, 0]]) },
    ],
    [
      'INVALID_ARGUMENT',
      'an empty parameter',
      INSERT,
      { ...byType(1), action: act(ID.send, [1, []], [2, [1]]) },
    ],
    [
      'INVALID_ARGUMENT',
      'a member of an action profile',
      INSERT,
      { ...byType(1), action: { type: { $case: 'actionProfileMemberId', value: 1 } } },
    ],
    [
      'INVALID_ARGUMENT',
      'an entry of a table without a key',
      INSERT,
      { tableId: ID.always, action: act(ID.drop) },
    ],
    ['INVALID_ARGUMENT', 'is_const', INSERT, { ...byType(1), isConst: true }],
    ['INVALID_ARGUMENT', 'an idle timeout', INSERT, { ...byType(1), idleTimeoutNs: 1n }],
    ['INVALID_ARGUMENT', 'direct counter data', INSERT, { ...byType(1), counterData: {} }],
    ['INVALID_ARGUMENT', 'a direct meter', INSERT, { ...byType(1), meterConfig: {} }],
    ['NOT_FOUND', 'modify of a missing entry', MODIFY, byType(1)],
    ['NOT_FOUND', 'delete of a missing entry', DELETE, byType(1)],
    [
      'NOT_FOUND',
      'delete with nonsense beside the key',
      DELETE,
      { ...byType(1), action: act(5), idleTimeoutNs: 1n },
    ],
    [
      'INVALID_ARGUMENT',
      'insert of a default entry',
      INSERT,
      { tableId: ID.byType, isDefaultAction: true, action: send },
    ],
    ['INVALID_ARGUMENT', 'delete of a default entry', DELETE, { tableId: ID.byType, isDefaultAction: true }],
    ['INVALID_ARGUMENT', 'a default entry with a match', MODIFY, { ...byType(1), isDefaultAction: true }],
    [
      'INVALID_ARGUMENT',
      'a default entry with a priority',
      MODIFY,
      { ...mask, match: [], isDefaultAction: true },
    ],
    [
      'PERMISSION_DENIED',
      'a table-only action as default',
      MODIFY,
      { tableId: ID.byMask, isDefaultAction: true, action: send },
    ],
    [
      'PERMISSION_DENIED',
      'a constant default action',
      MODIFY,
      { tableId: ID.byPrefix, isDefaultAction: true, action: act(ID.noAction) },
    ],
    [
      'PERMISSION_DENIED',
      'the miss action of a learned table',
      MODIFY,
      { tableId: ID.flows, isDefaultAction: true },
    ],
    [
      'OK',
      'the default of a table without a key',
      MODIFY,
      { tableId: ID.always, isDefaultAction: true, action: act(ID.drop) },
    ],
  ])('%s: %s', async (code, _, type, entry) => {
    expect(await controller.outcome(type, entity(entry))).toBe(code);
  });

  test('RESOURCE_EXHAUSTED: the size of p4info, not one more', async () => {
    for (let i = 0; i < 8; i++) expect(await controller.outcome(INSERT, entity(byType(i)))).toBe('OK');
    expect(await controller.outcome(INSERT, entity(byType(8)))).toBe('RESOURCE_EXHAUSTED');
    expect(await controller.outcome(MODIFY, entity(byType(7)))).toBe('OK');
    expect(await controller.outcome(DELETE, entity(byType(0)))).toBe('OK');
    expect(await controller.outcome(INSERT, entity(byType(8)))).toBe('OK');
  });

  test('PERMISSION_DENIED: entries of constant tables', async () => {
    const info = P4Info.decode(P4Info.encode(P4INFO).finish());
    info.tables[0]!.isConstTable = true;
    expect(await controller.setPipeline(info, SPEC)).toEqual({});
    for (const type of [INSERT, MODIFY, DELETE]) {
      expect(await controller.outcome(type, entity(byType(1)))).toBe('PERMISSION_DENIED');
    }
  });

  test.each<[string, PartialTableEntry]>([
    ['all tables with another filter', { priority: 1 }],
    ['an unknown table', { tableId: 5 }],
    ['an invalid key', { tableId: ID.byType, match: [lpm(1, [1], 16)] }],
    ['a priority where there are none', { tableId: ID.byType, priority: 1 }],
    ['an action with parameters', { tableId: ID.byType, action: send }],
    ['a default entry with a key', { ...byType(1), action: undefined, isDefaultAction: true }],
    ['direct counters', { tableId: ID.byType, counterData: {} }],
    ['the time of the last hit', { tableId: ID.byType, timeSinceLastHit: {} }],
  ])('INVALID_ARGUMENT: read of %s', async (_, filter) => {
    const { failure, entities } = await controller.read([entity(filter)]);
    expect(entities).toEqual([]);
    expect(failure).toMatchObject({ code: 'UNKNOWN', each: ['INVALID_ARGUMENT'] });
  });
});

describe('batches', () => {
  const batch = [
    [INSERT, entity(byType(1))],
    [INSERT, entity({ ...byType(2), action: act(5) })],
    [MODIFY, entity({ ...byType(9), action: act(ID.drop) })],
    [DELETE, entity(byType(8))],
    [DELETE, entity(byType(77))],
  ] as const;
  beforeEach(async () => {
    await controller.outcome(INSERT, entity({ ...byType(9), metadata: Buffer.from('nine') }));
    await controller.outcome(INSERT, entity({ ...byType(8), metadata: Buffer.from('eight') }));
  });
  const contents = async () =>
    (await controller.read([entity({ tableId: ID.byType })])).entities
      .map((e) => JSON.stringify(TableEntry.encode((e.entity as { value: TableEntry }).value).finish()))
      .sort();

  test('CONTINUE_ON_ERROR tries each update and tells what became of each', async () => {
    const result = await controller.write(batch);
    expect(result).toMatchObject({
      code: 'UNKNOWN',
      each: ['OK', 'INVALID_ARGUMENT', 'OK', 'OK', 'NOT_FOUND'],
    });
    expect(isFailure(result) && result.eachMessage[1]).toMatch(/no action with id 5/);
    expect(await contents()).toHaveLength(2);
  });

  test.each([Atomicity.ROLLBACK_ON_ERROR, Atomicity.DATAPLANE_ATOMIC])(
    'atomicity %s leaves everything as it was',
    async (atomicity) => {
      const before = await contents();
      const [good, bad, ...rest] = batch;
      const defaults = [MODIFY, entity({ tableId: ID.byType, isDefaultAction: true, action: send })] as const;
      const result = await controller.write([good, rest[0], rest[1], defaults, bad, rest[2]], {
        atomicity,
      });
      const aborted = 'ABORTED';
      expect(result).toMatchObject({
        each: [aborted, aborted, aborted, aborted, 'INVALID_ARGUMENT', aborted],
      });
      expect(await contents()).toEqual(before);
      expect(server.engine()!.defaultAction('by_type').name).toBe('NoAction');
      expect(await controller.write([good, rest[0]], { atomicity })).toEqual({});
      expect(await contents()).toHaveLength(3);
    },
  );

  test('UNIMPLEMENTED: an unknown atomicity', async () => {
    // eslint-disable-next-line @typescript-eslint/no-unsafe-enum-assignment -- that is the point
    expect(await controller.write(batch, { atomicity: 9 as Atomicity })).toMatchObject({
      code: 'UNIMPLEMENTED',
      each: [],
    });
  });

  test('a batch of failures that is too large for their messages keeps the codes', async () => {
    const many = Array.from({ length: 1000 }, (_, i) => [DELETE, entity(byType(i >> 8, i & 255))] as const);
    const result = await controller.write(many);
    expect(result).toMatchObject({ code: 'UNKNOWN' });
    expect(isFailure(result) && result.each.filter((c) => c === 'NOT_FOUND')).toHaveLength(998);
    const tooMany = await controller.write([...many, ...many, ...many]);
    expect(tooMany).toMatchObject({ code: 'UNKNOWN', each: [] });
  });

  test('a new pipeline starts empty', async () => {
    expect(await controller.setPipeline(P4INFO, SPEC, Action.VERIFY_AND_COMMIT)).toEqual({});
    expect(await contents()).toEqual([]);
  });
});

test('the engine under test is the interpreter', () => {
  expect((server.engine() as Interpreter).learnerStats('flows')).toBeDefined();
});

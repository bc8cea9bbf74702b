import { parseP4InfoText } from '../../../../src/p4info/text-format';
import { createInterpreter } from '../../../../src/p4switch/interpreter/interpreter';
import { startSwitchServer, type SwitchServer } from '../../../../src/p4switch/server/server';
import { Atomicity, isFailure, type PartialEntity, TestController, Update_Type } from './controller';
import {
  METER_ID as ID,
  METERS_TEXT as METERS,
  P4INFO_TEXT,
  SPEC_WITH_METERS as WITH_METERS,
} from './small-pipeline';

const CONFIG = { cir: 5n, cburst: 6n, pir: 7n, pburst: 8n };

let server: SwitchServer;
let controller: TestController;

beforeEach(async () => {
  server = await startSwitchServer({
    address: '127.0.0.1:0',
    deviceId: 7n,
    createEngine: (spec) => createInterpreter(spec, { now: () => 0 }),
  });
  controller = new TestController(server.address);
  await controller.primary();
  expect(await controller.setPipeline(parseP4InfoText(P4INFO_TEXT + METERS), WITH_METERS)).toEqual({});
});
afterEach(async () => {
  controller.close();
  await server.stop();
});

type MeterValue = Extract<PartialEntity, { $case: 'meterEntry' }>['value'];
const meter = (value: MeterValue = {}): PartialEntity => ({
  $case: 'meterEntry',
  value: { meterId: ID, ...value },
});
const at = (index: bigint): MeterValue => ({ index: { index } });
/** The configs of the meters that a read gives, by index. */
const read = async (filter: PartialEntity): Promise<[bigint, bigint | undefined][]> => {
  const { entities, failure } = await controller.read([filter]);
  expect(failure).toBeUndefined();
  return entities.map(({ entity }) => {
    if (entity?.$case !== 'meterEntry') throw new Error(`a ${entity?.$case ?? 'nothing'}`);
    expect(entity.value.meterId).toBe(ID);
    return [entity.value.index!.index, entity.value.config?.cir];
  });
};

test('cells are set, read and set back', async () => {
  expect(await controller.outcome(Update_Type.MODIFY, meter({ ...at(2n), config: CONFIG }))).toBe('OK');
  expect(server.engine()!.readMeter('limits_0', 2)).toEqual({
    rate: 5n,
    burst: 6n,
    peakRate: 7n,
    peakBurst: 8n,
  });
  const all = [
    [0n, undefined],
    [1n, undefined],
    [2n, 5n],
    [3n, undefined],
  ];
  expect(await read(meter())).toEqual(all);
  expect(await read({ $case: 'meterEntry', value: {} })).toEqual(all);
  expect(await read(meter(at(2n)))).toEqual([[2n, 5n]]);
  const [found] = (await controller.read([meter(at(2n))])).entities;
  expect(found).toMatchObject({ entity: { value: { config: CONFIG } } });
  expect(await controller.outcome(Update_Type.MODIFY, meter(at(2n)))).toBe('OK');
  expect(await read(meter(at(2n)))).toEqual([[2n, undefined]]);
});

test('without an index all cells are set', async () => {
  expect(await controller.outcome(Update_Type.MODIFY, meter({ config: CONFIG }))).toBe('OK');
  expect((await read(meter())).map(([, cir]) => cir)).toEqual([5n, 5n, 5n, 5n]);
});

test('a batch that fails as a whole takes them back', async () => {
  await controller.outcome(Update_Type.MODIFY, meter({ ...at(1n), config: CONFIG }));
  const outcome = await controller.write(
    [
      [Update_Type.MODIFY, meter({ config: { ...CONFIG, cir: 1n } })],
      [Update_Type.MODIFY, meter(at(9n))],
    ],
    { atomicity: Atomicity.ROLLBACK_ON_ERROR },
  );
  expect(isFailure(outcome)).toBe(true);
  expect((await read(meter())).map(([, cir]) => cir)).toEqual([undefined, 5n, undefined, undefined]);
});

test.each<[string, string, Update_Type, PartialEntity]>([
  ['INVALID_ARGUMENT', 'INSERT', Update_Type.INSERT, meter({ ...at(0n), config: CONFIG })],
  ['INVALID_ARGUMENT', 'DELETE', Update_Type.DELETE, meter(at(0n))],
  ['INVALID_ARGUMENT', 'another meter', Update_Type.MODIFY, meter({ meterId: 5 })],
  ['INVALID_ARGUMENT', 'a negative index', Update_Type.MODIFY, meter(at(-1n))],
  ['OUT_OF_RANGE', 'an index beyond', Update_Type.MODIFY, meter({ ...at(4n), config: CONFIG })],
  ['INVALID_ARGUMENT', 'no rate', Update_Type.MODIFY, meter({ config: { ...CONFIG, cir: 0n } })],
  ['INVALID_ARGUMENT', 'no burst', Update_Type.MODIFY, meter({ config: { ...CONFIG, cburst: 0n } })],
  ['INVALID_ARGUMENT', 'no peak burst', Update_Type.MODIFY, meter({ config: { ...CONFIG, pburst: 0n } })],
  ['INVALID_ARGUMENT', 'a peak below', Update_Type.MODIFY, meter({ config: { ...CONFIG, pir: 4n } })],
  ['INVALID_ARGUMENT', 'a negative rate', Update_Type.MODIFY, meter({ config: { ...CONFIG, cir: -1n } })],
  ['INVALID_ARGUMENT', 'an excess burst', Update_Type.MODIFY, meter({ config: { ...CONFIG, eburst: 1n } })],
  ['UNIMPLEMENTED', 'counts', Update_Type.MODIFY, meter({ ...at(0n), counterData: {} })],
])('%s: %s', async (code, _, type, entity) => {
  expect(await controller.outcome(type, entity)).toBe(code);
  expect((await read(meter())).every(([, cir]) => cir === undefined)).toBe(true);
});

test.each([
  [
    'a meter that the spec lacks',
    METERS.replaceAll('limits', 'others'),
    /meter Main.others.*not in the spec/,
  ],
  ['more cells than the spec has', METERS.replace('size: 4', 'size: 5'), /5 cells/],
  ['one of a single rate', METERS.replace('BYTES', 'BYTES type: SINGLE_RATE_TWO_COLOR'), /two rates/],
])('a pipeline with %s is refused', async (_, text, message) => {
  expect(await controller.setPipeline(parseP4InfoText(P4INFO_TEXT + text), WITH_METERS)).toMatchObject({
    code: 'INVALID_ARGUMENT',
    message: expect.stringMatching(message) as string,
  });
});

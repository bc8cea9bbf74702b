import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { ServiceError } from '@grpc/grpc-js';
import type { CounterEntry } from 'p4runtime-js-bindings';
import {
  type CapabilitiesResponse,
  type GetForwardingPipelineConfigResponse,
  GetForwardingPipelineConfigRequest_ResponseType as ResponseType,
  P4Info,
} from 'p4runtime-js-bindings';
import { createInterpreter } from '../../../../src/p4switch/interpreter/interpreter';
import { parseP4InfoText } from '../../../../src/p4info/text-format';
import { startSwitchServer, type SwitchServer } from '../../../../src/p4switch/server/server';
import { Action, type PartialEntity, TestController, Update_Type } from './controller';
import { ID, P4INFO, P4INFO_TEXT, SPEC } from './small-pipeline';

let server: SwitchServer;
let controller: TestController;
const start = (address: string): Promise<SwitchServer> =>
  startSwitchServer({
    address,
    deviceId: 7n,
    createEngine: (spec) => createInterpreter(spec, { now: () => 0 }),
  });

beforeEach(async () => {
  server = await start('127.0.0.1:0');
  controller = new TestController(server.address);
  await controller.primary();
});
afterEach(async () => {
  controller.close();
  await server.stop();
});

function getConfig(
  responseType = ResponseType.ALL,
  deviceId = 7n,
): Promise<GetForwardingPipelineConfigResponse> {
  return new Promise((resolve, reject) => {
    controller.client.getForwardingPipelineConfig({ deviceId, responseType }, (error, response) => {
      if (error) reject(error);
      else resolve(response);
    });
  });
}
const entry: PartialEntity = {
  $case: 'tableEntry',
  value: {
    tableId: ID.byType,
    match: [{ fieldId: 1, fieldMatchType: { $case: 'exact', value: { value: Buffer.of(8, 0) } } }],
    action: { type: { $case: 'action', value: { actionId: ID.drop } } },
  },
};
const allEntries: PartialEntity = { $case: 'tableEntry', value: {} };

describe('before a pipeline config', () => {
  test('Write and Read say so in the words that stock clients know', async () => {
    const refused = {
      code: 'FAILED_PRECONDITION',
      message: 'No forwarding pipeline config set for this device',
    };
    expect(await controller.write([[Update_Type.INSERT, entry]])).toMatchObject(refused);
    expect((await controller.read([allEntries])).failure).toMatchObject(refused);
    expect((await getConfig()).config).toBeUndefined();
    expect(server.engine()).toBeUndefined();
  });

  test('checks come in the order of the specification', async () => {
    const write = { updates: [] };
    expect(await controller.write([], { ...write, deviceId: 8n })).toMatchObject({ code: 'NOT_FOUND' });
    controller.electionId = 99n;
    expect(await controller.write([], write)).toMatchObject({ code: 'PERMISSION_DENIED' });
    controller.electionId = undefined;
    expect(await controller.write([], write)).toMatchObject({ code: 'PERMISSION_DENIED' });
    expect(await controller.setPipeline(P4INFO, SPEC)).toMatchObject({ code: 'PERMISSION_DENIED' });
    expect((await controller.read([allEntries], 8n)).failure).toMatchObject({ code: 'NOT_FOUND' });
    await expect(getConfig(ResponseType.ALL, 8n)).rejects.toMatchObject({ code: 5 });
  });
});

describe('actions', () => {
  test('VERIFY changes nothing', async () => {
    expect(await controller.setPipeline(P4INFO, SPEC, Action.VERIFY)).toEqual({});
    expect(server.engine()).toBeUndefined();
  });

  test('VERIFY_AND_SAVE takes writes for later; COMMIT brings them to packets', async () => {
    await controller.setPipeline(P4INFO, SPEC);
    const first = server.engine()!;
    expect(await controller.setPipeline(P4INFO, SPEC, Action.VERIFY_AND_SAVE)).toEqual({});
    expect(await controller.outcome(Update_Type.INSERT, entry)).toBe('OK');
    expect(server.engine()).toBe(first);
    expect(first.entryCount('by_type')).toBe(0);
    expect(await controller.setPipeline(P4INFO, SPEC, Action.COMMIT)).toMatchObject({
      code: 'INVALID_ARGUMENT',
    });
    expect(await controller.setPipeline(undefined, '', Action.COMMIT)).toEqual({});
    expect(server.engine()!.entryCount('by_type')).toBe(1);
    expect(await controller.setPipeline(undefined, '', Action.COMMIT)).toMatchObject({ code: 'NOT_FOUND' });
  });

  test('RECONCILE_AND_COMMIT keeps the state of the same pipeline, and refuses another', async () => {
    expect(await controller.setPipeline(P4INFO, SPEC, Action.RECONCILE_AND_COMMIT, 1n)).toEqual({});
    await controller.outcome(Update_Type.INSERT, entry);
    expect(await controller.setPipeline(P4INFO, SPEC, Action.RECONCILE_AND_COMMIT, 2n)).toEqual({});
    expect((await controller.read([allEntries])).entities).toHaveLength(1);
    expect((await getConfig(ResponseType.COOKIE_ONLY)).config?.cookie).toEqual({ cookie: 2n });
    const other = await controller.setPipeline(P4INFO, `${SPEC}\n`, Action.RECONCILE_AND_COMMIT);
    expect(other).toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect((await controller.read([allEntries])).entities).toHaveLength(1);
  });

  test('an action that is not set, and one that is unknown', async () => {
    expect(await controller.setPipeline(P4INFO, SPEC, Action.UNSPECIFIED)).toMatchObject({
      code: 'INVALID_ARGUMENT',
    });
    // eslint-disable-next-line @typescript-eslint/no-unsafe-enum-assignment -- that is the point
    expect(await controller.setPipeline(P4INFO, SPEC, 77 as Action)).toMatchObject({ code: 'UNIMPLEMENTED' });
  });

  test('what was set is returned, as far as asked for', async () => {
    await controller.setPipeline(P4INFO, SPEC, Action.VERIFY_AND_COMMIT, 0n);
    const parts = async (type: ResponseType) => {
      const { config } = await getConfig(type);
      return [
        config!.p4info !== undefined,
        config!.p4DeviceConfig.toString() === SPEC,
        config!.cookie?.cookie,
      ];
    };
    expect(await parts(ResponseType.ALL)).toEqual([true, true, 0n]);
    expect(await parts(ResponseType.COOKIE_ONLY)).toEqual([false, false, 0n]);
    expect(await parts(ResponseType.P4INFO_AND_COOKIE)).toEqual([true, false, 0n]);
    expect(await parts(ResponseType.DEVICE_CONFIG_AND_COOKIE)).toEqual([false, true, 0n]);
    expect((await getConfig()).config!.p4info).toEqual(P4INFO);
    await controller.setPipeline(P4INFO, SPEC);
    expect((await getConfig()).config!.cookie).toBeUndefined();
  });
});

describe('a config that can not be realized', () => {
  const change = (from: string | RegExp, to: string): P4Info => {
    const text = P4INFO_TEXT.replace(from, to);
    expect(text).not.toBe(P4INFO_TEXT);
    return parseP4InfoText(text);
  };
  test.each<[string, () => P4Info | undefined, string, RegExp]>([
    ['no config', () => undefined, '', /no config/],
    ['no p4info', () => undefined, SPEC, /no p4info/],
    ['no device config', () => P4INFO, '', /no p4_device_config/],
    ['an empty p4info', () => P4Info.fromPartial({}), SPEC, /no tables/],
    ['a device config that is no spec', () => P4INFO, 'ELF', /p4_device_config: spec line 1/],
    [
      'a table that the spec lacks',
      () => change('Main.by_mask" alias: "by_mask', 'x" alias: "x'),
      SPEC,
      /table x of/,
    ],
    [
      'another number of match fields',
      () => change(/ {2}match_fields \{ id: 3 .*\n/, ''),
      SPEC,
      /2 match fields/,
    ],
    [
      'another kind of match',
      () => change('match_type: LPM', 'match_type: EXACT'),
      SPEC,
      /exact in the p4info, lpm/,
    ],
    ['range matches', () => change('match_type: OPTIONAL', 'match_type: RANGE'), SPEC, /not supported/],
    [
      'a field wider than the spec has',
      () => change('bitwidth: 12 match_type', 'bitwidth: 17 match_type'),
      SPEC,
      /17 bits/,
    ],
    [
      'an action that the table lacks',
      () => change('"Main.send" alias: "send"', '"y" alias: "y"'),
      SPEC,
      /action y of/,
    ],
    ['another number of parameters', () => change(/ {2}params \{ id: 2 .*\n/, ''), SPEC, /1 parameters/],
    [
      'a counter that the spec lacks',
      () => change('Main.hits" alias: "hits', 'z" alias: "z'),
      SPEC,
      /counter z/,
    ],
    [
      'a counter larger than in the spec',
      () => change('unit: PACKETS } size: 4', 'unit: PACKETS } size: 5'),
      SPEC,
      /5 cells/,
    ],
    [
      'a register that the spec lacks',
      () => change('Main.marks" alias: "marks', 'z" alias: "z'),
      SPEC,
      /register z/,
    ],
    ['two tables with one id', () => change(`id: ${ID.always} `, `id: ${ID.byType} `), SPEC, /two tables/],
    [
      'initial entries',
      () => change('size: 8\n', 'size: 8 has_initial_entries: true\n'),
      SPEC,
      /initial entries/,
    ],
    ['direct meters', () => change('pkg_info', 'direct_meters { } pkg_info'), SPEC, /no direct meters/],
    ['a meter without an id', () => change('pkg_info', 'meters { } pkg_info'), SPEC, /has no id/],
  ])('INVALID_ARGUMENT: %s', async (_, p4info, spec, message) => {
    await controller.setPipeline(P4INFO, SPEC);
    const before = server.engine();
    const result = await controller.setPipeline(p4info(), spec);
    expect(result).toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringMatching(message) as string,
    });
    expect(server.engine()).toBe(before);
  });
});

describe('counters and registers', () => {
  beforeEach(async () => {
    await controller.setPipeline(P4INFO, SPEC);
  });
  const counter = (
    counterId: number,
    index?: bigint,
    data?: { byteCount?: bigint; packetCount?: bigint },
  ): PartialEntity => ({
    $case: 'counterEntry',
    value: { counterId, ...(index === undefined ? {} : { index: { index } }), ...(data ? { data } : {}) },
  });
  const register = (index?: bigint, ...value: number[]): PartialEntity => ({
    $case: 'registerEntry',
    value: {
      registerId: ID.marks,
      ...(index === undefined ? {} : { index: { index } }),
      ...(value.length > 0 ? { data: { data: { $case: 'bitstring', value: Buffer.from(value) } } } : {}),
    },
  });

  test('packets count, and controllers read, set and reset', async () => {
    await controller.outcome(Update_Type.INSERT, entry);
    const frame = Buffer.concat([Buffer.alloc(12), Buffer.of(8, 0), Buffer.alloc(46)]);
    server.engine()!.process(1, frame, false);
    const read = async (...e: PartialEntity[]) =>
      (await controller.read(e)).entities.map((x) => {
        const c = (x.entity as { value: CounterEntry }).value;
        return [c.counterId, c.index!.index, c.data!.packetCount, c.data!.byteCount];
      });
    expect(await read(counter(ID.drops, 0n))).toEqual([[ID.drops, 0n, 1n, 0n]]);
    expect(await read(counter(ID.drops))).toHaveLength(4);
    expect(await read(counter(0))).toHaveLength(12);
    const { MODIFY } = Update_Type;
    expect(
      await controller.outcome(MODIFY, counter(ID.hits, 3n, { packetCount: 5n, byteCount: 1n << 40n })),
    ).toBe('OK');
    expect(await controller.outcome(MODIFY, counter(ID.hits, 3n))).toBe('OK');
    expect(await read(counter(ID.hits, 3n))).toEqual([[ID.hits, 3n, 5n, 1n << 40n]]);
    expect(await controller.outcome(MODIFY, counter(ID.hits, undefined, {}))).toBe('OK');
    expect((await read(counter(ID.hits))).every((c) => c[2] === 0n && c[3] === 0n)).toBe(true);
  });

  test('registers keep what is written', async () => {
    expect(await controller.outcome(Update_Type.MODIFY, register(2n, 1, 2, 3))).toBe('OK');
    const { entities } = await controller.read([{ $case: 'registerEntry', value: {} }]);
    expect(
      entities.map(
        (e) => (e.entity as { value: { data: { data: { value: Buffer } } } }).value.data.data.value,
      ),
    ).toEqual([Buffer.of(0), Buffer.of(0), Buffer.of(1, 2, 3), Buffer.of(0)]);
  });

  test.each<[string, Update_Type, PartialEntity]>([
    ['INVALID_ARGUMENT', Update_Type.INSERT, counter(ID.hits, 0n, {})],
    ['INVALID_ARGUMENT', Update_Type.DELETE, counter(ID.hits, 0n, {})],
    ['INVALID_ARGUMENT', Update_Type.MODIFY, counter(5, 0n, {})],
    ['INVALID_ARGUMENT', Update_Type.MODIFY, counter(ID.hits, -1n, {})],
    ['INVALID_ARGUMENT', Update_Type.MODIFY, counter(ID.hits, 0n, { packetCount: -1n })],
    ['OUT_OF_RANGE', Update_Type.MODIFY, counter(ID.hits, 8n, {})],
    ['INVALID_ARGUMENT', Update_Type.INSERT, register(0n, 1)],
    ['INVALID_ARGUMENT', Update_Type.MODIFY, register(0n)],
    ['INVALID_ARGUMENT', Update_Type.MODIFY, register(0n, 1, 0, 0, 0, 0, 0, 0)],
    ['INVALID_ARGUMENT', Update_Type.MODIFY, register(-1n, 1)],
    ['OUT_OF_RANGE', Update_Type.MODIFY, register(4n, 1)],
    ['INVALID_ARGUMENT', Update_Type.MODIFY, { $case: 'meterEntry', value: {} }],
    ['UNIMPLEMENTED', Update_Type.INSERT, { $case: 'digestEntry', value: {} }],
  ])('%s: update type %s of %j', async (code, type, e) => {
    expect(await controller.outcome(type, e)).toBe(code);
  });

  test('a read of the whole state, and errors beside answers', async () => {
    const everything: PartialEntity[] = [
      { $case: 'externEntry', value: {} },
      allEntries,
      { $case: 'actionProfileMember', value: {} },
      { $case: 'actionProfileGroup', value: {} },
      { $case: 'meterEntry', value: {} },
      { $case: 'directCounterEntry', value: {} },
      { $case: 'packetReplicationEngineEntry', value: {} },
      { $case: 'digestEntry', value: {} },
      counter(0),
    ];
    expect(await controller.read(everything)).toMatchObject({ entities: { length: 12 } });
    const mixed = await controller.read([
      counter(ID.hits, 1n),
      counter(ID.hits, 9n),
      counter(5),
      counter(ID.drops, 1n),
    ]);
    expect(mixed.entities).toHaveLength(2);
    expect(mixed.failure).toMatchObject({
      code: 'UNKNOWN',
      each: ['OK', 'OUT_OF_RANGE', 'INVALID_ARGUMENT', 'OK'],
    });
    expect((await controller.read([])).entities).toEqual([]);
  });
});

test('Capabilities', async () => {
  const ask = (deviceId: bigint): Promise<CapabilitiesResponse> =>
    new Promise((resolve, reject) => {
      controller.client.capabilities({ deviceId }, (error: ServiceError | null, r) => {
        if (error) reject(error);
        else resolve(r);
      });
    });
  expect(await ask(0n)).toMatchObject({ p4runtimeApiVersion: '1.5.0' });
  expect(await ask(7n)).toMatchObject({ p4runtimeApiVersion: '1.5.0' });
  await expect(ask(8n)).rejects.toMatchObject({ code: 5 });
});

describe('addresses', () => {
  let dir: string;
  beforeEach(() => (dir = mkdtempSync(path.join(tmpdir(), 'switch-'))));
  afterEach(() => {
    rmSync(dir, { recursive: true });
  });

  test('a unix socket is for its owner only, replaces a stale one and goes with the server', async () => {
    const socket = path.join(dir, 'p4rt.sock');
    const inUse = createServer();
    await new Promise<void>((resolve) => inUse.listen(socket, resolve));
    await expect(start(`unix:${socket}`)).rejects.toMatchObject({ code: 'TARGET_UNREACHABLE' });
    await new Promise((resolve) => inUse.close(resolve));
    const die = `require('net').createServer().listen(${JSON.stringify(socket)}, () => process.kill(process.pid, 'SIGKILL'))`;
    spawnSync(process.execPath, ['-e', die]);
    expect(existsSync(socket)).toBe(true);
    const second = await start(`unix:${socket}`);
    expect(statSync(socket).mode & 0o777).toBe(0o600);
    const client = new TestController(second.address);
    await client.primary();
    expect(await client.setPipeline(P4INFO, SPEC)).toEqual({});
    client.close();
    await second.stop();
    expect(existsSync(socket)).toBe(false);
  });

  test('a file that is no socket is left alone', async () => {
    const file = path.join(dir, 'precious');
    writeFileSync(file, 'data');
    chmodSync(file, 0o644);
    await expect(start(`unix:${file}`)).rejects.toMatchObject({ code: 'TARGET_UNREACHABLE' });
    expect(readFileSync(file, 'utf8')).toBe('data');
    expect(statSync(file).mode & 0o777).toBe(0o644);
  });

  test('an address in use, and device id 0', async () => {
    await expect(start(server.address)).rejects.toMatchObject({ code: 'TARGET_UNREACHABLE' });
    const options = { address: '127.0.0.1:0', deviceId: 0n, createEngine: () => server.engine()! };
    await expect(startSwitchServer(options)).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  });
});

/** The P4Runtime server over the native engine, and what becomes of tables and ports when either of them dies. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  type Entity,
  GetForwardingPipelineConfigRequest_ResponseType,
  type TableEntry,
} from 'p4runtime-js-bindings';
import { type EngineNode, startEngineNode } from '../../../src/p4switch/dpdk/node';
import type { PortFrame } from '../../../src/p4switch/dpdk/client';
import type { PortSpec } from '../../../src/p4switch/dpdk/ports';
import { startDpdkSwitch } from '../../../src/p4switch/dpdk/switch';
import type { SwitchServer } from '../../../src/p4switch/server/server';
import {
  Action,
  Atomicity,
  DEVICE,
  isFailure,
  type PartialEntity,
  TestController,
  Update_Type,
} from '../../unit/p4switch/server/controller';
import {
  ID,
  METER_ID,
  METERS_TEXT,
  P4INFO,
  P4INFO_TEXT,
  SPEC,
  SPEC_WITH_METERS,
} from '../../unit/p4switch/server/small-pipeline';
import { parseP4InfoText } from '../../../src/p4info/text-format';
import { describeEngine, engineBinary } from './engine';
import { Namespace } from './namespaces';

const { INSERT, MODIFY, DELETE } = Update_Type;
const MEMORY: PortSpec = { kind: 'memory', name: '', netns: '', mtu: 0, mac: '', vlan: 0, persistent: false };

const byType = (type: number, port: number): PartialEntity => ({
  $case: 'tableEntry',
  value: {
    tableId: ID.byType,
    match: [{ fieldId: 1, fieldMatchType: { $case: 'exact', value: { value: Buffer.from([type]) } } }],
    action: {
      type: {
        $case: 'action',
        value: {
          actionId: ID.send,
          params: [
            { paramId: 1, value: Buffer.from([port]) },
            { paramId: 2, value: Buffer.from([0]) },
          ],
        },
      },
    },
  },
});
const table = (tableId: number): PartialEntity => ({ $case: 'tableEntry', value: { tableId } });

function frame(type: number, source = 1): Uint8Array {
  const bytes = Buffer.alloc(60);
  bytes.writeUInt8(source, 11);
  bytes.writeUInt16BE(type, 12);
  return bytes;
}

describeEngine('calico-p4 switch with the native engine', {}, () => {
  let folder: string;
  let node: EngineNode;
  let server: SwitchServer;
  let controller: TestController;

  const serve = async (): Promise<void> => {
    node = await startEngineNode({ socket: path.join(folder, 'engine.sock'), binary: engineBinary() });
    server = await startDpdkSwitch({ address: '127.0.0.1:0', deviceId: DEVICE }, node);
    controller = new TestController(server.address);
    await controller.primary(BigInt(Date.now()));
  };
  /** As when the process of the server ends: the engine is told nothing. */
  const serverDies = async (): Promise<void> => {
    controller.close();
    await server.stop();
    await node.stop('leave');
  };
  const inject = (packets: readonly PortFrame[]): Promise<readonly (readonly PortFrame[])[]> =>
    node.host.withClient((client) => client.inject(packets));
  const portOf = async (type: number): Promise<number | undefined> =>
    (await inject([{ port: 3, frame: frame(type) }]))[0]![0]?.port;
  const read = async (...entities: readonly PartialEntity[]): Promise<Entity[]> => {
    const { entities: found, failure } = await controller.read(entities);
    expect(failure).toBeUndefined();
    return found;
  };
  /** Kills the engine that listens on the socket,. */
  const killEngine = (): void => {
    process.kill(enginePid(folder), 'SIGKILL');
  };

  beforeEach(async () => {
    folder = mkdtempSync(path.join(tmpdir(), 'calico-p4-switch-'));
    await serve();
    expect(await controller.setPipeline(P4INFO, SPEC, Action.VERIFY_AND_COMMIT, 77n)).toEqual({});
  });
  afterEach(async () => {
    controller.close();
    await server.stop();
    await node.stop('quit');
    rmSync(folder, { recursive: true, force: true });
  });

  it('writes reach packets, and reads give them back', async () => {
    expect(await controller.outcome(INSERT, byType(5, 9))).toBe('OK');
    expect(await portOf(5)).toBe(9);
    expect(await controller.outcome(INSERT, byType(5, 9))).toBe('ALREADY_EXISTS');
    expect(await controller.outcome(MODIFY, byType(5, 10))).toBe('OK');
    expect(await portOf(5)).toBe(10);
    expect(await read(table(ID.byType))).toHaveLength(1);
    expect(await controller.outcome(DELETE, byType(5, 10))).toBe('OK');
    expect(await portOf(5)).toBe(0);
    expect(await read(table(ID.byType))).toHaveLength(0);
  });

  it('a batch that is rolled back leaves nothing in the engine', async () => {
    const result = await controller.write(
      [
        [INSERT, byType(1, 9)],
        [INSERT, byType(1, 9)],
      ],
      { atomicity: Atomicity.ROLLBACK_ON_ERROR },
    );
    expect(isFailure(result)).toBe(true);
    expect(await portOf(1)).toBe(0);
    // And one that goes on after an error leaves what was right.
    await controller.write([
      [INSERT, byType(2, 9)],
      [DELETE, byType(3, 9)],
      [INSERT, byType(4, 11)],
    ]);
    expect(await portOf(2)).toBe(9);
    expect(await portOf(4)).toBe(11);
  });

  it('counters and learned entries are those of the packets', async () => {
    await controller.outcome(INSERT, byType(6, 9));
    await inject([1, 2, 2, 3].map((source) => ({ port: 3, frame: frame(6, source) })));
    const counter = await read({
      $case: 'counterEntry',
      value: { counterId: ID.hits, index: { index: 3n } },
    });
    expect(counter[0]!.entity).toMatchObject({ value: { data: { packetCount: 4n } } });
    const flows = await read(table(ID.flows));
    expect(flows).toHaveLength(3);
    const cell: PartialEntity = {
      $case: 'counterEntry',
      value: { counterId: ID.hits, index: { index: 3n }, data: { packetCount: 100n, byteCount: 0n } },
    };
    expect(await controller.outcome(MODIFY, cell)).toBe('OK');
    await portOf(6);
    const again = await read({ $case: 'counterEntry', value: { counterId: ID.hits, index: { index: 3n } } });
    expect(again[0]!.entity).toMatchObject({ value: { data: { packetCount: 101n } } });
  });

  it('the server dies: packets go on, and the next one finds program and tables', async () => {
    await node.attach(3, MEMORY);
    for (let i = 1; i <= 6; i++) await controller.outcome(INSERT, byType(i, i + 10));
    await inject([{ port: 3, frame: frame(1) }]);
    const before = await read(table(ID.byType));
    await serverDies();

    await serve();
    expect(await portOf(4)).toBe(14);
    expect(await read(table(ID.byType))).toEqual(before);
    expect(await read(table(ID.flows))).toHaveLength(1);
    expect((await node.ports()).map((p) => p.port)).toEqual([3]);
    const { config } = await new Promise<{
      config?: { cookie?: { cookie: bigint } | undefined } | undefined;
    }>((resolve, reject) => {
      controller.client.getForwardingPipelineConfig(
        { deviceId: DEVICE, responseType: GetForwardingPipelineConfigRequest_ResponseType.ALL },
        (error, value) => {
          if (error) reject(error);
          else resolve(value);
        },
      );
    });
    expect(config?.cookie?.cookie).toBe(77n);
    expect(await controller.outcome(INSERT, byType(1, 9))).toBe('ALREADY_EXISTS');
    expect(await controller.outcome(DELETE, byType(1, 9))).toBe('OK');
    expect(await portOf(1)).toBe(0);
  });

  it('the engine dies: it is started again, with program, tables and ports', async () => {
    await node.attach(3, MEMORY);
    for (let i = 1; i <= 6; i++) await controller.outcome(INSERT, byType(i, i + 10));
    killEngine();
    expect(await portOf(4)).toBe(14);
    expect((await node.ports()).map((p) => p.port)).toEqual([3]);
    expect((await read(table(ID.byType))).length).toBe(6);
  });

  it('meters outlive the server, and the engine', async () => {
    const withMeters = parseP4InfoText(P4INFO_TEXT + METERS_TEXT);
    expect(await controller.setPipeline(withMeters, SPEC_WITH_METERS)).toEqual({});
    const set = (index: bigint, cir: bigint): PartialEntity => ({
      $case: 'meterEntry',
      value: { meterId: METER_ID, index: { index }, config: { cir, cburst: 6n, pir: cir, pburst: 8n } },
    });
    const rates = async (): Promise<(bigint | undefined)[]> =>
      (await read({ $case: 'meterEntry', value: { meterId: METER_ID } })).map(({ entity }) =>
        entity?.$case === 'meterEntry' ? entity.value.config?.cir : undefined,
      );
    expect(await controller.outcome(MODIFY, set(1n, 5n))).toBe('OK');
    expect(await controller.outcome(MODIFY, set(3n, 7n))).toBe('OK');
    await serverDies();
    await serve();
    expect(await rates()).toEqual([undefined, 5n, undefined, 7n]);
    expect(await controller.outcome(MODIFY, set(3n, 9n))).toBe('OK');
    killEngine();
    // Once it answers it has been filled again; the next server asks it.
    await portOf(1);
    await serverDies();
    await serve();
    expect(await rates()).toEqual([undefined, 5n, undefined, 9n]);
  });

  it('both die: the ports are there again', async () => {
    await node.attach(3, MEMORY);
    await node.attach(4, MEMORY);
    await node.detach(4, true);
    await node.detach(5, true);
    await serverDies();
    killEngine();
    await serve();
    expect((await node.ports()).map((p) => p.port)).toEqual([3]);
    expect(await controller.setPipeline(P4INFO, SPEC)).toEqual({});
    expect(await controller.outcome(INSERT, byType(1, 9))).toBe('OK');
    expect(await portOf(1)).toBe(9);
  });

  it('the engine dies in the middle of Writes: none is lost, none is done twice', async () => {
    const writes = (async () => {
      const outcomes: string[] = [];
      for (let i = 0; i < 60; i++) {
        outcomes.push(await controller.outcome(INSERT, byType(7, 20)));
        outcomes.push(await controller.outcome(DELETE, byType(7, 20)));
      }
      return outcomes;
    })();
    for (let kills = 0; kills < 2; kills++) {
      await new Promise((resolve) => setTimeout(resolve, 150));
      killEngine();
      await portOf(1);
    }
    expect(new Set(await writes)).toEqual(new Set(['OK']));
    expect(await read(table(ID.byType))).toEqual([]);
    expect(await portOf(7)).toBe(0);
    await controller.outcome(INSERT, byType(7, 21));
    expect(await portOf(7)).toBe(21);
  });

  it('a saved pipeline takes Writes, and packets see it when it is committed', async () => {
    await controller.outcome(INSERT, byType(1, 9));
    expect(await controller.setPipeline(P4INFO, SPEC, Action.VERIFY_AND_SAVE)).toEqual({});
    expect(await controller.outcome(INSERT, byType(2, 10))).toBe('OK');
    expect([await portOf(1), await portOf(2)]).toEqual([9, 0]);
    expect(await controller.setPipeline(undefined, '', Action.COMMIT)).toEqual({});
    expect([await portOf(1), await portOf(2)]).toEqual([0, 10]);
    expect(
      (await read(table(ID.byType))).map((e) => (e.entity as { value: TableEntry }).value.tableId),
    ).toEqual([ID.byType]);
  });

  it('a program that DPDK does not take is refused with its words, and the old one stays', async () => {
    await controller.outcome(INSERT, byType(1, 9));
    const looping = SPEC.replace('\ttable flows', '\tAGAIN : table flows\n\tjmpeq AGAIN m.tag 0x7');
    const refused = await controller.setPipeline(P4INFO, looping);
    expect(refused).toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringContaining('loop') as string,
    });
    expect(await portOf(1)).toBe(9);
  });
});

describeEngine('ports that the switch keeps', { root: true }, () => {
  it('come back when their interface does', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'calico-p4-switch-'));
    const host = new Namespace();
    const node = await startEngineNode({
      socket: path.join(folder, 'engine.sock'),
      binary: engineBinary(),
      watchMs: 50,
    });
    const isThere = async (): Promise<boolean> => (await node.ports()).some((p) => !p.gone);
    const until = async (wanted: boolean): Promise<void> => {
      for (let i = 0; i < 200 && (await isThere()) !== wanted; i++)
        await new Promise((resolve) => setTimeout(resolve, 25));
      expect(await isThere()).toBe(wanted);
    };
    try {
      for (let round = 0; round < 2; round++) {
        host.ip('link', 'add', 'up0', 'type', 'veth', 'peer', 'name', 'up1');
        if (round === 0) await node.attach(0, { ...MEMORY, kind: 'packet', name: 'up0', netns: host.path });
        await until(true);
        host.ip('link', 'delete', 'up0');
        await until(false);
      }
    } finally {
      await node.stop('quit');
      host.delete();
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

/** The engine is found by the socket among its arguments. */
function enginePid(folder: string): number {
  const wanted = path.join(folder, 'engine.sock');
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
      if (words[0]!.endsWith('calico-p4-engine') && words.includes(wanted)) return Number(pid);
    } catch {
      // It ended meanwhile.
    }
  }
  throw new Error('no engine runs');
}

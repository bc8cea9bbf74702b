import { createInterpreter } from '../../../../src/p4switch/interpreter/interpreter';
import { startSwitchServer, type SwitchServer } from '../../../../src/p4switch/server/server';
import { status } from '@grpc/grpc-js';
import { Action, Channel, TestController } from './controller';
import { P4INFO, SPEC } from './small-pipeline';

let server: SwitchServer;
const open: TestController[] = [];
const MAX_STREAMS = 6;

beforeEach(async () => {
  server = await startSwitchServer({
    address: '127.0.0.1:0',
    deviceId: 7n,
    createEngine: (spec) => createInterpreter(spec, { now: () => 0 }),
    maxStreams: MAX_STREAMS,
  });
});
afterEach(async () => {
  for (const c of open.splice(0)) c.close();
  await server.stop();
});

function controller(electionId?: bigint): TestController {
  const c = new TestController(server.address);
  c.electionId = electionId;
  open.push(c);
  return c;
}
const channel = (): Channel => new Channel(controller().client);
const setPipeline = (c: TestController) => c.setPipeline(P4INFO, SPEC, Action.VERIFY_AND_COMMIT);

describe('who is primary', () => {
  test('the highest election id, and all are told of every change', async () => {
    const [a, b, c] = [channel(), channel(), channel()];
    a.arbitrate(5n);
    expect(await a.verdict()).toBe('OK 5');
    b.arbitrate(3n);
    expect(await b.verdict()).toBe('ALREADY_EXISTS 5');
    c.arbitrate(9n);
    expect(await c.verdict()).toBe('OK 9');
    expect(await a.verdict()).toBe('ALREADY_EXISTS 9');
    expect(await b.verdict()).toBe('ALREADY_EXISTS 9');
    // b became a backup quietly: nobody else heard of it.
    expect(a.pending + b.pending + c.pending).toBe(0);
  });

  test('election ids have 128 bits', async () => {
    const [a, b] = [channel(), channel()];
    a.arbitrate((1n << 127n) + 1n);
    expect(await a.verdict()).toBe(`OK ${(1n << 127n) + 1n}`);
    b.arbitrate(0xffff_ffff_ffff_ffffn);
    expect(await b.verdict()).toBe(`ALREADY_EXISTS ${(1n << 127n) + 1n}`);
  });

  test('an unset election id is never primary, and 0 is an id like others', async () => {
    const [a, b] = [channel(), channel()];
    a.arbitrate(undefined);
    expect(await a.verdict()).toBe('NOT_FOUND undefined');
    b.arbitrate(0n);
    expect(await b.verdict()).toBe('OK 0');
    expect(await a.verdict()).toBe('ALREADY_EXISTS 0');
  });

  test.each(['close', 'cancel'] as const)(
    'when the primary leaves (%s), there is none until it is back',
    async (how) => {
      const [a, b] = [channel(), channel()];
      a.arbitrate(5n);
      await a.verdict();
      b.arbitrate(3n);
      await b.verdict();
      a[how]();
      expect(await b.verdict()).toBe('NOT_FOUND 5');
      const writer = controller(3n);
      expect(await setPipeline(writer)).toMatchObject({ code: 'PERMISSION_DENIED' });
      writer.electionId = 5n;
      expect(await setPipeline(writer)).toMatchObject({ code: 'PERMISSION_DENIED' });
      b.arbitrate(4n);
      expect(await b.verdict()).toBe('NOT_FOUND 5');
      b.arbitrate(5n);
      expect(await b.verdict()).toBe('OK 5');
      expect(await setPipeline(writer)).toEqual({});
    },
  );

  test('a controller raises and lowers itself on the same stream', async () => {
    const [a, b] = [channel(), channel()];
    a.arbitrate(5n);
    await a.verdict();
    b.arbitrate(4n);
    await b.verdict();
    b.arbitrate(6n);
    expect(await b.verdict()).toBe('OK 6');
    expect(await a.verdict()).toBe('ALREADY_EXISTS 6');
    b.arbitrate(1n);
    expect(await b.verdict()).toBe('NOT_FOUND 6');
    expect(await a.verdict()).toBe('NOT_FOUND 6');
    a.arbitrate(5n);
    expect(await a.verdict()).toBe('NOT_FOUND 6');
    a.arbitrate(7n);
    expect(await a.verdict()).toBe('OK 7');
    expect(await b.verdict()).toBe('ALREADY_EXISTS 7');
    a.arbitrate(7n);
    expect(await a.verdict()).toBe('OK 7');
  });

  test('each role has a primary of its own', async () => {
    const [a, b] = [channel(), channel()];
    a.arbitrate(5n);
    expect(await a.verdict()).toBe('OK 5');
    b.arbitrate(2n, { role: 'stats' });
    const m = await b.nextArbitration();
    expect(m).toMatchObject({
      status: { code: status.OK },
      role: { name: 'stats' },
      electionId: { low: 2n },
    });
    const writer = controller(2n);
    expect(await setPipeline(writer)).toMatchObject({ code: 'PERMISSION_DENIED' });
    writer.role = 'stats';
    expect(await setPipeline(writer)).toEqual({});
    writer.role = 'other';
    expect(await setPipeline(writer)).toMatchObject({ code: 'NOT_FOUND' });
  });
});

describe('what ends a stream', () => {
  test.each<[keyof typeof status, string, (c: Channel) => void]>([
    [
      'NOT_FOUND',
      'another device',
      (c) => {
        c.arbitrate(1n, { deviceId: 8n });
      },
    ],
    [
      'NOT_FOUND',
      'no device',
      (c) => {
        c.arbitrate(1n, { deviceId: 0n });
      },
    ],
    [
      'INVALID_ARGUMENT',
      'a role config',
      (c) => {
        c.arbitrate(1n, { role: 'x', config: true });
      },
    ],
    [
      'INVALID_ARGUMENT',
      'an empty message',
      (c) => {
        c.send({});
      },
    ],
    [
      'INVALID_ARGUMENT',
      'an election id in use',
      (c) => {
        c.arbitrate(5n);
      },
    ],
    [
      'FAILED_PRECONDITION',
      'a change of device',
      (c) => {
        c.arbitrate(1n);
        c.arbitrate(1n, { deviceId: 8n });
      },
    ],
    [
      'FAILED_PRECONDITION',
      'a change of role',
      (c) => {
        c.arbitrate(1n);
        c.arbitrate(1n, { role: 'x' });
      },
    ],
    [
      'INVALID_ARGUMENT',
      'a change to an election id in use',
      (c) => {
        c.arbitrate(1n);
        c.arbitrate(5n);
      },
    ],
  ])('%s: %s', async (code, _, misbehave) => {
    const primary = channel();
    primary.arbitrate(5n);
    await primary.verdict();
    const c = channel();
    misbehave(c);
    expect(status[await c.ended]).toBe(code);
    expect(primary.pending).toBe(0);
    expect(await setPipeline(controller(5n))).toEqual({});
  });

  test('a primary that misbehaves is no primary any more', async () => {
    const [a, b] = [channel(), channel()];
    a.arbitrate(5n);
    await a.verdict();
    b.arbitrate(3n);
    await b.verdict();
    a.arbitrate(6n, { role: 'x' });
    expect(await a.ended).toBe(status.FAILED_PRECONDITION);
    expect(await b.verdict()).toBe('NOT_FOUND 5');
  });

  test('too many streams, until one is gone', async () => {
    const channels = Array.from({ length: MAX_STREAMS }, () => channel());
    for (const [i, c] of channels.entries()) {
      c.arbitrate(BigInt(i));
      await c.nextArbitration();
    }
    const extra = channel();
    extra.arbitrate(100n);
    expect(await extra.ended).toBe(status.RESOURCE_EXHAUSTED);
    channels[0]!.close();
    await channels[0]!.ended;
    const late = channel();
    late.arbitrate(100n);
    expect(await late.verdict()).toBe('OK 100');
  });
});

test('messages that the switch does not take are stream errors', async () => {
  const c = channel();
  c.send({ update: { $case: 'packet', value: { payload: Buffer.alloc(60) } } });
  expect((await c.next()).update).toMatchObject({
    $case: 'error',
    value: { canonicalCode: status.PERMISSION_DENIED, details: { $case: 'packetOut' } },
  });
  c.arbitrate(1n);
  await c.verdict();
  c.send({ update: { $case: 'digestAck', value: { digestId: 4, listId: 1n } } });
  expect((await c.next()).update).toMatchObject({
    value: { canonicalCode: status.UNIMPLEMENTED, details: { value: { digestListAck: { digestId: 4 } } } },
  });
});

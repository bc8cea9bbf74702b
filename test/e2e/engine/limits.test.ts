/** Limits and DSCP of pods in the real program on the native engine. No test waits for a bucket to fill. */
import fs from 'node:fs';
import path from 'node:path';
import { buildFrame } from '../../../src/packet/build';
import { makePacket } from '../../../src/packet/describe';
import type { EngineChange } from '../../../src/p4switch/dpdk/changes';
import type { PortFrame } from '../../../src/p4switch/dpdk/client';
import type { Description } from '../../../src/p4switch/dpdk/description';
import { Which } from '../../../src/p4switch/dpdk/protocol';
import { createInterpreter } from '../../../src/p4switch/interpreter/interpreter';
import { parseSpec } from '../../../src/p4switch/spec/parser';
import { spellMac } from '../../../src/translators/links';
import { ipv4HeaderIsRight } from '../../support/checksums';
import { DSCP, EXTRAS, LIMIT_TO, MACS, PORT, randomRows } from '../dpdk/rows';
import { seededRandom } from '../dpdk/random';
import { describeEngine, repoRoot, type RunningEngine, startEngine } from './engine';
import { type TableRow } from '../../support/table-rows';

const text = fs.readFileSync(path.join(repoRoot, 'pipelines', 'p4-dpdk', 'calico.spec'), 'utf8');
const spec = parseSpec(text);
const array = (name: string): string => [...spec.metarrays.keys()].find((a) => a.startsWith(name))!;
const OVER_LIMIT = 26;

/** Everything is allowed: the roots lead to a leaf. */
const ALLOW = 0xc000_0000n;
const rows: readonly TableRow[] = randomRows(seededRandom(1)).map(({ table, entry }) => {
  const { name } = entry.action;
  const inSpec = spec.tables.get(table)!.actions.find((a) => a.name.replace(/_\d+$/, '') === name);
  const params = table === 'endpoint_root' ? entry.action.params.map(() => ALLOW) : entry.action.params;
  return { table, entry: { ...entry, action: { name: inSpec?.name ?? name, params } } };
});

function udp(port: number, src: string, dst: string, { payload = 0, tos = 0 } = {}): PortFrame {
  const dstMac = spellMac(port === PORT.uplink ? MACS.uplink : MACS.gateway);
  const packet = makePacket({ src, dst, proto: 'udp', sport: 4000, dport: 53, payload });
  const frame = Buffer.from(buildFrame(packet, { dstMac }));
  if (src.includes(':')) {
    frame.writeUInt32BE((frame.readUInt32BE(14) | (tos << 20)) >>> 0, 14);
    return { port, frame };
  }
  frame[15] = tos;
  frame.writeUInt16BE(0, 24);
  let sum = 0;
  for (let at = 14; at < 34; at += 2) sum += frame.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  frame.writeUInt16BE(~sum & 0xffff, 24);
  return { port, frame };
}

describeEngine('limits and DSCP on the native engine', {}, () => {
  let engine: RunningEngine;
  let d: Description;

  const write = (...changes: readonly EngineChange[]): Promise<void> =>
    engine.client.write(Which.running, 1n, d, changes);
  const limit = (meter: string, index: number, burst: bigint | undefined): EngineChange => ({
    kind: 'meter',
    array: array(meter),
    index,
    setting: burst === undefined ? undefined : { rate: 1n, burst, peakRate: 1n, peakBurst: burst },
  });
  /** How many of `n` packets get through. */
  const through = async (n: number, packet: PortFrame): Promise<number> =>
    (await engine.client.inject(Array.from({ length: n }, () => packet))).filter((out) => out.length > 0)
      .length;
  const overLimit = async (): Promise<bigint> => {
    const reasons = [...spec.regarrays.keys()].find((a) => a.startsWith('reasons'))!;
    return (await engine.client.registers(d, reasons, OVER_LIMIT, 1))[0]!;
  };

  beforeAll(async () => {
    engine = await startEngine(['--slots', '16']);
  });
  beforeEach(async () => {
    d = await engine.run(text, spec);
    await write(...rows.map(({ table, entry }) => ({ kind: 'insert', table, entry }) as const));
  });
  afterAll(() => engine.stop());

  // A second fills a bucket by one packet or byte: the bounds are far from what a slow machine can add.
  const about = (got: number, burst: number): void => {
    expect(got).toBeGreaterThanOrEqual(burst);
    expect(got).toBeLessThan(burst + 120);
  };

  it.each([
    ['sends', EXTRAS[PORT.podA] & 0x7ff, udp(PORT.podA, '10.0.0.1', '8.8.8.8')],
    ['sends, IPv6', EXTRAS[PORT.podA] & 0x7ff, udp(PORT.podA, 'fd00::1', '2001:db8::1')],
    ['gets from outside', LIMIT_TO[PORT.podA], udp(PORT.uplink, '8.8.8.8', '10.0.0.1')],
    ['gets from another pod', LIMIT_TO[PORT.podC], udp(PORT.podB, '10.0.0.2', '10.0.0.3')],
    ['gets from the host', LIMIT_TO[PORT.podC], udp(PORT.host, '192.168.0.1', '10.0.0.3')],
  ])('a packet rate limits what a pod %s', async (_, number, packet) => {
    expect(await through(600, packet)).toBe(600);
    await write(limit('packet_limits', number, 200n));
    about(await through(600, packet), 200);
    expect(await overLimit()).toBeGreaterThan(200n);
    await write(limit('packet_limits', number, undefined));
    expect(await through(600, packet)).toBe(600);
  });

  it('a bandwidth counts bytes of frames', async () => {
    await write(limit('byte_limits', LIMIT_TO[PORT.podA], 100_000n));
    // 542 bytes: 184 of them, and then nothing for nine minutes.
    const got = await through(600, udp(PORT.uplink, '8.8.8.8', '10.0.0.1', { payload: 500 }));
    expect(got).toBe(Math.floor(100_000 / 542));
    expect(await through(600, udp(PORT.podB, '10.0.0.2', '10.0.0.3', { payload: 500 }))).toBe(600);
  });

  it('DSCP: the same bytes as from the interpreter, for every type of service', async () => {
    const interpreter = createInterpreter(spec, { now: () => 0, isPort: (port) => port < 16 });
    for (const { table, entry } of rows) interpreter.apply({ kind: 'insert', table, entry });
    const packets = Array.from({ length: 256 }, (_, tos) => [
      udp(PORT.podA, '10.0.0.1', '8.8.8.8', { tos }),
      udp(PORT.podA, 'fd00::1', '2001:db8::1', { tos }),
      udp(PORT.podA, '10.0.0.1', '172.16.5.5', { tos }),
      udp(PORT.podB, '10.0.0.2', '8.8.8.8', { tos }),
    ]).flat();
    const expected = packets.map(({ port, frame }) => interpreter.process(port, frame, false).out[0]);
    const got = (await engine.client.inject(packets)).map((out) => out[0]);
    for (const [i, sent] of got.entries()) {
      expect(Buffer.from(sent!.frame).toString('hex')).toBe(Buffer.from(expected[i]!.frame).toString('hex'));
      const frame = Buffer.from(sent!.frame);
      const tos = Math.floor(i / 4);
      const v6 = i % 4 === 1;
      const now = v6 ? (frame.readUInt32BE(14) >>> 20) & 0xff : frame[15]!;
      expect(now).toBe(i % 4 < 2 ? (DSCP << 2) | (tos & 3) : tos);
      if (!v6) expect(ipv4HeaderIsRight(frame)).toBe(true);
    }
  });
});

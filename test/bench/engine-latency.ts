/** From a change to the first packet that meets it, while another port keeps the core of the packets busy. */
import { Which } from '../../src/p4switch/dpdk/protocol';
import type { EngineClient } from '../../src/p4switch/dpdk/client';
import { parseSpec } from '../../src/p4switch/spec/parser';
import { MEMORY_PORT, type Running } from './engine-cluster';
import { first, type Flow } from './engine-traffic';

/** An address that is in no set of the cluster. */
const OTHER = '11.0.0.1';
const OUT_OF_THE_WAY = 4000;

/** Sorted, in milliseconds: median and 99th percentile. */
function spread(name: string, ms: number[]): Record<string, number> {
  ms.sort((a, b) => a - b);
  return {
    [`${name}, median ms`]: ms[ms.length >> 1]!,
    [`${name}, p99 ms`]: ms[Math.floor(ms.length * 0.99)]!,
  };
}

/** What an engine must have as `--device` for these measurements. */
export const NULL_DEVICE = 'net_null0';

/** DPDK's null device: zeros without end, which the program looks at and drops. */
async function underLoad<T>({ engine }: Running, work: () => Promise<T>): Promise<T> {
  const busy = 1000;
  await engine.attach(busy, { ...MEMORY_PORT, kind: 'device', name: NULL_DEVICE });
  try {
    return await work();
  } finally {
    await engine.detach(busy, false);
  }
}

/** Throws unless a new connection gets through, or does not. */
async function expectVerdict(
  client: EngineClient,
  { pod, packet }: Flow,
  n: number,
  passes: boolean,
): Promise<void> {
  const frame = first({ pod, packet: { ...packet, sport: 1024 + (n % 60_000) } });
  const [out] = await client.inject([frame]);
  if (out!.length > 0 !== passes) throw new Error(`change ${n} is not in force`);
}

/** A member comes and goes: from Felix's message, through compiler and P4Runtime, to a packet of that address. */
export async function memberLatency(
  running: Running,
  flow: Flow,
  quick: boolean,
): Promise<Record<string, number>> {
  const { engine, driver, builder } = running;
  const from: Flow = { ...flow, packet: { ...flow.packet, src: OTHER } };
  const ms: number[] = [];
  await underLoad(running, async () => {
    for (let n = 0; n < (quick ? 20 : 300); n++) {
      const change =
        n % 2 === 0 ? { added: [`${OTHER}/32`], removed: [] } : { added: [], removed: [`${OTHER}/32`] };
      const began = performance.now();
      builder.apply({ kind: 'ip-set-delta', id: 'big', ...change });
      builder.takeChanges();
      await driver.program(builder.model);
      await engine.host.withClient((client) => expectVerdict(client, from, n, n % 2 === 0));
      ms.push(performance.now() - began);
    }
  });
  return spread('member to packet, under load', ms);
}

/** The labels of one address, over the engine's own protocol. Leaves them as they were; the driver must not write after it. */
export async function labelLatency(
  running: Running,
  flow: Flow,
  quick: boolean,
): Promise<Record<string, number>> {
  const { engine } = running;
  const spec = parseSpec(engine.running()!.text);
  const address = flow.packet.src.split('.').reduce((n, byte) => n * 256 + Number(byte), 0);
  const ms: number[] = [];
  const packets = await engine.host.withClient(async (client) => {
    const d = await client.describe(Which.running, spec);
    const table = [...d.tables.keys()].find((name) => /^addr_labels(_\d+)?$/.test(name))!;
    const entries = [];
    for await (const entry of client.entries(d, table))
      if (entry.keys.some(({ value }) => (value & 0xffff_ffffn) === BigInt(address))) entries.push(entry);
    const [entry] = entries;
    if (entry === undefined) throw new Error(`no row of ${table} is about ${flow.packet.src}`);
    const without = { ...entry, action: { ...entry.action, params: entry.action.params.map(() => 0n) } };
    const { generation } = await client.hello();
    return underLoad(running, async () => {
      const before = (await client.engineStats()).packets;
      const started = performance.now();
      for (let n = 0; n < (quick ? 100 : 2000); n++) {
        const changed = n % 2 === 0 ? without : entry;
        const began = performance.now();
        await client.write(Which.running, generation, d, [{ kind: 'modify', table, entry: changed }]);
        await expectVerdict(client, flow, OUT_OF_THE_WAY + n, n % 2 === 1);
        ms.push(performance.now() - began);
      }
      const after = (await client.engineStats()).packets;
      return Number(after - before) / ((performance.now() - started) / 1000);
    });
  });
  return { ...spread('label to packet, under load', ms), 'load, packets/s': Math.round(packets) };
}

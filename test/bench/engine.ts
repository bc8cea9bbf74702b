/**
 * The native engine on one core, with packets from memory: a program that parses and emits, one with an exact table, and the real
 * pipeline, with the rows that the compiler makes for 100,000 addresses and 1 or 5,000 policies. Ratios are to the table of 100,000
 * entries, measured again before every round. The same rules as a ternary table: acl.ts; pods over TAP against the kernel and
 * OVS-DPDK: paths.ts.
 */
import { EMBEDDED_PORTS } from '../../src/cli/stream';
import { findEngineBinary } from '../../src/p4switch/dpdk/binary';
import type { EngineClient, PortFrame } from '../../src/p4switch/dpdk/client';
import type { Description } from '../../src/p4switch/dpdk/description';
import { Which } from '../../src/p4switch/dpdk/protocol';
import { parseSpec } from '../../src/p4switch/spec/parser';
import { MEMORY_PORT, PODS, type Running, withCluster, withEngine } from './engine-cluster';
import { labelLatency, memberLatency, NULL_DEVICE } from './engine-latency';
import { INSTRUCTIONS, loadReference, mustPass } from './engine-reference';
import {
  answer,
  at,
  first,
  flow,
  type Flow,
  later,
  PACKETS_A_MESSAGE,
  rate,
  rateOfNew,
} from './engine-traffic';
import { median, report } from './support';

/** Of `reasons`: what became of a packet (docs/pipeline.md). */
const Reason = { wrongMac: 13, allowed: 16, established: 17, hostToUplink: 20 } as const;
/** A quarter of what the connection table holds: nothing is pushed out. */
const NEW_FLOWS = 65_536;

/** Does the work, and makes sure that what packets met in it is this reason and no other. */
async function meeting<T>(
  client: EngineClient,
  d: Description,
  reason: number,
  work: () => Promise<T>,
): Promise<T> {
  const counters = [...d.regarrays.keys()].find((name) => name.startsWith('reasons'))!;
  const before = await client.registers(d, counters, 0, 32);
  const result = await work();
  const after = await client.registers(d, counters, 0, 32);
  const others = after.flatMap((n, i) =>
    n !== before[i] && i !== reason ? [`${n - before[i]!} of ${i}`] : [],
  );
  if (after[reason] === before[reason] || others.length > 0)
    throw new Error(`packets should meet reason ${reason} alone, but did ${others.join(', ')}`);
  return result;
}

/** What figures are shares of. */
export const BASE = 'exact table, 100,000 entries';
const PADDED = `parse and emit, ${INSTRUCTIONS} instructions more`;
const REFERENCES = [
  ['parse and emit', { entries: 0 }],
  [PADDED, { entries: 0, padded: true }],
  ['exact table, 1 entry', { entries: 1 }],
  [BASE, { entries: 100_000 }],
] as const;

/** Packets a second by name. */
type Rates = ReadonlyMap<string, number>;

export async function referenceRates(
  client: EngineClient,
  flows: readonly Flow[],
  seconds: number,
): Promise<Rates> {
  const rates = new Map<string, number>();
  for (const [name, reference] of REFERENCES) {
    await loadReference(client, reference);
    const frames = flows
      .slice(0, PACKETS_A_MESSAGE)
      .map(({ packet }) => at(0, reference.entries === 1 ? { ...packet, src: '10.0.0.0' } : packet));
    await mustPass(client, frames.slice(0, 100));
    rates.set(name, await rate(client, frames, seconds));
  }
  return rates;
}

export async function pipelineRates(
  running: Running,
  flows: readonly Flow[],
  news: readonly PortFrame[],
  seconds: number,
): Promise<Rates> {
  const { engine, driver } = running;
  const spec = parseSpec(engine.running()!.text);
  const ports = new Map([...driver.names.ports].map(([port, name]) => [name, port]));
  const some = flows.slice(0, PACKETS_A_MESSAGE);
  return engine.host.withClient(async (client) => {
    const d = await client.describe(Which.running, spec);
    const rates = new Map<string, number>();
    const step = async (name: string, reason: number, work: () => Promise<number>): Promise<void> => {
      rates.set(name, await meeting(client, d, reason, work));
    };
    const misaddressed = some.map(({ packet }) => {
      const { frame } = at(EMBEDDED_PORTS.uplink, packet);
      frame[5]! ^= 0xff;
      return { port: EMBEDDED_PORTS.uplink, frame };
    });
    await step('wrong MAC address, dropped', Reason.wrongMac, () => rate(client, misaddressed, seconds));
    const outward = some.map(({ packet }) =>
      at(EMBEDDED_PORTS.host, { ...packet, src: '192.0.2.1', dst: '198.51.100.1' }),
    );
    await step('host to uplink', Reason.hostToUplink, () => rate(client, outward, seconds));
    for (const [name, these] of [
      ['1 established flow', some.slice(0, 1)],
      ['4,096 established flows', some],
    ] as const) {
      await client.flushLearned(d, 'ct');
      await client.bench(these.map(first), these.length);
      const answers = these.map((f) => answer(f, ports.get(`cali${f.pod}`)!));
      await client.bench(answers, these.length);
      await step(name, Reason.established, () => rate(client, these.map(later), seconds));
    }
    await client.flushLearned(d, 'ct');
    await mustPass(client, news.slice(0, 100));
    await step('new flows', Reason.allowed, () => rateOfNew(client, d, news, seconds));
    return rates;
  });
}

/** The median of each figure's share of the base of its round. */
function shares(rounds: readonly Rates[]): Record<string, number> {
  const names = [...rounds[0]!.keys()];
  return Object.fromEntries(
    names.map((name) => [name, median(rounds.map((round) => round.get(name)! / round.get(BASE)!))]),
  );
}

const INTERPRETED = ', interpreted';

/** The same rows in two engines: one runs the pipeline as machine code, the other in DPDK's interpreter. */
function withModes<T>(
  members: number,
  policies: number,
  work: (running: Running, interpreted: Running) => Promise<T>,
): Promise<T> {
  return withCluster(members, policies, ['--interpret'], (interpreted) =>
    withCluster(members, policies, ['--device', NULL_DEVICE], (running) => work(running, interpreted)),
  );
}

export async function engine(quick: boolean): Promise<never> {
  if (findEngineBinary() === undefined)
    report({ skipped: 'the engine is not built: make engine (needs libdpdk-dev 22.11)' });
  const members = quick ? 10_000 : 100_000;
  const rounds = quick ? 1 : 3;
  const seconds = quick ? 0.1 : 0.25;
  const newFlows: number[] = [];
  const figures: Record<string, number> = {};
  await withEngine([], async (plain) => {
    await plain.attach(0, MEMORY_PORT);
    for (const policies of [1, quick ? 500 : 5000]) {
      const label = policies === 1 ? '1 policy' : `${policies.toLocaleString('en')} policies`;
      const perPod = Math.ceil(policies / PODS);
      const port = (pod: number): number => 1000 + (((perPod * pod) % policies) % 500);
      const flows = Array.from({ length: NEW_FLOWS }, (_, n) => flow(n, members, PODS, port));
      const news = flows.map(first);
      await withModes(members, policies, async (running, interpreted) => {
        const all: Rates[] = [];
        for (let round = 0; round < rounds; round++) {
          const base = await plain.host.withClient((client) => referenceRates(client, flows, seconds));
          const compiled = await pipelineRates(running, flows, news, seconds);
          const before = await pipelineRates(interpreted, flows, news, seconds);
          all.push(
            new Map([
              ...base,
              ...compiled,
              ...[...before].map(([name, n]) => [`${name}${INTERPRETED}`, n] as const),
            ]),
          );
        }
        figures[`${label}: rows`] = running.rows;
        figures[`${label}: rows compiled and written`] = running.seconds;
        figures[`${label}: base packets/s`] = Math.round(median(all.map((r) => r.get(BASE)!)));
        for (const [name, share] of Object.entries(shares(all))) figures[`${label}: ${name}`] = share;
        for (const name of all[0]!.keys())
          figures[`${label}: ${name}, ns`] = Math.round(1e9 / median(all.map((r) => r.get(name)!)));
        newFlows.push(figures[`${label}: new flows`]!);
        if (policies === 1) return;
        Object.assign(figures, await memberLatency(running, flows[0]!, quick));
        Object.assign(figures, await labelLatency(running, flows[0]!, quick));
      });
    }
  });
  report({ ...figures, 'new flows: many policies / 1 policy': newFlows[1]! / newFlows[0]! });
}

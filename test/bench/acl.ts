/**
 * The same rules as a ternary table in the same engine: what a design without labels and diagrams would do. One rule lets the addresses
 * of a set in on a TCP port; a ternary table has a row for each address. Beside it the real pipeline with the same set, which does all
 * the rest too (connections, sources, MAC addresses, time to live), while the ternary program parses, asks its one table and emits.
 */
import { findEngineBinary } from '../../src/p4switch/dpdk/binary';
import type { EngineChange } from '../../src/p4switch/dpdk/changes';
import type { EngineClient } from '../../src/p4switch/dpdk/client';
import type { Description } from '../../src/p4switch/dpdk/description';
import { Which } from '../../src/p4switch/dpdk/protocol';
import { parseSpec } from '../../src/p4switch/spec/parser';
import { MEMORY_PORT, PODS, withCluster, withEngine } from './engine-cluster';
import { labelLatency, NULL_DEVICE } from './engine-latency';
import { pipelineRates, BASE, referenceRates } from './engine';
import { mustPass } from './engine-reference';
import { at, first, flow, type Flow, PACKETS_A_MESSAGE, rate } from './engine-traffic';
import { median, report, timed } from './support';

const TCP = 6n;
const PORT = 1000n;

const PROGRAM = `
struct ethernet_t {
	bit<48> dst
	bit<48> src
	bit<16> type
}
struct ipv4_t {
	bit<64> begin
	bit<8> ttl
	bit<8> proto
	bit<16> checksum
	bit<32> src
	bit<32> dst
}
struct ports_t {
	bit<16> src
	bit<16> dst
}
struct to_t {
	bit<32> port
}
struct meta_t {
	bit<32> in
	bit<32> out
	bit<32> src
	bit<32> dst
	bit<16> dport
	bit<16> proto
}
header ethernet instanceof ethernet_t
header ipv4 instanceof ipv4_t
header ports instanceof ports_t
metadata instanceof meta_t
action to args instanceof to_t {
	mov m.out t.port
	return
}
action nowhere args none {
	drop
	return
}
table acl {
	key {
		m.src wildcard
		m.dst wildcard
		m.dport wildcard
		m.proto wildcard
	}
	actions {
		to
		nowhere
	}
	default_action nowhere args none
	size 0x20000
}
apply {
	rx m.in
	extract h.ethernet
	extract h.ipv4
	extract h.ports
	mov m.src h.ipv4.src
	mov m.dst h.ipv4.dst
	mov m.dport h.ports.dst
	mov m.proto h.ipv4.proto
	mov m.out 0x0
	table acl
	emit h.ethernet
	emit h.ipv4
	emit h.ports
	tx m.out
}
`;

/** One member of the set; `open`: it is let in. */
function row(member: number, kind: 'insert' | 'modify', open = true): EngineChange {
  return {
    kind,
    table: 'acl',
    entry: {
      keys: [
        { value: BigInt(0x0a00_0000 + member), mask: 0xffff_ffffn },
        { value: 0n, mask: 0n },
        { value: PORT, mask: 0xffffn },
        { value: TCP, mask: 0xffffn },
      ],
      priority: 1,
      action: open ? { name: 'to', params: [0n] } : { name: 'nowhere', params: [] },
    },
  };
}

interface AclFigures {
  readonly rate: number;
  readonly load: number;
  /** One row, until packets see it, in seconds. */
  readonly change: number;
}

async function measureAcl(
  client: EngineClient,
  flows: readonly Flow[],
  members: number,
  seconds: number,
  repeats: number,
): Promise<AclFigures> {
  await client.load(PROGRAM, new Uint8Array(0));
  const d: Description = await client.describe(Which.staged, parseSpec(PROGRAM));
  const rows = Array.from({ length: members }, (_, i) => row(i, 'insert'));
  const [load] = await timed(() => client.write(Which.staged, 0n, d, rows));
  await client.activate();
  const frames = flows.slice(0, PACKETS_A_MESSAGE).map(({ packet }) => at(0, packet));
  await mustPass(client, frames.slice(0, 100));
  const packets = await rate(client, frames, seconds);
  const { generation } = await client.hello();
  const probe = at(0, { ...flows[0]!.packet, src: '10.0.0.0' });
  const changes: number[] = [];
  for (let i = 0; i < repeats; i++) {
    const open = i % 2 === 1;
    const [took] = await timed(async () => {
      await client.write(Which.running, generation, d, [row(0, 'modify', open)]);
      const [out] = await client.inject([probe]);
      if (out!.length > 0 !== open) throw new Error(`change ${i} is not in force`);
    });
    changes.push(took);
  }
  return { rate: packets, load, change: median(changes) };
}

export async function acl(quick: boolean): Promise<never> {
  if (findEngineBinary() === undefined)
    report({ skipped: 'the engine is not built: make engine (needs libdpdk-dev 22.11)' });
  const seconds = quick ? 0.1 : 0.25;
  const figures: Record<string, number> = {};
  await withEngine([], async (plain) => {
    await plain.attach(0, MEMORY_PORT);
    for (const members of quick ? [1000, 10_000] : [1000, 10_000, 100_000]) {
      const label = `${members.toLocaleString('en')} addresses`;
      const flows = Array.from({ length: 16_384 }, (_, n) => flow(n, members, PODS, () => Number(PORT)));
      await withCluster(members, 1, ['--device', NULL_DEVICE], async (running) => {
        const base = await plain.host.withClient((client) => referenceRates(client, flows, seconds));
        const ternary = await plain.host.withClient((client) =>
          measureAcl(client, flows, members, seconds, quick ? 2 : 5),
        );
        const ours = await pipelineRates(running, flows, flows.map(first), seconds);
        const labels = await labelLatency(running, flows[0]!, true);
        const change = labels['label to packet, under load, median ms']!;
        const share = (packets: number): number => packets / base.get(BASE)!;
        figures[`${label}: rows, ternary`] = members;
        figures[`${label}: rows, pipeline`] = running.rows;
        figures[`${label}: ternary, share of an exact table`] = share(ternary.rate);
        figures[`${label}: pipeline, new flows, share`] = share(ours.get('new flows')!);
        figures[`${label}: pipeline, established, share`] = share(ours.get('4,096 established flows')!);
        figures[`${label}: pipeline, new flows / ternary`] = ours.get('new flows')! / ternary.rate;
        figures[`${label}: pipeline, established / ternary`] =
          ours.get('4,096 established flows')! / ternary.rate;
        figures[`${label}: ternary, loading, s`] = ternary.load;
        figures[`${label}: ternary, one row to packet, ms`] = ternary.change * 1000;
        figures[`${label}: pipeline, one row to packet, ms`] = change;
        figures[`${label}: one row, ternary / pipeline`] = (ternary.change * 1000) / change;
      });
    }
  });
  // One row for each address of each rule: with half of 5,000 policies about the large set it does not fit anywhere.
  figures['rows of 5,000 policies and 100,000 addresses, ternary'] = 2500 * 100_000 + 2500 * 20;
  report(figures);
}

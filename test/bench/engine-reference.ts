/** What the engine's measurements are shares of: the smallest program, and the smallest with a table, on the same packets. */
import type { EngineClient, PortFrame } from '../../src/p4switch/dpdk/client';
import type { EngineChange } from '../../src/p4switch/dpdk/changes';
import { Which } from '../../src/p4switch/dpdk/protocol';
import { parseSpec } from '../../src/p4switch/spec/parser';

const DECLARATIONS = `
struct ethernet_t {
	bit<48> dst
	bit<48> src
	bit<16> type
}
struct ipv4_t {
	bit<64> begin
	bit<32> ttl_to_checksum
	bit<32> src
	bit<32> dst
}
struct to_t {
	bit<32> port
}
struct meta_t {
	bit<32> in
	bit<32> out
}
header ethernet instanceof ethernet_t
header ipv4 instanceof ipv4_t
metadata instanceof meta_t
action to args instanceof to_t {
	mov m.out t.port
	return
}
action nowhere args none {
	drop
	return
}
table addresses {
	key {
		h.ipv4.src exact
	}
	actions {
		to
		nowhere
	}
	default_action nowhere args none
	size 0x20000
}
`;

/** Extracts Ethernet and IPv4, does what it is told, emits both, sends to port 0. */
function program(...middle: readonly string[]): string {
  const body = ['rx m.in', 'extract h.ethernet', 'extract h.ipv4', 'mov m.out 0x0', ...middle];
  const end = ['emit h.ethernet', 'emit h.ipv4', 'tx m.out'];
  return `${DECLARATIONS}\napply {\n${[...body, ...end].map((i) => `\t${i}\n`).join('')}}\n`;
}

/** Instructions of a padded program: its difference to parse and emit is what they cost. */
export const INSTRUCTIONS = 200;

/** Entries of the table; no table at 0. `padded`: INSTRUCTIONS more that do nothing. */
export interface Reference {
  readonly entries: number;
  readonly padded?: boolean;
}

/** Makes the packets, from IPv4 sources 10.0.0.0 + 0 to `entries` - 1, go through a reference program from now on. */
export async function loadReference(client: EngineClient, { entries, padded }: Reference): Promise<void> {
  const padding = Array.from({ length: padded === true ? INSTRUCTIONS : 0 }, () => 'mov m.out 0x0');
  const text = entries === 0 ? program(...padding) : program('table addresses');
  await client.load(text, new Uint8Array(0));
  const description = await client.describe(Which.staged, parseSpec(text));
  const changes = Array.from({ length: entries }, (_, i): EngineChange => ({
    kind: 'insert',
    table: 'addresses',
    entry: {
      keys: [{ value: BigInt(0x0a00_0000 + i), mask: 0xffff_ffffn }],
      priority: 0,
      action: { name: 'to', params: [0n] },
    },
  }));
  await client.write(Which.staged, 0n, description, changes);
  await client.activate();
}

/** @throws Error when one of the packets does not come out: it would be something else that is measured */
export async function mustPass(client: EngineClient, packets: readonly PortFrame[]): Promise<void> {
  const out = await client.inject(packets);
  const lost = out.filter((frames) => frames.length !== 1).length;
  if (lost > 0) throw new Error(`${lost} of ${packets.length} packets do not come out`);
}

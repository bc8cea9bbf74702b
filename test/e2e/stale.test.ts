/**
 * SWX keeps metadata and header bytes from packet to packet. So: every kind of packet after every other kind, and what becomes of the
 * second must be what becomes of it on a switch that has never seen a packet.
 */
import { createInterpreter } from '../../src/p4switch/interpreter/interpreter';
import { parseSpec } from '../../src/p4switch/spec/parser';
import type { Engine, PacketResult, TableOp } from '../../src/p4switch/engine';
import { makePacket } from '../../src/packet/describe';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { startEmbeddedNode, type EmbeddedNode } from './support/embedded-node';
import { frameAt } from '../support/frames';
import { modelOf, policyOf, ruleOf, tierOf, workloadOf, NODE_IPV4 } from '../support/models';
import { P4_DPDK_TABLES } from '../../src/p4target/p4-dpdk/adapter';

const POD = '10.65.0.1';
const POD6 = 'fd00::1';
const PEER = '10.65.9.9';
const PEER6 = 'fd00::99';
const spec = parseSpec(readFileSync(path.join(__dirname, '../../pipelines/p4-dpdk/calico.spec'), 'utf8'));

/** Rules that look at every field, so that a stale one decides something else. */
const policy = policyOf({
  id: { kind: 'GlobalNetworkPolicy', namespace: '', name: 'all-fields' },
  tier: 'default',
  inboundRules: [
    ruleOf({ action: 'deny', protocol: 'tcp', dstPorts: [{ first: 22, last: 22 }] }),
    ruleOf({
      action: 'allow',
      protocol: 'tcp',
      srcPorts: [{ first: 1000, last: 1999 }],
      dstPorts: [{ first: 80, last: 90 }],
    }),
    ruleOf({ action: 'allow', protocol: 'udp', dstPorts: [{ first: 53, last: 53 }] }),
    ruleOf({ action: 'allow', protocol: 'sctp', dstPorts: [{ first: 3868, last: 3868 }] }),
    ruleOf({ action: 'allow', protocol: 1, icmp: { type: 8 } }),
    ruleOf({ action: 'deny', protocol: 1 }),
    ruleOf({ action: 'allow', protocol: 58, icmp: { type: 128, code: 0 } }),
    ruleOf({ action: 'allow', protocol: 47, srcNets: ['10.65.9.0/24'] }),
  ],
});

type Kind = { readonly name: string; readonly port: number; readonly frame: Uint8Array };
const UPLINK = 0;
const POD_PORT = 2;

function packet(name: string, fields: Record<string, unknown>, port = UPLINK): Kind {
  return { name, port, frame: frameAt(port, makePacket({ src: PEER, dst: POD, ...fields })) };
}

function cut(kind: Kind, length: number): Kind {
  return { ...kind, name: `${kind.name}, cut to ${length} bytes`, frame: kind.frame.slice(0, length) };
}

function edited(kind: Kind, name: string, offset: number, ...bytes: number[]): Kind {
  const frame = kind.frame.slice();
  frame.set(bytes, offset);
  return { ...kind, name, frame };
}

const tcp80 = packet('TCP 80', { proto: 'tcp', sport: 1500, dport: 80 });
const v6 = { src: PEER6, dst: POD6 };
const kinds: readonly Kind[] = [
  tcp80,
  packet('TCP 80 from another port', { proto: 'tcp', sport: 5000, dport: 80 }),
  packet('TCP 22', { proto: 'tcp', sport: 1500, dport: 22 }),
  packet('TCP ACK', { proto: 'tcp', sport: 1500, dport: 80, tcpFlags: 'A' }),
  packet('TCP RST', { proto: 'tcp', sport: 1500, dport: 80, tcpFlags: 'R' }),
  packet('TCP without flags', { proto: 'tcp', sport: 1500, dport: 80, tcpFlags: 0 }),
  packet('TCP SYN+FIN', { proto: 'tcp', sport: 1500, dport: 80, tcpFlags: 'SF' }),
  packet('UDP 53', { proto: 'udp', sport: 1500, dport: 53 }),
  packet('UDP 80', { proto: 'udp', sport: 1500, dport: 80 }),
  packet('SCTP INIT', { proto: 'sctp', sport: 1500, dport: 3868 }),
  packet('SCTP DATA', { proto: 'sctp', sport: 1500, dport: 3868, sctpChunk: 'DATA' }),
  packet('UDP-Lite', { proto: 'udplite', sport: 1500, dport: 53 }),
  packet('ICMP echo', { proto: 'icmp', icmpType: 8 }),
  packet('ICMP answer', { proto: 'icmp', icmpType: 0 }),
  packet('ICMP error', {
    proto: 'icmp',
    icmpType: 3,
    icmpCode: 1,
    inner: { src: POD, dst: PEER, proto: 'tcp', sport: 80, dport: 1500 },
  }),
  packet('ICMP error about ICMP', {
    proto: 'icmp',
    icmpType: 11,
    inner: { src: POD, dst: PEER, proto: 'icmp' },
  }),
  packet('GRE', { proto: 'gre' }),
  packet('protocol 253', { proto: 253 }),
  packet('first fragment', {
    proto: 'udp',
    sport: 1500,
    dport: 53,
    payload: 64,
    fragment: { id: 7, offset: 0, more: true },
  }),
  packet('later fragment', { proto: 'udp', payload: 64, fragment: { id: 8, offset: 80, more: false } }),
  packet('later TCP fragment', { proto: 'tcp', payload: 64, fragment: { id: 9, offset: 80, more: true } }),
  packet('IPv6 TCP 80', { ...v6, proto: 'tcp', sport: 1500, dport: 80 }),
  packet('IPv6 UDP 53', { ...v6, proto: 'udp', sport: 1500, dport: 53 }),
  packet('ICMPv6 echo', { ...v6, proto: 'icmpv6', icmpType: 128 }),
  packet('ICMPv6 error', {
    ...v6,
    proto: 'icmpv6',
    icmpType: 1,
    inner: { src: POD6, dst: PEER6, proto: 'udp', sport: 53, dport: 1500 },
  }),
  packet('IPv6 first fragment', {
    ...v6,
    proto: 'udp',
    sport: 1500,
    dport: 53,
    payload: 64,
    fragment: { id: 7, offset: 0, more: true },
  }),
  packet('IPv6 later fragment', {
    ...v6,
    proto: 'udp',
    payload: 64,
    fragment: { id: 8, offset: 80, more: false },
  }),
  packet('from the pod', { src: POD, dst: '192.0.2.200', proto: 'udp', sport: 9, dport: 9 }, POD_PORT),
  packet(
    'from the pod, spoofed',
    { src: PEER, dst: '192.0.2.200', proto: 'udp', sport: 9, dport: 9 },
    POD_PORT,
  ),
  packet('from the pod to the host', { src: POD, dst: NODE_IPV4, proto: 'tcp', dport: 80 }, POD_PORT),
  packet('to nobody', { dst: '203.0.113.1', proto: 'tcp', sport: 1500, dport: 80 }),
  packet('from an unknown port', { proto: 'tcp', sport: 1500, dport: 80 }, 99),
  packet('from the host', { src: NODE_IPV4, proto: 'tcp', sport: 1, dport: 22 }, 1),
  edited(tcp80, 'ARP', 12, 0x08, 0x06),
  edited(tcp80, 'IPv4 with options', 14, 0x46),
  edited(packet('IPv6', { ...v6, proto: 'tcp', sport: 1500, dport: 80 }), 'IPv6 hop-by-hop', 20, 0),
  cut(tcp80, 40),
  cut(tcp80, 20),
];

let node: EmbeddedNode;
let rows: TableOp[];

beforeAll(async () => {
  node = await startEmbeddedNode();
  const workload = workloadOf({
    name: 'pod',
    ipv4Nets: [`${POD}/32`],
    ipv6Nets: [`${POD6}/128`],
    tiers: [tierOf({ name: 'default', ingressPolicies: [policy.id] })],
    profileIds: ['allow'],
  });
  const allow = {
    name: 'allow',
    inboundRules: [ruleOf({ action: 'allow' })],
    outboundRules: [ruleOf({ action: 'allow' })],
  };
  await node.node.program(modelOf({ workloads: [workload], policies: [policy], profiles: [allow] }));
  rows = P4_DPDK_TABLES.flatMap(({ table }) =>
    [...node.engine.entries(table)].map((entry): TableOp => ({ kind: 'insert', table, entry })),
  );
});
afterAll(async () => {
  await node.stop();
});

function freshEngine(now: () => number): Engine {
  const engine = createInterpreter(spec, { now });
  for (const row of rows) engine.apply(row);
  return engine;
}

/** What a packet meets and what becomes of it; keys of lookups included, so a stale key shows even where it changes nothing. */
function told(result: PacketResult): string {
  const steps = result.trace.map((step) =>
    JSON.stringify(step, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value)),
  );
  return [
    ...steps,
    ...result.out.map(({ port, frame }) => `${port} ${Buffer.from(frame).toString('hex')}`),
  ].join('\n');
}

test('the kinds are told apart: some pass, some do not', () => {
  const passed = kinds.filter(
    (kind) => freshEngine(() => 0).process(kind.port, kind.frame, false).out.length > 0,
  );
  expect(passed.map((kind) => kind.name)).toEqual([
    'TCP 80',
    'TCP ACK',
    'UDP 53',
    'SCTP INIT',
    'ICMP echo',
    'GRE',
    'first fragment',
    'IPv6 TCP 80',
    'IPv6 UDP 53',
    'ICMPv6 echo',
    'IPv6 first fragment',
    'from the pod',
    'from the host',
  ]);
});

test('nothing of a packet shows in the next one', () => {
  let now = 0;
  const alone = new Map(
    kinds.map((kind) => [kind.name, told(freshEngine(() => 0).process(kind.port, kind.frame, true))]),
  );
  const engine = freshEngine(() => now);
  for (const first of kinds) {
    for (const second of kinds) {
      engine.process(first.port, first.frame, false);
      // Connections of the first packet are not what is tested here.
      now += 100_000;
      const after = told(engine.process(second.port, second.frame, true));
      if (after !== alone.get(second.name)) {
        expect(`${second.name} after ${first.name}:\n${after}`).toBe(
          `${second.name} after ${first.name}:\n${alone.get(second.name) ?? ''}`,
        );
      }
      now += 100_000;
    }
  }
});

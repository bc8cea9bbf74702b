/**
 * One scenario, recorded from five releases of Calico: after every step the same packets get the same verdict, for the same
 * reason by the same name, through the real driver, P4Runtime and interpreter.
 */
import { createFelixSession } from '../../src/driver/felix/felix-session';
import { sendPacket } from '../../src/cli/packets';
import { packetVerdict } from '../../src/cli/verdict';
import type { FelixModel, Rule } from '../../src/model/model';
import { formatPacket, makePacket, type PacketLine } from '../../src/packet/describe';
import { hasIcmp } from '../../src/packet/packet';
import { framesOf, recording, RELEASES, STEPS } from '../unit/driver/felix/recordings';
import { lacks, without } from '../unit/driver/felix/without';
import { startEmbeddedNode, type EmbeddedNode } from './support/embedded-node';

const PACKETS_A_STEP = 400;
/** Longer than any connection lives: each packet is the first of its own. */
const ONE_DAY = 86_400;
const OWN_PACKETS = { tcp: 6, udp: 17, icmp: 1, gre: 47, icmpv6: 58, sctp: 132 };
const NEWEST = RELEASES.length - 1;

let nodes: EmbeddedNode[] = [];
beforeAll(async () => {
  nodes = [];
  // The last one is for the newest without what 3.26 lacks.
  for (let i = 0; i <= RELEASES.length; i++) nodes.push(await startEmbeddedNode());
}, 120_000);
afterAll(async () => {
  for (const node of nodes) await node.stop();
});

test(`five releases, ${STEPS.length} steps, ${PACKETS_A_STEP} packets a step`, async () => {
  const sessions = RELEASES.map(() => createFelixSession());
  const frames = RELEASES.map(([release]) => framesOf(recording(`release-${release}`)));
  const counts = { allow: 0, deny: 0 };
  for (const [stepIndex, [step, last]] of STEPS.entries()) {
    sessions.forEach((session, i) => {
      const until = last[i];
      while (until !== undefined && session.frames <= until) session.push(frames[i]![session.frames]!);
    });
    const newest = sessions[NEWEST]!.model;
    const plain = without(newest, lacks('v3.26'));
    const packets = packetsOf(newest, stepIndex);
    const wanted = await verdicts(nodes[NEWEST]!, newest, packets);
    const wantedPlain = await verdicts(nodes[RELEASES.length]!, plain, packets);
    for (const { verdict } of wanted) counts[verdict]++;
    for (const [i, [release]] of RELEASES.entries()) {
      if (last[i] === undefined || i === NEWEST) continue;
      const got = await verdicts(nodes[i]!, sessions[i]!.model, packets);
      // Staged policies are never enforced: a release that lacks them gives the same verdicts. Only tiers change them.
      const want = release === '3.26.5' ? wantedPlain : wanted;
      expect({ step, release, got }).toEqual({ step, release, got: want });
    }
  }
  const total = counts.allow + counts.deny;
  expect(total).toBe(STEPS.length * PACKETS_A_STEP);
  // A comparison of nothing but denials would prove little.
  expect(Math.min(counts.allow, counts.deny)).toBeGreaterThan(total / 10);
}, 300_000);

async function verdicts(embedded: EmbeddedNode, model: FelixModel, packets: readonly PacketLine[]) {
  const { engine, node } = embedded;
  const { applied } = await node.program(model);
  expect([...applied.failed.values()]).toEqual([]);
  return packets.map((line) => {
    embedded.advance(ONE_DAY);
    return {
      packet: `${line.from} ${formatPacket(line.packet)}`,
      ...packetVerdict(sendPacket(engine, node.names, line), node.names),
    };
  });
}

/** Packets between all that the policies speak of: addresses, ports around the ends of ranges, protocols. The choice is the same in every run. */
function packetsOf(model: FelixModel, seed: number): PacketLine[] {
  const random = randomOf(seed + 1);
  const one = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
  const rules = [...model.policies.values()].flatMap((p) => [...p.inboundRules, ...p.outboundRules]);
  const members = [...model.ipSets.values()].flatMap((set) => [...set.members]);
  const ports = [
    ...new Set([
      ...rules.flatMap(portsOf).flatMap((port) => [port - 1, port, port + 1]),
      ...members.flatMap((member) =>
        member.includes(':') && member.includes(',') ? [Number(member.split(':').at(-1))] : [],
      ),
    ]),
  ].filter((port) => port > 0 && port < 65536);
  const addresses = [
    ...new Set([
      ...members.map((member) => member.split(/[,/]/)[0]!),
      ...rules
        .flatMap((rule) => [...rule.srcNets, ...rule.dstNets, ...rule.notSrcNets, ...rule.notDstNets])
        .map((net) => net.split('/')[0]!),
      '8.8.8.8',
      '2001:4860:4860::8888',
    ]),
  ].filter(
    (address) => address !== '0.0.0.0' && address !== '128.0.0.0' && address !== '::' && address !== '8000::',
  );
  const pods = [...model.workloads.values()].map((w) => ({
    name: w.name,
    addresses: [...w.ipv4Nets, ...w.ipv6Nets].map((net) => net.split('/')[0]!),
  }));
  const isIpv6 = (address: string): boolean => address.includes(':');

  return Array.from({ length: PACKETS_A_STEP }, () => {
    const pod = one(pods);
    const own = one(pod.addresses);
    const others = [...addresses, ...pods.flatMap((p) => p.addresses)].filter(
      (a) => isIpv6(a) === isIpv6(own),
    );
    const outgoing = random() < 0.5;
    const local = new Set(pods.flatMap((p) => p.addresses));
    const other = one(outgoing ? others : others.filter((a) => !local.has(a)));
    const [src, dst] = outgoing ? [own, other] : [other, own];
    const { icmp, icmpv6, tcp, udp, sctp, gre } = OWN_PACKETS;
    const proto = one([tcp, tcp, tcp, tcp, udp, udp, sctp, gre, isIpv6(own) ? icmpv6 : icmp]);
    const fields = hasIcmp(proto)
      ? { icmpType: one(isIpv6(own) ? [128, 1] : [8, 3]), icmpCode: one([0, 1]) }
      : proto === gre
        ? {}
        : { sport: 40_000, dport: one(ports) };
    return {
      id: '-',
      from: outgoing ? pod.name : 'uplink',
      packet: makePacket({ src, dst, proto, ...fields }),
    };
  });
}

function portsOf(rule: Rule): number[] {
  return [...rule.srcPorts, ...rule.dstPorts, ...rule.notSrcPorts, ...rule.notDstPorts].flatMap((r) => [
    r.first,
    r.last,
  ]);
}

/** Numbers in [0, 1), the same for the same seed (mulberry32). */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

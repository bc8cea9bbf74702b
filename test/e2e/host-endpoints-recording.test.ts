/** The host endpoints of a real stream: after each step the switch judges host traffic, and what the node forwards, as the reference does. */
import { sendPacket } from '../../src/cli/packets';
import { packetVerdict } from '../../src/cli/verdict';
import { createFelixSession } from '../../src/driver/felix/felix-session';
import type { FelixModel, Rule } from '../../src/model/model';
import { formatPacket, makePacket } from '../../src/packet/describe';
import { evaluateNode } from '../../src/translators/policy/reference';
import { SEED as seed } from '../seed';
import type { NodePacket } from '../support/arbitraries';
import { UPLINK } from '../support/models';
import { framesOf, recording } from '../unit/driver/felix/recordings';
import { seededRandom, type Random } from './dpdk/random';
import { startEmbeddedNode, TARGET_KINDS } from './support/embedded-node';

const ONE_DAY = 86_400;
const PACKETS = 60;
/** The last frame of each step of 02-policy (its README): the snapshot, then 34 changes. */
const STEPS = [
  79, 81, 82, 83, 85, 93, 95, 107, 108, 110, 118, 119, 120, 121, 135, 144, 149, 151, 160, 168, 170, 178, 186,
  196, 201, 202, 204, 205, 207, 208, 209, 215, 217, 240, 269,
];

test.each(TARGET_KINDS)(
  '02-policy, on a target of kind %s',
  async (kind) => {
    const node = await startEmbeddedNode({ kind });
    const stages = new Map<string, number>();
    try {
      const session = createFelixSession();
      const random = seededRandom(seed);
      for (const frame of framesOf(recording('02-policy'))) {
        session.push(frame);
        if (!STEPS.includes(session.frames - 1)) continue;
        const { applied, problems, hostsUp } = await node.node.program(session.model);
        expect([...applied.failed.values()]).toEqual([]);
        expect(problems.filter((problem) => problem.includes('host endpoint'))).toEqual([]);
        expect([...hostsUp].every((id) => session.model.hostEndpoints.has(id))).toBe(true);
        for (const { from, packet } of packetsOf(session.model, random)) {
          node.advance(ONE_DAY);
          const got = packetVerdict(
            sendPacket(node.engine, node.node.names, { id: '-', from, packet }),
            node.node.names,
          );
          const want = evaluateNode(session.model, from, packet, UPLINK);
          const about = `after frame ${session.frames - 1}: ${formatPacket(packet)} from ${from}`;
          expect(`${about}: ${got.verdict} ${got.stage}`).toBe(`${about}: ${want.verdict} ${want.stage}`);
          const key = `${want.verdict} ${want.stage}`;
          stages.set(key, (stages.get(key) ?? 0) + 1);
        }
      }
    } finally {
      await node.stop();
    }
    console.info(`seed ${seed}, ${kind}: ${[...stages].map(([stage, n]) => `${stage} ${n}`).join(', ')}`);
    // Nearly every chain has decided on some packets; untracked outbound rules are for one port that nothing sends from.
    const decided = new Set([...stages.keys()].map((key) => key.split(' ')[1]));
    for (const stage of ['untracked-in', 'pre-dnat', 'host-in', 'host-out', 'forward-in', 'forward-out']) {
      expect([...decided]).toContain(stage);
    }
  },
  240_000,
);

/** Between the node, its pods and whatever the policies name, half of it with ports of rules. */
function packetsOf(model: FelixModel, random: Random): readonly NodePacket[] {
  const rules: readonly Rule[] = [...model.policies.values()].flatMap((p) => [
    ...p.inboundRules,
    ...p.outboundRules,
  ]);
  const ports = [22, 53, 68, 80, 179, 443, 8080, 30080].concat(
    rules.flatMap(({ dstPorts, srcPorts }) =>
      [...dstPorts, ...srcPorts].flatMap(({ first, last }) => [first, last]),
    ),
  );
  const plain = (text: string): string => text.split(/[/,]/)[0]!;
  const named = [
    ...rules.flatMap(({ srcNets, dstNets, notSrcNets, notDstNets }) => [
      ...srcNets,
      ...dstNets,
      ...notSrcNets,
      ...notDstNets,
    ]),
    ...[...model.ipSets.values()].flatMap(({ members }) => [...members]),
    '8.8.8.8',
    '2001:db8::8',
  ]
    .map(plain)
    .filter((address) => !/^(0\.0\.0\.0|::|128\.0\.0\.0|8000::)$/.test(address));
  const host = model.hosts.get(model.config.get('FelixHostname')!)!;
  const node = [host.ipv4Addr, host.ipv6Addr].map(plain);
  const pods = [...model.workloads.values()].flatMap((w) =>
    [...w.ipv4Nets, ...w.ipv6Nets].map((net) => ({ from: w.name, address: plain(net) })),
  );
  const local = new Set([...node, ...pods.map(({ address }) => address)]);
  const remote = named.filter((address) => !local.has(address));
  return Array.from({ length: PACKETS }, () => {
    const other = random.pick(remote);
    const sameFamily = (address: string): boolean => address.includes(':') === other.includes(':');
    const own = random.pick(node.filter(sameFamily));
    const pod = random.pick(
      [...pods, { from: 'host', address: own }].filter(({ address }) => sameFamily(address)),
    );
    const [from, src, dst] = random.pick([
      ['uplink', other, own],
      ['uplink', other, own],
      ['host', own, other],
      ['host', own, other],
      ['uplink', other, pod.address],
      [pod.from, pod.address, other],
      [pod.from, pod.address, own],
      ['host', own, pod.address],
    ] as const);
    const proto = random.pick([6, 6, 17, 17, 132, sameFamily('1.2.3.4') ? 1 : 58]);
    const fields =
      proto === 1 || proto === 58
        ? { icmpType: proto === 1 ? 8 : 128, icmpCode: 0 }
        : { sport: random.chance(0.7) ? 40_000 : random.pick(ports), dport: random.pick(ports) };
    return { from, packet: makePacket({ src, dst, proto, ...fields }) };
  });
}

/**
 * The proof: what the reference evaluator says of random nodes and packets, the compiled tables say too, through the real driver,
 * P4Runtime and interpreter. Each node follows the one before on the same target, so the updates are tested with it.
 */
import fc from 'fast-check';
import { evaluateNode, type NodeEvaluation } from '../../src/translators/policy/reference';
import { sendPacket } from '../../src/cli/packets';
import { packetVerdict, type PacketVerdict } from '../../src/cli/verdict';
import { arbitraryScenario } from '../support/arbitraries';
import { UPLINK } from '../support/models';
import { formatPacket } from '../../src/packet/describe';
import { SEED as seed } from '../seed';
import { startEmbeddedNode, TARGET_KINDS, type EmbeddedNode } from './support/embedded-node';

const VERDICTS = 20_000;
const PACKETS_A_NODE = 40;
/** Longer than any connection lives: each packet is the first of its own. */
const ONE_DAY = 86_400;

describe.each(TARGET_KINDS)('on a target of kind %s', (kind) => {
  let embedded: EmbeddedNode;
  beforeAll(async () => {
    embedded = await startEmbeddedNode({ kind });
  });
  afterAll(async () => {
    await embedded.stop();
  });

  test('reference evaluator and compiled tables agree on 20,000 verdicts', async () => {
    let compared = 0;
    const scenario = arbitraryScenario(PACKETS_A_NODE, { missing: true, floatingIps: true });
    const property = fc.asyncProperty(scenario, async ({ model, packets }) => {
      const { applied } = await embedded.node.program(model);
      expect([...applied.failed.values()]).toEqual([]);
      for (const { from, packet } of packets) {
        embedded.advance(ONE_DAY);
        const line = { id: '-', from, packet };
        const got = packetVerdict(
          sendPacket(embedded.engine, embedded.node.names, line),
          embedded.node.names,
        );
        const want = expected(evaluateNode(model, from, packet, UPLINK));
        if (JSON.stringify(got) !== JSON.stringify(want)) {
          expect({ packet: `${formatPacket(packet)} from ${from}`, ...got }).toEqual({
            packet: `${formatPacket(packet)} from ${from}`,
            ...want,
          });
        }
        compared++;
      }
    });
    while (compared < VERDICTS) {
      await fc.assert(property, { numRuns: 50, seed: seed + compared });
    }
    console.info(`seed ${seed}: ${compared} verdicts compared`);
  }, 900_000);
});

function expected({ verdict, out, stage, decidedBy }: NodeEvaluation): PacketVerdict {
  return {
    verdict,
    out: out === null ? null : out.kind === 'workload' ? out.workload.name : out.kind,
    stage,
    policy: policyOf(decidedBy),
  };
}

function policyOf(decision: NodeEvaluation['decidedBy']): PacketVerdict['policy'] {
  switch (decision.kind) {
    case 'rule':
      return decision.rule;
    case 'end-of-tier':
      return { tier: decision.tier, kind: '', namespace: '', name: '', rule: -1 };
    case 'missing-policy':
      return { tier: decision.tier, ...decision.policy, rule: -1 };
    default:
      return null;
  }
}

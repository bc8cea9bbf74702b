import fc from 'fast-check';
import { createFelixSession } from '../../src/driver/felix/felix-session';
import type { FelixModel, Rule } from '../../src/model/model';
import { parsePacketFile } from '../../src/packet/describe';
import { arbitraryModel } from '../support/arbitraries';
import {
  conformancePacketLines,
  conformanceStream,
  independentPackets,
  loadConformance,
} from '../support/conformance';
import { encodeModel } from '../support/felix-stream';

const { cases } = loadConformance();

function decoded(stream: Uint8Array): FelixModel {
  const session = createFelixSession();
  session.push(stream);
  session.end();
  return session.model;
}

/** The felix link writes actions in lower case. */
function lowered(model: FelixModel): FelixModel {
  const rules = (list: readonly Rule[]): readonly Rule[] =>
    list.map((rule) => ({ ...rule, action: rule.action.toLowerCase() }));
  const both = <
    T extends { readonly inboundRules: readonly Rule[]; readonly outboundRules: readonly Rule[] },
  >(
    owners: ReadonlyMap<string, T>,
  ): Map<string, T> =>
    new Map(
      [...owners].map(([key, owner]) => [
        key,
        { ...owner, inboundRules: rules(owner.inboundRules), outboundRules: rules(owner.outboundRules) },
      ]),
    );
  return { ...model, policies: both(model.policies), profiles: both(model.profiles) };
}

test('the streams of the conformance cases say what their models say', () => {
  for (const c of cases) expect(decoded(conformanceStream(c))).toEqual(c.model);
});

test('the stream of any model says what the model says', () => {
  fc.assert(
    fc.property(arbitraryModel({ missing: true }), (model) => {
      expect(decoded(encodeModel(model))).toEqual(lowered(model));
    }),
    { numRuns: 50 },
  );
});

test('the packet lines of a case are its packets', () => {
  for (const { packets } of cases) {
    const lines = parsePacketFile(conformancePacketLines(packets));
    expect(lines.map(({ from, packet }) => ({ from, packet }))).toEqual(
      packets.map(({ from, packet }) => ({ from, packet })),
    );
  }
});

test('independent packets: all of them, and no reply beside its request', () => {
  for (const { packets } of cases) {
    const groups = independentPackets(packets);
    expect(new Set(groups.flat())).toEqual(new Set(packets));
    for (const group of groups) {
      for (const { packet: p } of group) {
        const reply = (o: typeof p): boolean =>
          o.src === p.dst &&
          o.dst === p.src &&
          o.proto === p.proto &&
          o.sport === p.dport &&
          o.dport === p.sport;
        // A packet to itself is its own reply.
        expect(group.filter((other) => other.packet !== p && reply(other.packet))).toEqual([]);
      }
    }
  }
});

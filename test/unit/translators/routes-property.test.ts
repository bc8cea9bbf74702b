/**
 * Messages about the network come in any order: the rows are the same in the end, and on the way no packet to an encapsulated pool is sent
 * anywhere but where it belongs.
 */
import fc from 'fast-check';
import { createModelBuilder } from '../../../src/driver/felix/model-builder';
import { decodeMessage } from '../../../src/driver/felix/message-decoder';
import { createEnvelopeReader } from '../../../src/driver/felix/envelope';
import { createFormDetector } from '../../../src/driver/felix/form-detector';
import type { FelixMessage } from '../../../src/driver/felix/messages';
import { parseCidr, type Cidr } from '../../../src/translators/address';
import { contains } from '../../../src/translators/hops';
import { EMBEDDED_LINKS } from '../../../src/translators/links';
import { partChanges, type RowParts } from '../../../src/translators/row-parts';
import { sameWay } from '../../../src/translators/limits';
import { createNetworkRows, type NetworkRows } from '../../../src/translators/routes';
import { rowContent, rowKey, type Row } from '../../../src/translators/rows';
import { FACTS, PORTS, ROUTE_STEPS, rowsOf } from '../../support/route-steps';
import { framesOf, recording } from '../driver/felix/recordings';

/** All messages of a recording up to a frame, decoded. */
function messagesOf(name: string, last: number): FelixMessage[] {
  const envelopes = createEnvelopeReader();
  const detector = createFormDetector();
  return framesOf(recording(name))
    .slice(0, last + 1)
    .map((frame) => {
      const envelope = envelopes.read(frame.subarray(8));
      return decodeMessage(envelope, detector.observe(envelope));
    });
}

/** What the stream comes to: the messages that say the final state, each thing once. */
function finalState(messages: readonly FelixMessage[]): FelixMessage[] {
  const builder = createModelBuilder();
  for (const message of messages) builder.apply(message);
  const { model } = builder;
  return [
    { kind: 'config', config: model.config },
    { kind: 'encapsulation', encapsulation: model.encapsulation },
    ...[...model.hosts.values()].map((host): FelixMessage => ({
      kind: 'host-metadata',
      source: 'both',
      alone: false,
      host,
    })),
    ...[...model.vteps.values()].map((vtep): FelixMessage => ({ kind: 'vtep', vtep })),
    ...[...model.pools.values()].map((pool): FelixMessage => ({ kind: 'ipam-pool', pool })),
    ...[...model.routes.values()].map((route): FelixMessage => ({ kind: 'route', route })),
  ];
}

const table = (rows: NetworkRows): ReadonlyMap<string, string> =>
  new Map(rows.parts.flat().map((row) => [rowKey(row), rowContent(row)]));

/** What the program does with a packet to the address: the content of its next hop, `drop`, or `default`. */
function wayTo(address: Cidr, rows: readonly Row[]): string {
  const hit =
    rows.find(
      ({ table: t, match }) =>
        t === 'remote_address' &&
        match['dst_hi']!.value === address.hi &&
        match['dst_lo']!.value === address.lo,
    ) ??
    rows
      .filter(({ table: t, match }) => {
        const [hi, lo] = [match['hi'], match['lo']];
        if (t !== 'remote_block' || hi?.kind !== 'ternary' || lo?.kind !== 'ternary') return false;
        return (address.hi & hi.mask) === hi.value && (address.lo & lo.mask) === lo.value;
      })
      .sort((a, b) => b.priority! - a.priority!)[0];
  if (hit === undefined) return 'default';
  const { kind, hop_hi, hop_lo } = hit.params;
  if (kind === undefined) return 'drop';
  const hop = rows.find(
    ({ table: t, match }) =>
      t === 'next_hop' &&
      match['kind']!.value === kind &&
      match['hop_hi']!.value === hop_hi &&
      match['hop_lo']!.value === hop_lo,
  );
  return hop === undefined ? 'drop' : rowContent(hop);
}

const STATES: readonly (readonly [string, number])[] = Object.entries(ROUTE_STEPS).flatMap(([name, steps]) =>
  steps.filter((_, i) => i % 4 === 0).map(([, last]) => [name, last] as const),
);

test.each(STATES)('%s up to frame %i, in any order', (name, last) => {
  const messages = finalState(messagesOf(name, last));
  const all = createModelBuilder();
  for (const message of messages) all.apply(message);
  const wanted = rowsOf(all.model);
  const finalRows = wanted.parts.flat();
  const tunnelled = [...all.model.pools.values()]
    .filter(({ vxlanMode, ipipMode }) => `${vxlanMode}${ipipMode}` !== '')
    .map(({ id, cidr }) => ({ id, cidr: parseCidr(cidr)! }));
  // An address of each block, and one of each pool that no block has.
  const samples = [...all.model.routes.values()].flatMap(({ dst }) => {
    const cidr = parseCidr(dst)!;
    const pool = tunnelled.find((one) => contains(one.cidr, cidr));
    if (pool === undefined || cidr.single) return [];
    return [
      {
        pool: pool.id,
        address: parseCidr(dst.replace(/(\.0|::?0?)?\/\d+$/, (t) => (t.startsWith('.') ? '.63' : '::3f')))!,
      },
    ];
  });
  const right = samples.map(({ address }) => wayTo(address, finalRows));

  fc.assert(
    fc.property(
      fc.shuffledSubarray(messages, { minLength: messages.length }),
      fc.integer({ min: 1, max: 6 }),
      (order, every) => {
        const builder = createModelBuilder();
        const incremental = createNetworkRows();
        const target = new Map<string, Row>();
        let parts: RowParts = [];
        order.forEach((message, i) => {
          builder.apply(message);
          if (i % every !== 0 && i !== order.length - 1) return;
          const now = incremental({
            model: builder.model,
            ports: PORTS,
            links: EMBEDDED_LINKS,
            facts: FACTS,
          });
          const { removed, written } = partChanges(parts, now.parts, sameWay);
          for (const row of removed) target.delete(rowKey(row));
          for (const row of written) target.set(rowKey(row), row);
          parts = now.parts;
          samples.forEach(({ address, pool }, at) => {
            const way = wayTo(address, [...target.values()]);
            if (way === 'default' && !builder.model.pools.has(pool)) return;
            if (way !== 'drop') expect([address.text, way]).toEqual([address.text, right[at]]);
          });
        });
        expect(new Map([...target].map(([key, row]) => [key, rowContent(row)]))).toEqual(table(wanted));
      },
    ),
    { numRuns: 10 },
  );
});

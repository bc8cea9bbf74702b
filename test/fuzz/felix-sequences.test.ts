/**
 * Random sequences of Felix's messages, read as frames by the real session in batches that are cut anywhere, on the real driver code and
 * switch. Between any two writes a packet gets what the old or the new state gives, or nothing; a new endpoint is closed until all of its rows
 * are in, a removed one closed first (e2e/support/atomicity.ts). At the end the rows are those of a fresh start, and what is said again writes nothing.
 */
import fc from 'fast-check';
import { isDeepStrictEqual } from 'node:util';
import { createFelixSession } from '../../src/driver/felix/felix-session';
import type { TargetNames } from '../../src/driver/names';
import { createPlacement } from '../../src/driver/placement';
import { workloadKey, type FelixModel } from '../../src/model/model';
import { formatPacket } from '../../src/packet/describe';
import { activeWorkloads, endpointRows } from '../../src/translators/endpoints';
import {
  createPolicyCompiler,
  type CompiledPolicy,
  type PolicyCompiler,
} from '../../src/translators/policy/compiler';
import { UPLINK } from '../support/models';
import { EMBEDDED_LINKS } from '../../src/translators/links';
import { configuredFacts } from '../../src/translators/network-facts';
import { createNetworkRows } from '../../src/translators/routes';
import { evaluateNode, type NodeEvaluation } from '../../src/translators/policy/reference';
import { rowKey, type Row } from '../../src/translators/rows';
import { arbitraryNodePacket, type NodePacket } from '../support/arbitraries';
import { canonicalRows } from '../support/canonical-rows';
import { arbitraryFelixSequence, type FelixSequence } from '../support/felix-sequences';
import { snapshot } from '../unit/driver/felix/streams';
import { startAtomicNode, type AtomicNode } from '../e2e/support/atomicity';
import { PORTS, TARGET_KINDS } from '../e2e/support/embedded-node';
import { fuzz, timeoutOf } from './support/budget';

const RUNS = 25;
/** A second at most for each run; a batch that fails looks for a smaller failure until its time is up. */
const BATCH = 10;
const BATCH_LIMIT = 30_000;
const PACKETS = 40;
/** Of these, those that tell most of a step are run between its writes. */
const MORE_PACKETS = 300;

/** The node's own compiler, and what it gave last: the names of the numbers that are in its rows. */
const mockSeen: { compiler?: PolicyCompiler; compiled?: CompiledPolicy } = {};
jest.mock('../../src/translators/policy/compiler', () => {
  const real = jest.requireActual<{ readonly createPolicyCompiler: typeof createPolicyCompiler }>(
    '../../src/translators/policy/compiler',
  );
  return {
    ...real,
    createPolicyCompiler: (...options: Parameters<typeof createPolicyCompiler>): PolicyCompiler => {
      const compiler = real.createPolicyCompiler(...options);
      const compile: PolicyCompiler['compile'] = (...args) => {
        const compiled = compiler.compile(...args);
        Object.assign(mockSeen, { compiler, compiled });
        return compiled;
      };
      return Object.assign(Object.create(compiler) as PolicyCompiler, { compile });
    },
  };
});

type Names = Pick<TargetNames, 'endpoints' | 'ports'>;

describe.each(TARGET_KINDS)('on a target of kind %s', (kind) => {
  test(
    'random sequences of Felix messages',
    async () => {
      const done = { sequences: 0, batches: 0, dropped: 0, rows: 0, writes: 0, verdicts: 0 };
      const property = fc.asyncProperty(
        arbitraryFelixSequence(),
        fc.array(arbitraryNodePacket, { minLength: MORE_PACKETS, maxLength: MORE_PACKETS }),
        async (sequence, packets) => {
          const atomic = await startAtomicNode({ kind });
          try {
            await run(atomic, sequence, packets);
            done.sequences++;
            done.batches += sequence.batches.length;
            done.dropped += sequence.batches.filter((batch) => batch.kind === 'dropped').length;
            done.rows += atomic.embedded.node.rows.length;
            done.writes += atomic.stats.writes;
            done.verdicts += atomic.stats.verdicts;
          } finally {
            await atomic.stop();
          }
        },
      );
      await fuzz('felix sequences', RUNS, property, { batch: BATCH, milliseconds: BATCH_LIMIT });
      console.info(kind, JSON.stringify(done));
    },
    4 * timeoutOf('felix sequences'),
  );
});

async function run(
  atomic: AtomicNode,
  sequence: FelixSequence,
  packets: readonly NodePacket[],
): Promise<void> {
  const { node } = atomic.embedded;
  const session = createFelixSession();
  let before: readonly NodeEvaluation[] | undefined;
  for (const [i, { bytes, kind }] of sequence.batches.entries()) {
    const middle = bytes.length >> 1;
    session.push(bytes.subarray(0, middle));
    session.push(bytes.subarray(middle));
    const model = snapshot(session.model);
    expect(model.inSync).toBe(true);
    const after = packets.map(({ from, packet }) => evaluateNode(model, from, packet, UPLINK));
    try {
      const chosen = before === undefined ? [] : telling(packets, before, after);
      const { applied } = await atomic.step(model, chosen, session.model);
      if (kind === 'again') expect(applied.written).toBe(0);
      if (kind === 'dropped') nothingOpens(packets, before!, after);
    } catch (error) {
      throw new Error(`batch ${i} (${sequence.form}, ${kind})`, { cause: error });
    }
    before = after;
  }

  const fresh = createFelixSession();
  fresh.push(sequence.fresh);
  if (!isDeepStrictEqual(snapshot(fresh.model), snapshot(session.model)))
    expect(snapshot(session.model)).toEqual(snapshot(fresh.model));

  // What the switch has and what the node wants are the same; numbers apart, they are what a fresh start has.
  const { compiler, compiled } = mockSeen;
  const tables = [...atomic.embedded.target.reconciler.actual.values()];
  const actual = tables.flatMap((table) => [...table.values()]);
  expect(actual.map(rowKey).sort()).toEqual(node.rows.map(rowKey).sort());
  const ways = actual.filter((row) => !compiled!.rows.has(rowKey(row)));
  expect(actual.length - ways.length).toBe(compiled!.rows.size);
  const held = [
    ...canonicalRows(compiler!, compiled!, (ep) => node.names.endpoints.get(ep)!),
    ...namedWays(ways, node.names),
  ];
  expect(held).toEqual(freshRows(fresh.model));
}

function freshRows(model: FelixModel): readonly string[] {
  const endpoints = createPlacement(PORTS.firstPod).place(activeWorkloads(model));
  const compiler = createPolicyCompiler({ uplink: UPLINK, firstId: 1000 });
  const compiled = compiler.compile(model, endpoints);
  const facts = configuredFacts(EMBEDDED_LINKS.nextHopMac);
  const network = createNetworkRows()({ model, ports: PORTS, links: EMBEDDED_LINKS, facts });
  const { rows: ways } = endpointRows(
    model,
    endpoints,
    PORTS,
    EMBEDDED_LINKS,
    { meters: true },
    {
      ...network,
      defaultMac: facts.defaultMac,
    },
  );
  const names: Names = {
    endpoints: new Map([
      [0, 'uplink'],
      ...endpoints.map(({ ep, workload }) => [ep, workloadKey(workload.id)] as const),
    ]),
    ports: new Map([
      [PORTS.uplink, 'uplink'],
      [PORTS.host, 'host'],
      ...endpoints.map(({ port, workload }) => [port, workload.name] as const),
    ]),
  };
  return [
    ...canonicalRows(compiler, compiled, (ep) => names.endpoints.get(ep)!),
    ...namedWays([...ways, ...network.parts.flat()], names),
  ];
}

/** The rows of endpoints, with names in the place of ports and endpoint ids. */
function namedWays(rows: readonly Row[], names: Names): readonly string[] {
  const named = ([field, value]: readonly [string, bigint]): string => {
    const name = { ep: names.endpoints, port: names.ports }[field]?.get(Number(value));
    return `${field}=${name ?? value}`;
  };
  return rows
    .map(({ table, match, action, params, priority }) => {
      const keys = Object.entries(match).map(([field, m]) => [
        named([field, m.value]),
        m.kind === 'ternary' ? m.mask : m.kind === 'lpm' ? m.prefixLen : '',
      ]);
      return `${table} ${keys.join(' ')} ${priority ?? ''} -> ${action} ${Object.entries(params).map(named).join(' ')}`;
    })
    .sort();
}

/**
 * Mostly packets that neither state lets through, and for different reasons: what mixes the two may let them. And some of the others.
 */
function telling(
  packets: readonly NodePacket[],
  before: readonly NodeEvaluation[],
  after: readonly NodeEvaluation[],
): readonly NodePacket[] {
  const ranked = packets.map((packet, i) => ({ packet, rank: rankOf(before[i]!, after[i]!) }));
  const open = ranked.filter(({ rank }) => rank === 2).slice(0, PACKETS / 4);
  const shut = ranked.filter(({ rank }) => rank !== 2).sort((a, b) => a.rank - b.rank);
  return [...open, ...shut.slice(0, PACKETS - open.length)].map(({ packet }) => packet);
}

function rankOf(was: NodeEvaluation, is: NodeEvaluation): number {
  if (was.verdict === 'allow' || is.verdict === 'allow') return 2;
  return isDeepStrictEqual(was.decidedBy, is.decidedBy) ? 3 : 0;
}

function nothingOpens(
  packets: readonly NodePacket[],
  before: readonly NodeEvaluation[],
  after: readonly NodeEvaluation[],
): void {
  for (const [i, { from, packet }] of packets.entries()) {
    if (before[i]!.verdict === 'deny' && after[i]!.verdict === 'allow')
      throw new Error(
        `${formatPacket(packet)} from ${from} is let through (${JSON.stringify(after[i])}) after a removal`,
      );
  }
}

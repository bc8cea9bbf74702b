/** The compiled tables against the reference evaluator, without the P4 program: a fault is the compiler's. */
import fc from 'fast-check';
import {
  policyKey,
  type FelixModel,
  type HostEndpoint,
  type WorkloadEndpoint,
} from '../../../src/model/model';
import { createPolicyCompiler, type EndpointPrograms } from '../../../src/translators/policy/compiler';
import type { Stage, Step } from '../../../src/translators/policy/outcomes';
import {
  endpointOfUplink,
  evaluateAtPod,
  evaluateHostChain,
  type HostChain,
  type PacketTuple,
  type RuleRef,
} from '../../../src/translators/policy/reference';
import { rowKey, type Row } from '../../../src/translators/rows';
import { arbitraryModel, arbitraryPacket } from '../../support/arbitraries';
import { UPLINK } from '../../support/models';
import { createWalker } from './row-walker';

const RUNS = { numRuns: 40 };
const packets = fc.array(fc.tuple(arbitraryPacket, fc.nat(), fc.boolean()), { minLength: 40, maxLength: 60 });

function endpointsOf(model: FelixModel): EndpointPrograms[] {
  return [...model.workloads.values()].map((workload, i) => ({ ep: i + 1, workload }));
}

type Direction = 'ingress' | 'egress';

/** The packet as the pipeline would bring it to the endpoint's policy: from or to one of its own addresses. */
function aimed(workload: WorkloadEndpoint, direction: Direction, packet: PacketTuple): PacketTuple {
  const nets = packet.src.includes(':') ? workload.ipv6Nets : workload.ipv4Nets;
  const own = nets[0]!.split('/')[0]!;
  return direction === 'ingress' ? { ...packet, dst: own } : { ...packet, src: own };
}

const CHAINS: readonly HostChain[] = [
  'untracked-in',
  'untracked-out',
  'pre-dnat',
  'host-in',
  'host-out',
  'forward-in',
  'forward-out',
];

/** At tunnels the endpoint of all interfaces has a say, and no other one; untracked policy has none. */
const TUNNEL_CHAINS: readonly HostChain[] = ['pre-dnat', 'host-in', 'host-out', 'forward-in', 'forward-out'];

function everywhere(model: FelixModel): HostEndpoint | 'none' {
  const all = [...model.hostEndpoints.values()].filter(({ name }) => name === '*');
  return all.sort((a, b) => (a.id < b.id ? -1 : 1))[0] ?? 'none';
}

function hit(step: Step): string[] {
  if (step.kind !== 'rule') return [];
  return [`${step.policy === null ? `Profile//${step.profile!}` : policyKey(step.policy)}#${step.index}`];
}

function countByTable(rows: ReadonlyMap<string, Row>): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { table } of rows.values()) counts[table] = (counts[table] ?? 0) + 1;
  return counts;
}

/** A packet, whose program it meets, and at which end of it. */
type Choice = readonly [PacketTuple, number, boolean];

interface Question {
  readonly ep: number;
  readonly stage: Stage;
  readonly packet: PacketTuple;
  readonly want: (model: FelixModel) => {
    readonly verdict: string;
    readonly decidedBy: unknown;
    readonly hits: readonly RuleRef[];
  };
}

/** Half of the packets meet the uplink's programs. */
function questionOf(endpoints: readonly EndpointPrograms[], [any, which, second]: Choice): Question {
  if (which % 2 === 0) {
    const at = (which / 2) % (CHAINS.length + TUNNEL_CHAINS.length);
    if (at >= CHAINS.length) {
      const chain = TUNNEL_CHAINS[at - CHAINS.length]!;
      return {
        ep: 0,
        stage: `tunnel-${chain}` as Stage,
        packet: any,
        want: (model) => evaluateHostChain(model, everywhere(model), chain, any),
      };
    }
    const stage = CHAINS[at]!;
    return {
      ep: 0,
      stage,
      packet: any,
      want: (model) => evaluateHostChain(model, endpointOfUplink(model, UPLINK), stage, any),
    };
  }
  const { ep, workload } = endpoints[((which - 1) / 2) % endpoints.length]!;
  const direction = second ? 'ingress' : 'egress';
  const packet = aimed(workload, direction, any);
  return { ep, stage: direction, packet, want: (model) => evaluateAtPod(model, workload, direction, packet) };
}

function check(
  model: FelixModel,
  endpoints: readonly EndpointPrograms[],
  walker: ReturnType<typeof createWalker>,
  choices: readonly Choice[],
): void {
  for (const choice of choices) {
    const { ep, stage, packet, want: ask } = questionOf(endpoints, choice);
    const want = ask(model);
    const got = walker.walk(ep, stage, packet);
    const about = `endpoint ${ep} ${stage} ${JSON.stringify(packet)} decided by ${JSON.stringify(want.decidedBy)}`;
    expect(`${got.verdict} ${about}`).toBe(`${want.verdict} ${about}`);
    expect(got.outcome.rules.flatMap(hit)).toEqual(
      want.hits.map((r) => `${r.kind}/${r.namespace}/${r.name}#${r.rule}`),
    );
  }
}

/** A model with parts of both: what Felix may send next. */
function mixed(a: FelixModel, b: FelixModel, bits: number): FelixModel {
  let n = 0;
  const pick = <V>(x: ReadonlyMap<string, V>, y: ReadonlyMap<string, V>): ReadonlyMap<string, V> => {
    const out = new Map(x);
    for (const [key, value] of y) if ((bits >> (n++ % 24)) & 1) out.set(key, value);
    return out;
  };
  return {
    ...a,
    config: b.config,
    ipSets: pick(a.ipSets, b.ipSets),
    policies: pick(a.policies, b.policies),
    profiles: pick(a.profiles, b.profiles),
    workloads: pick(a.workloads, b.workloads),
    hostEndpoints: pick(a.hostEndpoints, b.hostEndpoints),
  };
}

describe('compiled policy', () => {
  test.each([false, true])(
    'agrees with the reference evaluator (names of what is missing: %s)',
    (missing) => {
      fc.assert(
        fc.property(arbitraryModel({ missing }), packets, (model, choices) => {
          const endpoints = endpointsOf(model);
          const compiled = createPolicyCompiler({ uplink: UPLINK }).compile(model, endpoints);
          check(model, endpoints, createWalker(compiled), choices);
        }),
        RUNS,
      );
    },
  );

  test('after changes is what a new compiler makes of the same model, up to the numbers', () => {
    fc.assert(
      fc.property(
        arbitraryModel(),
        arbitraryModel(),
        fc.array(fc.tuple(fc.nat(), fc.boolean()), { minLength: 1, maxLength: 4 }),
        packets,
        (a, b, steps, choices) => {
          const compiler = createPolicyCompiler({ uplink: UPLINK, firstId: 100 });
          const mirror = new Map<string, Row>();
          let model = a;
          for (const [bits, twoPhases] of steps) {
            const endpoints = endpointsOf(model);
            for (const phase of twoPhases ? (['transition', 'final'] as const) : (['final'] as const)) {
              const compiled = compiler.compile(model, endpoints, phase);
              for (const key of compiled.changes.removed.keys()) expect(mirror.delete(key)).toBe(true);
              for (const [key, row] of compiled.changes.written) {
                expect(rowKey(row)).toBe(key);
                mirror.set(key, row);
              }
              expect(new Set(mirror.keys())).toEqual(new Set(compiled.rows.keys()));
              check(model, endpoints, createWalker({ ...compiled, rows: mirror }), choices);
            }
            const again = compiler.compile(model, endpoints);
            expect(again.changes.written.size + again.changes.removed.size).toBe(0);
            expect(countByTable(again.rows)).toEqual(
              countByTable(createPolicyCompiler({ uplink: UPLINK }).compile(model, endpoints).rows),
            );
            model = mixed(model, b, bits);
          }
        },
      ),
      RUNS,
    );
  });

  test('in two phases, every packet is judged by the old policy or by the new one, after every single row', () => {
    fc.assert(
      fc.property(arbitraryModel(), arbitraryModel(), fc.nat(), packets, (a, b, bits, choices) => {
        // Policies change, addresses do not: membership has its own time.
        const next = { ...mixed(a, b, bits), ipSets: a.ipSets, workloads: a.workloads };
        const endpoints = endpointsOf(a);
        const compiler = createPolicyCompiler({ uplink: UPLINK });
        const before = compiler.compile(a, endpoints);
        const rows = new Map(before.rows);
        const outcomes = new Map(before.outcomes);
        const few = choices.slice(0, 8).map((choice) => {
          const question = questionOf(endpoints, choice);
          return { ...question, verdicts: [a, next].map((m) => question.want(m).verdict) };
        });
        const judge = (): void => {
          const walker = createWalker({ rows, outcomes });
          for (const { ep, stage, packet, verdicts } of few) {
            expect(verdicts).toContain(walker.walk(ep, stage, packet).verdict);
          }
        };
        const order = (row: Row): number =>
          row.table.startsWith('step_') ? 0 : row.table === 'endpoint_root' ? 2 : 1;
        for (const phase of ['transition', 'final'] as const) {
          const { changes, outcomes: now } = compiler.compile(next, endpoints, phase);
          for (const [id, outcome] of now) outcomes.set(id, outcome);
          const written = [...changes.written].sort(([, x], [, y]) => order(x) - order(y));
          let stepRows = 0;
          for (const [key, row] of written) {
            rows.set(key, row);
            // Nothing leads to the new step rows yet: looking in now and then is enough.
            if (order(row) > 0 || stepRows++ % 16 === 0) judge();
          }
          for (const key of changes.removed.keys()) {
            rows.delete(key);
            judge();
          }
        }
      }),
      { numRuns: 12 },
    );
  });
});

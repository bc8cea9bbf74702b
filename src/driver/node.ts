/**
 * One node: Felix's model in, rows on the target. The policy compiler and the placement keep ids stable from one state
 * to the next; everything else is computed anew, and the reconciler writes the differences.
 */
import type { FelixModel } from '../model/model';
import { workloadKey } from '../model/model';
import type { ApplyResult, Reconciler } from '../p4target/reconciler';
import { activeWorkloads, endpointRows, type NodePorts } from '../translators/endpoints';
import { createPolicyCompiler } from '../translators/policy/compiler';
import { rowKey, type Row } from '../translators/rows';
import { endpointFailures, failuresOfNode, type EndpointFailure } from './endpoint-failures';
import { namesOf, NO_NAMES, type TargetNames } from './names';
import { createPlacement } from './placement';

export interface NodeOptions {
  readonly reconciler: Reconciler;
  readonly ports: NodePorts & { readonly firstPod: number };
}

export interface ProgramResult {
  readonly applied: ApplyResult;
  /** Workload keys (model.ts) whose rows are all on the target. */
  readonly up: ReadonlySet<string>;
  /** Workload keys that the target serves only in part, or not at all. */
  readonly down: ReadonlySet<string>;
  /** The endpoints that rows which are not as desired keep closed, with Calico's names; part of `down`. */
  readonly failures: readonly EndpointFailure[];
  /** Failed rows that concern the node as a whole, not one endpoint: in words. */
  readonly nodeFailures: readonly string[];
  /** What Felix asked for and could not be done, each in the closed way. */
  readonly problems: readonly string[];
  /** From the model to the last acknowledged row; without reading the target, where that was needed. */
  readonly seconds: number;
}

export interface Node {
  /**
   * Makes the target equal to the model, which must be in sync.
   * @throws CalicoP4Error TARGET_*: the target could not be reached or written at all
   */
  program(model: FelixModel): Promise<ProgramResult>;
  readonly names: TargetNames;
  readonly rows: readonly Row[];
  /** Rows on the target by table, as far as they were acknowledged. */
  rowCounts(): ReadonlyMap<string, number>;
}

/** Reads the target back first: what it holds keeps its place. */
export async function createNode({ reconciler, ports }: NodeOptions): Promise<Node> {
  await reconciler.load();
  const found = [...reconciler.actual.values()].flatMap((table) => [...table.values()]);
  const placement = createPlacement(ports.firstPod, found);
  const compiler = createPolicyCompiler();
  // From here on it is told what changes.
  reconciler.replaceDesired([]);
  let names = NO_NAMES;
  let ways: ReadonlyMap<string, Row> = new Map();

  return {
    get names() {
      return names;
    },
    get rows() {
      return [...reconciler.desired.values()].flatMap((table) => [...table.values()]);
    },
    rowCounts: () => new Map([...reconciler.actual].map(([table, held]) => [table, held.size])),
    async program(model) {
      // Another connection: another controller may have been there, with endpoints of its own.
      if (!reconciler.loaded) {
        await reconciler.load();
        placement.avoid([...reconciler.actual.values()].flatMap((table) => [...table.values()]));
      }
      const began = performance.now();
      const workloads = activeWorkloads(model);
      const endpoints = placement.place(workloads);
      const compiled = compiler.compile(model, endpoints);
      const found = endpointRows(model, endpoints, ports);
      names = namesOf(endpoints, compiled.outcomes.values(), ports);

      const down = new Set(model.workloads.keys());
      const before = ways;
      ways = new Map(found.rows.map((row) => [rowKey(row), row]));
      const gone = [...before].filter(([key]) => !ways.has(key)).map(([, row]) => row);
      // Never all rows: there are hundreds of thousands, and few of them change.
      const { removed, written } = compiled.changes;
      reconciler.changeDesired([...removed.values(), ...gone], [...written.values(), ...ways.values()]);
      const applied = await reconciler.apply();

      const failures = endpointFailures(applied, endpoints);
      const failedEps = new Set(failures.map(({ ep }) => ep));
      const up = new Set<string>();
      for (const { workload, ep } of endpoints) {
        if (failedEps.has(ep)) continue;
        const key = workloadKey(workload.id);
        down.delete(key);
        up.add(key);
      }
      const nodeFailures = failuresOfNode(applied, endpoints);
      return {
        applied,
        up,
        down,
        failures,
        nodeFailures,
        problems: [...compiled.problems, ...found.problems],
        seconds: (performance.now() - began) / 1000,
      };
    },
  };
}

/** Rows by table, in the order of first appearance: for `replay` and `tables`. */
export function countByTable(rows: readonly Row[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const row of rows) counts.set(row.table, (counts.get(row.table) ?? 0) + 1);
  return counts;
}

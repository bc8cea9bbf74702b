/**
 * One node: Felix's model in, rows on the target. The policy compiler and the placement keep ids stable from one state
 * to the next; everything else is computed anew, and the reconciler writes the differences.
 */
import type { FelixModel } from '../model/model';
import { workloadKey } from '../model/model';
import type { ApplyResult, Reconciler } from '../p4target/reconciler';
import { activeWorkloads, endpointRows, type NodePorts } from '../translators/endpoints';
import { createPolicyCompiler } from '../translators/policy/compiler';
import type { Row } from '../translators/rows';
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
  /** What Felix asked for and could not be done, each in the closed way. */
  readonly problems: readonly string[];
}

export interface Node {
  /**
   * Makes the target equal to the model, which must be in sync.
   * @throws CalicoP4Error TARGET_*: the target could not be reached or written at all
   */
  program(model: FelixModel): Promise<ProgramResult>;
  readonly names: TargetNames;
  readonly rows: readonly Row[];
}

/** Reads the target back first: what it holds keeps its place. */
export async function createNode({ reconciler, ports }: NodeOptions): Promise<Node> {
  await reconciler.load();
  const found = [...reconciler.actual.values()].flatMap((table) => [...table.values()]);
  const placement = createPlacement(ports.firstPod, found);
  const compiler = createPolicyCompiler();
  let names = NO_NAMES;
  let rows: readonly Row[] = [];

  return {
    get names() {
      return names;
    },
    get rows() {
      return rows;
    },
    async program(model) {
      const workloads = activeWorkloads(model);
      const endpoints = placement.place(workloads);
      const compiled = compiler.compile(model, endpoints);
      const ways = endpointRows(model, endpoints, ports);
      rows = [...compiled.rows.values(), ...ways.rows];
      names = namesOf(endpoints, compiled.outcomes.values(), ports);

      reconciler.replaceDesired(rows);
      const applied = await reconciler.apply();

      const failedEps = failedEndpoints(applied);
      const up = new Set<string>();
      const down = new Set([...model.workloads.keys()]);
      for (const { workload, ep } of endpoints) {
        if (failedEps.has(ep)) continue;
        const key = workloadKey(workload.id);
        down.delete(key);
        up.add(key);
      }
      return { applied, up, down, problems: [...compiled.problems, ...ways.problems] };
    },
  };
}

/**
 * Endpoints that a failed row belongs to. Rows without an endpoint need not be looked at: one that an endpoint's program needs takes the
 * endpoint's root row with it (reconciler.ts, F1 and F2), and one that was only to be swept away hurts nobody.
 */
function failedEndpoints(applied: ApplyResult): ReadonlySet<number> {
  const eps = [...applied.failed.values()].map(({ row }) => row.match['ep']?.value ?? row.params['ep']);
  return new Set(eps.filter((ep) => ep !== undefined).map(Number));
}

/** Rows by table, in the order of first appearance: for `replay` and `tables`. */
export function countByTable(rows: readonly Row[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const row of rows) counts.set(row.table, (counts.get(row.table) ?? 0) + 1);
  return counts;
}

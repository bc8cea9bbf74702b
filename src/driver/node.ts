/**
 * One node: Felix's model in, rows on the target. The policy compiler and the placement keep ids stable from one state
 * to the next; everything else is computed anew, and the reconciler writes the differences.
 */
import type { FelixModel } from '../model/model';
import { workloadKey } from '../model/model';
import type { ApplyResult, Reconciler } from '../p4target/reconciler';
import {
  activeWorkloads,
  endpointRows,
  type EndpointRows,
  type NodePorts,
  type PlacedEndpoint,
} from '../translators/endpoints';
import { isLimit, type LimitFeatures, type NotEnforced } from '../translators/limits';
import { EMBEDDED_LINKS, type NodeLinks } from '../translators/links';
import { createPolicyCompiler } from '../translators/policy/compiler';
import { rowKey, sameContent, type Row } from '../translators/rows';
import { endpointFailures, failuresOfNode, type EndpointFailure } from './endpoint-failures';
import { namesOf, NO_NAMES, type TargetNames } from './names';
import { createPlacement } from './placement';

export interface NodeOptions {
  readonly reconciler: Reconciler;
  readonly ports: NodePorts & { readonly firstPod: number };
  /** Default: those of the embedded switch. */
  readonly links?: NodeLinks;
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
  /** What endpoints do not get of what Felix asked for; nothing is open for that. */
  readonly notEnforced: readonly NotEnforced[];
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
export async function createNode({ reconciler, ports, links = EMBEDDED_LINKS }: NodeOptions): Promise<Node> {
  await reconciler.load();
  const found = [...reconciler.actual.values()].flatMap((table) => [...table.values()]);
  const placement = createPlacement(ports.firstPod, found);
  const features: LimitFeatures = { meters: reconciler.hasMeters };
  const compiler = createPolicyCompiler();
  // From here on it is told what changes.
  reconciler.replaceDesired([]);
  let describe: () => TargetNames = () => NO_NAMES;
  let ways: ReadonlyMap<string, Row> = new Map();
  let lastPrograms: readonly unknown[] = [];
  /** What endpoints and their rows were made of, and what they are. */
  let placed:
    | {
        readonly of: readonly unknown[];
        readonly endpoints: readonly PlacedEndpoint[];
        readonly found: EndpointRows;
      }
    | undefined;

  return {
    get names() {
      return describe();
    },
    get rows() {
      return [...reconciler.desired.values()].flatMap((table) => [...table.values()]);
    },
    rowCounts: () => new Map([...reconciler.actual].map(([table, held]) => [table, held.size])),
    async program(model) {
      // Another connection: another controller may have been there, with endpoints of its own.
      if (!reconciler.loaded) {
        await reconciler.load();
        placed = undefined;
        placement.avoid([...reconciler.actual.values()].flatMap((table) => [...table.values()]));
      }
      const began = performance.now();
      const placedOf = [
        ...model.workloads.values(),
        ...model.hosts.values(),
        ...model.hostEndpoints.values(),
        ...model.pools.values(),
        ...[...model.config].flat(),
      ];
      const sameWays = placed !== undefined && sameItems(placedOf, placed.of);
      const endpoints = sameWays ? placed!.endpoints : placement.place(activeWorkloads(model));
      const found = sameWays ? placed!.found : endpointRows(model, endpoints, ports, links, features);
      const waysNow = sameWays ? ways : new Map(found.rows.map((row) => [rowKey(row), row]));
      const closing = sameWays
        ? []
        : [...ways].filter(([key, row]) => {
            const now = waysNow.get(key);
            return now === undefined || !sameContent(now, row);
          });

      // With the old and the new programs side by side, both complete for the old and the new labels, fewer endpoints
      // need to be shut while rows change. Without changed programs nothing is gained, and without MODIFY nothing either.
      let between: ApplyResult | undefined;
      let sideBySide = false;
      const programs = [...model.policies.values(), ...model.profiles.values(), ...model.workloads.values()];
      if (reconciler.canModify && lastPrograms.length > 0 && !sameItems(programs, lastPrograms)) {
        const transition = compiler.compile(model, endpoints, 'transition');
        describe = () => namesOf(endpoints, transition.outcomes.values(), compiler.labelNames, ports);
        const { removed, written } = transition.changes;
        const closed = closing.flatMap(([, row]) => (isLimit(row) ? [] : [row]));
        reconciler.changeDesired([...removed.values(), ...closed], written.values());
        sideBySide = transition.phase === 'transition';
        between = await reconciler.apply(sideBySide);
      }
      lastPrograms = programs;
      const compiled = compiler.compile(model, endpoints);
      // There are thousands of them, and few are ever looked at.
      describe = () => namesOf(endpoints, compiled.outcomes.values(), compiler.labelNames, ports);

      const down = new Set(model.workloads.keys());
      // Never all rows: there are tens of thousands, and few of them change.
      const { removed, written } = compiled.changes;
      reconciler.changeDesired(
        [...removed.values(), ...closing.map(([, row]) => row)],
        [...written.values(), ...(sameWays ? [] : waysNow.values())],
      );
      ways = waysNow;
      placed = { of: placedOf, endpoints, found };
      // After the transition the gates lead to the new programs, and what goes now is nothing that these ask for.
      const applied = both(between, await reconciler.apply(sideBySide));
      if (applied.failed.size === 0) compiler.settle();

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
        notEnforced: found.notEnforced,
        seconds: (performance.now() - began) / 1000,
      };
    },
  };
}

function sameItems(a: readonly unknown[], b: readonly unknown[]): boolean {
  return a.length === b.length && a.every((item, i) => item === b[i]);
}

/** What failed in the first apply was tried again by the second, whose word is the last. */
function both(first: ApplyResult | undefined, last: ApplyResult): ApplyResult {
  if (first === undefined) return last;
  return {
    ...last,
    written: first.written + last.written,
    inserted: first.inserted + last.inserted,
    modified: first.modified + last.modified,
    deleted: first.deleted + last.deleted,
    closedBecause: first.closedBecause === '' ? last.closedBecause : first.closedBecause,
  };
}

/** Rows by table, in the order of first appearance: for `replay` and `tables`. */
export function countByTable(rows: readonly Row[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const row of rows) counts.set(row.table, (counts.get(row.table) ?? 0) + 1);
  return counts;
}

/**
 * One node: Felix's model in, rows on the target. The policy compiler and the placement keep ids stable from one state
 * to the next; everything else is computed anew, and the reconciler writes the differences.
 */
import type { FelixModel } from '../model/model';
import { workloadKey } from '../model/model';
import type { ApplyResult, Reconciler } from '../p4target/reconciler';
import type { RowsByTable } from '../p4target/row-tracker';
import {
  activeWorkloads,
  endpointParts,
  type NodePorts,
  type PlacedEndpoint,
} from '../translators/endpoints';
import { hostEndpointsInForce, type HostEndpointsInForce } from '../translators/host-endpoints';
import { isLimit, sameWay, type LimitFeatures, type NotEnforced } from '../translators/limits';
import { EMBEDDED_LINKS, type NodeLinks } from '../translators/links';
import { configuredFacts, type NetworkFacts } from '../translators/network-facts';
import { createPolicyCompiler } from '../translators/policy/compiler';
import { createNetworkRows } from '../translators/routes';
import { partChanges, type RowParts } from '../translators/row-parts';
import type { Row } from '../translators/rows';
import { endpointFailures, failuresOfNode, type EndpointFailure } from './endpoint-failures';
import type { Journal } from './journal';
import { namesOf, NO_NAMES, type TargetNames } from './names';
import { createPlacement } from './placement';
import { createWatch } from './watch';

export interface NodeOptions {
  readonly reconciler: Reconciler;
  readonly ports: NodePorts & { readonly firstPod: number };
  /** Default: those of the embedded switch. */
  readonly links?: NodeLinks;
  /** Default: none, and a restart of the driver gives new numbers to most of what is on the target. */
  readonly journal?: Pick<Journal, 'remembered' | 'note' | 'drop' | 'rows' | 'save' | 'settle'>;
  /** Name of the interface at the uplink; default "": not known. */
  readonly uplink?: string;
  /** What is known of the world outside of Felix, now; default: no more than the links say. The same object as long as nothing changes. */
  readonly facts?: () => NetworkFacts;
}

export interface ProgramResult {
  readonly applied: ApplyResult;
  /** Workload keys (model.ts) whose rows are all on the target. */
  readonly up: ReadonlySet<string>;
  /** Workload keys that the target serves only in part, or not at all. */
  readonly down: ReadonlySet<string>;
  /** Host endpoints (ids) that are in force, with all of their rows on the target. */
  readonly hostsUp: ReadonlySet<string>;
  /** Host endpoints that are in force nowhere, or not as they should. */
  readonly hostsDown: ReadonlySet<string>;
  /** The endpoints that rows which are not as desired keep closed, with Calico's names; part of `down`. */
  readonly failures: readonly EndpointFailure[];
  /** Failed rows that concern the node as a whole, not one endpoint: in words. */
  readonly nodeFailures: readonly string[];
  /** What Felix asked for and could not be done, each in the closed way. */
  readonly problems: readonly string[];
  /** What endpoints do not get of what Felix asked for; nothing is open for that. */
  readonly notEnforced: readonly NotEnforced[];
  /** Addresses of next hops whose MAC addresses NetworkFacts.macOf is asked for. The same set as long as it has the same addresses. */
  readonly nextHops: ReadonlySet<string>;
  /** From the model to the last acknowledged row; without reading the target, where that was needed. */
  readonly seconds: number;
}

export interface Node {
  /**
   * Makes the target equal to the model, which must be in sync.
   * @throws CalicoP4Error TARGET_*: the target could not be reached or written at all
   */
  program(model: FelixModel): Promise<ProgramResult>;
  /**
   * Writes the rows of the last `program` again to a target that was read or restarted since. Another controller's endpoints keep it from
   * that: what their numbers stand for is for `program` to settle.
   * @throws CalicoP4Error TARGET_*
   */
  restore(): Promise<void>;
  readonly names: TargetNames;
  readonly rows: readonly Row[];
  /** Rows on the target by table, as far as they were acknowledged. */
  rowCounts(): ReadonlyMap<string, number>;
}

/** Reads the target back first: what it holds keeps its place. */
export async function createNode({
  reconciler,
  ports,
  links = EMBEDDED_LINKS,
  journal,
  uplink = '',
  facts: factsNow,
}: NodeOptions): Promise<Node> {
  if (journal !== undefined) reconciler.expect(journal.rows);
  await reconciler.load();
  const found = rowsOf(reconciler.actual);
  const placement = createPlacement(ports.firstPod, found, journal, reconciler.trusted);
  const compiler = createPolicyCompiler({ uplink, ...(journal === undefined ? {} : { memory: journal }) });
  const features: LimitFeatures = { meters: reconciler.hasMeters };
  // From here on it is told what changes.
  reconciler.replaceDesired([]);
  let describe: () => TargetNames = () => NO_NAMES;
  /** The rows of endpoints that the reconciler was told last. */
  let ways: RowParts = [];
  /** Likewise the rows of the network. */
  let routes: RowParts = [];
  const networkRows = createNetworkRows();
  const fixedFacts = configuredFacts(links.nextHopMac);
  /** An earlier call ended between taking some of `ways` away and telling what comes instead. */
  let unsure = false;
  const watchPrograms = createWatch();
  /** What programs are made of changed since they were last on the target, or on their way to it. */
  let programsMoved = false;
  let hasPrograms = false;
  const watchWays = createWatch();
  /** Likewise what endpoints and their rows are made of. */
  let waysMoved = false;
  let placed:
    | {
        readonly endpoints: readonly PlacedEndpoint[];
        readonly found: ReturnType<typeof endpointParts>;
      }
    | undefined;

  /** Who is up and down, if nothing failed in the last call. */
  let allUp: ({ readonly endpoints: readonly PlacedEndpoint[] } & ReturnType<typeof whoIsUp>) | undefined;

  return {
    get names() {
      return describe();
    },
    get rows() {
      return rowsOf(reconciler.desired);
    },
    rowCounts: () => new Map([...reconciler.actual].map(([table, held]) => [table, held.size])),
    async restore() {
      if (reconciler.loaded || placed === undefined) return;
      await reconciler.load();
      if (placement.avoid(rowsOf(reconciler.actual))) {
        placed = undefined;
        return;
      }
      await reconciler.apply();
    },
    async program(model) {
      // Another connection: another controller may have been there, with endpoints of its own.
      if (!reconciler.loaded) {
        await reconciler.load();
        placed = undefined;
        placement.avoid(rowsOf(reconciler.actual));
      }
      const began = performance.now();
      const { workloads, policies, profiles, hosts, hostEndpoints, pools, config } = model;
      const facts = factsNow?.() ?? fixedFacts;
      const network = networkRows({ model, ports, links, facts });
      const placedOf = [workloads, hosts, hostEndpoints, pools, config].map((map) => map.values());
      const fromNetwork = [network.ownAddresses, network.keepPodsIn, network.needsPools, facts.defaultMac];
      waysMoved = watchWays([...placedOf, config.keys(), fromNetwork]) || waysMoved;
      const programsOf = [policies, profiles, workloads, hostEndpoints];
      programsMoved = watchPrograms(programsOf.map((map) => map.values())) || programsMoved;
      const sameWays = placed !== undefined && !waysMoved;
      const endpoints = sameWays ? placed!.endpoints : placement.place(activeWorkloads(model));
      const found = sameWays
        ? placed!.found
        : endpointParts(model, endpoints, ports, links, features, {
            ...network,
            defaultMac: facts.defaultMac,
          });
      const [own, remote] = [
        partChanges(ways, found.parts, sameWay),
        partChanges(routes, network.parts, sameWay),
      ];
      const wayChanges = {
        removed: [...own.removed, ...remote.removed],
        written: [...own.written, ...remote.written],
      };
      const opening = unsure ? [...found.parts.flat(), ...network.parts.flat()] : wayChanges.written;
      unsure = true;

      // With the old and the new programs side by side, both complete for the old and the new labels, fewer endpoints
      // need to be shut while rows change. Without changed programs nothing is gained, and without MODIFY nothing either.
      let between: ApplyResult | undefined;
      let sideBySide = false;
      if (reconciler.canModify && hasPrograms && programsMoved) {
        const transition = compiler.compile(model, endpoints, 'transition');
        describe = () =>
          namesOf(endpoints, transition.outcomes.values(), compiler.labelNames, ports, network.nodes);
        const { removed, written } = transition.changes;
        const closed = wayChanges.removed.filter((row) => !isLimit(row));
        reconciler.changeDesired([...removed.values(), ...closed], written.values());
        sideBySide = transition.phase === 'transition';
        journal?.save();
        between = await reconciler.apply(sideBySide);
      }
      programsMoved = false;
      hasPrograms = programsOf.some((map) => map.size > 0);
      const compiled = compiler.compile(model, endpoints);
      // There are thousands of them, and few are ever looked at.
      describe = () =>
        namesOf(endpoints, compiled.outcomes.values(), compiler.labelNames, ports, network.nodes);

      const named = [...workloads.keys()];
      // Never all rows: there are tens of thousands, and few of them change.
      const { removed, written } = compiled.changes;
      reconciler.changeDesired(
        [...removed.values(), ...wayChanges.removed],
        [...written.values(), ...opening],
      );
      ways = found.parts;
      routes = network.parts;
      unsure = false;
      waysMoved = false;
      placed = { endpoints, found };
      // After the transition the gates lead to the new programs, and what goes now is nothing that these ask for.
      journal?.save();
      const applied = both(between, await reconciler.apply(sideBySide));
      if (applied.failed.size === 0) {
        compiler.settle();
        journal?.settle(reconciler.digest);
      }

      const inForce = hostEndpointsInForce(model, uplink);
      const failures = endpointFailures(applied, endpoints, inForce, compiled.closed);
      const { up, down } =
        failures.length === 0 && allUp?.endpoints === endpoints ? allUp : whoIsUp(named, endpoints, failures);
      allUp = failures.length === 0 ? { endpoints, up, down } : undefined;
      const nodeFailures = failuresOfNode(applied, endpoints, inForce);
      const { up: hostsUp, down: hostsDown } = whichHostsAreUp(model, inForce, failures);
      return {
        applied,
        up,
        down,
        hostsUp,
        hostsDown,
        failures,
        nodeFailures,
        problems: [...compiled.problems, ...found.problems, ...network.problems],
        notEnforced: [...found.notEnforced, ...network.notEnforced],
        nextHops: network.nextHops,
        seconds: (performance.now() - began) / 1000,
      };
    },
  };
}

/** By workload key; `named` are all of the model. */
function whoIsUp(
  named: readonly string[],
  endpoints: readonly PlacedEndpoint[],
  failures: readonly EndpointFailure[],
): { readonly up: ReadonlySet<string>; readonly down: ReadonlySet<string> } {
  const failed = new Set(failures.map(({ ep }) => ep));
  const whole = endpoints.filter(({ ep }) => !failed.has(ep));
  const up = new Set(whole.map(({ workload }) => workloadKey(workload.id)));
  return { up, down: new Set(named.filter((key) => !up.has(key))) };
}

/** Host endpoints by id: up is what is in force with all of its rows on the target. */
function whichHostsAreUp(
  model: FelixModel,
  { uplink, everywhere }: HostEndpointsInForce,
  failures: readonly EndpointFailure[],
): { readonly up: ReadonlySet<string>; readonly down: ReadonlySet<string> } {
  const failed = new Set(failures.map(({ hostEndpoint }) => hostEndpoint));
  const up = new Set(
    [uplink, everywhere].flatMap((one) => (typeof one === 'object' && !failed.has(one.id) ? [one.id] : [])),
  );
  return { up, down: new Set([...model.hostEndpoints.keys()].filter((id) => !up.has(id))) };
}

function rowsOf(state: RowsByTable): readonly Row[] {
  return [...state.values()].flatMap((table) => [...table.values()]);
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

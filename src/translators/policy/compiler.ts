import type { FelixModel, WorkloadEndpoint } from '../../model/model';
import { isStaged, policyKey, workloadKey } from '../../model/model';
import type { Row } from '../rows';
import { rowKey } from '../rows';
import { createPrefixCache } from './address';
import { createAddressClasses } from './address-classes';
import type { SrcForm } from './conditions';
import { createForms } from './conditions';
import type { Demands } from './demands';
import { both, demandsOf, NO_DEMANDS, reachable } from './demands';
import type { Branch, Leaf, Node } from './diagram';
import { createDiagram } from './diagram';
import { createIdSpace } from './ids';
import { createIntervals } from './intervals';
import type { Membership } from './ip-sets';
import { createIpSets, NO_MEMBERS } from './ip-sets';
import { createLabels } from './labels';
import type { TooLarge } from './node-rows';
import { createNodeRows } from './node-rows';
import { ownAddresses } from './own-addresses';
import type { Direction, Outcome } from './outcomes';
import { describeStep, FIRST_OUTCOME, OUTCOME_LIMIT } from './outcomes';
import type { PortClassChanges, PortClasses } from './port-classes';
import { createPortClasses, NO_ATOMS } from './port-classes';
import { createPrograms } from './programs';
import type { RowChanges } from './row-store';
import { createRowStore } from './row-store';
import type { SizeLimits } from './size-limits';
import { SIZE_LIMITS } from './size-limits';

/** A workload endpoint with the number that stands for it in the key of endpoint_root. */
export interface EndpointPrograms {
  readonly ep: number;
  readonly workload: WorkloadEndpoint;
}

/**
 * `final`: the rows are a function of model and endpoints alone, up to the numbers.
 * `transition`: the rows of the last compile's diagrams stay, extended for the classes of this one, and every label and port set
 * that they ask for is still told apart. A target that gets the written rows in the order step tables, class tables,
 * endpoint_root, and loses the removed ones after that, judges every packet by one whole policy, the old or the new. The next
 * `final` compile takes out what has become useless.
 */
export type Phase = 'transition' | 'final';

export interface CompiledPolicy {
  /** By rowKey. One map for the compiler's life: the next compile changes it. */
  readonly rows: ReadonlyMap<string, Row>;
  /** What this compile changed in `rows`. */
  readonly changes: RowChanges;
  /** By id; likewise one map for the compiler's life. */
  readonly outcomes: ReadonlyMap<number, Outcome>;
  /** What the rows are: `final` although a transition was asked for, when both states together would be too large. */
  readonly phase: Phase;
  /** What could not be taken as it stands, and what was done instead. */
  readonly problems: readonly string[];
}

export interface PolicyCompiler {
  /** Brings the compiled state to the model's. Numbers of what stays in use stay. */
  compile(model: FelixModel, endpoints: readonly EndpointPrograms[], phase?: Phase): CompiledPolicy;
  /** What the addresses of a class have in common: sets, CIDRs, family. Undefined when the class is not in use. */
  describeClass(id: number): readonly string[] | undefined;
  /** The rules that are undecided at a node. Undefined when the node is not in use. */
  describeNode(id: number): { readonly level: number; readonly rules: readonly string[] } | undefined;
}

const ID_MAX = 0xffff_ffff;
/** Bit 31 marks leaves. */
const NODE_MAX = 0x7fff_ffff;

/**
 * `firstId` is where the numbers of classes and nodes begin (default 1), `outcomeLimit` the size of the target's counter `outcomes`
 * (default 65,536), `limits` what diagrams may take (default SIZE_LIMITS).
 */
export function createPolicyCompiler(
  options: { readonly firstId?: number; readonly outcomeLimit?: number; readonly limits?: SizeLimits } = {},
): PolicyCompiler {
  const start = options.firstId ?? 1;
  const outcomeLimit = options.outcomeLimit ?? OUTCOME_LIMIT;
  const limits = options.limits ?? SIZE_LIMITS;
  const intervals = createIntervals();
  const prefixes = createPrefixCache();
  const labels = createLabels();
  const ipSets = createIpSets(prefixes, labels);
  const forms = createForms(intervals);
  const diagram = createDiagram(forms, intervals, (label) => labels.groupOf(label));
  const programs = createPrograms(forms, { prefixes, labels, intervals, ipSets });
  const rows = createRowStore();
  const addresses = createAddressClasses(prefixes, labels, rows, createIdSpace(1, ID_MAX, start));
  const dports = createPortClasses('dport', rows, createIdSpace(1, ID_MAX, start));
  const sports = createPortClasses('sport', rows, createIdSpace(1, ID_MAX, start));
  const nodeRows = createNodeRows(
    diagram,
    rows,
    addresses,
    dports,
    sports,
    createIdSpace(1, NODE_MAX, start),
    createIdSpace(FIRST_OUTCOME, outcomeLimit - 1),
    limits,
  );

  let lastRoots: ReadonlyMap<string, Root> = new Map();
  let lastDemands: Demands = NO_DEMANDS;
  let memberships: ReadonlyMap<number, Membership> = new Map();
  /** Protocols that had port demands at the last compile. */
  const portProtocols = { dport: new Set<number>(), sport: new Set<number>() };
  const netMemberships = new Map<number, Membership>();

  const membershipOf = (group: number, model: FelixModel): Membership => {
    const info = labels.info(group);
    switch (info.kind) {
      case 'set':
      case 'ports':
        // A set that only the last compile's rules name may be gone already: then it stays what it was.
        if (!model.ipSets.has(info.set)) return memberships.get(group) ?? NO_MEMBERS;
        return ipSets.membership(info.set, info.kind === 'set' ? 'addresses' : 'ports');
      case 'net': {
        const known = netMemberships.get(group) ?? new Map([[group, new Set([info.prefix])]]);
        netMemberships.set(group, known);
        return known;
      }
      default:
        return NO_MEMBERS;
    }
  };

  const updatePorts = (
    which: 'dport' | 'sport',
    classes: PortClasses,
    demands: Demands,
  ): ReadonlyMap<number, PortClassChanges> => {
    const changed = new Map<number, PortClassChanges>();
    const wanted = demands[which];
    for (const protocol of new Set([...portProtocols[which], ...wanted.keys()])) {
      const changes = classes.update(protocol, wanted.get(protocol) ?? NO_ATOMS);
      if (changes !== undefined) changed.set(protocol, changes);
    }
    portProtocols[which] = new Set(wanted.keys());
    return changed;
  };

  const compile: PolicyCompiler['compile'] = (model, endpoints, phase = 'final') => {
    const problems = new Set<string>();
    const onProblem = (message: string): void => {
      problems.add(message);
    };
    ipSets.begin(model.ipSets, onProblem);
    programs.begin(model, onProblem);

    const roots = new Map<string, Root>();
    const used = new Set<SrcForm>();
    for (const { ep, workload } of endpoints) {
      const own = ownAddresses(workload, prefixes, labels, (group) => membershipOf(group, model));
      for (const direction of ['ingress', 'egress'] as const) {
        // Sources that the endpoint may spoof can be anything.
        const spoofs = direction === 'egress' && workload.allowSpoofedSourcePrefixes.length > 0;
        const program = programs.of(workload, direction, spoofs ? [] : own);
        for (const form of reachable(program)) used.add(form);
        const node = diagram.root(program);
        const instead = diagram.root(programs.closed(direction)) as Leaf;
        roots.set(`${ep}/${direction}`, { ep, direction, workload, node, instead, rules: program.length });
      }
    }

    const ownDemands = demandsOf(used, (group) => membershipOf(group, model), labels, intervals);
    const demands = phase === 'transition' ? both(lastDemands, ownDemands) : ownDemands;
    const wanted = new Map<number, Membership>();
    for (const group of demands.groups) {
      const membership = membershipOf(group, model);
      if (membership !== NO_MEMBERS) wanted.set(group, membership);
    }
    memberships = wanted;
    const classChanges = addresses.update(wanted, phase === 'transition');
    const portsChanged = {
      dport: updatePorts('dport', dports, demands),
      sport: updatePorts('sport', sports, demands),
    };

    const before = phase === 'transition' ? [...lastRoots.values()].map((root) => root.node) : [];
    const updated = nodeRows.update([...roots.values()], before, classChanges, portsChanged);
    for (const [key, root] of roots) {
      const tooLarge = updated.refused.get(root.node);
      if (tooLarge === undefined) continue;
      onProblem(tooComplex(root, tooLarge, limits));
      roots.set(key, { ...root, node: root.instead });
    }

    for (const [key, root] of lastRoots) if (!roots.has(key)) rows.delete(rootKey(root));
    for (const [key, root] of roots) {
      const before = lastRoots.get(key);
      if (before?.node === root.node && before.workload.name === root.workload.name) continue;
      rows.set(rootKey(root), rootRow(root, nodeRows.params(root.node, 0)));
    }
    prefixes.prune(() => [...addresses.prefixes(), ...ipSets.prefixes(), ...labels.prefixes()]);
    lastRoots = roots;
    lastDemands = ownDemands;
    if (!updated.also) return compile(model, endpoints, 'final');

    if (nodeRows.overflowing > 0) {
      onProblem(
        `${nodeRows.overflowing} outcomes are more than the ${outcomeLimit} counters hold: they share two counters, verdicts are not affected`,
      );
    }
    return {
      rows: rows.rows,
      changes: rows.takeChanges(),
      outcomes: nodeRows.outcomes,
      phase,
      problems: [...problems],
    };
  };

  return {
    compile,
    describeClass: (id) => addresses.live.get(id)?.labels.map((label) => labels.describe(label)),
    describeNode(id) {
      const node: Branch | undefined = nodeRows.nodes.get(id);
      if (node === undefined) return undefined;
      return { level: node.level, rules: node.forms.map((form) => describeStep(form.hit.step)) };
    },
  };
}

interface Root {
  readonly ep: number;
  readonly direction: Direction;
  readonly workload: WorkloadEndpoint;
  readonly node: Node;
  /** Taken when the program is too large. */
  readonly instead: Leaf;
  /** In the program. */
  readonly rules: number;
}

const NAMED_MAX = 5;

/** The endpoint, its policies, and by how much: for the person who has to change them. */
function tooComplex({ workload, direction, rules }: Root, { scope }: TooLarge, limits: SizeLimits): string {
  const policies = workload.tiers.flatMap((tier) =>
    (direction === 'ingress' ? tier.ingressPolicies : tier.egressPolicies)
      .filter((id) => !isStaged(id))
      .map((id) => `${tier.name}/${policyKey(id)}`),
  );
  const named = [...policies, ...workload.profileIds.map((name) => `profile ${name}`)];
  const more = named.length > NAMED_MAX ? ` and ${named.length - NAMED_MAX} more` : '';
  // Which limit is met first depends on where one looks first, so all are named.
  const { rows, rules: undecided, questions } = limits[scope];
  const limit = [
    `${rows} table rows`,
    `${undecided} undecided rules`,
    ...(questions === Infinity ? [] : [`${questions} questions to rules`]),
  ].join(', ');
  const whose =
    scope === 'program'
      ? `its ${rules} rules would take more than one endpoint may`
      : `its ${rules} rules and those of the endpoints before it would take more than a node may`;
  return (
    `endpoint ${workloadKey(workload.id)} (${workload.name}) is closed for ${direction}: ${whose} (${limit}); policies: ` +
    `${named.slice(0, NAMED_MAX).join(', ')}${more}. Use fewer rules that each combine sets, CIDRs and ports of their own`
  );
}

function rootMatch(root: Root): Row['match'] {
  return {
    ep: { kind: 'exact', value: BigInt(root.ep) },
    direction: { kind: 'exact', value: root.direction === 'ingress' ? 1n : 2n },
  };
}

function rootKey(root: Root): string {
  return rowKey({ table: 'endpoint_root', match: rootMatch(root) });
}

function rootRow(root: Root, params: Row['params']): Row {
  return {
    table: 'endpoint_root',
    match: rootMatch(root),
    action: 'root',
    params,
    note: `${root.workload.name} ${root.direction}`,
  };
}

import type { FelixModel, TierInfo, WorkloadEndpoint } from '../../model/model';
import { isStaged, policyKey, workloadKey } from '../../model/model';
import { hostEndpointProblems, hostEndpointsInForce } from '../host-endpoints';
import type { Row } from '../rows';
import { rowKey } from '../rows';
import { createPrefixCache } from './address';
import type { AddressClasses, ClassChanges } from './address-classes';
import { createAddressClasses } from './address-classes';
import { createContents } from './contents';
import { createDiagram } from './diagram';
import type { Branch, Leaf, Node } from './diagram-node';
import { createForms } from './forms';
import { createIntervals } from './intervals';
import type { Membership, SetChanges } from './ip-sets';
import { createIpSets, NO_MEMBERS } from './ip-sets';
import { createLabels } from './labels';
import { listChanges } from './list-changes';
import { createNodeNumbers } from './node-numbers';
import { createNodeRows, type UpdateResult } from './node-rows';
import { NO_MEMORY, type NumberMemory } from './number-memory';
import type { Outcome, Stage } from './outcomes';
import { describeStep, OUTCOME_LIMIT, STAGE_NUMBERS } from './outcomes';
import type { Page } from './pages';
import { createPages, PAGE_ROOM } from './pages';
import { createPortLabels } from './port-labels';
import { createProgramCache, isSame, type StageProgram } from './program-cache';
import type { TooLarge } from './program-visits';
import { createPrograms, UPLINK_STAGES, type Subject } from './programs';
import type { RowChanges } from './row-store';
import { createRowStore } from './row-store';
import type { SizeLimits } from './size-limits';
import { SIZE_LIMITS } from './size-limits';

/** A workload endpoint with the number that stands for it in the key of endpoint_root; 0 is the uplink's. */
export interface EndpointPrograms {
  readonly ep: number;
  readonly workload: WorkloadEndpoint;
}

/**
 * `final`: the rows are a function of model and endpoints alone, up to the numbers.
 * `transition`: the rows of the last compile's diagrams stay, extended for the classes of this one, and every label and port set
 * that they ask for is still told apart. A target that gets the written rows in the order step tables, label tables,
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
  /** Endpoints of which a program is closed because it is too large, with the first of their problems. By ep; 0 is the uplink. */
  readonly closed: ReadonlyMap<number, string>;
}

export interface PolicyCompiler {
  /** Brings the compiled state to the model's: that of these endpoints and of the uplink. Numbers of what stays in use stay. */
  compile(model: FelixModel, endpoints: readonly EndpointPrograms[], phase?: Phase): CompiledPolicy;
  /** The target holds exactly the rows of the last compile: what was taken out of use may get another meaning. */
  settle(): void;
  /** What the bits of addr_labels and of the masks stand for. */
  readonly labelNames: readonly LabelName[];
  /** The rules that are undecided at a node. Undefined when the node is not in use. */
  describeNode(
    id: number,
  ): { readonly level: number; readonly protocol: number; readonly rules: readonly string[] } | undefined;
}

/** A bit of a page: `set s:abc`, `10.0.0.0/8`, `IPv4`. */
export interface LabelName {
  readonly page: number;
  readonly bit: number;
  readonly name: string;
}

/** Labels, and sets of ports, that are remembered beside those in use. */
const LABELS_MAX = 1_000;
const INTERVALS_MAX = 1_000;
/** The page of a program that asks nothing of addresses. */
const NO_PAGE = 1;

/**
 * `uplink` is the name of the interface at the uplink ("", the default: not known), which host endpoints may name. `firstId` is
 * where the numbers of nodes begin (default 1), `outcomeLimit` the size of the target's counter `outcomes`
 * (default 65,536), `limits` what diagrams may take (default SIZE_LIMITS), `memory` where numbers are kept for the next process.
 */
export function createPolicyCompiler(
  options: {
    readonly uplink?: string;
    readonly firstId?: number;
    readonly outcomeLimit?: number;
    readonly limits?: SizeLimits;
    readonly memory?: NumberMemory;
  } = {},
): PolicyCompiler {
  const uplink = options.uplink ?? '';
  const start = options.firstId ?? 1;
  const outcomeLimit = options.outcomeLimit ?? OUTCOME_LIMIT;
  const limits = options.limits ?? SIZE_LIMITS;
  const memory = options.memory ?? NO_MEMORY;
  const intervals = createIntervals();
  const prefixes = createPrefixCache();
  const labels = createLabels();
  const ipSets = createIpSets(prefixes, labels);
  const forms = createForms(intervals);
  const diagram = createDiagram(forms, intervals, (group) => labelsOf(group));
  const programs = createPrograms(forms, { prefixes, labels, intervals, ipSets });
  const cache = createProgramCache(programs, {
    prefixes,
    labels,
    membership: (group) => membershipOf(group),
    labelsOf: (group) => labelsOf(group),
  });
  const rows = createRowStore();
  const contents = options.memory === undefined ? undefined : createContents(labels);
  const pages = createPages(memory, contents);
  const openPages = new Map<number, OpenPage>();
  const ports = {
    dport: createPortLabels('dport', rows, memory, contents),
    sport: createPortLabels('sport', rows, memory, contents),
  };
  const numbers = createNodeNumbers({ start, outcomeLimit }, memory, contents);
  const nodeRows = createNodeRows(
    diagram,
    rows,
    { page: (number) => openPages.get(number)!, ...ports, intervals },
    numbers,
    limits,
  );

  /** Those that the rows are of. */
  let lastRoots: readonly Root[] = [];
  /** Likewise, what is too large included. */
  let lastWanted: readonly Root[] = [];
  /** By endpoint. */
  const placed = new Map<number, Placed>();
  /** How many of the placed programs ask for a group. */
  const groupUses = new Map<number, number>();
  /** Undefined after a transition. */
  let lastEndpoints: readonly EndpointPrograms[] | undefined;
  let lastUplink: Subject | undefined;
  /** Groups that the last compile's programs ask for. */
  let lastGroups: ReadonlySet<number> = new Set();
  let memberships: ReadonlyMap<number, Membership> = new Map();
  const netMemberships = new Map<number, Membership>();
  let labelsMax = LABELS_MAX;
  let intervalsMax = INTERVALS_MAX;
  let model: Pick<FelixModel, 'ipSets'> = EMPTY_MODEL;

  const membershipOf = (group: number): Membership => {
    const info = labels.info(group);
    switch (info.kind) {
      case 'set':
      case 'ports':
        // A set that only the last compile's rules name may be gone already: then it stays what it was.
        if (!model.ipSets.has(info.set)) return memberships.get(group) ?? NO_MEMBERS;
        return ipSets.membership(info.set, info.kind === 'set' ? 'addresses' : 'ports');
      case 'nets': {
        const known = netMemberships.get(group) ?? new Map([[group, new Set(info.prefixes)]]);
        netMemberships.set(group, known);
        return known;
      }
      default:
        return NO_MEMBERS;
    }
  };

  /** Sorted. */
  const labelsOf = (group: number): readonly number[] =>
    labels.info(group).kind === 'ports' ? [...membershipOf(group).keys()].sort((a, b) => a - b) : [group];

  /** Brings each page's addresses to what its labels are now. */
  const updatePages = (
    wanted: ReadonlyMap<number, Membership>,
    memberChanges: SetChanges['members'],
    keepUnused: boolean,
  ): ReadonlyMap<number, ClassChanges> => {
    const changed = new Map<number, ClassChanges>();
    for (const [number, { classes }] of openPages) {
      if (pages.pages.has(number)) continue;
      classes.clear();
      openPages.delete(number);
    }
    for (const [number, page] of pages.pages) {
      let open = openPages.get(number);
      if (open?.page !== page) {
        open = { page, classes: createAddressClasses(page, prefixes, labels, rows) };
        openPages.set(number, open);
      }
      const own = new Map<number, Membership>();
      for (const label of page.bits.keys()) {
        const group = labels.groupOf(label);
        const membership = wanted.get(group);
        if (membership !== undefined) own.set(group, membership);
      }
      changed.set(number, open.classes.update(own, memberChanges, keepUnused));
    }
    return changed;
  };

  /** Policies come and go, and each may have named CIDRs and ports that nobody names again. */
  const forgetUnused = (): void => {
    if (labels.size > labelsMax) {
      const used = new Set([...lastGroups, ...ipSets.labels(), ...[...lastGroups].flatMap(labelsOf)]);
      programs.forget();
      labels.forget(used);
      labelsMax = 2 * labels.size + LABELS_MAX;
      for (const group of netMemberships.keys()) if (!used.has(group)) netMemberships.delete(group);
    }
    if (intervals.size > intervalsMax) {
      programs.forget();
      intervals.forget(nodeRows.forget());
      intervalsMax = 2 * intervals.size + INTERVALS_MAX;
    }
  };

  /** `page` is undefined where none can hold the program's labels: it is closed. */
  const rootOf = (
    { ep, subject }: Asked,
    stage: Stage,
    program: StageProgram,
    page: number | undefined,
    instead: Leaf,
  ): Root => {
    const root = { ep, stage, subject, program, instead, ...gateOf(ep, stage) };
    return page === undefined
      ? { ...root, node: instead, page: NO_PAGE, groups: NO_GROUPS }
      : { ...root, node: diagram.root(program.rules, page), page, groups: program.groups };
  };

  const count = (roots: readonly Root[], one: 1 | -1): void => {
    for (const { groups } of roots) {
      for (const group of groups) {
        const uses = (groupUses.get(group) ?? 0) + one;
        if (uses === 0) groupUses.delete(group);
        else groupUses.set(group, uses);
      }
    }
  };

  /**
   * Each subject's programs, in the page that has their labels. The uplink comes first: without it nobody gets in. What is as it
   * was keeps its roots. Pages are given out stage by stage: what all ingress programs ask for has much in common, and so has what all
   * egress programs do, so that a label is in as few pages as can be.
   */
  const place = (atUplink: Subject, endpoints: readonly EndpointPrograms[]): readonly Root[] => {
    const closed = new Map(
      STAGES.map((stage) => [stage, diagram.root(programs.closed(stage), NO_PAGE) as Leaf] as const),
    );
    const { everywhere } = atUplink;
    const asked: Asked[] = [{ ep: UPLINK_EP, subject: atUplink }];
    for (const { ep, workload } of endpoints)
      asked.push({ ep, subject: { kind: 'workload', workload, everywhere } });
    const changed = asked.flatMap((one) => {
      const compiled = cache.of(one.ep, one.subject);
      const before = placed.get(one.ep);
      const asBefore =
        before?.compiled === compiled &&
        before.roots.every(({ stage, instead }) => instead === closed.get(stage));
      return asBefore ? [] : [{ one, compiled, before }];
    });
    const pageOf = new Map<number, number | undefined>();
    for (const stage of STAGES) {
      for (const { one, compiled } of changed) {
        const program = compiled.get(stage);
        const number = programNumber(one.ep, stage);
        if (program !== undefined) pageOf.set(number, pages.place(number, program.labels));
      }
    }
    for (const { one, compiled, before } of changed) {
      const own = [...compiled].map(([stage, program]) =>
        rootOf(one, stage, program, pageOf.get(programNumber(one.ep, stage)), closed.get(stage)!),
      );
      count(own, 1);
      if (before !== undefined) {
        count(before.roots, -1);
        for (const { stage } of before.roots)
          if (!compiled.has(stage)) pages.leave(programNumber(one.ep, stage));
      }
      placed.set(one.ep, { compiled, roots: own });
    }
    const roots = asked.flatMap(({ ep }) => placed.get(ep)!.roots);
    if (placed.size === endpoints.length + 1) return roots;
    const now = new Set([UPLINK_EP, ...endpoints.map(({ ep }) => ep)]);
    for (const [ep, gone] of placed) {
      if (now.has(ep)) continue;
      for (const { stage } of gone.roots) pages.leave(programNumber(ep, stage));
      count(gone.roots, -1);
      placed.delete(ep);
      cache.forget(ep);
    }
    return roots;
  };

  /** With what is too large closed. */
  const taken = (
    asked: readonly Root[],
    { refused }: UpdateResult,
    onClosed: (root: Root, message: string) => void,
  ): readonly Root[] => {
    if (refused.size === 0) return asked;
    return asked.map((root) => {
      const tooLarge = refused.get(root.node);
      if (tooLarge === undefined) return root;
      onClosed(root, tooComplex(root, tooLarge, limits));
      return { ...root, node: root.instead, page: NO_PAGE };
    });
  };

  /** The rows of endpoint_root. */
  const setRoots = (roots: readonly Root[]): void => {
    const { removed, added } = listChanges(lastRoots, roots);
    const left = new Map(removed.map((root) => [root.key, root]));
    for (const root of added) {
      const before = left.get(root.key);
      left.delete(root.key);
      if (
        before?.node === root.node &&
        before.page === root.page &&
        nameOf(before.subject) === nameOf(root.subject)
      )
        continue;
      rows.set(root.key, rootRow(root, nodeRows.params(root.node, 0)));
    }
    for (const key of left.keys()) rows.delete(key);
    lastRoots = roots;
  };

  const compile: PolicyCompiler['compile'] = (now, endpoints, phase = 'final') => {
    model = now;
    const problems = new Set<string>();
    const onProblem = (message: string): void => {
      problems.add(message);
    };
    const closed = new Map<number, string>();
    const onClosed = ({ ep }: Root, message: string): void => {
      problems.add(message);
      if (!closed.has(ep)) closed.set(ep, message);
    };
    const setChanges = ipSets.begin(now.ipSets);
    if (!setChanges.onlyMembers) ipSets.askAgain();
    cache.begin(now, setChanges, onProblem);
    const inForce = hostEndpointsInForce(now, uplink);
    for (const problem of hostEndpointProblems(inForce)) onProblem(problem);
    const atUplink: Subject = { kind: 'uplink', endpoint: inForce.uplink, everywhere: inForce.everywhere };

    // Mostly only members of sets have changed.
    const same =
      phase === 'final' &&
      endpoints === lastEndpoints &&
      lastUplink !== undefined &&
      isSame(atUplink, lastUplink) &&
      cache.unchanged();
    const asked = same ? lastWanted : place(atUplink, endpoints);
    const groups = same ? lastGroups : new Set(groupUses.keys());
    lastUplink = atUplink;
    lastWanted = asked;
    if (!same) pages.end(phase === 'transition');
    lastEndpoints = phase === 'final' ? endpoints : undefined;
    for (const root of asked) if (root.groups === NO_GROUPS) onClosed(root, tooManyLabels(root));

    const wanted = new Map<number, Membership>();
    for (const group of phase === 'transition' ? [...lastGroups, ...groups] : groups) {
      const membership = membershipOf(group);
      if (membership !== NO_MEMBERS) wanted.set(group, membership);
    }
    memberships = wanted;
    const classChanges = updatePages(wanted, setChanges.members, phase === 'transition');

    const { forgotten } = nodeRows;
    const updated = nodeRows.update(asked, phase === 'transition', classChanges);
    // Rules that are read, but of no program now, would come back as others than equal rules that are read again.
    if (nodeRows.forgotten > forgotten) programs.forget();
    ports.dport.update();
    ports.sport.update();
    setRoots(taken(asked, updated, onClosed));
    prefixes.prune(() => [
      ...[...openPages.values()].flatMap(({ classes }) => [...classes.prefixes()]),
      ...ipSets.prefixes(),
      ...labels.prefixes(),
    ]);
    lastGroups = groups;
    if (phase === 'final') forgetUnused();
    if (!updated.kept) return compile(now, endpoints, 'final');

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
      closed,
    };
  };

  return {
    compile,
    settle: () => {
      numbers.settle();
      pages.settle();
      ports.dport.settle();
      ports.sport.settle();
    },
    get labelNames() {
      return [...pages.pages.values()].flatMap(({ number, bits }) =>
        [...bits].map(([label, bit]) => ({ page: number, bit, name: labels.describe(label) })),
      );
    },
    describeNode(id) {
      const node: Branch | undefined = nodeRows.nodes.get(id);
      if (node === undefined) return undefined;
      return {
        level: node.level,
        protocol: node.protocol,
        rules: node.forms.map((form) => describeStep(form.hit.step)),
      };
    },
  };
}

const EMPTY_MODEL: Pick<FelixModel, 'ipSets'> = { ipSets: new Map() };

interface OpenPage {
  readonly page: Page;
  readonly classes: AddressClasses;
}

const WORKLOAD_STAGES: readonly Stage[] = ['ingress', 'egress', 'egress-to-host'];
const STAGES: readonly Stage[] = [...UPLINK_STAGES, ...WORKLOAD_STAGES];
/** The endpoint id that stands for what is not a pod's. */
const UPLINK_EP = 0;
/** Of a program that no page can hold. */
const NO_GROUPS: ReadonlySet<number> = new Set();

/** Whose programs are compiled, and the number that stands for it. */
interface Asked {
  readonly ep: number;
  readonly subject: Subject;
}

/** A subject's programs, and where they begin. */
interface Placed {
  readonly compiled: ReadonlyMap<Stage, StageProgram>;
  readonly roots: readonly Root[];
}

interface Root {
  /** rowKey of its row of endpoint_root. */
  readonly key: string;
  readonly match: Row['match'];
  readonly ep: number;
  readonly stage: Stage;
  readonly subject: Subject;
  readonly node: Node;
  readonly page: number;
  /** Taken when the program is too large. */
  readonly instead: Leaf;
  readonly program: StageProgram;
  /** Those of the program, if it has a page. */
  readonly groups: ReadonlySet<number>;
}

const NAMED_MAX = 5;

/** The endpoint, its policies, and by how much: for the person who has to change them. */
function tooComplex(root: Root, { scope }: TooLarge, limits: SizeLimits): string {
  // Which limit is met first depends on where one looks first, so all are named.
  const { rows, rules: undecided, questions } = limits[scope];
  const limit = [
    `${rows} table rows`,
    `${undecided} undecided rules`,
    ...(questions === Infinity ? [] : [`${questions} questions to rules`]),
  ].join(', ');
  const whose =
    scope === 'program'
      ? `its ${root.program.rules.length} rules would take more than one endpoint may`
      : `its ${root.program.rules.length} rules and those of the endpoints before it would take more than a node may`;
  return `${closedText(root)}: ${whose} (${limit}); ${policiesText(root)}. Use fewer rules that each combine sets, CIDRs and ports of their own`;
}

function tooManyLabels(root: Root): string {
  return `${closedText(root)}: its rules name ${root.program.labels.size} IP sets and lists of CIDRs, and one endpoint may name ${PAGE_ROOM}; ${policiesText(root)}. Use fewer selectors`;
}

type RootText = Pick<Root, 'subject' | 'stage'>;

function closedText({ subject, stage }: RootText): string {
  if (subject.kind === 'uplink') return `host endpoint ${nameOf(subject)} is closed for ${stage}`;
  const { workload } = subject;
  return `endpoint ${workloadKey(workload.id)} (${workload.name}) is closed for ${stage}`;
}

/** Of a workload its interface; of the uplink the host endpoint there. */
function nameOf(subject: Subject): string {
  if (subject.kind === 'workload') return subject.workload.name;
  return typeof subject.endpoint === 'string' ? 'uplink' : subject.endpoint.id;
}

function policiesText({ subject, stage }: RootText): string {
  const outwards = stage.startsWith('egress') || stage.endsWith('-out');
  const named = tiersAsked(subject).flatMap((tier) =>
    (outwards ? tier.egressPolicies : tier.ingressPolicies)
      .filter((id) => !isStaged(id))
      .map((id) => `${tier.name}/${policyKey(id)}`),
  );
  const { everywhere } = subject;
  const own = subject.kind === 'workload' ? subject.workload : subject.endpoint;
  const all = [
    ...named,
    ...(typeof own === 'string' ? [] : own.profileIds.map((name) => `profile ${name}`)),
    ...(everywhere === undefined || subject.kind === 'uplink'
      ? []
      : [`those of host endpoint ${everywhere.id}`]),
  ];
  const more = all.length > NAMED_MAX ? ` and ${all.length - NAMED_MAX} more` : '';
  return `policies: ${all.slice(0, NAMED_MAX).join(', ')}${more}`;
}

function tiersAsked(subject: Subject): readonly TierInfo[] {
  if (subject.kind === 'workload') return subject.workload.tiers;
  if (typeof subject.endpoint === 'string') return [];
  const { tiers, untrackedTiers, preDnatTiers, forwardTiers } = subject.endpoint;
  return [...tiers, ...untrackedTiers, ...preDnatTiers, ...forwardTiers];
}

/** Stands for one program in the memory of numbers: no stage is 0, so that the uplink's 16 is nobody else's. */
function programNumber(ep: number, stage: Stage): number {
  return 16 * ep + STAGE_NUMBERS[stage];
}

/** What the row of endpoint_root is found by. */
function gateOf(ep: number, stage: Stage): Pick<Root, 'key' | 'match'> {
  const match: Row['match'] = {
    ep: { kind: 'exact', value: BigInt(ep) },
    direction: { kind: 'exact', value: BigInt(STAGE_NUMBERS[stage]) },
  };
  return { key: rowKey({ table: 'endpoint_root', match }), match };
}

function rootRow(root: Root, params: Row['params']): Row {
  return {
    table: 'endpoint_root',
    match: root.match,
    action: 'root',
    params: { page: BigInt(root.page), ...params },
    note: `${nameOf(root.subject)} ${root.stage}`,
  };
}

import type { IcmpMatch, PortRange, Rule } from '../../model/model';
import type { Prefix, PrefixCache } from './address';
import { looksLikeV6 } from './address';
import type { Intervals, IntervalSet } from './intervals';
import { PORT_MAX } from './intervals';
import type { IpSets, SetState, SetUse } from './ip-sets';
import type { Labels } from './labels';
import { FAMILY_4, FAMILY_6 } from './labels';
import type { Action } from './outcomes';
import { protocolNumber } from './protocols';

/**
 * One rule in terms of labels and intervals: a conjunction of what it asks at each level.
 *
 * Authority: felix/rules/policy.go (FilterRuleToIPVersion, CalculateRuleMatch, the match blocks). HTTP matches and the
 * service-account fields are not looked at: neither felix/rules nor felix/bpf/polprog has a word of them (only the
 * calculation graph and the XDP state read `http_match`); service accounts arrive resolved, as IP sets.
 *
 * What can not be decided (an unknown set, a member, CIDR or protocol that can not be read) is decided so that less is
 * allowed: a deny rule takes the condition as met, every other rule does not match. Behind a pass rule stand rules that it would have
 * kept from being asked, so where it may match it denies: `programs.ts` makes two rules of it.
 */
export interface RuleMatch {
  readonly src: AddressMatch | null;
  readonly dst: AddressMatch | null;
  readonly protocol: ProtocolMatch;
  /** Null: the rule does not look at ports there. */
  readonly srcPorts: PortMatch | null;
  readonly dstPorts: PortMatch | null;
  /** type * 256 + code, for ICMP and ICMPv6 only; null: no ICMP match. */
  readonly icmp: IntervalSet | null;
}

/** All of `allOf`, none of `noneOf`; numbers are labels. */
export interface AddressMatch {
  readonly allOf: readonly number[];
  readonly noneOf: readonly number[];
}

export interface ProtocolMatch {
  readonly is: number | null;
  readonly not: number | null;
}

export type PortMatch = AskedPorts | FixedPorts;

/** One interval set for each of PORT_PROTOCOLS, in that order; protocols without ports do not match. */
export interface PortsByProtocol {
  readonly id: string;
  readonly sets: readonly IntervalSet[];
}

/** What an AskedPorts comes to for addresses that are known. */
export interface FixedPorts {
  readonly kind: 'fixed';
  readonly ports: PortsByProtocol;
}

/** Groups are those of IP_AND_PORT sets: the ports depend on the address. */
export interface AskedPorts {
  readonly kind: 'asked';
  /** A port in the intervals or in one of the sets; null: any port will do. */
  readonly positive: PortAlternatives | null;
  readonly negative: PortAlternatives | null;
  /** And in each of these sets. */
  readonly everySet: readonly number[];
}

export interface PortAlternatives {
  readonly intervals: IntervalSet;
  readonly sets: readonly number[];
}

/** What reading a rule needs. */
export interface RuleContext {
  readonly prefixes: PrefixCache;
  readonly labels: Labels;
  readonly intervals: Intervals;
  readonly ipSets: IpSets;
  /** Called with what can not be read; the message does not name the rule. */
  readonly onProblem: (message: string) => void;
  /** Called when some condition can not be decided, or not for all packets. */
  readonly onUndecided?: () => void;
}

/** The rule's action; what is not known denies. */
export function readAction(action: string, onProblem: (message: string) => void): Action {
  switch (action.toLowerCase()) {
    case '':
    case 'allow':
      return 'allow';
    case 'deny':
      return 'deny';
    case 'log':
      return 'log';
    case 'pass':
    case 'next-tier':
      return 'pass';
    default:
      onProblem(`unknown action "${action}" denies`);
      return 'deny';
  }
}

/** The IP sets that a rule names, with how it uses them. */
export function setsOf(rule: Rule): readonly { readonly id: string; readonly use: SetUse }[] {
  const addresses = [rule.srcIpSetIds, rule.dstIpSetIds, rule.notSrcIpSetIds, rule.notDstIpSetIds];
  const ports = [
    rule.srcNamedPortIpSetIds,
    rule.notSrcNamedPortIpSetIds,
    rule.dstNamedPortIpSetIds,
    rule.notDstNamedPortIpSetIds,
    rule.dstIpPortSetIds,
  ];
  return [
    ...addresses.flat().map((id) => ({ id, use: 'addresses' as const })),
    ...ports.flat().map((id) => ({ id, use: 'ports' as const })),
  ];
}

/** Undefined when the rule matches no packet at all. */
export function readMatch(rule: Rule, action: Action, context: RuleContext): RuleMatch | undefined {
  const { labels, intervals, onProblem } = context;
  const denies = action === 'deny';
  const knownVersion = [0, 4, 6].includes(rule.ipVersion);
  const families = familiesOf(knownVersion ? rule : { ...rule, ipVersion: 0 });
  let never = families.length === 0;
  /** The condition can not be decided: met for a deny rule, fatal for any other. */
  const undecided = (): void => {
    context.onUndecided?.();
    if (!denies) never = true;
  };
  if (!knownVersion) {
    onProblem(`"${rule.ipVersion}" is no IP version`);
    undecided();
  }

  const stateOf = (id: string, use: SetUse): SetState => {
    const state = context.ipSets.state(id, use);
    if (state !== 'good') context.onUndecided?.();
    return state;
  };

  /** The label of a list of CIDRs, as far as they are of the rule's families and can be read. */
  const nets = (texts: readonly string[]): { readonly label: number | undefined; readonly all: boolean } => {
    const found: Prefix[] = [];
    let all = true;
    const own = texts.filter((text) => families.includes(looksLikeV6(text) ? 6 : 4));
    for (const text of own) {
      const prefix: Prefix | 'nowhere' | undefined = context.prefixes.parse(text);
      if (prefix === undefined) {
        onProblem(`"${text}" is no CIDR`);
        all = false;
      } else if (prefix !== 'nowhere') found.push(prefix);
    }
    return {
      label: found.length === 0 ? undefined : labels.nets(found, [...new Set(own)].sort().join(' or ')),
      all,
    };
  };

  const address = (
    positiveNets: readonly string[],
    negativeNets: readonly string[],
    positiveSets: readonly string[],
    negativeSets: readonly string[],
    alsoAllOf: readonly number[],
  ): AddressMatch | null => {
    const allOf = [...alsoAllOf];
    if (positiveNets.length > 0) {
      const { label, all } = nets(positiveNets);
      if (!all) undecided();
      else if (label === undefined) never = true;
      else allOf.push(label);
    }
    const negative = nets(negativeNets);
    if (!negative.all) undecided();
    const noneOf = negative.label === undefined ? [] : [negative.label];
    for (const id of positiveSets) {
      const state = stateOf(id, 'addresses');
      if (state === 'unusable') undecided();
      // A deny rule can not rely on a set that has more members than we can read.
      else if (!(state === 'partial' && denies)) allOf.push(labels.set(id));
    }
    for (const id of negativeSets) {
      const state = stateOf(id, 'addresses');
      if (state !== 'good') undecided();
      if (state !== 'unusable') noneOf.push(labels.set(id));
    }
    if (allOf.length === 0 && noneOf.length === 0) return null;
    return { allOf: distinct(allOf), noneOf: distinct(noneOf) };
  };

  const alternatives = (
    ranges: readonly PortRange[],
    sets: readonly string[],
    positive: boolean,
  ): PortAlternatives | null => {
    if (ranges.length === 0 && sets.length === 0) return null;
    let certain = true;
    const good = ranges.filter(isPortRange);
    for (const range of ranges) {
      if (isPortRange(range)) continue;
      onProblem(`"${range.first}-${range.last}" is no range of ports`);
      undecided();
      certain = false;
    }
    const groups: number[] = [];
    for (const id of sets) {
      const state = stateOf(id, 'ports');
      if (state === 'unusable' || (state === 'partial' && denies === positive)) {
        undecided();
        certain = false;
      }
      if (state !== 'unusable') groups.push(labels.ports(id));
    }
    // For a deny rule: any port may be one of the set's, none is surely.
    if (positive && !certain) return { intervals: intervals.full, sets: [] };
    return { intervals: intervals.of(good), sets: distinct(groups) };
  };

  const everySet: number[] = [];
  for (const id of rule.dstIpPortSetIds) {
    const state = stateOf(id, 'ports');
    if (state === 'unusable' || (state === 'partial' && denies)) undecided();
    else everySet.push(labels.ports(id));
  }

  const portMatch = (
    positive: PortAlternatives | null,
    negative: PortAlternatives | null,
    every: readonly number[],
  ): PortMatch | null =>
    positive === null && negative === null && every.length === 0
      ? null
      : { kind: 'asked', positive, negative, everySet: distinct(every) };

  const protocol = (value: number | string | undefined): number | null => {
    if (value === undefined) return null;
    const number = protocolNumber(value);
    if (number !== undefined) return number;
    onProblem(`"${value}" is no IP protocol`);
    undecided();
    return null;
  };

  // CIDRs say their family themselves; only what is left must be asked for.
  const family =
    families.length === 1 && rule.srcNets.length === 0 && rule.dstNets.length === 0 ? families : [];
  const match: RuleMatch = {
    src: address(
      rule.srcNets,
      rule.notSrcNets,
      rule.srcIpSetIds,
      rule.notSrcIpSetIds,
      family.map((f) => (f === 4 ? FAMILY_4 : FAMILY_6)),
    ),
    dst: address(rule.dstNets, rule.notDstNets, rule.dstIpSetIds, rule.notDstIpSetIds, []),
    protocol: { is: protocol(rule.protocol), not: protocol(rule.notProtocol) },
    srcPorts: portMatch(
      alternatives(rule.srcPorts, rule.srcNamedPortIpSetIds, true),
      alternatives(rule.notSrcPorts, rule.notSrcNamedPortIpSetIds, false),
      [],
    ),
    dstPorts: portMatch(
      alternatives(rule.dstPorts, rule.dstNamedPortIpSetIds, true),
      alternatives(rule.notDstPorts, rule.notDstNamedPortIpSetIds, false),
      everySet,
    ),
    icmp: readIcmp(rule, context, undecided),
  };
  // No protocol has both ports and an ICMP type.
  if (match.icmp !== null && (match.srcPorts !== null || match.dstPorts !== null)) never = true;
  return never ? undefined : match;
}

/** Both ICMP fields as one interval set; null when the rule has neither. What is no type or code is called `undecided`, and left out. */
function readIcmp(
  rule: Rule,
  { intervals, onProblem }: Pick<RuleContext, 'intervals' | 'onProblem'>,
  undecided: () => void,
): IntervalSet | null {
  if (rule.icmp === undefined && rule.notIcmp === undefined) return null;
  const of = (m: IcmpMatch | undefined): IntervalSet | undefined => {
    if (m === undefined) return undefined;
    const code = m.code ?? 0;
    if (!isWithin(m.type, 255) || !isWithin(code, 255)) {
      onProblem(`"${m.type}/${m.code ?? 'any'}" is no ICMP type and code`);
      undecided();
      return undefined;
    }
    const first = m.type * 256 + code;
    return intervals.of([{ first, last: m.code === undefined ? first + 255 : first }]);
  };
  const positive = of(rule.icmp) ?? intervals.full;
  const negative = of(rule.notIcmp);
  return negative === undefined ? positive : intervals.intersect(positive, intervals.complement(negative));
}

function isPortRange({ first, last }: PortRange): boolean {
  return isWithin(first, last) && isWithin(last, PORT_MAX);
}

function isWithin(value: number, max: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= max;
}

/**
 * The families that a rule is for. A net field with nothing of a family drops the rule for that family, and so does a
 * negated catch-all (felix/rules/policy.go filterNets, by the text).
 */
function familiesOf(rule: Rule): readonly (4 | 6)[] {
  const all: readonly (4 | 6)[] = [4, 6];
  return all.filter((family) => {
    if (rule.ipVersion !== 0 && rule.ipVersion !== family) return false;
    for (const nets of [rule.srcNets, rule.dstNets, rule.notSrcNets, rule.notDstNets]) {
      if (nets.length > 0 && !nets.some((n) => looksLikeV6(n) === (family === 6))) return false;
    }
    const catchAll = family === 4 ? '0.0.0.0/0' : '::/0';
    return !rule.notSrcNets.includes(catchAll) && !rule.notDstNets.includes(catchAll);
  });
}

function distinct(labels: readonly number[]): readonly number[] {
  return [...new Set(labels)].sort((a, b) => a - b);
}

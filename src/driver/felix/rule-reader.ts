import type { IcmpMatch, IpVersion, PortRange, Rule } from '../../model/model';
import { checkFields, InvalidMessage } from './invalid-message';
import type { WireIcmpTypeAndCode, WirePortRange, WireProtocol, WireRule } from './wire-messages';

/** Felix's rule actions (felix/rules/policy.go), lower-cased; "" is allow there and stays "" here. */
const ACTIONS: ReadonlySet<string> = new Set(['', 'allow', 'deny', 'log', 'next-tier', 'pass']);

/**
 * A decoded rule in the model's terms. Strict where leniency would widen the rule: a match that is not understood must
 * not be dropped from it. CIDRs and set members are left as text; who turns them into numbers refuses bad ones.
 * @throws InvalidMessage
 */
export function readRule(rule: WireRule, where: string): Rule {
  checkFields(rule, where, 'refuse');
  const action = rule.action.toLowerCase();
  if (!ACTIONS.has(action)) {
    throw new InvalidMessage(`${where} has the unknown action ${JSON.stringify(rule.action)}`);
  }
  const protocol = readProtocol(rule.protocol, where);
  const notProtocol = readProtocol(rule.notProtocol, where);
  const icmp = readIcmp(rule.icmp === undefined ? undefined : [rule.icmpType, rule.icmpTypeCode], where);
  const notIcmp = readIcmp(
    rule.notIcmp === undefined ? undefined : [rule.notIcmpType, rule.notIcmpTypeCode],
    where,
  );
  return {
    action,
    ipVersion: readIpVersion(rule.ipVersion, where),
    ...(protocol === undefined ? {} : { protocol }),
    ...(notProtocol === undefined ? {} : { notProtocol }),
    srcNets: list(rule.srcNet),
    notSrcNets: list(rule.notSrcNet),
    dstNets: list(rule.dstNet),
    notDstNets: list(rule.notDstNet),
    srcPorts: readPorts(rule.srcPorts, where),
    notSrcPorts: readPorts(rule.notSrcPorts, where),
    dstPorts: readPorts(rule.dstPorts, where),
    notDstPorts: readPorts(rule.notDstPorts, where),
    srcNamedPortIpSetIds: list(rule.srcNamedPortIpSetIds),
    notSrcNamedPortIpSetIds: list(rule.notSrcNamedPortIpSetIds),
    dstNamedPortIpSetIds: list(rule.dstNamedPortIpSetIds),
    notDstNamedPortIpSetIds: list(rule.notDstNamedPortIpSetIds),
    ...(icmp === undefined ? {} : { icmp }),
    ...(notIcmp === undefined ? {} : { notIcmp }),
    srcIpSetIds: list(rule.srcIpSetIds),
    dstIpSetIds: list(rule.dstIpSetIds),
    notSrcIpSetIds: list(rule.notSrcIpSetIds),
    notDstIpSetIds: list(rule.notDstIpSetIds),
    dstIpPortSetIds: list(rule.dstIpPortSetIds),
    hasHttpMatch: rule.httpMatch !== null,
    ruleId: rule.ruleId,
  };
}

/** A rule has seventeen lists, most of them empty: those are one and the same, for memory's sake. */
const NONE: readonly never[] = [];

function list<T>(sent: readonly T[]): readonly T[] {
  return sent.length === 0 ? NONE : sent;
}

function readIpVersion(version: number, where: string): IpVersion {
  if (version !== 0 && version !== 4 && version !== 6) {
    throw new InvalidMessage(`${where} has the unknown IP version ${version}`);
  }
  return version;
}

function readProtocol(protocol: WireProtocol | null, where: string): number | string | undefined {
  if (protocol === null) {
    return undefined;
  }
  checkFields(protocol, where, 'refuse');
  if (protocol.numberOrName === 'number' && protocol.number >= 0 && protocol.number <= 255) {
    return protocol.number;
  }
  if (protocol.numberOrName === 'name' && protocol.name !== '') {
    return protocol.name;
  }
  throw new InvalidMessage(`${where} has a protocol that is neither a number from 0 to 255 nor a name`);
}

function readPorts(ranges: readonly WirePortRange[], where: string): readonly PortRange[] {
  if (ranges.length === 0) {
    return NONE;
  }
  return ranges.map((range) => {
    checkFields(range, where, 'refuse');
    const { first, last } = range;
    if (first < 0 || last > 0xffff || first > last) {
      throw new InvalidMessage(`${where} has the impossible port range ${first}-${last}`);
    }
    return { first, last };
  });
}

/** `sent` is the value of either member of the oneof: the type alone, or type and code. */
function readIcmp(
  sent: readonly [number, WireIcmpTypeAndCode | null] | undefined,
  where: string,
): IcmpMatch | undefined {
  if (sent === undefined) {
    return undefined;
  }
  const [typeAlone, both] = sent;
  if (both !== null) {
    checkFields(both, where, 'refuse');
  }
  const match = both === null ? { type: typeAlone } : { type: both.type, code: both.code };
  if ([match.type, match.code ?? 0].some((v) => v < 0 || v > 0xff)) {
    throw new InvalidMessage(`${where} has an impossible ICMP type or code`);
  }
  return match;
}

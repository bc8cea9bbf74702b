import type {
  HostEndpoint,
  PolicyId,
  QosLimits,
  TierInfo,
  WorkloadEndpoint,
  WorkloadEndpointId,
} from '../../model/model';
import type { Form } from './forms';
import { checkFields, InvalidMessage } from './invalid-message';
import type {
  Wire64,
  WireHostEndpoint,
  WireNatInfo,
  WireQosControls,
  WireQosPolicy,
  WireTierInfo,
  WireWorkloadEndpoint,
  WireWorkloadEndpointId,
} from './wire-messages';

/** A decoded WorkloadEndpoint in the model's terms. @throws InvalidMessage, PolicyNameError */
export function readWorkload(
  id: WorkloadEndpointId,
  endpoint: WireWorkloadEndpoint,
  form: Form,
): WorkloadEndpoint {
  checkFields(endpoint, 'the endpoint');
  return {
    id,
    state: endpoint.state,
    name: endpoint.name,
    mac: endpoint.mac,
    profileIds: endpoint.profileIds,
    ipv4Nets: endpoint.ipv4Nets,
    ipv6Nets: endpoint.ipv6Nets,
    tiers: readTiers(endpoint.tiers, form),
    allowSpoofedSourcePrefixes: endpoint.allowSpoofedSourcePrefixes,
    ...readQos(endpoint.qosControls ?? null),
    ...readDscps(endpoint.qosPolicies ?? []),
    ...readNats([...endpoint.ipv4Nat, ...endpoint.ipv6Nat]),
  };
}

function readDscps(policies: readonly WireQosPolicy[]): Pick<WorkloadEndpoint, 'dscps'> {
  if (policies.length === 0) return {};
  for (const policy of policies) checkFields(policy, 'a QoS policy');
  return { dscps: policies.map(({ dscp }) => dscp) };
}

function readNats(nats: readonly WireNatInfo[]): Pick<WorkloadEndpoint, 'nats'> {
  if (nats.length === 0) return {};
  for (const nat of nats) checkFields(nat, 'a floating IP');
  return { nats: nats.map(({ extIp, intIp }) => ({ external: extIp, internal: intIp })) };
}

/** Nothing where all is 0: releases differ in whether they send that. */
function readQos(wire: WireQosControls | null): Pick<WorkloadEndpoint, 'qos'> {
  if (wire === null) return {};
  checkFields(wire, 'the QoS controls');
  const ingress: QosLimits = {
    bandwidth: big(wire.IngressBandwidth),
    burst: big(wire.IngressBurst),
    peakRate: big(wire.IngressPeakrate),
    minBurst: big(wire.IngressMinburst),
    packetRate: big(wire.IngressPacketRate),
    packetBurst: big(wire.IngressPacketBurst),
    maxConnections: big(wire.IngressMaxConnections),
  };
  const egress: QosLimits = {
    bandwidth: big(wire.EgressBandwidth),
    burst: big(wire.EgressBurst),
    peakRate: big(wire.EgressPeakrate),
    minBurst: big(wire.EgressMinburst),
    packetRate: big(wire.EgressPacketRate),
    packetBurst: big(wire.EgressPacketBurst),
    maxConnections: big(wire.EgressMaxConnections),
  };
  const any = [ingress, egress].some((limits) => Object.values(limits).some((value) => value !== 0n));
  return any ? { qos: { ingress, egress } } : {};
}

function big(value: Wire64): bigint {
  return BigInt(value.toString());
}

/** A decoded HostEndpoint in the model's terms. @throws InvalidMessage, PolicyNameError */
export function readHostEndpoint(id: string, endpoint: WireHostEndpoint, form: Form): HostEndpoint {
  checkFields(endpoint, 'the host endpoint');
  return {
    id,
    name: endpoint.name,
    profileIds: endpoint.profileIds,
    tiers: readTiers(endpoint.tiers, form),
    untrackedTiers: readTiers(endpoint.untrackedTiers, form, form.silentEarlyTier),
    preDnatTiers: readTiers(endpoint.preDnatTiers, form, form.silentEarlyTier),
    forwardTiers: readTiers(endpoint.forwardTiers, form),
    expectedIpv4Addrs: endpoint.expectedIpv4Addrs,
    expectedIpv6Addrs: endpoint.expectedIpv6Addrs,
    ...readDscps(endpoint.qosPolicies ?? []),
  };
}

/** @throws InvalidMessage */
export function readWorkloadId(id: unknown): WorkloadEndpointId {
  if (id === null || typeof id !== 'object') {
    throw new InvalidMessage('it has no id');
  }
  checkFields(id, 'the id');
  const { orchestratorId, workloadId, endpointId } = id as WireWorkloadEndpointId;
  if (workloadId === '') {
    throw new InvalidMessage('its id is empty');
  }
  return { orchestratorId, workloadId, endpointId };
}

/** Unknown fields are refused: a tier is nothing but what decides verdicts. */
function readTiers(
  tiers: readonly WireTierInfo[],
  form: Form,
  silent: TierInfo['defaultAction'] = 'Deny',
): readonly TierInfo[] {
  return tiers.map((tier) => {
    const where = `tier ${JSON.stringify(tier.name)}`;
    checkFields(tier, where, 'refuse');
    const policies = (entries: readonly unknown[]): readonly PolicyId[] =>
      entries.map((entry) => {
        if (typeof entry === 'object' && entry !== null) {
          checkFields(entry, `a policy id in ${where}`, 'refuse');
        }
        return form.policyOfTierEntry(entry).id;
      });
    return {
      name: tier.name,
      ingressPolicies: policies(tier.ingressPolicies),
      egressPolicies: policies(tier.egressPolicies),
      defaultAction: readDefaultAction(tier.defaultAction, where, silent),
    };
  });
}

/** `silent` is what the tier ends in when it does not say (felix/rules/endpoints.go). */
function readDefaultAction(
  action: string | undefined,
  where: string,
  silent: TierInfo['defaultAction'],
): TierInfo['defaultAction'] {
  switch (action) {
    case undefined:
    case '':
      return silent;
    case 'Deny':
      return 'Deny';
    case 'Pass':
      return 'Pass';
    default:
      throw new InvalidMessage(`${where} has the unknown default action ${JSON.stringify(action)}`);
  }
}

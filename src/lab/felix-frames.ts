/**
 * A model as Felix would send it: a whole stream of the 3.33 form, from ConfigUpdate to InSync. The inverse of the felix
 * link, written against the .proto alone.
 */
import path from 'node:path';
import protobuf from 'protobufjs';
import { protoFolder } from '../driver/felix/contract';
import type {
  FelixModel,
  IcmpMatch,
  IpSet,
  Policy,
  PolicyId,
  Profile,
  Rule,
  TierInfo,
  WorkloadEndpoint,
} from '../model/model';

/** One payload of ToDataplane by its protobufjs (camel case) name, for example `{ inSync: {} }`. */
export type Payload = Readonly<Record<string, unknown>>;

/** The form that is spoken. */
const FORM = 'v3.33';

let loaded: protobuf.Root | undefined;

function toDataplane(): protobuf.Type {
  loaded ??= new protobuf.Root().loadSync(path.join(protoFolder(), `${FORM}.proto`));
  return loaded.lookupType('felix.ToDataplane');
}

/** Frames (8-byte little-endian length, message), numbered from `firstSequenceNumber`. */
export function encodeFrames(payloads: readonly Payload[], firstSequenceNumber = 0): Uint8Array {
  const type = toDataplane();
  const chunks = payloads.flatMap((payload, index) => {
    const message = { ...payload, sequenceNumber: firstSequenceNumber + index };
    const bytes = type.encode(type.fromObject(message)).finish();
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(bytes.length));
    return [length, bytes];
  });
  return new Uint8Array(Buffer.concat(chunks));
}

/** The whole stream of a model. */
export function encodeModel(model: FelixModel): Uint8Array {
  return encodeFrames(modelPayloads(model));
}

/** In the order of a Felix flush. A model that is not in sync ends without InSync. */
export function modelPayloads(model: FelixModel): readonly Payload[] {
  return [
    configPayload(model.config),
    ...[...model.ipSets.values()].map(ipSetPayload),
    ...[...model.policies.values()].map(policyPayload),
    ...[...model.profiles.values()].map(profilePayload),
    ...[...model.hostEndpoints.values()].map((endpoint) => ({
      hostEndpointUpdate: {
        id: { endpointId: endpoint.id },
        endpoint: {
          name: endpoint.name,
          profileIds: endpoint.profileIds,
          tiers: endpoint.tiers.map(tier),
          untrackedTiers: endpoint.untrackedTiers.map(tier),
          preDnatTiers: endpoint.preDnatTiers.map(tier),
          forwardTiers: endpoint.forwardTiers.map(tier),
          expectedIpv4Addrs: endpoint.expectedIpv4Addrs,
          expectedIpv6Addrs: endpoint.expectedIpv6Addrs,
        },
      },
    })),
    ...[...model.workloads.values()].map(workloadPayload),
    ...[...model.hosts.values()].map((host) => ({ hostMetadataUpdate: host })),
    ...(model.inSync ? [{ encapsulation: {} }, { inSync: {} }] : []),
  ];
}

export function configPayload(config: FelixModel['config']): Payload {
  return { configUpdate: { config: Object.fromEntries(config) } };
}

export function ipSetPayload(set: IpSet): Payload {
  return { ipsetUpdate: { id: set.id, type: set.type, members: [...set.members] } };
}

export function policyPayload(policy: Policy): Payload {
  return {
    activePolicyUpdate: {
      id: policyId(policy.id),
      policy: {
        namespace: policy.id.namespace,
        tier: policy.tier,
        inboundRules: policy.inboundRules.map(rule),
        outboundRules: policy.outboundRules.map(rule),
        untracked: policy.untracked,
        preDnat: policy.preDnat,
      },
    },
  };
}

export function profilePayload(profile: Profile): Payload {
  return {
    activeProfileUpdate: {
      id: { name: profile.name },
      profile: {
        inboundRules: profile.inboundRules.map(rule),
        outboundRules: profile.outboundRules.map(rule),
      },
    },
  };
}

export function workloadPayload(endpoint: WorkloadEndpoint): Payload {
  return {
    workloadEndpointUpdate: {
      id: endpoint.id,
      endpoint: {
        state: endpoint.state,
        name: endpoint.name,
        mac: endpoint.mac,
        profileIds: endpoint.profileIds,
        ipv4Nets: endpoint.ipv4Nets,
        ipv6Nets: endpoint.ipv6Nets,
        tiers: endpoint.tiers.map(tier),
        allowSpoofedSourcePrefixes: endpoint.allowSpoofedSourcePrefixes,
      },
    },
  };
}

export function policyId(id: PolicyId): Payload {
  return { name: id.name, namespace: id.namespace, kind: id.kind };
}

function tier(info: TierInfo): Payload {
  return {
    name: info.name,
    ingressPolicies: info.ingressPolicies.map(policyId),
    egressPolicies: info.egressPolicies.map(policyId),
    defaultAction: info.defaultAction,
  };
}

function rule(r: Rule): Payload {
  return {
    action: r.action,
    ipVersion: r.ipVersion,
    ...(r.protocol === undefined ? {} : { protocol: protocol(r.protocol) }),
    ...(r.notProtocol === undefined ? {} : { notProtocol: protocol(r.notProtocol) }),
    srcNet: r.srcNets,
    notSrcNet: r.notSrcNets,
    dstNet: r.dstNets,
    notDstNet: r.notDstNets,
    srcPorts: r.srcPorts,
    notSrcPorts: r.notSrcPorts,
    dstPorts: r.dstPorts,
    notDstPorts: r.notDstPorts,
    srcNamedPortIpSetIds: r.srcNamedPortIpSetIds,
    notSrcNamedPortIpSetIds: r.notSrcNamedPortIpSetIds,
    dstNamedPortIpSetIds: r.dstNamedPortIpSetIds,
    notDstNamedPortIpSetIds: r.notDstNamedPortIpSetIds,
    ...icmp(r.icmp, 'icmp'),
    ...icmp(r.notIcmp, 'notIcmp'),
    srcIpSetIds: r.srcIpSetIds,
    notSrcIpSetIds: r.notSrcIpSetIds,
    dstIpSetIds: r.dstIpSetIds,
    notDstIpSetIds: r.notDstIpSetIds,
    dstIpPortSetIds: r.dstIpPortSetIds,
    ...(r.hasHttpMatch ? { httpMatch: { methods: ['GET'] } } : {}),
    ruleId: r.ruleId,
  };
}

function protocol(value: number | string): Payload {
  return typeof value === 'number' ? { number: value } : { name: value };
}

function icmp(match: IcmpMatch | undefined, field: 'icmp' | 'notIcmp'): Payload {
  if (match === undefined) return {};
  return match.code === undefined
    ? { [`${field}Type`]: match.type }
    : { [`${field}TypeCode`]: { type: match.type, code: match.code } };
}

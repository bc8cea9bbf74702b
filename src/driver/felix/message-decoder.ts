import { CalicoP4Error } from '../../errors';
import type { IpSetType, Policy, Profile } from '../../model/model';
import { loadContract } from './contract';
import { readHostEndpoint, readWorkload, readWorkloadId } from './endpoint-reader';
import type { Envelope } from './envelope';
import { createFlatReader } from './flat-reader';
import type { Form } from './forms';
import { PolicyNameError } from './forms/policy-names';
import { describesWholeHost } from './forms/traits';
import { checkFields, InvalidMessage } from './invalid-message';
import type { FelixMessage, HostMetadataSource } from './messages';
import { readNetworkMessage } from './network-reader';
import { readRule } from './rule-reader';
import { readFields, WireError } from './wire';
import type {
  WireHostEndpoint,
  WirePayload,
  WirePolicy,
  WireRules,
  WireWorkloadEndpoint,
} from './wire-messages';

/** IPSetUpdate.IPSetType by number. */
const IP_SET_TYPES: readonly IpSetType[] = ['IP', 'IP_AND_PORT', 'NET'];

/**
 * Decodes one payload in the given form, all the way into the model's terms.
 * @throws CalicoP4Error FELIX_MESSAGE_INVALID for a payload that the form does not have, that can not be decoded, or that says something
 * which is not understood and may decide a verdict. It is never skipped: enforcing the rest would enforce something else.
 */
export function decodeMessage(envelope: Envelope, form: Form): FelixMessage {
  const type = loadContract(form).payload(envelope.payload);
  const name = type?.name ?? `payload ${envelope.payload}`;
  try {
    if (type === undefined) {
      throw new InvalidMessage(`the contract of Calico ${form.releases} has no such payload`);
    }
    const reader = createFlatReader(envelope.body);
    // Kept on the messages as `$unknowns`, for checkFields.
    reader.discardUnknown = false;
    const payload = decodeOrRefuse(() => type.decode(reader) as unknown as WirePayload);
    checkFields(payload, 'it');
    return toFelixMessage(type.name, payload, envelope.body, form);
  } catch (e) {
    if (e instanceof InvalidMessage || e instanceof PolicyNameError || e instanceof WireError) {
      throw new CalicoP4Error(
        'FELIX_MESSAGE_INVALID',
        `frame ${envelope.frame} of the Felix stream (${name}) is not understood: ${e.message}. ` +
          'Nothing after it is enforced; check that calico-p4 supports the Calico release',
        { frame: envelope.frame, payload: name, form: form.name },
        { cause: e },
      );
    }
    throw e;
  }
}

/** protobufjs throws plain Errors for bytes that are not the message. */
function decodeOrRefuse<T>(decode: () => T): T {
  try {
    return decode();
  } catch (e) {
    throw new InvalidMessage(e instanceof Error ? e.message : String(e), { cause: e });
  }
}

function toFelixMessage(name: string, payload: WirePayload, body: Uint8Array, form: Form): FelixMessage {
  switch (name) {
    case 'InSync':
      return { kind: 'in-sync' };
    case 'ConfigUpdate':
      return { kind: 'config', config: new Map(Object.entries(payload.config)) };
    case 'IPSetUpdate':
      return {
        kind: 'ip-set',
        id: text(payload.id),
        type: ipSetType(payload.type),
        members: payload.members,
      };
    case 'IPSetDeltaUpdate':
      return {
        kind: 'ip-set-delta',
        id: text(payload.id),
        added: payload.addedMembers,
        removed: payload.removedMembers,
      };
    case 'IPSetRemove':
      return { kind: 'ip-set-remove', id: text(payload.id) };
    case 'ActivePolicyUpdate':
      return policyUpdate(payload, form);
    case 'ActivePolicyRemove':
      return { kind: 'policy-remove', id: form.policyOfId(idObject(payload.id, 'refuse'), undefined).id };
    case 'ActiveProfileUpdate': {
      const profileName = text((idObject(payload.id) as { readonly name?: unknown }).name);
      const rules = readRules(required(payload.profile), `profile ${profileName}`);
      return { kind: 'profile', profile: { name: profileName, ...rules } };
    }
    case 'ActiveProfileRemove':
      return {
        kind: 'profile-remove',
        name: text((idObject(payload.id) as { readonly name?: unknown }).name),
      };
    case 'WorkloadEndpointUpdate': {
      const endpoint = required(payload.endpoint) as WireWorkloadEndpoint;
      return {
        kind: 'workload',
        workload: readWorkload(readWorkloadId(payload.id), endpoint, form),
        encoded: encodedEndpoint(body),
      };
    }
    case 'WorkloadEndpointRemove':
      return { kind: 'workload-remove', id: readWorkloadId(payload.id) };
    case 'HostEndpointUpdate': {
      const endpoint = required(payload.endpoint) as WireHostEndpoint;
      return {
        kind: 'host-endpoint',
        hostEndpoint: readHostEndpoint(hostEndpointId(payload.id), endpoint, form),
      };
    }
    case 'HostEndpointRemove':
      return { kind: 'host-endpoint-remove', id: hostEndpointId(payload.id) };
    case 'HostMetadataUpdate':
    case 'HostMetadataV6Update':
    case 'HostMetadataV4V6Update': {
      const { hostname, ipv4Addr = '', ipv6Addr = '' } = payload;
      return {
        kind: 'host-metadata',
        ...hostSource(name, body, form),
        host: { hostname: text(hostname), ipv4Addr, ipv6Addr },
      };
    }
    case 'HostMetadataRemove':
    case 'HostMetadataV6Remove':
    case 'HostMetadataV4V6Remove':
      return {
        kind: 'host-metadata-remove',
        ...hostSource(name, undefined, form),
        hostname: text(payload.hostname),
      };
    case 'IPAMPoolUpdate': {
      const { cidr, masquerade, ipipMode, vxlanMode, allowedUses = [] } = required(payload.pool);
      const pool = { cidr, masquerade, ipipMode: ipipMode.toLowerCase(), vxlanMode: vxlanMode.toLowerCase() };
      return { kind: 'ipam-pool', pool: { id: text(payload.id), ...pool, allowedUses } };
    }
    case 'IPAMPoolRemove':
      return { kind: 'ipam-pool-remove', id: text(payload.id) };
    case 'RouteUpdate':
    case 'RouteRemove':
    case 'VXLANTunnelEndpointUpdate':
    case 'VXLANTunnelEndpointRemove':
    case 'Encapsulation':
    case 'WireguardEndpointUpdate':
    case 'WireguardEndpointRemove':
    case 'WireguardEndpointV6Update':
    case 'WireguardEndpointV6Remove':
      return readNetworkMessage(name, payload);
    default:
      return { kind: 'other', name };
  }
}

function policyUpdate(payload: WirePayload, form: Form): FelixMessage {
  const wire: WirePolicy = required(payload.policy);
  const { id, tier, compoundName } = form.policyOfId(idObject(payload.id, 'refuse'), wire.tier);
  const where = `policy ${id.kind} ${id.namespace === '' ? id.name : `${id.namespace}/${id.name}`}`;
  const policy: Policy = {
    id,
    tier,
    ...readRules(wire, where),
    untracked: wire.untracked,
    preDnat: wire.preDnat,
  };
  return compoundName === undefined ? { kind: 'policy', policy } : { kind: 'policy', policy, compoundName };
}

function readRules(rules: WireRules, where: string): Pick<Profile, 'inboundRules' | 'outboundRules'> {
  checkFields(rules, where);
  return {
    inboundRules: rules.inboundRules.map((rule, i) => readRule(rule, `${where}, inbound rule ${i}`)),
    outboundRules: rules.outboundRules.map((rule, i) => readRule(rule, `${where}, outbound rule ${i}`)),
  };
}

function ipSetType(type: number): IpSetType {
  const known = IP_SET_TYPES[type];
  if (known === undefined) {
    throw new InvalidMessage(`the IP set type ${type} is unknown`);
  }
  return known;
}

/** A name or id that something else is keyed by. */
function text(value: unknown): string {
  if (typeof value !== 'string' || value === '') {
    throw new InvalidMessage('its id is empty');
  }
  return value;
}

function idObject(id: unknown, unknownFields: 'tolerate' | 'refuse' = 'tolerate'): object {
  if (typeof id !== 'object' || id === null) {
    throw new InvalidMessage('it has no id');
  }
  checkFields(id, 'the id', unknownFields);
  return id;
}

function hostEndpointId(id: unknown): string {
  return text((idObject(id) as { readonly endpointId?: unknown }).endpointId);
}

function required<T>(value: T | null): T {
  if (value === null) {
    throw new InvalidMessage('it has no content');
  }
  return value;
}

/**
 * A HostMetadataUpdate that could be of both forms is taken for what both make of it: the plain IPv4 address.
 * `body` is undefined for a removal.
 */
function hostSource(
  name: string,
  body: Uint8Array | undefined,
  form: Form,
): { readonly source: HostMetadataSource; readonly alone: boolean } {
  if (name.startsWith('HostMetadataV6')) {
    return { source: 'ipv6', alone: false };
  }
  if (name.startsWith('HostMetadataV4V6')) {
    return { source: 'both', alone: false };
  }
  const whole = body !== undefined && describesWholeHost(body);
  return { source: whole ? 'both' : 'ipv4', alone: form.traits.hostMetadata.includes('merged') };
}

/** WorkloadEndpointUpdate.endpoint (5) as it was sent, copied: the frame's buffer goes away. */
function encodedEndpoint(body: Uint8Array): Uint8Array {
  const parts = readFields(body).filter((f) => f.number === 5 && f.wireType === 2);
  return Buffer.concat(parts.map((f) => body.subarray(f.from, f.to)));
}

import type { Envelope } from '../envelope';
import type { WireField } from '../wire';
import { readFields } from '../wire';

/**
 * In what the forms of the contract differ, so far as it could be misread. Each trait shows in the bytes of the very
 * messages that are read differently because of it: a message that shows none means the same in every form.
 */
export interface Traits {
  /** Policies named by `shop/knp.default.x`, or by kind, namespace and name. */
  readonly policyIds: 'compound' | 'structured';
  /** Three messages a node, the first with a plain IPv4 address; or one, with CIDRs. */
  readonly hostMetadata: 'split' | 'merged';
  /** RouteUpdate.type, a plain enum; or RouteUpdate.types, a bitmap. */
  readonly routeTypes: 'enum' | 'bitmap';
}

/** A part of a message is of no form that is known. */
export class TraitError extends Error {}

/** What one message shows. Any number of equal observations; two that differ are for the caller to refuse. */
export type Observation = {
  readonly [K in keyof Traits]: { readonly trait: K; readonly value: Traits[K] };
}[keyof Traits];

/** Field numbers, the same in every form that has them. */
const PAYLOAD = {
  policyUpdate: 7,
  policyRemove: 8,
  hostEndpointUpdate: 9,
  workloadUpdate: 11,
  hostMetadataUpdate: 14,
  routeUpdate: 23,
  splitHostMetadata: [35, 36, 37, 38],
} as const;
const HOST_ENDPOINT_TIERS = [3, 6, 7, 8];
const WORKLOAD_TIERS = [7];

/**
 * Looks for traits in a message, by its bytes alone. @throws TraitError, WireError
 */
export function observeTraits(envelope: Envelope): Observation[] {
  const { payload, body } = envelope;
  switch (payload) {
    case PAYLOAD.policyUpdate:
      return [...messages(body, [1]).map(policyId), ...policyTier(body)];
    case PAYLOAD.policyRemove:
      return messages(body, [1]).map(policyId);
    case PAYLOAD.hostEndpointUpdate:
      return tierEntries(body, 3, HOST_ENDPOINT_TIERS);
    case PAYLOAD.workloadUpdate:
      return [...tierEntries(body, 5, WORKLOAD_TIERS), ...workloadType(body)];
    case PAYLOAD.hostMetadataUpdate:
      return hostMetadata(body);
    case PAYLOAD.routeUpdate:
      return routeType(body);
    default:
      return (PAYLOAD.splitHostMetadata as readonly number[]).includes(payload)
        ? [{ trait: 'hostMetadata', value: 'split' }]
        : [];
  }
}

/** The length-delimited fields of these numbers. */
function messages(bytes: Uint8Array, numbers: readonly number[]): Uint8Array[] {
  return readFields(bytes)
    .filter((f) => f.wireType === 2 && numbers.includes(f.number))
    .map((f) => bytes.subarray(f.from, f.to));
}

/** PolicyID: {tier=1, name=2} up to 3.31, {name=2, namespace=3, kind=4} from 3.32. Tier and kind are never empty. */
function policyId(bytes: Uint8Array): Observation {
  const fields = readFields(bytes);
  const has = (number: number): boolean => fields.some((f) => f.number === number);
  if (has(1) && !has(3) && !has(4)) {
    return { trait: 'policyIds', value: 'compound' };
  }
  if (has(4) && !has(1)) {
    return { trait: 'policyIds', value: 'structured' };
  }
  throw new TraitError('a policy id that has neither a tier and a name nor a kind and a name');
}

/** Policy.tier exists only where PolicyID has none. */
function policyTier(body: Uint8Array): Observation[] {
  return messages(body, [2]).some((policy) => readFields(policy).some((f) => f.number === 8))
    ? [{ trait: 'policyIds', value: 'structured' }]
    : [];
}

/** The entries of every TierInfo of an endpoint; `endpointField` is the endpoint's number in its update. */
function tierEntries(body: Uint8Array, endpointField: number, tierFields: readonly number[]): Observation[] {
  const observations: Observation[] = [];
  for (const endpoint of messages(body, [endpointField])) {
    for (const tier of messages(endpoint, tierFields)) {
      for (const entry of messages(tier, [2, 3])) {
        observations.push({ trait: 'policyIds', value: tierEntry(entry) });
      }
    }
  }
  return observations;
}

/**
 * WorkloadEndpoint.type (14) is a number in late 3.30 alone; later 14 is a message. So a virtual machine's endpoint without policies
 * already tells that what follows is compound.
 */
function workloadType(body: Uint8Array): Observation[] {
  return messages(body, [5]).some((e) => readFields(e).some((f) => f.number === 14 && f.wireType === 0))
    ? [{ trait: 'policyIds', value: 'compound' }]
    : [];
}

/**
 * A string up to 3.31, a PolicyID from 3.32. The two can not be confused: a PolicyID starts with the tag of its first
 * field (0x12, 0x1a or 0x22: two control characters and the double quote), and none of these is in a name.
 */
function tierEntry(bytes: Uint8Array): Traits['policyIds'] {
  if (bytes.length > 0 && bytes.every(isNameByte)) {
    return 'compound';
  }
  if (isStructuredId(bytes)) {
    return 'structured';
  }
  throw new TraitError('a tier that lists its policies neither by name nor by kind, namespace and name');
}

/** Printable ASCII but the double quote: a superset of what Kubernetes and Calico allow. */
function isNameByte(byte: number): boolean {
  return byte > 0x20 && byte < 0x7f && byte !== 0x22;
}

function isStructuredId(bytes: Uint8Array): boolean {
  let fields: readonly WireField[];
  try {
    fields = readFields(bytes);
  } catch {
    return false;
  }
  const once = (number: number): boolean =>
    fields.filter((f) => f.number === number && f.wireType === 2 && f.to > f.from).length === 1;
  return once(2) && once(4) && !fields.some((f) => f.number === 1);
}

/** A plain IPv4 address alone says nothing: a node of 3.33 may be configured without a prefix length. */
function hostMetadata(body: Uint8Array): Observation[] {
  const merged = readFields(body).some(
    (f) => f.number > 2 || (f.number === 2 && body.subarray(f.from, f.to).includes('/'.charCodeAt(0))),
  );
  return merged ? [{ trait: 'hostMetadata', value: 'merged' }] : [];
}

function routeType(body: Uint8Array): Observation[] {
  const observations: Observation[] = [];
  for (const field of readFields(body)) {
    if (field.number === 1) {
      observations.push({ trait: 'routeTypes', value: 'enum' });
    } else if (field.number === 12) {
      observations.push({ trait: 'routeTypes', value: 'bitmap' });
    }
  }
  return observations;
}

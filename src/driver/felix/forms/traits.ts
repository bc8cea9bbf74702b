import type { Envelope } from '../envelope';
import type { WireField } from '../wire';
import { readFields } from '../wire';
import { DEFAULT_TIER, parseCompoundName, PolicyNameError } from './policy-names';

/**
 * In what the forms of the contract differ, so far as it could be misread. Each trait shows in the bytes of the very
 * messages that are read differently because of it: a message that shows none means the same in every form. The reason
 * for each is in docs/felix-forms.md.
 */
export interface Traits {
  /** Policies named by `shop/knp.default.x`, or by kind, namespace and name. */
  readonly policyIds: 'compound' | 'structured';
  /** Three messages a node, the first with a plain IPv4 address; or one, with CIDRs. */
  readonly hostMetadata: 'split' | 'merged';
  /** RouteUpdate.type, a plain enum; or RouteUpdate.types, a bitmap. Endpoints of the latter may have limits. */
  readonly routeTypes: 'enum' | 'bitmap';
  /** The tier `default` alone, whatever a policy is called; or any, named in front of the policy's name. */
  readonly tiers: 'one' | 'many';
  /** What the tier `default` says it ends in: nothing, or Deny or Pass. */
  readonly defaultActions: 'none' | 'sent';
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
/** TierInfo lists of an endpoint. The early ones do not end in a verdict: the other policies come after them. */
const HOST_ENDPOINT_TIERS = { late: [3, 8], early: [6, 7] } as const;
const WORKLOAD_TIERS = { late: [7], early: [] } as const;

/**
 * Looks for traits in a message, by its bytes alone. @throws TraitError, WireError
 */
export function observeTraits(envelope: Envelope): Observation[] {
  const { payload, body } = envelope;
  switch (payload) {
    case PAYLOAD.policyUpdate:
      return [...messages(body, [1]).flatMap(policyId), ...policyTier(body)];
    case PAYLOAD.policyRemove:
      return messages(body, [1]).flatMap(policyId);
    case PAYLOAD.hostEndpointUpdate:
      return [...endpointTiers(body, 3, HOST_ENDPOINT_TIERS), ...qualityOfService(body, 3, [9])];
    case PAYLOAD.workloadUpdate:
      return [
        ...endpointTiers(body, 5, WORKLOAD_TIERS),
        ...workloadType(body),
        ...qualityOfService(body, 5, [12, 15]),
      ];
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

/** A string field; "" when it is not there. Of several the last counts, as everywhere in protobuf. */
function text(bytes: Uint8Array, number: number): string {
  return utf8(messages(bytes, [number]).at(-1) ?? new Uint8Array());
}

function utf8(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
}

/** The length-delimited fields of these numbers. */
function messages(bytes: Uint8Array, numbers: readonly number[]): Uint8Array[] {
  return readFields(bytes)
    .filter((f) => f.wireType === 2 && numbers.includes(f.number))
    .map((f) => bytes.subarray(f.from, f.to));
}

/** PolicyID: {tier=1, name=2} up to 3.31, {name=2, namespace=3, kind=4} from 3.32. Tier and kind are never empty. */
function policyId(bytes: Uint8Array): Observation[] {
  const fields = readFields(bytes);
  const has = (number: number): boolean => fields.some((f) => f.number === number);
  if (has(1) && !has(3) && !has(4)) {
    return [{ trait: 'policyIds', value: 'compound' }, ...compoundTier(text(bytes, 1), text(bytes, 2))];
  }
  if (has(4) && !has(1)) {
    return [{ trait: 'policyIds', value: 'structured' }];
  }
  throw new TraitError('a policy id that has neither a tier and a name nor a kind and a name');
}

/**
 * From 3.29 a policy's tier is the one in its name. Before, it is `default` even for a policy that somebody called
 * `security.x`. The name's own faults are the decoder's to refuse.
 */
function compoundTier(tier: string, name: string): Observation[] {
  if (tier !== DEFAULT_TIER) {
    return [{ trait: 'tiers', value: 'many' }];
  }
  try {
    return parseCompoundName(name).tier === DEFAULT_TIER ? [] : [{ trait: 'tiers', value: 'one' }];
  } catch (e) {
    if (e instanceof PolicyNameError) {
      return [];
    }
    throw e;
  }
}

/** Policy.tier exists only where PolicyID has none. */
function policyTier(body: Uint8Array): Observation[] {
  return messages(body, [2]).some((policy) => readFields(policy).some((f) => f.number === 8))
    ? [{ trait: 'policyIds', value: 'structured' }]
    : [];
}

/** Every TierInfo of an endpoint; `endpointField` is the endpoint's number in its update. */
function endpointTiers(
  body: Uint8Array,
  endpointField: number,
  tierFields: { readonly late: readonly number[]; readonly early: readonly number[] },
): Observation[] {
  const observations: Observation[] = [];
  for (const endpoint of messages(body, [endpointField])) {
    for (const tier of messages(endpoint, tierFields.late)) {
      observations.push(...tierInfo(tier, false));
    }
    for (const tier of messages(endpoint, tierFields.early)) {
      observations.push(...tierInfo(tier, true));
    }
  }
  return observations;
}

function tierInfo(tier: Uint8Array, early: boolean): Observation[] {
  const observations: Observation[] = [];
  let name = '';
  let defaultAction = '';
  for (const { number, wireType, from, to } of readFields(tier)) {
    if (wireType !== 2) {
      continue;
    }
    const value = tier.subarray(from, to);
    if (number === 1) {
      name = utf8(value);
    } else if (number === 2 || number === 3) {
      observations.push({ trait: 'policyIds', value: tierEntry(value) });
    } else if (number === 4) {
      defaultAction = utf8(value);
    }
  }
  if (name !== DEFAULT_TIER) {
    observations.push({ trait: 'tiers', value: 'many' });
  }
  if (defaultAction !== '') {
    observations.push({ trait: 'defaultActions', value: 'sent' });
  } else if (early) {
    // From 3.29 these always say Pass: without a word they are of the releases that had no default actions.
    observations.push({ trait: 'tiers', value: 'one' });
  } else if (name === DEFAULT_TIER) {
    observations.push({ trait: 'defaultActions', value: 'none' });
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

/** Limits and DSCP of endpoints came with 3.30, as the bitmap of routes did: older forms would pass over them. */
function qualityOfService(body: Uint8Array, endpointField: number, fields: readonly number[]): Observation[] {
  return messages(body, [endpointField]).some((endpoint) => messages(endpoint, fields).length > 0)
    ? [{ trait: 'routeTypes', value: 'bitmap' }]
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
  return describesWholeHost(body) ? [{ trait: 'hostMetadata', value: 'merged' }] : [];
}

/** Whether a HostMetadataUpdate (14) has what it can have from 3.33 only. */
export function describesWholeHost(body: Uint8Array): boolean {
  return readFields(body).some(
    (f) => f.number > 2 || (f.number === 2 && body.subarray(f.from, f.to).includes('/'.charCodeAt(0))),
  );
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

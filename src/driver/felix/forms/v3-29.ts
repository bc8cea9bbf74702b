import type { Form } from './form';
import { compoundPolicyOfId, parseCompoundName } from './policy-names';

/** Calico 3.29: tiers, and routes as before. */
export const v329: Form = {
  name: 'v3.29',
  releases: '3.29',
  traits: {
    policyIds: ['compound'],
    hostMetadata: ['split'],
    routeTypes: ['enum'],
    tiers: ['many'],
    defaultActions: ['sent'],
  },
  silentEarlyTier: 'Deny',
  policyOfId: compoundPolicyOfId,
  policyOfTierEntry: (entry) => parseCompoundName(entry as string),
};

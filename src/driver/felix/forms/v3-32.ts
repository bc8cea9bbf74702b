import type { Form } from './form';
import { structuredPolicyOfId } from './policy-names';

/** Calico 3.32: policies named as later, host metadata sent as before. */
export const v332: Form = {
  name: 'v3.32',
  releases: '3.32',
  traits: {
    policyIds: ['structured'],
    hostMetadata: ['split'],
    routeTypes: ['bitmap'],
    tiers: ['many'],
    defaultActions: ['sent', 'none'],
  },
  silentEarlyTier: 'Deny',
  policyOfId: structuredPolicyOfId,
  policyOfTierEntry: (entry) => structuredPolicyOfId(entry, undefined),
};

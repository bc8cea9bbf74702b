import type { Form } from './form';
import { structuredPolicyOfId } from './policy-names';

/** Calico 3.33 and newer. */
export const v333: Form = {
  name: 'v3.33',
  releases: '3.33 and newer',
  traits: {
    policyIds: ['structured'],
    hostMetadata: ['merged'],
    routeTypes: ['bitmap'],
    tiers: ['many'],
    defaultActions: ['sent', 'none'],
  },
  silentEarlyTier: 'Deny',
  policyOfId: structuredPolicyOfId,
  policyOfTierEntry: (entry) => structuredPolicyOfId(entry, undefined),
};

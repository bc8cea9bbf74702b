import type { Form } from './form';
import { compoundPolicyOfId, parseCompoundName } from './policy-names';

/** Calico 3.30 and 3.31. */
export const v330: Form = {
  name: 'v3.30',
  releases: '3.30 and 3.31',
  traits: {
    policyIds: ['compound'],
    hostMetadata: ['split'],
    routeTypes: ['bitmap'],
    tiers: ['many'],
    defaultActions: ['sent', 'none'],
  },
  silentEarlyTier: 'Deny',
  policyOfId: compoundPolicyOfId,
  policyOfTierEntry: (entry) => parseCompoundName(entry as string),
};

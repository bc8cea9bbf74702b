import type { Form } from './form';
import { parseCompoundName, singleTierPolicyOfId } from './policy-names';

/** Calico 3.26 to 3.28: one tier, which does not say what it ends in. */
export const v326: Form = {
  name: 'v3.26',
  releases: '3.26 to 3.28',
  traits: {
    policyIds: ['compound'],
    hostMetadata: ['split'],
    routeTypes: ['enum'],
    tiers: ['one'],
    defaultActions: ['none'],
  },
  silentEarlyTier: 'Pass',
  policyOfId: singleTierPolicyOfId,
  policyOfTierEntry: (entry) => parseCompoundName(entry as string),
};

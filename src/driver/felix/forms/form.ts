import type { TierInfo } from '../../../model/model';
import type { Traits } from './traits';
import type { PolicyRef } from './policy-names';

/** The values of each trait that a stream of a form can show. */
export type PossibleTraits = { readonly [K in keyof Traits]: readonly Traits[K][] };

/**
 * One form of Felix's contract. A form is a .proto file, the traits that tell it apart, and the few places where what it
 * sends must be brought into the model's terms. Adding one is a .proto, a file beside this one, and a line in `index.ts`.
 */
export interface Form {
  /** Also the name of its file in felix-proto, for example `v3.33`. */
  readonly name: string;
  /** For people. */
  readonly releases: string;
  readonly traits: PossibleTraits;
  /**
   * What untracked and pre-DNAT tiers end in when they do not say. Pass is what releases without default actions enforce; to the
   * others this does not happen, and is Deny if it does. All other tiers that do not say end in Deny, in every form.
   */
  readonly silentEarlyTier: TierInfo['defaultAction'];
  /**
   * The policy that an ActivePolicyUpdate or -Remove names. `id` is a decoded PolicyID of this form, `tier` is Policy.tier
   * (undefined in removals). @throws PolicyNameError
   */
  policyOfId(id: unknown, tier: string | undefined): PolicyRef;
  /** The policy that an element of TierInfo.ingress_policies or .egress_policies names. @throws PolicyNameError */
  policyOfTierEntry(entry: unknown): PolicyRef;
}

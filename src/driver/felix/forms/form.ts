import type { Traits } from './traits';
import type { PolicyRef } from './policy-names';

/**
 * One form of Felix's contract. A form is a .proto file, the traits that tell it apart, and the few places where what it
 * sends must be brought into the model's terms. Adding one is a .proto, a file beside this one, and a line in `index.ts`.
 */
export interface Form {
  /** Also the name of its file in felix-proto, for example `v3.33`. */
  readonly name: string;
  /** For people. */
  readonly releases: string;
  readonly traits: Traits;
  /**
   * The policy that an ActivePolicyUpdate or -Remove names. `id` is a decoded PolicyID of this form, `tier` is Policy.tier
   * (undefined in removals). @throws PolicyNameError
   */
  policyOfId(id: unknown, tier: string | undefined): PolicyRef;
  /** The policy that an element of TierInfo.ingress_policies or .egress_policies names. @throws PolicyNameError */
  policyOfTierEntry(entry: unknown): PolicyRef;
}

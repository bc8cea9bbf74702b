/**
 * What the translators must know of the world outside of Felix to send packets to other nodes. Whoever looks it up (driver/host-network)
 * gives a new object when anything changed; the same object says the same.
 */
import type { Cidr } from './address';

/** A route of the kernel's that BIRD made. */
export interface KernelRoute {
  readonly dst: Cidr;
  /** Undefined: there is no gateway, and packets are to be dropped. */
  readonly gateway: Cidr | undefined;
  /** The kernel's interface, for example tunl0. */
  readonly device: string;
}

export interface NetworkFacts {
  /**
   * Where frames to that address are sent at the uplink: the node's own MAC address, or that of the router on the way. undefined: not known
   * (yet). `address` is spelled as spellAddress does.
   */
  readonly macOf: (address: string) => bigint | undefined;
  /** Where frames to addresses that nobody knows are sent; undefined: not known (yet). */
  readonly defaultMac: bigint | undefined;
  readonly kernelRoutes: readonly KernelRoute[];
  /** Addresses that the host's stack has, besides those that Felix names. */
  readonly hostAddresses: readonly Cidr[];
  /** Whether the host has a WireGuard device for the family. */
  readonly wireguard: { readonly v4: boolean; readonly v6: boolean };
  /**
   * Whether the host's stack masquerades what leaves the pools that ask for it. `off`: nobody has it do so, and such packets keep their
   * source. `failed`: somebody wants it, and it could not be set up: they do not leave at all.
   */
  readonly natOutgoing: 'off' | 'ready' | 'failed';
}

/** Without a look at the world: every hop is the one router that the configuration names. */
export function configuredFacts(nextHopMac: bigint | undefined): NetworkFacts {
  return {
    macOf: () => nextHopMac,
    defaultMac: nextHopMac,
    kernelRoutes: [],
    hostAddresses: [],
    wireguard: { v4: false, v6: false },
    natOutgoing: 'off',
  };
}

/** The namespaces of a lab. */

/** A namespace of a lab. */
export interface LabPlace {
  /** For `lab exec`, and by which the others know it. */
  readonly name: string;
  /** Without prefix length. */
  readonly ips: readonly string[];
  /** TCP ports on which a small HTTP server answers. */
  readonly serve: readonly number[];
}

/** A pod with all that is decided about it. */
export interface LabPod extends LabPlace {
  /** Calico's name of the interface: packets of the pod come from it (`trace --from`). */
  readonly interface: string;
  /** Of eth0 in the pod. */
  readonly mac: string;
  /** As Felix writes it in the status of an endpoint. */
  readonly workloadId: string;
}

/** Names of `outside` and `host` in `lab exec`; no pod has them. */
export const OUTSIDE = 'outside';
export const HOST = 'host';
/** Addresses for documentation (RFC 5737, RFC 3849). */
export const OUTSIDE_IPS = ['192.0.2.9', '2001:db8:ffff::9'] as const;
export const HOST_IPS = ['192.0.2.1', '2001:db8:ffff::1'] as const;

/**
 * What frames on the node's ports are addressed to, and how large packets may be. Pure: everything is given, or follows from the
 * endpoint.
 */
import { createHash } from 'node:crypto';
import type { WorkloadEndpoint } from '../model/model';

/** MAC addresses as 48-bit numbers; undefined: not known, and what needs it stays closed (endpoints.ts says so). */
export interface NodeLinks {
  /** What pods and the host take every other address to be at; also the source of the frames that they get. */
  readonly gatewayMac: bigint;
  /** The node's own at the uplink. */
  readonly uplinkMac: bigint | undefined;
  /** Where packets to addresses that nobody here has are sent. */
  readonly nextHopMac: bigint | undefined;
  /** Of the interface by which the host's stack gets packets. */
  readonly hostMac: bigint | undefined;
  /** Largest IP packet, in bytes. */
  readonly podMtu: number;
  readonly uplinkMtu: number;
  /**
   * A port to a network stack that does nothing but answer with ICMP errors to packets that it can not forward. undefined: the
   * host's stack does it.
   */
  readonly errorStack: { readonly port: number; readonly mac: bigint } | undefined;
}

/** Links as on the embedded switch, whose ports lead nowhere. The gateway's address is that of Calico's Linux dataplane. */
export const EMBEDDED_LINKS: NodeLinks = {
  gatewayMac: 0xeeee_eeee_eeeen,
  uplinkMac: 0x0200_0000_0002n,
  nextHopMac: 0x0200_0000_0001n,
  hostMac: 0x0200_0000_0003n,
  podMtu: 1500,
  uplinkMtu: 1500,
  errorStack: undefined,
};

const UNICAST_MAC = /^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$/i;

/** Reads `02:00:00:00:00:01`; undefined when it is none, or names a group or nobody. */
export function parseMac(text: string): bigint | undefined {
  if (!UNICAST_MAC.test(text)) return undefined;
  const value = BigInt(`0x${text.replaceAll(':', '')}`);
  return value === 0n ? undefined : value;
}

export function spellMac(mac: bigint): string {
  return mac
    .toString(16)
    .padStart(12, '0')
    .replace(/..(?=.)/g, '$&:');
}

/**
 * What frames to a pod are addressed to: the endpoint's MAC. Felix has none for the pods of Kubernetes; then it follows from the name
 * of the interface, and whoever makes the pod's interface gives it this one. A pod whose interface has another hears nothing: it is
 * closed. (A broadcast would not do: Linux throws TCP segments in broadcast frames away.)
 */
export function podMac({ mac, name }: Pick<WorkloadEndpoint, 'mac' | 'name'>): bigint {
  return parseMac(mac) ?? derivedMac(name);
}

/** Locally administered, unicast: 02 and 40 bits of the name's hash. */
function derivedMac(name: string): bigint {
  return (0x02n << 40n) | BigInt(`0x${createHash('sha256').update(name).digest('hex').slice(0, 10)}`);
}

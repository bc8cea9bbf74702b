/** What the kernel's state says about ways to other nodes. Pure. */
import { spellAddress, type Cidr } from '../../translators/address';
import { contains } from '../../translators/hops';
import type { KernelRoute } from '../../translators/network-facts';
import type { KernelState, KernelStateRoute } from './kernel';

/** RTPROT_BIRD. */
const BIRD = 12;

/** Names of the interfaces at the uplink's port and at the host's. */
export interface Interfaces {
  readonly uplink: string;
  readonly host: string;
}

/** The address whose MAC address frames for `address` get at the uplink: its own, or the router's. undefined: there is no way there. */
export function hopTo(
  address: Cidr,
  { routes }: KernelState,
  { uplink, host }: Interfaces,
): string | undefined {
  let best: KernelStateRoute | undefined;
  for (const route of routes) {
    if (!contains(route.dst, address) || isOurs(route, host)) continue;
    const closer = best === undefined || route.dst.prefixLen > best.dst.prefixLen;
    const cheaper = best?.dst.prefixLen === route.dst.prefixLen && route.metric < best.metric;
    if (closer || cheaper) best = route;
  }
  if (best?.type !== 'unicast' || (best.device !== uplink && best.device !== host)) return undefined;
  const hop = best.gateway ?? address;
  return spellAddress(hop.hi, hop.lo);
}

/** The routers of the default routes, IPv4 first. */
export function defaultHops(state: KernelState, interfaces: Interfaces): readonly string[] {
  return [state.routes.find(isDefault(4)), state.routes.find(isDefault(6))].flatMap((route) =>
    route?.gateway !== undefined && [interfaces.host, interfaces.uplink].includes(route.device)
      ? [spellAddress(route.gateway.hi, route.gateway.lo)]
      : [],
  );
}

function isDefault(ipVersion: 4 | 6) {
  const bits = ipVersion === 4 ? 96 : 0;
  return ({ dst, gateway }: KernelStateRoute): boolean =>
    dst.ipVersion === ipVersion && dst.prefixLen === bits && gateway !== undefined;
}

/** Routes that BIRD made, but for those to everywhere. */
export function birdRoutes({ routes }: KernelState): readonly KernelRoute[] {
  return routes
    .filter(({ protocol, dst }) => protocol === BIRD && dst.prefixLen > (dst.ipVersion === 4 ? 96 : 0))
    .map(({ dst, gateway, device, type }) => ({
      dst,
      gateway: type === 'unicast' ? gateway : undefined,
      device,
    }));
}

/** Addresses of the host's stack that packets of others may be for. */
export function hostAddresses({ addresses }: KernelState, { uplink }: Interfaces): readonly Cidr[] {
  return addresses
    .filter(({ device, scope, address }) => {
      if (device === uplink || scope === 'host') return false;
      const isLoopback = address.ipVersion === 4 && (address.lo & 0xff00_0000n) === 0x7f00_0000n;
      const isLinkLocal = address.ipVersion === 6 && address.hi >> 54n === 0x3fan;
      return !isLoopback && !isLinkLocal;
    })
    .map(({ address }) => address);
}

/** Where the host's routes to pods lead: an address that nobody has, and whose neighbour entry is ours. */
export const GATEWAY_V4 = '169.254.1.1';
export const GATEWAY_V6 = 'fe80::ca11:c0';

export function isOurs({ device, gateway }: KernelStateRoute, host: string): boolean {
  return (
    device === host &&
    gateway !== undefined &&
    [GATEWAY_V4, GATEWAY_V6].includes(spellAddress(gateway.hi, gateway.lo))
  );
}

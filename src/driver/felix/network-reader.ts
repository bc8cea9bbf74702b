import { ROUTE_TYPE, type PoolType, type Route } from '../../model/model';
import { InvalidMessage } from './invalid-message';
import type { FelixMessage } from './messages';
import type { WirePayload } from './wire-messages';

/** RouteUpdate.type up to 3.29, by number. */
const ENUM_TYPES: readonly number[] = [
  0,
  ROUTE_TYPE.remoteWorkload,
  ROUTE_TYPE.remoteHost,
  ROUTE_TYPE.localWorkload,
  ROUTE_TYPE.localHost,
  ROUTE_TYPE.remoteTunnel,
  ROUTE_TYPE.localTunnel,
];

/** IPPoolType by number. */
const POOL_TYPES: readonly PoolType[] = ['none', 'no-encap', 'vxlan', 'ipip'];

/** The payloads that say where addresses are, and how packets get there. @throws InvalidMessage */
export function readNetworkMessage(name: string, payload: WirePayload): FelixMessage {
  switch (name) {
    case 'RouteUpdate':
      return { kind: 'route', route: readRoute(payload) };
    case 'RouteRemove':
      return { kind: 'route-remove', dst: named(payload.dst) };
    case 'VXLANTunnelEndpointUpdate': {
      const { node, mac, ipv4Addr = '', parentDeviceIp, macV6, ipv6Addr = '', parentDeviceIpv6 } = payload;
      return {
        kind: 'vtep',
        vtep: {
          node: named(node),
          mac,
          address: ipv4Addr,
          parentIp: parentDeviceIp,
          macV6,
          addressV6: ipv6Addr,
          parentIpV6: parentDeviceIpv6,
        },
      };
    }
    case 'VXLANTunnelEndpointRemove':
      return { kind: 'vtep-remove', node: named(payload.node) };
    case 'Encapsulation': {
      const { ipipEnabled: ipip, vxlanEnabled: vxlan, vxlanEnabledV6: vxlanV6 } = payload;
      return {
        kind: 'encapsulation',
        encapsulation: { ipip, vxlan, vxlanV6, noEncap: payload.noEncapEnabled ?? false },
      };
    }
    case 'WireguardEndpointUpdate': {
      const { hostname, publicKey, interfaceIpv4Addr: address } = payload;
      return { kind: 'wireguard', ipVersion: 4, endpoint: { node: named(hostname), publicKey, address } };
    }
    case 'WireguardEndpointV6Update': {
      const { hostname, publicKeyV6: publicKey, interfaceIpv6Addr: address } = payload;
      return { kind: 'wireguard', ipVersion: 6, endpoint: { node: named(hostname), publicKey, address } };
    }
    case 'WireguardEndpointRemove':
      return { kind: 'wireguard-remove', ipVersion: 4, node: named(payload.hostname) };
    default:
      return { kind: 'wireguard-remove', ipVersion: 6, node: named(payload.hostname) };
  }
}

/** In the forms with `types` nothing but it says the type: the form was told by the message (docs/felix-forms.md). */
function readRoute(payload: WirePayload): Route {
  const { dst, types, type, ipPoolType, dstNodeName, dstNodeIp, sameSubnet, localWorkload, borrowed } =
    payload;
  const bits = types ?? ENUM_TYPES[type];
  if (bits === undefined) throw new InvalidMessage(`the route type ${type} is unknown`);
  return {
    dst: named(dst),
    types: bits,
    poolType: POOL_TYPES[ipPoolType] ?? 'unknown',
    node: dstNodeName,
    nodeIp: dstNodeIp,
    sameSubnet,
    localWorkload,
    borrowed: borrowed ?? false,
  };
}

function named(value: string): string {
  if (value === '') throw new InvalidMessage('its id is empty');
  return value;
}

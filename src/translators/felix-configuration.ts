/**
 * What of Felix's configuration the dataplane heeds, read. Felix sends only what somebody set, in raw form; the defaults are
 * those of felix/config/config_params.go. docs/felix-configuration.md has every setting there is, and what becomes of it.
 */
import type { Cidr } from './address';
import {
  isNone,
  parseBool,
  parseCidrs,
  parseFailsafePorts,
  parseInteger,
  type FailsafePort,
} from './felix-values';

export interface FelixConfiguration {
  /** FelixHostname: which of the hosts this node is; undefined when nobody set it. */
  readonly hostname: string | undefined;
  /** DefaultEndpointToHostAction: what becomes of pods' packets to the node itself, behind the pods' own policy. */
  readonly endpointToHost: 'drop' | 'return' | 'accept';
  /** FailsafeInboundHostPorts: `net` is where packets come from. */
  readonly failsafeInbound: readonly FailsafePort[];
  /** FailsafeOutboundHostPorts: `net` is where packets go to. */
  readonly failsafeOutbound: readonly FailsafePort[];
  /** WorkloadSourceSpoofing: endpoints may name source prefixes that are not theirs. */
  readonly sourceSpoofing: boolean;
  /** AllowVXLANPacketsFromWorkloads, AllowIPIPPacketsFromWorkloads. */
  readonly encapFromWorkloads: { readonly vxlan: boolean; readonly ipip: boolean };
  /** DisableConntrackInvalidCheck: packets that connection tracking calls invalid are left to policy. */
  readonly letsInvalidPass: boolean;
  /** IptablesFilterAllowAction or NftablesFilterAllowAction: what policy allows is for others to decide on. */
  readonly allowedIsReturned: boolean;
  /** InterfacePrefix: host-side interfaces of workloads start with one of these. */
  readonly interfacePrefixes: readonly string[];
  /** `enabled`: undefined leaves it to the IP pools; MTU 0: found out by itself. */
  readonly vxlan: {
    readonly enabled: boolean | undefined;
    readonly port: number;
    readonly vni: number;
    readonly mtu: number;
    readonly mtuV6: number;
  };
  /** `tunnelAddress`: the node's own in the tunnel, which Felix puts here. */
  readonly ipip: {
    readonly enabled: boolean | undefined;
    readonly mtu: number;
    readonly tunnelAddress: Cidr | undefined;
  };
  readonly wireguard: {
    readonly enabled: boolean;
    readonly enabledV6: boolean;
    readonly hostEncryption: boolean;
    readonly port: number;
    readonly portV6: number;
    readonly mtu: number;
    readonly mtuV6: number;
    readonly device: string;
    readonly deviceV6: string;
  };
  /** NATPortRange: where the ports of what is masqueraded come from; undefined leaves it to the kernel. */
  readonly natPorts: { readonly first: number; readonly last: number } | undefined;
  /** NATOutgoingAddress: what is masqueraded gets this IPv4 address instead of the node's. */
  readonly natAddress: Cidr | undefined;
  /** NATOutgoingExclusions: packets to other nodes' addresses keep their source too. */
  readonly natOutgoingSparesHosts: boolean;
  /** DeviceRouteProtocol: of routes on the host; undefined when nobody chose one. */
  readonly routeProtocol: number | undefined;
  /** ExternalNodesCIDRList: whose tunnel packets are taken, besides the nodes'. */
  readonly externalNodes: readonly Cidr[];
  /** ServiceLoopPrevention: what becomes of packets to service addresses that are no service's. */
  readonly serviceLoopPrevention: 'drop' | 'reject' | 'disabled';
  /** FloatingIPs: addresses that pods' annotations ask for are translated; OpenStack's are always. */
  readonly floatingIps: boolean;
  /** Values that could not be read, in words: what is taken instead never opens more than was asked for. */
  readonly problems: readonly string[];
}

export const DEFAULT_FAILSAFE_INBOUND =
  'tcp:22,udp:68,tcp:179,tcp:2379,tcp:2380,tcp:5473,tcp:6443,tcp:6666,tcp:6667';
export const DEFAULT_FAILSAFE_OUTBOUND =
  'udp:53,udp:67,tcp:179,tcp:2379,tcp:2380,tcp:5473,tcp:6443,tcp:6666,tcp:6667';

const known = new WeakMap<ReadonlyMap<string, string>, FelixConfiguration>();

/** Read once for each map: the map must not change (FelixModel.config is replaced, never mutated). */
export function felixConfiguration(config: ReadonlyMap<string, string>): FelixConfiguration {
  let read = known.get(config);
  if (read === undefined) known.set(config, (read = readConfiguration(config)));
  return read;
}

function readConfiguration(config: ReadonlyMap<string, string>): FelixConfiguration {
  const problems: string[] = [];
  const { text, bool, integer, word, failsafe, cidrs, ports } = readers(config, problems);
  const accepting = ['return', 'accept'] as const;
  return {
    hostname: text('FelixHostname'),
    endpointToHost: word('DefaultEndpointToHostAction', ['drop', ...accepting], 'drop', 'drop'),
    failsafeInbound: failsafe('FailsafeInboundHostPorts', DEFAULT_FAILSAFE_INBOUND),
    failsafeOutbound: failsafe('FailsafeOutboundHostPorts', DEFAULT_FAILSAFE_OUTBOUND),
    sourceSpoofing: word('WorkloadSourceSpoofing', ['disabled', 'any'], 'disabled', 'disabled') === 'any',
    encapFromWorkloads: {
      vxlan: bool('AllowVXLANPacketsFromWorkloads', false),
      ipip: bool('AllowIPIPPacketsFromWorkloads', false),
    },
    letsInvalidPass: bool('DisableConntrackInvalidCheck', false),
    allowedIsReturned: ['IptablesFilterAllowAction', 'NftablesFilterAllowAction'].some(
      (name) => word(name, accepting, 'accept', 'return') === 'return',
    ),
    interfacePrefixes: (text('InterfacePrefix') ?? 'cali').split(','),
    vxlan: {
      enabled: bool('VXLANEnabled', undefined),
      port: integer('VXLANPort', 4789, 1, 65535),
      vni: integer('VXLANVNI', 4096, 0, 0xff_ffff),
      mtu: integer('VXLANMTU', 0, 0, 65535),
      mtuV6: integer('VXLANMTUV6', 0, 0, 65535),
    },
    ipip: {
      enabled: bool('IpInIpEnabled', undefined),
      mtu: integer('IpInIpMtu', 0, 0, 65535),
      tunnelAddress: cidrs('IpInIpTunnelAddr')[0],
    },
    wireguard: {
      enabled: bool('WireguardEnabled', false),
      enabledV6: bool('WireguardEnabledV6', false),
      hostEncryption: bool('WireguardHostEncryptionEnabled', false),
      port: integer('WireguardListeningPort', 51820, 1, 65535),
      portV6: integer('WireguardListeningPortV6', 51821, 1, 65535),
      mtu: integer('WireguardMTU', 0, 0, 65535),
      mtuV6: integer('WireguardMTUV6', 0, 0, 65535),
      device: text('WireguardInterfaceName') ?? 'wireguard.cali',
      deviceV6: text('WireguardInterfaceNameV6') ?? 'wg-v6.cali',
    },
    natPorts: ports('NATPortRange'),
    natAddress: cidrs('NATOutgoingAddress').find(({ single, ipVersion }) => single && ipVersion === 4),
    natOutgoingSparesHosts:
      word('NATOutgoingExclusions', ['ippoolsonly', 'ippoolsandhostips'], 'ippoolsonly', 'ippoolsonly') ===
      'ippoolsandhostips',
    routeProtocol: routeProtocol(integer('DeviceRouteProtocol', 3, 0, 255)),
    externalNodes: cidrs('ExternalNodesCIDRList'),
    serviceLoopPrevention: word(
      'ServiceLoopPrevention',
      ['drop', 'reject', 'disabled'],
      'drop',
      'drop',
      'disabled',
    ),
    floatingIps: word('FloatingIPs', ['disabled', 'enabled'], 'disabled', 'disabled') === 'enabled',
    problems,
  };
}

/** RTPROT_BOOT, the default, is everybody's: Felix takes one of its own instead (route_mgr.go, calculateRouteProtocol). */
function routeProtocol(chosen: number): number | undefined {
  return chosen === 3 || chosen === 0 ? undefined : chosen;
}

/** Each takes the setting's name, and what holds when it is not set; what can not be read is noted. */
function readers(config: ReadonlyMap<string, string>, problems: string[]) {
  const raw = rawValues(config);
  const complain = (name: string, wrong: string, may: string, instead: string): void => {
    problems.push(`Felix's setting ${name}: "${wrong}" is not ${may}: ${instead}`);
  };
  return {
    text: (name: string): string | undefined => {
      const value = raw.get(name);
      return value === undefined || isNone(value) ? undefined : value;
    },
    bool: <T extends boolean | undefined>(name: string, unset: T): boolean | T => {
      const value = raw.get(name);
      if (value === undefined) return unset;
      // The zero value of a boolean is false, that of one which may be absent is that.
      if (isNone(value)) return unset === undefined ? unset : false;
      const read = parseBool(value);
      if (read === undefined) complain(name, value, 'true or false', 'taken as not set');
      return read ?? unset;
    },
    integer: (name: string, unset: number, min: number, max: number): number => {
      const value = raw.get(name);
      if (value === undefined) return unset;
      const read = isNone(value) ? 0 : parseInteger(value);
      if (read !== undefined && read >= min && read <= max) return read;
      complain(name, value, `a whole number from ${min} to ${max}`, `taken as ${unset}`);
      return unset;
    },
    /** In lower case. `bad` is for what is none of the words: Felix takes the default or ends, so the closed way is ours to choose. */
    word: <T extends string>(name: string, words: readonly T[], unset: T, bad: T, none: T = bad): T => {
      const value = raw.get(name);
      if (value === undefined) return unset;
      if (isNone(value)) return none;
      const read = words.find((one) => one === value.toLowerCase());
      if (read === undefined) complain(name, value, `one of ${words.join(', ')}`, `taken as ${bad}`);
      return read ?? bad;
    },
    failsafe: (name: string, unset: string): readonly FailsafePort[] => {
      const { ports, bad } = parseFailsafePorts(raw.get(name) ?? unset);
      for (const part of bad) {
        complain(name, part, 'a port such as tcp:22, udp:10.0.0.0/8:53 or tcp:[fd00::/8]:22', 'left out');
      }
      return ports;
    },
    ports: (name: string): { readonly first: number; readonly last: number } | undefined => {
      const value = raw.get(name);
      if (value === undefined || isNone(value)) return undefined;
      const [, first = '', last = first] = /^(\d{1,5})(?::(\d{1,5}))?$/.exec(value) ?? [];
      // Felix heeds it from a last port of 1 on.
      if (first !== '' && Number(first) <= Number(last) && Number(last) <= 65535)
        return Number(last) === 0 ? undefined : { first: Number(first), last: Number(last) };
      complain(name, value, 'a range of ports such as 32768:65535', 'taken as not set');
      return undefined;
    },
    cidrs: (name: string): readonly Cidr[] => {
      const value = raw.get(name);
      if (value === undefined || isNone(value)) return [];
      const { cidrs, bad } = parseCidrs(value);
      for (const part of bad) complain(name, part, 'an address or a CIDR', 'left out');
      return cidrs;
    },
  };
}

/**
 * Felix spells the names that it knows as documented; those that its release does not know come as they were written, lower case from the
 * environment. An empty value is none (felix/config/config_params.go, UpdateFrom).
 */
function rawValues(config: ReadonlyMap<string, string>): { get(name: string): string | undefined } {
  const byLowerCase = new Map<string, string>();
  for (const [name, value] of config) if (value !== '') byLowerCase.set(name.toLowerCase(), value);
  return { get: (name) => config.get(name) || byLowerCase.get(name.toLowerCase()) };
}

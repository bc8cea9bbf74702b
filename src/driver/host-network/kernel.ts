/** What the kernel has, as `ip -j` says it. */
import { parseCidr, type Cidr } from '../../translators/address';
import { parseMac } from '../../translators/links';
import type { Commands } from './commands';

export interface KernelAddress {
  readonly device: string;
  readonly address: Cidr;
  /** With the prefix length that it has there. */
  readonly subnet: Cidr;
  readonly scope: string;
  readonly deprecated: boolean;
}

export interface KernelState {
  readonly devices: ReadonlyMap<string, { readonly mac: bigint | undefined; readonly up: boolean }>;
  readonly addresses: readonly KernelAddress[];
  readonly routes: readonly KernelStateRoute[];
}

export interface KernelStateRoute {
  readonly dst: Cidr;
  readonly gateway: Cidr | undefined;
  readonly device: string;
  readonly type: string;
  readonly protocol: number;
  readonly source: Cidr | undefined;
  readonly metric: number;
}

export interface Neighbour {
  readonly address: Cidr;
  readonly mac: bigint | undefined;
  /** The kernel keeps it up to date by itself. */
  readonly managed: boolean;
}

/** Numbers of route types (rtnetlink), as `ip -N` says them. */
const TYPES: Readonly<Record<string, string>> = { '6': 'blackhole', '7': 'unreachable', '8': 'prohibit' };

type Json = Readonly<Record<string, unknown>>;

/** @throws CalicoP4Error HOST_NETWORK_FAILED */
export async function readKernel(commands: Commands): Promise<KernelState> {
  const [links, v4, v6] = await Promise.all([
    list(commands, ['-j', 'address', 'show']),
    list(commands, ['-4', '-N', '-j', 'route', 'show', 'table', 'main']),
    list(commands, ['-6', '-N', '-j', 'route', 'show', 'table', 'main']),
  ]);
  const devices = new Map<string, { readonly mac: bigint | undefined; readonly up: boolean }>();
  const addresses: KernelAddress[] = [];
  for (const link of links) {
    const device = word(link['ifname']);
    const flags = Array.isArray(link['flags']) ? (link['flags'] as unknown[]) : [];
    devices.set(device, { mac: parseMac(word(link['address'])), up: flags.includes('UP') });
    for (const info of Array.isArray(link['addr_info']) ? (link['addr_info'] as Json[]) : []) {
      const address = parseCidr(word(info['local']));
      const subnet = parseCidr(`${word(info['local'])}/${String(info['prefixlen'])}`);
      if (address === undefined || subnet === undefined) continue;
      addresses.push({
        device,
        address,
        subnet,
        scope: word(info['scope']),
        deprecated: info['deprecated'] === true || info['preferred_life_time'] === 0,
      });
    }
  }
  const routes = [...v4.map((one) => readRoute(one, 4)), ...v6.map((one) => readRoute(one, 6))].flat();
  return { devices, addresses, routes };
}

function readRoute(route: Json, ipVersion: 4 | 6): KernelStateRoute[] {
  const text = word(route['dst']);
  const dst = parseCidr(text === 'default' ? (ipVersion === 4 ? '0.0.0.0/0' : '::/0') : text);
  if (dst === undefined) return [];
  // Of several ways one is enough.
  const hops = Array.isArray(route['nexthops']) ? (route['nexthops'] as Json[]) : [route];
  const hop = hops[0] ?? route;
  const via = hop['via'] as Json | undefined;
  return [
    {
      dst,
      gateway: parseCidr(word(hop['gateway'] ?? via?.['host'])),
      device: word(hop['dev']),
      type: TYPES[word(route['type'])] ?? 'unicast',
      protocol: Number(route['protocol'] ?? 0),
      source: parseCidr(word(route['prefsrc'])),
      metric: Number(route['metric'] ?? 0),
    },
  ];
}

/** @throws CalicoP4Error HOST_NETWORK_FAILED */
export async function readNeighbours(commands: Commands, device: string): Promise<readonly Neighbour[]> {
  const found = await list(commands, ['-j', 'neigh', 'show', 'dev', device]);
  return found.flatMap((entry) => {
    const address = parseCidr(word(entry['dst']));
    const state = Array.isArray(entry['state']) ? (entry['state'] as unknown[]) : [];
    const dead = state.includes('FAILED') || state.includes('INCOMPLETE');
    return address === undefined
      ? []
      : [{ address, mac: dead ? undefined : parseMac(word(entry['lladdr'])), managed: 'managed' in entry }];
  });
}

async function list(commands: Commands, args: readonly string[]): Promise<readonly Json[]> {
  const text = await commands.run('ip', args);
  const read: unknown = text.trim() === '' ? [] : JSON.parse(text);
  return Array.isArray(read) ? (read as Json[]) : [];
}

function word(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

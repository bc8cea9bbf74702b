/**
 * The network of a lab. A pod's is as Calico's CNI plugin makes it: its own namespace, single addresses on eth0, all routes to a gateway
 * that is not there. The node's stack and the world behind the uplink are namespaces too; nothing is done to the machine's own.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { isIPv4 } from 'node:net';
import path from 'node:path';
import { CalicoP4Error } from '../errors';
import type { PortSpec } from '../p4switch/dpdk/ports';
import { EMBEDDED_LINKS, spellMac } from '../translators/links';
import type { LabPlace, LabPod } from './places';

/** Files of a namespace here lie over those of /etc for what `ip netns exec` starts in it. */
const ETC = '/etc/netns';
const GATEWAY = { v4: '169.254.1.1', v6: 'fe80::ecee:eeff:feee:eeee' } as const;

export function namespaces(): readonly string[] {
  return ip('netns', 'list')
    .split('\n')
    .map((line) => line.split(' ')[0] ?? '')
    .filter((name) => name !== '');
}

/** Makes the namespace, and a hosts file so that all of a lab find each other by name. */
export function addNamespace(namespace: string, places: readonly LabPlace[]): void {
  ip('netns', 'add', namespace);
  ip('-n', namespace, 'link', 'set', 'lo', 'up');
  mkdirSync(path.join(ETC, namespace), { recursive: true });
  const hosts = places.flatMap(({ name, ips }) => ips.map((address) => `${address}\t${name}`));
  writeFileSync(
    path.join(ETC, namespace, 'hosts'),
    `${['127.0.0.1\tlocalhost', '::1\tlocalhost', ...hosts].join('\n')}\n`,
  );
}

/** No error when it is not there. */
export function deleteNamespace(namespace: string): void {
  rmSync(path.join(ETC, namespace), { recursive: true, force: true });
  try {
    if (readdirSync(ETC).length === 0) rmdirSync(ETC);
  } catch {
    // Somebody else's files are in it, or it is not there.
  }
  if (namespaces().includes(namespace)) ip('netns', 'delete', namespace);
}

/** Processes in the namespace. */
export function processesIn(namespace: string): number[] {
  return ip('netns', 'pids', namespace).split('\n').filter(Boolean).map(Number);
}

/** What the engine opens: it makes the interface inside the namespace. */
export function podPort(namespace: string, { mac }: LabPod): PortSpec {
  return tapIn(namespace, 'eth0', mac);
}

/** The uplink's other end is the world itself: no cable between them. */
export function outsidePort(namespace: string): PortSpec {
  return tapIn(namespace, 'eth0', spellMac(EMBEDDED_LINKS.nextHopMac!));
}

export function hostPort(namespace: string): PortSpec {
  return tapIn(namespace, HOST_DEVICE, spellMac(EMBEDDED_LINKS.hostMac!));
}

/** Of the node's own stack. */
const HOST_DEVICE = 'cali0';

function tapIn(namespace: string, name: string, mac: string): PortSpec {
  return { kind: 'tap', name, netns: `/run/netns/${namespace}`, mtu: 1500, mac, vlan: 0, persistent: true };
}

/** Addresses and routes of eth0, which is there. */
export function configurePod(namespace: string, pod: LabPlace): void {
  const inside = (...args: readonly string[]): string => ip('-n', namespace, ...args);
  addAddresses(namespace, 'eth0', pod.ips);
  for (const address of pod.ips) {
    if (isIPv4(address)) {
      inside('route', 'replace', GATEWAY.v4, 'dev', 'eth0', 'scope', 'link');
      inside('route', 'replace', 'default', 'via', GATEWAY.v4, 'dev', 'eth0', 'onlink');
    } else {
      inside('-6', 'route', 'replace', GATEWAY.v6, 'dev', 'eth0');
      inside('-6', 'route', 'replace', 'default', 'via', GATEWAY.v6, 'dev', 'eth0');
    }
  }
}

/** The world: its node is its way to everything, by the addresses that the node has. */
export function configureOutside(namespace: string, outside: LabPlace, host: LabPlace): void {
  addAddresses(namespace, 'eth0', outside.ips);
  for (const address of host.ips) {
    const family = isIPv4(address) ? '-4' : '-6';
    if (!outside.ips.some((own) => isIPv4(own) === isIPv4(address))) continue;
    ip('-n', namespace, family, 'route', 'replace', address, 'dev', 'eth0');
    ip('-n', namespace, family, 'route', 'replace', 'default', 'via', address, 'dev', 'eth0', 'onlink');
  }
}

/** The node's stack: all its ways lead to the pipeline, which routes. It makes the ICMP errors of what the pipeline can not route. */
export function configureHost(namespace: string, host: LabPlace): void {
  for (const [key, value] of [
    ['ipv4/ip_forward', 1],
    ['ipv4/conf/all/rp_filter', 0],
    [`ipv4/conf/${HOST_DEVICE}/rp_filter`, 0],
    ['ipv4/conf/all/send_redirects', 0],
    [`ipv4/conf/${HOST_DEVICE}/send_redirects`, 0],
    ['ipv6/conf/all/forwarding', 1],
  ] as const)
    run('ip', ['netns', 'exec', namespace, 'sh', '-c', `echo ${value} > /proc/sys/net/${key}`]);
  addAddresses(namespace, HOST_DEVICE, host.ips);
  for (const address of host.ips) {
    const family = isIPv4(address) ? '-4' : '-6';
    ip('-n', namespace, family, 'route', 'replace', 'default', 'dev', HOST_DEVICE, 'src', address);
  }
}

function addAddresses(namespace: string, device: string, ips: readonly string[]): void {
  ip('-n', namespace, 'link', 'set', device, 'up');
  for (const address of ips) {
    const net = isIPv4(address) ? [`${address}/32`] : [`${address}/128`];
    const ready = isIPv4(address) ? [] : ['nodad'];
    ip('-n', namespace, 'address', 'replace', ...net, 'dev', device, ...ready);
  }
}

/** @throws CalicoP4Error USAGE with what `ip` said */
function ip(...args: readonly string[]): string {
  return run('ip', args);
}

function run(command: string, args: readonly string[]): string {
  try {
    return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  } catch (cause) {
    const stderr = cause instanceof Error && 'stderr' in cause ? String(cause.stderr).trim() : '';
    const why = stderr !== '' ? stderr : cause instanceof Error ? cause.message : String(cause);
    throw new CalicoP4Error('USAGE', `${command} ${args.join(' ')}: ${why}`, {}, { cause });
  }
}

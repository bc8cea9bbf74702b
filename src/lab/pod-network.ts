/** The network of a pod as Calico's CNI plugin makes it: its own namespace, single addresses on eth0, all routes to a gateway that is not there. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { isIPv4 } from 'node:net';
import path from 'node:path';
import { CalicoP4Error } from '../errors';
import type { PortSpec } from '../p4switch/dpdk/ports';
import type { LabPod } from './cluster';

/** Files of a namespace here lie over those of /etc for what `ip netns exec` starts in it. */
const ETC = '/etc/netns';
const GATEWAY = { v4: '169.254.1.1', v6: 'fe80::ecee:eeff:feee:eeee' } as const;

export function namespaces(): readonly string[] {
  return ip('netns', 'list')
    .split('\n')
    .map((line) => line.split(' ')[0] ?? '')
    .filter((name) => name !== '');
}

/** Makes the namespace, and a hosts file so that pods find each other by name. */
export function addNamespace(namespace: string, pods: readonly LabPod[]): void {
  ip('netns', 'add', namespace);
  ip('-n', namespace, 'link', 'set', 'lo', 'up');
  mkdirSync(path.join(ETC, namespace), { recursive: true });
  const hosts = pods.flatMap(({ name, ips }) => ips.map((address) => `${address}\t${name}`));
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
  return { kind: 'tap', name: 'eth0', netns: `/run/netns/${namespace}`, mtu: 1500, mac, vlan: 0, persistent: true };
}

/** Addresses and routes of eth0, which is there. */
export function configurePod(namespace: string, pod: LabPod): void {
  const inside = (...args: readonly string[]): string => ip('-n', namespace, ...args);
  inside('link', 'set', 'eth0', 'up');
  for (const address of pod.ips) {
    if (isIPv4(address)) {
      inside('address', 'replace', `${address}/32`, 'dev', 'eth0');
      inside('route', 'replace', GATEWAY.v4, 'dev', 'eth0', 'scope', 'link');
      inside('route', 'replace', 'default', 'via', GATEWAY.v4, 'dev', 'eth0', 'onlink');
    } else {
      inside('address', 'replace', `${address}/128`, 'dev', 'eth0', 'nodad');
      inside('-6', 'route', 'replace', GATEWAY.v6, 'dev', 'eth0');
      inside('-6', 'route', 'replace', 'default', 'via', GATEWAY.v6, 'dev', 'eth0');
    }
  }
}

/** @throws CalicoP4Error USAGE with what `ip` said */
function ip(...args: readonly string[]): string {
  try {
    return execFileSync('ip', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  } catch (cause) {
    const stderr = cause instanceof Error && 'stderr' in cause ? String(cause.stderr).trim() : '';
    const why = stderr !== '' ? stderr : cause instanceof Error ? cause.message : String(cause);
    throw new CalicoP4Error('USAGE', `ip ${args.join(' ')}: ${why}`, {}, { cause });
  }
}

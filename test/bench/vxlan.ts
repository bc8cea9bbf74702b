/**
 * VXLAN: what the engine's one core does of it with packets from memory, and through ports (a pod's TAP, the uplink as a packet socket)
 * against the kernel's forwarding and vxlan device in the same places. The other node is the kernel's in both.
 */
import { execFileSync } from 'node:child_process';
import { buildFrame, buildIp } from '../../src/packet/build';
import { makePacket } from '../../src/packet/describe';
import { encapsulate } from '../../src/packet/tunnel';
import { findEngineBinary } from '../../src/p4switch/dpdk/binary';
import type { EngineClient } from '../../src/p4switch/dpdk/client';
import type { PortSpec } from '../../src/p4switch/dpdk/ports';
import { Which } from '../../src/p4switch/dpdk/protocol';
import type { EngineNode } from '../../src/p4switch/dpdk/node';
import { parseSpec } from '../../src/p4switch/spec/parser';
import { NODE, PEER, PORTS, nodeRows, SIZES, SPEC, VNI, VXLAN_PORT } from '../support/tunnels';
import { MEMORY_PORT, withEngine } from './engine-cluster';
import { mustPass } from './engine-reference';
import { rate } from './engine-traffic';
import { measurePath, startServer, type PathRates } from './path-traffic';
import { median, report } from './support';

const POD = { address: '10.65.1.10', mac: '02:00:00:00:00:02' } as const;
const OTHER = '10.65.1.11';
const REMOTE = '10.65.2.5';
const FLOWS = 256;
/** Ethernet, IPv4, TCP without options: 54 bytes. */
const PAYLOAD = 64 - 54;

async function load(engine: EngineNode, ports: readonly PortSpec[]): Promise<void> {
  await engine.host.withClient(async (client) => {
    await client.load(SPEC, new Uint8Array(0));
    const description = await client.describe(Which.staged, parseSpec(SPEC));
    const changes = nodeRows().map(({ table, entry }) => ({ kind: 'insert', table, entry }) as const);
    await client.write(Which.staged, 0n, description, changes);
    await client.activate();
  });
  for (const [slot, port] of ports.entries()) await engine.attach(slot, port);
}

interface Ends {
  readonly src: string;
  readonly dst: string;
}

const toNode = { dstMac: NODE.mac, srcMac: PEER.mac, innerDstMac: NODE.vtepMac };
const tunnel = { kind: 'vxlan', src: PEER.v4, dst: NODE.v4, vni: VNI, port: VXLAN_PORT } as const;

async function fromMemory(client: EngineClient, seconds: number): Promise<Record<string, number>> {
  const frames = (port: number, ends: Ends, tcpFlags: string, back: boolean, tunnelled: boolean) =>
    Array.from({ length: FLOWS }, (_, n) => {
      const here = { sport: back ? 80 : 20_000 + n, dport: back ? 20_000 + n : 80 };
      const packet = makePacket({ ...ends, proto: 'tcp', ...here, tcpFlags, payload: PAYLOAD });
      const frame = tunnelled
        ? encapsulate(buildIp(packet), tunnel, toNode)
        : buildFrame(packet, { dstMac: NODE.gateway });
      return { port, frame };
    });
  const away = { src: POD.address, dst: REMOTE };
  const home = { src: REMOTE, dst: POD.address };
  const local = { src: POD.address, dst: OTHER };
  await mustPass(client, frames(PORTS.pod, away, 'S', false, false));
  await mustPass(client, frames(PORTS.uplink, home, 'SA', true, true));
  await mustPass(client, frames(PORTS.pod, local, 'S', false, false));
  await mustPass(client, frames(PORTS.other, { src: OTHER, dst: POD.address }, 'SA', true, false));
  const ways = [
    ['pod to pod', frames(PORTS.pod, local, 'A', false, false)],
    ['encapsulated', frames(PORTS.pod, away, 'A', false, false)],
    ['decapsulated', frames(PORTS.uplink, home, 'A', true, true)],
  ] as const;
  const rates: Record<string, number> = {};
  for (const [name, these] of ways) {
    await mustPass(client, these);
    rates[name] = await rate(client, these, seconds);
  }
  return rates;
}

let serial = 0;
const ip = (namespace: string, ...args: readonly string[]): void => {
  execFileSync('ip', ['-n', namespace, ...args]);
};

async function withSpaces(work: (names: readonly string[]) => Promise<void>): Promise<void> {
  const names = ['client', 'node', 'peer'].map((what) => `p4vx-${process.pid}-${serial++}-${what}`);
  const made: string[] = [];
  try {
    for (const name of names) {
      execFileSync('ip', ['netns', 'add', name]);
      made.push(name);
      ip(name, 'link', 'set', 'lo', 'up');
    }
    await work(names);
  } finally {
    for (const name of made) execFileSync('ip', ['netns', 'delete', name]);
  }
}

/** The end of a VXLAN tunnel in the kernel, as Felix makes it, and the way to what is behind the other end. */
function kernelTunnel(
  space: string,
  own: { readonly v4: string; readonly vtepMac: string },
  far: { readonly v4: string; readonly vtepMac: string },
  behind: string,
  address: string,
): void {
  const device = 'vxlan.calico';
  const id = ['id', String(VNI), 'dstport', String(VXLAN_PORT), 'local', own.v4, 'dev', 'eth0', 'nolearning'];
  ip(
    space,
    'link',
    'add',
    device,
    'address',
    own.vtepMac,
    'mtu',
    String(SIZES.vxlan4),
    'type',
    'vxlan',
    ...id,
  );
  ip(space, 'addr', 'add', `${address}/32`, 'dev', device);
  ip(space, 'link', 'set', device, 'up');
  execFileSync('bridge', ['-n', space, 'fdb', 'add', far.vtepMac, 'dev', device, 'dst', far.v4]);
  ip(space, 'neigh', 'add', '10.65.255.1', 'lladdr', far.vtepMac, 'dev', device, 'nud', 'permanent');
  ip(space, 'route', 'add', behind, 'via', '10.65.255.1', 'dev', device, 'onlink');
}

/** The link between the nodes: eth0 at both. */
function link(node: string, peer: string, nodeHasAddress: boolean): void {
  ip(node, 'link', 'add', 'eth0', 'address', NODE.mac, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', peer);
  ip(peer, 'link', 'set', 'eth0', 'address', PEER.mac);
  for (const space of [node, peer]) {
    ip(space, 'link', 'set', 'eth0', 'up');
    // The engine's packet socket takes frames as they are.
    const off = ['tso', 'off', 'gso', 'off', 'gro', 'off', 'tx', 'off'];
    execFileSync('ip', ['netns', 'exec', space, 'ethtool', '-K', 'eth0', ...off]);
  }
  ip(peer, 'addr', 'add', `${PEER.v4}/24`, 'dev', 'eth0');
  ip(peer, 'neigh', 'add', NODE.v4, 'lladdr', NODE.mac, 'dev', 'eth0', 'nud', 'permanent');
  kernelTunnel(peer, PEER, NODE, '10.65.1.0/24', REMOTE);
  if (!nodeHasAddress) return;
  ip(node, 'addr', 'add', `${NODE.v4}/24`, 'dev', 'eth0');
  ip(node, 'neigh', 'add', PEER.v4, 'lladdr', PEER.mac, 'dev', 'eth0', 'nud', 'permanent');
}

/** Of a pod, as Calico's CNI makes it. */
function podAddress(space: string): void {
  ip(space, 'addr', 'add', `${POD.address}/32`, 'dev', 'eth0');
  ip(space, 'link', 'set', 'eth0', 'mtu', String(SIZES.vxlan4), 'up');
  ip(space, 'route', 'add', '169.254.1.1', 'dev', 'eth0', 'scope', 'link');
  ip(space, 'route', 'add', 'default', 'via', '169.254.1.1');
}

async function measured(client: string, peer: string, seconds: number): Promise<PathRates> {
  const server = await startServer(peer);
  try {
    return await measurePath({ client, server: peer, address: REMOTE }, seconds);
  } finally {
    server.kill('SIGKILL');
  }
}

async function throughEngine(idle: string, seconds: number): Promise<PathRates> {
  let rates: PathRates | undefined;
  await withSpaces(async ([client, node, peer]) => {
    link(node!, peer!, false);
    await withEngine(['--idle', idle], async (engine) => {
      const pod = {
        kind: 'tap',
        name: 'eth0',
        netns: `/run/netns/${client!}`,
        mtu: 1500,
        mac: POD.mac,
      } as const;
      const uplink = { kind: 'packet', name: 'eth0', netns: `/run/netns/${node!}` } as const;
      await load(engine, [
        { ...MEMORY_PORT, ...uplink },
        MEMORY_PORT,
        { ...MEMORY_PORT, ...pod },
        MEMORY_PORT,
      ]);
      podAddress(client!);
      rates = await measured(client!, peer!, seconds);
    });
  });
  return rates!;
}

async function throughKernel(seconds: number): Promise<PathRates> {
  let rates: PathRates | undefined;
  await withSpaces(async ([client, node, peer]) => {
    link(node!, peer!, true);
    execFileSync('ip', ['netns', 'exec', node!, 'sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward']);
    ip(node!, 'link', 'add', 'cali1', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', client!);
    const off = ['tso', 'off', 'gso', 'off', 'gro', 'off', 'tx', 'off'];
    for (const [space, device] of [
      [node!, 'cali1'],
      [client!, 'eth0'],
    ] as const)
      execFileSync('ip', ['netns', 'exec', space, 'ethtool', '-K', device, ...off]);
    ip(node!, 'link', 'set', 'cali1', 'up');
    podAddress(client!);
    ip(node!, 'addr', 'add', '169.254.1.1/32', 'dev', 'cali1');
    ip(node!, 'route', 'add', `${POD.address}/32`, 'dev', 'cali1', 'scope', 'link');
    kernelTunnel(node!, NODE, PEER, '10.65.2.0/26', NODE.tunnelV4);
    rates = await measured(client!, peer!, seconds);
  });
  return rates!;
}

export async function vxlan(quick: boolean): Promise<never> {
  if (findEngineBinary() === undefined)
    report({ skipped: 'the engine is not built: make engine (needs libdpdk-dev 22.11)' });
  const figures: Record<string, number | string> = {};
  const rounds = quick ? 1 : 3;
  const memory: Record<string, number>[] = [];
  await withEngine([], async (engine) => {
    await load(
      engine,
      Object.values(PORTS).map(() => MEMORY_PORT),
    );
    for (let round = 0; round < rounds; round++)
      memory.push(await engine.host.withClient((client) => fromMemory(client, quick ? 0.1 : 0.25)));
  });
  for (const name of Object.keys(memory[0]!)) {
    figures[`from memory: ${name}, packets/s`] = Math.round(median(memory.map((m) => m[name]!)));
    if (name !== 'pod to pod')
      figures[`from memory: ${name} / pod to pod`] = median(memory.map((m) => m[name]! / m['pod to pod']!));
  }
  if (process.geteuid?.() !== 0)
    report({ ...figures, 'through ports': 'skipped: network namespaces need root' });
  const names = ['engine', 'engine, spinning', 'kernel'] as const;
  const seconds = quick ? 0.5 : 2;
  const all: Record<(typeof names)[number], PathRates>[] = [];
  for (let round = 0; round < rounds; round++)
    all.push({
      engine: await throughEngine('adaptive', seconds),
      'engine, spinning': await throughEngine('spin', seconds),
      kernel: await throughKernel(seconds),
    });
  for (const what of Object.keys(all[0]!.kernel) as (keyof PathRates)[]) {
    for (const name of names) figures[`${name}: ${what}`] = median(all.map((rates) => rates[name][what]));
    for (const name of ['engine', 'engine, spinning'] as const)
      figures[`${name} / kernel: ${what}`] = median(
        all.map((rates) => rates[name][what] / rates.kernel[what]),
      );
  }
  return report(figures);
}

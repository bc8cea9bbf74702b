/**
 * From one pod to another through the engine (TAP), through the kernel's own forwarding with the same policy in nftables (veth), and
 * through OVS-DPDK with the same policy as flows (TAP). All in one run, one after the other in every round; figures are medians, and
 * shares of the round's figure of the kernel. One client in Python drives all: what it can send in a second bounds the figures.
 */
import type { ChildProcess } from 'node:child_process';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findEngineBinary } from '../../src/p4switch/dpdk/binary';
import { podMac, spellMac } from '../../src/translators/links';
import { MEMORY_PORT, withDriver } from './engine-cluster';
import { startOvs, whyNoOvs } from './path-ovs';
import { CLIENT, nftRules, policyModel, SERVER } from './path-policy';
import { type Ends, measurePath, mustBeClosed, type PathRates, startServer } from './path-traffic';
import { type Figures, median, report } from './support';

type Work = (ends: Ends) => Promise<void>;
interface Path {
  readonly name: string;
  readonly run: (work: Work) => Promise<void>;
}

let serial = 0;

/** Namespaces, and the server in the last one, for as long as the work takes. */
async function withSpaces(count: number, work: (names: readonly string[]) => Promise<void>): Promise<void> {
  const names = Array.from({ length: count }, () => `p4bench-${process.pid}-${serial++}`);
  const made: string[] = [];
  try {
    for (const name of names) {
      execFileSync('ip', ['netns', 'add', name]);
      made.push(name);
      execFileSync('ip', ['-n', name, 'link', 'set', 'lo', 'up']);
    }
    await work(names);
  } finally {
    for (const name of made) execFileSync('ip', ['netns', 'delete', name]);
  }
}

async function served(ends: Ends, work: Work): Promise<void> {
  let server: ChildProcess | undefined;
  try {
    server = await startServer(ends.server);
    await mustBeClosed(ends);
    await work(ends);
  } finally {
    server?.kill('SIGKILL');
  }
}

const ip = (namespace: string, ...args: readonly string[]): void => {
  execFileSync('ip', ['-n', namespace, ...args]);
};

function throughEngine(idle: string): (work: Work) => Promise<void> {
  return (work) =>
    withSpaces(2, ([client, server]) =>
      withDriver(['--idle', idle], async ({ engine, driver }) => {
        const { applied } = await driver.program(policyModel());
        if (applied.failed.size > 0) throw new Error(`${applied.failed.size} rows were not taken`);
        for (const [space, pod] of [
          [client!, CLIENT],
          [server!, SERVER],
        ] as const) {
          const [port] = [...driver.names.ports].find(([, name]) => name === pod.name)!;
          const netns = `/run/netns/${space}`;
          const mac = spellMac(podMac({ mac: '', name: pod.name }));
          await engine.attach(port, { ...MEMORY_PORT, kind: 'tap', name: 'eth0', netns, mtu: 1500, mac });
          ip(space, 'addr', 'add', `${pod.address}/32`, 'dev', 'eth0');
          ip(space, 'route', 'add', '169.254.1.1', 'dev', 'eth0', 'scope', 'link');
          ip(space, 'route', 'add', 'default', 'via', '169.254.1.1');
        }
        await served({ client: client!, server: server!, address: SERVER.address }, work);
      }),
    );
}

/** As Calico's Linux dataplane has it: a veth for each pod, the node answers for the gateway. */
function throughKernel(offloads: boolean): (work: Work) => Promise<void> {
  return (work) =>
    withSpaces(3, async ([client, server, node]) => {
      const inNode = ['netns', 'exec', node!];
      execFileSync('ip', [...inNode, 'sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward']);
      for (const [space, pod, veth] of [
        [client!, CLIENT, 'cali1'],
        [server!, SERVER, 'cali2'],
      ] as const) {
        ip(node!, 'link', 'add', veth, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', space);
        ip(node!, 'link', 'set', veth, 'up');
        ip(space, 'link', 'set', 'eth0', 'up');
        ip(space, 'addr', 'add', `${pod.address}/32`, 'dev', 'eth0');
        ip(space, 'route', 'add', '169.254.1.1', 'dev', 'eth0', 'scope', 'link');
        ip(space, 'route', 'add', 'default', 'via', '169.254.1.1');
        ip(node!, 'route', 'add', `${pod.address}/32`, 'dev', veth, 'scope', 'link');
        ip(node!, 'addr', 'add', '169.254.1.1/32', 'dev', veth);
        if (offloads) continue;
        const off = ['tso', 'off', 'gso', 'off', 'gro', 'off', 'tx', 'off'];
        for (const [where, device] of [
          [space, 'eth0'],
          [node!, veth],
        ] as const)
          execFileSync('ip', ['netns', 'exec', where, 'ethtool', '-K', device, ...off]);
      }
      execFileSync('ip', [...inNode, 'nft', '-f', '-'], { input: nftRules() });
      await served({ client: client!, server: server!, address: SERVER.address }, work);
    });
}

async function throughOvs(work: Work): Promise<void> {
  await withSpaces(3, async ([client, server, home]) => {
    const folder = mkdtempSync(join(tmpdir(), 'calico-p4-bench-'));
    try {
      const stop = await startOvs(folder, home!, client!, server!);
      try {
        await served({ client: client!, server: server!, address: SERVER.address }, work);
      } finally {
        await stop();
      }
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
}

function has(command: string): boolean {
  try {
    execFileSync('sh', ['-c', `command -v ${command}`], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

const ENGINE = 'engine';
const SPINNING = 'engine, spinning';
const KERNEL = 'kernel, nftables';
const PLAIN_KERNEL = 'kernel, no offloads';
const OVS = 'OVS-DPDK';

export async function paths(quick: boolean): Promise<never> {
  if (findEngineBinary() === undefined)
    report({ skipped: 'the engine is not built: make engine (needs libdpdk-dev 22.11)' });
  if (process.geteuid?.() !== 0) report({ skipped: 'network namespaces need root' });
  const skipped: Record<string, string> = {};
  const all: Path[] = [
    { name: ENGINE, run: throughEngine('adaptive') },
    { name: SPINNING, run: throughEngine('spin') },
  ];
  if (has('nft') && has('ethtool'))
    all.push({ name: KERNEL, run: throughKernel(true) }, { name: PLAIN_KERNEL, run: throughKernel(false) });
  else skipped[KERNEL] = 'skipped: apt-get install nftables ethtool';
  const noOvs = whyNoOvs();
  if (noOvs === undefined) all.push({ name: OVS, run: throughOvs });
  else skipped[OVS] = `skipped: ${noOvs}`;

  const rounds: Map<string, PathRates>[] = [];
  for (let round = 0; round < (quick ? 1 : 3); round++) {
    const rates = new Map<string, PathRates>();
    for (const { name, run } of all) {
      try {
        await run(async (ends) => void rates.set(name, await measurePath(ends, quick ? 0.5 : 2)));
      } catch (error) {
        // The others are worth their figures.
        const words = error instanceof Error ? error.message.trimEnd().split('\n') : [String(error)];
        skipped[name] = `failed: ${words.at(-1)!}`;
      }
    }
    rounds.push(rates);
  }
  report({ ...figures(rounds), ...skipped });
}

function figures(rounds: readonly ReadonlyMap<string, PathRates>[]): Figures {
  const found: Record<string, number> = {};
  const whats = Object.keys([...rounds[0]!.values()][0] ?? {}) as (keyof PathRates)[];
  const names = [...rounds[0]!.keys()].filter((name) => rounds.every((round) => round.has(name)));
  for (const what of whats)
    for (const name of names)
      found[`${name}: ${what}`] = median(rounds.map((round) => round.get(name)![what]));
  for (const other of [KERNEL, PLAIN_KERNEL, OVS].filter((name) => names.includes(name)))
    for (const name of [ENGINE, SPINNING].filter((one) => names.includes(one)))
      for (const what of whats)
        found[`${name} / ${other}: ${what}`] = median(
          rounds.map((round) => round.get(name)![what] / round.get(other)![what]),
        );
  return found;
}

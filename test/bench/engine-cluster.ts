/** Native engines for measurements, ended with what is measured on them, also when that fails. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EMBEDDED_PORTS } from '../../src/cli/stream';
import type { ModelBuilder } from '../../src/driver/felix/model-builder';
import { createNode, type Node } from '../../src/driver/node';
import { openTarget } from '../../src/driver/target';
import { findEngineBinary } from '../../src/p4switch/dpdk/binary';
import { type EngineNode, startEngineNode } from '../../src/p4switch/dpdk/node';
import type { PortSpec } from '../../src/p4switch/dpdk/ports';
import { startDpdkSwitch } from '../../src/p4switch/dpdk/switch';
import { cluster } from './synthetic';
import { timed } from './support';

export const PODS = 250;

/** Nothing is behind it: packets come by message. */
export const MEMORY_PORT: PortSpec = {
  kind: 'memory',
  name: '',
  netns: '',
  mtu: 0,
  mac: '',
  vlan: 0,
  persistent: false,
};

export interface Running {
  readonly engine: EngineNode;
  readonly driver: Node;
  readonly builder: ModelBuilder;
  readonly rows: number;
  /** For compiling and writing them. */
  readonly seconds: number;
}

/** An engine of its own. `folder` goes with it. */
export async function withEngine<T>(
  options: readonly string[],
  work: (engine: EngineNode, folder: string) => Promise<T>,
): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'calico-p4-bench-'));
  try {
    const engine = await startEngineNode({
      socket: join(folder, 'engine.sock'),
      binary: findEngineBinary()!,
      arguments: options,
    });
    try {
      return await work(engine, folder);
    } finally {
      await engine.stop('quit');
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** An engine, a P4Runtime server and a driver of its own, without rows yet. */
export function withDriver<T>(
  options: readonly string[],
  work: (running: Pick<Running, 'engine' | 'driver'>) => Promise<T>,
): Promise<T> {
  return withEngine(options, async (engine, folder) => {
    const listen = { address: `unix:${join(folder, 'p4rt.sock')}`, deviceId: 1n };
    const server = await startDpdkSwitch(listen, engine);
    try {
      const target = await openTarget(
        { address: server.address, kind: 'embedded', deviceId: 1, electionId: '1' },
        (error) => {
          throw error;
        },
      );
      try {
        const driver = await createNode({ reconciler: target.reconciler, ports: EMBEDDED_PORTS });
        return await work({ engine, driver });
      } finally {
        target.close();
      }
    } finally {
      await server.stop();
    }
  });
}

/** The same with a synthetic cluster's rows: all policies are some pod's. */
export function withCluster<T>(
  members: number,
  policies: number,
  options: readonly string[],
  work: (running: Running) => Promise<T>,
): Promise<T> {
  return withDriver(options, async ({ engine, driver }) => {
    const builder = cluster({
      members,
      policies,
      pods: PODS,
      policiesOfAPod: Math.ceil(policies / PODS),
    });
    const [seconds, { applied }] = await timed(() => driver.program(builder.model));
    if (applied.failed.size > 0) throw new Error(`${applied.failed.size} rows were not taken`);
    for (let port = 0; port < EMBEDDED_PORTS.firstPod + PODS; port++) await engine.attach(port, MEMORY_PORT);
    return work({ engine, driver, builder, rows: applied.written, seconds });
  });
}

/** The embedded switch inside this process, written through P4Runtime as any target is, for `replay` and `trace`. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CalicoP4Error } from '../errors';
import { openTarget, type Target } from '../driver/target';
import type { Engine } from '../p4switch/engine';
import { createInterpreter } from '../p4switch/interpreter/interpreter';
import type { BehaviourName } from '../p4switch/server/behaviour';
import { startSwitchServer, type SwitchServer, type SwitchTls } from '../p4switch/server/server';

export interface EmbeddedTarget {
  readonly target: Target;
  readonly engine: Engine;
  stop(): Promise<void>;
}

/** @param behaviour what the switch does; the driver is told what kind of target to expect accordingly */
export async function startEmbeddedTarget(
  behaviour: BehaviourName = 'specification',
): Promise<EmbeddedTarget> {
  const folder = mkdtempSync(join(tmpdir(), 'calico-p4-'));
  const server = await startInterpreter(`unix:${join(folder, 'p4rt.sock')}`, 1, { behaviour });
  try {
    const target = await openTarget(
      { address: server.address, kind: targetKind(behaviour), deviceId: 1, electionId: '1' },
      (error: CalicoP4Error) => {
        throw error;
      },
    );
    return {
      target,
      engine: server.engine()!,
      async stop() {
        target.close();
        await server.stop();
        rmSync(folder, { recursive: true, force: true });
      },
    };
  } catch (error) {
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
}

/** `target.kind` of a driver for a switch that behaves so. */
export function targetKind(behaviour: BehaviourName): 'embedded' | 'p4-dpdk' {
  return behaviour === 'infrap4d' ? 'p4-dpdk' : 'embedded';
}

/** The P4Runtime server over the interpreter, which takes its time from the machine's monotonic clock. */
export function startInterpreter(
  address: string,
  deviceId: number,
  more: { readonly tls?: SwitchTls; readonly behaviour?: BehaviourName } = {},
): Promise<SwitchServer> {
  return startSwitchServer({
    address,
    deviceId: BigInt(deviceId),
    ...more,
    createEngine: (spec) => createInterpreter(spec, { now: () => performance.now() / 1000 }),
  });
}

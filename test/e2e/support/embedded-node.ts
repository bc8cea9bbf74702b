import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createNode, type Node } from '../../../src/driver/node';
import { openTarget, type Target } from '../../../src/driver/target';
import type { Engine } from '../../../src/p4switch/engine';
import { createInterpreter } from '../../../src/p4switch/interpreter/interpreter';
import { startSwitchServer } from '../../../src/p4switch/server/server';

export const PORTS = { uplink: 0, host: 1, firstPod: 2 } as const;

/** The real driver code, P4Runtime server and interpreter in one process, with a clock that tests move. */
export interface EmbeddedNode {
  readonly engine: Engine;
  readonly node: Node;
  readonly target: Target;
  /** Lets time pass: learned entries expire. */
  advance(seconds: number): void;
  stop(): Promise<void>;
}

export async function startEmbeddedNode(): Promise<EmbeddedNode> {
  let now = 1000;
  const folder = mkdtempSync(path.join(tmpdir(), 'calico-p4-test-'));
  const server = await startSwitchServer({
    address: `unix:${path.join(folder, 'p4rt.sock')}`,
    deviceId: 1n,
    createEngine: (spec) => createInterpreter(spec, { now: () => now }),
  });
  const target = await openTarget(
    { address: server.address, kind: 'embedded', deviceId: 1, electionId: '1' },
    (error) => {
      throw error;
    },
  );
  const node = await createNode({ reconciler: target.reconciler, ports: PORTS });
  return {
    engine: server.engine()!,
    node,
    target,
    advance(seconds) {
      now += seconds;
    },
    async stop() {
      target.close();
      await server.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

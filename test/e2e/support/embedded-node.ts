import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createNode, type Node } from '../../../src/driver/node';
import { openTarget, type Target } from '../../../src/driver/target';
import type { Engine, TableOp } from '../../../src/p4switch/engine';
import { createInterpreter } from '../../../src/p4switch/interpreter/interpreter';
import { startSwitchServer } from '../../../src/p4switch/server/server';
import { UPLINK } from '../../support/models';
import { EMBEDDED_LINKS, type NodeLinks } from '../../../src/translators/links';

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

export interface EmbeddedOptions {
  /** What the switch behaves as, and the driver takes it for. Default `embedded`; `p4-dpdk`: as infrap4d, without MODIFY. */
  readonly kind?: 'embedded' | 'p4-dpdk';
  /** After every single operation that the switch has applied, before the next one. */
  readonly onWrite?: (op: TableOp) => void;
  /** Default: those of the embedded switch. */
  readonly links?: NodeLinks;
  /** Name of the interface at the uplink. Default: UPLINK, which host endpoints of tests may name. */
  readonly uplink?: string;
}

/** For suites that must hold on both: describe.each(TARGET_KINDS). */
export const TARGET_KINDS = ['embedded', 'p4-dpdk'] as const;

export async function startEmbeddedNode(options: EmbeddedOptions = {}): Promise<EmbeddedNode> {
  const { kind = 'embedded', onWrite } = options;
  let now = 1000;
  const folder = mkdtempSync(path.join(tmpdir(), 'calico-p4-test-'));
  const server = await startSwitchServer({
    address: `unix:${path.join(folder, 'p4rt.sock')}`,
    deviceId: 1n,
    behaviour: kind === 'p4-dpdk' ? 'infrap4d' : 'specification',
    createEngine: (spec) => watched(createInterpreter(spec, { now: () => now }), onWrite),
  });
  const target = await openTarget(
    { address: server.address, kind, deviceId: 1, electionId: '1' },
    (error) => {
      throw error;
    },
  );
  const node = await createNode({
    reconciler: target.reconciler,
    ports: PORTS,
    links: options.links ?? EMBEDDED_LINKS,
    uplink: options.uplink ?? UPLINK,
  });
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

function watched(engine: Engine, onWrite: EmbeddedOptions['onWrite']): Engine {
  if (onWrite === undefined) return engine;
  const apply = engine.apply.bind(engine);
  return {
    ...engine,
    apply(op) {
      apply(op);
      onWrite(op);
    },
  };
}

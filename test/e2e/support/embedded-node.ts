import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { openJournal } from '../../../src/driver/journal';
import { createNode, type Node } from '../../../src/driver/node';
import { openTarget, type Target } from '../../../src/driver/target';
import { logger } from '../../../src/log';
import type { Engine, TableOp } from '../../../src/p4switch/engine';
import { createInterpreter } from '../../../src/p4switch/interpreter/interpreter';
import { startSwitchServer } from '../../../src/p4switch/server/server';
import { EMBEDDED_LINKS, type NodeLinks } from '../../../src/translators/links';

export const PORTS = { uplink: 0, host: 1, firstPod: 2 } as const;

/** The real driver code, P4Runtime server and interpreter in one process, with a clock that tests move. */
export interface EmbeddedNode {
  readonly engine: Engine;
  /** The present driver's. */
  readonly node: Node;
  readonly target: Target;
  /** Lets time pass: learned entries expire. */
  advance(seconds: number): void;
  /** Another driver takes the place of this one, with what is in the journal's file. */
  restartDriver(): Promise<void>;
  stop(): Promise<void>;
}

export interface EmbeddedOptions {
  /** What the switch behaves as, and the driver takes it for. Default `embedded`; `p4-dpdk`: as infrap4d, without MODIFY. */
  readonly kind?: 'embedded' | 'p4-dpdk';
  /** After every single operation that the switch has applied, before the next one. */
  readonly onWrite?: (op: TableOp) => void;
  /** True: what is written from now on is lost. */
  readonly isDead?: () => boolean;
  /** Default: those of the embedded switch. */
  readonly links?: NodeLinks;
  /** The driver's journal; default: it has none. */
  readonly journal?: string;
}

/** For suites that must hold on both: describe.each(TARGET_KINDS). */
export const TARGET_KINDS = ['embedded', 'p4-dpdk'] as const;

export async function startEmbeddedNode(options: EmbeddedOptions = {}): Promise<EmbeddedNode> {
  const { kind = 'embedded', onWrite, isDead } = options;
  let now = 1000;
  const folder = mkdtempSync(path.join(tmpdir(), 'calico-p4-test-'));
  const server = await startSwitchServer({
    address: `unix:${path.join(folder, 'p4rt.sock')}`,
    deviceId: 1n,
    behaviour: kind === 'p4-dpdk' ? 'infrap4d' : 'specification',
    createEngine: (spec) => watched(createInterpreter(spec, { now: () => now }), onWrite, isDead),
  });
  const startDriver = async (): Promise<{ readonly target: Target; readonly node: Node; close(): void }> => {
    const target = await openTarget(
      { address: server.address, kind, deviceId: 1, electionId: '1' },
      (error) => {
        throw error;
      },
    );
    const path = options.journal ?? '';
    const journal = path === '' ? undefined : openJournal({ path, of: 'the test', log: logger('test') });
    const node = await createNode({
      reconciler: target.reconciler,
      ports: PORTS,
      links: options.links ?? EMBEDDED_LINKS,
      ...(journal === undefined ? {} : { journal }),
    });
    return {
      target,
      node,
      close() {
        target.close();
        journal?.close();
      },
    };
  };
  let driver = await startDriver();
  return {
    engine: server.engine()!,
    get node() {
      return driver.node;
    },
    get target() {
      return driver.target;
    },
    async restartDriver() {
      driver.close();
      driver = await startDriver();
    },
    advance(seconds) {
      now += seconds;
    },
    async stop() {
      driver.close();
      await server.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function watched(
  engine: Engine,
  onWrite: EmbeddedOptions['onWrite'],
  isDead: EmbeddedOptions['isDead'],
): Engine {
  if (onWrite === undefined) return engine;
  const apply = engine.apply.bind(engine);
  return {
    ...engine,
    apply(op) {
      if (isDead?.() === true) return;
      apply(op);
      onWrite(op);
    },
  };
}

/**
 * A node that lives long: policies, sets, CIDRs, ports and pods that are always new, each gone again with the next change. What the driver
 * keeps (session, compiler, reconciler, P4Runtime client) does not grow, nor do the rows. The switch is a process of its own.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createFelixSession } from '../../src/driver/felix/felix-session';
import { createNode } from '../../src/driver/node';
import { openTarget } from '../../src/driver/target';
import { framesOfCycle, heapInUse, leastOf } from '../support/always-new';
import { PORTS, TARGET_KINDS } from './support/embedded-node';
import { start, stop, until } from './support/processes';

const CYCLES = 300;
const WINDOW = 100;
/** Bytes that 100 cycles may add to the least that is in use. */
const GROWTH = 1_000_000;

test.each(TARGET_KINDS)(
  `${CYCLES} times everything is new, and nothing is kept: target of kind %s`,
  async (kind) => {
    const folder = mkdtempSync(path.join(tmpdir(), 'calico-p4-memory-'));
    const address = `unix:${path.join(folder, 'p4rt.sock')}`;
    const strict = kind === 'p4-dpdk' ? ['--strict'] : [];
    const embeddedSwitch = start('calico-p4', [
      'switch',
      '--engine',
      'interpreter',
      '--listen',
      address,
      ...strict,
    ]);
    try {
      await until('the switch', () => embeddedSwitch.output().stdout.includes('P4Runtime at'));
      const target = await openTarget({ address, kind, deviceId: 1, electionId: '1' }, (error) => {
        throw error;
      });
      const node = await createNode({ reconciler: target.reconciler, ports: PORTS });
      const session = createFelixSession();
      const samples = new Map<number, number>();
      let rows = 0;
      for (let cycle = 1; cycle <= CYCLES; cycle++) {
        session.push(framesOfCycle(cycle, session.frames));
        session.takeChanges();
        const { applied, problems } = await node.program(session.model);
        expect([...applied.failed.values(), ...problems]).toEqual([]);
        if (cycle === WINDOW) rows = node.rows.length;
        if (cycle > WINDOW) expect(node.rows.length).toBeLessThanOrEqual(rows * 1.25);
        if (cycle % 10 === 0) samples.set(cycle, heapInUse());
      }
      target.close();
      const held = [...node.rowCounts().values()].reduce((sum, count) => sum + count, 0);
      expect(held).toBe(node.rows.length);
      expect(rows).toBeGreaterThan(20);
      const before = leastOf(samples, WINDOW, 2 * WINDOW);
      const after = leastOf(samples, CYCLES - WINDOW, CYCLES);
      console.info(
        `${kind}: ${rows} rows; ${(before / 1e6).toFixed(1)} MB, then ${(after / 1e6).toFixed(1)} MB`,
      );
      expect(after - before).toBeLessThan(GROWTH);
    } finally {
      await stop(embeddedSwitch);
      rmSync(folder, { recursive: true, force: true });
    }
  },
  120_000,
);

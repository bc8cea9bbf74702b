/**
 * Calico's own policy cases on the native engine: the real driver writes them over P4Runtime, one case after the other on the
 * same switch, and packets get the verdicts that Calico expects.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { replayStream } from '../../../src/cli/stream';
import { openTarget, type Target } from '../../../src/driver/target';
import { Which } from '../../../src/p4switch/dpdk/protocol';
import { type EngineNode, startEngineNode } from '../../../src/p4switch/dpdk/node';
import { startDpdkSwitch } from '../../../src/p4switch/dpdk/switch';
import type { SwitchServer } from '../../../src/p4switch/server/server';
import { parseSpec } from '../../../src/p4switch/spec/parser';
import { frameAt } from '../../support/frames';
import { conformanceStream, independentPackets, loadConformance } from '../../support/conformance';
import { describeEngine, engineBinary } from './engine';

const { cases } = loadConformance();

describeEngine('on the native engine', {}, () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'calico-p4-engine-conformance-'));
  let node: EngineNode;
  let server: SwitchServer;
  let target: Target;

  beforeAll(async () => {
    node = await startEngineNode({ socket: path.join(folder, 'engine.sock'), binary: engineBinary() });
    server = await startDpdkSwitch({ address: `unix:${path.join(folder, 'p4rt.sock')}`, deviceId: 1n }, node);
    target = await openTarget(
      { address: server.address, kind: 'embedded', deviceId: 1, electionId: '1' },
      (error) => {
        throw error;
      },
    );
  });
  afterAll(async () => {
    target.close();
    await server.stop();
    await node.stop('quit');
    rmSync(folder, { recursive: true, force: true });
  });

  test.each(cases.map((c) => [`${c.name}, as ${c.direction}`, c] as const))('%s', async (_, c) => {
    const stream = path.join(folder, 'stream.bin');
    writeFileSync(stream, conformanceStream(c));
    const { node: driver, failedRows } = await replayStream(stream, 'end', target);
    expect(failedRows).toBe(0);
    const ports = new Map([...driver.names.ports].map(([port, name]) => [name, port]));
    const spec = parseSpec(node.running()!.text);
    for (const group of independentPackets(c.packets)) {
      const out = await node.host.withClient(async (client) => {
        const description = await client.describe(Which.running, spec);
        for (const learner of spec.learners.keys()) await client.flushLearned(description, learner);
        return client.inject(
          group.map(({ packet, from }) => ({
            port: ports.get(from)!,
            frame: frameAt(ports.get(from)!, packet),
          })),
        );
      });
      expect(out.map((frames) => (frames.length > 0 ? 'allow' : 'deny'))).toEqual(
        group.map((packet) => packet.expected),
      );
    }
  });
});

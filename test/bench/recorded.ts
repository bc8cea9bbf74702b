/** Measurements over the recordings 08-scale (47,240 frames) and, for --quick, 08s-scale-small. */
import { PassThrough } from 'node:stream';
import { createFelixLink, type FelixBatch } from '../../src/driver/felix/felix-link';
import { createFelixSession, type FelixSession } from '../../src/driver/felix/felix-session';
import { countByTable, createNode } from '../../src/driver/node';
import { createPlacement } from '../../src/driver/placement';
import { createInterpreter } from '../../src/p4switch/interpreter/interpreter';
import { parseSpec } from '../../src/p4switch/spec/parser';
import { buildCatalogue } from '../../src/p4target/catalogue';
import { encodeUpdate } from '../../src/p4target/encode-update';
import { loadP4DpdkPipeline, P4_DPDK_ORDER } from '../../src/p4target/p4-dpdk/adapter';
import { planWrites } from '../../src/p4target/plan';
import { RowTracker } from '../../src/p4target/row-tracker';
import { activeWorkloads, endpointRows } from '../../src/translators/endpoints';
import { createPolicyCompiler } from '../../src/translators/policy/compiler';
import { frameAt } from '../support/frames';
import { parsePacketLine } from '../../src/packet/describe';
import { startEmbeddedTarget } from '../../src/cli/embedded';
import { EMBEDDED_PORTS } from '../../src/cli/stream';
import { recording, report, startSwitchProcess, timed } from './support';

const PORTS = EMBEDDED_PORTS;

/** Steps of 08-scale.md: name, last frame. */
const STEPS = [
  ['remote-churn', 22_684],
  ['mixed-pod-churn', 33_858],
  ['policy-churn', 34_540],
  ['everything-churn', 40_477],
  ['burst', 45_173],
  ['tier-flip', 45_364],
  ['delete-all-policies', 47_239],
] as const;

function frames(quick: boolean): readonly Uint8Array[] {
  return recording(quick ? '08s-scale-small.bin' : '08-scale.bin.xz');
}

/** Feeds the snapshot, up to InSync. @returns the number of the next frame */
function feedSnapshot(session: FelixSession, all: readonly Uint8Array[]): number {
  let at = 0;
  while (!session.model.inSync) session.push(all[at++]!);
  return at;
}

/** The stages by themselves, without a target. */
export async function stages(quick: boolean): Promise<never> {
  const all = frames(quick);
  const session = createFelixSession();
  const [decode, messages] = await timed(() => feedSnapshot(session, all));
  const endpoints = createPlacement(PORTS.firstPod).place(activeWorkloads(session.model));
  const compiler = createPolicyCompiler();
  const [compile, compiled] = await timed(() => compiler.compile(session.model, endpoints));
  const [again] = await timed(() => compiler.compile(session.model, endpoints));
  const tracker = new RowTracker(P4_DPDK_ORDER.tables.map((t) => t.table));
  const [plan, planned] = await timed(() => {
    for (const row of compiled.rows.values()) tracker.setDesired(row);
    for (const row of endpointRows(session.model, endpoints, PORTS).rows) tracker.setDesired(row);
    return planWrites({
      delta: tracker.delta(),
      actual: tracker.actual,
      desired: tracker.desired,
      order: P4_DPDK_ORDER,
      canModify: true,
      crossComplete: false,
      closeReason: '',
    });
  });
  const catalogue = buildCatalogue(loadP4DpdkPipeline().p4info);
  const updates = planned.phases.flatMap((phase) => phase.updates);
  const [encode] = await timed(() => {
    for (const { type, row } of updates) encodeUpdate(catalogue, type, row);
  });
  const rows = [...tracker.desired.values()].flatMap((table) => [...table.values()]);
  const tables = Object.fromEntries([...countByTable(rows)].map(([t, n]) => [`rows ${t}`, n]));
  report({ messages, decode, compile, 'compile again': again, plan, encode, rows: rows.length, ...tables });
}

/** Driver and switch in processes of their own; the figures of CPU and memory are the driver's. */
export async function snapshot(quick: boolean): Promise<never> {
  const all = frames(quick);
  const { target, peak, stop } = await startSwitchProcess();
  const node = await createNode({ reconciler: target.reconciler, ports: PORTS });
  const session = createFelixSession();
  const [total, [decode, result]] = await timed(async () => {
    const [seconds] = await timed(() => feedSnapshot(session, all));
    return [seconds, await node.program(session.model)] as const;
  });
  const { written, failed } = result.applied;
  const program = total - decode;
  const switchPeak = peak();
  stop();
  report({
    total,
    decode,
    'compile, plan, write': program,
    rows: written,
    'rows/s': Math.round(written / program),
    failed: failed.size,
    'switch peak MB': switchPeak,
  });
}

/**
 * The link's input is given all messages of a step at once, as fast as they can be read; batches are those that the link makes of what
 * comes while the target is written. With `atOnce` all steps are one; the recording's bytes, some 17 MB, count as the driver's memory.
 */
export async function churn(quick: boolean, atOnce: boolean): Promise<never> {
  const all = frames(quick);
  const figures: Record<string, number> = {};
  const steps = quick || atOnce ? ([['everything', all.length - 1]] as const) : STEPS;
  const { target, peak, stop } = await startSwitchProcess();
  const node = await createNode({ reconciler: target.reconciler, ports: PORTS });
  const input = new PassThrough();
  const link = createFelixLink({ input, endsNormally: true });
  const batches = link[Symbol.asyncIterator]();
  /** Programs what comes up to a frame. @returns rows and batches */
  const until = async (last: number): Promise<readonly [number, number]> => {
    let rows = 0;
    for (let count = 1; ; count++) {
      const { value: batch } = (await batches.next()) as IteratorYieldResult<FelixBatch>;
      if (batch.inSync) rows += (await node.program(link.model)).applied.written;
      if (batch.frame >= last) return [rows, count];
    }
  };
  let at = feedSnapshot(createFelixSession(), all);
  input.write(Buffer.concat(all.slice(0, at)));
  await until(at - 1);
  for (const [name, last] of steps) {
    const messages = last + 1 - at;
    input.write(Buffer.concat(all.slice(at, last + 1)));
    const before = process.cpuUsage();
    const [seconds, [written, count]] = await timed(() => until(last));
    const { user, system } = process.cpuUsage(before);
    at = last + 1;
    figures[`${name} messages`] = messages;
    figures[`${name} batches`] = count;
    figures[`${name} messages/s`] = Math.round(messages / seconds);
    figures[`${name} messages/CPU s`] = Math.round(messages / ((user + system) / 1e6));
    figures[`${name} rows/message`] = Number((written / messages).toFixed(2));
    process.stderr.write(`  ${name}: ${messages} messages, ${seconds.toFixed(1)} s, ${written} rows\n`);
  }
  figures['switch peak MB'] = peak();
  target.close();
  stop();
  report(figures);
}

/** Packets through the interpreter, on the policies of 02-policy: new ones each, so that every one walks the diagrams. */
export async function packets(quick: boolean): Promise<never> {
  const embedded = await startEmbeddedTarget();
  const node = await createNode({ reconciler: embedded.target.reconciler, ports: PORTS });
  const session = createFelixSession();
  feedSnapshot(session, recording('02-policy.bin'));
  await node.program(session.model);
  const { deviceConfig } = loadP4DpdkPipeline();
  const [parse] = await timed(() =>
    createInterpreter(parseSpec(Buffer.from(deviceConfig).toString('utf8')), { now: () => 0 }),
  );
  const count = quick ? 2_000 : 50_000;
  const line = (sport: number): string =>
    `{"id":1,"from":"uplink","src":"10.65.1.10","dst":"10.65.0.10","proto":"tcp","sport":${sport},"dport":8443}`;
  const built = Array.from({ length: count }, (_, i) =>
    frameAt(PORTS.uplink, parsePacketLine(line(1024 + (i % 60_000)), 1).packet),
  );
  const [seconds] = await timed(() => {
    for (const frame of built) embedded.engine.process(PORTS.uplink, frame, false);
  });
  report({ packets: count, 'packets/s': Math.round(count / seconds), 'parse and compile the spec': parse });
}

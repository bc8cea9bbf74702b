import { readFileSync } from 'node:fs';
import { CalicoP4Error } from '../errors';
import { countByTable } from '../driver/node';
import { formatPacket, parsePacketFile, type PacketLine } from '../packet/describe';
import { workloadKey } from '../model/model';
import { logHits } from '../driver/log-rules';
import { describeStep } from '../translators/policy/outcomes';
import { startEmbeddedTarget, type EmbeddedTarget } from './embedded';
import { sendPacket } from './packets';
import { parseStopAt, replayStream, type ReplayedStream } from './stream';
import { packetVerdict, type PacketVerdict } from './verdict';

export interface ReplayOptions {
  readonly packets?: string;
  readonly at: string;
  readonly json?: boolean;
  /** The switch behaves as infrap4d does, and the driver as it does there. */
  readonly strict?: boolean;
  /** Name of the interface at the uplink. */
  readonly uplink?: string;
}

/**
 * `calico-p4 replay`: the driver against the embedded switch, then packets. With --json, stdout has one result line a packet; without
 * packets, one line that sums up.
 */
export async function replay(
  stream: string,
  options: ReplayOptions,
  print: (line: string) => void,
): Promise<void> {
  const at = parseStopAt(options.at);
  const packets = options.packets === undefined ? [] : parsePacketFile(readPackets(options.packets));
  const embedded = await startEmbeddedTarget(options.strict === true ? 'infrap4d' : 'specification');
  try {
    const replayed = await replayStream(stream, at, embedded.target, options.uplink);
    if (options.json !== true) printSummary(replayed, stream, print);
    else if (options.packets === undefined) print(JSON.stringify(summary(replayed)));
    for (const line of packets) {
      const verdict = packetVerdict(
        sendPacket(embedded.engine, replayed.node.names, line),
        replayed.node.names,
      );
      print(options.json === true ? JSON.stringify({ id: line.id, ...verdict }) : verdictText(line, verdict));
    }
    if (options.json !== true && packets.length > 0) await printLogHits(embedded, replayed, print);
    if (replayed.failedRows > 0) {
      throw new CalicoP4Error(
        'TARGET_WRITE_FAILED',
        `${replayed.failedRows} rows could not be written: see the log above`,
      );
    }
  } finally {
    await embedded.stop();
  }
}

/** What the driver logs of rules with action log, from the counters on the target. */
async function printLogHits(
  embedded: EmbeddedTarget,
  { node }: ReplayedStream,
  print: (line: string) => void,
): Promise<void> {
  const counts = await embedded.target.rows.readCounter('outcomes');
  for (const { rule, packets } of logHits(node.names.outcomes, new Map(), counts)) {
    print(`log rule: ${describeStep(rule)} hit by ${packets} packets`);
  }
}

function readPackets(path: string): string {
  try {
    return readFileSync(path === '-' ? 0 : path, 'utf8');
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new CalicoP4Error('USAGE', `can not read the packet file ${path}: ${why}`, { path }, { cause });
  }
}

function summary({
  node,
  model,
  forms,
  frames,
  writes,
  failedRows,
  problems,
  seconds,
}: ReplayedStream): object {
  return {
    forms,
    frames,
    inSync: model.inSync,
    workloads: model.workloads.size,
    policies: model.policies.size,
    profiles: model.profiles.size,
    ipSets: model.ipSets.size,
    rows: Object.fromEntries(countByTable(node.rows)),
    writes,
    failedRows,
    problems,
    seconds: Number(seconds.toFixed(3)),
  };
}

function printSummary(replayed: ReplayedStream, stream: string, print: (line: string) => void): void {
  const { node, model, forms, frames, writes, problems, seconds } = replayed;
  print(
    `${stream}: ${frames} frames of the contract of Calico ${forms.join(' or ')}${model.inSync ? '' : ', not in sync: nothing is enforced'}`,
  );
  print('');
  print('endpoints');
  for (const workload of model.workloads.values()) {
    const nets = workload.ipv4Nets.concat(workload.ipv6Nets).join(' ');
    print(
      `  ${workload.name.padEnd(16)} ${workloadKey(workload.id).padEnd(36)} ${nets}${workload.state === 'active' ? '' : ` (${workload.state})`}`,
    );
    for (const tier of workload.tiers) {
      const list = (ids: readonly { kind: string; namespace: string; name: string }[]): string =>
        ids.length === 0
          ? '-'
          : ids
              .map(
                (id) =>
                  `${id.namespace === '' ? '' : `${id.namespace}/`}${id.name}${id.kind.startsWith('Staged') ? ' (staged)' : ''}`,
              )
              .join(', ');
      print(
        `    tier ${tier.name} (${tier.defaultAction}): ingress ${list(tier.ingressPolicies)}; egress ${list(tier.egressPolicies)}`,
      );
    }
    print(`    profiles: ${workload.profileIds.join(', ') || '-'}`);
  }
  print('');
  print(`policies ${model.policies.size}, profiles ${model.profiles.size}, IP sets ${model.ipSets.size}`);
  print('');
  print('rows by table');
  for (const [table, count] of countByTable(node.rows))
    print(`  ${table.padEnd(18)} ${String(count).padStart(7)}`);
  print(`  ${'total'.padEnd(18)} ${String(node.rows.length).padStart(7)}`);
  print('');
  print(
    `written: ${writes.inserted} inserts, ${writes.modified} modifies, ${writes.deleted} deletes, in ${seconds.toFixed(2)} s from the start of the stream`,
  );
  for (const problem of problems) print(`closed instead of done: ${problem}`);
  print('');
}

function verdictText(line: PacketLine, verdict: PacketVerdict): string {
  const { policy } = verdict;
  const by =
    policy === null
      ? verdict.stage
      : policy.rule < 0
        ? `${verdict.stage}: end of tier ${policy.tier}`
        : `${verdict.stage}: ${policy.tier === '' ? '' : `tier ${policy.tier}, `}${policy.kind} ${policy.namespace === '' ? '' : `${policy.namespace}/`}${policy.name} rule ${policy.rule}`;
  const way =
    verdict.verdict === 'allow'
      ? `allow  ${line.from} -> ${verdict.out ?? '?'}${verdict.tunnel === undefined ? '' : ` (${verdict.tunnel.kind})`}`
      : `deny   ${line.from}`;
  return `${String(line.id).padEnd(8)} ${way.padEnd(40)} ${formatPacket(line.packet)}   [${by}]`;
}

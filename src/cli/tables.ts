import { CalicoP4Error } from '../errors';
import { NO_NAMES, readNames, type TargetNames } from '../driver/names';
import { openTargetToRead } from '../driver/target';
import { readTables, type TableContents } from '../p4target/live-rows';
import { P4_DPDK_ORDER } from '../p4target/p4-dpdk/adapter';
import type { Row } from '../translators/rows';
import { startEmbeddedTarget } from './embedded';
import { rowWords } from './row-words';
import { packetsByRule } from '../driver/log-rules';
import { parseDeviceId } from './switch';
import { reasonName } from './verdict';
import { parseStopAt, replayStream } from './stream';

/** What `tables` and `trace` look at: a live target, or one that a recorded stream makes. */
export interface SourceOptions {
  readonly stream?: string;
  readonly at: string;
  readonly target?: string;
  readonly deviceId: string;
  readonly names: string;
}

export interface TablesOptions extends SourceOptions {
  readonly table?: string;
  readonly fill?: boolean;
  readonly counters?: boolean;
  readonly json?: boolean;
}

/** `calico-p4 tables`. */
export async function tables(options: TablesOptions, print: (line: string) => void): Promise<void> {
  if (options.counters === true) {
    await counters(options, print);
    return;
  }
  const { contents, names } = await readSource(options, selectTables(options.table));
  if (options.json === true) {
    for (const { rows } of contents) for (const row of rows) print(JSON.stringify(plain(row, names)));
    return;
  }
  for (const { table, rows, entries, size } of contents) {
    print(
      `${table.padEnd(18)} ${String(entries).padStart(7)} of ${size} (${((100 * entries) / size).toFixed(1)} %)`,
    );
    if (options.fill === true) continue;
    for (const row of rows) print(`  ${rowWords(row, names)}`);
  }
}

/** Packets by Calico's rules, and by what became of them. */
async function counters(options: TablesOptions, print: (line: string) => void): Promise<void> {
  if (options.target === undefined)
    throw new CalicoP4Error('USAGE', '--counters needs a live target: give --target ADDRESS');
  const live = await openTargetToRead(readOnly(options.target, options.deviceId));
  try {
    const names = namesOrNone(options.names);
    for (const { rule, packets } of packetsByRule(names.outcomes, await live.rows.readCounter('outcomes'))) {
      print(`${String(packets).padStart(12)}  ${rule}`);
    }
    print('');
    for (const [reason, packets] of [...(await live.rows.readCounter('reasons'))].sort(([a], [b]) => a - b)) {
      print(`${String(packets).padStart(12)}  ${reasonName(reason)}`);
    }
  } finally {
    live.close();
  }
}

function selectTables(table: string | undefined): readonly string[] {
  const all = P4_DPDK_ORDER.tables.map((known) => known.table);
  if (table === undefined) return all;
  if (all.includes(table)) return [table];
  throw new CalicoP4Error('USAGE', `--table ${table}: there are ${all.join(', ')}`);
}

/** @throws CalicoP4Error USAGE unless one of --stream and --target is given */
export async function readSource(
  options: SourceOptions,
  wanted: readonly string[],
): Promise<{ readonly contents: readonly TableContents[]; readonly names: TargetNames }> {
  if (options.stream !== undefined) {
    const embedded = await startEmbeddedTarget();
    try {
      const { node } = await replayStream(options.stream, parseStopAt(options.at), embedded.target);
      return { contents: await readTables(embedded.target.rows, wanted), names: node.names };
    } finally {
      await embedded.stop();
    }
  }
  if (options.target === undefined)
    throw new CalicoP4Error('USAGE', 'give --stream FILE or --target ADDRESS');
  const live = await openTargetToRead(readOnly(options.target, options.deviceId));
  try {
    return { contents: await readTables(live.rows, wanted), names: namesOrNone(options.names) };
  } finally {
    live.close();
  }
}

/** Reading is the same for every kind of target. */
function readOnly(address: string, deviceId: string): Parameters<typeof openTargetToRead>[0] {
  return { address, kind: 'embedded', deviceId: parseDeviceId(deviceId), electionId: '1' };
}

/** Without names the rows are still worth seeing. */
function namesOrNone(path: string): TargetNames {
  try {
    return readNames(path);
  } catch (error) {
    process.stderr.write(
      `calico-p4: ${error instanceof Error ? error.message : String(error)}; numbers are shown instead\n`,
    );
    return NO_NAMES;
  }
}

function plain(row: Row, names: TargetNames): object {
  const text = (value: bigint): string => `0x${value.toString(16)}`;
  return {
    table: row.table,
    match: Object.fromEntries(
      Object.entries(row.match).map(([field, m]) => [
        field,
        m.kind === 'exact'
          ? text(m.value)
          : m.kind === 'lpm'
            ? `${text(m.value)}/${m.prefixLen}`
            : `${text(m.value)}&${text(m.mask)}`,
      ]),
    ),
    ...(row.priority === undefined ? {} : { priority: row.priority }),
    action: row.action,
    params: Object.fromEntries(Object.entries(row.params).map(([name, value]) => [name, text(value)])),
    words: rowWords(row, names),
  };
}

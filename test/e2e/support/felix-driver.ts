import { spawnSync } from 'node:child_process';
import { createServer } from 'node:net';
import path from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { openTargetToRead } from '../../../src/driver/target';
import { createFrameDecoder } from '../../../src/driver/felix/frame-decoder';
import type { Health } from '../../../src/driver/health';
import { readTables } from '../../../src/p4target/live-rows';
import { P4_DPDK_TABLES } from '../../../src/p4target/p4-dpdk/adapter';
import { rowContent, rowKey } from '../../../src/translators/rows';
import { encodeFrames, type Payload } from '../../support/felix-stream';
import { decodeFromDataplane } from '../../support/from-dataplane';
import { ROOT, spawnRunning, start, type Running } from './processes';

/** What the driver is to the test, whatever it is joined by. */
export interface DriverProcess extends Running {
  health(path: 'healthz' | 'readyz'): Promise<Health & { readonly status: number }>;
  /** Waits until /readyz says so, and gives what it says. */
  untilReady(ready: boolean): Promise<Health>;
  /** Values by series, for example `calico_p4_target_primary` or `calico_p4_table_rows{table="local"}`. */
  metrics(): Promise<ReadonlyMap<string, number>>;
  /** Lines of the log with this message. */
  logged(message: string): readonly Readonly<Record<string, unknown>>[];
}

/** The test as Felix. */
export interface FelixEnd {
  /** Sends messages, numbered on from the last ones. */
  send(payloads: readonly Payload[]): void;
  /** The last status of each workload that was reported; `removed` when it was taken back. */
  statuses(): ReadonlyMap<string, string>;
  /** The same of host endpoints. */
  hostStatuses(): ReadonlyMap<string, string>;
  heartbeats(): number;
}

/** The driver as Felix starts it, with the test as Felix. */
export interface FelixDriver extends DriverProcess, FelixEnd {}

export async function startFelixDriver(env: Readonly<Record<string, string>>): Promise<FelixDriver> {
  const driver = await startDriverProcess('calico-p4-felix-driver', [], env, 2);
  return { ...driver, ...felixEnd(driver) };
}

/** The driver beside calico-node, with `CALICO_P4_FELIX_LINK` in `env` saying on which socket it waits for Felix. */
export function startSocketDriver(env: Readonly<Record<string, string>>): Promise<DriverProcess> {
  return startDriverProcess('calico-p4', ['driver'], env, 0);
}

export const BRIDGE = path.join(ROOT, 'native', 'build', 'calico-p4-felix-bridge');

/** The program that Felix starts inside calico-node, with the test as Felix. */
export function startBridge(socket: string): Running & FelixEnd {
  const bridge = spawnRunning(BRIDGE, [socket], { stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'pipe'] });
  return { ...bridge, ...felixEnd(bridge) };
}

/** Builds the bridge, if it is not there. */
export function buildBridge(): void {
  const { status, stderr } = spawnSync('make', ['-C', path.join(ROOT, 'native'), 'bridge'], {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`make -C native bridge: ${stderr}`);
}

function felixEnd({ child }: Running): FelixEnd {
  const statuses = new Map<string, string>();
  const hostStatuses = new Map<string, string>();
  let heartbeats = 0;
  const decoder = createFrameDecoder();
  (child.stdio[4] as Readable).on('data', (chunk: Uint8Array) => {
    for (const bytes of decoder.push(chunk)) {
      const message = decodeFromDataplane(bytes);
      if (message.kind === 'process') heartbeats++;
      if (message.kind === 'workload') statuses.set(message.workload!, message.status!);
      if (message.kind === 'workload-remove') statuses.set(message.workload!, 'removed');
      if (message.kind === 'host') hostStatuses.set(message.host!, message.status!);
      if (message.kind === 'host-remove') hostStatuses.set(message.host!, 'removed');
    }
  });
  const toDriver = child.stdio[3] as Writable;
  for (const stream of [toDriver, child.stdio[4] as Readable]) stream.on('error', () => undefined);
  let sent = 0;
  return {
    send(payloads) {
      toDriver.write(encodeFrames(payloads, sent));
      sent += payloads.length;
    },
    statuses: () => statuses,
    hostStatuses: () => hostStatuses,
    heartbeats: () => heartbeats,
  };
}

async function startDriverProcess(
  program: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  descriptors: number,
): Promise<DriverProcess> {
  const port = await freePort();
  const driver = start(program, args, {
    stdio: ['ignore', 'pipe', 'pipe', ...Array.from({ length: descriptors }, () => 'pipe' as const)],
    env: {
      CALICO_P4_METRICS_LISTEN: `127.0.0.1:${port}`,
      CALICO_P4_NAMES_FILE: '',
      CALICO_P4_JOURNAL_FILE: '',
      CALICO_P4_LOG_LEVEL: 'info',
      CALICO_P4_FELIX_HEARTBEAT_SECONDS: '1',
      ...env,
    },
  });
  const health: DriverProcess['health'] = async (path) => {
    const response = await fetch(`http://127.0.0.1:${port}/${path}`);
    return { ...((await response.json()) as Health), status: response.status };
  };
  return {
    ...driver,
    health,
    async untilReady(ready) {
      const end = Date.now() + 30_000;
      let last: unknown;
      while (Date.now() < end) {
        try {
          const said = await health('readyz');
          last = said;
          if (said.ok === ready) return said;
        } catch (error) {
          last = error;
        }
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      const { stderr } = driver.output();
      throw new Error(`/readyz never said ${ready}: ${JSON.stringify(last)} ${String(last)}\n${stderr}`);
    },
    async metrics() {
      const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
      const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
      return new Map(
        lines.map((line) => {
          const at = line.lastIndexOf(' ');
          return [line.slice(0, at), Number(line.slice(at + 1))];
        }),
      );
    },
    logged(message) {
      return driver
        .output()
        .stderr.split('\n')
        .filter((line) => line.startsWith('{'))
        .map((line) => JSON.parse(line) as Record<string, unknown>)
        .filter((line) => line['message'] === message);
    },
  };
}

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === 'object' && address !== null ? address.port : 0;
}

/** All rows of a target in words, sorted, read by a session that only reads. */
export async function rowsOnTarget(address: string): Promise<string[]> {
  const target = await openTargetToRead({ address, kind: 'embedded', deviceId: 1, electionId: '1' });
  try {
    const tables = await readTables(
      target.rows,
      P4_DPDK_TABLES.map(({ table }) => table),
    );
    return tables.flatMap(({ rows }) => rows.map((row) => `${rowKey(row)} ${rowContent(row)}`)).sort();
  } finally {
    target.close();
  }
}

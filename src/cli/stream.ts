/** Runs the driver against a recorded stream, with the recording in Felix's place. */
import { accessSync, constants, createReadStream } from 'node:fs';
import { CalicoP4Error } from '../errors';
import { createFelixLink } from '../driver/felix/felix-link';
import { createNode, type Node } from '../driver/node';
import { serveFelix } from '../driver/serve';
import type { Target } from '../driver/target';
import { logger } from '../log';
import type { FelixModel } from '../model/model';

/** P4 port numbers of the embedded switch. */
export const EMBEDDED_PORTS = { uplink: 0, host: 1, firstPod: 2 } as const;

/** Where to stop in a stream: after InSync, at its end, or after a frame (numbered from 0). */
export type StopAt = 'insync' | 'end' | number;

export function parseStopAt(text: string): StopAt {
  if (text === 'insync' || text === 'end') return text;
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new CalicoP4Error('USAGE', `--at ${text}: give insync, end, or the number of a frame (from 0)`);
}

export interface ReplayedStream {
  readonly node: Node;
  readonly model: FelixModel;
  /** The contract's form, for example `3.33`; several where the stream does not tell them apart. */
  readonly forms: readonly string[];
  readonly frames: number;
  readonly writes: { readonly inserted: number; readonly modified: number; readonly deleted: number };
  readonly failedRows: number;
  readonly problems: readonly string[];
  readonly seconds: number;
}

/** @throws CalicoP4Error FELIX_*, TARGET_*, USAGE */
export async function replayStream(path: string, at: StopAt, target: Target): Promise<ReplayedStream> {
  requireReadable(path);
  const started = performance.now();
  const link = createFelixLink({
    // Read ahead as the driver does (felix-streams.ts).
    input: createReadStream(path, { highWaterMark: 1024 * 1024 }),
    endsNormally: true,
    ...(at === 'end' ? {} : { until: at === 'insync' ? 'in-sync' : at + 1 }),
  });
  const node = await createNode({ reconciler: target.reconciler, ports: EMBEDDED_PORTS });
  const writes = { inserted: 0, modified: 0, deleted: 0 };
  const problems = new Set<string>();
  let failedRows = 0;
  let frames = 0;
  await serveFelix({
    link,
    node,
    log: logger('driver'),
    heartbeatSeconds: 60,
    onProgrammed({ applied, problems: found }, batch) {
      writes.inserted += applied.inserted;
      writes.modified += applied.modified;
      writes.deleted += applied.deleted;
      failedRows = applied.failed.size;
      frames = (batch?.frame ?? frames - 1) + 1;
      for (const problem of found) problems.add(problem);
    },
  });
  return {
    node,
    model: link.model,
    forms: link.formCandidates().map((form) => form.name),
    frames,
    writes,
    failedRows,
    problems: [...problems],
    seconds: (performance.now() - started) / 1000,
  };
}

/** @throws CalicoP4Error USAGE */
export function requireReadable(path: string): void {
  try {
    accessSync(path, constants.R_OK);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new CalicoP4Error('USAGE', `can not read the stream: ${why}`, { path }, { cause });
  }
}

/**
 * The driver's memory of what the numbers on its target stand for, in a file: with it a restart of the driver, or of Felix with it,
 * writes nothing that has not changed (number-memory.ts).
 *
 * A line is a checksum and a record in JSON. The checksum covers the one of the line before, so that no line can be missing, doubled or in
 * another place:
 *
 * ```
 * 3vZk0… {"journal":1,"of":"unix:/run/p4rt.sock 1 9f2c…"}          what it is about: target, device, pipeline
 * Tq81x… {"note":{"node":[12,"pX3…",13,"a9f…"],"label":[…]}}       before rows with these numbers are written
 * 7d0Me… {"drop":{"node":[12]},"rows":"5be0…"}                     the target holds exactly these rows (row-digest.ts)
 * ```
 *
 * Lines are appended without waiting for the disk. A process that is killed leaves a beginning of what it wrote: a line that is cut at the
 * end counts for nothing, and what it was about was not written to the target yet. Where the machine loses the end of the file,
 * `rows` is not what the target holds, and the numbers are not trusted. When the lines have become many, the file is written anew and
 * renamed.
 */
import { createHash } from 'node:crypto';
import {
  closeSync,
  fchmodSync,
  fstatSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { z } from 'zod';
import type { Logger } from '../log';
import type { NumberMemory, NumberSpace } from '../translators/policy/number-memory';

export interface Journal extends NumberMemory {
  /** RowDigest of the rows that the numbers were those of, at the last `settle`; undefined: of none. */
  readonly rows: string | undefined;
  /** Keeps what was noted, before rows are written that say it. */
  save(): void;
  /** The target holds exactly the rows with this digest: what was dropped is gone. */
  settle(rows: string): void;
  close(): void;
}

export interface JournalOptions {
  readonly path: string;
  /** Target, device and pipeline: a journal of others is none. */
  readonly of: string;
  readonly log: Logger;
}

const SPACES = [
  'node',
  'outcome',
  'label',
  'program-page',
  'dport',
  'sport',
  'dport-page',
  'sport-page',
  'endpoint',
] as const satisfies readonly NumberSpace[];

type State = ReadonlyMap<NumberSpace, Map<number, string>>;

/** Bytes beyond which a file is no journal; a node with all tables full takes a tenth of it. */
const FILE_MAX = 256 * 1024 * 1024;
/** The file may grow to so many times what it takes when written anew, and by so many bytes at least. */
const GROWTH = 2;
const GROWTH_MIN = 1024 * 1024;
const CONTENT_MAX = 64;

/** Never throws: without a file to be trusted it begins with nothing, and one that can not be written is said once, and then done without. */
export function openJournal({ path, of, log }: JournalOptions): Journal {
  const found = readJournal(path, of);
  if (found.kind === 'refused') {
    log.warn('the journal is not used, so that more rows are written than have changed', {
      journal: path,
      reason: found.reason,
    });
  }
  const state: State = found.kind === 'good' ? found.state : emptyState();
  let rows = found.kind === 'good' ? found.rows : undefined;
  const remembered = new Map(SPACES.map((space) => [space, new Map(state.get(space))]));
  const noted = new Map<NumberSpace, Set<number>>();
  const dropped = new Map<NumberSpace, Set<number>>();

  let file: { readonly fd: number; chain: string; bytes: number; readonly fresh: number } | undefined;
  let failed = false;

  const attempt = (write: () => void): void => {
    if (failed) return;
    try {
      write();
    } catch (error) {
      failed = true;
      if (file !== undefined) closeSync(file.fd);
      file = undefined;
      log.warn(
        'can not write the journal: after a restart of the driver more rows are written than have changed',
        {
          journal: path,
          reason: error instanceof Error ? error.message : String(error),
        },
      );
    }
  };

  /** All that is known, in a file of its own, under the name of the old one. */
  const writeAnew = (): void => {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    const fresh = `${path}.new`;
    const fd = openSync(fresh, 'w', 0o600);
    try {
      fchmodSync(fd, 0o600);
      const lines = linesOf('', [
        { journal: 1, of },
        { note: Object.fromEntries(SPACES.map((space) => [space, [...state.get(space)!].flat()])) },
        ...(rows === undefined ? [] : [{ rows }]),
      ]);
      writeAll(fd, lines.text);
      fsyncSync(fd);
      renameSync(fresh, path);
      if (file !== undefined) closeSync(file.fd);
      file = { fd, chain: lines.chain, bytes: lines.text.length, fresh: lines.text.length };
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  };

  const append = (record: JournalRecord): void => {
    attempt(() => {
      if (file === undefined) {
        writeAnew();
        return;
      }
      const { text, chain } = linesOf(file.chain, [record]);
      writeAll(file.fd, text);
      file.chain = chain;
      file.bytes += text.length;
    });
  };

  return {
    get rows() {
      return rows;
    },
    remembered: (space) => remembered.get(space)!,
    note(space, number, content) {
      dropped.get(space)?.delete(number);
      const own = state.get(space)!;
      if (own.get(number) === content) return;
      own.set(number, content);
      addTo(noted, space, number);
    },
    drop(space, number) {
      if (state.get(space)!.has(number)) addTo(dropped, space, number);
    },
    save() {
      if (noted.size === 0) return;
      const note: Partial<Record<NumberSpace, (number | string)[]>> = {};
      for (const [space, numbers] of noted) {
        note[space] = [...numbers].flatMap((number) => [number, state.get(space)!.get(number)!]);
      }
      noted.clear();
      append({ note });
    },
    settle(now) {
      if (now === rows && dropped.size === 0 && file !== undefined) return;
      const drop: Partial<Record<NumberSpace, number[]>> = {};
      for (const [space, numbers] of dropped) {
        if (numbers.size > 0) drop[space] = [...numbers];
        for (const number of numbers) state.get(space)!.delete(number);
      }
      dropped.clear();
      rows = now;
      // It is all in use now, or gone.
      for (const space of remembered.values()) space.clear();
      append({ drop, rows });
      if (file !== undefined && file.bytes > GROWTH * file.fresh + GROWTH_MIN) attempt(writeAnew);
    },
    close() {
      if (file !== undefined) closeSync(file.fd);
      file = undefined;
      failed = true;
    },
  };
}

type Reading =
  | { readonly kind: 'absent' }
  | { readonly kind: 'refused'; readonly reason: string }
  | { readonly kind: 'good'; readonly state: State; readonly rows: string | undefined };

function readJournal(path: string, of: string): Reading {
  const refused = (reason: string): Reading => ({ kind: 'refused', reason });
  let text: string;
  try {
    const fd = openSync(path, 'r');
    try {
      const { size, mode, uid } = fstatSync(fd);
      const own = process.getuid?.();
      if ((mode & 0o022) !== 0 || (own !== undefined && uid !== own && uid !== 0))
        return refused('others may write it');
      if (size > FILE_MAX) return refused(`it has ${size} bytes`);
      text = readFileSync(fd, 'latin1');
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { kind: 'absent' };
    return refused(error instanceof Error ? error.message : String(error));
  }

  const state = emptyState();
  let rows: string | undefined;
  let chain = '';
  let count = 0;
  for (let at = 0; at < text.length; count++) {
    const end = text.indexOf('\n', at);
    // The process ended while it wrote this.
    if (end < 0) break;
    const line = text.slice(at, end);
    at = end + 1;
    const json = line.slice(CHECKSUM_LENGTH + 1);
    if (line[CHECKSUM_LENGTH] !== ' ' || checksum(chain, json) !== line.slice(0, CHECKSUM_LENGTH))
      return refused(`line ${count + 1} is damaged`);
    chain = line.slice(0, CHECKSUM_LENGTH);
    const record = parse(json);
    if (record === undefined || (count === 0) !== 'journal' in record)
      return refused(`line ${count + 1} is none of this version's`);
    if ('journal' in record) {
      if (record.of !== of) return refused('it is about another target, device or pipeline');
    } else if ('note' in record) {
      for (const space of SPACES) {
        const some = record.note[space] ?? [];
        for (let i = 0; i < some.length; i += 2) state.get(space)!.set(Number(some[i]), String(some[i + 1]));
      }
    } else {
      for (const space of SPACES) {
        for (const number of record.drop?.[space] ?? []) state.get(space)!.delete(number);
      }
      rows = record.rows;
    }
  }
  return count === 0 ? refused('it has no beginning') : { kind: 'good', state, rows };
}

const number = z.number().int().min(0);
const notes = z
  .array(z.union([number, z.string().max(CONTENT_MAX)]))
  .refine(
    (some) =>
      some.length % 2 === 0 && some.every((item, i) => typeof item === (i % 2 === 0 ? 'number' : 'string')),
  );
const spaceName = z.enum(SPACES);
const recordSchema = z.union([
  z.strictObject({ journal: z.literal(1), of: z.string() }),
  z.strictObject({ note: z.partialRecord(spaceName, notes) }),
  z.strictObject({ drop: z.partialRecord(spaceName, z.array(number)).optional(), rows: z.string() }),
]);
type JournalRecord = z.infer<typeof recordSchema>;

function parse(json: string): JournalRecord | undefined {
  try {
    return recordSchema.parse(JSON.parse(json));
  } catch {
    return undefined;
  }
}

const CHECKSUM_LENGTH = 16;

function checksum(before: string, json: string): string {
  return createHash('sha256').update(`${before} ${json}`).digest('base64').slice(0, CHECKSUM_LENGTH);
}

function linesOf(
  before: string,
  records: readonly JournalRecord[],
): { readonly text: string; readonly chain: string } {
  let chain = before;
  let text = '';
  for (const record of records) {
    const json = JSON.stringify(record);
    chain = checksum(chain, json);
    text += `${chain} ${json}\n`;
  }
  return { text, chain };
}

function writeAll(fd: number, text: string): void {
  const bytes = Buffer.from(text, 'latin1');
  for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at);
}

function emptyState(): State {
  return new Map(SPACES.map((space) => [space, new Map<number, string>()]));
}

function addTo(sets: Map<NumberSpace, Set<number>>, space: NumberSpace, number: number): void {
  const own = sets.get(space);
  if (own === undefined) sets.set(space, new Set([number]));
  else own.add(number);
}

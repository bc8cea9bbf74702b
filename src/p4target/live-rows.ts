import { setImmediate as nextTurn } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import { CalicoP4Error } from '../errors';
import { rowKey, type Row } from '../translators/rows';
import type { Catalogue } from './catalogue';
import type { P4Client } from './client';
import { decodeEntry } from './decode';
import { emptyEntry, encodeKey } from './encode';
import { encodeUpdate } from './encode-update';
import { isCode, isServiceError, updateOutcomes } from './grpc-errors';
import { decodeMeter, encodeMeterUpdate, meterKey } from './meter-rows';
import type { RowUpdate, UpdateType } from './plan';
import type { RowTarget, UpdateOutcome } from './row-target';
import type { TargetTraits } from './target-traits';

/** A target's tables as rows, through P4Runtime: what the reconciler writes to, and `tables` and `trace` read from. */
export class LiveRows implements RowTarget {
  constructor(
    readonly client: P4Client,
    readonly catalogue: Catalogue,
    readonly traits: TargetTraits,
  ) {}

  /** A row that does not fit the pipeline is not sent, and gets INVALID_ARGUMENT, as a careful server would answer. */
  async write(updates: readonly RowUpdate[]): Promise<readonly UpdateOutcome[]> {
    const outcomes = new Array<UpdateOutcome>(updates.length);
    // Two batches at most are in memory as bytes: one is on its way while the next is made.
    let onItsWay: Promise<void> = Promise.resolve();
    for (let at = 0; at < updates.length;) {
      const sent: number[] = [];
      const encoded: Uint8Array[] = [];
      for (; at < updates.length && encoded.length < this.client.maxBatch; at++) {
        const { type, row } = updates[at]!;
        try {
          encoded.push(this.#encode(type, row));
          sent.push(at);
        } catch (error) {
          if (!(error instanceof CalicoP4Error)) throw error;
          outcomes[at] = { ok: false, code: status.INVALID_ARGUMENT, message: error.message };
        }
      }
      await onItsWay;
      onItsWay = this.client.write(encoded).then((got) => {
        for (const [n, i] of sent.entries()) outcomes[i] = got[n]!;
      });
      // It is awaited below, or after the next batch is made, which may throw.
      onItsWay.catch(() => undefined);
      await nextTurn();
    }
    await onItsWay;
    return outcomes;
  }

  #encode(type: UpdateType, row: Row): Uint8Array {
    const meter = this.catalogue.meter(row.table);
    return meter === undefined
      ? encodeUpdate(this.catalogue, type, row)
      : encodeMeterUpdate(meter, type, row);
  }

  async readTable(table: string): Promise<readonly Row[]> {
    const meter = this.catalogue.meter(table);
    if (meter !== undefined) {
      if (!this.traits.meters) return [];
      const pattern = { meterId: meter.id, index: undefined, config: undefined, counterData: undefined };
      try {
        const cells = await this.client.readMeter(pattern, table);
        return cells.flatMap((cell) => decodeMeter(meter, cell) ?? []);
      } catch (error) {
        // Who only looks does not know what kind of target it is.
        if (said(error, status.UNIMPLEMENTED)) return [];
        throw error;
      }
    }
    const info = this.catalogue.table(table);
    const entries = await this.client.readEntries(emptyEntry(info.id), info.name);
    return entries.map((entry) => decodeEntry(this.catalogue, entry));
  }

  async readRow(row: Row): Promise<Row | undefined> {
    const meter = this.catalogue.meter(row.table);
    if (meter !== undefined) {
      if (!this.traits.meters) return undefined;
      const [cell] = await this.client.readMeter(meterKey(meter, row), row.table);
      return cell && decodeMeter(meter, cell);
    }
    const key = rowKey(row);
    const pattern = encodeKey(this.catalogue, row);
    // A pattern without any field is one for many entries, and some servers filter those by table only.
    if (pattern.match.length === 0) {
      return (await this.readTable(row.table)).find((found) => rowKey(found) === key);
    }
    try {
      const entries = await this.client.readEntries(pattern, row.table);
      return entries
        .map((entry) => decodeEntry(this.catalogue, entry))
        .find((found) => rowKey(found) === key);
    } catch (error) {
      // Some servers have no answer for an entry that is not there, but an error.
      if (said(error, status.NOT_FOUND)) return undefined;
      throw error;
    }
  }

  tableSize(table: string): number {
    return tableSize(this.catalogue, table);
  }

  /** Packets counted, by index; indices at 0 are left out. */
  readCounter(name: string): Promise<Map<number, bigint>> {
    return this.client.readCounter(this.catalogue.counter(name).id, name);
  }
}

/** Of a table or a meter. @throws CalicoP4Error PIPELINE_MISMATCH */
export function tableSize(catalogue: Catalogue, table: string): number {
  return catalogue.meter(table)?.size ?? catalogue.table(table).size;
}

/** Whether that is what became of the one thing that was asked for. */
function said(error: unknown, code: status): boolean {
  const cause = error instanceof CalicoP4Error ? error.cause : undefined;
  const outcome = isServiceError(cause) ? updateOutcomes(cause, 1)?.[0] : undefined;
  return outcome !== undefined && !outcome.ok && isCode(outcome.code, code);
}

/** One table's rows and how full it is. */
export interface TableContents {
  readonly table: string;
  readonly rows: readonly Row[];
  readonly entries: number;
  readonly size: number;
}

/**
 * The rows of `tables`, read one table after the other: some targets can not read all tables at once when packets make
 * entries in one of them.
 *
 * @throws CalicoP4Error TARGET_UNREACHABLE, PIPELINE_MISMATCH
 */
export async function readTables(target: RowTarget, tables: readonly string[]): Promise<TableContents[]> {
  const contents: TableContents[] = [];
  for (const table of tables) {
    const rows = await target.readTable(table);
    contents.push({ table, rows, entries: rows.length, size: target.tableSize(table) });
  }
  return contents;
}

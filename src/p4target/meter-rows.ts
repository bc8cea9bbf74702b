import { Update, Update_Type, type MeterConfig, type MeterEntry } from 'p4runtime-js-bindings';
import { CalicoP4Error } from '../errors';
import type { Row } from '../translators/rows';
import type { MeterInfo } from './catalogue';
import type { UpdateType } from './plan';
import { entryText } from './row-text';

/** What a P4Runtime message has room for. */
const MOST = (1n << 63n) - 1n;
const PARAMS = ['rate', 'burst', 'peak_rate', 'peak_burst'] as const;

/**
 * An update of a row of a meter (MeterInfo) as bytes. Cells of meters are there always: each type of update is a MODIFY, and a delete
 * is one without a config.
 *
 * @throws CalicoP4Error PIPELINE_MISMATCH: the row is none of a meter's
 */
export function encodeMeterUpdate(meter: MeterInfo, type: UpdateType, row: Row): Uint8Array {
  const value = meterKey(meter, row);
  const entry = type === 'delete' ? value : { ...value, config: configOf(row) };
  return Update.encode({
    type: Update_Type.MODIFY,
    entity: { entity: { $case: 'meterEntry', value: entry } },
  }).finish();
}

/** The entry that names the row's cell: for reading it. Errors as encodeMeterUpdate. */
export function meterKey({ id, size }: MeterInfo, row: Pick<Row, 'table' | 'match'>): MeterEntry {
  const { index, ...rest } = row.match;
  if (index?.kind !== 'exact' || Object.keys(rest).length > 0) throw misfit(row, 'its key is an exact index');
  if (index.value < 0n || index.value >= BigInt(size)) throw misfit(row, `there are ${size} cells`);
  return { meterId: id, index: { index: index.value }, config: undefined, counterData: undefined };
}

/** undefined for a cell at its default. */
export function decodeMeter({ name }: MeterInfo, { index, config }: MeterEntry): Row | undefined {
  if (config === undefined) return undefined;
  return {
    table: name,
    match: { index: { kind: 'exact', value: index?.index ?? 0n } },
    action: 'limit',
    params: { rate: config.cir, burst: config.cburst, peak_rate: config.pir, peak_burst: config.pburst },
  };
}

function configOf(row: Row): MeterConfig {
  const [cir, cburst, pir, pburst] = PARAMS.map((name) => {
    const value = row.params[name];
    if (value === undefined || value < 1n || value > MOST)
      throw misfit(row, `${name} is a number from 1 to 2^63 - 1`);
    return value;
  }) as [bigint, bigint, bigint, bigint];
  if (row.action !== 'limit' || Object.keys(row.params).length !== PARAMS.length)
    throw misfit(row, 'its action is limit(rate, burst, peak_rate, peak_burst)');
  return { cir, cburst, pir, pburst, eburst: 0n };
}

function misfit(row: Pick<Row, 'table' | 'match'>, why: string): CalicoP4Error {
  return new CalicoP4Error(
    'PIPELINE_MISMATCH',
    `row ${entryText(row)} does not fit the meter ${row.table}: ${why}`,
    { table: row.table },
  );
}

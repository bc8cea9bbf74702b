import { CalicoP4Error } from '../../errors';
import type { SpecAction, SpecKey } from '../engine';
import type { Learner, Spec, Table } from '../spec/ast';
import { writeBig } from './memory';
import type { CompiledAction } from './state';

/** An operation of the control plane that can not be done. */
export function writeError(problem: string): CalicoP4Error {
  return new CalicoP4Error('TARGET_WRITE_FAILED', `embedded switch: ${problem}`);
}

/** Keys must be as many as the table's, fit their widths, and have masks that the match kind allows. */
export function checkKeys(table: Table, keys: readonly SpecKey[]): void {
  if (keys.length !== table.keys.length)
    throw writeError(`table ${table.name} has ${table.keys.length} keys, ${keys.length} are given`);
  table.keys.forEach(({ field, match }, i) => {
    const { value, mask } = keys[i]!;
    const full = (1n << BigInt(field.bits)) - 1n;
    if (value < 0n || value > full || mask < 0n || mask > full)
      throw writeError(`table ${table.name}: key ${field.text} does not fit ${field.bits} bits`);
    if (match === 'exact' && mask !== full)
      throw writeError(`table ${table.name}: key ${field.text} is exact`);
    // A prefix's complement is 2^n - 1.
    const rest = full ^ mask;
    if (match === 'lpm' && (rest & (rest + 1n)) !== 0n)
      throw writeError(`table ${table.name}: the mask of ${field.text} is no prefix`);
  });
}

/** The action must be one of the table's for this use, with arguments that fit. */
export function checkAction(
  table: Table | Learner,
  action: SpecAction,
  spec: Spec,
  use: 'inEntries' | 'asDefault',
): void {
  if (!table.actions.some((a) => a.name === action.name && a[use]))
    throw writeError(
      `table ${table.name} does not allow action ${action.name} ${use === 'asDefault' ? 'by default' : 'in entries'}`,
    );
  const fields = spec.actions.get(action.name)!.args?.fields ?? [];
  if (fields.length !== action.params.length)
    throw writeError(
      `action ${action.name} has ${fields.length} arguments, ${action.params.length} are given`,
    );
  fields.forEach((field, i) => {
    const value = action.params[i]!;
    if (value < 0n || value >> BigInt(field.bits) !== 0n)
      throw writeError(`action ${action.name}: argument ${field.name} does not fit ${field.bits} bits`);
  });
}

/** Arguments as they lie in memory. */
export function encodeArgs(action: CompiledAction, params: readonly bigint[]): Uint8Array {
  const data = new Uint8Array(action.argBytes);
  action.args.forEach((arg, i) => {
    writeBig(data, arg.offset, arg.bytes, arg.bigEndian, params[i]!);
  });
  return data;
}

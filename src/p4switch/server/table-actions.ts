import type { TableAction } from 'p4runtime-js-bindings';
import type { SpecAction } from '../engine';
import { decodeReference, encodeReference } from './action-profiles';
import { decodeActionOf, encodeActionOf } from './actions';
import type { Pipeline } from './device-state';
import type { TableLayout } from './layout';
import { invalid } from './refusal';

/** The action of a table entry in the spec's terms: its own, or a reference into the table's action profile. */
export function decodeTableAction(
  pipeline: Pipeline,
  table: TableLayout,
  action: TableAction,
  use: 'entry' | 'default',
): SpecAction {
  if (!action.type) throw invalid(`the action of an entry of table ${table.name} is empty`);
  if (table.indirect && use === 'entry') return decodeReference(pipeline, table.name, table.indirect, action);
  if (action.type.$case !== 'action') {
    throw invalid(
      `table ${table.name} has no action profile: its entries take an action, not ${action.type.$case}`,
    );
  }
  return decodeActionOf(`table ${table.name}`, table.actions, action.type.value, use, pipeline.behaviour);
}

/** The inverse of decodeTableAction; undefined when p4info has no words for the action. */
export function encodeTableAction(
  pipeline: Pipeline,
  table: TableLayout,
  action: SpecAction,
): TableAction | undefined {
  const reference = table.indirect && encodeReference(pipeline, table.indirect, action);
  if (reference) return reference;
  const own = encodeActionOf(table.actionsBySpecName, action, pipeline.behaviour);
  return own && { type: { $case: 'action', value: own } };
}

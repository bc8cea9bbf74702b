import { status } from '@grpc/grpc-js';
import type { Action, TableAction } from 'p4runtime-js-bindings';
import type { SpecAction } from '../engine';
import type { ActionLayout, TableLayout } from './layout';
import { invalid, Refusal } from './refusal';
import { decodeValue, encodeValue } from './values';

/** An entry's action in the spec's terms. `use` is checked against the action's scope (PERMISSION_DENIED). */
export function decodeAction(
  table: TableLayout,
  tableAction: TableAction,
  use: 'entry' | 'default',
): SpecAction {
  const type = tableAction.type;
  if (type === undefined) throw invalid(`the action of an entry of table ${table.name} is empty`);
  if (type.$case !== 'action') {
    throw invalid(`table ${table.name} has no action profile: its entries take an action, not ${type.$case}`);
  }
  const layout = table.actions.get(type.value.actionId);
  if (!layout) throw invalid(`table ${table.name} has no action with id ${type.value.actionId}`);
  if (use === 'entry' ? !layout.inEntries : !layout.asDefault) {
    const rule = use === 'entry' ? 'only the default action' : 'only the action of entries';
    throw new Refusal(
      status.PERMISSION_DENIED,
      `action ${layout.name} can be ${rule} of table ${table.name}`,
    );
  }
  return { name: layout.specName, params: decodeParams(layout, type.value) };
}

function decodeParams(layout: ActionLayout, action: Action): bigint[] {
  const params = new Array<bigint | undefined>(layout.params.length).fill(undefined);
  for (const given of action.params) {
    const at = layout.params.findIndex((p) => p.id === given.paramId);
    const param = layout.params[at];
    if (!param) throw invalid(`action ${layout.name} has no parameter with id ${given.paramId}`);
    const position = layout.positions[at]!;
    if (params[position] !== undefined)
      throw invalid(`parameter ${param.name} of ${layout.name} is given twice`);
    params[position] = decodeValue(
      given.value,
      param.bits,
      `parameter ${param.name} of action ${layout.name}`,
    );
  }
  const missing = layout.params.find((_, at) => params[layout.positions[at]!] === undefined);
  if (missing) throw invalid(`parameter ${missing.name} of action ${layout.name} is missing`);
  return params as bigint[];
}

/** undefined when the action is not one that p4info gives the table; the spec's own can be. */
export function encodeAction(table: TableLayout, action: SpecAction): TableAction | undefined {
  const layout = table.actionsBySpecName.get(action.name);
  if (!layout) return undefined;
  const params = layout.params.map((p, at) => ({
    paramId: p.id,
    value: encodeValue(action.params[layout.positions[at]!]!),
  }));
  return { type: { $case: 'action', value: { actionId: layout.id, params } } };
}

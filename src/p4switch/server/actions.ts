import { status } from '@grpc/grpc-js';
import type { Action } from 'p4runtime-js-bindings';
import type { SpecAction } from '../engine';
import type { Behaviour } from './behaviour';
import type { ActionLayout } from './layout';
import { invalid, Refusal } from './refusal';
import { decodeValue, encodeValue } from './values';

/**
 * An action in the spec's terms, which must be one of `actions`, those of `owner` (for messages). `use` is checked
 * against the action's scope (PERMISSION_DENIED).
 */
export function decodeActionOf(
  owner: string,
  actions: ReadonlyMap<number, ActionLayout>,
  action: Action,
  use: 'entry' | 'default',
  behaviour: Behaviour,
): SpecAction {
  const layout = actions.get(action.actionId);
  if (!layout) throw invalid(`${owner} has no action with id ${action.actionId}`);
  if (use === 'entry' ? !layout.inEntries : !layout.asDefault) {
    const rule = use === 'entry' ? 'only the default action' : 'only the action of entries';
    throw new Refusal(status.PERMISSION_DENIED, `action ${layout.name} can be ${rule} of ${owner}`);
  }
  return { name: layout.specName, params: decodeParams(layout, action, behaviour) };
}

function decodeParams(layout: ActionLayout, action: Action, behaviour: Behaviour): bigint[] {
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
  if (missing && !behaviour.fillsIn)
    throw invalid(`parameter ${missing.name} of action ${layout.name} is missing`);
  return params.map((value) => value ?? 0n);
}

/** undefined when the action is not one that p4info gives the table; the spec's own can be. */
export function encodeActionOf(
  actions: ReadonlyMap<string, ActionLayout>,
  action: SpecAction,
  behaviour: Behaviour,
): Action | undefined {
  const layout = actions.get(action.name);
  if (!layout) return undefined;
  const params = layout.params.map((p, at) => ({
    paramId: p.id,
    value: encodeValue(action.params[layout.positions[at]!]!, p.bits, behaviour.padsReplies),
  }));
  return { actionId: layout.id, params };
}

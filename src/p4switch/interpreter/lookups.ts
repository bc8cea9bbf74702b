import type { SpecAction } from '../engine';
import type { Learner, Selector, Table } from '../spec/ast';
import { crc32 } from './alu';
import type { EntryStore } from './entry-table';
import { type KeyLayout, decode, gather, keyLayout } from './key';
import type { LearnerTable } from './learner-table';
import { readBig } from './memory';
import type { SelectorGroups } from './selector-groups';
import { type CompiledAction, END, type State, access, placeOf } from './state';

/** The action of a miss, as packets want it. */
export interface Default {
  spec: SpecAction;
  run: CompiledAction;
  data: Uint8Array;
}

export interface TableState {
  readonly table: Table;
  readonly layout: KeyLayout;
  readonly store: EntryStore<CompiledAction>;
  readonly miss: Default;
}

export interface LearnerState {
  readonly learner: Learner;
  readonly layout: KeyLayout;
  readonly store: LearnerTable<CompiledAction>;
  readonly miss: Default;
}

/** Runs a block; true when the packet ended in it. */
export function run(state: State, code: CompiledAction['code']): boolean {
  let at = 0;
  while (at >= 0) {
    if (--state.budget < 0) {
      state.recirculate = false;
      state.trace?.push({ kind: 'drop' });
      return true;
    }
    at = code[at]!();
  }
  return at === END;
}

function runAction(state: State, action: CompiledAction, data: Uint8Array): boolean {
  state.action = action.name;
  state.args.bytes = data;
  return run(state, action.code);
}

/** Looks a table up and runs the action; true when the packet ended in it, here and below. */
export function lookupTable(state: State, { table, layout, store, miss }: TableState): boolean {
  gather(layout);
  const entry = layout.bytes === 0 ? undefined : store.lookup();
  state.hit = entry !== undefined;
  state.entryId = entry?.id ?? 0;
  const { run: action, data } = entry ?? miss;
  traceLookup(state, table.name, layout, action, data);
  return runAction(state, action, data);
}

/** The lookup of a learned table: it becomes the one that learn, rearm and forget mean. */
export function learnerLookup(state: State, learner: LearnerState, now: () => number): () => boolean {
  const { layout, store, miss } = learner;
  const { name } = learner.learner;
  const keyNow = (): NonNullable<ReturnType<NonNullable<State['learnerKey']>>> => {
    gather(layout);
    return { name, bytes: layout.scratch, values: () => decode(layout, layout.scratch) };
  };
  return () => {
    gather(layout);
    const time = now();
    const entry = store.lookup(time);
    state.hit = entry !== undefined;
    state.entryId = entry?.id ?? 0;
    state.learner = store;
    state.learnerKey = keyNow;
    state.learnerTime = time;
    const { run: action, data } = entry ?? miss;
    traceLookup(state, name, layout, action, data);
    return runAction(state, action, data);
  };
}

/** Chooses a member by a hash of the selector's fields (ours, not DPDK's: which member wins is not the same). */
export function selectorLookup(state: State, selector: Selector, groups: SelectorGroups): () => boolean {
  const layout = keyLayout(selector.fields, (field) => placeOf(state, field));
  const groupId = access(state, selector.groupId);
  const memberId = access(state, selector.memberId);
  return () => {
    gather(layout);
    const group = groupId.low();
    const member = groups.select(group, crc32(layout.scratch, 0, layout.bytes));
    memberId.write(0, member);
    state.trace?.push({
      kind: 'table',
      table: selector.name,
      keys: [BigInt(group), ...decode(layout, layout.scratch)],
      hit: groups.members(group).length > 0,
      action: 'select',
      params: [BigInt(member)],
    });
    return false;
  };
}

function traceLookup(
  state: State,
  table: string,
  layout: KeyLayout,
  action: CompiledAction,
  data: Uint8Array,
): void {
  state.trace?.push({
    kind: 'table',
    table,
    keys: decode(layout, layout.scratch),
    hit: state.hit,
    action: action.name,
    params: decodeArgs(action, data),
  });
}

/** The values of arguments that lie in memory. */
export function decodeArgs(action: CompiledAction, data: Uint8Array): bigint[] {
  return action.args.map((a) => readBig(data, a.offset, a.bytes, a.bigEndian));
}

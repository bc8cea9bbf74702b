import { CalicoP4Error } from '../../errors';
import type { SpecEntry, TableOp } from '../engine';
import type { Learner, Spec, Table } from '../spec/ast';
import { checkAction, checkKeys, encodeArgs, writeError } from './checks';
import type { Default, TableState } from './lookups';
import type { SelectorGroups } from './selector-groups';
import type { CompiledAction } from './state';

/** What the operations of the control plane reach. */
export interface Target {
  readonly spec: Spec;
  readonly actions: ReadonlyMap<string, CompiledAction>;
  readonly tableNamed: (name: string) => TableState;
  readonly missOf: (name: string) => { readonly table: Table | Learner; readonly miss: Default };
  readonly selectors: ReadonlyMap<string, SelectorGroups>;
}

/** Checks and applies one operation. */
export function applyOp(op: TableOp, target: Target): void {
  switch (op.kind) {
    case 'insert':
    case 'modify': {
      const { table, store } = target.tableNamed(op.table);
      checkEntry(table, op.entry, target.spec);
      const isNew = store.find(op.entry.keys, op.entry.priority) === undefined;
      if (isNew && store.count >= table.size)
        throw new CalicoP4Error('TARGET_TABLE_FULL', `table ${table.name} is full (${table.size} entries)`);
      const action = target.actions.get(op.entry.action.name)!;
      store.put(op.entry, action, encodeArgs(action, op.entry.action.params));
      return;
    }
    case 'delete': {
      const { table, store } = target.tableNamed(op.table);
      checkKeys(table, op.keys);
      store.remove(op.keys, op.priority);
      return;
    }
    case 'default': {
      const { table, miss } = target.missOf(op.table);
      if (table.defaultAction.isConst) throw writeError(`the default action of ${table.name} is constant`);
      checkAction(table, op.action, target.spec, 'asDefault');
      const action = target.actions.get(op.action.name)!;
      Object.assign(miss, { spec: op.action, run: action, data: encodeArgs(action, op.action.params) });
      return;
    }
    case 'group': {
      const groups = target.selectors.get(op.selector);
      const limits = target.spec.selectors.get(op.selector);
      if (groups === undefined || limits === undefined)
        throw writeError(`there is no selector ${op.selector}`);
      if (op.group >= limits.groupsMax || op.members.length > limits.membersPerGroupMax)
        throw writeError(`selector ${op.selector} has no room for group ${op.group}`);
      groups.set(op.group, op.members);
    }
  }
}

function checkEntry(table: Table, entry: SpecEntry, spec: Spec): void {
  if (table.keys.length === 0) throw writeError(`table ${table.name} has no key and takes no entries`);
  checkKeys(table, entry.keys);
  checkAction(table, entry.action, spec, 'inEntries');
}

import { CalicoP4Error } from '../../errors';
import type { Engine, MeterSetting, RemoteTables, SpecAction, TableOp, Wanted } from '../engine';
import { createInterpreter } from '../interpreter/interpreter';
import type { DefaultAction, Spec } from '../spec/ast';
import type { EngineChange } from './changes';
import type { EngineClient, LearnedEntry } from './client';
import type { Description } from './description';
import type { Program } from './program';

/** The node that a DPDK engine lives on; see node.ts. */
export interface EngineHost {
  check(program: Program): Promise<void>;
  activate(engine: DpdkEngine): Promise<void>;
  /** In force, or TARGET_WRITE_FAILED, TARGET_TABLE_FULL, TARGET_UNREACHABLE. */
  transact(engine: DpdkEngine, changes: readonly EngineChange[]): Promise<void>;
  /** Waits for the connection when it is away for a moment. */
  withClient<T>(work: (client: EngineClient) => Promise<T>): Promise<T>;
}

/** The engine of the P4Runtime server whose packets run in the native engine. */
export interface DpdkEngine extends Engine {
  readonly spec: Spec;
  readonly program: Program;
  readonly remote: RemoteTables;
  /** Set while packets go through it. */
  description: Description | undefined;
  /** Everything that was applied, for a program that was just loaded. */
  everything(): readonly EngineChange[];
  /** Takes over what the engine, which ran before this process, has in its tables. */
  adopt(client: EngineClient, description: Description): Promise<void>;
}

/**
 * The tables of a program in the native engine. They are mirrored by an interpreter that sees no packet: it checks every
 * operation, answers reads at once, and knows all that must be loaded again when the engine was restarted. Operations are
 * gathered until `remote.commit`, which sends them as one transaction.
 */
export function createDpdkEngine(spec: Spec, program: Program, host: EngineHost): DpdkEngine {
  const mirror = createInterpreter(spec, { now: () => 0 });
  const groups = new Map<string, Extract<TableOp, { kind: 'group' }>>();
  const cells = new Map<string, Extract<EngineChange, { kind: 'register' }>>();
  const meters = new Map<string, Extract<EngineChange, { kind: 'meter' }>>();
  const learned = new Map<string, readonly LearnedEntry[]>();
  let pending: EngineChange[] = [];

  const note = (change: EngineChange): void => {
    if (engine.description !== undefined) pending.push(change);
  };
  const applyToMirror = (op: TableOp): void => {
    mirror.apply(op);
    if (op.kind !== 'group') return;
    const key = `${op.selector}/${op.group}`;
    if (op.members.length === 0) groups.delete(key);
    else groups.set(key, op);
  };

  const setMeter = (
    array: string,
    index: number,
    setting: MeterSetting | undefined,
  ): Extract<EngineChange, { kind: 'meter' }> => {
    mirror.writeMeter(array, index, setting);
    const change = { kind: 'meter', array, index, setting } as const;
    if (setting === undefined) meters.delete(`${array}/${index}`);
    else meters.set(`${array}/${index}`, change);
    return change;
  };

  const remote: RemoteTables = {
    check: () => host.check(program),
    activate: () => host.activate(engine),
    async commit() {
      const changes = pending;
      pending = [];
      if (changes.length > 0) await host.transact(engine, changes);
    },
    abandon() {
      pending = [];
    },
    async refresh(wanted: Wanted) {
      const { description } = engine;
      if (description === undefined || wanted.registers.length + wanted.learners.length === 0) return;
      await host.withClient(async (client) => {
        for (const { array, first, end } of wanted.registers) {
          const values = await client.registers(description, array, first, end - first);
          values.forEach((value, i) => {
            mirror.writeRegister(array, first + i, value);
          });
        }
        for (const name of wanted.learners) learned.set(name, await client.learned(description, name));
      });
    },
  };

  const engine: DpdkEngine = {
    spec,
    program,
    remote,
    description: undefined,
    apply(op) {
      // The engine refuses to delete what is not there; here that is nothing to do.
      const absent = op.kind === 'delete' && mirror.find(op.table, op.keys, op.priority) === undefined;
      applyToMirror(op);
      if (!absent) note(op);
    },
    entries: (table) => mirror.entries(table),
    find: (table, keys, priority) => mirror.find(table, keys, priority),
    entryCount: (table) => mirror.entryCount(table),
    defaultAction: (table) => mirror.defaultAction(table),
    resetDefaultAction(table) {
      mirror.resetDefaultAction(table);
      note({ kind: 'default', table, action: mirror.defaultAction(table) });
    },
    learned: (table) => learned.get(table) ?? [],
    readRegister: (name, index) => mirror.readRegister(name, index),
    writeRegister(array, index, value) {
      mirror.writeRegister(array, index, value);
      const change = { kind: 'register', array, index, value: BigInt.asUintN(64, value) } as const;
      cells.set(`${array}/${index}`, change);
      note(change);
    },
    readMeter: (name, index) => mirror.readMeter(name, index),
    writeMeter(array, index, setting) {
      note(setMeter(array, index, setting));
    },
    process() {
      throw new CalicoP4Error(
        'USAGE',
        'packets of the native engine go through its ports; use the interpreter to trace them',
      );
    },
    everything() {
      const changes: EngineChange[] = [];
      for (const table of spec.tables.keys())
        for (const entry of mirror.entries(table)) changes.push({ kind: 'insert', table, entry });
      for (const table of [...spec.tables.values(), ...spec.learners.values()]) {
        const action = mirror.defaultAction(table.name);
        if (!sameAction(action, table.defaultAction))
          changes.push({ kind: 'default', table: table.name, action });
      }
      return [...changes, ...groups.values(), ...cells.values(), ...meters.values()];
    },
    async adopt(client, description) {
      for (const table of spec.tables.keys())
        if (description.tables.get(table)!.kind !== 'stub')
          for await (const entry of client.entries(description, table))
            mirror.apply({ kind: 'insert', table, entry });
      for (const table of [...spec.tables.values(), ...spec.learners.values()]) {
        const action = await client.defaultAction(description, table.name);
        if (!sameAction(action, table.defaultAction))
          mirror.apply({ kind: 'default', table: table.name, action });
      }
      for (const selector of spec.selectors.keys())
        for (const group of await client.groups(description, selector))
          applyToMirror({ kind: 'group', selector, ...group });
      for (const array of spec.metarrays.values())
        for (const [index, setting] of (await client.meters(description, array.name)).entries())
          if (setting !== undefined && index < array.size) setMeter(array.name, index, setting);
      engine.description = description;
    },
  };
  return engine;
}

function sameAction(a: SpecAction, b: SpecAction | DefaultAction): boolean {
  return a.name === b.name && a.params.every((value, i) => value === b.params[i]);
}

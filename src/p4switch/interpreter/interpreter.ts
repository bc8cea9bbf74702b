import type { Engine, PacketResult, SpecAction } from '../engine';
import type { DefaultAction, KeyField, Learner, Spec, Table } from '../spec/ast';
import { checkSpecLimits } from '../spec/limits';
import { specError } from '../spec/lines';
import { checkKeys, encodeArgs, writeError } from './checks';
import { type Machine, compile } from './compile';
import { exactStore, maskedStore, prefixLength } from './entry-table';
import { type KeyLayout, decode, keyLayout } from './key';
import { type LearnerStats, learnerTable } from './learner-table';
import {
  type Default,
  type LearnerState,
  type TableState,
  decodeArgs,
  learnerLookup,
  lookupTable,
  run,
  selectorLookup,
} from './lookups';
import { type MeterArray, meterArray } from './meters';
import { isBigEndian } from './memory';
import { loadPacket } from './packet';
import { type SelectorGroups, nextPowerOfTwo, selectorGroups } from './selector-groups';
import { type CompiledAction, createState, placeOf } from './state';
import { applyOp } from './table-ops';

export interface InterpreterOptions {
  /** Seconds; learned entries expire and meters fill by it. */
  readonly now: () => number;
  /** Which output ports exist; a packet for another one is dropped. Default: ports 0 to 2^32 - 1. */
  readonly isPort?: (port: number) => boolean;
}

/** The engine that runs a `.spec`, with what its learned tables counted. */
export interface Interpreter extends Engine {
  learnerStats(learner: string): Readonly<LearnerStats>;
}

/** Instructions that one packet may take, over all its passes, before it is dropped: a loop in a parser must not hang. */
const STEPS_MAX = 100_000;

/**
 * Builds an engine for a spec. It does what DPDK 22.11's SWX pipeline does on one thread, its traps included: metadata
 * and header bytes stay from packet to packet, `extract` does not check lengths.
 *
 * @throws CalicoP4Error SPEC_INVALID when the spec breaks a limit of SWX (checkSpecLimits)
 */
export function createInterpreter(spec: Spec, options: InterpreterOptions): Interpreter {
  const [violation] = checkSpecLimits(spec);
  if (violation !== undefined) throw specError(violation.line, violation.problem);

  const state = createState(spec);
  const registers = new Map<string, BigUint64Array>();
  for (const array of spec.regarrays.values())
    registers.set(array.name, new BigUint64Array(nextPowerOfTwo(array.size)).fill(array.initial));
  const meters = new Map<string, MeterArray>();
  for (const { name, size } of spec.metarrays.values()) meters.set(name, meterArray(size, options.now));
  const actions = new Map<string, CompiledAction>();
  const lookups = new Map<string, () => boolean>();
  const isPort = options.isPort ?? ((port) => port < 2 ** 32);
  const machine: Machine = { spec, state, registers, meters, actions, lookups, isPort };
  for (const action of spec.actions.values()) {
    const args = action.args?.fields ?? [];
    actions.set(action.name, {
      name: action.name,
      code: compile(machine, action.instructions),
      argBytes: action.args?.bytes ?? 0,
      args: args.map((f) => ({ offset: f.offset, bytes: f.bits / 8, bigEndian: isBigEndian(false, f.bits) })),
    });
  }

  const defaultOf = (action: SpecAction): Default => {
    const run = actions.get(action.name)!;
    return { spec: action, run, data: encodeArgs(run, action.params) };
  };
  const layoutOf = (keys: readonly KeyField[]): KeyLayout =>
    keyLayout(
      keys.map((k) => k.field),
      (field) => placeOf(state, field),
    );
  const tables = new Map<string, TableState>();
  for (const table of spec.tables.values()) {
    const layout = layoutOf(table.keys);
    const lpm = table.keys.findIndex((k) => k.match === 'lpm');
    const store = table.keys.every((k) => k.match === 'exact')
      ? exactStore<CompiledAction>(layout)
      : maskedStore<CompiledAction>(layout, (e) => (lpm < 0 ? e.priority : prefixLength(e.keys[lpm]!.mask)));
    tables.set(table.name, { table, layout, store, miss: defaultOf(specDefault(table.defaultAction)) });
  }
  const learners = new Map<string, LearnerState>();
  for (const learner of spec.learners.values()) {
    const layout = layoutOf(learner.keys);
    const store = learnerTable<CompiledAction>(layout, learner.size, learner.timeouts);
    learners.set(learner.name, {
      learner,
      layout,
      store,
      miss: defaultOf(specDefault(learner.defaultAction)),
    });
  }
  const selectors = new Map<string, SelectorGroups>();
  for (const selector of spec.selectors.values())
    selectors.set(selector.name, selectorGroups(selector.groupsMax, selector.membersPerGroupMax));

  for (const [name, table] of tables) lookups.set(name, () => lookupTable(state, table));
  for (const [name, learner] of learners) lookups.set(name, learnerLookup(state, learner, options.now));
  for (const [name, groups] of selectors)
    lookups.set(name, selectorLookup(state, spec.selectors.get(name)!, groups));
  const code = compile(machine, spec.apply);

  const slack = [...spec.headers.values()].reduce((sum, h) => sum + h.type.maxBytes, 0);
  const tableNamed = (name: string): TableState => {
    const table = tables.get(name);
    if (table === undefined) throw writeError(`there is no table ${name}`);
    return table;
  };
  const missOf = (name: string): { readonly table: Table | Learner; readonly miss: Default } => {
    const learner = learners.get(name);
    return learner === undefined ? tableNamed(name) : { table: learner.learner, miss: learner.miss };
  };
  const cellsOf = (name: string, index: number): BigUint64Array => {
    const cells = registers.get(name);
    if (cells === undefined) throw writeError(`there is no register array ${name}`);
    if (!Number.isInteger(index) || index < 0 || index >= spec.regarrays.get(name)!.size)
      throw writeError(`register array ${name} has no index ${index}`);
    return cells;
  };

  const metersOf = (name: string, index: number): MeterArray => {
    const array = meters.get(name);
    if (array === undefined) throw writeError(`there is no meter array ${name}`);
    if (!Number.isInteger(index) || index < 0 || index >= spec.metarrays.get(name)!.size)
      throw writeError(`meter array ${name} has no index ${index}`);
    return array;
  };

  return {
    apply(op) {
      applyOp(op, { spec, actions, tableNamed, missOf, selectors });
    },
    entries: (name) => tableNamed(name).store.entries(),
    find(name, keys, priority) {
      const { table, store } = tableNamed(name);
      checkKeys(table, keys);
      return store.find(keys, priority)?.spec;
    },
    entryCount: (name) => tableNamed(name).store.count,
    defaultAction: (name) => missOf(name).miss.spec,
    resetDefaultAction(name) {
      const { table, miss } = missOf(name);
      Object.assign(miss, defaultOf(specDefault(table.defaultAction)));
    },
    *learned(name) {
      const learner = learners.get(name);
      if (learner === undefined) throw writeError(`there is no learned table ${name}`);
      const now = options.now();
      for (const entry of learner.store.entries(now))
        yield {
          keys: decode(learner.layout, entry.key),
          action: { name: entry.action, params: decodeArgs(entry.run, entry.data) },
          expiresIn: entry.expires - now,
        };
    },
    learnerStats(name) {
      const learner = learners.get(name);
      if (learner === undefined) throw writeError(`there is no learned table ${name}`);
      return learner.store.stats;
    },
    readRegister: (name, index) => cellsOf(name, index)[index]!,
    writeRegister(name, index, value) {
      cellsOf(name, index)[index] = BigInt.asUintN(64, value);
    },
    readMeter: (name, index) => metersOf(name, index).get(index),
    writeMeter(name, index, setting) {
      metersOf(name, index).set(index, setting);
    },
    process(port, frame, wantTrace): PacketResult {
      state.inPort = port;
      state.pass = 0;
      state.trace = wantTrace ? [] : undefined;
      state.out = [];
      state.budget = STEPS_MAX;
      let input = frame;
      for (;;) {
        loadPacket(state, input, slack);
        run(state, code);
        if (!state.recirculate) break;
        input = state.packet;
        state.pass++;
      }
      return { out: state.out, trace: state.trace ?? [] };
    },
  };
}

function specDefault(action: DefaultAction): SpecAction {
  return { name: action.name, params: action.params };
}

import type { MatchValue } from '../translators/rows';

/**
 * What a target can not do, in one place. Nothing else in the program asks which target it talks to: the reconciler
 * and the client look here. Values are facts about a server, established by reading its source or by testing it.
 */
export interface TargetTraits {
  /** For messages and logs. */
  readonly name: string;
  /**
   * MODIFY of a table entry takes effect. False where the server answers OK and leaves the entry as it was: an update
   * is then a DELETE and an INSERT, and the reconciler sees to it that the gap between them frees no packet.
   */
  readonly modify: boolean;
  /** A default action can be set back to that of the program. */
  readonly defaultActionReset: boolean;
  /** `all-tables`: a Read with table_id 0 works. `per-table`: each table must be read on its own. */
  readonly wildcardRead: 'all-tables' | 'per-table';
  /** False where Write refuses every atomicity but CONTINUE_ON_ERROR. */
  readonly atomicBatches: boolean;
  /** `indexed`: Counter externs can be read; direct counters can not. */
  readonly counters: 'indexed' | 'indexed-and-direct';
  readonly matchKinds: readonly MatchValue['kind'][];
  /** Updates in one Write. */
  readonly maxBatch: number;
  /** Entries that packets made (connection tracking) can be read. */
  readonly learnedTablesReadable: boolean;
  /** Indexed meters limit. False where they are taken and nothing comes of it. */
  readonly meters: boolean;
}

/** P4-DPDK behind infrap4d (IPDK networking-recipe): several calls are stubs that answer OK and do nothing. */
export const INFRAP4D_DPDK: TargetTraits = {
  name: 'P4-DPDK (infrap4d)',
  modify: false,
  defaultActionReset: false,
  wildcardRead: 'per-table',
  atomicBatches: false,
  counters: 'indexed',
  matchKinds: ['exact', 'lpm', 'ternary'],
  maxBatch: 500,
  learnedTablesReadable: false,
  meters: false,
};

/** The switch of `calico-p4 switch`: same pipeline, a server that does what the specification says. */
export const EMBEDDED_SWITCH: TargetTraits = {
  name: 'embedded switch',
  modify: true,
  defaultActionReset: true,
  wildcardRead: 'per-table',
  atomicBatches: false,
  counters: 'indexed',
  matchKinds: ['exact', 'lpm', 'ternary'],
  maxBatch: 500,
  learnedTablesReadable: false,
  meters: true,
};

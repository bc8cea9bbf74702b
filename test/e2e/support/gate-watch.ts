/** Which gates of policy one update shuts that are open before and after it, and for how many of the target's writes. */
import type { SpecKey, TableOp } from '../../../src/p4switch/engine';
import { P4_DPDK_TABLES } from '../../../src/p4target/p4-dpdk/adapter';

export interface GateReport {
  /** Entries written in all; a MODIFY is one. */
  readonly writes: number;
  /** Gates that were shut for a while. */
  readonly shut: number;
  /** Writes from the first one after which such a gate was shut to the one that opened the last of them. */
  readonly shutFor: number;
}

/** Call `onWrite` after each operation of the switch, `report` after each update. */
export interface GateWatch {
  onWrite(op: TableOp): void;
  report(): GateReport;
}

const GATES = new Set(P4_DPDK_TABLES.filter(({ role }) => role === 'gate').map(({ table }) => table));

export function gateWatch(): GateWatch {
  let writes = 0;
  let since = new Map<string, number>();
  let shut = 0;
  let first = Infinity;
  let last = 0;
  return {
    onWrite(op) {
      writes++;
      if (op.kind !== 'insert' && op.kind !== 'delete') return;
      if (!GATES.has(op.table)) return;
      const key = keyText(op.kind === 'delete' ? op.keys : op.entry.keys);
      if (op.kind === 'delete') {
        since.set(key, writes);
        return;
      }
      const from = since.get(key);
      if (from === undefined) return;
      since.delete(key);
      shut++;
      first = Math.min(first, from);
      last = writes;
    },
    report() {
      const done = { writes, shut, shutFor: shut === 0 ? 0 : last - first };
      writes = 0;
      since = new Map();
      shut = 0;
      first = Infinity;
      last = 0;
      return done;
    },
  };
}

function keyText(keys: readonly SpecKey[]): string {
  return keys.map(({ value }) => String(value)).join(',');
}

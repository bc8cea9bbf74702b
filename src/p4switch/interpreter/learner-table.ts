import { type KeyLayout, type PackedKey, pack } from './key';

/** An entry that a packet made. */
export interface LearnedEntry<Run> {
  readonly key: Buffer;
  action: string;
  run: Run;
  data: Uint8Array;
  timeoutId: number;
  /** Seconds on the engine's clock. */
  expires: number;
  readonly id: number;
}

/** Counts that DPDK keeps too (rte_swx_ctl_learner_stats_read). */
export interface LearnerStats {
  hits: number;
  misses: number;
  learned: number;
  /** The table was full, or the key changed between lookup and learn. */
  learnFailed: number;
  rearmed: number;
  forgotten: number;
}

/**
 * A learned table. `learn`, `rearm` and `forget` work on the key that was looked up last. A hit alone does not re-arm.
 * DPDK rounds timers down to 2^32 cycles (about a second) and holds four keys a bucket; here timers are exact and the
 * bound is the table's size.
 */
export interface LearnerTable<Run> {
  /** Looks up the key in the layout's scratch buffer; undefined is a miss. */
  lookup(now: number): LearnedEntry<Run> | undefined;
  /** Adds the key just looked up, or renews its entry. `keyNow` is the packet's key at this moment. */
  learn(action: string, run: Run, data: Uint8Array, timeoutId: number, now: number, keyNow: Buffer): boolean;
  /** Without `timeoutId` the entry's own timeout starts again. */
  rearm(timeoutId: number | undefined, now: number): void;
  forget(): void;
  entries(now: number): Iterable<LearnedEntry<Run>>;
  readonly stats: Readonly<LearnerStats>;
}

export function learnerTable<Run>(
  layout: KeyLayout,
  size: number,
  timeouts: readonly number[],
): LearnerTable<Run> {
  const map = new Map<PackedKey, LearnedEntry<Run>>();
  const stats: LearnerStats = { hits: 0, misses: 0, learned: 0, learnFailed: 0, rearmed: 0, forgotten: 0 };
  const lastKey = Buffer.alloc(layout.bytes);
  let lookedUp = false;
  let hit: LearnedEntry<Run> | undefined;
  let nextId = 1;
  let sweptAt = -Infinity;

  // Timeout ids wrap at the next power of two; ids past the last timeout mean the first one.
  const idMask = 2 ** Math.ceil(Math.log2(timeouts.length)) - 1;
  const timeoutOf = (id: number): number => timeouts[id] ?? timeouts[0]!;

  /** Drops expired entries when the table is full, at most once a second: a full sweep for each packet would be slow. */
  const makeRoom = (now: number): boolean => {
    if (map.size < size) return true;
    if (now - sweptAt >= 1) {
      sweptAt = now;
      for (const [key, entry] of map) if (entry.expires <= now) map.delete(key);
    }
    return map.size < size;
  };

  return {
    lookup(now) {
      layout.scratch.copy(lastKey);
      lookedUp = true;
      const key = pack(lastKey);
      hit = map.get(key);
      if (hit !== undefined && hit.expires <= now) {
        map.delete(key);
        hit = undefined;
      }
      if (hit === undefined) stats.misses++;
      else stats.hits++;
      return hit;
    },
    learn(action, run, data, timeoutId, now, keyNow) {
      const id = timeoutId & idMask;
      const expires = now + timeoutOf(id);
      if (hit !== undefined) {
        Object.assign(hit, { action, run, data, timeoutId: id, expires });
        stats.learned++;
        return true;
      }
      // SWX stores the key as it is now under the hash of the key that was looked up: such an entry is never found.
      if (!lookedUp || !keyNow.equals(lastKey) || !makeRoom(now)) {
        stats.learnFailed++;
        return false;
      }
      hit = { key: Buffer.from(lastKey), action, run, data, timeoutId: id, expires, id: nextId++ };
      map.set(pack(lastKey), hit);
      stats.learned++;
      return true;
    },
    rearm(timeoutId, now) {
      stats.rearmed++;
      if (hit === undefined) return;
      if (timeoutId !== undefined) hit.timeoutId = timeoutId & idMask;
      hit.expires = now + timeoutOf(hit.timeoutId);
    },
    forget() {
      stats.forgotten++;
      if (hit !== undefined) map.delete(pack(hit.key));
      hit = undefined;
    },
    *entries(now) {
      for (const entry of map.values()) if (entry.expires > now) yield entry;
    },
    stats,
  };
}

import { CalicoP4Error } from '../../errors';
import type { IpSet, IpSetChange, IpSetType } from '../../model/model';

/**
 * The IP sets of the model. A set can have 100,000 members and change a hundred times a second, so its members live in one Set that
 * changes mutate, and what changed goes along with the new object (IpSetChange), so that no reader need compare sets.
 */
export interface IpSetStore {
  /** Live. */
  readonly sets: ReadonlyMap<string, IpSet>;
  /** The whole set, as sent. True when that changed something. */
  replace(id: string, type: IpSetType, members: readonly string[]): boolean;
  /**
   * First `added`, then `removed`. True when that changed something.
   * @throws CalicoP4Error FELIX_MESSAGE_INVALID when there is no such set.
   */
  change(id: string, added: readonly string[], removed: readonly string[]): boolean;
  /** True when it was there. */
  remove(id: string): boolean;
  /**
   * The batch ends: the changes that each set had in it become one. Returns the sets that are what they were when the batch began,
   * although they changed in between; they have the object that they had then.
   */
  settle(): readonly string[];
}

/** Batches of a set's history; when it is full, the older half goes. */
const MAX_STEPS = 8;
/** Of the members in the history, those that are kept beyond as many as the set has. */
const SPARE_MEMBERS = 1024;

/** Strings that are remembered to be shared: some 10 MB. */
const MAX_SHARED = 100_000;

interface Entry {
  set: IpSet;
  readonly members: Set<string>;
  /** Steps that lead to `set` in settled batches, and the members in all of its history. */
  steps: number;
  cost: number;
  /** What it was when the batch began, for sets that changed in it. */
  start: { readonly set: IpSet; readonly cost: number } | undefined;
  /** Put in this batch. */
  fresh: boolean;
}

export function createIpSetStore(): IpSetStore {
  const sets = new Map<string, IpSet>();
  const entries = new Map<string, Entry>();
  const shared = createSharing();
  let changed = new Set<string>();

  function put(id: string, type: IpSetType, members: readonly string[]): void {
    const live = new Set<string>();
    comeTo(live, members, shared);
    const set = { id, type, members: live };
    sets.set(id, set);
    entries.set(id, { set, members: live, steps: 0, cost: 0, start: undefined, fresh: true });
    changed.add(id);
  }

  /** What the entry's members have gone through already. */
  function step(entry: Entry, added: readonly string[], removed: readonly string[]): void {
    const before = entry.set;
    const set = { id: before.id, type: before.type, members: entry.members };
    setChange(set, { before, added, removed });
    entry.start ??= { set: before, cost: entry.cost };
    entry.set = set;
    entry.cost += added.length + removed.length;
    if (entry.cost > entry.members.size + SPARE_MEMBERS) {
      trim(entry);
    }
    changed.add(set.id);
    sets.set(set.id, set);
  }

  return {
    sets,
    replace(id, type, members) {
      const entry = entries.get(id);
      if (entry?.set.type !== type) {
        put(id, type, members);
        return true;
      }
      const next = new Set(members);
      const added = [...next].filter((member) => !entry.members.has(member));
      const removed = [...entry.members].filter((member) => !next.has(member));
      const difference = added.length + removed.length;
      if (difference === 0) {
        return false;
      }
      if (difference * 4 >= next.size) {
        put(id, type, members);
        return true;
      }
      const came = comeTo(entry.members, added, shared);
      removed.forEach((member) => entry.members.delete(member));
      step(entry, came, removed);
      return true;
    },
    change(id, added, removed) {
      const entry = entries.get(id);
      if (entry === undefined) {
        throw new CalicoP4Error(
          'FELIX_MESSAGE_INVALID',
          `Felix sent a change of IP set ${id}, which it never sent: messages were lost. Restart Felix, which sends a full snapshot`,
          { ipSet: id },
        );
      }
      let came = comeTo(entry.members, added, shared);
      let went = goFrom(entry.members, removed);
      if (came.length > 0 && went.length > 0) {
        const both = net([{ added: came, removed: went }]);
        came = both.added;
        went = both.removed;
      }
      if (came.length === 0 && went.length === 0) {
        return false;
      }
      step(entry, came, went);
      return true;
    },
    remove: (id) => sets.delete(id) && entries.delete(id),
    settle() {
      const unchanged: string[] = [];
      for (const id of changed) {
        const entry = entries.get(id);
        if (entry === undefined) {
          continue;
        }
        const { start, fresh } = entry;
        entry.start = undefined;
        entry.fresh = false;
        if (start === undefined) {
          continue;
        }
        const { set: before, cost } = start;
        const steps = fresh ? undefined : stepsBetween(before, entry.set);
        if (steps === undefined) {
          // It leads back to nothing that anybody has read.
          setChange(entry.set, undefined);
          entry.steps = 0;
          entry.cost = 0;
          continue;
        }
        const all = steps.length === 1 ? steps[0]! : net(steps);
        entry.cost = cost + all.added.length + all.removed.length;
        if (all.added.length === 0 && all.removed.length === 0) {
          entry.set = before;
          sets.set(id, before);
          unchanged.push(id);
          continue;
        }
        entry.steps += 1;
        if (steps.length > 1) {
          setChange(entry.set, { before, added: all.added, removed: all.removed });
        }
        if (entry.steps > MAX_STEPS) {
          trim(entry);
        }
      }
      changed = new Set();
      return unchanged;
    },
  };
}

/** Adds `sent`, and returns those that were not there. */
function comeTo(
  members: Set<string>,
  sent: readonly string[],
  shared: (text: string) => string,
): readonly string[] {
  const came: string[] = [];
  for (const text of sent) {
    const member = shared(text);
    const size = members.size;
    members.add(member);
    if (members.size > size) {
      came.push(member);
    }
  }
  return came;
}

/** Removes `sent`, and returns those that were there: mostly all of them, and then it is `sent` itself. */
function goFrom(members: Set<string>, sent: readonly string[]): readonly string[] {
  const went = sent.filter((member) => members.delete(member));
  return went.length === sent.length ? sent : went;
}

/**
 * One string for all sets that an address is in: most are in a dozen. It also makes the string cheap to look up wherever it goes, as its
 * hash is known. What no set has any more stays until there are too many; then all are forgotten, and strings are shared anew.
 */
function createSharing(): (text: string) => string {
  let texts = new Map<string, string>();
  return (text) => {
    const known = texts.get(text);
    if (known !== undefined) {
      return known;
    }
    if (texts.size >= MAX_SHARED) {
      texts = new Map();
    }
    texts.set(text, text);
    return text;
  };
}

/** Forgets the older half of a set's history: it is walked once in as many changes as it takes to fill it again. */
function trim(entry: Entry): void {
  const limit = (entry.members.size + SPARE_MEMBERS) / 2;
  let steps = 0;
  let cost = 0;
  let at = entry.set;
  // Steps of the batch that is not settled are as many as they are; settle() makes them one.
  let settled = entry.start === undefined;
  for (let change = at.change; change !== undefined; change = at.change) {
    settled ||= at === entry.start?.set;
    const next = cost + change.added.length + change.removed.length;
    if (next > limit || (settled && steps >= MAX_STEPS / 2)) {
      setChange(at, undefined);
      break;
    }
    cost = next;
    steps += settled ? 1 : 0;
    at = change.before;
  }
  entry.steps = steps;
  entry.cost = cost;
}

/** Oldest first; undefined when the history of `set` does not reach back to `before`. */
function stepsBetween(before: IpSet, set: IpSet): readonly IpSetChange[] | undefined {
  const steps: IpSetChange[] = [];
  for (let at = set; at !== before; at = at.change.before) {
    if (at.change === undefined) {
      return undefined;
    }
    steps.push(at.change);
  }
  return steps.reverse();
}

/** What is left of several steps, of which each says what really changed. */
function net(steps: readonly Pick<IpSetChange, 'added' | 'removed'>[]): {
  readonly added: string[];
  readonly removed: string[];
} {
  const added = new Set<string>();
  const removed = new Set<string>();
  for (const step of steps) {
    for (const member of step.added) {
      if (!removed.delete(member)) {
        added.add(member);
      }
    }
    for (const member of step.removed) {
      if (!added.delete(member)) {
        removed.add(member);
      }
    }
  }
  return { added: [...added], removed: [...removed] };
}

/** Not enumerable (IpSet.change). */
function setChange(set: IpSet, change: IpSetChange | undefined): void {
  Object.defineProperty(set, 'change', {
    value: change,
    enumerable: false,
    configurable: true,
    writable: true,
  });
}

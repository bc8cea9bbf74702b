import type { LiveBranch } from './live-nodes';

/** Which branches of the two address levels ask for a label: those that an address which gets or loses it may concern. */
export interface LabelAskers {
  add(branch: LiveBranch): void;
  delete(branch: LiveBranch): void;
  /** How many branches ask for a label of the page, summed over the labels. */
  count(page: number, labels: readonly number[]): number;
  /** Filled branches that ask for one of the labels, or for several. */
  filled(page: number, labels: readonly number[]): ReadonlySet<LiveBranch>;
}

export function createLabelAskers(): LabelAskers {
  const askers = new Map<string, Set<LiveBranch>>();
  return {
    add(branch) {
      const { page, labels } = branch.node;
      for (const label of labels) {
        const key = askKey(page, label);
        const known = askers.get(key);
        if (known === undefined) askers.set(key, new Set([branch]));
        else known.add(branch);
      }
    },
    delete(branch) {
      const { page, labels } = branch.node;
      for (const label of labels) {
        const key = askKey(page, label);
        const known = askers.get(key);
        known?.delete(branch);
        if (known?.size === 0) askers.delete(key);
      }
    },
    count(page, labels) {
      let count = 0;
      for (const label of labels) count += askers.get(askKey(page, label))?.size ?? 0;
      return count;
    },
    filled(page, labels) {
      const found = new Set<LiveBranch>();
      for (const label of labels) {
        for (const branch of askers.get(askKey(page, label)) ?? []) if (branch.filled) found.add(branch);
      }
      return found;
    },
  };
}

function askKey(page: number, label: number): string {
  return `${page}/${label}`;
}

/** What is only in one of two lists, none of which has an item twice. Quick where the ends of the lists are the same. */
export function listChanges<T>(
  before: readonly T[],
  now: readonly T[],
): { readonly removed: readonly T[]; readonly added: readonly T[] } {
  if (before === now) return { removed: [], added: [] };
  const most = Math.min(before.length, now.length);
  let head = 0;
  while (head < most && before[head] === now[head]) head++;
  let tail = 0;
  while (tail < most - head && before[before.length - 1 - tail] === now[now.length - 1 - tail]) tail++;
  const [old, fresh] = [before.slice(head, before.length - tail), now.slice(head, now.length - tail)];
  if (old.length === 0 || fresh.length === 0) return { removed: old, added: fresh };
  const [were, are] = [new Set(old), new Set(fresh)];
  return { removed: old.filter((item) => !are.has(item)), added: fresh.filter((item) => !were.has(item)) };
}

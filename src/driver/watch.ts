/**
 * Whether what one or more collections hold is anything else than it was when this was last asked: other items, or the same in another
 * order. Items are compared by identity.
 */
export type Watch = (collections: readonly Iterable<unknown>[]) => boolean;

export function createWatch(): Watch {
  const items: unknown[] = [];
  return (collections) => {
    let changed = false;
    let at = 0;
    for (const collection of collections) {
      for (const item of collection) {
        if (at === items.length || items[at] !== item) {
          items[at] = item;
          changed = true;
        }
        at++;
      }
    }
    if (items.length > at) {
      items.length = at;
      changed = true;
    }
    return changed;
  };
}

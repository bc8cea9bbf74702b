/** Equal things as one object, so that they can be told apart by identity, or by their number. */
export interface Interned<T extends object> {
  /** The thing with this key; `make` is called when there is none, with a number that no other has or had. */
  of(key: string, make: (id: number) => T): T;
  /** Forgets everything but these, which stay what they are. They must come from here, but may have been forgotten. */
  retain(values: Iterable<T>): void;
  readonly size: number;
}

export function createInterned<T extends object>(): Interned<T> {
  let byKey = new Map<string, T>();
  const keys = new WeakMap<T, string>();
  let lastId = 0;
  return {
    of(key, make) {
      const known = byKey.get(key);
      if (known !== undefined) return known;
      const made = make(++lastId);
      byKey.set(key, made);
      keys.set(made, key);
      return made;
    },
    retain(values) {
      byKey = new Map();
      for (const value of values) byKey.set(keys.get(value)!, value);
    },
    get size() {
      return byKey.size;
    },
  };
}

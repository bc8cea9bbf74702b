import type { Prefix } from './address';

/**
 * What a rule can ask of an address, as numbers. A *label* is what an address has or has not; a *group* is what a rule names.
 * They are the same number except for IP_AND_PORT sets: the group "ports of set X" has one label for each (protocol, port) in X,
 * so that a node of a diagram goes on to be right when X gets a port that it never had.
 */
export type LabelInfo =
  | { readonly kind: 'family'; readonly family: 4 | 6 }
  | { readonly kind: 'set'; readonly set: string }
  | { readonly kind: 'nets'; readonly prefixes: readonly Prefix[]; readonly text: string }
  | { readonly kind: 'ports'; readonly set: string }
  | { readonly kind: 'slice'; readonly group: number; readonly protocol: number; readonly port: number };

export const FAMILY_4 = 1;
export const FAMILY_6 = 2;

export interface Labels {
  /** Membership of a NET or IP set. */
  set(setId: string): number;
  /** Membership of one of the CIDRs, of which there is one at least; the whole of a family, alone, is the family's label. */
  nets(prefixes: readonly Prefix[], text: string): number;
  /** The group of all (protocol, port) slices of an IP_AND_PORT set. */
  ports(setId: string): number;
  slice(group: number, protocol: number, port: number): number;
  info(label: number): LabelInfo;
  /** The group that a label belongs to: itself, but for slices. */
  groupOf(label: number): number;
  /** The prefixes that have a label of their own. */
  prefixes(): Iterable<Prefix>;
  readonly size: number;
  /** Forgets all labels and groups but these, which stay what they are; numbers are not used twice. */
  forget(keep: ReadonlySet<number>): void;
  /** As people read it: `set s:abc`, `10.0.0.0/8`, `10.1.0.0/16 or 10.2.0.0/16`, `ports of set n:xyz: 6:80`. */
  describe(label: number): string;
}

export function createLabels(): Labels {
  const infos = new Map<number, LabelInfo>([
    [FAMILY_4, { kind: 'family', family: 4 }],
    [FAMILY_6, { kind: 'family', family: 6 }],
  ]);
  let byKey = new Map<string, number>();
  let next = FAMILY_6 + 1;
  const intern = (key: string, info: LabelInfo): number => {
    let label = byKey.get(key);
    if (label === undefined) {
      label = next++;
      infos.set(label, info);
      byKey.set(key, label);
    }
    return label;
  };
  const describe = (label: number): string => {
    const info = infos.get(label)!;
    switch (info.kind) {
      case 'family':
        return `IPv${info.family}`;
      case 'set':
        return `set ${info.set}`;
      case 'nets':
        return info.text;
      case 'ports':
        return `ports of set ${info.set}`;
      case 'slice':
        return `${describe(info.group)}: ${info.protocol}:${info.port}`;
    }
  };
  return {
    set: (set) => intern(`s${set}`, { kind: 'set', set }),
    nets(prefixes, text) {
      const [first, ...more] = prefixes;
      if (more.length === 0 && first!.len === (first!.family === 4 ? 96 : 0))
        return first!.family === 4 ? FAMILY_4 : FAMILY_6;
      const keys = [...new Set(prefixes.map(({ key }) => key))].sort();
      return intern(`c${keys.join(' ')}`, { kind: 'nets', prefixes: [...new Set(prefixes)], text });
    },
    ports: (set) => intern(`p${set}`, { kind: 'ports', set }),
    slice: (group, protocol, port) =>
      intern(`q${group}/${protocol}:${port}`, { kind: 'slice', group, protocol, port }),
    info: (label) => infos.get(label)!,
    groupOf(label) {
      const info = infos.get(label)!;
      return info.kind === 'slice' ? info.group : label;
    },
    get size() {
      return infos.size;
    },
    forget(keep) {
      byKey = new Map([...byKey].filter(([, label]) => keep.has(label)));
      const kept = new Set([FAMILY_4, FAMILY_6, ...byKey.values()]);
      for (const label of infos.keys()) if (!kept.has(label)) infos.delete(label);
    },
    *prefixes() {
      for (const info of infos.values()) if (info.kind === 'nets') yield* info.prefixes;
    },
    describe,
  };
}

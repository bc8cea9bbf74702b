/** What the rows of the node's network are made of, and how addresses stand in them. */
import type { FelixModel } from '../model/model';
import type { Cidr } from './address';
import type { NodePorts } from './endpoints';
import type { NodeLinks } from './links';
import type { NetworkFacts } from './network-facts';
import { rowKey, sameContent, type MatchValue, type Row } from './rows';

export interface NetworkInputs {
  readonly model: FelixModel;
  readonly ports: NodePorts;
  readonly links: NodeLinks;
  readonly facts: NetworkFacts;
}

export function exact(value: bigint): MatchValue {
  return { kind: 'exact', value };
}

export function ternary(cidr: Cidr): Row['match'] {
  return {
    hi: { kind: 'ternary', value: cidr.hi, mask: cidr.maskHi },
    lo: { kind: 'ternary', value: cidr.lo, mask: cidr.maskLo },
  };
}

export function ipv4(address: Cidr): bigint {
  return address.lo & 0xffff_ffffn;
}
/** `now` with the rows of `before` where they are the same; `before` itself when all are. */
export function sameRows(before: readonly Row[] | undefined, now: readonly Row[]): readonly Row[] {
  if (before === undefined) return now;
  if (before.length === now.length && now.every((row, i) => row === before[i])) return before;
  const byKey = new Map(before.map((row) => [rowKey(row), row]));
  const kept = now.map((row) => {
    const was = byKey.get(rowKey(row));
    return was !== undefined && was.note === row.note && sameContent(was, row) ? was : row;
  });
  return before.length === kept.length && kept.every((row, i) => row === before[i]) ? before : kept;
}

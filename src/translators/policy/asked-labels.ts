import { FAMILY_4, FAMILY_6 } from './labels';
import type { DstForm, SrcForm } from './rule-form';

/** The labels of a group, sorted: of an IP_AND_PORT set's group one for each (protocol, port) that it has now, else the group itself. */
export type LabelsOf = (group: number) => readonly number[];

/** What the rules of a branch ask of an address. All sorted. */
export interface AskedLabels {
  readonly labels: readonly number[];
  /** Those of IP_AND_PORT sets, here and at the destination's level: they do not follow from the rules alone. */
  readonly slices: readonly number[];
}

export const NO_LABELS: AskedLabels = { labels: [], slices: [] };

/** A family that is asked for makes both labels known, so that every address has one that counts. */
export function askedLabels(rules: readonly (SrcForm | DstForm)[], labelsOf: LabelsOf): AskedLabels {
  const groups = new Set(rules.flatMap((form) => form.groups));
  if (groups.has(FAMILY_4) || groups.has(FAMILY_6)) groups.add(FAMILY_4).add(FAMILY_6);
  const labels = [...groups].flatMap(labelsOf);
  const below = rules.flatMap((form) => (form.level === 0 ? form.tail.groups : []));
  const slices = [...new Set([...groups, ...below])].flatMap((group) => {
    const own = labelsOf(group);
    return own.length === 1 && own[0] === group ? [] : own;
  });
  const ascending = (a: number, b: number): number => a - b;
  return { labels: labels.sort(ascending), slices: slices.sort(ascending) };
}

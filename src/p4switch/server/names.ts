import type { p4info } from 'p4runtime-js-bindings';

/**
 * p4c names an object in the `.spec` after the last part of its P4 name. It appends `_<n>` when it had to make copies
 * (one of an action for each table, for example) and cuts what exceeds SWX's 64 characters. p4info keeps the full names.
 */

/** A name as p4info has it: `preamble.name` and `preamble.alias`. */
export interface P4Name {
  readonly name: string;
  readonly alias: string;
}

export function nameOf(object: { preamble?: p4info.Preamble | undefined }): P4Name {
  return { name: object.preamble?.name ?? '', alias: object.preamble?.alias ?? '' };
}

/** Names that the spec may use for an object, unchanged. */
function plainNames(p4: P4Name): string[] {
  return [p4.name, p4.alias, p4.name.slice(p4.name.lastIndexOf('.') + 1), p4.name.replaceAll('.', '_')];
}

/** How many characters of a name must agree for it to count as cut. */
const CUT_LENGTH = 48;

/** True when the spec's name may be a copy, or a cut form, of the P4 name. */
function isDerived(specName: string, p4: P4Name, suffix: string): boolean {
  return plainNames(p4).some((plain) => {
    if (specName.startsWith(plain)) return /^_\d+$/.test(removeSuffix(specName, suffix).slice(plain.length));
    return specName.length >= CUT_LENGTH && plain.startsWith(specName.slice(0, CUT_LENGTH));
  });
}

function removeSuffix(name: string, suffix: string): string {
  return suffix !== '' && name.endsWith(suffix) ? name.slice(0, -suffix.length) : name;
}

/**
 * The spec's name for a P4 object among `candidates`: a plain name first, else the one derived name.
 * `suffix` is appended to the plain name in the spec (`_packets`). undefined when there is none, or no single one.
 */
export function findSpecName(p4: P4Name, candidates: Iterable<string>, suffix = ''): string | undefined {
  const all = [...candidates].filter((c) => c.endsWith(suffix));
  const plain = plainNames(p4).find((n) => all.includes(n + suffix));
  if (plain !== undefined) return plain + suffix;
  const derived = all.filter((c) => isDerived(c, p4, suffix));
  return derived.length === 1 ? derived[0] : undefined;
}

/**
 * The spec's names for a list of P4 objects, one each. Lists of the same length are matched by position where every
 * pair could be the same object: p4c keeps the order, and names alone can not tell `a.x` from `b.x`.
 */
export function matchSpecNames(
  p4: readonly P4Name[],
  spec: readonly string[],
): readonly (string | undefined)[] {
  const sameOrder =
    p4.length === spec.length &&
    p4.every((p, i) => plainNames(p).includes(spec[i]!) || isDerived(spec[i]!, p, ''));
  return p4.map((p, i) => (sameOrder ? spec[i] : findSpecName(p, spec)));
}

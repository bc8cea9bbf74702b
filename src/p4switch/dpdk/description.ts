import { CalicoP4Error } from '../../errors';
import type { Learner, Spec, Table } from '../spec/ast';
import type { ByteReader } from './bytes';

/** The numbers by which a loaded program's objects are called in messages, and the widths of their values in bytes. */
export interface Description {
  readonly actions: readonly ActionNumbers[];
  readonly actionByName: ReadonlyMap<string, ActionNumbers>;
  readonly tables: ReadonlyMap<string, TableNumbers>;
  readonly learners: ReadonlyMap<string, LearnerNumbers>;
  readonly selectors: ReadonlyMap<string, number>;
  readonly regarrays: ReadonlyMap<string, { readonly number: number; readonly size: number }>;
  readonly metarrays: ReadonlyMap<string, { readonly number: number; readonly size: number }>;
}

export interface ActionNumbers {
  readonly name: string;
  readonly number: number;
  readonly widths: readonly number[];
}

export interface TableNumbers {
  readonly number: number;
  readonly widths: readonly number[];
  readonly kind: 'stub' | 'exact' | 'lpm' | 'wildcard';
}

export interface LearnerNumbers {
  readonly number: number;
  readonly widths: readonly number[];
  /** False: the engine does not know how this DPDK keeps its entries. */
  readonly readable: boolean;
}

const KINDS = ['stub', 'exact', 'lpm', 'wildcard'] as const;

/**
 * Reads the answer to `describe`, and holds it against the spec as the server read it.
 *
 * @throws CalicoP4Error PIPELINE_MISMATCH when DPDK understood the spec differently
 */
export function readDescription(r: ByteReader, spec: Spec): Description {
  const actions = times(r.u16(), (number): ActionNumbers => {
    const name = r.name();
    return { name, number, widths: times(r.u8(), () => r.u16()) };
  });
  const keyed = (): { readonly name: string; readonly widths: readonly number[] } => {
    const name = r.name();
    r.u32(); // size: the spec has it
    r.u8(); // constant default action: likewise
    const widths = times(r.u8(), () => r.u16());
    times(r.u16(), () => r.raw(3)); // permitted actions: likewise
    return { name, widths };
  };
  const tables = times(r.u16(), (number) => {
    const { name, widths } = keyed();
    return [name, { number, widths, kind: KINDS[r.u8()] ?? 'wildcard' }] as const;
  });
  const learners = times(r.u16(), (number) => {
    const { name, widths } = keyed();
    return [name, { number, widths, readable: r.u8() === 1 }] as const;
  });
  const selectors = times(r.u16(), (number) => {
    const name = r.name();
    r.raw(8); // sizes: the spec has them
    return [name, number] as const;
  });
  const regarrays = times(r.u16(), (number) => [r.name(), { number, size: r.u32() }] as const);
  const metarrays = times(r.u16(), (number) => [r.name(), { number, size: r.u32() }] as const);
  const description: Description = {
    actions,
    actionByName: new Map(actions.map((a) => [a.name, a])),
    tables: new Map(tables),
    learners: new Map(learners),
    selectors: new Map(selectors),
    regarrays: new Map(regarrays),
    metarrays: new Map(metarrays),
  };
  checkAgainst(spec, description);
  return description;
}

function times<T>(count: number, make: (index: number) => T): T[] {
  return Array.from({ length: count }, (_, i) => make(i));
}

function checkAgainst(spec: Spec, d: Description): void {
  const differs = (what: string): CalicoP4Error =>
    new CalicoP4Error('PIPELINE_MISMATCH', `the engine understood the spec differently: ${what}`);
  const check = (
    declared: Table | Learner,
    found: { readonly widths: readonly number[] } | undefined,
  ): void => {
    const widths = declared.keys.map((k) => k.field.bits / 8);
    if (found?.widths.join() !== widths.join()) throw differs(`the keys of ${declared.name}`);
  };
  for (const table of spec.tables.values()) check(table, d.tables.get(table.name));
  for (const learner of spec.learners.values()) check(learner, d.learners.get(learner.name));
  for (const action of spec.actions.values()) {
    const widths = (action.args?.fields ?? []).map((f) => f.bits / 8);
    if (d.actionByName.get(action.name)?.widths.join() !== widths.join())
      throw differs(`the arguments of ${action.name}`);
  }
  for (const name of spec.selectors.keys()) if (!d.selectors.has(name)) throw differs(`selector ${name}`);
  for (const name of spec.regarrays.keys())
    if (!d.regarrays.has(name)) throw differs(`register array ${name}`);
  for (const { name, size } of spec.metarrays.values())
    if ((d.metarrays.get(name)?.size ?? 0) < size) throw differs(`meter array ${name}`);
}

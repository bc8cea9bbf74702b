/**
 * What the numbers on a target stand for, kept where it outlives the process, so that a fresh start gives everything the number that
 * it has on the target already. Numbers carry no meaning (docs/design.md, invariant 4): a memory that is wrong costs rows, never a verdict,
 * as what is on the target is compared with what is wanted, row by row (p4target/foreign-names.ts).
 */
export interface NumberMemory {
  /** What an earlier run left, by number. The same until the process ends. */
  remembered(space: NumberSpace): ReadonlyMap<number, string>;
  /** From now on the number stands for this; `content` is short, and equal for what is equal. */
  note(space: NumberSpace, number: number, content: string): void;
  /** The number stands for nothing any more. It takes effect once the target holds no row that has it (`settle`). */
  drop(space: NumberSpace, number: number): void;
}

/**
 * `node`, `outcome`: of the diagram. `label`: page * LABEL_BITS + bit. `dport`, `sport`: page * PAGE_BITS + bit.
 * By what they belong to, not numbers that were given: `program-page`: the page of an endpoint's direction, where it is not the first;
 * `dport-page`, `sport-page`: of a node's mask, likewise. `endpoint`: what has the endpoint id, and its port.
 */
export type NumberSpace =
  | 'node'
  | 'outcome'
  | 'label'
  | 'program-page'
  | 'dport'
  | 'sport'
  | 'dport-page'
  | 'sport-page'
  | 'endpoint';

export const NO_MEMORY: NumberMemory = {
  remembered: () => new Map(),
  note: () => undefined,
  drop: () => undefined,
};

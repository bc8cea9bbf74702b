/**
 * How large the diagram of one program, and of all programs together, may be. Rules that each ask for a source, a destination and
 * a port of their own multiply: the bound keeps memory and time, and the node's other endpoints, out of their reach.
 * A program beyond it is closed, whatever came before: what is closed depends on model and endpoints alone.
 */
export interface DiagramSize {
  /** Rows of the step tables. */
  readonly rows: number;
  /** Undecided rules, summed over the branches: what the diagram takes in memory. */
  readonly rules: number;
  /** Undecided rules times values that the branch was asked for, summed: what it takes in time. */
  readonly questions: number;
}

export interface SizeLimits {
  /** Of one program. */
  readonly program: DiagramSize;
  /** Of all programs together. */
  readonly node: DiagramSize;
}

/**
 * One program. The step tables hold 720,896 rows together (docs/pipeline.md): one program may have about a tenth of them. The largest
 * of a cluster with 500 policies (recording 08-scale) has some hundred.
 */
const PROGRAM_LIMIT: DiagramSize = { rows: 65_536, rules: 1_048_576, questions: 33_554_432 };

/**
 * All programs. More rows than the pipeline's step tables hold, so that it is the target's tables that decide what fits, as
 * long as memory allows (about 1 GB).
 */
const NODE_LIMIT: DiagramSize = { rows: 1_048_576, rules: 8_388_608, questions: Infinity };

export const SIZE_LIMITS: SizeLimits = { program: PROGRAM_LIMIT, node: NODE_LIMIT };

export const NO_SIZE: DiagramSize = { rows: 0, rules: 0, questions: 0 };

/** Whether `size` has more of anything than `limit` allows. */
export function exceeded(size: DiagramSize, limit: DiagramSize): boolean {
  return size.rows > limit.rows || size.rules > limit.rules || size.questions > limit.questions;
}

export function sumOf(a: DiagramSize, b: DiagramSize): DiagramSize {
  return { rows: a.rows + b.rows, rules: a.rules + b.rules, questions: a.questions + b.questions };
}

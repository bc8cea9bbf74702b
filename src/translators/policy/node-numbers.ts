import type { Contents } from './contents';
import type { Branch, Leaf, Node } from './diagram-node';
import { createIdSpace } from './ids';
import type { NumberMemory } from './number-memory';
import { FIRST_OUTCOME } from './outcomes';

/** The numbers of nodes and outcomes. What is remembered gets the number that it had. */
export interface NodeNumbers {
  branch(node: Branch): number;
  /** Undefined: no counter is left, and the leaf shares one. */
  leaf(leaf: Leaf): number | undefined;
  freeBranch(id: number): void;
  freeLeaf(id: number): void;
  /** The target holds exactly the rows of the last compile: what was remembered, and is not in use, is free. */
  settle(): void;
}

/** Bit 31 marks leaves. */
const NODE_MAX = 0x7fff_ffff;

/** Without `contents` nothing is remembered; `start` is the first number of a node. */
export function createNodeNumbers(
  { start, outcomeLimit }: { readonly start: number; readonly outcomeLimit: number },
  memory: NumberMemory,
  contents: Contents | undefined,
): NodeNumbers {
  const nodes = createNumbers('node', { first: 1, last: NODE_MAX, start }, memory, contents);
  const outcomes = createNumbers(
    'outcome',
    { first: FIRST_OUTCOME, last: outcomeLimit - 1, start: FIRST_OUTCOME },
    memory,
    contents,
  );
  return {
    branch: (node) => nodes.take(node)!,
    leaf: (leaf) => outcomes.take(leaf),
    freeBranch: nodes.free,
    freeLeaf: outcomes.free,
    settle() {
      nodes.settle();
      outcomes.settle();
    },
  };
}

/** What is remembered by a node's number, beside what it stands for. */
const PAGES = ['dport-page', 'sport-page'] as const;

function createNumbers(
  space: 'node' | 'outcome',
  { first, last, start }: { readonly first: number; readonly last: number; readonly start: number },
  memory: NumberMemory,
  contents: Contents | undefined,
): {
  readonly take: (node: Node) => number | undefined;
  readonly free: (id: number) => void;
  readonly settle: () => void;
} {
  const remembered = memory.remembered(space);
  // The next number is beyond all that may still be on the target.
  let beyond = start;
  for (const id of remembered.keys()) if (id >= beyond && id < last) beyond = id + 1;
  const ids = createIdSpace(first, last, beyond);
  const byContent = new Map<string, number>();
  /** What nobody has asked for yet is kept from others all the same. */
  const waiting = new Set<number>();
  for (const [id, content] of remembered) {
    if (!ids.claim(id)) continue;
    waiting.add(id);
    byContent.set(content, id);
  }
  return {
    take(node) {
      if (contents === undefined) return ids.take();
      const content = contents.node(node);
      const before = byContent.get(content);
      const id = before !== undefined && waiting.delete(before) ? before : ids.take();
      if (id !== undefined) memory.note(space, id, content);
      return id;
    },
    free(id) {
      ids.release(id);
      memory.drop(space, id);
    },
    settle() {
      for (const id of waiting) {
        ids.release(id);
        memory.drop(space, id);
        if (space === 'node') for (const page of PAGES) memory.drop(page, id);
      }
      waiting.clear();
      byContent.clear();
    },
  };
}

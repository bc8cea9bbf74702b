import type { Row } from '../rows';
import { keyedRow } from '../rows';
import type { AddressClass, AddressClasses, ClassChanges } from './address-classes';
import type { BranchValue } from './branch-values';
import {
  labelsValue,
  portQuestions,
  protocolValues,
  rangeValues,
  signatureOf,
  signaturesOf,
  singleValues,
} from './branch-values';
import type { Diagram } from './diagram';
import type { Branch, Level } from './diagram-node';
import type { Intervals } from './intervals';
import { createLabelAskers } from './label-askers';
import type { LiveBranch, LiveNodes } from './live-nodes';
import type { Page } from './pages';
import type { PortLabels } from './port-labels';
import type { RowStore } from './row-store';
import type { DiagramSize } from './size-limits';
import { exceeded } from './size-limits';
import { wordsOf } from './words';

/**
 * The rows of single branches: a row of a step table for each value that leads elsewhere than the fallback, and the row of a mask
 * table that says which labels the branch asks for.
 */
export interface BranchRows {
  /**
   * Gives the branch all of its rows. False: the branch alone has more than one program may have, or makes more nodes than
   * that, and it is not filled; some of its rows may be there (`empty` takes them away).
   */
  fill(branch: LiveBranch): boolean;
  /** Brings filled branches to what changed in the classes of a page; those for which that is too much are not filled any more. */
  applyClasses(page: number, changes: ClassChanges): void;
  /** Takes the rows of the step tables away: the branch is not filled. */
  empty(branch: LiveBranch): void;
  /** Takes everything away, for a branch that goes out of use. */
  clear(branch: LiveBranch): void;
}

/** What packets can bring: labels of addresses, by page, and of ports. */
export interface Values {
  readonly page: (number: number) => { readonly page: Page; readonly classes: AddressClasses };
  readonly dport: PortLabels;
  readonly sport: PortLabels;
  readonly intervals: Intervals;
}

/** Questions of branches that may be looked at again because classes changed; when it would be more, the branches are filled anew. */
const TOUCHED_MAX = 100_000;

/** By level. The protocol has no labels. */
const MASKS = [
  { table: 'src_mask', action: 'ask_src' },
  { table: 'dst_mask', action: 'ask_dst' },
  undefined,
  { table: 'dport_mask', action: 'ask_dport' },
  { table: 'sport_mask', action: 'ask_sport' },
] as const;

/** `limit` is that of one program. */
export function createBranchRows(
  diagram: Diagram,
  nodes: LiveNodes,
  rows: RowStore,
  values: Values,
  limit: DiagramSize,
): BranchRows {
  const askers = createLabelAskers();

  const setChild = (branch: LiveBranch, key: string, value: BranchValue): void => {
    const { table, action, fields, child } = value;
    if (branch.children.get(key) === child) return;
    nodes.touch(branch);
    branch.children.set(key, child);
    const match = { node: branch.match, ...fields };
    const row = { table, match, action, params: nodes.params(child, branch.node.level + 1) };
    rows.set(key, keyedRow(key, row));
  };

  const removeChild = (branch: LiveBranch, key: string): void => {
    if (!branch.children.delete(key)) return;
    nodes.touch(branch);
    rows.delete(key);
  };

  const removeChildren = (branch: LiveBranch): void => {
    for (const key of [...branch.children.keys()]) removeChild(branch, key);
  };

  const unfill = (branch: LiveBranch): void => {
    branch.filled = false;
    nodes.touch(branch);
  };

  /** Single ports are asked before the ranges, and so have a row even where they lead to the fallback. */
  const needsRow = (branch: LiveBranch, { table, child }: BranchValue): boolean =>
    table === 'step_dport' || table === 'step_sport' || child !== diagram.fallback(branch.node);

  const fillWith = (branch: LiveBranch, wanted: Iterable<BranchValue>): boolean => {
    const stay = new Set<string>();
    branch.asked = 0;
    for (const value of wanted) {
      branch.asked++;
      if (needsRow(branch, value)) {
        const key = stepKey(branch, value);
        stay.add(key);
        setChild(branch, key, value);
      }
      // What was made is reachable, so that its rules count although it was not visited yet.
      if (nodes.made.rules > limit.rules || exceeded(branchSize(branch), limit)) return false;
    }
    for (const key of [...branch.children.keys()]) if (!stay.has(key)) removeChild(branch, key);
    branch.filled = true;
    return true;
  };

  const fillAddresses = (branch: LiveBranch): boolean => {
    const { node } = branch;
    const { page, classes } = values.page(node.page);
    branch.signatures = signaturesOf(node, classes);
    // A branch without labels leads to one child only, its fallback, and needs no mask.
    if (node.labels.length > 0) {
      askers.add(branch);
      setMask(branch, wordsOf(page, node.labels));
    }
    return fillWith(branch, labelsValues(diagram, node, page, branch));
  };

  const fillPorts = (branch: LiveBranch, level: 3 | 4): boolean => {
    const { node } = branch;
    const questions = portQuestions(diagram, values.intervals, node);
    if (questions.sets.length === 0) return fillWith(branch, singleValues(level, questions));
    branch.ports ??= portLabels(level).take(node.protocol, questions.sets, branch.id);
    const { ports } = branch;
    setMask(branch, { page: BigInt(ports.page), ...ports.words(ports.sets.keys()) });
    return fillWith(branch, [...singleValues(level, questions), ...rangeValues(level, questions, ports)]);
  };

  const portLabels = (level: Level): PortLabels => (level === 3 ? values.dport : values.sport);

  const setMask = (branch: LiveBranch, params: Row['params']): void => {
    const { table, action } = MASKS[branch.node.level]!;
    const key = maskKey(branch, table);
    // A branch is what it asks: its mask never changes.
    if (rows.rows.has(key)) return;
    rows.set(key, keyedRow(key, { table, match: { node: branch.match }, action, params }));
  };

  const addClass = (branch: LiveBranch, page: Page, like: AddressClass): void => {
    const key = signatureOf(branch.node, like);
    const known = branch.signatures.get(key);
    if (known !== undefined) {
      known.count++;
      return;
    }
    const signature = { key, like, count: 1 };
    branch.signatures.set(key, signature);
    branch.asked++;
    const value = labelsValue(diagram, branch.node, page, signature);
    if (needsRow(branch, value)) setChild(branch, stepKey(branch, value), value);
  };

  const removeClass = (branch: LiveBranch, page: Page, like: AddressClass): void => {
    const signature = branch.signatures.get(signatureOf(branch.node, like));
    if (signature === undefined || --signature.count > 0) return;
    branch.signatures.delete(signature.key);
    branch.asked--;
    removeChild(branch, stepKey(branch, labelsValue(diagram, branch.node, page, signature)));
  };

  return {
    fill(branch) {
      const { node } = branch;
      switch (node.level) {
        case 0:
        case 1:
          return fillAddresses(branch);
        case 2:
          return fillWith(branch, protocolValues(diagram, node));
        case 3:
        case 4:
          return fillPorts(branch, node.level);
      }
    },
    applyClasses(number, { born, dead }) {
      const changed = [...born, ...dead];
      const touched = changed.reduce((sum, { labels }) => sum + askers.count(number, labels), 0);
      if (touched > TOUCHED_MAX) {
        for (const { labels } of changed) askers.filled(number, labels).forEach(unfill);
        return;
      }
      const { page } = values.page(number);
      for (const like of born) {
        for (const branch of askers.filled(number, like.labels)) addClass(branch, page, like);
      }
      for (const like of dead) {
        for (const branch of askers.filled(number, like.labels)) removeClass(branch, page, like);
      }
    },
    empty(branch) {
      removeChildren(branch);
      unfill(branch);
    },
    clear(branch) {
      const { node, ports } = branch;
      removeChildren(branch);
      askers.delete(branch);
      if (ports !== undefined) portLabels(node.level).release(ports);
      branch.ports = undefined;
      const mask = MASKS[node.level];
      if (mask !== undefined) rows.delete(maskKey(branch, mask.table));
    },
  };
}

/** Of the branch alone. */
export function branchSize({ node, children, asked }: LiveBranch): DiagramSize {
  return {
    rows: children.size,
    rules: node.forms.length,
    questions: (asked + 1) * node.forms.length,
  };
}

/** One by one: where they are too many, the rest is not made. */
function* labelsValues(
  diagram: Diagram,
  node: Branch,
  page: Page,
  { signatures }: LiveBranch,
): Iterable<BranchValue> {
  for (const signature of signatures.values()) yield labelsValue(diagram, node, page, signature);
}

/** As rowKey would make it: the other fields come after `node` in the alphabet. */
function stepKey({ id }: LiveBranch, { table, keyText }: BranchValue): string {
  // As there: one string, not a tree of strings.
  return [table, '|node=', id.toString(16), ',', keyText, '|0'].join('');
}

/** Likewise. */
function maskKey({ id }: LiveBranch, table: string): string {
  return `${table}|node=${id.toString(16)}|0`;
}

import type { Row } from '../translators/rows';

/**
 * What a table's rows are for, as far as the order of writing goes. The reconciler knows a pipeline by these four roles:
 *
 * - `node`: rows of named nodes. A packet reaches a node's rows only through a row that names the node. Names never
 *   change their meaning while the target holds rows of them. Absence of a row is *not* safe: it takes a default.
 * - `selector`: lookups that give a packet the value by which nodes are asked (labels of an address or a port).
 *   Any change is seen by packets at once; absence is *not* safe.
 * - `gate`: rows that name the node where judging begins. Absence drops the packet.
 * - `path`: everything else a packet needs to be forwarded at all. Absence drops, or at least never skips a gate.
 */
export type TableRole = 'node' | 'selector' | 'gate' | 'path';

export interface OrderedTable {
  readonly table: string;
  readonly role: TableRole;
  /**
   * `selector` tables: the space of the values that the rows give. `node` tables: the space of the values that the rows answer
   * to; none when no selector gives what is looked up there (a protocol, a single port).
   */
  readonly space?: string;
  /**
   * `node` tables with a space: a row says which bits of the value its node asks for, and the node's rows in the other tables
   * of the space answer to what is left of a value behind it. A node without such a row takes its default without a look-up.
   */
  readonly masks?: true;
  /**
   * `path` tables: rows limit what others let pass, and their absence is no limit. They are changed in place, before anything
   * opens, and go last.
   */
  readonly limits?: true;
}

/** A pipeline's tables and their references. Declared by the adapter, used by the planner. */
export interface WriteOrder {
  /**
   * In the order of inserting, each table once. Node tables: a row names only nodes of tables before its own. Selector
   * tables: one that is looked up only when another misses comes after it.
   */
  readonly tables: readonly OrderedTable[];
  /** What a look-up gives that hits no selector row of the space; undefined where it has the packet dropped. */
  readonly missGives: (space: string) => bigint | undefined;
  /** `node` tables: the name of the node that the row is part of. */
  readonly partOf: (row: Row) => bigint;
  /** `node` and `gate` tables: every node that the row names (not leaves). */
  readonly names: (row: Row) => readonly bigint[];
  /** Tables with a space: the value that a selector row gives, that a node row answers to (masked), or the mask. */
  readonly value: (row: Row) => bigint;
  /**
   * Of a `selector` row the page that it is on; of a mask the page that its node reads, undefined where that is not known: then it may be
   * any. Numbers of different spaces are different. All rows of a page are in each state in which a node that reads it can be reached.
   */
  readonly page: (row: Row) => bigint | undefined;
  /**
   * `gate` tables: of the gates that one packet passes, no two have the same number. They open from the lowest on, so the one with the
   * lowest number may flip in place while the others are shut.
   */
  readonly turn: (row: Row) => number;
  /**
   * `path` tables: the row changes nothing of which packets go where, only what happens to them on the way (limits, marks), so that it may
   * be changed in place. Others go before anything changes and come back at the end.
   */
  readonly samePath: (from: Row, to: Row) => boolean;
  /** `gate` tables: packets of any addresses pass it, and the gates of their endpoints too. */
  readonly ofAll: (row: Row) => boolean;
  /**
   * The address that a row is about: of `path` rows, one that an endpoint here has; of `selector` rows, the one that gets a value,
   * `many` for more than one. `undefined` for rows about something else.
   */
  readonly address: (row: Row) => string | undefined;
  /** `selector` tables of one space: every look-up that matches `inner` would match `outer` too. */
  readonly contains: (outer: Row, inner: Row) => boolean;
  /**
   * For targets without MODIFY: a row of another selector table which answers every lookup that `row` answers with the
   * same value once `row` is absent, and never before. `undefined` when the pipeline has no such place.
   */
  readonly cover: (row: Row) => Row | undefined;
}

/**
 * Which of several rows of one table that match a packet wins: larger wins. P4Runtime priority for ternary rows, prefix
 * length for LPM rows, 0 for exact ones.
 */
export function specificity(row: Row): number {
  if (row.priority !== undefined) return row.priority;
  for (const match of Object.values(row.match)) if (match.kind === 'lpm') return match.prefixLen;
  return 0;
}

/** The tables of a role, in the order of inserting. */
export function tablesOf(order: WriteOrder, role: TableRole): readonly string[] {
  return order.tables.filter((t) => t.role === role).map((t) => t.table);
}

/** Whether the table's rows limit, and nothing else. */
export function limitsOnly(order: WriteOrder, table: string): boolean {
  return order.tables.some((t) => t.table === table && t.limits === true);
}

/** @throws Error (a programming error) for a table that the order does not name */
export function roleOf(order: WriteOrder, table: string): TableRole {
  const found = order.tables.find((t) => t.table === table);
  if (!found) throw new Error(`table ${table} is not in the pipeline's write order`);
  return found.role;
}

/** The spaces that selectors give values of. */
export function spacesOf(order: WriteOrder): readonly string[] {
  const spaces = order.tables.flatMap(({ role, space }) => (role === 'selector' && space ? [space] : []));
  return [...new Set(spaces)];
}

/** The selector tables of a space, in the order of inserting. */
export function selectorsOf(order: WriteOrder, space: string): readonly string[] {
  return order.tables.flatMap((t) => (t.role === 'selector' && t.space === space ? [t.table] : []));
}

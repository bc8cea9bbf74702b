import type { Row } from '../translators/rows';
import type { Delta, RowsByTable } from './row-tracker';
import { tablesOf, type WriteOrder } from './write-order';

/**
 * Pages of selector tables that come or go whole. No program of the old state reads a page that comes, so that its rows
 * change nothing before gates flip; none of the new state reads one that goes, so that its rows can wait until gates have flipped.
 */
export interface PageChanges {
  readonly come: ReadonlySet<bigint>;
  readonly go: ReadonlySet<bigint>;
}

export function pageChanges(
  delta: Delta,
  actual: RowsByTable,
  desired: RowsByTable,
  order: WriteOrder,
): PageChanges {
  const selectors = new Set(tablesOf(order, 'selector'));
  const absent = (rows: readonly Row[], state: RowsByTable): ReadonlySet<bigint> => {
    const pages = new Set<bigint>();
    for (const row of rows) {
      const page = selectors.has(row.table) ? order.page(row) : undefined;
      if (page !== undefined) pages.add(page);
    }
    for (const page of pages) if (holdsPage(state, page, selectors, order)) pages.delete(page);
    return pages;
  };
  return { come: absent(delta.inserts, actual), go: absent(delta.deletes, desired) };
}

/** The row is of a page that comes or goes whole. */
export function isOfChangedPage({ come, go }: PageChanges, row: Row, order: WriteOrder): boolean {
  if (come.size === 0 && go.size === 0) return false;
  const page = order.page(row);
  return page !== undefined && (come.has(page) || go.has(page));
}

function holdsPage(
  state: RowsByTable,
  page: bigint,
  selectors: ReadonlySet<string>,
  order: WriteOrder,
): boolean {
  for (const table of selectors) {
    for (const row of state.get(table)?.values() ?? []) if (order.page(row) === page) return true;
  }
  return false;
}

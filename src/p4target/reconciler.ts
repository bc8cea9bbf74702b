import { status } from '@grpc/grpc-js';
import { logger } from '../log';
import { rowKey, sameContent, type Row } from '../translators/rows';
import { resultOf, Run, type ApplyResult } from './apply-result';
import { contradiction } from './foreign-names';
import { isCode } from './grpc-errors';
import { nodesMinding } from './failed-selectors';
import { addNodesReaching, gatesNaming, nodesReachable } from './hazards';
import { planWrites, type Phase, type Plan, type RowUpdate } from './plan';
import { entryText } from './row-text';
import type { RowTarget, UpdateOutcome } from './row-target';
import { RowTracker, type RowsByTable } from './row-tracker';
import { roleOf, type WriteOrder } from './write-order';

export type { ApplyResult, RowFailure } from './apply-result';

const log = logger('reconciler');

/** Plans again at most so often in one apply when the target turns out to hold something else than was known. */
const MAX_ROUNDS = 4;

export interface ReconcilerOptions {
  /**
   * True when names of nodes and values that an earlier run left on the target are known to mean the same in this run.
   * Otherwise any difference after a read-back is written with all gates shut.
   */
  readonly readBackIsTrusted: boolean;
}

/**
 * Makes a target's tables equal to a desired set of rows, in the order of plan.ts. One apply at a time.
 *
 * A failure leaves rows dirty, and the next apply tries them again from what was acknowledged:
 *  F1  A node row that fails takes its node with it, and all that names the node, up to the gates: these are shut, with
 *      the program that they had before, or not opened. Everything else goes on.
 *  F2  A selector row that fails does the same to the nodes that mind it (failed-selectors.ts).
 *  F3  A row that can not be removed where removal closes stops the apply.
 *  F4  After any failure only nodes that no packet can reach are swept. When that makes room in a table that was full, the apply plans
 *      again: who could not have the old and the new program side by side is closed between them. When it does not, though old rows
 *      are in the way, they are removed with all gates shut.
 *  F5  When the target can not be reached, or another controller is primary, what it holds is unknown: it is read again
 *      before the next write.
 */
export class Reconciler {
  readonly #target: RowTarget;
  readonly #order: WriteOrder;
  readonly #options: ReconcilerOptions;
  readonly #tracker: RowTracker;
  #loaded = false;
  #trusted = false;
  /** The numbers are trusted on somebody's word, and rows have not shown yet that they mean the same. */
  #unproved = false;
  /** Tracker.digest of rows whose numbers mean the same in this run. */
  #known: string | undefined;
  #keepsDigest = false;
  /** The last apply left nothing to do: `actual` is one state that the caller had asked for. */
  #clean = false;
  #busy = false;

  constructor(
    target: RowTarget,
    order: WriteOrder,
    options: ReconcilerOptions = { readBackIsTrusted: false },
  ) {
    this.#target = target;
    this.#order = order;
    this.#options = options;
    this.#tracker = new RowTracker(order.tables.map((t) => t.table));
  }

  get desired(): RowsByTable {
    return this.#tracker.desired;
  }

  /** What the target is known to hold. */
  get actual(): RowsByTable {
    return this.#tracker.actual;
  }

  /** Rows that the next apply would write. */
  get dirtyCount(): number {
    return this.#tracker.dirtyCount;
  }

  setDesired(row: Row): void {
    this.#refuseWhileBusy();
    this.#tracker.setDesired(row);
  }

  removeDesired(row: Pick<Row, 'table' | 'match' | 'priority'>): void {
    this.#refuseWhileBusy();
    this.#tracker.removeDesired(row);
  }

  replaceDesired(rows: Iterable<Row>): void {
    this.#refuseWhileBusy();
    this.#tracker.replaceDesired(rows);
  }

  /** For a caller that knows what differs from the desired state so far; `removed` before `written`. */
  changeDesired(removed: Iterable<Row>, written: Iterable<Row>): void {
    this.#refuseWhileBusy();
    for (const row of removed) this.#tracker.removeDesired(row);
    for (const row of written) this.#tracker.setDesired(row);
  }

  /** TargetTraits.modify. */
  get canModify(): boolean {
    return this.#target.traits.modify;
  }

  /** TargetTraits.meters. */
  get hasMeters(): boolean {
    return this.#target.traits.meters;
  }

  /** False when what the target holds must be read before the next write. */
  get loaded(): boolean {
    return this.#loaded;
  }

  /**
   * From now on `digest` is kept, and rows that are read back with a digest that is known are no rows of another run: those of the last
   * apply that left nothing to do, and those with this digest, for a caller that has given numbers the meaning that they have there.
   */
  expect(digest: string | undefined): void {
    this.#keepsDigest = true;
    this.#known = digest;
  }

  /** Names the rows that the target is known to hold; see `expect`. */
  get digest(): string {
    return this.#tracker.digest();
  }

  /** False when the numbers on the target may mean something else than in this run. */
  get trusted(): boolean {
    return this.#trusted;
  }

  /** F5, for a caller that knows: the target may have been restarted, or written by somebody else. */
  forget(): void {
    this.#refuseWhileBusy();
    this.#loaded = false;
    this.#clean = false;
  }

  /** Reads all tables of the write order. apply does it when needed. */
  async load(): Promise<void> {
    for (const { table } of this.#order.tables) {
      this.#tracker.replaceActual(table, await this.#target.readTable(table));
    }
    this.#loaded = true;
    this.#unproved = this.#keepsDigest && this.#known === this.#tracker.digest();
    this.#trusted = this.#options.readBackIsTrusted || this.#unproved;
  }

  /**
   * Writes what differs. Refused updates do not throw: they are in the result.
   *
   * @param crossComplete PlanInput.crossComplete, for a caller that applies a transition state first (old and new
   * programs for old and new values), then the final one; believed only as long as nothing has failed
   * @throws CalicoP4Error TARGET_UNREACHABLE, TARGET_NOT_PRIMARY, PIPELINE_MISMATCH
   */
  async apply(crossComplete = false): Promise<ApplyResult> {
    this.#refuseWhileBusy();
    this.#busy = true;
    try {
      if (!this.#loaded) await this.load();
      return await this.#applyRounds(crossComplete && this.#clean);
    } catch (error) {
      this.#loaded = false;
      this.#clean = false;
      throw error;
    } finally {
      this.#busy = false;
    }
  }

  #refuseWhileBusy(): void {
    if (this.#busy)
      throw new Error('the desired state must not change, nor a second apply start, while apply runs');
  }

  async #applyRounds(crossComplete: boolean): Promise<ApplyResult> {
    const run = new Run();
    let forced = '';
    let untrusted = 'the target holds rows of another run';
    if (this.#unproved && this.#tracker.dirtyCount > 0) {
      const { actual, desired } = this.#tracker;
      const why = contradiction(this.#tracker.delta(), actual, desired, this.#order);
      if (why !== '') {
        this.#trusted = false;
        untrusted += `, as what is remembered of it does not fit: ${why}`;
      }
      this.#unproved = false;
    }
    for (let round = 0; round < MAX_ROUNDS && this.#tracker.dirtyCount > 0; round++) {
      const plan = planWrites({
        delta: this.#tracker.delta(),
        actual: this.#tracker.actual,
        desired: this.#tracker.desired,
        order: this.#order,
        canModify: this.#target.traits.modify,
        crossComplete: crossComplete && round === 0,
        closeReason: forced === '' && !this.#trusted ? untrusted : forced,
      });
      if (plan.mode === 'closed') log.info('writing with all gates shut', { reason: plan.reason });
      run.beginRound(plan);
      await this.#runPlan(plan, run);
      if (run.failures.size === 0 && !run.surprised) break;
      if (!run.surprised && plan.mode === 'open' && madeRoom(run)) continue;
      if (plan.mode === 'open' && this.#couldMakeRoom(run))
        forced = 'a table has no room for the old and the new rows';
      else if (!run.surprised) break;
    }
    if (this.#nothingForeign()) this.#trusted = true;
    const result = resultOf(run, this.#tracker, this.#target);
    this.#clean = result.failed.size === 0;
    if (this.#clean) {
      this.#unproved = false;
      if (this.#keepsDigest) this.#known = this.#tracker.digest();
    }
    return result;
  }

  async #runPlan(plan: Plan, run: Run): Promise<void> {
    const poisoned = new Set<bigint>();
    let nodesDone = false;
    for (const phase of plan.phases) {
      if (run.surprised) return;
      if (!nodesDone && phaseIsAfterNodes(phase, plan)) {
        nodesDone = true;
        if (!(await this.#shutPoisoned(poisoned, run))) return;
      }
      const careful = phase.step === 'sweep' && plan.mode === 'open' && run.failures.size > 0;
      const updates = careful ? this.#unreachable(phase) : this.#withoutHeld(phase, poisoned, run);
      const refused = await this.#write(updates, run);
      if (refused.length === 0) continue;
      if (phase.step === 'close' || phase.step === 'hold') return;
      for (const { row } of refused) {
        if (roleOf(this.#order, row.table) === 'node') poisoned.add(this.#order.partOf(row));
      }
      const selectors = refused.filter(({ row }) => roleOf(this.#order, row.table) === 'selector');
      // With open gates only pages that none of them reads are swept.
      const unread = phase.step === 'sweep' && plan.mode === 'open';
      if (selectors.length === 0 || unread) continue;
      if (!(await this.#shutMinding(selectors, poisoned, run))) return;
    }
    if (!nodesDone) await this.#shutPoisoned(poisoned, run);
  }

  /** F1: leaves out, and notes as held, what names a node that could not be completed. */
  #withoutHeld(phase: Phase, poisoned: Set<bigint>, run: Run): readonly RowUpdate[] {
    if (poisoned.size === 0 || phase.step === 'close' || phase.step === 'sweep') return phase.updates;
    return phase.updates.flatMap((update) => {
      const { type, row } = update;
      const role = roleOf(this.#order, row.table);
      if (type === 'delete' || (role !== 'node' && role !== 'gate')) return [update];
      const missing = this.#order.names(row).find((node) => poisoned.has(node));
      if (missing !== undefined) {
        if (role === 'node') poisoned.add(this.#order.partOf(row));
        run.hold(row, `it names node ${missing}, whose rows are not all on the target`);
        return [];
      }
      // A gate that was shut because of what it led to before.
      const isShut = type === 'modify' && !this.#tracker.actual.get(row.table)!.has(rowKey(row));
      return [isShut ? { type: 'insert', row } : update];
    });
  }

  /** F4. */
  #unreachable(phase: Phase): readonly RowUpdate[] {
    const reachable = nodesReachable(this.#tracker.actual, this.#order);
    return phase.updates.filter(
      ({ row }) => roleOf(this.#order, row.table) === 'node' && !reachable.has(this.#order.partOf(row)),
    );
  }

  /** F1: shuts the gates from which an incomplete node can be reached, now or as desired. False when one could not be shut. */
  async #shutPoisoned(poisoned: Set<bigint>, run: Run): Promise<boolean> {
    if (poisoned.size === 0) return true;
    const { desired, actual } = this.#tracker;
    addNodesReaching(poisoned, this.#order, [desired, actual]);
    const shut = gatesNaming(poisoned, actual, this.#order);
    for (const [key, row] of gatesNaming(poisoned, desired, this.#order)) {
      run.hold(row, 'a node that it leads to could not be completed');
      const before = actual.get(row.table)?.get(key);
      if (before) shut.set(key, before);
    }
    const refused = await this.#write(
      [...shut.values()].map((row) => ({ type: 'delete', row })),
      run,
    );
    return refused.length === 0;
  }

  /** F2. */
  #shutMinding(selectors: readonly RowUpdate[], poisoned: Set<bigint>, run: Run): Promise<boolean> {
    const { desired, actual } = this.#tracker;
    const rows = selectors.map(({ row }) => row);
    for (const node of nodesMinding(rows, this.#order, desired, actual)) poisoned.add(node);
    return this.#shutPoisoned(poisoned, run);
  }

  /** Writes and books the outcomes. @returns the updates that were refused */
  async #write(updates: readonly RowUpdate[], run: Run): Promise<readonly RowUpdate[]> {
    if (updates.length === 0) return [];
    const outcomes = await this.#target.write(updates);
    const refused: RowUpdate[] = [];
    for (const [i, update] of updates.entries()) {
      const outcome = outcomes[i] ?? {
        ok: false,
        code: status.UNKNOWN,
        message: 'the target gave no answer',
      };
      if (outcome.ok || (update.type === 'delete' && isCode(outcome.code, status.NOT_FOUND)))
        this.#book(update, run);
      else if (!(await this.#resolve(update, outcome, run))) {
        refused.push(update);
        run.refuse(update, outcome);
      }
    }
    return refused;
  }

  #book(update: RowUpdate, run: Run): void {
    if (update.type === 'delete') this.#tracker.removeActual(update.row);
    else this.#tracker.setActual(update.row);
    run.count(update);
  }

  /**
   * The target holds something else than was known: learns what it holds, and has the apply plan again from there.
   * True when the update is done for all that.
   */
  async #resolve(update: RowUpdate, outcome: UpdateOutcome & { ok: false }, run: Run): Promise<boolean> {
    const exists = update.type === 'insert' && isCode(outcome.code, status.ALREADY_EXISTS);
    const gone = update.type === 'modify' && isCode(outcome.code, status.NOT_FOUND);
    if (!exists && !gone) return false;
    const held = await this.#target.readRow(update.row);
    if (held) this.#tracker.setActual(held);
    else this.#tracker.removeActual(update.row);
    const dirty = held === undefined || !sameContent(held, update.row);
    if (!dirty) return true;
    log.warn('the target holds another row than was known', { entry: entryText(update.row) });
    this.#trusted = false;
    run.surprised = true;
    return false;
  }

  /** Every row by which verdicts are found is one that this run wants: the numbers on the target are ours. */
  #nothingForeign(): boolean {
    const { modifies, deletes } = this.#tracker.delta();
    return [...modifies.map((m) => m.from), ...deletes].every(
      (row) => roleOf(this.#order, row.table) === 'path',
    );
  }

  /** F4: some table is full, and holds rows that are to go. */
  #couldMakeRoom(run: Run): boolean {
    if (run.fullTables.size === 0) return false;
    return this.#tracker.delta().deletes.some((row) => run.fullTables.has(row.table));
  }
}

/** F4: some table was full, and has room now. */
function madeRoom(run: Run): boolean {
  return [...run.fullTables].some((table) => run.freed.has(table));
}

/** In closed mode the gates are shut from the start, so incomplete nodes matter when the gates open. */
function phaseIsAfterNodes(phase: Phase, plan: Plan): boolean {
  if (phase.step === 'close' || phase.step === 'nodes') return false;
  return plan.mode === 'open' || phase.step !== 'sweep';
}

/**
 * How many rows a change costs in a cluster of 10,000 remote pods and 500 policies (recording 08-scale, remote-churn). The environment
 * gives other measures: CALICO_P4_TEST_FULL=1 takes the whole step, CALICO_P4_TEST_BATCH the frames in a batch.
 */
import { createFelixSession } from '../../src/driver/felix/felix-session';
import { createPlacement } from '../../src/driver/placement';
import { activeWorkloads } from '../../src/translators/endpoints';
import { createPolicyCompiler } from '../../src/translators/policy/compiler';
import { framesOf, recording, testWith } from '../unit/driver/felix/recordings';

const IN_SYNC = 3950;
const CHURN_END = 22_684;
const SAMPLED_FRAMES = 4096;
/** What Felix has said while the driver was writing. */
const BATCH = Number(process.env['CALICO_P4_TEST_BATCH'] ?? 512);

const scaleTest = testWith('08-scale');

scaleTest(
  'a changed member of an IP set costs two rows at most on average, one of them of its address',
  () => {
    const frames = framesOf(recording('08-scale'));
    const session = createFelixSession();
    const compiler = createPolicyCompiler();
    const placement = createPlacement(2);
    const compile = () =>
      compiler.compile(session.model, placement.place(activeWorkloads(session.model))).changes;
    for (let i = 0; i <= IN_SYNC; i++) session.push(frames[i]!);
    compile();

    const last = process.env['CALICO_P4_TEST_FULL'] === '1' ? CHURN_END : IN_SYNC + SAMPLED_FRAMES;
    const byTable = new Map<string, number>();
    let members = 0;
    let rows = 0;
    let compiles = 0;
    let sizes = sizesOf(session.model);
    for (let i = IN_SYNC + 1; i <= last; i++) {
      const before = session.frames;
      session.push(frames[i]!);
      expect(session.frames).toBe(before + 1);
      const changed = session.takeChanges();
      if (changed.ipSets.size === 0 && i < last) continue;
      const now = sizesOf(session.model);
      for (const id of changed.ipSets) {
        // A delta of one frame adds or removes; a new set or one that went counts with all of its members.
        members += Math.max(1, Math.abs((now.get(id) ?? 0) - (sizes.get(id) ?? 0)));
      }
      sizes = now;
      if ((i - IN_SYNC) % BATCH !== 0 && i < last) continue;
      compiles++;
      const { written, removed } = compile();
      rows += written.size + removed.size;
      for (const { table } of [...written.values(), ...removed.values()])
        byTable.set(table, (byTable.get(table) ?? 0) + 1);
    }
    console.info(
      `batch ${BATCH}, ${compiles} compiles, ${last - IN_SYNC} messages, ${members} members changed, ${rows} rows written: ${(rows / members).toFixed(3)} a member;`,
      Object.fromEntries(byTable),
    );
    expect(members).toBeGreaterThan(100);
    // Written on their own, the messages of one change of the datastore make combinations of labels that nobody had before, with
    // rows and nodes of their own, and gone with the next message: docs/guarantees.md. The link gives them as one batch.
    if (BATCH < 64) return;
    expect((byTable.get('addr_labels') ?? 0) / members).toBeLessThanOrEqual(1);
    expect(rows / members).toBeLessThanOrEqual(2);
  },
  600_000,
);

function sizesOf(model: { readonly ipSets: ReadonlyMap<string, { readonly members: ReadonlySet<string> }> }) {
  return new Map([...model.ipSets].map(([id, { members }]) => [id, members.size]));
}

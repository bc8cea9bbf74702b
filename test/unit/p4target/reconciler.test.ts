import { status } from '@grpc/grpc-js';
import type { RowUpdate } from '../../../src/p4target/plan';
import { Reconciler } from '../../../src/p4target/reconciler';
import { rowKey, type Row } from '../../../src/translators/rows';
import { TOY_ORDER, ToyCompiler, ToyTarget, type ToyState } from './toy-policy';

const POLICED: ToyState = {
  labels: [1, 2, 0, 0],
  prefixLabels: [0, 4],
  programs: [
    [
      { src: 0, dst: 1, allow: true },
      { dst: 2, allow: true },
    ],
    [{ allow: true }],
  ],
  pages: [1, 1],
};

async function ready(state: ToyState = POLICED) {
  const compiler = new ToyCompiler();
  const target = new ToyTarget({ modify: true });
  const reconciler = new Reconciler(target, TOY_ORDER);
  reconciler.replaceDesired(compiler.rows(state));
  await reconciler.apply();
  return { compiler, target, reconciler };
}

function gates(target: ToyTarget): bigint[] {
  const found = [...target.rows.values()].filter((row) => row.table === 'endpoint_root');
  return found.map((row) => row.match['ep']!.value).sort();
}

const refuseInsert =
  (table: string) =>
  ({ type, row }: RowUpdate): boolean =>
    type !== 'delete' && row.table === table;

describe('reconciler', () => {
  it('writes nothing when a new run finds the target as desired', async () => {
    const { compiler, target } = await ready();
    const writes = target.writes;
    const next = new Reconciler(target, TOY_ORDER);
    next.replaceDesired(compiler.rows(POLICED));
    const result = await next.apply();
    expect(result).toMatchObject({ written: 0, closedBecause: '' });
    expect(target.writes).toBe(writes);
  });

  it('F1: shuts only the gates that lead to a node whose row was refused, and opens them again later', async () => {
    const [rules, other] = POLICED.programs;
    const before: ToyState = { ...POLICED, programs: [[{ src: 2, dst: 0, allow: true }, ...rules!], other] };
    const { compiler, target, reconciler } = await ready(before);
    // Labels 0 and 2 at once: the program of endpoint 0 has no row for that yet, and that of endpoint 1 does not ask.
    reconciler.replaceDesired(compiler.rows({ ...before, labels: [1, 2, 1, 0] }));
    target.refuse = refuseInsert('step_src');
    const result = await reconciler.apply();
    expect(gates(target)).toEqual([1n]);
    expect(result.error?.code).toBe('TARGET_WRITE_FAILED');
    expect(result.error?.message).toMatch(/did not take step_src node=0x.* refused by the test/);
    expect(
      [...result.failed.values()].some((f) => f.row.table === 'endpoint_root' && f.kind === 'held'),
    ).toBe(true);

    target.refuse = () => false;
    expect((await reconciler.apply()).error).toBeUndefined();
    expect(gates(target)).toEqual([0n, 1n]);
  });

  it('F2: shuts the gates of programs that mind when the labels of an address can not be written, and no others', async () => {
    const { compiler, target, reconciler } = await ready();
    reconciler.replaceDesired(compiler.rows({ ...POLICED, labels: [2, 2, 0, 0] }));
    target.refuse = refuseInsert('addr_labels');
    const result = await reconciler.apply();
    // Endpoint 1 has the same verdict for every address.
    expect(gates(target)).toEqual([1n]);
    expect(result.failed.size).toBeGreaterThanOrEqual(2);

    target.refuse = () => false;
    expect((await reconciler.apply()).error).toBeUndefined();
    expect(gates(target)).toEqual([0n, 1n]);
  });

  it('F1: an endpoint whose new program can not be written does not stay on its old one', async () => {
    const { compiler, target, reconciler } = await ready();
    reconciler.replaceDesired(
      compiler.rows({ ...POLICED, programs: [[{ src: 1, dst: 1, allow: true }], POLICED.programs[1]] }),
    );
    target.refuse = refuseInsert('step_dst');
    const result = await reconciler.apply();
    expect(gates(target)).toEqual([1n]);
    expect(result.error?.message).toMatch(/did not take step_(src|dst)/);
  });

  it('F4: makes room in a full table by closing the endpoint that changes, and nobody else', async () => {
    const next: ToyState = { ...POLICED, programs: [[{ src: 1, dst: 0, allow: true }], POLICED.programs[1]] };
    const compiler = new ToyCompiler();
    const [old, wanted] = [compiler.rows(POLICED), compiler.rows(next)];
    const of = (rows: readonly Row[], table: string): number => rows.filter((r) => r.table === table).length;
    const sizes = Object.fromEntries(
      ['step_src', 'step_dst'].map((table) => [table, Math.max(of(old, table), of(wanted, table))]),
    );
    const target = new ToyTarget({ modify: true, sizes });
    const reconciler = new Reconciler(target, TOY_ORDER);
    reconciler.replaceDesired(old);
    await reconciler.apply();
    reconciler.replaceDesired(wanted);
    let wasShut = false;
    target.watch = (t) => {
      const open = gates(t);
      expect(open).toContain(1n);
      wasShut ||= !open.includes(0n);
    };
    expect(await reconciler.apply()).toMatchObject({ closedBecause: '', failed: new Map() });
    expect(wasShut).toBe(true);
    expect(gates(target)).toEqual([0n, 1n]);
  });

  it('F3: goes no further when a removed endpoint can not be closed', async () => {
    const { compiler, target, reconciler } = await ready();
    reconciler.replaceDesired(compiler.rows({ ...POLICED, programs: [undefined, POLICED.programs[1]] }));
    const before = [...target.rows.keys()].filter((key) => !key.startsWith('port_in'));
    target.refuse = ({ row }) => row.table === 'endpoint_root';
    const result = await reconciler.apply();
    expect(result.error?.code).toBe('TARGET_WRITE_FAILED');
    for (const key of before) expect(target.rows.has(key)).toBe(true);
  });

  it('names a full table, its fill and what is held back', async () => {
    const compiler = new ToyCompiler();
    const target = new ToyTarget({ modify: true, sizes: { step_dst: 1 } });
    const reconciler = new Reconciler(target, TOY_ORDER);
    reconciler.replaceDesired(compiler.rows(POLICED));
    const { error } = await reconciler.apply();
    expect(error?.code).toBe('TARGET_TABLE_FULL');
    expect(error?.message).toMatch(/table step_dst of toy is full \(1 of 1 entries\)/);
    expect(gates(target)).toEqual([1n]);
  });

  it('takes a row that is already there for written, and rewrites one that is there with other content', async () => {
    const compiler = new ToyCompiler();
    const target = new ToyTarget({ modify: true });
    const reconciler = new Reconciler(target, TOY_ORDER);
    await reconciler.load();
    const rows = compiler.rows(POLICED);
    // Another controller's doing, after our read.
    const [same, other] = rows.filter((row) => row.table === 'addr_labels');
    target.rows.set(rowKey(same!), same!);
    target.rows.set(rowKey(other!), { ...other!, params: { ...other!.params, w1: 4711n } });
    reconciler.replaceDesired(rows);
    expect((await reconciler.apply()).error).toBeUndefined();
    expect(target.rows.get(rowKey(other!))!.params).toEqual(other!.params);
  });

  it('inserts a row that it believed to be there, and takes a row that is gone for deleted', async () => {
    const { compiler, target, reconciler } = await ready();
    const gone = [...target.rows.values()].filter((row) => row.table === 'addr_labels');
    for (const row of gone) target.rows.delete(rowKey(row));
    reconciler.replaceDesired(compiler.rows({ ...POLICED, labels: [2, 0, 0, 0] }));
    expect((await reconciler.apply()).error).toBeUndefined();
    expect(target.count('addr_labels')).toBe(1);
  });

  it('F5: reads the target again after it could not be reached', async () => {
    const { compiler, target, reconciler } = await ready();
    const write = target.write.bind(target);
    target.write = () => Promise.reject(Object.assign(new Error('gone'), { code: status.UNAVAILABLE }));
    reconciler.setDesired({
      table: 'port_in',
      match: { port: { kind: 'exact', value: 9n } },
      action: 'from_pod',
      params: { ep: 9n },
    });
    await expect(reconciler.apply()).rejects.toThrow('gone');
    target.write = write;
    // Meanwhile the server was started anew, and is empty.
    target.rows.clear();
    await reconciler.apply();
    expect(target.rows.size).toBe(compiler.rows(POLICED).length + 1);
  });

  it('refuses a change of the desired state while it writes', async () => {
    const { target, reconciler } = await ready();
    const row: Row = {
      table: 'port_in',
      match: { port: { kind: 'exact', value: 9n } },
      action: 'from_host',
      params: {},
    };
    target.watch = () => {
      reconciler.removeDesired(row);
    };
    reconciler.setDesired(row);
    await expect(reconciler.apply()).rejects.toThrow('must not change');
  });
});

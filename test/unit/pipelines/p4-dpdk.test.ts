/** The committed artefacts are what the committed source compiles to, and what DPDK and the documents say they are. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { parseP4InfoText } from '../../../src/p4info/text-format';
import { parseSpec } from '../../../src/p4switch/spec/parser';
import { checkSpecLimits } from '../../../src/p4switch/spec/limits';
import { P4_DPDK_TABLES } from '../../../src/p4target/p4-dpdk/adapter';

const root = path.join(__dirname, '../../..');
const folder = path.join(root, 'pipelines/p4-dpdk');
const read = (name: string): string => readFileSync(path.join(folder, name), 'utf8');
const artefacts = JSON.parse(read('artefacts.json')) as {
  compiler: string;
  sources: Record<string, string>;
  artefacts: Record<string, string>;
};
const spec = parseSpec(read('calico.spec'));
const p4info = parseP4InfoText(read('calico.p4info.txtpb'));
const LEARNED = ['ct', 'fragments'];

test('every source and artefact is the one that was recorded when it was compiled', () => {
  const recorded = { ...artefacts.sources, ...artefacts.artefacts };
  expect(Object.keys(recorded).sort()).toEqual([
    'calico.p4',
    'calico.p4info.txtpb',
    'calico.spec',
    'headers.p4',
    'parser.p4',
  ]);
  for (const [name, hash] of Object.entries(recorded)) {
    expect(`${name} ${createHash('sha256').update(read(name)).digest('hex')}`).toBe(`${name} ${hash}`);
  }
  expect(artefacts.compiler).toMatch(/^p4c-dpdk \d+\.\d+\.\d+\.\d+$/);
});

test('no struct is beyond the 255 bytes of an operand, and no other limit of SWX is broken', () => {
  expect(checkSpecLimits(spec)).toEqual([]);
});

test('the check of operand offsets can fail', () => {
  const field = '\tbit<64> filler_NN\n';
  const filler = Array.from({ length: 20 }, (_, i) => field.replace('NN', String(i))).join('');
  const grown = read('calico.spec').replace('struct metadata_t {\n', `struct metadata_t {\n${filler}`);
  expect(checkSpecLimits(parseSpec(grown)).length).toBeGreaterThan(0);
});

test('every table has the size that docs/pipeline.md says, in the spec and in p4info', () => {
  const documented = new Map(
    [
      ...readFileSync(path.join(root, 'docs/pipeline.md'), 'utf8').matchAll(
        /^\| `(\w+)` \|.*\| ([\d,]+) \|$/gm,
      ),
    ].map(([, name, size]) => [name!, Number(size!.replaceAll(',', ''))] as const),
  );
  const inInfo = new Map(p4info.tables.map((table) => [table.preamble!.alias, Number(table.size)] as const));
  const inSpec = new Map(
    [...spec.tables.values(), ...spec.learners.values()].map((table) => [table.name, table.size] as const),
  );
  const names = [...inInfo.keys()].sort();
  expect([...documented.keys()].sort()).toEqual(names);
  for (const name of names) {
    expect([name, inInfo.get(name), inSpec.get(name)]).toEqual([
      name,
      documented.get(name),
      documented.get(name),
    ]);
  }
});

test('the adapter writes every table that is not learned', () => {
  const writable = p4info.tables
    .map((table) => table.preamble!.alias)
    .filter((name) => !LEARNED.includes(name));
  expect(P4_DPDK_TABLES.map(({ table }) => table).sort()).toEqual(writable.sort());
});

test('no metadata of the program is a constant where a table looks it up', () => {
  // p4c's copy propagation ignores what actions write: such a key shows as `mov <copy of a key> 0x0` before a lookup.
  const constantKeys = read('calico.spec')
    .split('\n')
    .filter((line) => /^\s*(\w+ :\s*)?mov m\.MainControl_\w+ 0x/.test(line));
  expect(constantKeys).toEqual([]);
});

test('no action reads a field after it has written another one that it read', () => {
  // The chain `node = d1; d1 = d2;` is folded by p4c into one move: the miss actions of the steps move exactly one field.
  for (const level of ['src', 'dst', 'proto', 'dport', 'sport'])
    expect(body(`${level}_default`)).toEqual([`mov h.walk.node h.walk.on_${level}`, 'return']);
  for (const level of ['src', 'dst', 'dport', 'sport'])
    expect(body(`${level}_not_asked`)).toEqual([`mov h.walk.node h.walk.on_${level}`, 'return']);
});

test('a mask is written whole, and labels are narrowed to it in place', () => {
  const words = [0, 1, 2, 3, 4, 5, 6, 7].map((i) => `h.walk.w${i} t.w${i}`);
  for (const action of ['ask_src', 'ask_dst'])
    expect(body(action)).toEqual([...words.map((word) => `mov ${word}`), 'return']);
  for (const action of ['set_labels', 'set_prefix_labels'])
    expect(body(action)).toEqual([...words.map((word) => `and ${word}`), 'return']);
  const few = words.slice(0, 4);
  for (const side of ['dport', 'sport']) {
    const asks = ['page t.page', ...few.map((word) => word.replace('h.walk.', ''))];
    expect(body(`ask_${side}`)).toEqual([...asks.map((field) => `mov h.walk.${field}`), 'return']);
    expect(body(`set_${side}_labels`)).toEqual([...few.map((word) => `and ${word}`), 'return']);
    // A port that has no labels has none of those that the node asks for.
    expect(body(`${side}_labels_miss`)).toEqual([
      ...few.map((word) => `mov ${word.split(' ')[0]} 0x0`),
      'return',
    ]);
  }
});

test('all four walks end in the tests whether the leaf allows, or denies', () => {
  // p4c loses the comparison where it is the last operand of &&.
  expect(read('calico.spec').match(/jmplt \w+ h\.walk\.node 0xC0000000/g)).toHaveLength(4);
  expect(read('calico.spec').match(/jmplt \w+ h\.walk\.node 0xA0000000/g)).toHaveLength(4);
  expect(read('calico.spec').match(/mov m\.local_metadata_reason 0x[78]$/gm)).toHaveLength(2);
});

test('the key of a step over labels is the node and the words, side by side in one header', () => {
  for (const [name, count] of [
    ['step_src', 8],
    ['step_dst', 8],
    ['step_dport_range', 4],
    ['step_sport_range', 4],
  ] as const) {
    const fields = spec.tables.get(name)!.keys.map(({ field }) => field);
    expect(fields.map(({ text }) => text)).toEqual([
      'h.walk.node',
      ...[0, 1, 2, 3, 4, 5, 6, 7].slice(0, count).map((i) => `h.walk.w${i}`),
    ]);
    const offsets = fields.map(({ offset }) => offset - fields[0]!.offset);
    expect(offsets).toEqual([0, 4, 12, 20, 28, 36, 44, 52, 60].slice(0, count + 1));
  }
});

test('packets are looked at again at one place only, which costs others nothing', () => {
  // native/engine/spec.c: one recirculate, before anything is emitted, and nobody asks for the number of the pass.
  const text = read('calico.spec');
  expect(text.match(/\brecirculate\b/g)).toHaveLength(1);
  expect(text).not.toContain('recircid');
  expect(text.indexOf('recirculate')).toBeLessThan(text.search(/\bemit\b/));
  // Told by the first look to the second one, which forgets it: on the wire it is always 0.
  expect(text.match(/mov m\.local_metadata_again 0x[123]$/gm)).toHaveLength(3);
  expect(text.match(/extract h\.was\w+\n/g)!.length).toBeGreaterThan(0);
  expect(text.match(/mov m\.local_metadata_again 0x0$/gm)).toHaveLength(2);
});

/** The instructions of an action. */
function body(action: string): readonly string[] | undefined {
  const found = new RegExp(`action ${action} args [^{]*\\{\\n([^}]*)\\}`).exec(read('calico.spec'))?.[1];
  return found?.trim().split(/\s*\n\s*/);
}

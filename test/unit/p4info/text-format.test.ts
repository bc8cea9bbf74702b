import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { p4info } from 'p4runtime-js-bindings';
import { parseP4InfoText } from '../../../src/p4info/text-format';

const TEXT = String.raw`
# proto-file: p4/config/v1/p4info.proto
pkg_info { arch: "pna" }
tables {
  preamble { id: 33554433 name: "Main.route" alias: "route" annotations: "@name(\"a\\b\")" ' and more' }
  match_fields < id: 1 name: "dst"; bitwidth: 32, match_type: LPM >
  action_refs: [ { id: 16777217 }, { id: 0x1000002 scope: DEFAULT_ONLY } ]
  initial_default_action { action_id: 16777218 arguments { param_id: 1 value: "\000\xff\377\n" } }
  size: 1024
  is_const_table: true
}
counters { preamble { id: 1 } spec { unit: 2 } size: 010 }
type_info {
  new_types { key: "PortId_t" value { translated_type { uri: "p4.org/x" sdn_bitwidth: 32 } } }
}
`;

describe('p4info in text format', () => {
  test('every kind of field comes out as the bindings have it', () => {
    const info = parseP4InfoText(TEXT);
    expect(info.pkgInfo?.arch).toBe('pna');
    const [table] = info.tables;
    expect(table!.preamble).toMatchObject({ id: 33554433, name: 'Main.route', alias: 'route' });
    expect(table!.preamble!.annotations).toEqual(['@name("a\\b") and more']);
    expect(table!.matchFields[0]).toMatchObject({
      id: 1,
      name: 'dst',
      bitwidth: 32,
      match: { $case: 'matchType', value: p4info.MatchField_MatchType.LPM },
    });
    expect(table!.actionRefs.map((r) => [r.id, r.scope])).toEqual([
      [16777217, p4info.ActionRef_Scope.TABLE_AND_DEFAULT],
      [16777218, p4info.ActionRef_Scope.DEFAULT_ONLY],
    ]);
    expect([...table!.initialDefaultAction!.arguments[0]!.value]).toEqual([0, 255, 255, 10]);
    expect(table).toMatchObject({ size: 1024n, isConstTable: true });
    expect(info.counters[0]).toMatchObject({ size: 8n, spec: { unit: p4info.CounterSpec_Unit.PACKETS } });
    const type = info.typeInfo!.newTypes['PortId_t']!.representation;
    expect(type).toMatchObject({ $case: 'translatedType', value: { uri: 'p4.org/x' } });
  });

  test.each([
    [
      'a field that p4info does not have',
      'tables { nonsense: 1 }',
      /line 1, column 10: Table has no field nonsense/,
    ],
    ['a name from Object.prototype', 'constructor { }', /no field constructor/],
    ['a singular field given twice', 'pkg_info { arch: "a" arch: "b" }', /arch is given twice/],
    [
      'two members of a oneof',
      'tables { match_fields { match_type: LPM other_match_type: "x" } }',
      /exclude/,
    ],
    ['a list for a singular field', 'pkg_info { arch: ["a"] }', /one value/],
    ['an unknown enum value', 'tables { match_fields { match_type: FUZZY } }', /no value FUZZY/],
    ['a number for a string', 'pkg_info { arch: 1 }', /expected a string/],
    ['a string for a number', 'tables { size: "1" }', /expected an integer/],
    ['a fraction', 'tables { size: 1.5 }', /expected an integer/],
    ['a negative unsigned number', 'tables { preamble { id: -1 } }', /out of range/],
    ['a number beyond 32 bits', 'tables { preamble { id: 4294967296 } }', /out of range/],
    ['something else than a bool', 'tables { is_const_table: 1 }', /true or false/],
    [
      'a missing brace',
      'tables {\n preamble { id: 1 }\n',
      /line 3, column 1: expected a field name \(at end of text\)/,
    ],
    ['a stray brace', 'tables { } }', /expected a field name/],
    ['the wrong brace', 'tables { >', /expected a field name/],
    ['an open string', 'pkg_info { arch: "pna }', /unexpected/],
    ['an unknown escape', String.raw`pkg_info { arch: "\q" }`, /unknown escape/],
    ['a string that is not UTF-8', String.raw`pkg_info { arch: "\xff" }`, /UTF-8/],
    ['a scalar without a colon', 'pkg_info { arch "pna" }', /expected :/],
    ['bottomless nesting', 'digests{type_spec{' + 'tuple{members{'.repeat(1000), /nested too deeply/],
  ])('%s is an error with its place', (_, text, message) => {
    expect(() => parseP4InfoText(text)).toThrow(message);
  });

  const calico = path.join(__dirname, '../../../pipelines/p4-dpdk/calico.p4info.txtpb');
  test('the p4info of the P4-DPDK pipeline', () => {
    expect(existsSync(calico)).toBe(true);
    const info = parseP4InfoText(readFileSync(calico, 'utf8'));
    const table = info.tables.find((t) => t.preamble!.alias === 'addr_labels_prefix')!;
    expect(table.matchFields.map((f) => [f.bitwidth, f.match?.value])).toEqual([
      [32, p4info.MatchField_MatchType.EXACT],
      [64, p4info.MatchField_MatchType.TERNARY],
      [64, p4info.MatchField_MatchType.TERNARY],
    ]);
    expect(info.counters.map((c) => c.preamble!.alias)).toContain('outcomes');
  });
});

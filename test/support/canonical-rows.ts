/**
 * Rows without their numbers: what two targets hold is equal when these texts are. A class is what its addresses have in common, or
 * the ports that it stands for; an outcome its rules; a node its undecided rules and where its rows lead.
 */
import type { CompiledPolicy, PolicyCompiler } from '../../src/translators/policy/compiler';
import type { MatchValue, Row } from '../../src/translators/rows';
import { createHash } from 'node:crypto';

const FIRST_LEAF = 0x8000_0000;
const OUTCOME_MASK = 0x3fff_ffff;
const NODE_PARAMS = ['node', 'd1', 'd2', 'd3', 'd4', 'd5'];

/** Sorted, one text for each row. `endpoint` names the endpoint ids. */
export function canonicalRows(
  compiler: Pick<PolicyCompiler, 'describeClass' | 'describeNode'>,
  { rows, outcomes }: Pick<CompiledPolicy, 'rows' | 'outcomes'>,
  endpoint: (ep: number) => string,
): readonly string[] {
  const ports = new Map<string, string[]>();
  const byNode = new Map<number, Row[]>();
  for (const row of rows.values()) {
    if (row.table === 'dport_class' || row.table === 'sport_class') {
      const key = `${row.table}:${row.params['class']}`;
      ports.set(key, [...(ports.get(key) ?? []), matchText(row)]);
    }
    const node = row.match['node'];
    if (node !== undefined) byNode.set(Number(node.value), [...(byNode.get(Number(node.value)) ?? []), row]);
  }
  const addressClass = (id: number): string => {
    const labels = compiler.describeClass(id);
    if (labels === undefined) throw new Error(`class ${id} is on the target and not in use`);
    return [...labels].sort().join(' & ');
  };
  const portClass = (table: string, id: number): string =>
    id === 0 ? 'other' : [...(ports.get(`${table}:${id}`) ?? ['nothing'])].sort().join(' | ');
  const value = (row: Row): string => {
    const id = Number(row.match['value']!.value);
    switch (row.table) {
      case 'step_src':
      case 'step_dst':
        return addressClass(id);
      case 'step_dport':
      case 'step_sport':
        return portClass(row.table.replace('step_', '') + '_class', id);
      default:
        return String(id);
    }
  };
  const known = new Map<number, string>();
  const nodeText = (id: number): string => {
    if (id >= FIRST_LEAF) {
      const outcome = outcomes.get(id & OUTCOME_MASK);
      return JSON.stringify([outcome?.verdict, outcome?.rules]);
    }
    let text = known.get(id);
    if (text === undefined) {
      const rowTexts = (byNode.get(id) ?? [])
        .map((row) => `${row.table} ${value(row)} -> ${leads(row)}`)
        .sort();
      text = hash(JSON.stringify([compiler.describeNode(id), rowTexts]));
      known.set(id, text);
    }
    return text;
  };
  const leads = (row: Row): string =>
    NODE_PARAMS.flatMap((name) => {
      const to = row.params[name];
      return to === undefined ? [] : [nodeText(Number(to))];
    }).join(' ');

  return [...rows.values()]
    .map((row) => {
      if (row.match['node'] !== undefined)
        return `${row.table} ${nodeText(Number(row.match['node'].value))} ${value(row)} -> ${leads(row)}`;
      if (row.table === 'endpoint_root')
        return `root ${endpoint(Number(row.match['ep']!.value))} ${row.match['direction']!.value} -> ${leads(row)}`;
      const id = Number(row.params['class']);
      const given = row.table.startsWith('addr_') ? addressClass(id) : portClass(row.table, id);
      return `${row.table} ${matchText(row)} -> ${given}`;
    })
    .sort();
}

function matchText(row: Row): string {
  const field = (match: MatchValue): string =>
    `${match.value.toString(16)}${match.kind === 'lpm' ? `/${match.prefixLen}` : match.kind === 'ternary' ? `&${match.mask.toString(16)}` : ''}`;
  const fields = Object.keys(row.match).sort();
  return `${fields.map((name) => `${name}=${field(row.match[name]!)}`).join(' ')} ${row.priority ?? ''}`;
}

function hash(text: string): string {
  return createHash('sha1').update(text).digest('base64');
}

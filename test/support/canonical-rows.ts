/**
 * Rows without their numbers: what two targets hold is equal when these texts are. A bit is the label that it stands for, a range
 * the ports that it has; an outcome its rules; a node its undecided rules and where its rows lead.
 */
import type { CompiledPolicy, PolicyCompiler } from '../../src/translators/policy/compiler';
import { FIRST_LEAF, readLeaf } from '../../src/translators/policy/outcomes';
import type { MatchValue, Row } from '../../src/translators/rows';
import { bitsOf } from '../../src/translators/policy/words';
import { createHash } from 'node:crypto';

const NODE_PARAMS = ['node', 'd1', 'd2', 'd3', 'd4', 'd5'];

/** Sorted, one text for each row. `endpoint` names the endpoint ids. */
export function canonicalRows(
  compiler: Pick<PolicyCompiler, 'labelNames' | 'describeNode'>,
  { rows, outcomes }: Pick<CompiledPolicy, 'rows' | 'outcomes'>,
  endpoint: (ep: number) => string,
): readonly string[] {
  const ports = new Map<string, string[]>();
  const byNode = new Map<number, Row[]>();
  for (const row of rows.values()) {
    if (row.table === 'dport_labels' || row.table === 'sport_labels') {
      const space = `${row.table} ${row.match['page']!.value} ${row.match['proto']!.value}`;
      for (const bit of bitsOf(row.params)) {
        const key = `${space} ${bit}`;
        ports.set(key, [...(ports.get(key) ?? []), portsText(row)]);
      }
    }
    const node = row.match['node'];
    if (node !== undefined) byNode.set(Number(node.value), [...(byNode.get(Number(node.value)) ?? []), row]);
  }
  const names = new Map(compiler.labelNames.map(({ page, bit, name }) => [`${page}/${bit}`, name]));
  const labels = (page: number, words: Readonly<Record<string, bigint>>): string =>
    bitsOf(words)
      .map((bit) => {
        const name = names.get(`${page}/${bit}`);
        if (name === undefined) throw new Error(`bit ${bit} of page ${page} is on the target and not in use`);
        return name;
      })
      .sort()
      .join(' & ');
  // Port labels are sets of ports, and a node's are those of its protocol, which its rows do not name.
  const portLabels = (space: string, words: Readonly<Record<string, bigint>>): string =>
    bitsOf(words)
      .map((bit) => `(${[...(ports.get(`${space} ${bit}`) ?? ['nothing'])].sort().join(' | ')})`)
      .sort()
      .join(' & ');
  /** Of a node that asks for labels of ports. */
  const spaceOf = (row: Row): string => {
    const node = Number(row.match['node']!.value);
    const mask = byNode.get(node)!.find(({ table }) => table.endsWith('port_mask'))!;
    const protocol = compiler.describeNode(node)!.protocol;
    return `${mask.table.slice(0, 'dport'.length)}_labels ${mask.params['page']} ${protocol}`;
  };
  const value = (row: Row): string => {
    switch (row.table) {
      case 'step_src':
      case 'step_dst':
        // With more than one page, a node's page is not in its rows.
        return labels(1, valuesOf(row.match));
      case 'src_mask':
      case 'dst_mask':
        return labels(1, row.params);
      case 'dport_mask':
      case 'sport_mask':
      case 'step_dport_range':
      case 'step_sport_range':
        return portLabels(spaceOf(row), row.table.endsWith('_mask') ? row.params : valuesOf(row.match));
      default:
        return String((row.match['value'] ?? row.match['port'])!.value);
    }
  };
  const known = new Map<number, string>();
  const nodeText = (id: number): string => {
    if (id >= FIRST_LEAF) {
      const outcome = outcomes.get(readLeaf(id).id);
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
      const given = row.table.startsWith('addr_')
        ? labels(Number(row.match['page']!.value), row.params)
        : portLabels(`${row.table} ${row.match['page']!.value} ${row.match['proto']!.value}`, row.params);
      return `${row.table} ${matchText(row)} -> ${given}`;
    })
    .sort();
}

function portsText(row: Row): string {
  const port = row.match['port']!;
  return `${port.value}${port.kind === 'lpm' ? `/${port.prefixLen}` : ''}`;
}

function valuesOf(match: Row['match']): Readonly<Record<string, bigint>> {
  return Object.fromEntries(Object.entries(match).map(([field, { value }]) => [field, value]));
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

/** A row as people read it, with Calico's names: `step_src node=12 {set s:abc} -> node 31`. */
import type { TargetNames } from '../driver/names';
import { parseCidr, spellAddress } from '../translators/address';
import { spellMac } from '../translators/links';
import { labelWords, wordsIn } from './label-words';
import { describeStep, FIRST_LEAF, readLeaf, stageOf } from '../translators/policy/outcomes';
import type { MatchValue, Row } from '../translators/rows';

export function rowWords(row: Row, names: TargetNames): string {
  return `${row.table} ${matchWords(row, names)} -> ${actionWords(row.action, row.params, names, pageOf(row))}`;
}

function matchWords({ table, match }: Row, names: TargetNames): string {
  const words: string[] = [];
  const { hi, lo, ...other } = match;
  const rest = withoutHalves(other);
  const labels = wordsIn(
    Object.fromEntries(Object.entries(rest).map(([field, { value }]) => [field, value])),
  );
  for (const [field, value] of Object.entries(rest)) {
    if (labels?.[field] === undefined)
      words.push(`${fieldName(table, field)}=${fieldWords(table, field, value, names)}`);
  }
  if (labels !== undefined) words.push(labelWords(labels, undefined, names));
  words.push(...halves(match).map(([name, value]) => `${name} ${nodeAddress(value.hi, value.lo, names)}`));
  if (hi !== undefined || lo !== undefined || ANY_ADDRESS.has(table)) words.push(addressWords(hi, lo, names));
  return words.join(' ');
}

/** Tables of CIDRs, in which a row without address fields is about all addresses. */
const ANY_ADDRESS: ReadonlySet<string> = new Set([
  'addr_labels_prefix',
  'pod_source_prefix',
  'cluster_pools',
  'remote_block',
  'masquerade_pools',
]);

/** Fields and parameters that come in two halves, such as hop_hi and hop_lo: the name before, and the value of both. */
function halves(
  fields: Readonly<Record<string, bigint | MatchValue>>,
): (readonly [string, { readonly hi: bigint; readonly lo: bigint }])[] {
  const value = (field: bigint | MatchValue): bigint => (typeof field === 'bigint' ? field : field.value);
  return Object.entries(fields).flatMap(([field, hi]) => {
    const name = /^(.+)_hi$/.exec(field)?.[1];
    const lo = name === undefined ? undefined : fields[`${name}_lo`];
    return name === undefined || lo === undefined ? [] : [[name, { hi: value(hi), lo: value(lo) }] as const];
  });
}

function withoutHalves<T>(fields: Readonly<Record<string, T>>): Readonly<Record<string, T>> {
  return Object.fromEntries(Object.entries(fields).filter(([field]) => !/_(hi|lo)$/.test(field)));
}

function nodeAddress(hi: bigint, lo: bigint, names: TargetNames): string {
  const text = spellAddress(hi, lo);
  const node = names.nodes.get(text);
  return node === undefined ? text : `${text} (${node})`;
}

const HOP_KINDS = ['?', 'link', 'vxlan', 'ipip', 'stack'];

function pageOf({ match }: Row): number | undefined {
  const page = match['page'];
  return page === undefined ? undefined : Number(page.value);
}

function fieldName(table: string, field: string): string {
  return table === 'step_proto' && field === 'value' ? 'protocol' : field;
}

function fieldWords(table: string, field: string, value: MatchValue, names: TargetNames): string {
  if (value.kind === 'lpm') return `${value.value}/${value.prefixLen}`;
  const number = Number(value.value);
  switch (field) {
    case 'port':
      // Elsewhere it is one of TCP, say.
      return (table === 'port_in' ? names.ports.get(number) : undefined) ?? String(number);
    case 'ep':
      return endpointWords(number, names);
    case 'direction':
      return stageOf(number) ?? String(number);
    case 'kind':
      return HOP_KINDS[number] ?? String(number);
    case 'source':
    case 'target':
      return ['?', 'pod', 'uplink', 'host'][number] ?? String(number);
    default:
      return String(number);
  }
}

function addressWords(hi: MatchValue | undefined, lo: MatchValue | undefined, names: TargetNames): string {
  const value = spellAddress(hi?.value ?? 0n, lo?.value ?? 0n);
  if (hi?.kind === 'exact' || lo?.kind === 'exact')
    return nodeAddress(hi?.value ?? 0n, lo?.value ?? 0n, names);
  const bits = maskLength(hi) + maskLength(lo);
  const isIpv4 = parseCidr(value)?.ipVersion === 4 && bits >= 96;
  return `${isIpv4 ? value : value.includes('.') ? '::' : value}/${isIpv4 ? bits - 96 : bits}`;
}

/** Ones in a mask; a field that is left out matches everything. */
function maskLength(match: MatchValue | undefined): number {
  if (match?.kind !== 'ternary') return match === undefined ? 0 : 64;
  return match.mask.toString(2).replaceAll('0', '').length;
}

export function actionWords(
  action: string,
  params: Readonly<Record<string, bigint>>,
  names: TargetNames,
  page?: number,
): string {
  if (params['node'] !== undefined) return nodeWords(Number(params['node']), names);
  const labels = wordsIn(params);
  if (labels !== undefined) return labelWords(labels, page, names);
  if (action.startsWith('to_floating')) {
    return `to_floating ${spellAddress(params['hi'] ?? 0n, params['lo'] ?? 0n)}`;
  }
  const words = Object.entries(withoutHalves(params)).map(([name, value]) => {
    const number = Number(value);
    if (name === 'kind') return HOP_KINDS[number] ?? String(number);
    if (name.endsWith('_ip')) return `${name} ${nodeAddress(0n, 0xffff_0000_0000n | value, names)}`;
    if (name === 'inner_dst' || name === 'inner_src' || name === 'inner_mac')
      return `${name} ${spellMac(value)}`;
    if (name === 'port') return `port ${names.ports.get(number) ?? number}`;
    if (name === 'ep') return endpointWords(number, names);
    if (name === 'mac' || name === 'dst' || name === 'src') return `${name} ${spellMac(value)}`;
    return `${name} ${number}`;
  });
  const whole = halves(params).map(([name, { hi, lo }]) => `${name} ${nodeAddress(hi, lo, names)}`);
  return [action, ...words, ...whole].join(' ');
}

/** A node, or what its leaf says: the rules that led there and the verdict. */
export function nodeWords(node: number, names: TargetNames): string {
  if (node < FIRST_LEAF) return `node ${node}`;
  const { id, verdict } = readLeaf(node);
  const outcome = names.outcomes.get(id);
  return outcome === undefined
    ? `${verdict} (outcome ${id})`
    : `${verdict}: ${outcome.rules.map(describeStep).join(', then ')}`;
}

function endpointWords(ep: number, names: TargetNames): string {
  const name = names.endpoints.get(ep);
  return name === undefined ? `endpoint ${ep}` : ep === 0 ? name : `endpoint ${name}`;
}

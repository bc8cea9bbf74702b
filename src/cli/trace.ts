import { CalicoP4Error } from '../errors';
import { NO_NAMES, type TargetNames } from '../driver/names';
import type { PacketResult, TraceStep } from '../p4switch/engine';
import { parsePacketLine } from '../packet/describe';
import { formatPacket } from '../packet/describe';
import { formatTunnel } from '../packet/tunnel';
import { P4_DPDK_TABLES } from '../p4target/p4-dpdk/adapter';
import { spellAddress } from '../translators/address';
import { FIRST_LEAF, stageOf } from '../translators/policy/outcomes';
import { LABEL_WORDS } from '../translators/policy/pages';
import { startEmbeddedTarget } from './embedded';
import { sendPacket } from './packets';
import { labelWords, wordsOfList } from './label-words';
import { actionWords, nodeWords } from './row-words';
import { readSource, type SourceOptions } from './tables';
import { packetVerdict, reasonWords } from './verdict';

export interface TraceOptions extends SourceOptions {
  readonly from: string;
  readonly src: string;
  readonly dst: string;
  readonly proto: string;
  readonly sport?: string;
  readonly dport?: string;
  readonly icmpType?: string;
  readonly icmpCode?: string;
  readonly tcpFlags?: string;
  /** JSON, as the key `tunnel` of the packet file. */
  readonly tunnel?: string;
}

/**
 * `calico-p4 trace`: the target's rows are read back into an embedded switch here, and the packet goes through that one. So nothing is
 * sent through the target, and connections that it knows are not seen.
 */
export async function trace(options: TraceOptions, print: (line: string) => void): Promise<void> {
  const line = packetOf(options);
  const { contents, names } = await readSource(
    options,
    P4_DPDK_TABLES.map(({ table }) => table),
  );
  const embedded = await startEmbeddedTarget();
  try {
    const { reconciler } = embedded.target;
    reconciler.replaceDesired(contents.flatMap(({ rows }) => rows));
    const applied = await reconciler.apply();
    if (applied.failed.size > 0) {
      throw new CalicoP4Error(
        'TARGET_WRITE_FAILED',
        'the rows of the target do not fit this version of calico-p4',
      );
    }
    const result = sendPacket(embedded.engine, names, line);
    const around = line.tunnel === undefined ? '' : ` in ${formatTunnel(line.tunnel)}`;
    print(`${formatPacket(line.packet)}${around} from ${line.from}`);
    for (const step of result.trace) {
      const words = stepWords(step, names);
      if (words !== undefined) print(`  ${words}`);
    }
    print(verdictWords(result, names));
  } finally {
    await embedded.stop();
  }
}

function packetOf(options: TraceOptions): ReturnType<typeof parsePacketLine> {
  const number = (text: string | undefined): unknown =>
    text !== undefined && /^\d+$/.test(text) ? Number(text) : text;
  const { from, src, dst, proto, sport, dport, icmpType, icmpCode, tcpFlags } = options;
  return parsePacketLine(
    JSON.stringify({
      id: 'trace',
      from,
      src,
      dst,
      proto: number(proto),
      sport: number(sport),
      dport: number(dport),
      icmpType: number(icmpType),
      icmpCode: number(icmpCode),
      tcpFlags: number(tcpFlags),
      tunnel: options.tunnel === undefined ? undefined : tunnelOf(options.tunnel),
    }),
    1,
  );
}

function tunnelOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new CalicoP4Error(
      'USAGE',
      `--tunnel ${text}: not JSON; for example {"kind":"vxlan","src":"192.168.0.2","dst":"192.168.0.1"}`,
    );
  }
}

/** One line of the packet's way; undefined for steps that say nothing to people. */
function stepWords(step: TraceStep, names: TargetNames): string | undefined {
  if (step.kind === 'learn') return `${step.table.padEnd(18)} remembered, so that the answer is let through`;
  if (step.kind !== 'table' || step.keys.length === 0) return undefined;
  const key = keyWords(step.table, step.keys, names);
  const params = paramsOf(step.table, step.action, step.params);
  const page = step.table.startsWith('addr_') ? Number(step.keys[0]) : undefined;
  const what = step.hit ? actionWords(step.action, params, names, page) : missWords(step.table);
  return `${step.table.padEnd(18)} ${step.hit ? 'hit ' : 'miss'} ${key} -> ${what}`;
}

const ASKED: Readonly<Record<string, string>> = {
  step_proto: 'protocol',
  step_dport: 'destination port',
  step_dport_range: 'destination port range',
  step_sport: 'source port',
  step_sport_range: 'source port range',
};

function keyWords(table: string, keys: readonly bigint[], names: TargetNames): string {
  const [a = 0n, b = 0n, c = 0n, d = 0n] = keys;
  switch (table) {
    case 'port_in':
      return `port ${names.ports.get(Number(a)) ?? a}`;
    case 'pod_source':
    case 'pod_source_prefix':
      return `${names.endpoints.get(Number(a)) ?? `endpoint ${a}`}, source ${spellAddress(b, c)}`;
    case 'host_address':
    case 'host_dscp':
      return `source ${spellAddress(a, b)}`;
    case 'local':
      return `destination ${spellAddress(a, b)}`;
    case 'addr_labels':
    case 'addr_labels_prefix':
      return spellAddress(b, c);
    case 'src_mask':
    case 'dst_mask':
      return `node ${a}`;
    case 'step_src':
    case 'step_dst':
      return `node ${a}, ${table === 'step_src' ? 'source' : 'destination'} ${labelWords(wordsOfList(keys.slice(1)), undefined, names)}`;
    case 'default_route':
      return `from ${sideWords(a)}`;
    case 'host_stack':
      return `from ${sideWords(a)} to ${sideWords(b)}`;
    case 'dport_range':
    case 'sport_range':
      return `protocol ${a}, port ${b}`;
    case 'remote_address':
    case 'remote_block':
    case 'cluster_pools':
      return `destination ${spellAddress(a, b)}`;
    case 'masquerade_pools':
      return `source ${spellAddress(a, b)}`;
    case 'next_hop':
      return `${HOP_KINDS[Number(a)] ?? String(a)} ${spellAddress(b, c)}`;
    case 'tunnel_here':
      return `to ${spellAddress(b, c)}, protocol ${d}, port ${keys[4] ?? 0n}`;
    case 'tunnel_peer':
      return `from ${spellAddress(a, b)}, protocol ${c}`;
    case 'endpoint_root':
      return `${names.endpoints.get(Number(a)) ?? `endpoint ${a}`}, ${stageOf(Number(b)) ?? b}`;
    case 'ct':
      return `${spellAddress(a, b)} > ${spellAddress(c, d)}`;
    default:
      return table in ASKED ? `node ${a}, ${ASKED[table]!} ${b}` : keys.join(', ');
  }
}

const HOP_KINDS = ['?', 'link', 'vxlan', 'ipip', 'stack'];

function sideWords(side: bigint): string {
  return ['?', 'pod', 'uplink', 'host'][Number(side)] ?? String(side);
}

function missWords(table: string): string {
  switch (table) {
    case 'port_in':
      return 'nobody has that port';
    case 'pod_source':
      return 'not one of its addresses';
    case 'pod_source_prefix':
      return 'nor an allowed source prefix';
    case 'host_address':
      return "not one of the node's own addresses";
    case 'local':
      return 'not on this node';
    case 'remote_address':
      return 'no single address of another node';
    case 'remote_block':
      return 'in no block of another node';
    case 'next_hop':
      return 'the next hop is not known';
    case 'tunnel_here':
      return 'no tunnel of this node';
    case 'tunnel_peer':
      return 'not from a node that has such a tunnel';
    case 'cluster_pools':
      return 'in no pool';
    case 'masquerade_pools':
      return 'keeps its source';
    case 'host_stack':
      return 'no stack to make the ICMP error';
    case 'ct':
      return 'no such connection yet';
    case 'addr_labels':
      return 'no labels of its own';
    case 'src_mask':
    case 'dst_mask':
      return 'does not ask';
    case 'dport_range':
    case 'sport_range':
      return 'in no range';
    case 'step_dport':
    case 'step_sport':
      return 'as its range';
    case 'endpoint_root':
      return nodeWords(FIRST_LEAF, NO_NAMES);
    default:
      return table.startsWith('step_') ? 'the default' : 'nothing';
  }
}

/** In the program's order. */
const PARAMS: Readonly<Record<string, readonly string[]>> = {
  from_pod: ['ep', 'mac'],
  from_uplink: ['mac'],
  from_host: ['mac'],
  to_pod: ['port', 'ep', 'dst', 'src', 'mtu'],
  to_host: ['port', 'from_pods', 'dst', 'src'],
  to_uplink: ['port', 'dst', 'src', 'mtu'],
  to_stack: ['port', 'dst', 'src'],
  via: ['kind', 'hop_hi', 'hop_lo'],
  block_via: ['kind', 'hop_hi', 'hop_lo'],
  to_link: ['port', 'dst', 'src', 'mtu'],
  to_vxlan4: ['port', 'dst', 'src', 'src_ip', 'dst_ip', 'vni', 'dport', 'inner_dst', 'inner_src', 'mtu'],
  to_vxlan6: [
    'port',
    'dst',
    'src',
    'src_hi',
    'src_lo',
    'dst_hi',
    'dst_lo',
    'vni',
    'dport',
    'inner_dst',
    'inner_src',
    'mtu',
  ],
  to_ipip: ['port', 'dst', 'src', 'src_ip', 'dst_ip', 'mtu'],
  to_stack_hop: ['port', 'dst', 'src'],
  masquerade: ['port', 'dst', 'src'],
  ends_here: ['mac', 'inner_mac', 'vni'],
  to_floating: ['hi', 'lo'],
};

/** Names for the parameters that are shown; the spec has them in the program's order. */
function paramsOf(
  table: string,
  action: string,
  values: readonly bigint[],
): Readonly<Record<string, bigint>> {
  const [first, second] = values;
  if (first === undefined) return {};
  if (table === 'endpoint_root') return second === undefined ? {} : { node: second };
  if (table.startsWith('step_')) return { node: first };
  const named = PARAMS[action.replace(/_\d+$/, '')];
  if (named !== undefined)
    return Object.fromEntries(named.map((name, i) => [name, values[i] ?? 0n] as const));
  if (values.length === LABEL_WORDS) return wordsOfList(values);
  return { range: first };
}

function verdictWords(result: PacketResult, names: TargetNames): string {
  const { verdict, out, stage, policy, tunnel } = packetVerdict(result, names);
  const around = tunnel === undefined ? '' : ` in ${formatTunnel(tunnel)}`;
  const rule =
    policy === null
      ? ''
      : policy.rule < 0 && policy.name === ''
        ? `, at the end of tier ${policy.tier}`
        : `, by ${policy.tier === '' ? '' : `tier ${policy.tier}, `}${policy.kind} ${policy.namespace === '' ? '' : `${policy.namespace}/`}${policy.name}, rule ${policy.rule}`;
  return `${verdict === 'allow' ? `ALLOWED, leaves by ${out ?? '?'}${around}` : 'DENIED'}: ${reasonWords(result)} (${stage}${rule})`;
}

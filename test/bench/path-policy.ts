/**
 * One policy in three tongues, for the paths that are compared: 50 rules about the server, of which the last lets the client in, with the
 * addresses of an IP set each; what no rule allows is dropped.
 */
import type { FelixModel } from '../../src/model/model';
import { modelOf, policyOf, ruleOf, tierOf, workloadOf } from '../support/models';

export const CLIENT = { name: 'cali-client', address: '10.65.0.1' } as const;
export const SERVER = { name: 'cali-server', address: '10.65.0.2' } as const;
/** Allowed to everybody of the last set: TCP and UDP. */
const PORT = 7;

interface PolicyRule {
  readonly set: string;
  readonly members: readonly string[];
  readonly port: number;
}

const some = (prefix: string, count: number): string[] =>
  Array.from({ length: count }, (_, i) => `${prefix}.${i >> 8}.${i & 255}`);

const RULES: readonly PolicyRule[] = [
  ...Array.from({ length: 49 }, (_, i) => ({
    set: `s${i}`,
    members: some(`10.${100 + i}`, 20),
    port: 20_000 + i,
  })),
  { set: 'friends', members: [CLIENT.address, ...some('10.99', 999)], port: PORT },
];

/** As Felix would say it. */
export function policyModel(): FelixModel {
  const id = { kind: 'GlobalNetworkPolicy', namespace: '', name: 'server' } as const;
  const allow = [ruleOf({ action: 'allow' })];
  return modelOf({
    ipSets: RULES.map(({ set, members }) => ({ id: set, type: 'IP', members: new Set(members) })),
    policies: [
      policyOf({
        id,
        inboundRules: RULES.flatMap(({ set, port }) =>
          ['tcp', 'udp'].map((protocol) =>
            ruleOf({
              action: 'allow',
              protocol,
              srcIpSetIds: [set],
              dstPorts: [{ first: port, last: port }],
            }),
          ),
        ),
      }),
    ],
    profiles: [{ name: 'open', inboundRules: allow, outboundRules: allow }],
    workloads: [CLIENT, SERVER].map(({ name, address }) =>
      workloadOf({
        name,
        ipv4Nets: [`${address}/32`],
        profileIds: ['open'],
        tiers: name === SERVER.name ? [tierOf({ name: 'default', ingressPolicies: [id] })] : [],
      }),
    ),
  });
}

/** For `nft -f`: established first, then a chain for the server, as Felix' iptables and nftables modes have it. */
export function nftRules(): string {
  const sets = RULES.map(
    ({ set, members }) => `set ${set} { type ipv4_addr; elements = { ${members.join(', ')} } }`,
  );
  const rules = RULES.flatMap(({ set, port }) =>
    ['tcp', 'udp'].map((protocol) => `ip saddr @${set} ${protocol} dport ${port} accept`),
  );
  return `table ip calico {
${sets.join('\n')}
chain server {
${rules.join('\n')}
drop
}
chain forward {
type filter hook forward priority 0; policy accept;
ct state established,related accept
ct state invalid drop
ip daddr ${SERVER.address} jump server
}
}
`;
}

/** For `ovs-ofctl add-flows`: connection tracking, and a flow for each member of a rule. Port 1 is the client's, 2 the server's. */
export function ovsFlows(): string {
  const flows = RULES.flatMap(({ members, port }) =>
    members.flatMap((member) =>
      ['tcp', 'udp'].map(
        (protocol) =>
          `table=1,priority=10,ct_state=+new+trk,in_port=1,${protocol},nw_src=${member},tp_dst=${port},actions=ct(commit),output:2`,
      ),
    ),
  );
  return [
    'table=0,priority=10,arp,in_port=1,actions=output:2',
    'table=0,priority=10,arp,in_port=2,actions=output:1',
    'table=0,priority=5,ip,actions=ct(table=1)',
    'table=0,priority=0,actions=drop',
    'table=1,priority=100,ct_state=+est+trk,in_port=1,ip,actions=output:2',
    'table=1,priority=100,ct_state=+est+trk,in_port=2,ip,actions=output:1',
    'table=1,priority=10,ct_state=+new+trk,in_port=2,ip,actions=ct(commit),output:1',
    ...flows,
    'table=1,priority=0,actions=drop',
    '',
  ].join('\n');
}

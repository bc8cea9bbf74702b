/**
 * Calico's own cases of host endpoint policy (test/conformance/hostpol.json) laid out on a node. A case is one policy program of Calico's eBPF
 * dataplane, which is given packets; here each packet goes the way on which the node asks that policy, on a node of its own:
 *
 * | program                | packet   | laid out as                                                                       |
 * |------------------------|----------|-----------------------------------------------------------------------------------|
 * | of a host's interface  | plain    | from the uplink to a pod that has `dst`; and from a pod that has `src` to the uplink |
 * | (endpoint of the       | ToHost   | from the uplink to the node, which has `dst`                                      |
 * | uplink, named and `*`) | FromHost | from the node, which has `src`, to the uplink                                     |
 * | of a workload          | plain    | from the pod, which has `src`, to the uplink; and from the uplink to it           |
 * | (endpoint `*`)         | ToHost   | from the pod to the node, with DefaultEndpointToHostAction=ACCEPT                 |
 * |                        | FromHost | from what else is on the host to the pod                                          |
 *
 * Rules are inbound and outbound ones alike. Where the program is not the pod's, the pod's own policy allows everything. `preNat*` is the
 * packet before a NAT that is none of ours: the policy sees `src` and `dst`. In the last line the endpoint has no forward policy, which
 * the program does not ask of what is FromHost, and Linux asks of all that a container sends; the node's own packets Linux never judges.
 */
import fs from 'node:fs';
import path from 'node:path';
import type { FelixModel, Policy, PolicyId, TierInfo } from '../../src/model/model';
import { makePacket } from '../../src/packet/describe';
import type { ConformancePacket } from './conformance';
import { ruleFromJson } from './conformance';
import {
  hostEndpointOf,
  modelOf,
  NODE_NAME,
  policyOf,
  ruleOf,
  tierOf,
  UPLINK,
  workloadOf,
  type ModelParts,
} from './models';

export interface HostCase {
  /** The case's name, and how it is laid out. */
  readonly name: string;
  readonly model: FelixModel;
  readonly packet: ConformancePacket;
}

interface RawPacket {
  readonly protocol: number;
  readonly src: string;
  readonly sport: number;
  readonly dst: string;
  readonly dport: number;
  readonly preNatDst?: string;
  readonly FromHost?: boolean;
  readonly ToHost?: boolean;
}

interface RawTier {
  readonly name: string;
  readonly endAction?: string;
  readonly policies?: readonly {
    readonly name: string;
    readonly rules?: readonly Parameters<typeof ruleFromJson>[0][];
  }[];
}

interface RawCase {
  readonly name: string;
  readonly forHostInterface: boolean;
  readonly tiers?: readonly RawTier[];
  readonly hostPreDnatTiers?: readonly RawTier[];
  readonly hostForwardTiers?: readonly RawTier[];
  readonly hostNormalTiers?: readonly RawTier[];
  readonly allowed?: readonly RawPacket[];
  readonly dropped?: readonly RawPacket[];
  readonly [other: string]: unknown;
}

const CASES_FILE = path.join(__dirname, '..', 'conformance', 'hostpol.json');
const POD = 'caliconform01';
/** Calico's programs are asked behind the failsafe ports. */
const NO_FAILSAFES = { FailsafeInboundHostPorts: 'none', FailsafeOutboundHostPorts: 'none' };
const KNOWN = [
  'name',
  'forHostInterface',
  'forXDP',
  'ipv6',
  'suppressNormalHostPolicy',
  'tiers',
  'hostPreDnatTiers',
  'hostForwardTiers',
  'hostNormalTiers',
  'allowed',
  'dropped',
];

export function loadHostCases(): readonly HostCase[] {
  const raw = JSON.parse(fs.readFileSync(CASES_FILE, 'utf8')) as readonly RawCase[];
  return raw.flatMap((one) => {
    const unknown = Object.keys(one).find((key) => !KNOWN.includes(key));
    if (unknown !== undefined) throw new Error(`case ${one.name}: "${unknown}" is not known to this test`);
    return [
      ...(one.allowed ?? []).flatMap((packet) => layouts(one, packet, 'allow')),
      ...(one.dropped ?? []).flatMap((packet) => layouts(one, packet, 'deny')),
    ];
  });
}

function layouts(raw: RawCase, packet: RawPacket, expected: 'allow' | 'deny'): HostCase[] {
  if (raw.hostPreDnatTiers !== undefined && packet.preNatDst !== undefined) {
    throw new Error(`case ${raw.name}: nothing here translates addresses before preDNAT policy`);
  }
  const { src, dst, protocol, sport, dport } = packet;
  const policies: Policy[] = [];
  const tiers = (of: string, list: readonly RawTier[] | undefined): TierInfo[] =>
    (list ?? []).map((tier) => {
      const ids = (tier.policies ?? []).map(({ name, rules = [] }) => {
        const id: PolicyId = {
          kind: 'GlobalNetworkPolicy',
          namespace: '',
          name: `${of}.${tier.name}.${name}`,
        };
        const read = rules.map(ruleFromJson);
        policies.push(policyOf({ id, tier: tier.name, inboundRules: read, outboundRules: read }));
        return id;
      });
      const defaultAction = tier.endAction?.toLowerCase() === 'pass' ? 'Pass' : 'Deny';
      return tierOf({ name: tier.name, ingressPolicies: ids, egressPolicies: ids, defaultAction });
    });
  const open = [ruleOf({ action: 'allow' })];
  const endpoint = {
    id: 'host-endpoint',
    profileIds: ['nothing'],
    tiers: tiers('normal', raw.hostNormalTiers),
    preDnatTiers: tiers('prednat', raw.hostPreDnatTiers),
    forwardTiers: tiers('forward', raw.hostForwardTiers),
  };
  const own = tiers('workload', raw.tiers);
  const lay = (
    how: string,
    where: Partial<typeof endpoint> & { readonly name: string },
    from: string,
    parts: ModelParts & { readonly pod?: string; readonly node?: string },
  ): HostCase => ({
    name: `${raw.name}: ${packetText(packet)} ${expected}, ${how}, endpoint ${where.name}`,
    model: modelOf({
      ...parts,
      config: { ...NO_FAILSAFES, ...parts.config },
      policies,
      profiles: [
        { name: 'open', inboundRules: open, outboundRules: open },
        { name: 'nothing', inboundRules: [], outboundRules: [] },
      ],
      hosts: [{ hostname: NODE_NAME, ipv4Addr: parts.node ?? '', ipv6Addr: '' }],
      hostEndpoints: [hostEndpointOf({ ...endpoint, ...where })],
      workloads:
        parts.pod === undefined
          ? []
          : [
              workloadOf({
                name: POD,
                ipv4Nets: [`${parts.pod}/32`],
                ...(raw.forHostInterface ? { profileIds: ['open'] } : { tiers: own }),
              }),
            ],
    }),
    packet: { packet: makePacket({ src, dst, proto: protocol, sport, dport }), expected, from },
  });
  if (raw.forHostInterface) {
    return [UPLINK, '*'].flatMap((name) => {
      if (packet.ToHost === true) return [lay('to the node', { name }, 'uplink', { node: dst })];
      if (packet.FromHost === true) return [lay('from the node', { name }, 'host', { node: src })];
      return [
        lay('uplink to pod', { name }, 'uplink', { pod: dst }),
        lay('pod to uplink', { name }, POD, { pod: src }),
      ];
    });
  }
  const name = '*';
  const config = { DefaultEndpointToHostAction: 'ACCEPT' };
  if (packet.ToHost === true) return [lay('pod to node', { name }, POD, { pod: src, node: dst, config })];
  if (packet.FromHost === true) return [lay('host to pod', { name, forwardTiers: [] }, 'host', { pod: dst })];
  return [
    lay('pod to uplink', { name }, POD, { pod: src }),
    lay('uplink to pod', { name }, 'uplink', { pod: dst }),
  ];
}

function packetText({ src, dst, dport, FromHost, ToHost }: RawPacket): string {
  const flags = `${FromHost === true ? ' FromHost' : ''}${ToHost === true ? ' ToHost' : ''}`;
  return `${src} > ${dst}:${dport}${flags}`;
}

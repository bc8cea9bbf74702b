/**
 * A cluster of one IP set with 100,000 members, 5,000 policies and 250 local pods with 10 policies each, and one of a tenth of that: how
 * long does one changed member, one changed rule, one new pod take, from the model to the last row that a target took?
 * The target is in memory and takes everything at once, so that it is the driver that is measured.
 */
import type { Policy, Rule, WorkloadEndpoint } from '../../src/model/model';
import { createModelBuilder, type ModelBuilder } from '../../src/driver/felix/model-builder';
import { createNode } from '../../src/driver/node';
import { P4_DPDK_ORDER } from '../../src/p4target/p4-dpdk/adapter';
import { Reconciler } from '../../src/p4target/reconciler';
import type { RowTarget } from '../../src/p4target/row-target';
import { EMBEDDED_SWITCH } from '../../src/p4target/target-traits';
import { EMBEDDED_PORTS } from '../../src/cli/stream';
import { median, report, timed } from './support';

const REPEATS = 60;
const POLICIES_OF_A_POD = 10;
const SMALL_SETS = 50;

const PLAIN_RULE: Rule = {
  action: 'allow',
  ipVersion: 0,
  protocol: 'tcp',
  srcNets: [],
  notSrcNets: [],
  dstNets: [],
  notDstNets: [],
  srcPorts: [],
  notSrcPorts: [],
  dstPorts: [],
  notDstPorts: [],
  srcNamedPortIpSetIds: [],
  notSrcNamedPortIpSetIds: [],
  dstNamedPortIpSetIds: [],
  notDstNamedPortIpSetIds: [],
  srcIpSetIds: [],
  dstIpSetIds: [],
  notSrcIpSetIds: [],
  notDstIpSetIds: [],
  dstIpPortSetIds: [],
  hasHttpMatch: false,
  ruleId: '',
};

const memory: RowTarget = {
  traits: EMBEDDED_SWITCH,
  write: (updates) => Promise.resolve(updates.map(() => ({ ok: true }) as const)),
  readTable: () => Promise.resolve([]),
  readRow: () => Promise.resolve(undefined),
  tableSize: () => Infinity,
};

const address = (n: number): string => `10.${(n >> 16) & 255}.${(n >> 8) & 255}.${n & 255}/32`;

function policy(n: number, port = 1000 + (n % 500)): Policy {
  const sets = n % 2 === 0 ? ['big'] : [`small-${n % SMALL_SETS}`];
  return {
    id: { kind: 'NetworkPolicy', namespace: 'ns', name: `p${n}` },
    tier: 'default',
    inboundRules: [{ ...PLAIN_RULE, srcIpSetIds: sets, dstPorts: [{ first: port, last: port }] }],
    outboundRules: [],
    untracked: false,
    preDnat: false,
  };
}

function pod(n: number, policies: number, policiesOfAPod = POLICIES_OF_A_POD): WorkloadEndpoint {
  const mine = Array.from(
    { length: Math.min(policiesOfAPod, policies) },
    (_, i) => policy((n * policiesOfAPod + i) % policies).id,
  );
  return {
    id: { orchestratorId: 'k8s', workloadId: `ns/pod-${n}`, endpointId: 'eth0' },
    state: 'active',
    name: `cali${n}`,
    mac: '',
    profileIds: [],
    ipv4Nets: [`172.16.${n >> 8}.${n & 255}/32`],
    ipv6Nets: [],
    tiers: [{ name: 'default', ingressPolicies: mine, egressPolicies: [], defaultAction: 'Deny' }],
    allowSpoofedSourcePrefixes: [],
  };
}

export interface ClusterSize {
  /** Of the IP set `big`: 10.0.0.0 and up. */
  readonly members: number;
  /** Those with an even number allow `big` TCP port 1000 + number % 500. */
  readonly policies: number;
  /** 172.16.0.0 and up, on interfaces cali0 and up. */
  readonly pods: number;
  /** Ten unless told. */
  readonly policiesOfAPod?: number;
}

/** A model in sync, with all its changes taken. */
export function cluster({ members, policies, pods, policiesOfAPod }: ClusterSize): ModelBuilder {
  const big = Array.from({ length: members }, (_, i) => address(i));
  const builder = createModelBuilder();
  builder.apply({ kind: 'ip-set', id: 'big', type: 'IP', members: big });
  for (let s = 0; s < SMALL_SETS; s++) {
    const some = Array.from({ length: 20 }, (_, i) => address(s * 20 + i));
    builder.apply({ kind: 'ip-set', id: `small-${s}`, type: 'IP', members: some });
  }
  for (let n = 0; n < policies; n++) builder.apply({ kind: 'policy', policy: policy(n) });
  for (let n = 0; n < pods; n++)
    builder.apply({
      kind: 'workload',
      workload: pod(n, policies, policiesOfAPod),
      encoded: new Uint8Array(),
    });
  builder.apply({ kind: 'in-sync' });
  builder.takeChanges();
  return builder;
}

export async function synthetic(scale: number): Promise<never> {
  const [members, policies, pods] = [100_000 * scale, 5_000 * scale, 250 * scale].map(Math.round) as [
    number,
    number,
    number,
  ];
  const builder = cluster({ members, policies, pods });
  const { model } = builder;
  const put = (workload: WorkloadEndpoint): void => {
    builder.apply({ kind: 'workload', workload, encoded: new Uint8Array() });
  };
  const putPolicy = (p: Policy): void => {
    builder.apply({ kind: 'policy', policy: p });
  };

  const node = await createNode({
    reconciler: new Reconciler(memory, P4_DPDK_ORDER, { readBackIsTrusted: true }),
    ports: EMBEDDED_PORTS,
  });
  const [start, { applied }] = await timed(() => node.program(model));
  const measure = async (change: (i: number) => void): Promise<readonly [number, number]> => {
    const seconds: number[] = [];
    let written = 0;
    for (let i = 0; i < REPEATS; i++) {
      change(i);
      builder.takeChanges();
      const [took, result] = await timed(() => node.program(model));
      seconds.push(took);
      ({ written } = result.applied);
    }
    return [median(seconds) * 1000, written];
  };
  const [member, memberRows] = await measure((i) => {
    builder.apply({ kind: 'ip-set-delta', id: 'big', added: [`11.0.0.${i}/32`], removed: [] });
  });
  const [rule, ruleRows] = await measure((i) => {
    putPolicy(policy(1, 40_000 + i));
  });
  const [newPod, podRows] = await measure((i) => {
    put(pod(pods + i, policies));
  });
  report({
    members,
    policies,
    pods,
    snapshot: start,
    rows: applied.written,
    'one member ms': member,
    'one member rows': memberRows,
    'one rule ms': rule,
    'one rule rows': ruleRows,
    'new pod ms': newPod,
    'new pod rows': podRows,
  });
}

/** States of a node of which no two have anything in common but a pod, and what a process keeps while they come and go. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { IpSet, Policy, Profile, WorkloadEndpoint } from '../../src/model/model';
import { policyKey, workloadKey } from '../../src/model/model';
import { NO_VIEW, type NodeView } from './cluster';
import { flush, PLAIN } from './felix-flush';
import { encodeFrames, type Payload } from './felix-stream';
import { NODE, NODE_NAME, policyOf, ruleOf, tierOf, workloadOf } from './models';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** Bytes in use once all that is garbage is gone. */
export function heapInUse(): number {
  collect();
  return process.memoryUsage().heapUsed;
}

/** Frames that bring a driver from state `cycle - 1` to `cycle`, as Felix would send them; the first state comes with InSync. */
export function framesOfCycle(cycle: number, firstSequenceNumber: number): Uint8Array {
  const before = cycle === 1 ? NO_VIEW : alwaysNew(cycle - 1);
  const start: readonly Payload[] = cycle === 1 ? [{ hostMetadataUpdate: NODE }, { inSync: {} }] : [];
  return encodeFrames([...flush(before, alwaysNew(cycle), PLAIN), ...start], firstSequenceNumber);
}

/** The least of the samples in cycles from..to: caches that are emptied when they are full go up and down. */
export function leastOf(samples: ReadonlyMap<number, number>, from: number, to: number): number {
  return Math.min(...[...samples].filter(([cycle]) => cycle > from && cycle <= to).map(([, bytes]) => bytes));
}

/** Nothing in it was in the view before: one policy for each of two pods, with CIDRs, ports and sets of its own; one pod is new too. */
export function alwaysNew(cycle: number): NodeView {
  const net = (i: number): string => `10.${(cycle >> 4) & 255}.${((cycle & 15) << 4) + i}.0/24`;
  const port = (i: number): number => 1024 + ((cycle * 16 + i) % 60_000);
  const nets: IpSet = {
    id: `s:nets-${cycle}`,
    type: 'NET',
    members: new Set(Array.from({ length: 8 }, (_, i) => `172.${16 + (cycle & 7)}.${cycle & 255}.${i}/32`)),
  };
  const named: IpSet = {
    id: `n:ports-${cycle}`,
    type: 'IP_AND_PORT',
    members: new Set(['10.0.0.1', '10.0.0.9'].map((ip, i) => `${ip},tcp:${port(i)}`)),
  };
  const policies = [0, 1].map((which): Policy =>
    policyOf({
      id: { kind: 'NetworkPolicy', namespace: 'shop', name: `p${which}-${cycle}` },
      inboundRules: [
        ruleOf({
          action: 'allow',
          protocol: 6,
          srcNets: [net(0), net(1)],
          notSrcNets: [`${net(0).slice(0, -5)}.7/32`],
        }),
        ruleOf({
          action: 'deny',
          protocol: 6,
          srcIpSetIds: [nets.id],
          dstPorts: [{ first: port(2 + which), last: port(2 + which) + 3 }],
        }),
        ruleOf({ action: 'allow', protocol: 17, notDstPorts: [{ first: port(5), last: port(5) }] }),
        ruleOf({ action: 'allow', protocol: 'tcp', dstNamedPortIpSetIds: [named.id] }),
      ],
      outboundRules: [
        ruleOf({
          action: 'deny',
          dstNets: [net(2)],
          protocol: 6,
          srcPorts: [{ first: port(6), last: port(8) }],
        }),
        ruleOf({ action: 'allow', notDstIpSetIds: [nets.id] }),
      ],
    }),
  );
  const profile: Profile = {
    name: `kns.shop-${cycle}`,
    inboundRules: [],
    outboundRules: [ruleOf({ action: 'allow', dstNets: [net(3)] })],
  };
  const pods = [0, cycle].map((pod, which): WorkloadEndpoint =>
    workloadOf({
      name: which === 0 ? 'cali0' : `cali-${pod}`,
      ipv4Nets: [which === 0 ? '10.0.0.1/32' : `10.200.${pod >> 8}.${pod & 255}/32`],
      profileIds: [profile.name],
      tiers: [
        tierOf({
          name: 'default',
          ingressPolicies: [policies[which]!.id],
          egressPolicies: [policies[which]!.id],
        }),
      ],
    }),
  );
  return {
    config: new Map([['FelixHostname', NODE_NAME]]),
    ipSets: new Map([nets, named].map((set) => [set.id, set])),
    policies: new Map(policies.map((policy) => [policyKey(policy.id), policy])),
    profiles: new Map([[profile.name, profile]]),
    workloads: new Map(pods.map((pod) => [workloadKey(pod.id), pod])),
  };
}

import type { FelixModel, PolicyId, WorkloadEndpoint } from '../../../src/model/model';
import { modelPayloads, type Payload } from '../../support/felix-stream';
import { modelOf, policyOf, ruleOf, tierOf, workloadOf } from '../../support/models';

/** Pods a, b, … on one node; each lets its own port in from its own set of clients, by a policy of its own name. */
export function podOf(name: string, clients: readonly string[] = ['10.9.0.1']): FelixModel {
  const letter = name.charCodeAt(0);
  const id: PolicyId = { kind: 'NetworkPolicy', namespace: 'default', name: `let-${name}` };
  return modelOf({
    ipSets: [{ id: `clients-${name}`, type: 'IP', members: new Set(clients) }],
    policies: [
      policyOf({
        id,
        inboundRules: [
          ruleOf({
            action: 'allow',
            protocol: 'tcp',
            srcIpSetIds: [`clients-${name}`],
            dstPorts: [{ first: letter, last: letter }],
          }),
        ],
        outboundRules: [ruleOf({ action: 'allow' })],
      }),
    ],
    workloads: [podEndpoint(name, id)],
  });
}

function podEndpoint(name: string, policy: PolicyId): WorkloadEndpoint {
  return workloadOf({
    name: `cali-${name}`,
    ipv4Nets: [`10.65.0.${name.charCodeAt(0)}/32`],
    tiers: [tierOf({ name: 'default', ingressPolicies: [policy], egressPolicies: [policy] })],
  });
}

/** A snapshot of several pods, up to InSync. */
export function snapshotOf(pods: readonly FelixModel[]): readonly Payload[] {
  const merged = modelOf({
    ipSets: pods.flatMap((pod) => [...pod.ipSets.values()]),
    policies: pods.flatMap((pod) => [...pod.policies.values()]),
    workloads: pods.flatMap((pod) => [...pod.workloads.values()]),
  });
  return modelPayloads(merged);
}

/** What Felix sends when the pod appears after InSync. */
export function additionOf(pod: FelixModel): readonly Payload[] {
  return modelPayloads(pod).filter(
    (payload) =>
      !['configUpdate', 'hostMetadataUpdate', 'encapsulation', 'inSync'].some((key) => key in payload),
  );
}

export function removalOf(pod: FelixModel): readonly Payload[] {
  return [...pod.workloads.values()].map(({ id }) => ({ workloadEndpointRemove: { id } }));
}

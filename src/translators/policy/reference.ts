/**
 * The reference evaluator: what Calico's Linux dataplane would do with a packet, found by walking the rules one by one.
 * It is the oracle of the property tests and of the conformance cases. It is slow on purpose and shares nothing with the
 * compiler beside it, so that one mistake can not hide in both.
 */
export type { PacketTuple } from './reference-match';
export type { Decision, Direction, Evaluation, RuleRef } from './reference-policy';
export { evaluate } from './reference-policy';
export type { NodeDecision, NodeEvaluation, NodeOutput, NodeStage } from './reference-node';
export { evaluateNode } from './reference-node';
export type { HostChain, HostEvaluation } from './reference-host';
export {
  endpointOfAllInterfaces,
  endpointOfUplink,
  evaluateAtPod,
  evaluateHostChain,
} from './reference-host';

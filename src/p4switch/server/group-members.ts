import { status } from '@grpc/grpc-js';
import type { ActionProfileGroup } from 'p4runtime-js-bindings';
import type { SelectorLayout } from './layout';
import { invalid, Refusal, unimplemented } from './refusal';

/** Checks a group's members, their weights and its size against the selector. */
export function weigh(what: string, selector: SelectorLayout, group: ActionProfileGroup): void {
  checkMaxSize(what, selector, group.maxSize);
  const seen = new Set<number>();
  for (const m of group.members) {
    if (m.memberId === 0) throw invalid(`${what}: member id 0`);
    if (seen.has(m.memberId)) throw invalid(`${what}: member ${m.memberId} is given twice; use weights`);
    seen.add(m.memberId);
    if (selector.weightsDisallowed ? m.weight !== 0 : m.weight <= 0) {
      throw invalid(`${what}: weight ${m.weight} of member ${m.memberId}`);
    }
    if (m.watchKind?.$case === 'watchPort' ? m.watchKind.value.length > 0 : (m.watchKind?.value ?? 0) !== 0) {
      throw unimplemented('watch ports are not supported: this switch knows no port states');
    }
  }
  const weights = group.members.reduce((sum, m) => sum + m.weight, 0);
  const size = selector.countsMembers || selector.weightsDisallowed ? group.members.length : weights;
  const limit = group.maxSize > 0 ? group.maxSize : selector.groupSizeMax;
  if (size > limit)
    throw new Refusal(status.RESOURCE_EXHAUSTED, `${what}: a size of ${size}, more than ${limit}`);
}

/** Section "Rules on Setting max_size". */
function checkMaxSize(what: string, selector: SelectorLayout, maxSize: number): void {
  if (maxSize < 0 || (selector.maxGroupSize > 0 && (maxSize === 0 || maxSize > selector.maxGroupSize))) {
    throw invalid(`${what}: max_size ${maxSize}; p4info's max_group_size is ${selector.maxGroupSize}`);
  }
  if (maxSize > selector.groupSizeMax) {
    throw new Refusal(
      status.RESOURCE_EXHAUSTED,
      `${what}: max_size ${maxSize} is more than ${selector.groupSizeMax}`,
    );
  }
}

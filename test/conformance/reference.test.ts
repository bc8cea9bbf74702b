import { evaluate, evaluateNode } from '../../src/translators/policy/reference';
import { loadConformance } from '../support/conformance';

const { cases, skipped } = loadConformance();

test('all of the exported cases are about workload policy', () => {
  expect(skipped).toEqual([]);
  expect(cases).toHaveLength(2 * 54);
  expect(cases.flatMap((c) => c.packets)).toHaveLength(2 * 313);
});

describe.each(['ingress', 'egress'] as const)(
  'the reference evaluator gives Calico’s verdict as %s',
  (direction) => {
    test.each(cases.filter((c) => c.direction === direction).map((c) => [c.name, c] as const))(
      '%s',
      (_name, c) => {
        for (const { packet, expected, from } of c.packets) {
          const { verdict } = evaluate(c.model, c.workload, direction, packet);
          expect({ packet, verdict }).toEqual({ packet, verdict: expected });
          const node = evaluateNode(c.model, from, packet);
          expect({ packet, verdict: node.verdict }).toEqual({ packet, verdict: expected });
        }
      },
    );
  },
);

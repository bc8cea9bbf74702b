/** However a state was reached, the rows are those of a fresh start with it, up to the numbers; and only what is reached is touched. */
import fc from 'fast-check';
import type { FelixModel, PolicyId } from '../../../src/model/model';
import { createPolicyCompiler, type EndpointPrograms } from '../../../src/translators/policy/compiler';
import { arbitraryModel } from '../../support/arbitraries';
import { canonicalRows } from '../../support/canonical-rows';
import { arbitraryChange, changed } from '../../support/changes';
import { modelOf, policyOf, ruleOf, tierOf, workloadOf } from '../../support/models';

function endpointsOf(model: FelixModel, first = 1): EndpointPrograms[] {
  return [...model.workloads.values()].map((workload, i) => ({ ep: first + i, workload }));
}

function fresh(model: FelixModel): readonly string[] {
  const compiler = createPolicyCompiler({ firstId: 1000 });
  const endpoints = endpointsOf(model, 77);
  const names = new Map(endpoints.map(({ ep, workload }) => [ep, workload.name]));
  return canonicalRows(compiler, compiler.compile(model, endpoints), (ep) => names.get(ep)!);
}

test('after any updates, removals and re-sends the rows are those of a fresh start', () => {
  fc.assert(
    fc.property(
      fc.array(arbitraryModel({ missing: true }), { minLength: 2, maxLength: 3 }),
      fc.array(fc.tuple(arbitraryChange, fc.boolean()), { minLength: 1, maxLength: 6 }),
      (models, changes) => {
        const compiler = createPolicyCompiler();
        let model = models[0]!;
        compiler.compile(model, endpointsOf(model));
        for (const [i, [one, twice]] of changes.entries()) {
          model = changed(model, models[(i + 1) % models.length]!, one);
          const endpoints = endpointsOf(model);
          const compiled = compiler.compile(model, endpoints);
          const names = new Map(endpoints.map(({ ep, workload }) => [ep, workload.name]));
          expect(canonicalRows(compiler, compiled, (ep) => names.get(ep)!)).toEqual(fresh(model));
          if (!twice) continue;
          // Felix says it all again, after it was restarted: equal, and not the same objects.
          const again = structuredClone(model);
          const { written, removed } = compiler.compile(again, endpointsOf(again)).changes;
          expect([...written.keys(), ...removed.keys()]).toEqual([]);
        }
      },
    ),
    { numRuns: Number(process.env['CALICO_P4_TEST_RUNS'] ?? 60) },
  );
});

describe('one changed policy of 500', () => {
  const ids = Array.from({ length: 500 }, (_, i): PolicyId => ({
    kind: 'NetworkPolicy',
    namespace: 'shop',
    name: `p${i}`,
  }));
  const model = (changedPort: number): FelixModel =>
    modelOf({
      ipSets: ids.map((_, i) => ({
        id: `s${i}`,
        type: 'IP' as const,
        members: new Set([`10.1.${i >> 8}.${i & 255}`]),
      })),
      policies: ids.map((id, i) => {
        const port = i === 250 ? changedPort : 1000 + (i % 20);
        return policyOf({
          id,
          inboundRules: [
            ruleOf({
              action: 'allow',
              protocol: 6,
              srcIpSetIds: [`s${i}`],
              dstPorts: [{ first: port, last: port }],
            }),
          ],
        });
      }),
      workloads: Array.from({ length: 100 }, (_, i) =>
        workloadOf({
          name: `cali${i}`,
          ipv4Nets: [`10.0.0.${i}/32`],
          tiers: [
            tierOf({ name: 'default', ingressPolicies: ids.slice(i * 5, i * 5 + 5), egressPolicies: [] }),
          ],
        }),
      ),
    });

  test('touches the rows of the one endpoint that has it, and the row of its port', () => {
    const compiler = createPolicyCompiler();
    const before = model(1010);
    const all = compiler.compile(before, endpointsOf(before)).rows.size;
    const after = model(2000);
    const { written, removed } = compiler.compile(after, endpointsOf(after)).changes;
    const rows = [...written.values(), ...removed.values()];
    const roots = rows.filter(({ table }) => table === 'endpoint_root');
    expect(roots.map((row) => [row.match['ep']!.value, row.match['direction']!.value])).toEqual([[51n, 1n]]);
    expect(rows.filter(({ table }) => table.startsWith('addr_'))).toEqual([]);
    // A source each for its five policies, old and new, with the protocol and port below.
    expect(rows.length).toBeLessThanOrEqual(40);
    expect(all).toBeGreaterThan(1000);
  });
});

import fc from 'fast-check';
import { parseCompoundName, PolicyNameError } from '../../../../src/driver/felix/forms/policy-names';
import { policyKey } from '../../../../src/model/model';

test.each([
  ['shop/knp.default.db-rules', 'KubernetesNetworkPolicy/shop/db-rules', 'default'],
  ['shop/knp.default.with.dots', 'KubernetesNetworkPolicy/shop/with.dots', 'default'],
  ['shop/default.np-db', 'NetworkPolicy/shop/np-db', 'default'],
  ['shop/security.np', 'NetworkPolicy/shop/security.np', 'security'],
  ['default.gnp-bad', 'GlobalNetworkPolicy//gnp-bad', 'default'],
  ['security.gnp-db', 'GlobalNetworkPolicy//security.gnp-db', 'security'],
  ['shop/staged:default.snp-web', 'StagedNetworkPolicy/shop/snp-web', 'default'],
  ['staged:default.sgnp-all', 'StagedGlobalNetworkPolicy//sgnp-all', 'default'],
  ['staged:security.sgnp', 'StagedGlobalNetworkPolicy//security.sgnp', 'security'],
  ['front/staged:knp.default.sknp-cli', 'StagedKubernetesNetworkPolicy/front/sknp-cli', 'default'],
  ['kanp.adminnetworkpolicy.deny', 'KubernetesAdminNetworkPolicy//deny', 'adminnetworkpolicy'],
  [
    'kbanp.baselineadminnetworkpolicy.default',
    'KubernetesBaselineAdminNetworkPolicy//default',
    'baselineadminnetworkpolicy',
  ],
  // Written past Calico's API, which puts a tier in front of every name.
  ['gnp-raw', 'GlobalNetworkPolicy//gnp-raw', 'default'],
  ['shop/np-raw', 'NetworkPolicy/shop/np-raw', 'default'],
  ['region/ossg.default.19bed2d3', 'NetworkPolicy/region/ossg.default.19bed2d3', 'default'],
])('%s is %s', (compound, key, tier) => {
  const ref = parseCompoundName(compound);
  expect([policyKey(ref.id), ref.tier]).toEqual([key, tier]);
});

test.each([
  '',
  '/default.x',
  'shop/',
  'a/b/default.x',
  'default.',
  '.x',
  'security.',
  'staged:',
  'knp.default.x',
  'shop/knp.default.',
  'shop/kanp.adminnetworkpolicy.x',
  'staged:kanp.adminnetworkpolicy.x',
])('%p is an error, not a guess', (compound) => {
  expect(() => parseCompoundName(compound)).toThrow(PolicyNameError);
});

test('two names never become one, but for default-tier names with a dot (which the model builder refuses)', () => {
  const word = fc.constantFrom('default', 'knp', 'staged', 'kanp', 'x', 'shop');
  const name = fc
    .tuple(fc.option(word), fc.boolean(), fc.array(word, { minLength: 2, maxLength: 2 }))
    .map(
      ([ns, staged, parts]) => `${ns === null ? '' : `${ns}/`}${staged ? 'staged:' : ''}${parts.join('.')}`,
    );
  const key = (compound: string): string | undefined => {
    try {
      return policyKey(parseCompoundName(compound).id);
    } catch {
      return undefined;
    }
  };
  fc.assert(
    fc.property(name, name, (a, b) => {
      fc.pre(a !== b && key(a) !== undefined);
      expect(key(a)).not.toBe(key(b));
    }),
  );
});

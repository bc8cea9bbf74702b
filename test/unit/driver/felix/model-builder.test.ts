import fc from 'fast-check';
import { createFelixSession } from '../../../../src/driver/felix/felix-session';
import type { FelixMessage } from '../../../../src/driver/felix/messages';
import { createModelBuilder } from '../../../../src/driver/felix/model-builder';
import { recording } from './recordings';

const set = (members: readonly string[], id = 's'): FelixMessage => ({
  kind: 'ip-set',
  id,
  type: 'NET',
  members,
});
const delta = (added: readonly string[], removed: readonly string[] = []): FelixMessage => ({
  kind: 'ip-set-delta',
  id: 's',
  added,
  removed,
});
const policy = (name: string, tier = 'default', compoundName?: string): FelixMessage => ({
  kind: 'policy',
  policy: {
    id: { kind: 'GlobalNetworkPolicy', namespace: '', name },
    tier,
    inboundRules: [],
    outboundRules: [],
    untracked: false,
    preDnat: false,
  },
  ...(compoundName === undefined ? {} : { compoundName }),
});

function apply(messages: readonly FelixMessage[]) {
  const builder = createModelBuilder();
  messages.forEach((m) => {
    builder.apply(m);
  });
  return builder;
}

test('deltas equal a set of plain adds and removes, and only real changes are marked', () => {
  const member = fc.constantFrom('a', 'b', 'c', 'd');
  fc.assert(
    fc.property(
      fc.array(member),
      fc.array(fc.tuple(fc.array(member), fc.array(member))),
      (initial, deltas) => {
        const builder = apply([set(initial)]);
        builder.takeChanges();
        let expected = new Set(initial);
        for (const [added, removed] of deltas) {
          const before = expected;
          expected = new Set([...before, ...added].filter((m) => !removed.includes(m)));
          const wrapper = builder.model.ipSets.get('s');
          builder.apply(delta(added, removed));
          expect(builder.model.ipSets.get('s')!.members).toEqual(expected);
          const same = before.size === expected.size && [...before].every((m) => expected.has(m));
          if (!same) {
            expect(builder.takeChanges().ipSets).toEqual(new Set(['s']));
            expect(builder.model.ipSets.get('s')).not.toBe(wrapper);
          }
          builder.takeChanges();
        }
      },
    ),
  );
});

test('an IP set that is sent again with the same members is no change, and with others is replaced', () => {
  const builder = apply([set(['a', 'b'])]);
  const before = builder.model.ipSets.get('s');
  builder.takeChanges();
  builder.apply(set(['b', 'a']));
  builder.apply(delta(['a'], ['z']));
  expect(builder.model.ipSets.get('s')).toBe(before);
  expect(builder.takeChanges().ipSets.size).toBe(0);
  builder.apply(set(['b', 'c']));
  expect([...builder.model.ipSets.get('s')!.members]).toEqual(['b', 'c']);
  expect([...builder.takeChanges().ipSets]).toEqual(['s']);
});

test('a delta costs what it changes, not what the set holds', () => {
  const builder = apply([
    set(Array.from({ length: 100_000 }, (_, i) => `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}/32`)),
  ]);
  const before = process.cpuUsage();
  for (let i = 0; i < 40_000; i++) {
    builder.apply(delta([`fd00::${i.toString(16)}/128`]));
  }
  expect(builder.model.ipSets.get('s')!.members.size).toBe(140_000);
  // Copies of the set would take minutes.
  expect(process.cpuUsage(before).user / 1e6).toBeLessThan(5);
});

test('a delta of a set that was never sent, or was removed, is refused', () => {
  const refusal = expect.objectContaining({ code: 'FELIX_MESSAGE_INVALID' }) as Error;
  expect(() => apply([delta(['a'])])).toThrow(refusal);
  expect(() => apply([set(['a']), { kind: 'ip-set-remove', id: 's' }, delta(['a'])])).toThrow(refusal);
});

test('removals of what is not there are ignored', () => {
  const builder = apply([
    { kind: 'ip-set-remove', id: 's' },
    { kind: 'policy-remove', id: { kind: 'K', namespace: '', name: 'x' } },
    { kind: 'profile-remove', name: 'p' },
    { kind: 'workload-remove', id: { orchestratorId: 'k8s', workloadId: 'w', endpointId: 'e' } },
    { kind: 'host-endpoint-remove', id: 'h' },
    { kind: 'host-metadata-remove', source: 'both', alone: false, hostname: 'n' },
  ]);
  expect(builder.takeChanges()).toEqual({
    ipSets: new Set(),
    policies: new Set(),
    pools: new Set(),
    profiles: new Set(),
    workloads: new Set(),
    hostEndpoints: new Set(),
    routes: new Set(),
    tunnels: false,
    hosts: false,
    config: false,
    inSync: false,
  });
});

test('changes are taken once', () => {
  const builder = apply([
    set(['a']),
    policy('x'),
    { kind: 'config', config: new Map([['a', '1']]) },
    { kind: 'in-sync' },
  ]);
  expect(builder.takeChanges()).toMatchObject({
    ipSets: new Set(['s']),
    policies: new Set(['GlobalNetworkPolicy//x']),
    config: true,
    inSync: true,
  });
  expect(builder.takeChanges()).toMatchObject({
    ipSets: new Set(),
    policies: new Set(),
    config: false,
    inSync: false,
  });
});

test('a value that Felix no longer sends is unset', () => {
  const builder = apply([
    {
      kind: 'config',
      config: new Map([
        ['a', '1'],
        ['b', '2'],
      ]),
    },
    { kind: 'config', config: new Map([['b', '2']]) },
  ]);
  expect([...builder.model.config]).toEqual([['b', '2']]);
});

test('two policies that users know by one name are refused, and a rename by deletion is not', () => {
  const name = 'security.x';
  expect(() =>
    apply([policy(name, 'security', 'security.x'), policy(name, 'default', 'default.security.x')]),
  ).toThrow(expect.objectContaining({ code: 'FELIX_MESSAGE_INVALID' }) as Error);
  const remove: FelixMessage = {
    kind: 'policy-remove',
    id: { kind: 'GlobalNetworkPolicy', namespace: '', name },
  };
  const builder = apply([
    policy(name, 'security', 'security.x'),
    remove,
    policy(name, 'default', 'default.security.x'),
  ]);
  expect(builder.model.policies.get('GlobalNetworkPolicy//security.x')!.tier).toBe('default');
});

test('a node described three times keeps the description with prefixes until the last is gone', () => {
  const host = (source: 'ipv4' | 'ipv6' | 'both', ipv4Addr: string, ipv6Addr: string): FelixMessage => ({
    kind: 'host-metadata',
    source,
    alone: false,
    host: { hostname: 'n', ipv4Addr, ipv6Addr },
  });
  const builder = apply([
    host('ipv4', '192.0.2.1', ''),
    host('both', '192.0.2.1/24', ''),
    host('ipv6', '', 'fd00::1'),
  ]);
  expect(builder.model.hosts.get('n')).toEqual({
    hostname: 'n',
    ipv4Addr: '192.0.2.1/24',
    ipv6Addr: 'fd00::1',
  });
  builder.apply({ kind: 'host-metadata-remove', source: 'both', alone: false, hostname: 'n' });
  expect(builder.model.hosts.get('n')!.ipv4Addr).toBe('192.0.2.1');
  builder.apply({ kind: 'host-metadata-remove', source: 'ipv4', alone: false, hostname: 'n' });
  builder.apply({ kind: 'host-metadata-remove', source: 'ipv6', alone: false, hostname: 'n' });
  expect(builder.model.hosts.size).toBe(0);
});

test('a node described once is what was said of it last', () => {
  const host = (source: 'ipv4' | 'both', ipv4Addr: string, ipv6Addr: string): FelixMessage => ({
    kind: 'host-metadata',
    source,
    alone: true,
    host: { hostname: 'n', ipv4Addr, ipv6Addr },
  });
  const builder = apply([host('both', '192.0.2.1/24', 'fd00::1/64'), host('ipv4', '192.0.2.7', '')]);
  expect(builder.model.hosts.get('n')).toEqual({ hostname: 'n', ipv4Addr: '192.0.2.7', ipv6Addr: '' });
  builder.apply(host('both', '', 'fd00::1/64'));
  expect(builder.model.hosts.get('n')).toEqual({ hostname: 'n', ipv4Addr: '', ipv6Addr: 'fd00::1/64' });
  builder.apply({ kind: 'host-metadata-remove', source: 'ipv4', alone: true, hostname: 'n' });
  expect(builder.model.hosts.size).toBe(0);
});

test('everything sent twice is no change the second time', () => {
  const once = createFelixSession();
  once.push(recording('02-policy'));
  const other = createFelixSession();
  other.push(recording('03-vxlan-routes'));
  const model = { ...once.model, routes: other.model.routes, vteps: other.model.vteps };
  expect(model.routes.size).toBeGreaterThan(20);
  const builder = createModelBuilder();
  const again: FelixMessage[] = [
    { kind: 'config', config: new Map(model.config) },
    ...[...model.ipSets.values()].map((s): FelixMessage => ({
      kind: 'ip-set',
      ...s,
      members: [...s.members],
    })),
    ...[...model.policies.values()].map((p): FelixMessage => ({
      kind: 'policy',
      policy: structuredClone(p),
    })),
    ...[...model.profiles.values()].map((p): FelixMessage => ({
      kind: 'profile',
      profile: structuredClone(p),
    })),
    ...[...model.workloads.values()].map((w): FelixMessage => ({
      kind: 'workload',
      workload: structuredClone(w),
      encoded: new Uint8Array(),
    })),
    ...[...model.hosts.values()].map((h): FelixMessage => ({
      kind: 'host-metadata',
      source: 'both',
      alone: true,
      host: { ...h },
    })),
    {
      kind: 'ipam-pool',
      pool: {
        id: '10-65-0-0-16',
        cidr: '10.65.0.0/16',
        masquerade: true,
        ipipMode: '',
        vxlanMode: '',
        allowedUses: [],
      },
    },
    ...[...model.routes.values()].map((r): FelixMessage => ({ kind: 'route', route: structuredClone(r) })),
    ...[...model.vteps.values()].map((v): FelixMessage => ({ kind: 'vtep', vtep: structuredClone(v) })),
    { kind: 'encapsulation', encapsulation: { ipip: true, vxlan: true, vxlanV6: false, noEncap: false } },
    {
      kind: 'wireguard',
      ipVersion: 6,
      endpoint: { node: 'r1', publicKey: 'k', address: 'fd00::1' },
    },
    { kind: 'in-sync' },
  ];
  const applyAll = () => {
    again.forEach((m) => {
      builder.apply(structuredClone(m));
    });
    return builder.takeChanges();
  };
  expect(applyAll().workloads.size).toBe(model.workloads.size);
  const { hosts, config, inSync, tunnels, ...sets } = applyAll();
  expect([hosts, config, inSync, tunnels, ...Object.values(sets).map((s) => s.size)]).toEqual([
    false,
    false,
    false,
    false,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
  ]);
});

import { liveness, readiness, STUCK_AFTER, type HealthFacts } from '../../../src/driver/health';
import { CalicoP4Error } from '../../../src/errors';

const good: HealthFacts = {
  now: 1_000_000,
  felixInSync: true,
  target: { kind: 'ready' },
  applied: { endpoints: [], ofTheNode: [], notEnforced: [], endpointsUp: 3 },
  waitingSince: undefined,
  hostNetwork: [],
  unsupportedSettings: [],
};
const closed = { workload: 'k8s/a', policies: ['p'], reason: 'full' };

test.each<[string, Partial<HealthFacts>, RegExp]>([
  ['Felix is not in sync', { felixInSync: false }, /InSync/],
  ['no connection', { target: { kind: 'connecting', reason: 'refused' }, applied: undefined }, /refused/],
  [
    'a backup',
    { target: { kind: 'standby', reason: 'id 7' }, applied: undefined },
    /another controller.*id 7/,
  ],
  [
    'a wrong pipeline',
    { target: { kind: 'failed', error: new CalicoP4Error('PIPELINE_MISMATCH', 'wrong') } },
    /wrong/,
  ],
  ['stopping', { target: { kind: 'closed' } }, /stopping/],
  ['a write of a new connection is under way', { applied: undefined }, /being written/],
  [
    "the node's own rows failed",
    { applied: { endpoints: [], ofTheNode: ['port_in port=0x0: no'], notEnforced: [], endpointsUp: 3 } },
    /port_in/,
  ],
  [
    'nobody is up',
    { applied: { endpoints: [closed], ofTheNode: [], notEnforced: [], endpointsUp: 0 } },
    /every endpoint is closed/,
  ],
])('not ready: %s', (_, facts, why) => {
  const said = readiness({ ...good, ...facts });
  expect(said.ok).toBe(false);
  expect(said.reasons.join()).toMatch(why);
  expect(liveness({ ...good, ...facts }).ok).toBe(true);
});

test('ready with single endpoints closed, which are named', () => {
  expect(readiness(good)).toEqual({
    ok: true,
    reasons: [],
    failedEndpoints: [],
    notEnforced: [],
    unsupportedSettings: [],
  });
  const applied = { endpoints: [closed], ofTheNode: [], notEnforced: [], endpointsUp: 2 };
  expect(readiness({ ...good, applied })).toMatchObject({ ok: true, reasons: [], failedEndpoints: [closed] });
});

test('a write that never ends is not healthy, unless there is no target to write to', () => {
  const waitingSince = good.now - STUCK_AFTER - 1;
  expect(liveness({ ...good, waitingSince }).reasons.join()).toMatch(/has taken 300 s/);
  expect(liveness({ ...good, waitingSince: waitingSince + 2 }).ok).toBe(true);
  expect(liveness({ ...good, waitingSince, target: { kind: 'connecting', reason: '' } }).ok).toBe(true);
});

test('settings that are not honoured are named, and do not keep the node from being ready', () => {
  const setting = {
    name: 'WireguardEnabled',
    value: 'true',
    what: 'Packets between nodes are not encrypted.',
  };
  const unsupportedSettings = Array.from({ length: 60 }, () => setting);
  for (const said of [
    readiness({ ...good, unsupportedSettings }),
    liveness({ ...good, unsupportedSettings }),
  ]) {
    expect(said.ok).toBe(true);
    expect(said.unsupportedSettings).toEqual(unsupportedSettings.slice(0, 50));
  }
});

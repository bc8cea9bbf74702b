import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { EMBEDDED_LINKS } from '../../../src/translators/links';
import { linksOf, loadConfig } from '../../../src/driver/config';

const dir = mkdtempSync(path.join(tmpdir(), 'calico-p4-config-'));
afterAll(() => {
  rmSync(dir, { recursive: true });
});

function file(text: string): string {
  const name = path.join(dir, 'config.yaml');
  writeFileSync(name, text);
  return name;
}

test('without a file and environment every key has its default', () => {
  expect(loadConfig({})).toEqual({
    target: { address: '127.0.0.1:9559', kind: 'embedded', deviceId: 1, electionId: '1' },
    ports: { uplink: 0, host: 1, firstPod: 2 },
    interfaces: { uplink: '', host: '' },
    macs: {
      gateway: 'ee:ee:ee:ee:ee:ee',
      nextHop: '02:00:00:00:00:01',
      errorStack: '',
    },
    mtu: { pods: 1500, uplink: 1500 },
    felix: { link: 'fds', heartbeatSeconds: 10 },
    metrics: { listen: '127.0.0.1:9191' },
    namesFile: '/run/calico-p4/names.json',
    journalFile: '/run/calico-p4/journal',
    logLevel: 'info',
  });
});

test('the environment overrides the file', () => {
  const config = loadConfig(
    {
      CALICO_P4_TARGET_ADDRESS: 'unix:/tmp/x',
      CALICO_P4_PORTS_FIRST_POD: '16',
      CALICO_P4_TARGET_ELECTION_ID: '340282366920938463463374607431768211455',
    },
    file('target:\n  address: 10.0.0.1:9559\n  kind: p4-dpdk\nlogLevel: debug\n'),
  );
  expect(config.target).toMatchObject({ address: 'unix:/tmp/x', kind: 'p4-dpdk' });
  expect(config.target.electionId).toBe('340282366920938463463374607431768211455');
  expect(config.ports.firstPod).toBe(16);
  expect(config.logLevel).toBe('debug');
  expect(Object.isFrozen(config.target)).toBe(true);
});

test.each([
  ['targets:\n  address: x:1\n', /Unrecognized key: "targets"/],
  ['target:\n  adress: x:1\n', /target: Unrecognized key: "adress"/],
  ['target:\n  address: nowhere\n', /target\.address: give HOST:PORT/],
  ['target:\n  deviceId: 0\n', /target\.deviceId/],
  ['macs:\n  uplink: 02:00:00:00:00\n', /macs\.uplink: give the MAC address of an interface/],
  ['macs:\n  host: ff:ff:ff:ff:ff:ff\n', /macs\.host: give the MAC address of an interface/],
  ['macs:\n  gateway: ""\n', /macs\.gateway: the gateway needs a MAC address/],
  ['mtu:\n  pods: 576\n', /mtu\.pods/],
  ['ports:\n  errorStack: 3\n', /ports\.errorStack and macs\.errorStack belong together/],
  ['felix:\n  link: fd3\n', /felix\.link: give "fds"/],
  ['metrics:\n  listen: everywhere\n', /metrics\.listen: give HOST:PORT/],
  ['- a\n', /expected keys such as/],
  ['a: [', /is no YAML/],
])('%j is refused and says why', (text, why) => {
  expect(() => loadConfig({}, file(text))).toThrow(why);
});

test('an unknown variable and a missing file are refused', () => {
  expect(() => loadConfig({ CALICO_P4_TARGET_ADRESS: 'x:1' })).toThrow(/CALICO_P4_TARGET_ADRESS is none/);
  expect(() => loadConfig({}, path.join(dir, 'none.yaml'))).toThrow(/can not read the configuration file/);
});

test('links are those of the embedded switch, or what is given; what is "" is not known', () => {
  expect(linksOf(loadConfig({}))).toEqual(EMBEDDED_LINKS);
  const text = `macs: {uplink: "", nextHop: "", host: 02:AA:00:00:00:01, errorStack: 02:aa:00:00:00:02}
mtu: {pods: 9000, uplink: 1450}
ports: {errorStack: 7}
`;
  expect(linksOf(loadConfig({ CALICO_P4_MTU_PODS: '8950' }, file(text)))).toEqual({
    gatewayMac: 0xeeee_eeee_eeeen,
    uplinkMac: undefined,
    nextHopMac: undefined,
    hostMac: 0x02aa_0000_0001n,
    podMtu: 8950,
    uplinkMtu: 1450,
    errorStack: { port: 7, mac: 0x02aa_0000_0002n },
  });
});

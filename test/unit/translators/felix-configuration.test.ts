import { felixConfiguration } from '../../../src/translators/felix-configuration';
import { parseFailsafePorts, parseInteger } from '../../../src/translators/felix-values';

const read = (settings: Readonly<Record<string, string>>) =>
  felixConfiguration(new Map(Object.entries(settings)));

/** `6 10.0.0.0/8 22`: protocol, network, port. */
const spell = (raw: string): readonly string[] =>
  parseFailsafePorts(raw).ports.map(({ protocol, net, port }) =>
    [protocol, ...(net === undefined ? [] : [net.text]), port].join(' '),
  );

const INBOUND = ['6 22', '17 68', '6 179', '6 2379', '6 2380', '6 5473', '6 6443', '6 6666', '6 6667'];
const OUTBOUND = ['17 53', '17 67', '6 179', '6 2379', '6 2380', '6 5473', '6 6443', '6 6666', '6 6667'];

describe('failsafe ports', () => {
  test.each<[string, readonly string[]]>([
    ['1,2,3,4', ['6 1', '6 2', '6 3', '6 4']],
    ['tcp:1,udp:2', ['6 1', '17 2']],
    ['1, UDP:2 ,', ['6 1', '17 2']],
    ['tcp:0.0.0.0/0:1,udp:0.0.0.0/0:2', ['6 0.0.0.0/0 1', '17 0.0.0.0/0 2']],
    ['tcp:[::/0]:1,udp:[::/0]:2', ['6 ::/0 1', '17 ::/0 2']],
    ['1,udp:10.1.2.3/8:2', ['6 1', '17 10.0.0.0/8 2']],
    ['tcp:[10.0.0.0/8]:22,tcp:10.0.0.1:22', ['6 10.0.0.0/8 22', '6 10.0.0.1/32 22']],
    ['[fd00::1]:22', ['6 fd00::1/128 22']],
    ['tcp::22', ['6 22']],
    ['0,65535', ['6 0', '6 65535']],
    ['none', []],
    ['NONE', []],
  ])('%s', (raw, ports) => {
    expect(spell(raw)).toEqual(ports);
    expect(parseFailsafePorts(raw).bad).toEqual([]);
  });

  test.each([
    'foo:1',
    'tcp:0.0.0.0/0:1:bar',
    'tcp:65536',
    'tcp:-1',
    'tcp:ssh',
    'tcp:',
    'tcp:10.0.0.0/33:1',
    'tcp:10.0.0:1',
    'tcp:[::/0:1',
    'tcp:[::/129]:1',
    'tcp:]:[1',
    'tcp:::1:1',
    '22-23',
  ])('%s is left out, and nothing else is', (raw) => {
    expect(parseFailsafePorts(`tcp:1,${raw},udp:2`)).toMatchObject({ bad: [raw] });
    expect(spell(`tcp:1,${raw},udp:2`)).toEqual(['6 1', '17 2']);
  });

  test('the defaults are not there once a list is set, however it is', () => {
    const spellAll = (settings: Readonly<Record<string, string>>) => {
      const { failsafeInbound, failsafeOutbound } = read(settings);
      return [failsafeInbound, failsafeOutbound].map((ports) => ports.map((p) => `${p.protocol} ${p.port}`));
    };
    expect(spellAll({})).toEqual([INBOUND, OUTBOUND]);
    expect(spellAll({ FailsafeInboundHostPorts: '', FailsafeOutboundHostPorts: '' })).toEqual([
      INBOUND,
      OUTBOUND,
    ]);
    expect(spellAll({ FailsafeInboundHostPorts: 'none' })).toEqual([[], OUTBOUND]);
    expect(spellAll({ FailsafeOutboundHostPorts: 'udp:53' })).toEqual([INBOUND, ['17 53']]);
    expect(spellAll({ FailsafeInboundHostPorts: 'tcp:ssh' })).toEqual([[], OUTBOUND]);
  });
});

test.each([
  ['DROP', 'drop'],
  ['Accept', 'accept'],
  ['return', 'return'],
  ['', 'drop'],
  ['none', 'drop'],
])('DefaultEndpointToHostAction %s', (raw, expected) => {
  const { endpointToHost, problems } = read({ DefaultEndpointToHostAction: raw });
  expect([endpointToHost, problems]).toEqual([expected, []]);
});

test.each<[string, string, string, unknown]>([
  ['DefaultEndpointToHostAction', 'allow', 'endpointToHost', 'drop'],
  ['WorkloadSourceSpoofing', 'all', 'sourceSpoofing', false],
  ['IptablesFilterAllowAction', 'go', 'allowedIsReturned', true],
  ['DisableConntrackInvalidCheck', 'maybe', 'letsInvalidPass', false],
  ['FloatingIPs', 'on', 'floatingIps', false],
  ['ServiceLoopPrevention', 'off', 'serviceLoopPrevention', 'drop'],
  ['ExternalNodesCIDRList', '10.0.0.0/33', 'externalNodes', []],
  ['FailsafeInboundHostPorts', 'ssh', 'failsafeInbound', []],
])('%s: "%s" is a problem that names both, and the closed way is taken', (name, raw, field, expected) => {
  const configuration = read({ [name]: raw });
  expect(configuration).toMatchObject({ [field]: expected });
  expect(configuration.problems).toHaveLength(1);
  expect(configuration.problems[0]).toMatch(new RegExp(`${name}.*"${raw.replace(/[./]/g, '\\$&')}"`));
});

test.each(['true', '1', 'yes', 'Y', 'T'])('%s is true to Felix', (raw) => {
  expect(read({ AllowIPIPPacketsFromWorkloads: raw }).encapFromWorkloads.ipip).toBe(true);
  expect(read({ IpInIpEnabled: raw }).ipip.enabled).toBe(true);
});

test.each(['false', '0', 'No', 'n', 'f'])('%s is false to Felix', (raw) => {
  expect(read({ AllowVXLANPacketsFromWorkloads: raw }).encapFromWorkloads.vxlan).toBe(false);
  expect(read({ VXLANEnabled: raw }).vxlan.enabled).toBe(false);
});

test('what nobody set has the defaults of Felix', () => {
  expect(read({})).toMatchObject({
    hostname: undefined,
    endpointToHost: 'drop',
    sourceSpoofing: false,
    encapFromWorkloads: { vxlan: false, ipip: false },
    letsInvalidPass: false,
    allowedIsReturned: false,
    interfacePrefixes: ['cali'],
    vxlan: { enabled: undefined, port: 4789, vni: 4096, mtu: 0, mtuV6: 0 },
    ipip: { enabled: undefined, mtu: 0 },
    wireguard: { enabled: false, port: 51820, portV6: 51821 },
    natOutgoingSparesHosts: false,
    externalNodes: [],
    serviceLoopPrevention: 'drop',
    floatingIps: false,
    problems: [],
  });
});

test.each<[string, number | undefined]>([
  ['4789', 4789],
  ['0x12b5', 4789],
  ['0o17', 15],
  ['017', 15],
  ['0b11', 3],
  ['4_789', 4789],
  ['-0x10', -16],
  ['+7', 7],
  ['0', 0],
  ['019', undefined],
  ['_1', undefined],
  ['1__0', undefined],
  ['1e3', undefined],
  [' 1', undefined],
  ['', undefined],
])('integer "%s"', (raw, value) => {
  expect(parseInteger(raw)).toBe(value);
});

test.each(['70000', '-1', '0', 'vxlan', '04789'])('VXLANPort %s is no port: the default', (raw) => {
  const { vxlan, problems } = read({ VXLANPort: raw });
  expect(vxlan.port).toBe(4789);
  expect(problems).toHaveLength(1);
});

test('"none" switches off', () => {
  const { vxlan, serviceLoopPrevention, sourceSpoofing, externalNodes, problems } = read({
    VXLANEnabled: 'none',
    ServiceLoopPrevention: 'None',
    WorkloadSourceSpoofing: 'none',
    ExternalNodesCIDRList: 'none',
  });
  expect([vxlan.enabled, serviceLoopPrevention, sourceSpoofing, externalNodes, problems]).toEqual([
    undefined,
    'disabled',
    false,
    [],
    [],
  ]);
});

test('a name that this Felix does not know comes as it was written', () => {
  expect(read({ nftablesfilterallowaction: 'RETURN' }).allowedIsReturned).toBe(true);
  expect(read({ workloadsourcespoofing: 'Any' }).sourceSpoofing).toBe(true);
  expect(read({ WorkloadSourceSpoofing: 'Disabled', workloadsourcespoofing: 'Any' }).sourceSpoofing).toBe(
    false,
  );
});

test('a map is read once', () => {
  const config = new Map([['InterfacePrefix', 'tap,cali']]);
  expect(felixConfiguration(config)).toBe(felixConfiguration(config));
  expect(felixConfiguration(config).interfacePrefixes).toEqual(['tap', 'cali']);
});

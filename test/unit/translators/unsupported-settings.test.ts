import { FELIX_SETTINGS } from '../../../src/model/felix-settings';
import { unsupportedSettings } from '../../../src/translators/unsupported-settings';

const found = (settings: Readonly<Record<string, string>>): readonly string[] =>
  unsupportedSettings(new Map(Object.entries(settings))).map(({ name, value }) =>
    value === undefined ? name : `${name}=${value}`,
  );

test.each<[string, string]>([
  ['IptablesFilterDenyAction', 'REJECT'],
  ['IptablesFilterAllowAction', 'Return'],
  ['WireguardEnabled', 'yes'],
  ['WireguardEnabledV6', '1'],
  ['IptablesNATOutgoingInterfaceFilter', 'eth1'],
  ['BPFEnabled', 'T'],
  ['FlowLogsGoldmaneServer', 'goldmane:7443'],
  ['MetadataPort', '0x2248'],
  ['ServiceLoopPrevention', 'none'],
])('%s: %s matters, and is named', (name, value) => {
  expect(found({ [name]: value })).toEqual([`${name}=${value}`]);
});

test.each<[string, string]>([
  ['IptablesFilterDenyAction', 'drop'],
  ['IptablesFilterAllowAction', 'Accept'],
  ['WireguardEnabled', 'no'],
  ['WireguardEnabled', 'none'],
  ['WireguardEnabled', 'nonsense'],
  ['VXLANEnabled', 'true'],
  ['IpInIpTunnelAddr', '10.65.0.1'],
  ['NATOutgoingExclusions', 'IPPoolsAndHostIPs'],
  ['NATPortRange', '1:2'],
  ['MetadataPort', '8_775'],
  ['MetadataPort', 'nonsense'],
  // Honoured, without effect, Felix's own.
  ['DefaultEndpointToHostAction', 'Accept'],
  ['FailsafeInboundHostPorts', 'none'],
  ['BPFLogLevel', 'debug'],
  ['HealthPort', '1'],
])('%s: %s is as if nobody had set it', (name, value) => {
  expect(found({ [name]: value })).toEqual([]);
});

test('the default of every setting says nothing', () => {
  expect(found(Object.fromEntries(FELIX_SETTINGS.map((one) => [one.name, one.default ?? 'x'])))).toEqual([]);
});

test('a setting that this version does not know is named without its value, once it has one', () => {
  expect(found({ DropActionOverride: 'Accept', somethingnew: 's3cret', Empty: '' })).toEqual([
    'DropActionOverride',
    'somethingnew',
  ]);
});

test('what Kubernetes leaves in the environment is no setting', () => {
  expect(found({ metrics_svc_service_host: '10.96.0.7', metrics_svc_port: 'tcp://10.96.0.7:9091' })).toEqual(
    [],
  );
});

test('a name that this Felix does not know comes as it was written, and loses against the one that it knows', () => {
  expect(found({ istioambientmode: 'Enabled' })).toEqual(['IstioAmbientMode=Enabled']);
  expect(found({ IstioAmbientMode: 'Disabled', istioambientmode: 'Enabled' })).toEqual([]);
});

test('a map is read once', () => {
  const config = new Map([['BPFEnabled', 'true']]);
  expect(unsupportedSettings(config)).toBe(unsupportedSettings(config));
});

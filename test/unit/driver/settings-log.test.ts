import { createSettingsLog } from '../../../src/driver/settings-log';
import type { Logger } from '../../../src/log';

/** `setting=value` of each warning since the last look. */
function watch(): {
  readonly say: (settings: Readonly<Record<string, string>>) => readonly string[];
} {
  const warnings: string[] = [];
  const warn = (message: string, { setting, value }: { setting: string; value?: string }): void => {
    expect(message).toBe('a setting of Felix is not honoured');
    warnings.push(`${setting}=${value ?? ''}`);
  };
  const settings = createSettingsLog({ warn } as unknown as Logger);
  return {
    say(given) {
      const config = new Map(Object.entries(given));
      settings(config);
      settings(config);
      return warnings.splice(0);
    },
  };
}

test('each setting is warned of once, again when its value changes or when it comes back', () => {
  const { say } = watch();
  expect(say({})).toEqual([]);
  expect(say({ WireguardEnabled: 'true', CalicoVersion: '1' })).toEqual(['WireguardEnabled=true']);
  expect(say({ WireguardEnabled: 'true', CalicoVersion: '2' })).toEqual([]);
  expect(say({ WireguardEnabled: 'true', FlowLogsLocalReporter: 'Enabled' })).toEqual([
    'FlowLogsLocalReporter=Enabled',
  ]);
  expect(say({ WireguardEnabled: 'yes', FlowLogsLocalReporter: 'Enabled' })).toEqual([
    'WireguardEnabled=yes',
  ]);
  expect(say({ FlowLogsLocalReporter: 'Disabled' })).toEqual([]);
  expect(say({ FlowLogsLocalReporter: 'Enabled' })).toEqual(['FlowLogsLocalReporter=Enabled']);
});

test('a setting that this version does not know is warned of once, and its value is kept out of the log', () => {
  const { say } = watch();
  expect(say({ NewThing: 'a' })).toEqual(['NewThing=']);
  expect(say({ NewThing: 'b' })).toEqual([]);
});

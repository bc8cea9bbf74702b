/** Says once what Felix is told and the dataplane does not do; again when its value changes, or when it comes back. */
import type { Logger } from '../log';
import { unsupportedSettings, type UnsupportedSetting } from '../translators/unsupported-settings';

/** @returns a function that takes the configuration as it is now, as often as one likes */
export function createSettingsLog(log: Pick<Logger, 'warn'>): (config: ReadonlyMap<string, string>) => void {
  let said: readonly UnsupportedSetting[] = [];
  return (config) => {
    const now = unsupportedSettings(config);
    if (now === said) return;
    const before = new Map(said.map(({ name, value }) => [name, value]));
    for (const { name, value, what } of now) {
      if (before.has(name) && before.get(name) === value) continue;
      log.warn('a setting of Felix is not honoured', { setting: name, value, what });
    }
    said = now;
  };
}

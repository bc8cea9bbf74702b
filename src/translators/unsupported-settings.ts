/** Which of the settings that somebody set are not honoured though they matter (model/felix-settings.ts). */
import { FELIX_SETTINGS, type FelixSetting } from '../model/felix-settings';
import { isNone, parseBool, parseInteger } from './felix-values';

export interface UnsupportedSetting {
  /** As Felix spells it; one that nobody knows, as it came. */
  readonly name: string;
  /** As it was set. Absent for a setting that nobody knows: it might be a secret. */
  readonly value?: string;
  /** What happens instead, a sentence. */
  readonly what: string;
}

const SETTINGS = new Map(FELIX_SETTINGS.map((setting) => [setting.name.toLowerCase(), setting]));
const known = new WeakMap<ReadonlyMap<string, string>, readonly UnsupportedSetting[]>();

/** In the order of their names. Read once for each map: the map must not change (FelixModel.config is replaced, never mutated). */
export function unsupportedSettings(config: ReadonlyMap<string, string>): readonly UnsupportedSetting[] {
  let read = known.get(config);
  if (read === undefined) known.set(config, (read = readUnsupported(config)));
  return read;
}

function readUnsupported(config: ReadonlyMap<string, string>): readonly UnsupportedSetting[] {
  const found: UnsupportedSetting[] = [];
  for (const [name, value] of config) {
    const setting = SETTINGS.get(name.toLowerCase());
    if (setting === undefined) {
      if (value !== '' && mayBeSetting(name)) found.push({ name, what: 'This version does not know it.' });
    } else if (setting.treatment === 'unsupported' && !isDefault(setting, value)) {
      // The name that Felix knows goes before one that came as it was written.
      if (name !== setting.name && config.has(setting.name)) continue;
      found.push({ name: setting.name, value, what: setting.what });
    }
  }
  return found.sort((a, b) => (a.name < b.name ? -1 : 1));
}

/**
 * Felix takes every environment variable FELIX_… for a setting. With a service felix-metrics-svc Kubernetes gives its pods
 * FELIX_METRICS_SVC_PORT and the like; no setting has an underscore in its name.
 */
function mayBeSetting(name: string): boolean {
  return !name.includes('_');
}

/** What Felix can not read is the default to it. */
function isDefault({ kind, default: standard = '' }: FelixSetting, value: string): boolean {
  if (value === '') return true;
  switch (kind) {
    case 'bool': {
      const normally = standard === 'true';
      return (isNone(value) ? false : (parseBool(value) ?? normally)) === normally;
    }
    case 'number':
      return (isNone(value) ? 0 : (parseInteger(value) ?? Number(standard))) === Number(standard);
    default:
      return (isNone(value) ? '' : value.toLowerCase()) === standard.toLowerCase();
  }
}

import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { FELIX_SETTINGS, NEWEST_CALICO } from '../../../src/model/felix-settings';
import {
  DEFAULT_FAILSAFE_INBOUND,
  DEFAULT_FAILSAFE_OUTBOUND,
} from '../../../src/translators/felix-configuration';
import { felixSettingsPage } from '../../support/felix-settings-page';

const PAGE = path.join(__dirname, '../../../docs/felix-configuration.md');

/** What Felix says of its settings (felix/config/config_params.go): kind and default, of the newest release that has the setting. */
const facts = JSON.parse(readFileSync(path.join(__dirname, 'felix-setting-facts.json'), 'utf8')) as {
  readonly calico: string;
  readonly settings: Readonly<Record<string, readonly [kind: string, standard: string]>>;
};

test('every setting of Felix has its place in the table, once', () => {
  expect(NEWEST_CALICO).toBe(facts.calico);
  expect(FELIX_SETTINGS.map(({ name }) => name).sort()).toEqual(Object.keys(facts.settings).sort());
});

test('kinds and defaults are those of Felix', () => {
  const described = FELIX_SETTINGS.filter(({ kind }) => kind !== undefined);
  expect(described.length).toBeGreaterThan(30);
  for (const { name, kind, default: standard } of described) {
    expect([name, kind, standard]).toEqual([name, ...facts.settings[name]!]);
  }
  expect(facts.settings['FailsafeInboundHostPorts']![1]).toBe(DEFAULT_FAILSAFE_INBOUND);
  expect(facts.settings['FailsafeOutboundHostPorts']![1]).toBe(DEFAULT_FAILSAFE_OUTBOUND);
});

test('a setting that matters says what happens, in a sentence', () => {
  for (const { name, what } of FELIX_SETTINGS)
    expect([name, what]).toEqual([name, expect.stringMatching(/^[A-Z].*\.$/)]);
});

test('no setting has an underscore in its name: such names are variables of Kubernetes', () => {
  expect(FELIX_SETTINGS.filter(({ name }) => name.includes('_'))).toEqual([]);
});

test('docs/felix-configuration.md is made of the table', () => {
  if (process.env['UPDATE_DOCS'] === '1') writeFileSync(PAGE, felixSettingsPage());
  expect(readFileSync(PAGE, 'utf8')).toBe(felixSettingsPage());
});

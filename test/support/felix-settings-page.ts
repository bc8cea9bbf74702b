/** docs/felix-configuration.md, made of the table of settings. */
import {
  FELIX_SETTINGS,
  NEWEST_CALICO,
  type FelixSetting,
  type Treatment,
} from '../../src/model/felix-settings';

const INTRODUCTION = `# Felix's settings, and what becomes of them

Made of \`src/model/felix-settings.ts\` by \`UPDATE_DOCS=1 npx jest test/unit/model/felix-settings.test.ts\`; a test holds the two together.

Felix sends its configuration (ConfigUpdate): what was set in FelixConfiguration, in its environment or in its file, in raw form and without the defaults. This is
every setting that Felix has had from Calico 3.26.0 to ${NEWEST_CALICO}. Names are those of Felix's own file and environment; in
FelixConfiguration they start with a small letter, and a few differ (\`ipipEnabled\` is IpInIpEnabled, \`ipipMTU\` IpInIpMtu).

A setting that matters, has another value than the default and is not honoured is **logged once as a warning** (again when its value changes), counted by the metric
\`calico_p4_unsupported_settings\`, and listed by \`/readyz\` as \`unsupportedSettings\` ([metrics and health](metrics.md)). So is a setting that this version does not know, without its
value. Names with an underscore are none: Kubernetes sets variables such as \`FELIX_METRICS_SVC_PORT\` for a service of that name, and Felix takes them for settings.

**Values that can not be read**: Felix itself takes the default, or ends. Should one get here all the same, the log names it, and what is taken never opens more than was asked for: the default
where that is the closed way (DefaultEndpointToHostAction is Drop), and of a list of ports the parts that can be read. \`none\` is the empty value, as for Felix.
`;

export function felixSettingsPage(): string {
  return [
    INTRODUCTION,
    described('Honoured', 'honoured', 'what it does'),
    described('Not honoured, and it matters', 'unsupported', 'what happens'),
    grouped(
      'Without effect',
      'no effect',
      'Nothing less is enforced without them, so they are not warned of.',
    ),
    grouped("Felix's own affair", 'felix', 'Felix heeds them, whatever the dataplane is.'),
  ].join('\n');
}

function described(title: string, treatment: Treatment, what: string): string {
  const rows = inOrder(treatment).map(
    (setting) => `| \`${setting.name}\` | ${shown(setting.default ?? '')} | ${setting.what} |`,
  );
  return [`## ${title}`, '', `| setting | default | ${what} |`, '|---|---|---|', ...rows, ''].join('\n');
}

function grouped(title: string, treatment: Treatment, said: string): string {
  const groups = new Map<string, string[]>();
  for (const { name, what } of inOrder(treatment)) {
    const names = groups.get(what) ?? [];
    names.push(`\`${name}\``);
    groups.set(what, names);
  }
  const rows = [...groups].map(([what, names]) => `| ${what} | ${names.join(', ')} |`);
  return [`## ${title}`, '', said, '', '| what | settings |', '|---|---|', ...rows, ''].join('\n');
}

function inOrder(treatment: Treatment): readonly FelixSetting[] {
  const some = FELIX_SETTINGS.filter((setting) => setting.treatment === treatment);
  return some.sort((a, b) => (a.name < b.name ? -1 : 1));
}

const shown = (value: string): string => (value === '' ? '' : `\`${value}\``);

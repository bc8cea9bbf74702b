/** `make bench`: every measurement in a process of its own, a table on stdout, JSON in bench-results/. `--quick` is for trying. */
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { type Figures, writeJson } from './support';

const NAMES = [
  'stages',
  'snapshot',
  'packets',
  'synthetic-tenth',
  'synthetic-full',
  'churn',
  'churn-at-once',
  'engine',
  'acl',
  'paths',
  'vxlan',
] as const;
const RATIOS = ['one member ms', 'one rule ms', 'new pod ms'] as const;

const args = process.argv.slice(2);
const only = args.filter((arg) => !arg.startsWith('--'));
const quick = args.includes('--quick');

function measure(name: string): Figures {
  const script = join(__dirname, 'measure.js');
  const { status, stdout } = spawnSync(
    process.execPath,
    [script, name, ...args.filter((a) => a === '--quick')],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
      encoding: 'utf8',
      maxBuffer: 2 ** 28,
      env: { ...process.env, CALICO_P4_LOG_LEVEL: 'error' },
    },
  );
  if (status !== 0) return { failed: `exit ${status ?? 'by signal'}` };
  return JSON.parse(stdout.trim().split('\n').at(-1)!) as Figures;
}

const results: Record<string, Figures> = {};
for (const name of NAMES) {
  if (only.length > 0 && !only.includes(name)) continue;
  const figures = (results[name] = measure(name));
  process.stdout.write(`${name}\n`);
  for (const [what, value] of Object.entries(figures)) {
    const text = typeof value === 'number' ? String(Number(value.toPrecision(4))) : value;
    process.stdout.write(`  ${what.padEnd(40)} ${text.padStart(12)}\n`);
  }
}
const { 'synthetic-tenth': tenth, 'synthetic-full': full } = results;
if (tenth && full) {
  process.stdout.write('full / tenth\n');
  for (const what of RATIOS) {
    const ratio = Number(full[what]) / Number(tenth[what]);
    process.stdout.write(`  ${what.padEnd(40)} ${ratio.toFixed(2).padStart(12)}\n`);
  }
}
const machine = {
  cpu: cpus()[0]?.model,
  cores: cpus().length,
  memoryGB: Math.round(totalmem() / 2 ** 30),
  kernel: release(),
  node: process.version,
};
const folder = join(process.cwd(), 'bench-results');
mkdirSync(folder, { recursive: true });
const file = join(folder, `${new Date().toISOString().replaceAll(':', '-')}.json`);
writeJson(file, { machine, quick, results });
process.stdout.write(`${file}\n`);

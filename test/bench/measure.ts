/** One measurement in this process: `measure.js NAME [--quick]`. The last line of stdout is JSON. */
import { growHeapSlowly } from '../../src/driver/heap';
import { acl } from './acl';
import { engine } from './engine';
import { paths } from './paths';
import { churn, packets, snapshot, stages } from './recorded';
import { synthetic } from './synthetic';
import { vxlan } from './vxlan';

// As the driver does.
growHeapSlowly();
const quick = process.argv.includes('--quick');
const measurements: Readonly<Record<string, () => Promise<never>>> = {
  stages: () => stages(quick),
  snapshot: () => snapshot(quick),
  churn: () => churn(quick, false),
  'churn-at-once': () => churn(quick, true),
  packets: () => packets(quick),
  engine: () => engine(quick),
  acl: () => acl(quick),
  paths: () => paths(quick),
  vxlan: () => vxlan(quick),
  'synthetic-tenth': () => synthetic(quick ? 0.01 : 0.1),
  'synthetic-full': () => synthetic(quick ? 0.1 : 1),
};

void measurements[process.argv[2] ?? '']!();

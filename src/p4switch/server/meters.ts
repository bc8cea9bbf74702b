import { type Entity, type MeterConfig, type MeterEntry, Update_Type } from 'p4runtime-js-bindings';
import type { MeterSetting } from '../engine';
import { cells } from './arrays';
import type { Pipeline } from './device-state';
import type { MeterLayout } from './layout';
import { invalid, unimplemented } from './refusal';
import type { Undo } from './undo';

/** Indexed meters: meter arrays of the spec (section "MeterEntry & DirectMeterEntry"). */

function meterOf(pipeline: Pipeline, id: number): MeterLayout {
  const meter = pipeline.layout.meters.get(id);
  if (!meter) throw invalid(`the p4info has no meter with id ${id}`);
  return meter;
}

/** Sets one cell, or all when there is no index; without a config, back to the default: everything is green. */
export function writeMeter(pipeline: Pipeline, type: Update_Type, entry: MeterEntry): Undo {
  const meter = meterOf(pipeline, entry.meterId);
  const what = `meter ${meter.name}`;
  if (type !== Update_Type.MODIFY) throw invalid(`${what}: cells can only be modified`);
  if (entry.counterData) throw unimplemented(`${what}: this switch does not count by colour`);
  const { first, end } = cells(what, meter.size, entry.index);
  const setting = entry.config && settingOf(what, entry.config);
  const { engine } = pipeline;
  const before: (MeterSetting | undefined)[] = [];
  for (let i = first; i < end; i++) {
    before.push(engine.readMeter(meter.array, i));
    engine.writeMeter(meter.array, i, setting);
  }
  return () => {
    before.forEach((old, i) => {
      engine.writeMeter(meter.array, first + i, old);
    });
  };
}

function settingOf(what: string, { cir, cburst, pir, pburst, eburst }: MeterConfig): MeterSetting {
  if (eburst !== 0n) throw invalid(`${what}: a meter of two rates has no excess burst`);
  if (cir < 1n || cburst < 1n || pburst < 1n) throw invalid(`${what}: rates and bursts are at least 1`);
  if (pir < cir) throw invalid(`${what}: the peak rate is below the committed rate`);
  return { rate: cir, burst: cburst, peakRate: pir, peakBurst: pburst };
}

/** Cells without a config are at the default. */
export function readMeters(pipeline: Pipeline, filter: MeterEntry): Iterable<Entity> {
  if (filter.counterData) throw unimplemented('this switch does not count by colour');
  if (filter.meterId === 0) {
    if (filter.index) throw invalid('a read of all meters takes no index');
    return [...pipeline.layout.meters.values()].flatMap((m) => [...readMeter(pipeline, m, filter)]);
  }
  return [...readMeter(pipeline, meterOf(pipeline, filter.meterId), filter)];
}

function* readMeter(
  { engine }: Pipeline,
  { id, name, array, size }: MeterLayout,
  { index }: MeterEntry,
): Iterable<Entity> {
  const { first, end } = cells(`meter ${name}`, size, index);
  for (let i = first; i < end; i++) {
    const setting = engine.readMeter(array, i);
    const config: MeterConfig | undefined = setting && {
      cir: setting.rate,
      cburst: setting.burst,
      pir: setting.peakRate,
      pburst: setting.peakBurst,
      eburst: 0n,
    };
    yield {
      entity: {
        $case: 'meterEntry',
        value: { meterId: id, index: { index: BigInt(i) }, config, counterData: undefined },
      },
    };
  }
}

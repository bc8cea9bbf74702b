import type { MeterSetting } from '../engine';

/** Colours as SWX has them. */
export const GREEN = 0;
export const YELLOW = 1;
export const RED = 2;

/** The buckets of one meter that was set. */
interface Meter {
  readonly setting: MeterSetting;
  /** The setting as numbers: a packet needs no more than 53 bits of them. */
  readonly rate: number;
  readonly burst: number;
  readonly peakRate: number;
  readonly peakBurst: number;
  committed: number;
  peak: number;
  /** Seconds. */
  filledAt: number;
}

/** A meter array. Meters that are not set call everything green, as in SWX. */
export interface MeterArray {
  /** undefined: not set. */
  get(index: number): MeterSetting | undefined;
  /** Buckets are full afterwards; undefined takes the setting away. */
  set(index: number, setting: MeterSetting | undefined): void;
  /** The packet's colour after it, of GREEN, YELLOW, RED. The index wraps at the size, rounded up to a power of two, as in SWX. */
  run(index: number, amount: number, colour: number): number;
}

/** Two-rate three-colour meters (RFC 2698), colour-aware. @param now seconds */
export function meterArray(size: number, now: () => number): MeterArray {
  const meters = new Map<number, Meter>();
  let rounded = 1;
  while (rounded < size) rounded *= 2;

  return {
    get: (index) => meters.get(index)?.setting,
    set(index, setting) {
      if (setting === undefined) {
        meters.delete(index);
        return;
      }
      const [rate, burst] = [Number(setting.rate), Number(setting.burst)];
      const [peakRate, peakBurst] = [Number(setting.peakRate), Number(setting.peakBurst)];
      const full = { committed: burst, peak: peakBurst, filledAt: now() };
      meters.set(index, { setting, rate, burst, peakRate, peakBurst, ...full });
    },
    run(index, amount, colour) {
      const meter = meters.get(index % rounded);
      if (meter === undefined) return GREEN;
      const at = now();
      const seconds = Math.max(0, at - meter.filledAt);
      meter.filledAt = at;
      meter.committed = Math.min(meter.burst, meter.committed + seconds * meter.rate);
      meter.peak = Math.min(meter.peakBurst, meter.peak + seconds * meter.peakRate);
      if (colour === RED || meter.peak < amount) return RED;
      meter.peak -= amount;
      if (colour === YELLOW || meter.committed < amount) return YELLOW;
      meter.committed -= amount;
      return GREEN;
    },
  };
}

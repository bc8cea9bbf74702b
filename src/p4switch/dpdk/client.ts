import type { MeterSetting, SpecAction, SpecEntry } from '../engine';
import type { Spec } from '../spec/ast';
import { ByteWriter } from './bytes';
import { type EngineChange, defaultNumber, readAction, readEntry, writeChange } from './changes';
import { type Description, readDescription } from './description';
import type { EngineLink } from './link';
import { END, IDLE_MODES, type IdleMode, Op, PROTOCOL_VERSION, Which } from './protocol';

export interface Hello {
  /** Another one after each start of the engine. */
  readonly bootId: bigint;
  readonly hasProgram: boolean;
  /** Of the last transaction on the running program; 0 for none. */
  readonly generation: bigint;
  /** Ports are 0 to slots - 1. */
  readonly slots: number;
}

export interface LearnedEntry {
  readonly keys: readonly bigint[];
  readonly action: SpecAction;
  /** Seconds. */
  readonly expiresIn: number;
}

export interface GroupMembers {
  readonly group: number;
  readonly members: readonly { readonly id: number; readonly weight: number }[];
}

/** Counters of the engine itself; the ports have theirs. */
export interface EngineStats {
  readonly packets: bigint;
  readonly batches: bigint;
  readonly sleeps: bigint;
  /** Sent by the program to a port that is not attached. */
  readonly noPort: bigint;
  /** Came out of the program shorter or longer than a frame may be. */
  readonly malformed: bigint;
  /** The running program is machine code; false: DPDK's interpreter runs it, or none is running. */
  readonly compiled: boolean;
}

export interface TableStats {
  readonly hits: bigint;
  readonly misses: bigint;
  /** Learned tables. */
  readonly learned?: bigint;
  /** A bucket was full: the packet's flow was not learned. */
  readonly learnFailed?: bigint;
  readonly byAction: ReadonlyMap<string, bigint>;
}

/** A frame at a port. */
export interface PortFrame {
  readonly port: number;
  readonly frame: Uint8Array;
}

/** The engine's operations, typed. All reject as EngineLink.request does. */
export interface EngineClient {
  hello(): Promise<Hello>;
  /** Tries the program in a process of its own; otherwise nothing changes. */
  check(spec: string): Promise<void>;
  /** Builds the program, which then waits for `activate`. `blob` comes back with `program`. */
  load(spec: string, blob: Uint8Array): Promise<void>;
  activate(): Promise<void>;
  describe(which: Which, spec: Spec): Promise<Description>;
  program(): Promise<{ readonly spec: string; readonly blob: Buffer }>;
  /** All or nothing, and at one moment for packets. */
  write(which: Which, generation: bigint, d: Description, changes: readonly EngineChange[]): Promise<void>;
  entries(d: Description, table: string): AsyncIterable<SpecEntry>;
  defaultAction(d: Description, table: string): Promise<SpecAction>;
  groups(d: Description, selector: string): Promise<readonly GroupMembers[]>;
  registers(d: Description, array: string, first: number, count: number): Promise<readonly bigint[]>;
  /** Of a whole array; undefined where a meter is not set. */
  meters(d: Description, array: string): Promise<readonly (MeterSetting | undefined)[]>;
  learned(d: Description, learner: string): Promise<readonly LearnedEntry[]>;
  flushLearned(d: Description, learner: string): Promise<void>;
  tableStats(d: Description, table: string): Promise<TableStats>;
  engineStats(): Promise<EngineStats>;
  /** Runs packets one after the other, past the ports: for each, what came out where. */
  inject(packets: readonly PortFrame[]): Promise<readonly (readonly PortFrame[])[]>;
  idle(
    mode?: IdleMode,
    spinMicroseconds?: number,
  ): Promise<{ readonly mode: IdleMode; readonly spin: number }>;
  /** Runs the packets round and round, `total` in all, with outputs thrown away. Nanoseconds. */
  bench(packets: readonly PortFrame[], total: number): Promise<bigint>;
  /** Ends the engine. Persistent interfaces stay. */
  quit(): Promise<void>;
}

const CELLS_A_READ = 65_536;
const METERS_A_READ = 16_384;
const PACKETS_A_MESSAGE = 1024;

export function engineClient(link: EngineLink): EngineClient {
  const loadBody = (checkOnly: boolean, spec: string, blob: Uint8Array): Buffer => {
    const text = Buffer.from(spec, 'utf8');
    return new ByteWriter(text.length + blob.length + 16)
      .u8(checkOnly ? 1 : 0)
      .u32(text.length)
      .raw(text)
      .u32(blob.length)
      .raw(blob)
      .finish();
  };
  return {
    async hello() {
      const r = await link.request(Op.hello, new ByteWriter().u16(PROTOCOL_VERSION).finish());
      r.u16();
      return { bootId: r.u64(), hasProgram: r.u8() === 1, generation: r.u64(), slots: r.u16() };
    },
    async check(spec) {
      await link.request(Op.load, loadBody(true, spec, new Uint8Array(0)));
    },
    async load(spec, blob) {
      await link.request(Op.load, loadBody(false, spec, blob));
    },
    async activate() {
      await link.request(Op.activate);
    },
    async describe(which, spec) {
      return readDescription(await link.request(Op.describe, new ByteWriter().u8(which).finish()), spec);
    },
    async program() {
      const r = await link.request(Op.program, new ByteWriter().u8(Which.running).finish());
      const spec = r.raw(r.u32()).toString('utf8');
      return { spec, blob: r.raw(r.u32()) };
    },
    async write(which, generation, d, changes) {
      const w = new ByteWriter(64 + 48 * changes.length).u8(which).u64(generation).u32(changes.length);
      for (const change of changes) writeChange(w, d, change);
      await link.request(Op.write, w.finish());
    },
    async *entries(d, name) {
      const table = d.tables.get(name)!;
      for (let cursor = 0; cursor !== END;) {
        const body = new ByteWriter().u8(Which.running).u16(table.number).u32(cursor).finish();
        const r = await link.request(Op.readEntries, body);
        cursor = r.u32();
        for (let left = r.u32(); left > 0; left--) yield readEntry(r, d, table);
      }
    },
    async defaultAction(d, table) {
      const body = new ByteWriter().u8(Which.running).u16(defaultNumber(d, table)).finish();
      return readAction(await link.request(Op.readDefault, body), d);
    },
    async groups(d, selector) {
      const groups: GroupMembers[] = [];
      for (let cursor = 0; cursor !== END;) {
        const number = d.selectors.get(selector)!;
        const body = new ByteWriter().u8(Which.running).u16(number).u32(cursor).finish();
        const r = await link.request(Op.readGroups, body);
        cursor = r.u32();
        for (let left = r.u32(); left > 0; left--) {
          const group = r.u32();
          const members = Array.from({ length: r.u16() }, () => ({ id: r.u32(), weight: r.u32() }));
          groups.push({ group, members });
        }
      }
      return groups;
    },
    async registers(d, array, first, count) {
      const { number } = d.regarrays.get(array)!;
      const values: bigint[] = [];
      while (values.length < count) {
        const part = Math.min(CELLS_A_READ, count - values.length);
        const w = new ByteWriter()
          .u8(Which.running)
          .u16(number)
          .u32(first + values.length)
          .u32(part);
        const r = await link.request(Op.readRegisters, w.finish());
        for (let left = part; left > 0; left--) values.push(r.u64());
      }
      return values;
    },
    async meters(d, array) {
      const { number, size } = d.metarrays.get(array)!;
      const found: (MeterSetting | undefined)[] = [];
      while (found.length < size) {
        const part = Math.min(METERS_A_READ, size - found.length);
        const w = new ByteWriter().u8(Which.running).u16(number).u32(found.length).u32(part);
        const r = await link.request(Op.readMeters, w.finish());
        for (let left = part; left > 0; left--) {
          const isSet = r.u8() === 1;
          const setting = { rate: r.u64(), burst: r.u64(), peakRate: r.u64(), peakBurst: r.u64() };
          found.push(isSet ? setting : undefined);
        }
      }
      return found;
    },
    async learned(d, learner) {
      const { number, widths } = d.learners.get(learner)!;
      const found: LearnedEntry[] = [];
      for (let cursor = 0; cursor !== END;) {
        const r = await link.request(Op.readLearned, new ByteWriter().u16(number).u32(cursor).finish());
        cursor = r.u32();
        for (let left = r.u32(); left > 0; left--) {
          const keys = widths.map((width) => r.value(width));
          found.push({ keys, action: readAction(r, d), expiresIn: r.u32() / 1000 });
        }
      }
      return found;
    },
    async flushLearned(d, learner) {
      await link.request(Op.flushLearned, new ByteWriter().u16(d.learners.get(learner)!.number).finish());
    },
    async tableStats(d, table) {
      const body = new ByteWriter().u8(Which.running).u16(defaultNumber(d, table)).finish();
      const r = await link.request(Op.tableStats, body);
      const counts = Array.from({ length: r.u8() }, () => r.u64());
      const isLearner = counts.length > 2;
      if (!isLearner) r.u32(); // entries: the mirror has them
      const byAction = Array.from({ length: r.u16() }, (_, i) => [d.actions[i]!.name, r.u64()] as const);
      return {
        hits: counts[0]!,
        misses: counts[1]!,
        ...(isLearner ? { learned: counts[2]!, learnFailed: counts[3]! } : {}),
        byAction: new Map(byAction.filter(([, count]) => count > 0n)),
      };
    },
    async engineStats() {
      const r = await link.request(Op.engineStats);
      return {
        packets: r.u64(),
        batches: r.u64(),
        sleeps: r.u64(),
        noPort: r.u64(),
        malformed: r.u64(),
        compiled: r.u64() !== 0n,
      };
    },
    async inject(packets) {
      const results: PortFrame[][] = [];
      for (let at = 0; at < packets.length; at += PACKETS_A_MESSAGE) {
        const w = new ByteWriter();
        writePackets(w, packets.slice(at, at + PACKETS_A_MESSAGE));
        const r = await link.request(Op.inject, w.finish());
        for (let left = r.u16(); left > 0; left--)
          results.push(Array.from({ length: r.u16() }, () => ({ port: r.u32(), frame: r.raw(r.u16()) })));
      }
      return results;
    },
    async idle(mode, spinMicroseconds) {
      const w = new ByteWriter()
        .u8(mode === undefined ? 0 : 1)
        .u8(IDLE_MODES.indexOf(mode ?? 'sleep'))
        .u32(spinMicroseconds ?? 0);
      const r = await link.request(Op.idle, w.finish());
      return { mode: IDLE_MODES[r.u8()]!, spin: r.u32() };
    },
    async bench(packets, total) {
      const w = new ByteWriter().u32(total);
      writePackets(w, packets);
      return (await link.request(Op.bench, w.finish())).u64();
    },
    async quit() {
      await link.request(Op.quit);
    },
  };
}

function writePackets(w: ByteWriter, packets: readonly PortFrame[]): void {
  w.u16(packets.length);
  for (const { port, frame } of packets) w.u16(port).u16(frame.length).raw(frame);
}

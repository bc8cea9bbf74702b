/** What a lab makes on the machine, and what its Felix says: of a lab file, or of a recording. */
import { copyFileSync, writeFileSync } from 'node:fs';
import type { StopAt } from '../cli/stream';
import { labModel, placePods } from './cluster';
import { encodeFrames, modelPayloads } from './felix-frames';
import { readLabFile } from './lab-file';
import { HOST, type LabPlace, type LabPod, OUTSIDE } from './places';
import { readRecording } from './recording';

export interface LabPlan {
  readonly pods: readonly LabPod[];
  /** Endpoints of the recording for which no pod is made. */
  readonly left: number;
  /** The world behind the uplink. */
  readonly outside: LabPlace;
  /** The node's own stack. */
  readonly host: LabPlace;
  /** What Felix writes to the driver. */
  readonly stream: Uint8Array;
  /** Messages in it. */
  readonly frames: number;
}

export type LabSource =
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'recording'; readonly path: string; readonly at: StopAt; readonly most: number };

/** @throws CalicoP4Error CONFIG_INVALID, USAGE, FELIX_* */
export async function planLab(source: LabSource): Promise<LabPlan> {
  if (source.kind === 'recording') return readRecording(source.path, source.at, source.most);
  const file = readLabFile(source.path);
  const pods = placePods(file);
  const payloads = modelPayloads(labModel(file, pods));
  return {
    pods,
    left: 0,
    outside: { name: OUTSIDE, ...file.outside },
    host: { name: HOST, ...file.host },
    stream: encodeFrames(payloads),
    frames: payloads.length,
  };
}

/** Puts what the plan was made of where the lab's process reads it: the same source with that path gives the same plan. */
export function keepSource(source: LabSource, plan: LabPlan, path: string): void {
  if (source.kind === 'file') copyFileSync(source.path, path);
  else writeFileSync(path, plan.stream);
}

/** Where a lab keeps what it is: one folder below /run, for root alone. */
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { CalicoP4Error } from '../errors';

export interface LabPaths {
  readonly name: string;
  readonly folder: string;
  readonly state: string;
  /** The copy of the lab file, or of the recording, that is in force. */
  readonly source: string;
  readonly log: string;
  readonly driverConfig: string;
  readonly felixSocket: string;
  readonly engineSocket: string;
  /** P4Runtime address of the lab's switch, for `--target`. */
  readonly target: string;
  /** For `--names`. */
  readonly names: string;
}

/** @throws CalicoP4Error USAGE for a name that can not be one of files and namespaces */
export function labPaths(name: string): LabPaths {
  if (!/^[a-z0-9]{1,20}$/.test(name))
    throw new CalicoP4Error('USAGE', `--name ${name}: give at most 20 lower-case letters and digits`);
  const folder = `/run/calico-p4-${name}`;
  const file = (base: string): string => path.join(folder, base);
  return {
    name,
    folder,
    state: file('state.json'),
    source: file('source'),
    log: file('lab.log'),
    driverConfig: file('driver.yaml'),
    felixSocket: file('felix.sock'),
    engineSocket: file('engine.sock'),
    target: `unix:${file('p4rt.sock')}`,
    names: file('names.json'),
  };
}

/** The network namespace of a pod, of the world outside, of the host. */
export function namespaceOf(lab: LabPaths, place: string): string {
  return `calico-p4-${lab.name}-${place}`;
}

const place = z.strictObject({
  name: z.string(),
  namespace: z.string(),
  ips: z.array(z.string()),
  serve: z.array(z.number()),
});

const schema = z.strictObject({
  phase: z.enum(['starting', 'up', 'failed']),
  /** Why it failed. */
  why: z.string().optional(),
  /** The process of switch, driver and Felix; `started` is its start time, so that a later process with its number is not taken for it. */
  daemon: z.strictObject({ pid: z.number().int().min(2), started: z.string() }).optional(),
  /** What Felix says; the path is that of the copy. */
  source: z.discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('file'), path: z.string() }),
    z.strictObject({
      kind: z.literal('recording'),
      path: z.string(),
      at: z.union([z.enum(['insync', 'end']), z.number()]),
      most: z.number(),
    }),
  ]),
  pods: z.array(
    place.extend({
      interface: z.string(),
      /** P4 port; undefined until the driver has given it one. */
      port: z.number().optional(),
    }),
  ),
  /** Endpoints of a recording for which no pod is made. */
  left: z.number(),
  outside: place,
  host: place,
});

export type LabState = Readonly<z.infer<typeof schema>>;

/** Undefined when there is no such lab. @throws CalicoP4Error USAGE when the file is not one of ours */
export function readState(lab: LabPaths): LabState | undefined {
  let text: string;
  try {
    text = readFileSync(lab.state, 'utf8');
  } catch {
    return undefined;
  }
  try {
    return schema.parse(JSON.parse(text));
  } catch (cause) {
    throw new CalicoP4Error(
      'USAGE',
      `${lab.state} is damaged, or of another release: delete the namespaces ${namespaceOf(lab, '…')} and ${lab.folder} by hand`,
      {},
      { cause },
    );
  }
}

export function writeState(lab: LabPaths, state: LabState): void {
  mkdirSync(lab.folder, { recursive: true, mode: 0o700 });
  writeFileSync(`${lab.state}.new`, `${JSON.stringify(state, null, 2)}\n`, { mode: 0o600 });
  renameSync(`${lab.state}.new`, lab.state);
}

export function removeState(lab: LabPaths): void {
  rmSync(lab.folder, { recursive: true, force: true });
}

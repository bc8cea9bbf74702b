/**
 * Calico's names of the numbers on a target: for people, never for enforcement (docs/decisions/0006).
 */
import { chmodSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { z } from 'zod';
import { CalicoP4Error } from '../errors';
import type { PlacedEndpoint } from '../translators/endpoints';
import type { LabelName } from '../translators/policy/compiler';
import type { Outcome, Step } from '../translators/policy/outcomes';
import { UPLINK_STAGES } from '../translators/policy/programs';
import { workloadKey } from '../model/model';

export interface TargetNames {
  /** Port number -> `uplink`, `host`, or a workload's interface name. */
  readonly ports: ReadonlyMap<number, string>;
  /** Endpoint id -> workload, for example `k8s/shop/web-0/eth0`; 0 is the uplink. */
  readonly endpoints: ReadonlyMap<number, string>;
  readonly outcomes: ReadonlyMap<number, Outcome>;
  /** `page/bit` -> what the bit of addr_labels and of the masks stands for. */
  readonly labels: ReadonlyMap<string, string>;
  /** Address of a node, or of its tunnel, as spellAddress spells it -> the node's name. */
  readonly nodes: ReadonlyMap<string, string>;
}

export const NO_NAMES: TargetNames = {
  ports: new Map(),
  endpoints: new Map(),
  outcomes: new Map(),
  labels: new Map(),
  nodes: new Map(),
};

export function namesOf(
  endpoints: readonly PlacedEndpoint[],
  outcomes: Iterable<Outcome>,
  labels: Iterable<LabelName>,
  ports: { readonly uplink: number; readonly host: number },
  nodes: TargetNames['nodes'],
): TargetNames {
  return {
    ports: new Map([
      [ports.uplink, 'uplink'],
      [ports.host, 'host'],
      ...endpoints.map(({ port, workload }) => [port, workload.name] as const),
    ]),
    endpoints: new Map([
      [0, 'uplink'],
      ...endpoints.map(({ ep, workload }) => [ep, workloadKey(workload.id)] as const),
    ]),
    outcomes: new Map([...outcomes].map((outcome) => [outcome.id, outcome] as const)),
    labels: new Map([...labels].map(({ page, bit, name }) => [`${page}/${bit}`, shortened(name)] as const)),
    nodes,
  };
}

/** A list of CIDRs may be long. */
const LABEL_MAX = 200;

function shortened(name: string): string {
  return name.length <= LABEL_MAX ? name : `${name.slice(0, LABEL_MAX)}…`;
}

const numbered = z.array(z.tuple([z.number(), z.string()]));
const direction = z.enum(['ingress', 'egress']);
const hostStage = z.enum(UPLINK_STAGES);
const stage = z.union([direction, z.literal('egress-to-host'), hostStage]);
const policyId = z.strictObject({ kind: z.string(), namespace: z.string(), name: z.string() });
/** A step of an outcome (outcomes.ts), field by field: what is printed must be what was written. */
const step: z.ZodType<Step> = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('rule'),
    tier: z.string().nullable(),
    policy: policyId.nullable(),
    profile: z.string().nullable(),
    direction,
    index: z.number().int(),
    action: z.enum(['allow', 'deny', 'log', 'pass']),
  }),
  z.strictObject({ kind: z.literal('end-of-tier'), tier: z.string(), direction }),
  z.strictObject({ kind: z.literal('no-profile-match'), direction }),
  z.strictObject({ kind: z.literal('admin-down'), direction }),
  z.strictObject({ kind: z.literal('too-complex'), direction: stage }),
  z.strictObject({ kind: z.literal('encap-from-workload'), encap: z.enum(['vxlan', 'ipip']), direction }),
  z.strictObject({ kind: z.literal('missing-policy'), tier: z.string(), policy: policyId, direction }),
  z.strictObject({ kind: z.literal('missing-profile'), profile: z.string(), direction }),
  z.strictObject({
    kind: z.literal('failsafe'),
    list: z.enum(['inbound', 'outbound']),
    port: z.string(),
    answers: z.boolean(),
  }),
  z.strictObject({ kind: z.literal('nothing-matched'), stage: hostStage }),
  z.strictObject({ kind: z.literal('no-host-endpoint') }),
  z.strictObject({ kind: z.literal('unknown-uplink') }),
  z.strictObject({ kind: z.literal('miss') }),
  z.strictObject({ kind: z.literal('overflow') }),
]);

const fileSchema = z.strictObject({
  version: z.literal(4),
  ports: numbered,
  endpoints: numbered,
  outcomes: z.array(
    z.strictObject({ id: z.number(), verdict: z.enum(['allow', 'deny', 'unmatched']), rules: z.array(step) }),
  ),
  labels: z.array(z.tuple([z.string(), z.string()])),
  nodes: z.array(z.tuple([z.string(), z.string()])),
});

/** Replaces the file at once; readable by its owner only. Throws what the file system says. */
export function writeNames(path: string, names: TargetNames): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const text = JSON.stringify({
    version: 4,
    ports: [...names.ports],
    endpoints: [...names.endpoints],
    outcomes: [...names.outcomes.values()],
    labels: [...names.labels],
    nodes: [...names.nodes],
  });
  const fresh = `${path}.${process.pid}.new`;
  writeFileSync(fresh, text, { mode: 0o600 });
  chmodSync(fresh, 0o600);
  renameSync(fresh, path);
}

/** @throws CalicoP4Error USAGE when the file can not be read or is none of ours */
export function readNames(path: string): TargetNames {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    throw new CalicoP4Error(
      'USAGE',
      `can not read ${path}, where the driver leaves Calico's names: give --names FILE (the driver's namesFile)`,
      { path },
      { cause },
    );
  }
  try {
    const file = fileSchema.parse(JSON.parse(text));
    return {
      ports: new Map(file.ports),
      endpoints: new Map(file.endpoints),
      outcomes: new Map(file.outcomes.map((outcome) => [outcome.id, outcome])),
      labels: new Map(file.labels),
      nodes: new Map(file.nodes),
    };
  } catch (cause) {
    throw new CalicoP4Error('USAGE', `${path} is not a names file of calico-p4`, { path }, { cause });
  }
}

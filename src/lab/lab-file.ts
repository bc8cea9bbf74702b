/**
 * The file of a lab: pods, and policies in a small subset of Calico's GlobalNetworkPolicy with its words. Strict: what is
 * not known here is refused, so that nobody believes in a policy that is not enforced.
 */
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { parse } from 'yaml';
import { z } from 'zod';
import { CalicoP4Error } from '../errors';
import { parseCidr } from '../translators/address';
import { HOST, HOST_IPS, OUTSIDE, OUTSIDE_IPS } from './places';
import { parseSelector } from './selector';

/** Namespaces and engine ports are plenty; this keeps addresses in one /24. */
const MOST_PODS = 200;

const podName = z
  .string()
  .regex(
    /^[a-z0-9]([a-z0-9-]{0,9}[a-z0-9])?$/,
    'give lower-case letters, digits and -, at most 11 (the interface is cali and the name)',
  );
const policyName = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/, 'give lower-case letters, digits, . and -');
const labelText = z.string().regex(/^[A-Za-z0-9]([A-Za-z0-9._/-]*[A-Za-z0-9])?$/, 'this can not be a label');
const labelValue = z.union([z.literal(''), labelText]);
const port = z.number().int().min(1).max(65535);
const portRange = z
  .string()
  .regex(/^\d{1,5}:\d{1,5}$/, 'give a number, or "FIRST:LAST"')
  .refine((text) => {
    const [first = 0, last = 0] = text.split(':').map(Number);
    return first <= last && last <= 65535;
  }, 'FIRST is at most LAST, and LAST at most 65535');
const selector = z.string().transform((text, context) => {
  const labels = parseSelector(text);
  if (labels !== undefined) return labels;
  context.addIssue({
    code: 'custom',
    message: `"${text}" is more than a lab understands: give all(), or key == 'value' joined by &&`,
  });
  return z.NEVER;
});
const net = z.string().refine((text) => parseCidr(text) !== undefined, 'give a CIDR such as 10.65.0.0/24');

const entity = z.strictObject({
  selector: selector.optional(),
  nets: z.array(net).min(1).optional(),
  ports: z
    .array(z.union([port, portRange]))
    .min(1)
    .optional(),
});

const WITH_PORTS = ['TCP', 'UDP', 'SCTP'];

const rule = z
  .strictObject({
    action: z.enum(['Allow', 'Deny', 'Log', 'Pass']),
    protocol: z.enum(['TCP', 'UDP', 'SCTP', 'ICMP', 'ICMPv6']).optional(),
    source: entity.prefault({}),
    destination: entity.prefault({}),
  })
  .refine(
    ({ protocol, source, destination }) =>
      (source.ports ?? destination.ports) === undefined || WITH_PORTS.includes(protocol ?? ''),
    `ports need a protocol of ${WITH_PORTS.join(', ')}`,
  );

const policy = z.strictObject({
  name: policyName,
  selector,
  /** Lower ones are asked first; without one, last. Equal ones by name. */
  order: z.number().optional(),
  types: z
    .array(z.enum(['Ingress', 'Egress']))
    .min(1)
    .optional(),
  ingress: z.array(rule).optional(),
  egress: z.array(rule).optional(),
});

/** At most one of each family. */
const addresses = z
  .array(z.string().refine((text) => isIP(text) !== 0, 'give an address without a prefix length'))
  .min(1)
  .refine((ips) => new Set(ips.map(isIP)).size === ips.length, 'give at most one address of each family');

const pod = z.strictObject({
  name: podName.refine(
    (name) => name !== OUTSIDE && name !== HOST,
    `${OUTSIDE} and ${HOST} are no pods: give another name`,
  ),
  labels: z.record(labelText, labelValue).default({}),
  ips: addresses.optional(),
  /** TCP ports on which a small HTTP server answers. */
  serve: z.array(port).default([]),
});

/** The world behind the uplink, and the node's own stack: a namespace each. */
const outside = z
  .strictObject({ ips: addresses.default([...OUTSIDE_IPS]), serve: z.array(port).default([]) })
  .prefault({});
const host = z
  .strictObject({ ips: addresses.default([...HOST_IPS]), serve: z.array(port).default([]) })
  .prefault({});

const schema = z.strictObject({
  pods: z.array(pod).min(1).max(MOST_PODS),
  outside,
  host,
  policies: z.array(policy).default([]),
});

export type LabFile = Readonly<z.infer<typeof schema>>;
export type LabFilePod = Readonly<z.infer<typeof pod>>;
export type LabFilePolicy = Readonly<z.infer<typeof policy>>;
export type LabFileRule = Readonly<z.infer<typeof rule>>;

/** @throws CalicoP4Error CONFIG_INVALID naming the file, the pod or policy, the key and what it may be */
export function readLabFile(path: string): LabFile {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    throw new CalicoP4Error('CONFIG_INVALID', `can not read the lab file ${path}`, {}, { cause });
  }
  return parseLabFile(text, path);
}

/** @param path for messages only */
export function parseLabFile(text: string, path: string): LabFile {
  let value: unknown;
  try {
    value = parse(text, { logLevel: 'error' });
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message.split('\n')[0] : String(cause);
    throw new CalicoP4Error('CONFIG_INVALID', `${path} is no YAML: ${reason}`, {}, { cause });
  }
  const checked = schema.safeParse(value);
  const problems = checked.success
    ? repetitions(checked.data)
    : checked.error.issues.map((issue) => `${place(value, issue.path)}${issue.message}`);
  if (checked.success && problems.length === 0) return checked.data;
  throw new CalicoP4Error('CONFIG_INVALID', `${path}: ${problems.join('; ')}`);
}

function repetitions({ pods, policies, outside, host }: LabFile): string[] {
  const twice = (what: string, names: readonly string[]): string[] =>
    [...new Set(names.filter((name, i) => names.indexOf(name) !== i))].map(
      (name) => `${what} ${name} is there twice`,
    );
  return [
    ...twice('pod', pods.map(({ name }) => name)), // prettier-ignore
    ...twice('policy', policies.map(({ name }) => name)), // prettier-ignore
    ...twice('address', [...pods, outside, host].flatMap(({ ips = [] }) => ips.map((ip) => parseCidr(ip)?.text ?? ip))), // prettier-ignore
  ];
}

/** `pod web: labels.app: `: objects of a list by their name, where they have one. */
function place(value: unknown, path: readonly PropertyKey[]): string {
  const [list, index, ...rest] = path;
  const words = (keys: readonly PropertyKey[]): string =>
    keys.length === 0 ? '' : `${keys.map(String).join('.')}: `;
  if ((list !== 'pods' && list !== 'policies') || typeof index !== 'number') return words(path);
  const named = z.object({ [list]: z.array(z.unknown()) }).safeParse(value);
  const object = z.object({ name: z.string() }).safeParse(named.data?.[list]?.[index]);
  const kind = list === 'pods' ? 'pod' : 'policy';
  return `${kind} ${object.success ? object.data.name : `number ${index + 1}`}: ${words(rest)}`;
}

/**
 * The driver's configuration: a YAML file, overridden by environment variables, checked as a whole and frozen. The rest
 * of the program never sees an optional. Felix's own settings are not here: they come over the link.
 */
import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { z } from 'zod';
import { EMBEDDED_LINKS, parseMac, spellMac, type NodeLinks } from '../translators/links';
import { CalicoP4Error } from '../errors';

const DEFAULT_FILE = '/etc/calico-p4/config.yaml';
const ENV_PREFIX = 'CALICO_P4_';
const OTHER_ENV = ['CALICO_P4_CONFIG'];

const portNumber = z.number().int().min(0).max(0xffff_ffff);
const macAddress = z
  .string()
  .refine(
    (text) => text === '' || parseMac(text) !== undefined,
    'give the MAC address of an interface, such as 02:00:00:00:00:01, or "" if it is not known',
  );
const interfaceName = z
  .string()
  .max(15)
  .regex(/^[^\s/"\\]*$/, 'give the name of an interface');
const ipPacket = z.number().int().min(1280).max(65535);
const address = z.string().regex(/^(unix:.+|.+:\d{1,5})$/, 'give HOST:PORT or unix:/path/of/a/socket');

const schema = z
  .strictObject({
    target: z
      .strictObject({
        /** HOST:PORT or unix:PATH of the P4Runtime server. */
        address: address.default('127.0.0.1:9559'),
        /** What answers there; its limits stand in src/p4target/target-traits.ts. */
        kind: z.enum(['embedded', 'p4-dpdk']).default('embedded'),
        deviceId: z.number().int().min(1).default(1),
        /** Decimal, up to 128 bits; the controller with the highest is the primary. */
        electionId: z
          .string()
          .regex(/^[1-9]\d*$/, 'give a decimal number greater than 0')
          .default('1'),
        /** Paths of PEM files; without them the connection is not encrypted. */
        tls: z
          .strictObject({ ca: z.string(), cert: z.string().optional(), key: z.string().optional() })
          .optional(),
      })
      .prefault({}),
    /** P4 port numbers. */
    ports: z
      .strictObject({
        uplink: portNumber.default(0),
        host: portNumber.default(1),
        firstPod: portNumber.default(2),
        /** Port to a network stack that only makes ICMP errors (translators/links.ts); default: the host's does. */
        errorStack: portNumber.optional(),
      })
      .prefault({}),
    /** Names of the node's interfaces, as Calico's resources know them. */
    interfaces: z
      .strictObject({
        /** The one behind the uplink port; host endpoints may name it. "": not known, and then one that names any closes the uplink. */
        uplink: interfaceName.default(''),
        /**
         * The one by which the host's stack gets packets, with the node's addresses and its default route. "": the host's kernel is left
         * alone, and every other node is reached by macs.nextHop.
         */
        host: interfaceName.default(''),
      })
      .prefault({}),
    /**
     * The defaults are those of the embedded switch; with interfaces.host, of the interfaces: then nextHop is not asked for. "": not known,
     * and what needs it stays closed.
     */
    macs: z
      .strictObject({
        /** What pods and the host take every other address to be at. */
        gateway: macAddress
          .refine((text) => text !== '', 'the gateway needs a MAC address')
          .default(spellMac(EMBEDDED_LINKS.gatewayMac)),
        /** The node's own at the uplink, and the next hop's there. */
        uplink: macAddress.optional(),
        nextHop: macAddress.default(spellMac(EMBEDDED_LINKS.nextHopMac!)),
        /** Of the interfaces by which the host's stack, and a stack for ICMP errors, get packets. */
        host: macAddress.optional(),
        errorStack: macAddress.default(''),
      })
      .prefault({}),
    /** Largest IP packets, in bytes. */
    mtu: z
      .strictObject({
        pods: ipPacket.default(EMBEDDED_LINKS.podMtu),
        uplink: ipPacket.default(EMBEDDED_LINKS.uplinkMtu),
      })
      .prefault({}),
    felix: z
      .strictObject({
        /** `fds`: descriptors 3 and 4, as Felix gives them; or unix:PATH. */
        link: z
          .string()
          .regex(/^(fds|unix:.+)$/, 'give "fds" or unix:/path/of/a/socket')
          .default('fds'),
        heartbeatSeconds: z.number().min(1).max(60).default(10),
      })
      .prefault({}),
    metrics: z
      .strictObject({
        /** HOST:PORT for Prometheus and for /healthz and /readyz; "" for none. Felix's own ports are 9091 and 9099. */
        listen: z
          .string()
          .regex(/^(|[^/]+:\d{1,5})$/, 'give HOST:PORT, or "" for no metrics')
          .default('127.0.0.1:9191'),
      })
      .prefault({}),
    /** Where the driver leaves Calico's names of what is on the target, for `tables` and `trace`; "" writes none. */
    namesFile: z.string().default('/run/calico-p4/names.json'),
    /**
     * Where the driver keeps what the numbers on the target stand for, so that a restart writes nothing that has not changed; "" keeps
     * nothing. Of use only as long as the target keeps its rows: a disk of its own is not needed.
     */
    journalFile: z.string().default('/run/calico-p4/journal'),
    logLevel: z.enum(['error', 'warn', 'info', 'debug']).default('info'),
  })
  .refine(
    ({ ports, macs }) => (ports.errorStack === undefined) === (macs.errorStack === ''),
    'ports.errorStack and macs.errorStack belong together: give both or none',
  )
  .refine(
    ({ interfaces: { uplink, host } }) => host === '' || (uplink !== '' && uplink !== host),
    'interfaces.host needs interfaces.uplink, another one',
  );

export type DriverConfig = Readonly<z.infer<typeof schema>>;

/**
 * @param file path of the YAML file; undefined: CALICO_P4_CONFIG, else /etc/calico-p4/config.yaml if it is there.
 * @throws CalicoP4Error CONFIG_INVALID naming the file, the key and what it may be
 */
export function loadConfig(env: NodeJS.ProcessEnv, file?: string): DriverConfig {
  const path = file ?? env['CALICO_P4_CONFIG'];
  const fromFile = readYaml(path ?? DEFAULT_FILE, path !== undefined);
  const source = path ?? DEFAULT_FILE;
  const checked = schema.safeParse(withEnvironment(fromFile, env));
  if (!checked.success) {
    const problems = checked.error.issues.map((issue) => {
      const key = issue.path.map(String).join('.');
      return key === '' ? issue.message : `${key}: ${issue.message}`;
    });
    throw new CalicoP4Error(
      'CONFIG_INVALID',
      `configuration (${source} and environment): ${problems.join('; ')}`,
    );
  }
  return deepFreeze(checked.data);
}

/** MAC addresses of the node's interfaces, where they are looked up. */
export interface InterfaceMacs {
  readonly uplink: bigint | undefined;
  readonly host: bigint | undefined;
}

const EMBEDDED_MACS: InterfaceMacs = { uplink: EMBEDDED_LINKS.uplinkMac, host: EMBEDDED_LINKS.hostMac };

/** The links of the node's ports, as configured; `found` is taken where nothing is. */
export function linksOf({ ports, macs, mtu }: DriverConfig, found: InterfaceMacs = EMBEDDED_MACS): NodeLinks {
  const stackMac = parseMac(macs.errorStack);
  return {
    gatewayMac: parseMac(macs.gateway)!,
    uplinkMac: macs.uplink === undefined ? found.uplink : parseMac(macs.uplink),
    nextHopMac: parseMac(macs.nextHop),
    hostMac: macs.host === undefined ? found.host : parseMac(macs.host),
    podMtu: mtu.pods,
    uplinkMtu: mtu.uplink,
    errorStack:
      ports.errorStack === undefined || stackMac === undefined
        ? undefined
        : { port: ports.errorStack, mac: stackMac },
  };
}

function readYaml(path: string, required: boolean): Record<string, unknown> {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    if (!required) return {};
    throw new CalicoP4Error('CONFIG_INVALID', `can not read the configuration file ${path}`, {}, { cause });
  }
  try {
    // What the parser would only warn of is no key of ours, and is refused below.
    const value: unknown = parse(text, { logLevel: 'error' }) ?? {};
    if (typeof value === 'object' && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message.split('\n')[0] : String(cause);
    throw new CalicoP4Error('CONFIG_INVALID', `${path} is no YAML: ${reason}`, {}, { cause });
  }
  throw new CalicoP4Error('CONFIG_INVALID', `${path}: expected keys such as "target:", found something else`);
}

/** CALICO_P4_TARGET_ADDRESS is target.address, CALICO_P4_NAMES_FILE is namesFile; CALICO_P4_LOG_LEVEL is logLevel. */
function withEnvironment(config: Record<string, unknown>, env: NodeJS.ProcessEnv): Record<string, unknown> {
  const known = environmentKeys();
  const result = structuredClone(config);
  for (const [name, text] of Object.entries(env)) {
    if (!name.startsWith(ENV_PREFIX) || text === undefined || name === 'CALICO_P4_CONFIG') continue;
    const path = known.get(name);
    if (path === undefined) {
      throw new CalicoP4Error(
        'CONFIG_INVALID',
        `environment variable ${name} is none of calico-p4's; there are ${[...known.keys(), ...OTHER_ENV].sort().join(', ')}`,
      );
    }
    setPath(result, path, /^\d+$/.test(text) && path.at(-1) !== 'electionId' ? Number(text) : text);
  }
  return result;
}

function environmentKeys(): Map<string, readonly string[]> {
  const keys = new Map<string, readonly string[]>();
  const sections = {
    target: ['address', 'kind', 'deviceId', 'electionId'],
    ports: ['uplink', 'host', 'firstPod', 'errorStack'],
    interfaces: ['uplink', 'host'],
    macs: ['gateway', 'uplink', 'nextHop', 'host', 'errorStack'],
    mtu: ['pods', 'uplink'],
    felix: ['link', 'heartbeatSeconds'],
    metrics: ['listen'],
  };
  for (const [section, names] of Object.entries(sections)) {
    for (const name of names)
      keys.set(`${ENV_PREFIX}${section.toUpperCase()}_${screaming(name)}`, [section, name]);
  }
  for (const file of ['ca', 'cert', 'key'])
    keys.set(`${ENV_PREFIX}TARGET_TLS_${file.toUpperCase()}`, ['target', 'tls', file]);
  for (const name of ['namesFile', 'journalFile', 'logLevel'])
    keys.set(`${ENV_PREFIX}${screaming(name)}`, [name]);
  return keys;
}

function screaming(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
}

function setPath(target: Record<string, unknown>, path: readonly string[], value: unknown): void {
  const [head = '', ...rest] = path;
  if (rest.length === 0) {
    target[head] = value;
    return;
  }
  const inner = target[head];
  const next = typeof inner === 'object' && inner !== null ? (inner as Record<string, unknown>) : {};
  target[head] = next;
  setPath(next, rest, value);
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) {
    for (const inner of Object.values(value)) deepFreeze(inner);
    Object.freeze(value);
  }
  return value;
}

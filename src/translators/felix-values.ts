/**
 * Felix's spelling of values (felix/config/param_types.go). Felix sends settings as their owner wrote them, so each reader here takes
 * what Felix takes, and says `undefined` where Felix takes the default instead, or ends.
 */
import { parseCidr, type Cidr } from './address';

/** Setting a field to this takes its zero value, which is not always the default (felix/config/config_params.go, resolve). */
export function isNone(raw: string): boolean {
  return raw.toLowerCase() === 'none';
}

export function parseBool(raw: string): boolean | undefined {
  switch (raw.toLowerCase()) {
    case 'true':
    case '1':
    case 'yes':
    case 'y':
    case 't':
      return true;
    case 'false':
    case '0':
    case 'no':
    case 'n':
    case 'f':
      return false;
    default:
      return undefined;
  }
}

const INTEGER = /^[+-]?(?:0x(?:_?[0-9a-f])+|0b(?:_?[01])+|0o(?:_?[0-7])+|0(?:_?[0-7])*|[1-9](?:_?\d)*)$/i;

/** As Go reads integers of any base: `10`, `0x1f`, `017`, `0b11`, `1_000`. */
export function parseInteger(raw: string): number | undefined {
  if (!INTEGER.test(raw)) return undefined;
  const digits = raw.replace(/[+_-]/g, '');
  const value = Number(/^0\d/.test(digits) ? `0o${digits.slice(1)}` : digits);
  return raw.startsWith('-') ? -value : value;
}

/** Comma-delimited CIDRs and addresses, or what is none of them. */
export function parseCidrs(raw: string): {
  readonly cidrs: readonly Cidr[];
  readonly bad: readonly string[];
} {
  const cidrs: Cidr[] = [];
  const bad: string[] = [];
  for (const text of items(raw)) {
    const cidr = parseCidr(text);
    if (cidr === undefined) bad.push(text);
    else cidrs.push(cidr);
  }
  return { cidrs, bad };
}

/** A port that no policy of a host endpoint closes. */
export interface FailsafePort {
  /** IP protocol number. */
  readonly protocol: 6 | 17;
  readonly port: number;
  /** The other side's addresses; absent: anybody's, of both families. */
  readonly net?: Cidr;
}

/**
 * Comma-delimited `tcp:22`, `22` (TCP), `udp:10.0.0.0/8:53`, `tcp:[fd00::/8]:22`; `none` is the empty list.
 * Felix ends at a list with a part that it can not read. Here that part is left out: nothing is open that was not asked for.
 */
export function parseFailsafePorts(raw: string): {
  readonly ports: readonly FailsafePort[];
  readonly bad: readonly string[];
} {
  const ports: FailsafePort[] = [];
  const bad: string[] = [];
  if (isNone(raw)) return { ports, bad };
  for (const text of items(raw)) {
    const port = parseFailsafePort(text);
    if (port === undefined) bad.push(text);
    else ports.push(port);
  }
  return { ports, bad };
}

const PROTOCOLS: Readonly<Record<string, 6 | 17 | undefined>> = { tcp: 6, udp: 17 };

function parseFailsafePort(text: string): FailsafePort | undefined {
  let netText = '';
  let rest = text;
  if (text.includes('[') && text.includes(']')) {
    const from = text.indexOf('[');
    const to = text.indexOf(']:');
    if (to < from) return undefined;
    netText = text.slice(from + 1, to);
    rest = text.slice(0, from) + text.slice(to + 2);
  }
  const parts = rest.split(':');
  if (parts.length > 3) return undefined;
  const portText = parts.at(-1)!;
  if (parts.length === 3) netText = parts[1]!;
  const protocol = parts.length === 1 ? 6 : PROTOCOLS[parts[0]!.toLowerCase()];
  const port = /^[+-]?\d+$/.test(portText) ? Number(portText) : -1;
  if (protocol === undefined || port < 0 || port > 65535) return undefined;
  if (netText === '') return { protocol, port };
  const net = parseCidr(netText);
  return net === undefined ? undefined : { protocol, port, net };
}

/** Felix trims spaces, and passes over what is empty. */
function items(raw: string): readonly string[] {
  return raw
    .split(',')
    .map((item) => item.replace(/^ +| +$/g, ''))
    .filter((item) => item !== '');
}

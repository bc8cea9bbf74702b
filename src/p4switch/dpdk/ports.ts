import { CalicoP4Error } from '../../errors';
import { type ByteReader, ByteWriter } from './bytes';
import type { EngineLink } from './link';
import { Op, PORT_KINDS, type PortKind } from './protocol';

/** What is behind a port of the engine. */
export interface PortSpec {
  readonly kind: PortKind;
  /** Of the interface, or of the DPDK device; empty for memory. */
  readonly name: string;
  /** Path of the namespace of the interface; empty for the engine's own. */
  readonly netns: string;
  /** 0: as it is. */
  readonly mtu: number;
  /** `02:00:00:00:00:01`; empty: as it is. */
  readonly mac: string;
  /** Frames have this tag outside, and none inside the engine: packet and device. 0: as they are. */
  readonly vlan: number;
  /** TAP: stays, with its addresses, when the engine ends. */
  readonly persistent: boolean;
}

export interface PortState extends PortSpec {
  readonly port: number;
  /** Its interface or namespace went away. */
  readonly gone: boolean;
  readonly counters: PortCounters;
}

export interface PortCounters {
  readonly rxPackets: bigint;
  readonly rxBytes: bigint;
  readonly rxDropped: bigint;
  readonly txPackets: bigint;
  readonly txBytes: bigint;
  readonly txDropped: bigint;
}

const PERSIST = 1;
const UP = 2;
const VLAN = 4;
const REMOVE = 1;
const NO_MAC = '00:00:00:00:00:00';

/** @throws as EngineLink.request: the port is attached already, there is no such interface, ... */
export async function attachPort(link: EngineLink, port: number, spec: PortSpec): Promise<void> {
  const w = new ByteWriter()
    .u16(port)
    .u8(PORT_KINDS.indexOf(spec.kind) + 1)
    .u8((spec.persistent ? PERSIST : 0) | UP | (spec.vlan > 0 ? VLAN : 0))
    .u16(spec.mtu)
    .raw(Buffer.from((spec.mac === '' ? NO_MAC : spec.mac).replaceAll(':', ''), 'hex'))
    .name(spec.name)
    .name(spec.netns);
  if (spec.vlan > 0) w.u16(spec.vlan);
  await link.request(Op.attach, w.finish());
}

/** @param remove a persistent TAP goes too */
export async function detachPort(link: EngineLink, port: number, remove: boolean): Promise<void> {
  await link.request(
    Op.detach,
    new ByteWriter()
      .u16(port)
      .u8(remove ? REMOVE : 0)
      .finish(),
  );
}

export async function listPorts(link: EngineLink): Promise<readonly PortState[]> {
  const r = await link.request(Op.ports);
  return Array.from({ length: r.u16() }, () => readPort(r));
}

function readPort(r: ByteReader): PortState {
  const port = r.u16();
  const kind = PORT_KINDS[r.u8() - 1]!;
  const flags = r.u8();
  const mtu = r.u16();
  const mac = r
    .raw(6)
    .toString('hex')
    .replace(/..(?!$)/g, '$&:');
  const name = r.name();
  const netns = r.name();
  const vlan = (flags & VLAN) !== 0 ? r.u16() : 0;
  return {
    port,
    kind,
    name,
    netns,
    mtu,
    mac: mac === NO_MAC ? '' : mac,
    vlan,
    persistent: (flags & PERSIST) !== 0,
    gone: r.u8() === 1,
    counters: {
      rxPackets: r.u64(),
      rxBytes: r.u64(),
      rxDropped: r.u64(),
      txPackets: r.u64(),
      txBytes: r.u64(),
      txDropped: r.u64(),
    },
  };
}

export function samePort(a: PortSpec, b: PortSpec): boolean {
  return (
    a.kind === b.kind &&
    a.name === b.name &&
    a.netns === b.netns &&
    a.mtu === b.mtu &&
    a.mac === b.mac &&
    a.vlan === b.vlan &&
    a.persistent === b.persistent
  );
}

/**
 * `NUMBER=KIND:NAME[@NETNS][,mtu=N][,mac=M][,vlan=ID]`, for example `2=tap:eth0@/run/netns/pod-a,mtu=1450`, `0=packet:eth1,vlan=100`.
 *
 * @throws CalicoP4Error USAGE
 */
export function parsePort(text: string): { readonly port: number; readonly spec: PortSpec } {
  const usage = (problem: string): CalicoP4Error =>
    new CalicoP4Error(
      'USAGE',
      `--port ${text}: ${problem}; for example 2=tap:eth0@/run/netns/pod-a,mtu=1450`,
    );
  const [head = '', ...options] = text.split(',');
  const parts = /^(\d{1,5})=(\w+):([^@]*)(?:@(.+))?$/.exec(head);
  if (!parts) throw usage('give NUMBER=KIND:NAME[@NETNS]');
  const kind = PORT_KINDS.find((k) => k === parts[2]);
  if (kind === undefined) throw usage(`the kind is one of ${PORT_KINDS.join(', ')}`);
  let mtu = 0;
  let mac = '';
  let vlan = 0;
  for (const option of options) {
    const [key, value = ''] = option.split('=');
    if (key === 'mtu' && /^\d{2,4}$/.test(value)) mtu = Number(value);
    else if (key === 'mac' && /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(value)) mac = value.toLowerCase();
    else if (key === 'vlan' && isVlan(value)) vlan = Number(value);
    else throw usage(`'${option}' is not known; options are mtu=N, mac=aa:bb:cc:dd:ee:ff and vlan=1 to 4094`);
  }
  if (vlan > 0 && kind !== 'packet' && kind !== 'device')
    throw usage('only packet sockets and devices have a VLAN');
  const persistent = kind === 'tap';
  const spec = { kind, name: parts[3] ?? '', netns: parts[4] ?? '', mtu, mac, vlan, persistent };
  return { port: Number(parts[1]), spec };
}

function isVlan(text: string): boolean {
  return /^[1-9]\d{0,3}$/.test(text) && Number(text) <= 4094;
}

import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { z } from 'zod';
import type { PortSpec } from './ports';
import { PORT_KINDS } from './protocol';

/**
 * The ports that were attached, in a file beside the engine's socket: when engine and server were both ended, pods that run on
 * get their ports back from it. When the machine was started anew meanwhile, its pods are others: then ports come back whose
 * namespace is there, as the host's own is, and the rest is forgotten.
 */
const PORTS = z.array(
  z.tuple([
    z.number().int().min(0),
    z.object({
      kind: z.enum(PORT_KINDS),
      name: z.string(),
      netns: z.string(),
      mtu: z.number(),
      mac: z.string(),
      vlan: z.number().default(0),
      persistent: z.boolean(),
    }),
  ]),
);
const FILE = z.object({ boot: z.string(), ports: PORTS });

/** Another one after each start of the machine. "" where the kernel does not say: then it is never another. */
export function bootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    return '';
  }
}

export interface FoundPorts {
  readonly ports: ReadonlyMap<number, PortSpec>;
  /** Of pods that a start of the machine has ended. */
  readonly forgotten: ReadonlyMap<number, PortSpec>;
}

/** No ports when there is no such file, or one that is damaged: then whoever attached them has to do it again. */
export function readPortFile(file: string, boot = bootId()): FoundPorts {
  try {
    const found = FILE.parse(JSON.parse(readFileSync(file, 'utf8')));
    const isThere = ({ netns }: PortSpec): boolean =>
      found.boot === boot || netns === '' || existsSync(netns);
    return {
      ports: new Map(found.ports.filter(([, spec]) => isThere(spec))),
      forgotten: new Map(found.ports.filter(([, spec]) => !isThere(spec))),
    };
  } catch {
    return { ports: new Map(), forgotten: new Map() };
  }
}

export function writePortFile(file: string, ports: ReadonlyMap<number, PortSpec>, boot = bootId()): void {
  const plain = [...ports].map(([port, { kind, name, netns, mtu, mac, vlan, persistent }]) => [
    port,
    { kind, name, netns, mtu, mac, vlan, persistent },
  ]);
  writeFileSync(`${file}.new`, `${JSON.stringify({ boot, ports: plain })}\n`, { mode: 0o600 });
  renameSync(`${file}.new`, file);
}

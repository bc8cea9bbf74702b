import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { z } from 'zod';
import type { PortSpec } from './ports';
import { PORT_KINDS } from './protocol';

/**
 * The ports that were attached, in a file beside the engine's socket: when engine and server were both ended, pods that run on
 * get their ports back from it.
 */
const FILE = z.array(
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

/** No ports when there is no such file, or one that is damaged: then whoever attached them has to do it again. */
export function readPortFile(file: string): ReadonlyMap<number, PortSpec> {
  try {
    return new Map(FILE.parse(JSON.parse(readFileSync(file, 'utf8'))));
  } catch {
    return new Map();
  }
}

export function writePortFile(file: string, ports: ReadonlyMap<number, PortSpec>): void {
  const plain = [...ports].map(([port, { kind, name, netns, mtu, mac, vlan, persistent }]) => [
    port,
    { kind, name, netns, mtu, mac, vlan, persistent },
  ]);
  writeFileSync(`${file}.new`, `${JSON.stringify(plain)}\n`, { mode: 0o600 });
  renameSync(`${file}.new`, file);
}

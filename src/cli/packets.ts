/** Packets through the embedded switch, from a port that people know by name. */
import { CalicoP4Error } from '../errors';
import type { TargetNames } from '../driver/names';
import type { Engine, PacketResult } from '../p4switch/engine';
import { buildFrame } from '../packet/build';
import type { PacketLine } from '../packet/describe';

/** @throws CalicoP4Error USAGE when no port has that name */
export function sendPacket(engine: Engine, names: TargetNames, line: PacketLine): PacketResult {
  return engine.process(portByName(names, line.from), buildFrame(line.packet), true);
}

function portByName(names: TargetNames, from: string): number {
  for (const [port, name] of names.ports) if (name === from) return port;
  const known = [...names.ports.values()].join(', ');
  throw new CalicoP4Error('USAGE', `no port "${from}": packets come from ${known}`);
}

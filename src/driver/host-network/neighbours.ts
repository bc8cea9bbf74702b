/** Has the kernel learn, and keep, the MAC addresses of neighbours at the uplink. */
import type { Commands } from './commands';
import { readNeighbours } from './kernel';

export interface Neighbours {
  /** Has the kernel ask for these addresses, and, if told so, no longer for others. @throws CalicoP4Error HOST_NETWORK_FAILED */
  want(addresses: ReadonlySet<string>, onlyThese: boolean): Promise<void>;
  /** Reads what the kernel knows. @returns whether that is something else than before. @throws CalicoP4Error HOST_NETWORK_FAILED */
  read(): Promise<boolean>;
  /** By address, spelled as spellAddress does. */
  readonly macs: ReadonlyMap<string, bigint>;
}

export function createNeighbours(commands: Commands, uplink: string): Neighbours {
  let macs: ReadonlyMap<string, bigint> = new Map();
  let managed: ReadonlySet<string> = new Set();
  /** Kernels before 5.16 do not keep entries by themselves; then those that are missing are asked for at each look. */
  let keeps = true;

  const batch = async (lines: readonly string[]): Promise<void> => {
    if (lines.length > 0) await commands.run('ip', ['-batch', '-'], `${lines.join('\n')}\n`);
  };
  const spelled = (text: string): string => text.split('/')[0]!;

  return {
    get macs() {
      return macs;
    },
    async want(addresses, onlyThese) {
      // What an earlier process asked for is found by its mark.
      const gone = onlyThese ? [...managed].filter((address) => !addresses.has(address)) : [];
      const come = [...addresses].filter((address) => !(keeps ? managed : macs).has(address));
      await batch(gone.map((address) => `neigh del ${address} dev ${uplink}`));
      const ask = (how: string): Promise<void> =>
        batch(come.map((address) => `neigh replace ${address} dev ${uplink} ${how}`));
      try {
        await ask(keeps ? 'managed' : 'use');
      } catch (error) {
        if (!keeps) throw error;
        keeps = false;
        await ask('use');
      }
      if (keeps) managed = new Set(onlyThese ? addresses : [...managed, ...addresses]);
    },
    async read() {
      const found = await readNeighbours(commands, uplink);
      const now = new Map(
        found.flatMap(({ address, mac }) =>
          mac === undefined ? [] : [[spelled(address.text), mac] as const],
        ),
      );
      managed = new Set(found.filter((one) => one.managed).map(({ address }) => spelled(address.text)));
      const same = now.size === macs.size && [...now].every(([address, mac]) => macs.get(address) === mac);
      macs = now;
      return !same;
    },
  };
}

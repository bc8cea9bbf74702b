/** The steps of the recordings of routes, and what their rows say, as text. */
import { createFelixSession, type FelixSession } from '../../src/driver/felix/felix-session';
import { NO_NAMES } from '../../src/driver/names';
import { rowWords } from '../../src/cli/row-words';
import type { FelixModel } from '../../src/model/model';
import { EMBEDDED_LINKS } from '../../src/translators/links';
import type { NetworkFacts } from '../../src/translators/network-facts';
import { createNetworkRows, type NetworkRows } from '../../src/translators/routes';
import { framesOf, recording } from '../unit/driver/felix/recordings';

export const PORTS = { uplink: 0, host: 1 } as const;

/** A step's name and its last frame (from 0), as in the recording's .md. */
export type Step = readonly [name: string, last: number];

export const ROUTE_STEPS: Readonly<Record<string, readonly Step[]>> = {
  '03-vxlan-routes': [
    ['start-of-day', 65],
    ['node-add', 73],
    ['node-add-block-first, up to the block', 74],
    ['node-add-block-first', 79],
    ['vtep-addr-change', 90],
    ['vtep-mac-change', 91],
    ['vtep-v6-gone', 99],
    ['vtep-gone', 105],
    ['vtep-back', 111],
    ['node-ip-change', 120],
    ['own-subnet-change', 132],
    ['borrow-release', 133],
    ['borrow-local-new', 136],
    ['block-move', 138],
    ['pod-add-del', 142],
    ['pool-nat', 162],
    ['pool-mode', 170],
    ['pool-mode-none', 178],
    ['pool-add', 182],
    ['pool-disable-del', 190],
    ['node-del', 199],
    ['node-del-node-only', 206],
  ],
  '04-ipip-noencap-routes': [
    ['start-of-day', 39],
    ['node-add', 45],
    ['tunnel-addr', 53],
    ['local-bgp-peer', 56],
    ['pool-mode', 63],
    ['node-del', 69],
  ],
  '04b-ipip-default-routes': [['start-of-day', 38]],
};

/** The neighbours of the recordings: every address that is asked for has the MAC 02:…:01, the default route 02:…:0f. */
export const FACTS: NetworkFacts = {
  macOf: () => 0x0200_0000_0001n,
  defaultMac: 0x0200_0000_000fn,
  kernelRoutes: [],
  hostAddresses: [],
  wireguard: { v4: false, v6: false },
  natOutgoing: 'ready',
};

/** Sorted lines, one a row. */
export function networkText(rows: NetworkRows): string[] {
  const names = {
    ...NO_NAMES,
    nodes: rows.nodes,
    ports: new Map([
      [0, 'uplink'],
      [1, 'host'],
    ]),
  };
  return [
    ...rows.parts.flat().map((row) => rowWords(row, names)),
    ...rows.ownAddresses.map(({ address, what }) => `own address ${address.text}: ${what}`),
    ...rows.problems.map((problem) => `problem: ${problem}`),
  ].sort();
}

export function rowsOf(model: FelixModel, facts: NetworkFacts = FACTS): NetworkRows {
  return createNetworkRows()({ model, ports: PORTS, links: EMBEDDED_LINKS, facts });
}

/** Calls `after` with the session at the end of each step. */
export function replaySteps(
  name: string,
  steps: readonly Step[],
  after: (step: string, session: FelixSession) => void,
): void {
  const session = createFelixSession();
  const frames = framesOf(recording(name));
  let at = 0;
  for (const [step, last] of steps) {
    for (; at <= last; at++) session.push(frames[at]!);
    after(step, session);
  }
}

/**
 * The host's kernel as part of the node (docs/routes.md): the guard at the uplink, neighbours, routes to pods, NAT outgoing. Everything is
 * compared with what is there before it is written, so that a driver that starts again writes nothing; it stays when the driver ends.
 *
 * ```
 *  start: guard ──► prepare(model): routes, rules ──► rows (facts) ──► want(next hops) ──► neighbours
 *                       ▲                                 ▲                                   │
 *                       └── the kernel says that something changed ◄─────────────────────────┘
 * ```
 */
import { CalicoP4Error } from '../../errors';
import type { Logger } from '../../log';
import type { FelixModel } from '../../model/model';
import { parseCidr } from '../../translators/address';
import { felixConfiguration } from '../../translators/felix-configuration';
import type { NetworkFacts } from '../../translators/network-facts';
import { waysOf } from '../../translators/hops';
import { ownAddresses } from '../../translators/tunnels';
import { createWatch } from '../watch';
import type { Commands } from './commands';
import { applyHostPlan, setSwitches, silenceArp } from './host-routes';
import { readKernel, type KernelState } from './kernel';
import { createNeighbours } from './neighbours';
import { createNftTable } from './nft-table';
import { guardRules, hostPlan } from './plan';
import { birdRoutes, defaultHops, hopTo, hostAddresses, type Interfaces } from './ways';

export interface HostNetworkOptions {
  readonly interfaces: Interfaces;
  /** What frames from the host are addressed to. */
  readonly gatewayMac: bigint;
  readonly commands: Commands;
  readonly log: Logger;
  /** Facts changed, or are not what the kernel has any more: `prepare` and the rows should be done again. */
  readonly onChange: () => void;
}

export interface HostNetwork {
  /** The same object as long as nothing changed. */
  readonly facts: NetworkFacts;
  /** The guard is in place: rows may be written. */
  readonly guarded: boolean;
  /** Something changed since `prepare` was last called. */
  readonly stale: boolean;
  /** What is not as it should be, in words. */
  readonly failures: readonly string[];
  /** Waits until the guard is in place. */
  guard(): Promise<void>;
  /** Before rows are written: has the host do its part for them. What can not be done is in `failures` and in the facts. */
  prepare(model: FelixModel): Promise<void>;
  /** After rows were written: what the kernel shall find out (NetworkRows.nextHops). */
  want(nextHops: ReadonlySet<string>): Promise<void>;
  /** Ends the look at the kernel. What was set up stays. */
  close(): void;
}

/** Milliseconds: the kernel says things in bursts. */
const SETTLE = 30;
/** Milliseconds between two looks without a reason: nothing says that rules of nftables or switches were changed by somebody. */
const LOOK = 10_000;
/** Milliseconds until what failed is tried again. */
const AGAIN = 1000;

export function createHostNetwork(options: HostNetworkOptions): HostNetwork {
  const { interfaces, gatewayMac, commands, log, onChange } = options;
  const { uplink, host } = interfaces;
  const neighbours = createNeighbours(commands, uplink);
  const guardTable = createNftTable(commands, 'netdev', 'calico-p4');
  const hostTable = createNftTable(commands, 'inet', 'calico-p4');
  const failures = new Map<string, string>();
  const empty: KernelState = { devices: new Map(), addresses: [], routes: [] };
  let kernel = empty;
  let guarded = false;
  let natReady: NetworkFacts['natOutgoing'] = 'failed';
  let devices = { v4: 'wireguard.cali', v6: 'wg-v6.cali' };
  /** undefined: nobody has said it yet, and what an earlier process asked for stays. */
  let wanted: ReadonlySet<string> | undefined;
  /** What was planned last is what the kernel has, as far as is known. */
  let settled = false;
  let rules: string | undefined;
  const watchModel = createWatch();
  let facts = makeFacts();
  let stale = false;
  let closed = false;
  let waiting: NodeJS.Timeout | undefined;
  let looks: Promise<void> = Promise.resolve();

  function makeFacts(): NetworkFacts {
    const { macs } = neighbours;
    const state = kernel;
    const up = (device: string): boolean => state.devices.get(device)?.up === true;
    const [gateway] = defaultHops(state, interfaces).filter((hop) => macs.has(hop));
    return {
      macOf(address) {
        const cidr = parseCidr(address);
        const hop = cidr === undefined ? undefined : hopTo(cidr, state, interfaces);
        return hop === undefined ? undefined : macs.get(hop);
      },
      defaultMac: gateway === undefined ? undefined : macs.get(gateway),
      kernelRoutes: birdRoutes(state),
      hostAddresses: hostAddresses(state, interfaces),
      wireguard: { v4: up(devices.v4), v6: up(devices.v6) },
      natOutgoing: natReady,
    };
  }

  /** Does something, and keeps what went wrong; each trouble is logged once. */
  const attempt = async <T>(what: string, act: () => Promise<T>): Promise<T | undefined> => {
    try {
      const result = await act();
      if (failures.delete(what)) log.info('the host network is all right again', { what });
      return result;
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      if (failures.get(what) !== reason && !closed) {
        log.error('the host network is not as it should be', {
          what,
          reason,
          ...(error instanceof CalicoP4Error ? { code: error.code } : {}),
        });
      }
      failures.set(what, reason);
      return undefined;
    }
  };

  const renew = (): void => {
    facts = makeFacts();
    stale = true;
    onChange();
  };

  const setGuard = async (): Promise<void> => {
    const written = await attempt('the guard at the uplink', async () => {
      await silenceArp(commands, uplink);
      return guardTable.ensure(guardRules(uplink));
    });
    guarded = written !== undefined;
    if (written === true) log.info('the kernel gets nothing from the uplink', { uplink });
  };

  const askFor = async (): Promise<void> => {
    const hops = new Set(defaultHops(kernel, interfaces));
    for (const address of wanted ?? []) {
      const cidr = parseCidr(address);
      const hop = cidr === undefined ? undefined : hopTo(cidr, kernel, interfaces);
      if (hop !== undefined) hops.add(hop);
    }
    await attempt('neighbours', () => neighbours.want(hops, wanted !== undefined));
  };

  /** Reads the kernel. Whether anything that the facts say is different now. */
  const read = async (): Promise<boolean> => {
    const now = await attempt("a look at the kernel's addresses and routes", () => readKernel(commands));
    const moved = now !== undefined && !sameState(kernel, now);
    if (moved) kernel = now;
    const learned = await attempt('a look at neighbours', () => neighbours.read());
    await askFor();
    return moved || learned === true;
  };

  const look = (everything: boolean): void => {
    looks = looks.then(async () => {
      if (closed) return;
      if (everything) {
        await setGuard();
        const table = rules;
        if (table !== undefined) {
          const drifted = await attempt('NAT outgoing', () => hostTable.ensure(table));
          if (drifted !== false) settled = false;
        }
        if (failures.size > 0) settled = false;
      }
      const changed = await read();
      if (changed) settled = false;
      if (!settled) renew();
    });
  };

  const soon = (everything: boolean): void => {
    if (waiting !== undefined || closed) return;
    waiting = setTimeout(() => {
      waiting = undefined;
      look(everything);
    }, SETTLE);
  };
  const stops = [
    commands.follow('ip', ['monitor', 'link', 'address', 'route', 'neigh'], () => {
      soon(false);
    }),
    commands.follow('nft', ['monitor', 'destroy'], (line) => {
      if (line === '' || line.includes('calico-p4')) soon(true);
    }),
  ];
  const timer = setInterval(() => {
    look(true);
  }, LOOK);
  timer.unref();

  return {
    get facts() {
      return facts;
    },
    get guarded() {
      return guarded;
    },
    get stale() {
      return stale;
    },
    get failures() {
      return [...failures].map(([what, reason]) => `${what}: ${reason}`);
    },
    async guard() {
      while (!closed) {
        await setGuard();
        if (guarded) {
          await read();
          facts = makeFacts();
          return;
        }
        await new Promise((resolve) => setTimeout(resolve, AGAIN));
      }
    },
    async prepare(model) {
      stale = false;
      const { config, pools, hosts, workloads, routes, vteps, wireguard, wireguardV6 } = model;
      const made = [pools, hosts, workloads, routes, vteps, wireguard, wireguardV6].map((map) =>
        map.values(),
      );
      const moved = watchModel([...made, [config, kernel]]);
      if (settled && !moved) return;
      const { device, deviceV6 } = felixConfiguration(config).wireguard;
      devices = { v4: device, v6: deviceV6 };
      const own = ownAddresses({ model, facts }, waysOf(model, facts));
      const plan = hostPlan({ model, kernel, interfaces, ownAddresses: own });
      await attempt('switches of the kernel', () => setSwitches(commands, host));
      const written = await attempt('NAT outgoing', () => hostTable.ensure(plan.rules));
      rules = plan.rules;
      natReady = written === undefined ? 'failed' : 'ready';
      if (written === true) log.info('rules of the host written', { table: 'inet calico-p4' });
      const changed = await attempt('routes of the host', async () => {
        kernel = await readKernel(commands);
        return applyHostPlan(commands, host, plan, gatewayMac, kernel);
      });
      if (changed === true) log.info('routes of the host written', { routes: plan.routes.length });
      watchModel([
        ...[pools, hosts, workloads, routes, vteps, wireguard, wireguardV6].map((map) => map.values()),
        [config, kernel],
      ]);
      settled = failures.size === 0;
      facts = makeFacts();
    },
    async want(nextHops) {
      if (nextHops === wanted) return;
      wanted = nextHops;
      await askFor();
    },
    close() {
      closed = true;
      clearInterval(timer);
      clearTimeout(waiting);
      for (const stop of stops) stop();
    },
  };
}

function sameState(a: KernelState, b: KernelState): boolean {
  return spell(a) === spell(b);
}

function spell({ devices, addresses, routes }: KernelState): string {
  return JSON.stringify([[...devices], addresses, routes].flat(), (_, value: unknown) =>
    typeof value === 'bigint' ? value.toString() : value,
  );
}

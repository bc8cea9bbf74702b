import { isDeepStrictEqual } from 'node:util';
import { CalicoP4Error } from '../../errors';
import type {
  FelixModel,
  HostEndpoint,
  HostMetadata,
  IpamPool,
  Policy,
  Profile,
  Route,
  Vtep,
  WireguardEndpoint,
  WorkloadEndpoint,
} from '../../model/model';
import { NO_NETWORK, policyKey, workloadKey } from '../../model/model';
import { createIpSetStore } from './ip-set-store';
import type { FelixMessage, HostMetadataSource } from './messages';

/** What differs from the last time that somebody asked, by the model's keys: added, changed or removed. */
export interface ModelChanges {
  readonly ipSets: ReadonlySet<string>;
  readonly policies: ReadonlySet<string>;
  readonly profiles: ReadonlySet<string>;
  readonly workloads: ReadonlySet<string>;
  readonly hostEndpoints: ReadonlySet<string>;
  readonly hosts: boolean;
  readonly pools: ReadonlySet<string>;
  readonly routes: ReadonlySet<string>;
  /** Tunnel endpoints, WireGuard's ends, and which encapsulations there are. */
  readonly tunnels: boolean;
  readonly config: boolean;
  /** InSync came in between. */
  readonly inSync: boolean;
}

/** Owns the model. Messages that say what is known already change nothing and mark nothing. */
export interface ModelBuilder {
  /** Live: later messages show in it. */
  readonly model: FelixModel;
  /**
   * Applies one message. Removals of what is not there are ignored, as Felix's contract asks.
   * @throws CalicoP4Error FELIX_MESSAGE_INVALID: a delta of a set that was never sent, or two policies of one name.
   */
  apply(message: FelixMessage): void;
  /** The changes since the last call, or since the start. An IP set that changed and changed back is none. */
  takeChanges(): ModelChanges;
}

export function createModelBuilder(): ModelBuilder {
  const ipSets = createIpSetStore();
  const policies = new Map<string, Policy>();
  const compoundNames = new Map<string, string>();
  const profiles = new Map<string, Profile>();
  const workloads = new Map<string, WorkloadEndpoint>();
  const hostEndpoints = new Map<string, HostEndpoint>();
  const hosts = new Map<string, HostMetadata>();
  const pools = new Map<string, IpamPool>();
  const routes = new Map<string, Route>();
  const vteps = new Map<string, Vtep>();
  const wireguard = new Map<string, WireguardEndpoint>();
  const wireguardV6 = new Map<string, WireguardEndpoint>();
  const hostSources = new Map<string, Map<HostMetadataSource, HostMetadata>>();
  let dirty = noChanges();

  const model = {
    config: new Map() as ReadonlyMap<string, string>,
    ipSets: ipSets.sets,
    policies,
    profiles,
    workloads,
    hostEndpoints,
    hosts,
    pools,
    routes,
    vteps,
    wireguard,
    wireguardV6,
    encapsulation: NO_NETWORK.encapsulation,
    inSync: false,
  };

  function put<T>(map: Map<string, T>, marks: Set<string>, key: string, value: T): void {
    if (!isDeepStrictEqual(map.get(key), value)) {
      map.set(key, value);
      marks.add(key);
    }
  }

  function remove(map: Map<string, unknown>, marks: Set<string>, key: string): void {
    if (map.delete(key)) {
      marks.add(key);
    }
  }

  function putTunnel<T>(map: Map<string, T>, node: string, value: T | undefined): void {
    if (isDeepStrictEqual(map.get(node), value)) return;
    if (value === undefined) map.delete(node);
    else map.set(node, value);
    dirty.tunnels = true;
  }

  function mark(changed: boolean, ipSet: string): void {
    if (changed) {
      dirty.ipSets.add(ipSet);
    }
  }

  function putPolicy({ policy, compoundName }: Extract<FelixMessage, { kind: 'policy' }>): void {
    const key = policyKey(policy.id);
    const before = compoundNames.get(key);
    if (compoundName !== undefined) {
      if (before !== undefined && before !== compoundName) {
        throw new CalicoP4Error(
          'FELIX_MESSAGE_INVALID',
          `the policies ${before} and ${compoundName} have one and the same name, ${key}, to their users: rename one of them`,
          { before, compoundName },
        );
      }
      compoundNames.set(key, compoundName);
    }
    put(policies, dirty.policies, key, policy);
  }

  /** Where a node is described more than once, the description with both addresses wins: its are CIDRs. */
  function changeHost(
    hostname: string,
    { source, alone }: { readonly source: HostMetadataSource; readonly alone: boolean },
    host: HostMetadata | undefined,
  ): void {
    const sources = hostSources.get(hostname) ?? new Map<HostMetadataSource, HostMetadata>();
    if (alone) {
      sources.clear();
    }
    if (host === undefined) {
      sources.delete(source);
    } else {
      sources.set(source, host);
    }
    const before = hosts.get(hostname);
    if (sources.size === 0) {
      hostSources.delete(hostname);
      hosts.delete(hostname);
      dirty.hosts ||= before !== undefined;
      return;
    }
    hostSources.set(hostname, sources);
    const both = sources.get('both');
    const merged: HostMetadata = {
      hostname,
      ipv4Addr: firstSet(both?.ipv4Addr, sources.get('ipv4')?.ipv4Addr),
      ipv6Addr: firstSet(both?.ipv6Addr, sources.get('ipv6')?.ipv6Addr),
    };
    if (!isDeepStrictEqual(before, merged)) {
      hosts.set(hostname, merged);
      dirty.hosts = true;
    }
  }

  return {
    model,
    apply(message) {
      switch (message.kind) {
        case 'in-sync':
          dirty.inSync ||= !model.inSync;
          model.inSync = true;
          break;
        case 'config':
          // Every ConfigUpdate carries all values, so one that is missing was unset.
          if (!isDeepStrictEqual(model.config, message.config)) {
            model.config = message.config;
            dirty.config = true;
          }
          break;
        case 'ip-set':
          mark(ipSets.replace(message.id, message.type, message.members), message.id);
          break;
        case 'ip-set-delta':
          mark(ipSets.change(message.id, message.added, message.removed), message.id);
          break;
        case 'ip-set-remove':
          mark(ipSets.remove(message.id), message.id);
          break;
        case 'policy':
          putPolicy(message);
          break;
        case 'policy-remove':
          compoundNames.delete(policyKey(message.id));
          remove(policies, dirty.policies, policyKey(message.id));
          break;
        case 'profile':
          put(profiles, dirty.profiles, message.profile.name, message.profile);
          break;
        case 'profile-remove':
          remove(profiles, dirty.profiles, message.name);
          break;
        case 'workload':
          put(workloads, dirty.workloads, workloadKey(message.workload.id), message.workload);
          break;
        case 'workload-remove':
          remove(workloads, dirty.workloads, workloadKey(message.id));
          break;
        case 'host-endpoint':
          put(hostEndpoints, dirty.hostEndpoints, message.hostEndpoint.id, message.hostEndpoint);
          break;
        case 'host-endpoint-remove':
          remove(hostEndpoints, dirty.hostEndpoints, message.id);
          break;
        case 'host-metadata':
          changeHost(message.host.hostname, message, message.host);
          break;
        case 'host-metadata-remove':
          changeHost(message.hostname, message, undefined);
          break;
        case 'ipam-pool':
          put(pools, dirty.pools, message.pool.id, message.pool);
          break;
        case 'ipam-pool-remove':
          remove(pools, dirty.pools, message.id);
          break;
        case 'route':
          put(routes, dirty.routes, message.route.dst, message.route);
          break;
        case 'route-remove':
          remove(routes, dirty.routes, message.dst);
          break;
        case 'vtep':
          putTunnel(vteps, message.vtep.node, message.vtep);
          break;
        case 'vtep-remove':
          putTunnel(vteps, message.node, undefined);
          break;
        case 'wireguard':
          putTunnel(
            message.ipVersion === 4 ? wireguard : wireguardV6,
            message.endpoint.node,
            message.endpoint,
          );
          break;
        case 'wireguard-remove':
          putTunnel(message.ipVersion === 4 ? wireguard : wireguardV6, message.node, undefined);
          break;
        case 'encapsulation':
          if (!isDeepStrictEqual(model.encapsulation, message.encapsulation)) {
            model.encapsulation = message.encapsulation;
            dirty.tunnels = true;
          }
          break;
        case 'other':
          break;
      }
    },
    takeChanges() {
      for (const id of ipSets.settle()) {
        dirty.ipSets.delete(id);
      }
      const taken = dirty;
      dirty = noChanges();
      return taken;
    },
  };
}

function noChanges() {
  return {
    ipSets: new Set<string>(),
    policies: new Set<string>(),
    profiles: new Set<string>(),
    workloads: new Set<string>(),
    hostEndpoints: new Set<string>(),
    hosts: false,
    pools: new Set<string>(),
    routes: new Set<string>(),
    tunnels: false,
    config: false,
    inSync: false,
  };
}

function firstSet(...values: readonly (string | undefined)[]): string {
  return values.find((value) => value !== undefined && value !== '') ?? '';
}

import { isDeepStrictEqual } from 'node:util';
import { CalicoP4Error } from '../../errors';
import type {
  FelixModel,
  HostEndpoint,
  HostMetadata,
  IpSet,
  Policy,
  Profile,
  WorkloadEndpoint,
} from '../../model/model';
import { policyKey, workloadKey } from '../../model/model';
import type { FelixMessage, HostMetadataSource } from './messages';

/** What differs from the last time that somebody asked, by the model's keys: added, changed or removed. */
export interface ModelChanges {
  readonly ipSets: ReadonlySet<string>;
  readonly policies: ReadonlySet<string>;
  readonly profiles: ReadonlySet<string>;
  readonly workloads: ReadonlySet<string>;
  readonly hostEndpoints: ReadonlySet<string>;
  readonly hosts: boolean;
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
  /** The changes since the last call, or since the start. */
  takeChanges(): ModelChanges;
}

/**
 * A set can have 100,000 members and change a hundred times a second, so its members live in one Set that deltas mutate.
 * A changed set is a new `IpSet` object around the same members: identity tells that it changed, but an older `IpSet` shows the
 * new members. Who needs the old ones keeps a copy.
 */
export function createModelBuilder(): ModelBuilder {
  const ipSets = new Map<string, IpSet>();
  const members = new Map<string, Set<string>>();
  const policies = new Map<string, Policy>();
  const compoundNames = new Map<string, string>();
  const profiles = new Map<string, Profile>();
  const workloads = new Map<string, WorkloadEndpoint>();
  const hostEndpoints = new Map<string, HostEndpoint>();
  const hosts = new Map<string, HostMetadata>();
  const hostSources = new Map<string, Map<HostMetadataSource, HostMetadata>>();
  let dirty = noChanges();

  const model = {
    config: new Map() as ReadonlyMap<string, string>,
    ipSets,
    policies,
    profiles,
    workloads,
    hostEndpoints,
    hosts,
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

  function replaceSet(message: Extract<FelixMessage, { kind: 'ip-set' }>): void {
    const { id, type } = message;
    const before = ipSets.get(id);
    const next = new Set(message.members);
    if (
      before?.type === type &&
      before.members.size === next.size &&
      [...next].every((m) => before.members.has(m))
    ) {
      return;
    }
    members.set(id, next);
    ipSets.set(id, { id, type, members: next });
    dirty.ipSets.add(id);
  }

  function changeSet({ id, added, removed }: Extract<FelixMessage, { kind: 'ip-set-delta' }>): void {
    const set = ipSets.get(id);
    const live = members.get(id);
    if (set === undefined || live === undefined) {
      throw new CalicoP4Error(
        'FELIX_MESSAGE_INVALID',
        `Felix sent a change of IP set ${id}, which it never sent: messages were lost. Restart Felix, which sends a full snapshot`,
        { ipSet: id },
      );
    }
    let changed = false;
    for (const member of added) {
      if (!live.has(member)) {
        live.add(member);
        changed = true;
      }
    }
    for (const member of removed) {
      changed = live.delete(member) || changed;
    }
    if (changed) {
      ipSets.set(id, { id, type: set.type, members: live });
      dirty.ipSets.add(id);
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
          replaceSet(message);
          break;
        case 'ip-set-delta':
          changeSet(message);
          break;
        case 'ip-set-remove':
          members.delete(message.id);
          remove(ipSets, dirty.ipSets, message.id);
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
        case 'other':
          break;
      }
    },
    takeChanges() {
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
    config: false,
    inSync: false,
  };
}

function firstSet(...values: readonly (string | undefined)[]): string {
  return values.find((value) => value !== undefined && value !== '') ?? '';
}

import type {
  HostEndpoint,
  Encapsulation,
  HostMetadata,
  IpamPool,
  IpSetType,
  Policy,
  PolicyId,
  Profile,
  Route,
  Vtep,
  WireguardEndpoint,
  WorkloadEndpoint,
  WorkloadEndpointId,
} from '../../model/model';

/** What Felix said in one frame, in the model's terms and the same for every form of the contract. */
export type FelixMessage =
  | { readonly kind: 'in-sync' }
  | { readonly kind: 'config'; readonly config: ReadonlyMap<string, string> }
  | {
      readonly kind: 'ip-set';
      readonly id: string;
      readonly type: IpSetType;
      readonly members: readonly string[];
    }
  | {
      readonly kind: 'ip-set-delta';
      readonly id: string;
      readonly added: readonly string[];
      readonly removed: readonly string[];
    }
  | { readonly kind: 'ip-set-remove'; readonly id: string }
  | { readonly kind: 'policy'; readonly policy: Policy; readonly compoundName?: string }
  | { readonly kind: 'policy-remove'; readonly id: PolicyId }
  | { readonly kind: 'profile'; readonly profile: Profile }
  | { readonly kind: 'profile-remove'; readonly name: string }
  | {
      readonly kind: 'workload';
      readonly workload: WorkloadEndpoint;
      /** The bytes of felix.WorkloadEndpoint, which status reports send back. */
      readonly encoded: Uint8Array;
    }
  | { readonly kind: 'workload-remove'; readonly id: WorkloadEndpointId }
  | { readonly kind: 'host-endpoint'; readonly hostEndpoint: HostEndpoint }
  | { readonly kind: 'host-endpoint-remove'; readonly id: string }
  | {
      readonly kind: 'host-metadata';
      readonly source: HostMetadataSource;
      /** Replaces all that other sources said of the node. */
      readonly alone: boolean;
      readonly host: HostMetadata;
    }
  | {
      readonly kind: 'host-metadata-remove';
      readonly source: HostMetadataSource;
      readonly alone: boolean;
      readonly hostname: string;
    }
  | { readonly kind: 'ipam-pool'; readonly pool: IpamPool }
  | { readonly kind: 'ipam-pool-remove'; readonly id: string }
  | { readonly kind: 'route'; readonly route: Route }
  | { readonly kind: 'route-remove'; readonly dst: string }
  | { readonly kind: 'vtep'; readonly vtep: Vtep }
  | { readonly kind: 'vtep-remove'; readonly node: string }
  | { readonly kind: 'encapsulation'; readonly encapsulation: Encapsulation }
  | { readonly kind: 'wireguard'; readonly ipVersion: 4 | 6; readonly endpoint: WireguardEndpoint }
  | { readonly kind: 'wireguard-remove'; readonly ipVersion: 4 | 6; readonly node: string }
  /** Understood, and not in the model: services, namespaces, … `name` is the payload's in the contract. */
  | { readonly kind: 'other'; readonly name: string };

/** Up to 3.32 a node is described three times: by its IPv4 address, its IPv6 address, and both. Later once,
 * which is `both`, or `ipv4` when it has no more than that. */
export type HostMetadataSource = 'ipv4' | 'ipv6' | 'both';

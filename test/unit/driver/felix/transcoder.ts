import type { FormName } from './recordings';
import { framesOf } from './recordings';
import { felixStream, messageType } from './streams';
import type { Payload } from './streams';
import { lacks } from './without';

interface Id {
  readonly name: string;
  readonly namespace?: string;
  readonly kind: string;
}

interface Tier {
  readonly name: string;
  readonly ingressPolicies?: readonly Id[];
  readonly egressPolicies?: readonly Id[];
}

type Fields = Readonly<Record<string, unknown>>;

/** A prefix for each kind that older releases have: what stands between the namespace and the name, after `staged:`. */
const PREFIXES: Readonly<Record<string, string>> = {
  KubernetesNetworkPolicy: 'knp.default.',
  KubernetesAdminNetworkPolicy: 'kanp.adminnetworkpolicy.',
  KubernetesBaselineAdminNetworkPolicy: 'kbanp.baselineadminnetworkpolicy.',
};

/**
 * Says in an older form what a stream of the newest says: written against the .proto files alone, it shares nothing with the
 * code that reads them. What the older form can not say (`lacks`) is left out. Each element has the frames that one
 * frame has become, numbered on from the one before.
 */
export function transcoded(stream: Buffer, to: FormName): Buffer[] {
  const read = messageType('v3.33', 'ToDataplane');
  const compound = to !== 'v3.32' && to !== 'v3.33';
  const split = to !== 'v3.33';
  const tiers = new Map<string, string>();
  const key = (id: Id): string => `${id.kind}/${id.namespace ?? ''}/${id.name}`;
  const said = (id: Id): boolean =>
    !lacks(to)({ id: { namespace: '', ...id }, tier: tiers.get(key(id)) ?? 'default' });

  function compoundName({ kind, namespace, name }: Id, tier: string): string {
    const staged = kind.startsWith('Staged');
    const prefix = PREFIXES[kind.replace(/^Staged/, '')] ?? (tier === 'default' ? 'default.' : '');
    return `${namespace === undefined ? '' : `${namespace}/`}${staged ? 'staged:' : ''}${prefix}${name}`;
  }

  function wireId(id: Id): object {
    const tier = tiers.get(key(id)) ?? 'default';
    return compound ? { tier, name: compoundName(id, tier) } : id;
  }

  function tierInfos(list: readonly Tier[] | undefined): object[] {
    return (list ?? []).flatMap((tier) => {
      const ids = (of: readonly Id[] | undefined) =>
        (of ?? [])
          .filter(said)
          .map((id) => (compound ? compoundName(id, tiers.get(key(id)) ?? tier.name) : id));
      const [ingressPolicies, egressPolicies] = [ids(tier.ingressPolicies), ids(tier.egressPolicies)];
      return ingressPolicies.length + egressPolicies.length === 0
        ? []
        : [{ ...tier, ingressPolicies, egressPolicies }];
    });
  }

  function payloads(name: string, payload: Fields): Payload[] {
    switch (name) {
      case 'activePolicyUpdate': {
        const id = payload['id'] as Id;
        tiers.set(key(id), (payload['policy'] as { readonly tier: string }).tier);
        return said(id) ? [{ [name]: { ...payload, id: wireId(id) } }] : [];
      }
      case 'activePolicyRemove': {
        const id = payload['id'] as Id;
        return said(id) ? [{ [name]: { id: wireId(id) } }] : [];
      }
      case 'workloadEndpointUpdate':
      case 'hostEndpointUpdate': {
        const endpoint = { ...(payload['endpoint'] as Record<string, unknown>) };
        for (const list of ['tiers', 'untrackedTiers', 'preDnatTiers', 'forwardTiers']) {
          endpoint[list] = tierInfos(endpoint[list] as readonly Tier[] | undefined);
        }
        return [{ [name]: { ...payload, endpoint } }];
      }
      case 'hostMetadataUpdate': {
        const { hostname, ipv4Addr, ipv6Addr } = payload as Readonly<Record<string, string | undefined>>;
        const plain = (cidr: string | undefined) => cidr?.split('/')[0];
        return !split
          ? [{ [name]: payload }]
          : [
              ...(ipv4Addr === undefined ? [] : [{ [name]: { hostname, ipv4Addr: plain(ipv4Addr) } }]),
              ...(ipv6Addr === undefined
                ? []
                : [{ hostMetadataV6Update: { hostname, ipv6Addr: plain(ipv6Addr) } }]),
              { hostMetadataV4v6Update: payload },
            ];
      }
      case 'hostMetadataRemove':
        return !split
          ? [{ [name]: payload }]
          : [name, 'hostMetadataV6Remove', 'hostMetadataV4v6Remove'].map((one) => ({ [one]: payload }));
      case 'routeUpdate': {
        const types = (payload['types'] as number | undefined) ?? 0;
        // The enum has no sums: the lowest bit stands for all.
        return [{ [name]: { ...payload, type: types === 0 ? 0 : Math.log2(types & -types) + 1 } }];
      }
      default:
        return [{ [name]: payload }];
    }
  }

  let at = 0;
  return framesOf(stream).map((frame) => {
    const message = read.toObject(read.decode(frame.subarray(8)), { enums: Number, longs: Number }) as Fields;
    const name = Object.keys(message).find((field) => field !== 'sequenceNumber')!;
    const out = payloads(name, message[name] as Fields);
    const frames = felixStream(to, out, at);
    at += out.length;
    return frames;
  });
}

/** Objects of Kubernetes and Calico as the test bed makes them, as plain data for kubectl. */
import { createHash } from 'node:crypto';
import type { Manifest } from './control-plane';

export interface PodPlan {
  readonly namespace: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly ipv4: string;
  readonly ipv6: string;
}

/** Kinds of the API group in which Calico keeps its resources. */
export function calico(kind: string, name: string, spec: object): Manifest {
  return { apiVersion: 'crd.projectcalico.org/v1', kind, metadata: { name }, spec };
}

/** What Felix waits for, and what an installation has at least. */
export function clusterObjects(node: string): readonly Manifest[] {
  return [
    calico('ClusterInformation', 'default', {
      clusterGUID: '0123456789abcdef0123456789abcdef',
      clusterType: 'k8s,kdd',
      datastoreReady: true,
    }),
    calico('IPPool', 'pods-ipv4', {
      cidr: '10.65.0.0/16',
      ipipMode: 'Never',
      vxlanMode: 'Never',
      nodeSelector: 'all()',
    }),
    calico('IPPool', 'pods-ipv6', {
      cidr: 'fd00:65::/64',
      ipipMode: 'Never',
      vxlanMode: 'Never',
      nodeSelector: 'all()',
    }),
    {
      apiVersion: 'v1',
      kind: 'Node',
      metadata: {
        name: node,
        annotations: { 'projectcalico.org/IPv4Address': '192.0.2.1/24' },
      },
      spec: { podCIDRs: ['10.65.0.0/24', 'fd00:65::/64'], podCIDR: '10.65.0.0/24' },
    },
  ];
}

/** Of the form in which Calico's default tier stands from 3.29. */
export function defaultTier(): Manifest {
  return calico('Tier', 'default', { order: 1_000_000 });
}

export function felixConfiguration(spec: object): Manifest {
  return calico('FelixConfiguration', 'default', spec);
}

export function namespaceObject(name: string): Manifest {
  return { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels: { team: name } } };
}

/** A pod that is on the node, with what Calico's CNI plugin writes into its annotations. There is no kubelet: it stays pending. */
export function podObject(node: string, plan: PodPlan): Manifest {
  return podWith(node, plan, podAnnotations(plan));
}

/** A pod that is on the node, and has no interface yet. */
export function newPodObject(node: string, plan: Pick<PodPlan, 'namespace' | 'name' | 'labels'>): Manifest {
  return podWith(node, plan, {});
}

/** What Calico's CNI plugin writes. */
export function podAnnotations({
  namespace,
  name,
  ipv4,
  ipv6,
}: Omit<PodPlan, 'labels'>): Readonly<Record<string, string>> {
  return {
    'cni.projectcalico.org/containerID': createHash('sha256').update(`${namespace}/${name}`).digest('hex'),
    'cni.projectcalico.org/podIP': `${ipv4}/32`,
    'cni.projectcalico.org/podIPs': `${ipv4}/32,${ipv6}/128`,
  };
}

function podWith(
  node: string,
  { namespace, name, labels }: Pick<PodPlan, 'namespace' | 'name' | 'labels'>,
  annotations: Readonly<Record<string, string>>,
): Manifest {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      namespace,
      labels,
      annotations,
    },
    spec: {
      nodeName: node,
      automountServiceAccountToken: false,
      terminationGracePeriodSeconds: 0,
      tolerations: [{ operator: 'Exists' }],
      containers: [{ name: 'main', image: 'none.invalid/none:1' }],
    },
  };
}

/** Calico's name of a pod's interface on the host (libcalico-go, VethNameForWorkload). */
export function interfaceOf({ namespace, name }: Pick<PodPlan, 'namespace' | 'name'>): string {
  return `cali${createHash('sha1').update(`${namespace}.${name}`).digest('hex').slice(0, 11)}`;
}

/** A NetworkPolicy of Kubernetes for ingress. `from` undefined: from nobody. */
export function ingressPolicy(
  namespace: string,
  name: string,
  podLabels: Readonly<Record<string, string>>,
  from: readonly {
    readonly labels: Readonly<Record<string, string>>;
    readonly ports: readonly (readonly [string, number])[];
  }[],
): Manifest {
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { namespace, name },
    spec: {
      podSelector: { matchLabels: podLabels },
      policyTypes: ['Ingress'],
      ingress: from.map(({ labels, ports }) => ({
        from: [{ podSelector: { matchLabels: labels } }],
        ports: ports.map(([protocol, port]) => ({ protocol, port })),
      })),
    },
  };
}

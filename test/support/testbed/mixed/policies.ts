/** Policies whose selectors name pods that may be on other nodes. Ways: none given is all, ICMP included. */
import type { Manifest } from '../control-plane';
import { NAMESPACE } from './cluster';

type Ports = readonly (readonly ['TCP' | 'UDP', number])[];

/** Nobody but `from` reaches `app`. */
export function onlyFrom(app: string, from: string, ports: Ports = []): Manifest {
  return policy(`to-${app}`, app, 'Ingress', { ingress: [{ from: [peer(from)], ...portsOf(ports) }] });
}

/** `app` reaches nobody but `to`. */
export function onlyTo(app: string, to: string, ports: Ports = []): Manifest {
  return policy(`from-${app}`, app, 'Egress', { egress: [{ to: [peer(to)], ...portsOf(ports) }] });
}

function peer(app: string): object {
  return { podSelector: { matchLabels: { app } } };
}

function portsOf(ports: Ports): object {
  return ports.length === 0 ? {} : { ports: ports.map(([protocol, port]) => ({ protocol, port })) };
}

function policy(name: string, app: string, type: 'Ingress' | 'Egress', rules: object): Manifest {
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { namespace: NAMESPACE, name },
    spec: { podSelector: { matchLabels: { app } }, policyTypes: [type], ...rules },
  };
}

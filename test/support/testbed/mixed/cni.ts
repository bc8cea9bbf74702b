/** Calico's CNI plugins, called as a container runtime calls them: on the node, in its namespace. */
import { createHash } from 'node:crypto';
import { spawn } from 'node:child_process';
import path from 'node:path';
import type { Namespace } from '../../../e2e/engine/namespaces';
import { type Binaries, cleanEnvironment } from '../binaries';

/** Names of IP pools, one for each family. */
export interface PoolNames {
  readonly v4: string;
  readonly v6: string;
}

export interface CniCall {
  readonly command: 'ADD' | 'DEL';
  /** `calico` makes the pod's interface, and asks calico-ipam for its addresses; `calico-ipam` does only that. */
  readonly plugin: 'calico' | 'calico-ipam';
  readonly node: string;
  /** Where the plugin runs; without it, the test's own namespace. */
  readonly on?: Namespace;
  readonly containerId: string;
  readonly pod?: { readonly namespace: string; readonly name: string };
  /** The pod's network namespace. */
  readonly netns?: string;
  readonly pools: PoolNames;
}

export interface Addresses {
  readonly v4: string;
  readonly v6: string;
}

export interface Cni {
  /** The addresses that were given, or, for DEL, nothing. @throws with the plugin's words */
  call(call: CniCall): Promise<Addresses | undefined>;
}

export function containerIdOf(...name: readonly string[]): string {
  return createHash('sha256').update(name.join('/')).digest('hex');
}

/** The plugin writes the MTU's file of Felix into /var/lib/calico, which must be the node's own (linux-node.ts). */
export const OWN_FILES =
  'mount -t tmpfs tmpfs /var/lib && mkdir /var/lib/calico && mount --bind "$0" /var/lib/calico && exec "$@"';

export function createCni(folder: string, binaries: Binaries, kubeconfig: string): Cni {
  return {
    async call({ command, plugin, node, on, containerId, pod, netns, pools }) {
      const config = {
        cniVersion: '0.3.1',
        name: 'k8s-pod-network',
        type: 'calico',
        nodename: node,
        nodename_file_optional: true,
        ipam_lock_file: path.join(folder, `${node}.ipam.lock`),
        log_level: 'info',
        log_file_path: path.join(folder, `${node}.cni.log`),
        datastore_type: 'kubernetes',
        kubernetes: { kubeconfig },
        policy: { type: 'k8s' },
        ipam: {
          type: 'calico-ipam',
          assign_ipv4: 'true',
          assign_ipv6: 'true',
          ipv4_pools: [pools.v4],
          ipv6_pools: [pools.v6],
        },
      };
      const args =
        pod === undefined
          ? 'IgnoreUnknown=1'
          : `IgnoreUnknown=1;K8S_POD_NAMESPACE=${pod.namespace};K8S_POD_NAME=${pod.name}`;
      const env = {
        ...cleanEnvironment(),
        CNI_COMMAND: command,
        CNI_CONTAINERID: containerId,
        CNI_NETNS: netns ?? '/none',
        CNI_IFNAME: 'eth0',
        CNI_PATH: binaries.cni,
        CNI_ARGS: args,
        DATASTORE_TYPE: 'kubernetes',
        KUBECONFIG: kubeconfig,
      };
      const program = path.join(binaries.cni, plugin);
      const line =
        on === undefined
          ? [program]
          : ['ip', 'netns', 'exec', on.name, 'sh', '-c', OWN_FILES, path.join(folder, node), program];
      const { code, said } = await run(line, env, JSON.stringify(config));
      if (code !== 0) throw new Error(`${plugin} ${command} on ${node}: ${said.trim()}`);
      if (command === 'DEL') return undefined;
      const { ips } = JSON.parse(said) as { readonly ips: readonly { readonly address: string }[] };
      const given = ips.map(({ address }) => address.split('/')[0]!);
      return { v4: given.find((one) => !one.includes(':'))!, v6: given.find((one) => one.includes(':'))! };
    },
  };
}

async function run(
  [program, ...args]: readonly string[],
  env: NodeJS.ProcessEnv,
  stdin: string,
): Promise<{ readonly code: number | null; readonly said: string }> {
  const child = spawn(program!, args, { env, stdio: ['pipe', 'pipe', 'pipe'], timeout: 30_000 });
  let [out, errors] = ['', ''];
  child.stdout.on('data', (data: Buffer) => (out += data.toString()));
  child.stderr.on('data', (data: Buffer) => (errors += data.toString()));
  child.stdin.on('error', () => undefined);
  child.stdin.end(stdin);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('close', resolve);
    child.once('error', reject);
  });
  return { code, said: code === 0 ? out : out + errors };
}

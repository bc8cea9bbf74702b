/** A control plane on loopback: etcd, kube-apiserver and kube-controller-manager, with the definitions of Calico's resources. */
import { execFile } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';
import type { Binaries } from './binaries';
import { cleanEnvironment } from './binaries';
import { eventually, supervise, type Supervised } from './supervisor';

/** An object of the API, as kubectl takes it. */
export type Manifest = Readonly<Record<string, unknown>>;

export interface ControlPlane {
  readonly etcd: Supervised;
  readonly apiserver: Supervised;
  readonly etcdEndpoint: string;
  /** Of the API server, on loopback. */
  readonly port: number;
  /** A file that names the API server and who asks it: everything is allowed. */
  readonly kubeconfig: string;
  /** What kubectl printed. @throws with its words */
  kubectl(args: readonly string[], stdin?: string): Promise<string>;
  apply(...objects: readonly Manifest[]): Promise<void>;
  /** Whether the API server answers that it is ready. */
  isReady(): Promise<boolean>;
  stop(): Promise<void>;
}

const TOKEN = 'testbed';

export async function startControlPlane(folder: string, binaries: Binaries): Promise<ControlPlane> {
  const { etcd, endpoint: etcdEndpoint } = await startEtcd(folder, binaries);
  const secure = await freePort();
  const stopping: Supervised[] = [etcd];
  const stop = async (): Promise<void> => {
    for (const one of [...stopping].reverse()) await one.stop();
  };
  try {
    const keys = writeKeys(folder);
    const server = `https://127.0.0.1:${secure}`;
    const apiserver = supervise(folder, {
      name: 'kube-apiserver',
      command: binaries.apiserver,
      args: apiserverArguments(folder, { etcdEndpoint, secure, keys }),
    });
    stopping.push(apiserver);
    const kubeconfig = writeKubeconfig(folder, server);
    const kubectl: ControlPlane['kubectl'] = (args, stdin) =>
      new Promise((resolve, reject) => {
        const more = [`--kubeconfig=${kubeconfig}`, `--cache-dir=${path.join(folder, 'kubectl')}`, ...args];
        const env = cleanEnvironment();
        const child = execFile(binaries.kubectl, more, { env, timeout: 30_000 }, (error, stdout, stderr) => {
          if (error === null) resolve(stdout);
          else reject(new Error(`kubectl ${args.join(' ')}: ${stderr.trim() || error.message}`));
        });
        child.stdin!.on('error', () => undefined);
        child.stdin!.end(stdin);
      });
    const isReady = async (): Promise<boolean> => {
      try {
        return (await kubectl(['get', '--raw', '/readyz'])).trim() === 'ok';
      } catch {
        return false;
      }
    };
    await eventually('kube-apiserver', async () => (await isReady()) || undefined, {
      seconds: 60,
      logs: [apiserver.log],
    });
    const manager = supervise(folder, {
      name: 'kube-controller-manager',
      command: binaries.controllerManager,
      args: [
        `--kubeconfig=${kubeconfig}`,
        '--bind-address=127.0.0.1',
        `--secure-port=${await freePort()}`,
        '--leader-elect=false',
        `--service-account-private-key-file=${keys.private}`,
        '--use-service-account-credentials=false',
      ],
    });
    stopping.push(manager);
    await kubectl(['apply', '--server-side', '-f', binaries.crds]);
    await kubectl(['wait', '--for=condition=Established', '--timeout=20s', 'crd', '--all']);
    return {
      etcd,
      apiserver,
      etcdEndpoint,
      port: secure,
      kubeconfig,
      kubectl,
      async apply(...objects) {
        const list = { apiVersion: 'v1', kind: 'List', items: objects };
        await kubectl(['apply', '-f', '-'], JSON.stringify(list));
      },
      isReady,
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** etcd alone, for Felix' other datastore. */
export async function startEtcd(
  folder: string,
  binaries: Binaries,
): Promise<{ readonly etcd: Supervised; readonly endpoint: string }> {
  const [client, peer] = [await freePort(), await freePort()];
  const endpoint = `http://127.0.0.1:${client}`;
  const etcd = supervise(folder, {
    name: 'etcd',
    command: binaries.etcd,
    args: [
      `--data-dir=${path.join(folder, 'etcd')}`,
      `--listen-client-urls=${endpoint}`,
      `--advertise-client-urls=${endpoint}`,
      `--listen-peer-urls=http://127.0.0.1:${peer}`,
      `--initial-advertise-peer-urls=http://127.0.0.1:${peer}`,
      `--initial-cluster=default=http://127.0.0.1:${peer}`,
      '--unsafe-no-fsync',
    ],
  });
  try {
    const answers = async (): Promise<boolean> => (await fetch(`${endpoint}/health`)).ok;
    await eventually('etcd', async () => (await answers()) || undefined, { logs: [etcd.log] });
  } catch (error) {
    await etcd.stop();
    throw error;
  }
  return { etcd, endpoint };
}

interface Keys {
  readonly private: string;
  readonly public: string;
}

function apiserverArguments(
  folder: string,
  {
    etcdEndpoint,
    secure,
    keys,
  }: { readonly etcdEndpoint: string; readonly secure: number; readonly keys: Keys },
): readonly string[] {
  const tokens = path.join(folder, 'tokens.csv');
  writeFileSync(tokens, `${TOKEN},testbed,testbed,system:masters\n`, { mode: 0o600 });
  const certificates = path.join(folder, 'certificates');
  mkdirSync(certificates);
  return [
    `--etcd-servers=${etcdEndpoint}`,
    '--bind-address=127.0.0.1',
    '--advertise-address=127.0.0.1',
    `--secure-port=${secure}`,
    `--cert-dir=${certificates}`,
    `--token-auth-file=${tokens}`,
    '--authorization-mode=RBAC',
    '--allow-privileged=true',
    '--endpoint-reconciler-type=none',
    '--disable-admission-plugins=ServiceAccount',
    '--service-cluster-ip-range=10.96.0.0/16,fd00:10:96::/112',
    '--service-account-issuer=https://testbed.invalid',
    `--service-account-key-file=${keys.public}`,
    `--service-account-signing-key-file=${keys.private}`,
  ];
}

function writeKeys(folder: string): Keys {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs1', format: 'pem' },
  });
  const files = { private: path.join(folder, 'accounts.key'), public: path.join(folder, 'accounts.pub') };
  writeFileSync(files.private, privateKey, { mode: 0o600 });
  writeFileSync(files.public, publicKey);
  return files;
}

function writeKubeconfig(folder: string, server: string): string {
  const file = path.join(folder, 'kubeconfig');
  const name = 'testbed';
  // JSON is YAML. The server's certificate is one that it made for itself.
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name, cluster: { server, 'insecure-skip-tls-verify': true } }],
    users: [{ name, user: { token: TOKEN } }],
    contexts: [{ name, context: { cluster: name, user: name } }],
    'current-context': name,
  };
  writeFileSync(file, JSON.stringify(config), { mode: 0o600 });
  return file;
}

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === 'object' && address !== null ? address.port : 0;
}

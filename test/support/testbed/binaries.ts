/** Where the parts of the test bed are, and why tests that need them are skipped where they are not. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { findEngineBinary } from '../../../src/p4switch/dpdk/binary';

const ROOT = path.join(__dirname, '../../..');

/** Paths of programs. */
export interface Binaries {
  readonly etcd: string;
  readonly apiserver: string;
  readonly controllerManager: string;
  readonly kubectl: string;
  /** Calico 3.28.5's, or the user's own: CALICO_FELIX=/path/to/calico-felix. */
  readonly felix: string;
  /** A folder with Calico's CNI plugins `calico` and `calico-ipam`. */
  readonly cni: string;
  /** A folder of the definitions of Calico's resources, as YAML. */
  readonly crds: string;
}

/** undefined: `make testbed` was not run here, or the pinned versions have changed since. */
export function findBinaries(): Binaries | undefined {
  let folder: string;
  try {
    folder = execFileSync(path.join(ROOT, 'scripts/build-testbed'), ['--where'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  } catch {
    return undefined;
  }
  const program = (name: string): string => path.join(folder, 'bin', name);
  return {
    etcd: program('etcd'),
    apiserver: program('kube-apiserver'),
    controllerManager: program('kube-controller-manager'),
    kubectl: program('kubectl'),
    felix: process.env['CALICO_FELIX'] ?? program('calico-felix'),
    cni: path.join(folder, 'bin'),
    crds: process.env['CALICO_CRDS'] ?? path.join(folder, 'crds'),
  };
}

/** `describe`, or a skipped one that says why: what it needs is not built, or the user is not root. */
export function describeTestbed(
  name: string,
  needs: { readonly namespaces?: boolean; readonly linuxDataplane?: boolean },
  body: (binaries: Binaries) => void,
): void {
  const binaries = findBinaries();
  const why =
    binaries === undefined
      ? 'the test bed is not built: make testbed (some 10 minutes, once)'
      : !existsSync(path.join(ROOT, 'dist/src/cli/main.js'))
        ? 'calico-p4 is not compiled: make build'
        : needs.namespaces === true && findEngineBinary() === undefined
          ? 'the native engine is not built: make engine'
          : needs.namespaces === true && process.geteuid?.() !== 0
            ? 'it needs root (network namespaces)'
            : needs.linuxDataplane === true && !hasLinuxDataplaneTools()
              ? "what Felix's Linux dataplane runs is not installed: scripts/linux-dataplane-tools"
              : undefined;
  if (why === undefined) {
    describe(name, () => {
      body(binaries!);
    });
    return;
  }
  if (binaries === undefined && process.env['TESTBED_REQUIRED'] === '1')
    throw new Error(`${name}: ${why} (TESTBED_REQUIRED=1 forbids to skip it)`);
  process.stderr.write(`skipped: ${name}: ${why}\n`);
  describe.skip(`${name} (skipped: ${why})`, () => {
    it('needs the test bed', () => undefined);
  });
}

/** As scripts/linux-dataplane-tools installs them. */
function hasLinuxDataplaneTools(): boolean {
  const folders = [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/sbin'];
  const programs = ['iptables-nft-restore', 'ipset', 'conntrack', 'ethtool', 'ping'];
  return programs.every((name) => folders.some((folder) => existsSync(path.join(folder, name))));
}

/** The environment without what is set for calico-p4's own tests, which its commands would refuse as unknown. */
export function cleanEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(CALICO|FELIX|ETCD|KUBE|DATASTORE)/.test(name)),
  );
}

/** The last lines of a log, for messages of errors. */
export function lastLines(file: string, lines = 15): string {
  return existsSync(file) ? readFileSync(file, 'utf8').trimEnd().split('\n').slice(-lines).join('\n') : '';
}

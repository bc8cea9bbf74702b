/** OVS with DPDK (Debian's openvswitch-switch-dpdk), with DPDK's TAP devices in the pods. In a namespace and a folder of its own. */
import { execFile, execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { endProcesses } from '../../src/lab/processes';
import { CLIENT, ovsFlows, SERVER } from './path-policy';

const run = promisify(execFile);
const SWITCH = '/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk';
const SCHEMA = '/usr/share/openvswitch/vswitch.ovsschema';

/** Why it can not be measured; undefined when it can. */
export function whyNoOvs(): string | undefined {
  return existsSync(SWITCH) && existsSync(SCHEMA)
    ? undefined
    : 'OVS-DPDK is not installed (apt-get install openvswitch-switch-dpdk)';
}

interface Pod {
  readonly namespace: string;
  readonly device: string;
  readonly address: string;
}

/** A bridge between the two pods, with the policy. @returns what ends it */
export async function startOvs(
  folder: string,
  home: string,
  clientSpace: string,
  serverSpace: string,
): Promise<() => Promise<void>> {
  const file = (name: string): string => join(folder, name);
  const db = `unix:${file('db.sock')}`;
  const daemon = ['--detach', '--no-chdir'];
  const started: string[] = [];
  const stop = async (): Promise<void> => {
    for (const pid of started.reverse())
      if (existsSync(pid)) await endProcesses([Number(readFileSync(pid, 'utf8'))]);
  };
  const env = { ...process.env, OVS_RUNDIR: folder, OVS_LOGDIR: folder };
  const inHome = async (command: string, ...args: readonly string[]): Promise<void> => {
    await run('ip', ['netns', 'exec', home, command, ...args], { env, timeout: 60_000 });
  };
  const vsctl = (...args: readonly string[]): Promise<void> =>
    inHome('ovs-vsctl', `--db=${db}`, '--timeout=30', ...args);
  try {
    execFileSync('ovsdb-tool', ['create', file('conf.db'), SCHEMA]);
    const logs = (name: string): string[] => [
      `--pidfile=${file(`${name}.pid`)}`,
      `--log-file=${file(`${name}.log`)}`,
      `--unixctl=${file(`${name}.ctl`)}`,
    ];
    started.push(file('db.pid'));
    await inHome('ovsdb-server', file('conf.db'), `--remote=p${db}`, ...logs('db'), ...daemon);
    await vsctl('--no-wait', 'init');
    const extra = `--no-huge --legacy-mem -m 512 --no-pci --file-prefix=calico-p4-${process.pid}`;
    const options = ['dpdk-init=true', `dpdk-extra="${extra}"`, 'pmd-cpu-mask=0x2'];
    await vsctl('--no-wait', 'set', 'Open_vSwitch', '.', ...options.map((o) => `other_config:${o}`));
    started.push(file('switch.pid'));
    await inHome(SWITCH, db, ...logs('switch'), ...daemon);
    await vsctl('add-br', 'br0', '--', 'set', 'bridge', 'br0', 'datapath_type=netdev');
    const pods: readonly Pod[] = [
      { namespace: clientSpace, device: 'tapa', address: CLIENT.address },
      { namespace: serverSpace, device: 'tapb', address: SERVER.address },
    ];
    for (const [i, { namespace, device, address }] of pods.entries()) {
      const devargs = `options:dpdk-devargs=net_tap${i},iface=${device}`;
      // As many receive as transmit queues, of which each polling thread wants one, and the main thread another.
      const more = ['type=dpdk', devargs, 'options:n_rxq=2', `ofport_request=${i + 1}`];
      await vsctl('add-port', 'br0', device, '--', 'set', 'Interface', device, ...more);
      execFileSync('ip', ['-n', home, 'link', 'set', device, 'netns', namespace]);
      execFileSync('ip', ['-n', namespace, 'addr', 'add', `${address}/24`, 'dev', device]);
      execFileSync('ip', ['-n', namespace, 'link', 'set', device, 'up']);
    }
    writeFileSync(file('flows'), ovsFlows());
    const bridge = `unix:${file('br0.mgmt')}`;
    await inHome('ovs-ofctl', 'del-flows', bridge);
    await inHome('ovs-ofctl', 'add-flows', bridge, file('flows'));
    return stop;
  } catch (error) {
    await stop();
    throw error;
  }
}

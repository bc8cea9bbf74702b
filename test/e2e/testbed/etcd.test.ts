/**
 * Real Felix on etcd. With the Kubernetes datastore Felix writes neither heartbeats nor statuses of endpoints (libcalico-go's client
 * of it does not know them), with etcd it does, below /calico/felix/v2.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describeTestbed } from '../../support/testbed/binaries';
import { freePort, startEtcd } from '../../support/testbed/control-plane';
import { etcdClient, type EtcdClient } from '../../support/testbed/etcd-client';
import { externalDriver, KEEPS_NUMBERS, NODE_NAME } from '../../support/testbed/node';
import { eventually, supervise, type Supervised } from '../../support/testbed/supervisor';
import { rowsOnTarget } from '../support/felix-driver';

const ROOT = path.join(__dirname, '../../..');
const RESOURCES = '/calico/resources/v3/projectcalico.org';
const HOST = `/calico/felix/v2/no-region/host/${NODE_NAME}`;
const STATUS = `${HOST}/status`;
const ENDPOINT = `${HOST}/workload/k8s/shop%2fweb/endpoint/eth0`;
const WORKLOAD = `${RESOURCES}/workloadendpoints/shop/${NODE_NAME}-k8s-web-eth0`;

jest.setTimeout(120_000);

describeTestbed('real Felix on etcd', {}, (binaries) => {
  const folder = mkdtempSync(path.join(tmpdir(), 'calico-p4-testbed-etcd-'));
  const running: Supervised[] = [];
  let store: EtcdClient;
  let target: string;
  let felix: Supervised;

  beforeAll(async () => {
    const { etcd, endpoint } = await startEtcd(folder, binaries);
    running.push(etcd);
    store = etcdClient(endpoint);
    await store.put(`${RESOURCES}/clusterinformations/default`, {
      kind: 'ClusterInformation',
      apiVersion: 'projectcalico.org/v3',
      metadata: { name: 'default', creationTimestamp: null },
      spec: { clusterGUID: '0123456789abcdef0123456789abcdef', clusterType: 'k8s', datastoreReady: true },
    });
    await store.put(`${RESOURCES}/profiles/open`, {
      kind: 'Profile',
      apiVersion: 'projectcalico.org/v3',
      metadata: { name: 'open', creationTimestamp: null },
      spec: { ingress: [{ action: 'Allow' }], egress: [{ action: 'Allow' }] },
    });
    await store.put(WORKLOAD, {
      kind: 'WorkloadEndpoint',
      apiVersion: 'projectcalico.org/v3',
      metadata: { name: `${NODE_NAME}-k8s-web-eth0`, namespace: 'shop', creationTimestamp: null },
      spec: {
        orchestrator: 'k8s',
        node: NODE_NAME,
        pod: 'web',
        endpoint: 'eth0',
        containerID: 'c0ffee',
        interfaceName: 'cali0123456789a',
        ipNetworks: ['10.65.0.11/32', 'fd00:65::11/128'],
        profiles: ['open'],
      },
    });
    target = `127.0.0.1:${await freePort()}`;
    running.push(
      supervise(folder, {
        name: 'switch',
        command: path.join(ROOT, 'bin/calico-p4'),
        args: ['switch', '--engine=interpreter', `--listen=${target}`],
      }),
    );
    felix = supervise(folder, {
      name: 'felix',
      command: binaries.felix,
      args: [`--config-file=${path.join(folder, 'no-felix.cfg')}`],
      env: {
        ...externalDriver(),
        DATASTORE_TYPE: 'etcdv3',
        ETCD_ENDPOINTS: endpoint,
        FELIX_ENDPOINTREPORTINGENABLED: 'true',
        FELIX_ENDPOINTREPORTINGDELAYSECS: '0.1',
        FELIX_REPORTINGTTLSECS: '90',
        CALICO_P4_TARGET_ADDRESS: target,
        CALICO_P4_METRICS_LISTEN: '',
        CALICO_P4_NAMES_FILE: '',
        ...(KEEPS_NUMBERS ? { CALICO_P4_JOURNAL_FILE: '' } : {}),
        CALICO_P4_FELIX_HEARTBEAT_SECONDS: '1',
      },
    });
    running.push(felix);
  }, 60_000);

  afterAll(async () => {
    for (const one of running.reverse()) await one.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  it('the endpoint is up in the datastore once its rows are on the switch', async () => {
    const found = await eventually('the status', () => store.get(ENDPOINT), { logs: [felix.log] });
    expect(found.value).toEqual({ status: 'up' });
    const rows = (await rowsOnTarget(target)).filter((row) => row.startsWith('local'));
    expect(rows).toHaveLength(2);
  });

  it('the heartbeat is in the datastore, with a time to live, and goes on', async () => {
    const beat = async (): Promise<{ time: string; uptime: number } | undefined> =>
      (await store.get(STATUS))?.value as { time: string; uptime: number } | undefined;
    const first = await eventually('a heartbeat', beat, { logs: [felix.log] });
    expect(Math.abs(Date.now() - Date.parse(first.time))).toBeLessThan(60_000);
    const next = await eventually('the next one', async () => {
      const now = await beat();
      return now !== undefined && now.uptime > first.uptime ? now : undefined;
    });
    expect(Date.parse(next.time)).toBeGreaterThan(Date.parse(first.time));
    expect((await store.get(STATUS))!.lease).not.toBe('0');
    expect((await store.get(`${HOST}/last_reported_status`))!.lease).toBe('0');
  });

  it('the status goes with the endpoint', async () => {
    await store.delete(WORKLOAD);
    await eventually('no status', async () => (await store.get(ENDPOINT)) === undefined || undefined, {
      logs: [felix.log],
    });
    const rows = (await rowsOnTarget(target)).filter((row) => row.startsWith('local'));
    expect(rows).toEqual([]);
  });
});

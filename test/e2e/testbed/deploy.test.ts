/** deploy/ on a real API server: every field is known to it, and only nodes with the label get pods. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describeTestbed } from '../../support/testbed/binaries';
import { startControlPlane, type ControlPlane } from '../../support/testbed/control-plane';
import { eventually } from '../../support/testbed/supervisor';

const DEPLOY = path.join(__dirname, '../../../deploy');
const STRICT = ['apply', '--server-side', '--validate=strict'];
const WORKLOADS = ['calico-p4-driver', 'calico-p4-switch'];

jest.setTimeout(120_000);

describeTestbed('deploy/ on Kubernetes', {}, (binaries) => {
  const folder = mkdtempSync(path.join(tmpdir(), 'calico-p4-testbed-deploy-'));
  let control: ControlPlane;

  beforeAll(async () => {
    control = await startControlPlane(folder, binaries);
    await control.apply(node('linux', {}), node('p4', { 'calico-p4/target': 'p4-dpdk' }));
    await control.kubectl([...STRICT, '-k', DEPLOY]);
  }, 120_000);
  afterAll(async () => {
    await control.stop();
    rmSync(folder, { recursive: true, force: true });
  }, 60_000);

  const podsOn = async (): Promise<readonly string[]> => {
    const list = JSON.parse(await control.kubectl(['-n', 'calico-p4', 'get', 'pods', '-o', 'json'])) as {
      items: { metadata: { ownerReferences: { name: string }[] }; spec: { affinity: object } }[];
    };
    return list.items.map(({ metadata, spec }) => {
      const [on] = /"values":\["(\w+)"\]/.exec(JSON.stringify(spec.affinity))?.slice(1) ?? ['?'];
      return `${metadata.ownerReferences[0]!.name} on ${on}`;
    });
  };

  it('makes a switch and a driver for the node with the label, and nothing for the other', async () => {
    await eventually('the pods', async () => {
      expect([...(await podsOn())].sort()).toEqual(WORKLOADS.map((name) => `${name} on p4`));
      return true;
    });
  });

  it('gives its account no right at all', async () => {
    const account = 'system:serviceaccount:calico-p4:calico-p4';
    const rights = await control.kubectl(['auth', 'can-i', '--list', `--as=${account}`, '-n', 'calico-p4']);
    expect(rights).not.toMatch(/pods|secrets|configmaps|felixconfigurations|\*\.\*/);
  });

  it('can be applied again without a change', async () => {
    const version = async (): Promise<string> =>
      control.kubectl([
        '-n',
        'calico-p4',
        'get',
        'daemonsets',
        '-o',
        'jsonpath={.items[*].metadata.generation}',
      ]);
    const before = await version();
    await control.kubectl([...STRICT, '-k', DEPLOY]);
    expect(await version()).toBe(before);
  });

  it("has a FelixConfiguration of one node, which Calico's definitions take", async () => {
    const text = readFileSync(path.join(DEPLOY, 'felix-configuration.yaml'), 'utf8').replaceAll('NODE', 'p4');
    await control.kubectl([...STRICT, '-f', '-'], text);
    const spec = await control.kubectl(['get', 'felixconfigurations', 'node.p4', '-o', 'jsonpath={.spec}']);
    expect(JSON.parse(spec)).toEqual({
      dataplaneDriver: '/var/lib/calico/calico-p4-felix-bridge',
      useInternalDataplaneDriver: false,
    });
  });

  it('goes when it is deleted', async () => {
    await control.kubectl(['delete', '-k', DEPLOY, '--wait=false']);
    await eventually('no workload', async () => {
      const left = await control.kubectl(['-n', 'calico-p4', 'get', 'daemonsets', '-o', 'name']);
      return left.trim() === '' || undefined;
    });
  });
});

function node(name: string, labels: Readonly<Record<string, string>>): Readonly<Record<string, unknown>> {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name, labels: { 'kubernetes.io/os': 'linux', ...labels } },
  };
}

/** Real Felix with calico-p4's driver: what is made with kubectl is what packets between pods meet. */
import { describeTestbed } from '../../support/testbed/binaries';
import {
  felixConfiguration,
  ingressPolicy,
  interfaceOf,
  type PodPlan,
} from '../../support/testbed/calico-objects';
import { KEEPS_NUMBERS, startTestNode, type TestNode } from '../../support/testbed/node';
import { eventually } from '../../support/testbed/supervisor';
import { canConnect, startEchoServer, startTraffic, TRAFFIC_PORT } from '../../support/testbed/traffic';

const PODS = [
  { namespace: 'shop', name: 'client', labels: { app: 'client' }, ipv4: '10.65.0.10', ipv6: 'fd00:65::10' },
  {
    namespace: 'shop',
    name: 'stranger',
    labels: { app: 'stranger' },
    ipv4: '10.65.0.12',
    ipv6: 'fd00:65::12',
  },
  { namespace: 'shop', name: 'web', labels: { app: 'web' }, ipv4: '10.65.0.11', ipv6: 'fd00:65::11' },
] as const satisfies readonly PodPlan[];
const WEB = PODS[2];
const ONLY = (app: string): ReturnType<typeof ingressPolicy> =>
  ingressPolicy('shop', 'web', { app: 'web' }, [
    {
      labels: { app },
      ports: [
        ['TCP', TRAFFIC_PORT],
        ['UDP', TRAFFIC_PORT],
      ],
    },
  ]);

jest.setTimeout(120_000);

describeTestbed('real Felix on Kubernetes', { namespaces: true }, (binaries) => {
  let node: TestNode;
  const stops: (() => void | Promise<void>)[] = [];

  beforeAll(async () => {
    node = await startTestNode(binaries, PODS);
    stops.push(() => node.stop());
    stops.push((await startEchoServer(node.pod('web'))).stop);
  }, 120_000);
  afterAll(async () => {
    for (const stop of stops.reverse()) await stop();
  }, 60_000);

  /** Whom web answers, in both families, who must agree. */
  const answered = async (): Promise<readonly string[]> => {
    const found = await Promise.all(
      PODS.map(async ({ name }) => {
        if (name === 'web') return [];
        const [four, six] = await Promise.all(
          [WEB.ipv4, WEB.ipv6].map((address) => canConnect(node.pod(name), address)),
        );
        if (four !== six) return [`${name} with ${four === true ? 'IPv4' : 'IPv6'} only`];
        return four === true ? [name] : [];
      }),
    );
    return found.flat();
  };
  const untilAnswered = (...wanted: readonly string[]): Promise<unknown> =>
    eventually(
      `web to answer ${wanted.join(', ')}`,
      async () => {
        const found = await answered();
        if (found.join() !== wanted.join()) throw new Error(`it answers ${found.join(', ')}`);
        return true;
      },
      { logs: [node.felix.log] },
    );

  /** Until another Felix with another driver is in sync. */
  const untilAnother = async (end: () => void | Promise<void>): Promise<void> => {
    const before = node.felix.pid();
    await end();
    await eventually('another Felix', () => {
      const now = node.felix.pid();
      return (now !== undefined && now !== before) || undefined;
    });
    await node.untilReady();
  };

  it('pods without policy reach each other', async () => {
    await untilAnswered('client', 'stranger');
    expect(await node.metric('calico_p4_endpoints{state="up"}')).toBe(PODS.length);
  });

  it('the controller manager works: a namespace gets its account', async () => {
    const ask = ['-n', 'shop', 'get', 'serviceaccount', 'default', '--output=name'];
    const said = await eventually('the account', () => node.controlPlane.kubectl(ask));
    expect(said.trim()).toBe('serviceaccount/default');
  });

  it('a policy that kubectl applies is what packets meet, and so is its change and its end', async () => {
    await node.controlPlane.apply(ONLY('client'));
    await untilAnswered('client');
    await node.controlPlane.apply(ONLY('stranger'));
    await untilAnswered('stranger');
    // A label of a pod is enough, too.
    await node.controlPlane.kubectl(['-n', 'shop', 'label', 'pod', 'client', 'app=stranger', '--overwrite']);
    await untilAnswered('client', 'stranger');
    await node.controlPlane.kubectl(['-n', 'shop', 'label', 'pod', 'client', 'app=client', '--overwrite']);
    await untilAnswered('stranger');
    await node.controlPlane.kubectl(['-n', 'shop', 'delete', 'networkpolicy', 'web']);
    await untilAnswered('client', 'stranger');
  });

  it('a changed FelixConfiguration restarts Felix and with it the driver; nothing is written, no packet is lost', async () => {
    await node.controlPlane.apply(ONLY('client'));
    await untilAnswered('client');
    if (!KEEPS_NUMBERS)
      await untilAnother(() => {
        node.felix.kill('SIGTERM');
      });
    const traffic = await startTraffic(node.pod('client'), WEB.ipv4);
    try {
      const driver = node.driverPid();
      await traffic.reset();
      await untilAnother(() => node.controlPlane.apply(felixConfiguration({ reportingInterval: '20s' })));
      expect(await node.rowsWritten()).toBe(0);
      expect(node.driverPid()).not.toBe(driver);
      const { flow, stream, newFlows } = await traffic.report();
      expect({ flow: flow.lost, stream: stream.broken, newFlows: newFlows.lost }).toEqual({
        flow: 0,
        stream: '',
        newFlows: 0,
      });
      expect(flow.sent).toBeGreaterThan(100);
    } finally {
      traffic.stop();
    }
    await untilAnswered('client');
  });

  it('a pod that goes is closed', async () => {
    expect(await node.metric('calico_p4_endpoints{state="up"}')).toBe(PODS.length);
    await node.controlPlane.kubectl(['-n', 'shop', 'delete', 'pod', 'stranger', '--wait=false', '--force']);
    await eventually('one pod less', async () => {
      return (await node.metric('calico_p4_endpoints{state="up"}')) === PODS.length - 1 || undefined;
    });
    expect(await canConnect(node.pod('stranger'), WEB.ipv4)).toBe(false);
    expect(interfaceOf(WEB)).toMatch(/^cali/);
  });
});

/**
 * Policy changes while connections run, live. As in Calico's Linux dataplane (felix/rules: established connections are accepted before
 * policy is asked), a connection goes on when its policy goes; what is new meets the new policy.
 */
import type { FelixModel, IpSet, Policy, TierInfo } from '../../../src/model/model';
import { EMBEDDED_LINKS } from '../../../src/translators/links';
import { modelOf, policyOf, ruleOf, tierOf, workloadOf } from '../../support/models';
import { type Bed, type BedPod, startBed } from './bed';
import { describeEngine } from './engine';
import { type Namespace, connectScript, MIRROR, type Stream, startStream } from './namespaces';

/** Policy is about client and server; the other two are bystanders. */
const CLIENT: BedPod = { name: 'cali-client', v4: '10.65.0.1', v6: 'fd00::1' };
const SERVER: BedPod = { name: 'cali-server', v4: '10.65.0.2', v6: 'fd00::2' };
const OTHER: BedPod = { name: 'cali-other', v4: '10.65.0.3', v6: 'fd00::3' };
const FOURTH: BedPod = { name: 'cali-fourth', v4: '10.65.0.4', v6: 'fd00::4' };
const PODS = [CLIENT, SERVER, OTHER, FOURTH];
const PORT = 7;
/** Of `reasons` (docs/pipeline.md): packets that came too late for a connection that is not known. */
const NO_CONNECTION = 5;

interface State {
  /** Members of the set that may ask the server. */
  readonly members?: readonly BedPod[];
  readonly ingress?: Policy;
  /** Of the client. */
  readonly egress?: Policy;
  readonly deny?: Policy;
  /** Nothing new between client and server, in either direction. */
  readonly closed?: boolean;
}

const id = (name: string): Policy['id'] => ({ kind: 'GlobalNetworkPolicy', namespace: '', name });
const nets = (pods: readonly BedPod[]): string[] => pods.flatMap(({ v4, v6 }) => [`${v4}/32`, `${v6}/128`]);
const tcp = (port: number): { protocol: string; dstPorts: { first: number; last: number }[] } => ({
  protocol: 'tcp',
  dstPorts: [{ first: port, last: port }],
});
const web = (port: number): Policy =>
  policyOf({
    id: id('server'),
    inboundRules: [ruleOf({ action: 'allow', ...tcp(port), srcIpSetIds: ['s:friends'] })],
  });
const ALLOWED: State = { members: [CLIENT], ingress: web(PORT) };

/** Each way in which a connection stops being allowed. */
const CHANGES: readonly (readonly [string, State])[] = [
  ['its rule is for another port', { ...ALLOWED, ingress: web(PORT + 1) }],
  ['its source is in the set no longer', { ...ALLOWED, members: [OTHER] }],
  [
    'a policy before it denies',
    {
      ...ALLOWED,
      deny: policyOf({ id: id('deny'), inboundRules: [ruleOf({ action: 'deny', ...tcp(PORT) })] }),
    },
  ],
  [
    'the source may not send it',
    { ...ALLOWED, egress: policyOf({ id: id('client'), outboundRules: [ruleOf({ action: 'deny' })] }) },
  ],
  ['nothing is allowed, in either direction', { closed: true }],
];

function model({ members = [], ingress, egress, deny, closed = false }: State): FelixModel {
  const friends: IpSet = { id: 's:friends', type: 'NET', members: new Set(nets(members)) };
  const ofServer = [deny, ingress].flatMap((policy) => (policy === undefined ? [] : [policy]));
  const allow = [ruleOf({ action: 'allow' })];
  const tiers = (pod: BedPod): TierInfo[] => {
    if (pod === SERVER && ofServer.length > 0)
      return [tierOf({ name: 'default', ingressPolicies: ofServer.map((policy) => policy.id) })];
    if (pod === CLIENT && egress !== undefined)
      return [tierOf({ name: 'default', egressPolicies: [egress.id] })];
    return [];
  };
  return modelOf({
    ipSets: [friends],
    policies: [...ofServer, ...(egress === undefined ? [] : [egress])],
    profiles: [{ name: 'open', inboundRules: allow, outboundRules: allow }],
    workloads: PODS.map((pod) =>
      workloadOf({
        name: pod.name,
        ipv4Nets: [`${pod.v4}/32`],
        ipv6Nets: [`${pod.v6}/128`],
        profileIds: closed && (pod === CLIENT || pod === SERVER) ? [] : ['open'],
        tiers: tiers(pod),
      }),
    ),
  });
}

describeEngine('policy changes under running connections', { root: true }, () => {
  let bed: Bed;
  let [client, server, other, fourth]: Namespace[] = [];

  beforeAll(async () => {
    bed = await startBed(EMBEDDED_LINKS);
    await bed.program(model(ALLOWED));
    [client, server, other, fourth] = [
      await bed.addPod(CLIENT),
      await bed.addPod(SERVER),
      await bed.addPod(OTHER),
      await bed.addPod(FOURTH),
    ];
    for (const space of [server, fourth]) {
      const running = await space.serve(MIRROR);
      bed.atEnd(() => void running.kill('SIGKILL'));
    }
  }, 60_000);
  afterAll(() => bed.stop());

  const stream = async (from: Namespace, to: string): Promise<Stream> => {
    const running = await startStream(from, to, PORT);
    bed.atEnd(running.kill);
    return running;
  };
  /** A new connection: `ok` when bytes came back, else `silence`. */
  const connect = (from: Namespace, to: string): Promise<string> => from.node(connectScript(to, PORT));
  /** To the server, which policy is about, and between the bystanders, over both families. */
  const connections = (): Promise<readonly string[]> =>
    Promise.all([
      connect(client!, SERVER.v4),
      connect(client!, SERVER.v6),
      connect(other!, FOURTH.v4),
      connect(other!, FOURTH.v6),
    ]);
  const dropped = async (reason: number): Promise<bigint> => {
    const reasons = await bed.reasons();
    return reasons[reason]!;
  };

  describe.each(CHANGES)('%s', (_, refusing) => {
    it('a connection survives, new ones are refused, others are undisturbed, and back again', async () => {
      await bed.program(model(ALLOWED));
      const late = await dropped(NO_CONNECTION);
      const running = [await stream(client!, SERVER.v4), await stream(client!, SERVER.v6)];
      const bystanders = [await stream(other!, FOURTH.v4), await stream(other!, FOURTH.v6)];
      const all = [...running, ...bystanders];
      for (const one of all) await one.progress();

      await bed.program(model(refusing));
      expect(await connections()).toEqual(['silence', 'silence', 'ok', 'ok']);
      for (const one of all) await one.progress();

      // The first try after the change.
      await bed.program(model(ALLOWED));
      expect(await connections()).toEqual(['ok', 'ok', 'ok', 'ok']);
      for (const one of all) await one.progress();

      for (const one of all) expect(await one.finish()).toBe('the same bytes');
      expect(await dropped(NO_CONNECTION)).toBe(late);
    }, 60_000);
  });

  it('changes to and fro, as fast as they go, are nothing to a running connection', async () => {
    await bed.program(model(ALLOWED));
    const late = await dropped(NO_CONNECTION);
    const running = await stream(client!, SERVER.v4);
    await running.progress();
    for (let i = 0; i < 100; i++)
      await bed.program(model(i % 2 === 0 ? CHANGES[(i >> 1) % CHANGES.length]![1] : ALLOWED));
    await running.progress();
    expect(await running.finish()).toBe('the same bytes');
    expect(await dropped(NO_CONNECTION)).toBe(late);
  }, 60_000);

  it('a connection that was never allowed stays closed, and its retries get through once it is', async () => {
    await bed.program(model(CHANGES[0]![1]));
    const waiting = client!.node(connectScript(SERVER.v4, PORT, 10_000));
    await new Promise((resolve) => setTimeout(resolve, 300));
    await bed.program(model(ALLOWED));
    expect(await waiting).toBe('ok');
  }, 60_000);
});

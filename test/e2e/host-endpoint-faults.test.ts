/**
 * A host endpoint whose programs are not on the target: a row is refused, or they are too large. What it would have policed stays closed,
 * its status says `error`, and everything else goes on.
 */
import { status } from '@grpc/grpc-js';
import { sendPacket } from '../../src/cli/packets';
import { packetVerdict } from '../../src/cli/verdict';
import type { Health } from '../../src/driver/health';
import type { HostEndpoint, Policy } from '../../src/model/model';
import { buildFrame } from '../../src/packet/build';
import { makePacket } from '../../src/packet/describe';
import type { Engine, TableOp } from '../../src/p4switch/engine';
import { createInterpreter } from '../../src/p4switch/interpreter/interpreter';
import { Refusal } from '../../src/p4switch/server/refusal';
import { startSwitchServer, type SwitchServer } from '../../src/p4switch/server/server';
import { EMBEDDED_LINKS, spellMac } from '../../src/translators/links';
import { hostEndpointOf, modelOf, NODE_IPV4, policyOf, ruleOf, tierOf, workloadOf } from '../support/models';
import type { Payload } from '../support/felix-stream';
import { startEmbeddedNode } from './support/embedded-node';
import { rowsOnTarget, startFelixDriver, type FelixDriver } from './support/felix-driver';
import { stop, until } from './support/processes';
import { podOf, snapshotOf } from './support/small-node';

const OUT = '203.0.113.9';
const UPLINK = 0;
const HOST = 1;
const HOST_IN = 6n;

describe('a target that refuses the rows of its programs', () => {
  let refuses = false;
  let server: SwitchServer;
  let engine: Engine;
  let driver: FelixDriver;

  /** A row of the uplink that has a program behind it, of what comes in for the node. */
  const isHostIn = (op: TableOp): boolean => {
    if ((op.kind !== 'insert' && op.kind !== 'modify') || op.table !== 'endpoint_root') return false;
    const [ep, direction] = op.entry.keys.map(({ value }) => value);
    const node = op.entry.action.params[1]!;
    return ep === 0n && direction === HOST_IN && !(node >= 0xa000_0000n && node < 0xc000_0000n);
  };

  beforeEach(async () => {
    refuses = false;
    server = await startSwitchServer({
      address: '127.0.0.1:0',
      deviceId: 1n,
      createEngine: (spec) => {
        engine = createInterpreter(spec, { now: () => performance.now() / 1000 });
        const apply = engine.apply.bind(engine);
        return {
          ...engine,
          apply(op) {
            if (refuses && isHostIn(op)) throw new Refusal(status.INTERNAL, 'a bad cell');
            apply(op);
          },
        };
      },
    });
    driver = await startFelixDriver({ CALICO_P4_TARGET_ADDRESS: server.address });
  });
  afterEach(async () => {
    await stop(driver);
    await server.stop();
  });

  /** Whether a SYN from beyond the uplink gets to the node. */
  const passes = (dport: number): boolean => {
    const packet = makePacket({
      src: OUT,
      dst: NODE_IPV4,
      proto: 'tcp',
      sport: 40_000,
      dport,
      tcpFlags: 'S',
    });
    const frame = buildFrame(packet, { dstMac: spellMac(EMBEDDED_LINKS.uplinkMac!) });
    return engine.process(UPLINK, frame, false).out.some(({ port }) => port === HOST);
  };
  /** By address: the name of the uplink is not configured. */
  const endpoint: Payload = {
    hostEndpointUpdate: {
      id: { endpointId: 'eth0' },
      endpoint: { name: '', expectedIpv4Addrs: [NODE_IPV4], profileIds: [] },
    },
  };
  const closed = ({ failedEndpoints }: Health): readonly string[] =>
    failedEndpoints.map(({ workload }) => workload);

  test('it closes the way, with the failsafe ports; it is tried again, and opens', async () => {
    driver.send(snapshotOf([podOf('a')]));
    await driver.untilReady(true);
    await until('the pod', () => driver.statuses().get('default/cali-a') === 'up');
    expect([passes(22), passes(80)]).toEqual([true, true]);

    // An endpoint comes to a node that is open: what was allowed is not left in force.
    refuses = true;
    driver.send([endpoint]);
    await until('the status of the endpoint', () => driver.hostStatuses().size > 0);
    expect(driver.hostStatuses()).toEqual(new Map([['eth0', 'error']]));
    expect([passes(22), passes(80)]).toEqual([false, false]);
    const [said] = (await driver.health('readyz')).failedEndpoints;
    expect(said).toMatchObject({
      workload: 'host endpoint eth0',
      reason: expect.stringMatching(/endpoint_root.*a bad cell/) as string,
    });
    expect(driver.statuses()).toEqual(new Map([['default/cali-a', 'up']]));
    const gate = async (): Promise<number> =>
      (await rowsOnTarget(server.address)).filter((row) => row.startsWith('endpoint_root|direction=6,ep=0'))
        .length;
    expect(await gate()).toBe(0);

    refuses = false;
    await until('the endpoint', () => driver.hostStatuses().get('eth0') === 'up');
    expect(await gate()).toBe(1);
    expect([passes(22), passes(80)]).toEqual([true, false]);
    expect(closed(await driver.health('readyz'))).toEqual([]);

    driver.send([{ hostEndpointRemove: { id: { endpointId: 'eth0' } } }]);
    await until('the end of the endpoint', () => driver.hostStatuses().get('eth0') === 'removed');
    expect([passes(22), passes(80)]).toEqual([true, true]);
  }, 60_000);
});

describe('programs that are too large', () => {
  /** As many IP sets as no program may name. */
  const SETS = Array.from({ length: 700 }, (_, i) => ({
    id: `s:${i}`,
    type: 'IP' as const,
    members: new Set([`10.9.${i >> 8}.${i & 255}`]),
  }));
  const LARGE: Policy = policyOf({
    id: { kind: 'GlobalNetworkPolicy', namespace: '', name: 'large' },
    inboundRules: SETS.map(({ id }) => ruleOf({ action: 'deny', srcIpSetIds: [id] })),
  });
  const ALLOW: Policy = policyOf({
    id: { kind: 'GlobalNetworkPolicy', namespace: '', name: 'allow' },
    inboundRules: [ruleOf({ action: 'allow' })],
    outboundRules: [ruleOf({ action: 'allow' })],
  });
  const tier = (policy: Policy) => [
    tierOf({ name: 'default', ingressPolicies: [policy.id], egressPolicies: [policy.id] }),
  ];

  const cases: readonly (readonly [string, Partial<HostEndpoint>, toNode: boolean, toPod: boolean])[] = [
    // Without untracked or preDNAT policy those stages go on; forward policy that is not there lets pods be.
    ['normal', { tiers: tier(LARGE), forwardTiers: tier(ALLOW) }, false, true],
    ['forward', { tiers: tier(ALLOW), forwardTiers: tier(LARGE) }, true, false],
    ['preDNAT', { tiers: tier(ALLOW), preDnatTiers: tier(LARGE) }, false, false],
    ['untracked', { tiers: tier(ALLOW), untrackedTiers: tier(LARGE) }, false, false],
  ];

  test.each(cases)('of %s policy: closed there, and the status says so', async (_, fields, toNode, toPod) => {
    const node = await startEmbeddedNode();
    try {
      const endpoint = hostEndpointOf({ id: 'eth0', name: 'eth0', ...fields });
      const model = modelOf({
        ipSets: SETS,
        policies: [LARGE, ALLOW],
        workloads: [workloadOf({ name: 'cali-a', ipv4Nets: ['10.65.0.1/32'], tiers: tier(ALLOW) })],
        hostEndpoints: [endpoint],
      });
      const passes = (dst: string): boolean => {
        const packet = makePacket({ src: OUT, dst, proto: 'tcp', sport: 40_000, dport: 80, tcpFlags: 'S' });
        const result = sendPacket(node.engine, node.node.names, { id: '-', from: 'uplink', packet });
        return packetVerdict(result, node.node.names).verdict === 'allow';
      };
      const { applied, hostsUp, hostsDown, failures, up } = await node.node.program(model);
      expect(applied.failed.size).toBe(0);
      expect([[...hostsUp], [...hostsDown], [...up]]).toEqual([[], ['eth0'], ['k8s/default/cali-a/eth0']]);
      expect(failures).toEqual([
        expect.objectContaining({
          hostEndpoint: 'eth0',
          reason: expect.stringMatching(/^host endpoint eth0 .*is closed for .*700 IP sets/) as string,
        }),
      ]);
      expect([passes(NODE_IPV4), passes('10.65.0.1')]).toEqual([toNode, toPod]);

      const calm = hostEndpointOf({
        id: 'eth0',
        name: 'eth0',
        tiers: tier(ALLOW),
        forwardTiers: tier(ALLOW),
      });
      const now = await node.node.program({ ...model, hostEndpoints: new Map([['eth0', calm]]) });
      expect([[...now.hostsUp], now.failures]).toEqual([['eth0'], []]);
      expect([passes(NODE_IPV4), passes('10.65.0.1')]).toEqual([true, true]);
    } finally {
      await node.stop();
    }
  });

  test("of a pod: its status says so, the others' do not", async () => {
    const node = await startEmbeddedNode();
    try {
      const { up, down, failures } = await node.node.program(
        modelOf({
          ipSets: SETS,
          policies: [LARGE, ALLOW],
          workloads: [
            workloadOf({ name: 'cali-a', ipv4Nets: ['10.65.0.1/32'], tiers: tier(ALLOW) }),
            workloadOf({ name: 'cali-b', ipv4Nets: ['10.65.0.2/32'], tiers: tier(LARGE) }),
          ],
        }),
      );
      expect([[...up], [...down]]).toEqual([['k8s/default/cali-a/eth0'], ['k8s/default/cali-b/eth0']]);
      expect(failures).toHaveLength(1);
    } finally {
      await node.stop();
    }
  });
});

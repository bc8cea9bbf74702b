/**
 * Limits and DSCP of pods, through the real driver, P4Runtime and interpreter: what packets get of them, and that they open nothing.
 */
import { reasonName } from '../../src/cli/verdict';
import type { FelixModel, QosControls, QosLimits, WorkloadEndpoint } from '../../src/model/model';
import { buildFrame } from '../../src/packet/build';
import { makePacket } from '../../src/packet/describe';
import type { TableOp } from '../../src/p4switch/engine';
import { EMBEDDED_LINKS, spellMac } from '../../src/translators/links';
import { ipv4HeaderIsRight } from '../support/checksums';
import {
  hostEndpointOf,
  modelOf,
  NODE_IPV4,
  NODE_IPV6,
  policyOf,
  ruleOf,
  tierOf,
  workloadOf,
} from '../support/models';
import { PORTS, startEmbeddedNode, type EmbeddedNode } from './support/embedded-node';

const GATEWAY = spellMac(EMBEDDED_LINKS.gatewayMac);
const UPLINK_MAC = spellMac(EMBEDDED_LINKS.uplinkMac!);
const A = '10.65.0.1';
const B = '10.65.0.2';
const OUT = '203.0.113.9';
const [A6, B6, OUT6] = ['fd00::a', 'fd00::b', '2001:db8::9'];
const OVER_LIMIT = 26;
const INGRESS_POLICY = 8;

const NONE: QosLimits = {
  bandwidth: 0n,
  burst: 0n,
  peakRate: 0n,
  minBurst: 0n,
  packetRate: 0n,
  packetBurst: 0n,
  maxConnections: 0n,
};
const packets = (rate: bigint, burst: bigint): QosLimits => ({
  ...NONE,
  packetRate: rate,
  packetBurst: burst,
});
const egress = (limits: QosLimits): { readonly qos: QosControls } => ({
  qos: { ingress: NONE, egress: limits },
});
const ingress = (limits: QosLimits): { readonly qos: QosControls } => ({
  qos: { ingress: limits, egress: NONE },
});

/** Anybody sends anywhere, but to port 9 of b. */
function pods(a: Partial<WorkloadEndpoint> = {}, b: Partial<WorkloadEndpoint> = {}): FelixModel {
  const open = policyOf({
    id: { kind: 'NetworkPolicy', namespace: 'shop', name: 'open' },
    inboundRules: [
      ruleOf({ action: 'deny', protocol: 'udp', dstPorts: [{ first: 9, last: 9 }] }),
      ruleOf({ action: 'allow' }),
    ],
    outboundRules: [ruleOf({ action: 'allow' })],
  });
  const tiers = [tierOf({ name: 'default', ingressPolicies: [open.id], egressPolicies: [open.id] })];
  return modelOf({
    policies: [open],
    pools: [
      { id: 'v4', cidr: '10.65.0.0/16', masquerade: false, ipipMode: '', vxlanMode: '', allowedUses: [] },
      { id: 'v6', cidr: 'fd00::/64', masquerade: false, ipipMode: '', vxlanMode: '', allowedUses: [] },
    ],
    workloads: [
      workloadOf({ name: 'cali-a', ipv4Nets: [`${A}/32`], ipv6Nets: [`${A6}/128`], tiers, ...a }),
      workloadOf({ name: 'cali-b', ipv4Nets: [`${B}/32`], ipv6Nets: [`${B6}/128`], tiers, ...b }),
    ],
  });
}

let node: EmbeddedNode;
let ops: TableOp[];
let onWrite: (op: TableOp) => void;

async function start(kind: 'embedded' | 'p4-dpdk'): Promise<void> {
  onWrite = (op) => ops.push(op);
  node = await startEmbeddedNode({
    kind,
    onWrite: (op) => {
      onWrite(op);
    },
  });
}
beforeEach(() => {
  ops = [];
});
afterEach(async () => {
  await node.stop();
});

async function program(model: FelixModel): ReturnType<EmbeddedNode['node']['program']> {
  ops = [];
  const result = await node.node.program(model);
  expect(result.applied.failed.size).toBe(0);
  return result;
}

function portNamed(name: string): number {
  return [...node.node.names.ports].find(([, is]) => is === name)![0];
}

interface Sent {
  readonly out: number | undefined;
  readonly frame: Uint8Array;
  readonly reason: number;
}

/** A UDP packet; `bytes` of payload. */
function send(
  from: string,
  src: string,
  dst: string,
  {
    bytes = 0,
    port = 53,
    tos = 0,
  }: { readonly bytes?: number; readonly port?: number; readonly tos?: number } = {},
): Sent {
  const packet = makePacket({
    src,
    dst,
    proto: 'udp',
    sport: 4000,
    dport: port,
    ...(bytes > 0 ? { payload: bytes } : {}),
  });
  const frame = Buffer.from(buildFrame(packet, { dstMac: from === 'uplink' ? UPLINK_MAC : GATEWAY }));
  if (src.includes(':')) frame.writeUInt32BE((frame.readUInt32BE(14) | (tos << 20)) >>> 0, 14);
  else setTos(frame, tos);
  const { out, trace } = node.engine.process(portNamed(from), frame, true);
  const reasons = trace.flatMap((step) =>
    step.kind === 'counter' && step.name.startsWith('reasons') ? [step.index] : [],
  );
  expect(reasons).toHaveLength(1);
  return { out: out[0]?.port, frame: out[0]?.frame ?? new Uint8Array(0), reason: reasons[0]! };
}

function setTos(frame: Buffer, tos: number): void {
  frame[15] = tos;
  let sum = 0;
  frame.writeUInt16BE(0, 24);
  for (let at = 14; at < 34; at += 2) sum += frame.readUInt16BE(at);
  sum = (sum & 0xffff) + (sum >>> 16);
  frame.writeUInt16BE(~((sum & 0xffff) + (sum >>> 16)) & 0xffff, 24);
}

const passed = (sent: readonly Sent[]): number => sent.filter(({ out }) => out !== undefined).length;
const times = (n: number, one: () => Sent): Sent[] => Array.from({ length: n }, one);

describe('on a target with meters', () => {
  beforeEach(() => start('embedded'));

  it('lets the burst of a packet rate pass, then the rate, each way and family', async () => {
    await program(pods(egress(packets(2n, 5n)), ingress(packets(10n, 7n))));
    const first = times(9, () => send('cali-a', A, OUT));
    expect(passed(first)).toBe(5);
    expect(first.map(({ reason }) => reason).slice(5)).toEqual([26, 26, 26, 26]);
    expect(reasonName(OVER_LIMIT)).toMatch(/^dropped: over a limit/);
    // Also of a connection that is established, and in the other family.
    expect(send('cali-a', A6, OUT6).reason).toBe(OVER_LIMIT);
    node.advance(1);
    expect(passed(times(9, () => send('cali-a', A6, OUT6)))).toBe(2);

    expect(passed(times(20, () => send('uplink', OUT, B)))).toBe(7);
    // What policy denies does not count, and stays denied.
    node.advance(100);
    expect(times(20, () => send('uplink', OUT, B, { port: 9 })).map(({ reason }) => reason)).toEqual(
      Array.from({ length: 20 }, () => INGRESS_POLICY),
    );
    expect(passed(times(20, () => send('uplink', OUT6, B6)))).toBe(7);
    // Nobody else is limited.
    expect(passed(times(50, () => send('cali-b', B, OUT)))).toBe(50);
    expect(passed(times(50, () => send('uplink', OUT, A)))).toBe(50);
  });

  it('counts frames for bandwidth', async () => {
    // A frame of 500 bytes; bits as Felix has them.
    const limits = { ...NONE, bandwidth: 8n * 1000n, burst: 8n * 2600n };
    await program(pods({}, ingress(limits)));
    const frame = (): Sent => send('cali-a', A, B, { bytes: 500 - 14 - 20 - 8 });
    expect(passed(times(10, frame))).toBe(5);
    // 100 bytes are left in the bucket.
    expect(send('cali-a', A, B, { bytes: 100 - 42 }).out).toBeDefined();
    expect(send('cali-a', A, B).reason).toBe(OVER_LIMIT);
    node.advance(1);
    expect(passed(times(10, frame))).toBe(2);
  });

  it('limits before the endpoint opens, changes in place, and goes when the endpoint has none', async () => {
    const limited = pods(egress(packets(1n, 3n)));
    let opened = 0;
    onWrite = (op) => {
      if (op.kind !== 'insert' || op.table !== 'port_in' || op.entry.action.name !== 'from_pod') return;
      const limit = Number(op.entry.action.params[3]! & 0x7ffn);
      if (limit === 0) return;
      opened++;
      expect(node.engine.readMeter('packet_limits_0', limit)?.burst).toBe(3n);
    };
    await program(limited);
    expect(opened).toBe(1);
    onWrite = (op) => ops.push(op);
    expect((await program(limited)).applied.written).toBe(0);
    expect(passed(times(5, () => send('cali-a', A, OUT)))).toBe(3);

    const changed = await program(pods(egress(packets(1n, 4n))));
    expect(changed.applied).toMatchObject({ written: 1, modified: 1 });
    expect(ops).toEqual([]);
    expect(passed(times(5, () => send('cali-a', A, OUT)))).toBe(4);

    const number = 2 * portNamed('cali-a') + 2;
    await program(pods());
    expect(node.engine.readMeter('packet_limits_0', number)).toBeUndefined();
    expect(passed(times(50, () => send('cali-a', A, OUT)))).toBe(50);
  });

  it("a port that another pod gets does not have the first one's limits", async () => {
    await program(pods(egress(packets(1n, 1n))));
    const port = portNamed('cali-a');
    const other = pods({
      name: 'cali-c',
      id: { orchestratorId: 'k8s', workloadId: 'default/c', endpointId: 'eth0' },
    });
    await program(other);
    expect(portNamed('cali-c')).toBe(port);
    expect(passed(times(50, () => send('cali-c', A, OUT)))).toBe(50);
    // With limits of its own in the place of the others.
    await program(pods(egress(packets(1n, 1n))));
    const limited = { ...egress(packets(1n, 6n)), name: 'cali-c' };
    await program(
      pods({ ...limited, id: { orchestratorId: 'k8s', workloadId: 'default/c', endpointId: 'eth0' } }),
    );
    expect(passed(times(50, () => send('cali-c', A, OUT)))).toBe(6);
  });

  it('is read back: another driver on the same target writes nothing', async () => {
    const model = pods(egress({ ...packets(1n, 3n), bandwidth: 1n << 40n, burst: 1n << 41n }), {
      dscps: [8],
    });
    await program(model);
    const { reconciler } = node.target;
    const before = reconciler.actual.get('byte_limits')!.size + reconciler.actual.get('packet_limits')!.size;
    expect(before).toBe(2);
    reconciler.forget();
    expect((await program(model)).applied.written).toBe(0);
  });
});

describe('on a target whose meters do nothing', () => {
  beforeEach(() => start('p4-dpdk'));

  it('says what is not enforced, and lets the endpoint pass', async () => {
    const model = pods(egress({ ...packets(1n, 1n), maxConnections: 4n }));
    const { notEnforced, up } = await program(model);
    expect(notEnforced).toEqual([
      { endpoint: 'k8s/default/cali-a/eth0', what: expect.stringMatching(/4 connections/) as string },
      {
        endpoint: 'k8s/default/cali-a/eth0',
        what: expect.stringMatching(/packet rate 1\/s: meters/) as string,
      },
    ]);
    expect(up.size).toBe(2);
    expect(passed(times(20, () => send('cali-a', A, OUT)))).toBe(20);
    expect((await program(model)).applied.written).toBe(0);
  });
});

describe.each(['embedded', 'p4-dpdk'] as const)('DSCP on a target of kind %s', (kind) => {
  beforeEach(() => start(kind));

  const tosOf = (frame: Uint8Array): number => {
    const view = Buffer.from(frame);
    return view.readUInt16BE(12) === 0x0800 ? view[15]! : (view.readUInt32BE(14) >>> 20) & 0xff;
  };

  it.each([46, 0, 63])('sets %i in what leaves the cluster, and nothing else of the packet', async (dscp) => {
    await program(pods({ dscps: [dscp] }));
    for (const tos of [0, 1, 2, 3, 0xfc, 0xff, 0xb8]) {
      const sent = send('cali-a', A, OUT, { tos });
      expect(sent.out).toBe(PORTS.uplink);
      expect(tosOf(sent.frame)).toBe((dscp << 2) | (tos & 3));
      expect(ipv4HeaderIsRight(sent.frame)).toBe(true);
      const six = send('cali-a', A6, OUT6, { tos });
      expect(tosOf(six.frame)).toBe((dscp << 2) | (tos & 3));
      expect(Buffer.from(six.frame).readUInt32BE(14) & 0xf00fffff).toBe(0x60000000);
    }
  });

  it('leaves it alone inside of the cluster, in what comes in, and in packets of other pods', async () => {
    await program(pods({ dscps: [46] }));
    const cases = [
      send('cali-a', A, B, { tos: 9 }),
      send('cali-a', A6, B6, { tos: 9 }),
      send('cali-a', A, '10.65.7.7', { tos: 9 }),
      send('cali-a', A6, 'fd00::77', { tos: 9 }),
      send('cali-b', B, OUT, { tos: 9 }),
      send('uplink', OUT, A, { tos: 9 }),
    ];
    expect(cases.map(({ frame }) => tosOf(frame))).toEqual([9, 9, 9, 9, 9, 9]);
    expect(cases.every(({ out }) => out !== undefined)).toBe(true);
    // A pool that goes is outside.
    await program({ ...pods({ dscps: [46] }), pools: new Map() });
    expect(tosOf(send('cali-a', A, '10.65.7.7').frame)).toBe(46 << 2);
    await program(pods());
    expect(tosOf(send('cali-a', A, OUT, { tos: 9 }).frame)).toBe(9);
  });

  it('of a host endpoint is set in what the node sends out from the addresses that it expects', async () => {
    const endpoint = hostEndpointOf({
      id: 'node-eth7',
      name: 'eth7',
      expectedIpv4Addrs: [NODE_IPV4],
      expectedIpv6Addrs: [NODE_IPV6],
      dscps: [46],
    });
    const model = { ...pods(), hostEndpoints: new Map([[endpoint.id, endpoint]]) };
    const { notEnforced } = await program(model);
    expect(notEnforced).toEqual([]);
    for (const [src, dst] of [
      [NODE_IPV4, OUT],
      [NODE_IPV6, OUT6],
    ] as const) {
      const { out, frame } = send('host', src, dst, { tos: 1 });
      expect([out, tosOf(frame)]).toEqual([PORTS.uplink, (46 << 2) | 1]);
      if (dst === OUT) expect(ipv4HeaderIsRight(frame)).toBe(true);
    }
    // Into the cluster, to pods, from other addresses, and what pods send.
    const others = [
      send('host', NODE_IPV4, '10.65.7.7', { tos: 9 }),
      send('host', NODE_IPV6, 'fd00::77', { tos: 9 }),
      send('host', NODE_IPV4, B, { tos: 9 }),
      send('host', '192.0.2.77', OUT, { tos: 9 }),
      send('cali-a', A, OUT, { tos: 9 }),
    ];
    expect(others.map(({ frame }) => tosOf(frame))).toEqual([9, 9, 9, 9, 9]);
    await program(pods());
    expect(tosOf(send('host', NODE_IPV4, OUT, { tos: 9 }).frame)).toBe(9);
  });
});

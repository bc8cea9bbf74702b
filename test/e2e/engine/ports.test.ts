/** Packets of real interfaces in network namespaces through the native engine: a program that wires ports together. */
import type { ChildProcess } from 'node:child_process';
import type { EngineChange } from '../../../src/p4switch/dpdk/changes';
import type { Description } from '../../../src/p4switch/dpdk/description';
import { attachPort, detachPort, listPorts, type PortSpec } from '../../../src/p4switch/dpdk/ports';
import { Which } from '../../../src/p4switch/dpdk/protocol';
import { parseSpec } from '../../../src/p4switch/spec/parser';
import { describeEngine, type RunningEngine, startEngine } from './engine';
import { ECHO, Namespace, tcpScript, udpScript } from './namespaces';

/** Two tables, changed together: where a packet sees their marks differ, it is dropped and counted. */
const PROGRAM = `
struct ethernet_t {
	bit<48> dst
	bit<48> src
	bit<16> type
}
struct to_t {
	bit<32> port
	bit<32> mark
}
struct again_t {
	bit<32> mark
}
struct meta_t {
	bit<32> in
	bit<32> out
	bit<32> first
	bit<32> second
}
header e instanceof ethernet_t
metadata instanceof meta_t
regarray torn size 0x1 initval 0x0
regarray tagged size 0x1 initval 0x0
action to args instanceof to_t {
	mov m.out t.port
	mov m.first t.mark
	return
}
action again args instanceof again_t {
	mov m.second t.mark
	return
}
action nowhere args none {
	drop
	return
}
table wires {
	key {
		m.in exact
	}
	actions {
		to
		nowhere
	}
	default_action nowhere args none
	size 0x400
}
table checks {
	key {
		m.in exact
	}
	actions {
		again
		nowhere
	}
	default_action nowhere args none
	size 0x400
}
apply {
	rx m.in
	extract h.e
	jmpneq PLAIN h.e.type 0x8100
	regadd tagged 0x0 0x1
	PLAIN : table wires
	table checks
	jmpeq SAME m.first m.second
	regadd torn 0x0 0x1
	drop
	SAME : emit h.e
	tx m.out
}
`;
const spec = parseSpec(PROGRAM);

function wire(from: number, to: number, mark = 0): EngineChange[] {
  const keys = [{ value: BigInt(from), mask: 0xffff_ffffn }];
  const actions = [
    { name: 'to', params: [BigInt(to), BigInt(mark)] },
    { name: 'again', params: [BigInt(mark)] },
  ];
  return ['wires', 'checks'].map((table, i) => ({
    kind: 'insert',
    table,
    entry: { keys, priority: 0, action: actions[i]! },
  }));
}

describeEngine('ports of the engine', { root: true }, () => {
  let engine: RunningEngine;
  let d: Description;
  let spaces: Namespace[];
  let servers: ChildProcess[];

  const space = (): Namespace => {
    const made = new Namespace();
    spaces.push(made);
    return made;
  };
  const serve = async (where: Namespace): Promise<void> => {
    servers.push(await where.serve(ECHO));
  };
  const tap = (netns: string, more: Partial<PortSpec> = {}): PortSpec => ({
    kind: 'tap',
    name: 'eth0',
    netns,
    mtu: 1500,
    mac: '',
    vlan: 0,
    persistent: true,
    ...more,
  });
  const write = (...changes: readonly EngineChange[]): Promise<void> =>
    engine.client.write(Which.running, 1n, d, changes);
  /** A namespace whose eth0 is the engine's port. */
  const pod = async (port: number, address: string, more: Partial<PortSpec> = {}): Promise<Namespace> => {
    const made = space();
    await attachPort(engine.link, port, tap(made.path, more));
    made.ip('addr', 'add', address, 'dev', 'eth0');
    return made;
  };
  const start = async (): Promise<void> => {
    engine = await startEngine();
    d = await engine.run(PROGRAM, spec);
  };

  beforeEach(async () => {
    spaces = [];
    servers = [];
    await start();
  });
  afterEach(async () => {
    for (const server of servers) server.kill('SIGKILL');
    expect(engine.errors()).toBe('');
    await engine.stop();
    for (const made of spaces) made.delete();
  });

  it('carry UDP and TCP between pods, up to an MTU of 9000', async () => {
    const a = await pod(2, '10.9.0.1/24', { mtu: 9000, mac: '02:00:00:00:00:0a' });
    const b = await pod(3, '10.9.0.2/24', { mtu: 9000, mac: '02:00:00:00:00:0b' });
    expect(a.ip('link', 'show', 'eth0')).toContain('02:00:00:00:00:0a');
    await write(...wire(2, 3), ...wire(3, 2));
    await serve(b);
    expect(await a.node(udpScript('10.9.0.2', 100))).toBe('100');
    expect(await a.node(udpScript('10.9.0.2', 8972))).toBe('8972');
    expect(await a.node(udpScript('10.9.0.2', 20_000))).toBe('20000');
    expect(await a.node(tcpScript('10.9.0.2', 3_000_000))).toBe('ok');
    const [first] = await listPorts(engine.link);
    expect(first).toMatchObject({ port: 2, kind: 'tap', netns: a.path, gone: false });
    expect(first!.counters.rxBytes).toBeGreaterThan(3_000_000n);
    expect(first!.counters.txPackets).toBeGreaterThan(10n);
  });

  it('are packet sockets too: checksums that the sender left open, and VLAN tags that the kernel took out', async () => {
    const host = space();
    const far = space();
    host.ip('link', 'add', 'up0', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', far.name);
    host.ip('link', 'set', 'up0', 'up');
    far.ip('link', 'set', 'eth0', 'up');
    far.ip('addr', 'add', '10.9.0.2/24', 'dev', 'eth0');
    far.ethtool('-K', 'eth0', 'tso', 'off', 'gso', 'off');
    await attachPort(engine.link, 0, { ...tap(host.path), kind: 'packet', name: 'up0', persistent: false });
    const a = await pod(2, '10.9.0.1/24');
    await write(...wire(0, 2), ...wire(2, 0));
    await serve(far);
    expect(await a.node(udpScript('10.9.0.2', 1000))).toBe('1000');
    expect(await a.node(tcpScript('10.9.0.2', 500_000))).toBe('ok');
    await serve(a);
    expect(await far.node(tcpScript('10.9.0.1', 500_000))).toBe('ok');

    // A raw frame: not every kernel has VLAN interfaces.
    expect(await engine.client.registers(d, 'tagged', 0, 1)).toEqual([0n]);
    far.python(`
import socket
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(('eth0', 0))
s.send(b'\\xff' * 6 + b'\\x02' * 6 + b'\\x81\\x00\\x00\\x07\\x08\\x00' + bytes(50))`);
    await waitFor(async () => (await engine.client.registers(d, 'tagged', 0, 1))[0] === 1n);

    // Down is not gone; deleted is.
    host.ip('link', 'set', 'up0', 'down');
    host.ip('link', 'set', 'up0', 'up');
    await waitFor(async () => (await a.node(udpScript('10.9.0.2', 10, 1000))) === '10');
    host.ip('link', 'delete', 'up0');
    await waitFor(async () => (await listPorts(engine.link)).find((p) => p.port === 0)!.gone);
  });

  it('are DPDK devices too', async () => {
    await engine.stop();
    // A device whose packets come back: what the program sends there, it receives again.
    engine = await startEngine(['--device', 'net_ring0']);
    d = await engine.run(PROGRAM, spec);
    await attachPort(engine.link, 5, { ...tap(''), kind: 'device', name: 'net_ring0', mtu: 0 });
    const a = await pod(2, '10.9.0.1/24');
    const b = await pod(3, '10.9.0.2/24');
    await write(...wire(2, 5), ...wire(5, 3), ...wire(3, 2));
    await serve(b);
    expect(await a.node(udpScript('10.9.0.2', 1000))).toBe('1000');
    expect(await a.node(tcpScript('10.9.0.2', 300_000))).toBe('ok');
    const device = (await listPorts(engine.link)).find((p) => p.port === 5)!;
    expect(device.counters.rxPackets).toBeGreaterThan(100n);
    await detachPort(engine.link, 5, false);
    await attachPort(engine.link, 5, { ...tap(''), kind: 'device', name: 'net_ring0', mtu: 0 });
    expect(await a.node(udpScript('10.9.0.2', 10))).toBe('10');
  });

  it('are DPDK devices on a VLAN: the tag is outside only', async () => {
    await engine.stop();
    engine = await startEngine(['--device', 'net_ring0']);
    d = await engine.run(PROGRAM, spec);
    // What comes back without the tag of 7 would be dropped.
    await attachPort(engine.link, 5, { ...tap(''), kind: 'device', name: 'net_ring0', mtu: 0, vlan: 7 });
    const a = await pod(2, '10.9.0.1/24');
    const b = await pod(3, '10.9.0.2/24');
    await write(...wire(2, 5), ...wire(5, 3), ...wire(3, 2));
    await serve(b);
    expect(await a.node(udpScript('10.9.0.2', 1000))).toBe('1000');
    expect(await a.node(tcpScript('10.9.0.2', 300_000))).toBe('ok');
    expect(await engine.client.registers(d, 'tagged', 0, 1)).toEqual([0n]);
    const device = (await listPorts(engine.link)).find((p) => p.port === 5)!;
    expect(device).toMatchObject({ vlan: 7, counters: { rxDropped: 0n } });
  });

  it('see a transaction on two tables at one moment, under traffic', async () => {
    const a = await pod(2, '10.9.0.1/24');
    const b = await pod(3, '10.9.0.2/24');
    await write(...wire(2, 3), ...wire(3, 2));
    await serve(b);
    const traffic = { ended: false };
    const transfer = a.node(tcpScript('10.9.0.2', 4_000_000)).finally(() => (traffic.ended = true));
    let changes = 0;
    for (; !traffic.ended; changes++) await write(...wire(2, 3, changes), ...wire(3, 2, changes));
    expect(await transfer).toBe('ok');
    expect(changes).toBeGreaterThan(20);
    expect(await engine.client.registers(d, 'torn', 0, 1)).toEqual([0n]);
    // Proof that torn ones would have been seen.
    await write(wire(2, 3, 1)[0]!, wire(2, 3, 2)[1]!);
    await a.node(udpScript('10.9.0.2', 10, 500));
    expect((await engine.client.registers(d, 'torn', 0, 1))[0]).toBeGreaterThan(0n);
  });

  it('stay in the pods when the engine is killed, and are taken again', async () => {
    const a = await pod(2, '10.9.0.1/24');
    const b = await pod(3, '10.9.0.2/24');
    await write(...wire(2, 3), ...wire(3, 2));
    await serve(b);
    expect(await a.node(udpScript('10.9.0.2', 10))).toBe('10');
    process.kill(engine.pid, 'SIGKILL');
    expect(await engine.ended).toBe('SIGKILL');
    expect(a.ip('addr', 'show', 'eth0')).toContain('10.9.0.1');
    await start();
    await attachPort(engine.link, 2, tap(a.path));
    await attachPort(engine.link, 3, tap(b.path));
    await write(...wire(2, 3), ...wire(3, 2));
    expect(await a.node(udpScript('10.9.0.2', 10))).toBe('10');

    await detachPort(engine.link, 2, true);
    expect(a.ip('link', 'show')).not.toContain('eth0');
  });

  it('are told gone when their namespace is, and the engine sleeps on', async () => {
    const a = await pod(2, '10.9.0.1/24', { persistent: false });
    const b = await pod(3, '10.9.0.2/24');
    const lost = await pod(4, '10.9.0.3/24', { persistent: false });
    await write(...wire(2, 3), ...wire(3, 2));
    await serve(b);
    lost.ip('link', 'delete', 'eth0');
    await waitFor(async () => (await listPorts(engine.link)).find((p) => p.port === 4)!.gone);
    const before = (await engine.client.engineStats()).sleeps;
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect((await engine.client.engineStats()).sleeps - before).toBeLessThan(500n);
    expect(await a.node(udpScript('10.9.0.2', 10))).toBe('10');
    await detachPort(engine.link, 4, false);
    expect((await listPorts(engine.link)).map((p) => p.port)).toEqual([2, 3]);
  });

  it('come and go by the hundred while others carry traffic', async () => {
    const a = await pod(2, '10.9.0.1/24');
    const b = await pod(3, '10.9.0.2/24');
    await write(...wire(2, 3), ...wire(3, 2));
    await serve(b);
    const many = space();
    const transfer = a.node(tcpScript('10.9.0.2', 2_000_000));
    const ports = Array.from({ length: 100 }, (_, i) => 100 + i);
    for (const port of ports) await attachPort(engine.link, port, tap(many.path, { name: `pod${port}` }));
    expect(await listPorts(engine.link)).toHaveLength(102);
    for (const port of ports) await detachPort(engine.link, port, true);
    expect(await listPorts(engine.link)).toHaveLength(2);
    expect(await transfer).toBe('ok');
    expect(many.ip('link', 'show')).not.toContain('pod');
  });

  it.each([
    ['a slot that is not there', 5000, tap(''), /ports 0 to 1023/],
    ['a namespace that is not there', 9, tap('/run/netns/none-of-that-name'), /none-of-that-name/],
    ['a file that is no namespace', 9, tap('/etc/passwd'), /can not be entered/],
    ['a name that is too long', 9, tap('', { name: 'a-name-of-20-letters' }), /can not be the name/],
    [
      'an interface that is not there',
      9,
      { ...tap(''), kind: 'packet', name: 'not-there' } as const,
      /no interface/,
    ],
    [
      'a device that is not there',
      9,
      { ...tap(''), kind: 'device', name: '0000:ff:1f.7' } as const,
      /no device/,
    ],
    ['a VLAN on a TAP', 9, tap('', { vlan: 7 }), /only packet sockets and devices have VLANs/],
    [
      'a VLAN that is none',
      9,
      { ...tap('', { vlan: 4095 }), kind: 'packet' } as const,
      /there are 1 to 4094/,
    ],
    ['an MTU that is too large', 9, tap('', { mtu: 9001 }), /at most 9000/],
  ])('refuse %s', async (_, port, request, words) => {
    await expect(attachPort(engine.link, port, request)).rejects.toThrow(words);
    expect(await listPorts(engine.link)).toEqual([]);
  });
});

async function waitFor(condition: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 100; i++) {
    if (await condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error('it did not come');
}

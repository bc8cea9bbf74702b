/**
 * An uplink on a trunk: the engine's port has a VLAN, and so has everything that the world says and hears. Not every kernel has VLAN
 * interfaces, so at the other end a program puts the tags on and takes them off, between a TAP, which has the world's addresses, and
 * the wire. It leaves checksums open as the kernel gave them, which is what a kernel's VLAN interface does on a veth.
 */
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { EMBEDDED_LINKS, spellMac } from '../../../src/translators/links';
import { modelOf, NODE_IPV4, NODE_IPV6, ruleOf, workloadOf } from '../../support/models';
import { type Bed, BEYOND, FAR, PORTS, setUpFar, startBed } from './bed';
import { describeEngine } from './engine';
import { ECHO, type Namespace, tcpScript, udpScript } from './namespaces';

const VLAN = 100;
const MTU = 9000;
const LINKS = { ...EMBEDDED_LINKS, podMtu: MTU, uplinkMtu: MTU };
const A = { name: 'cali-a', v4: '10.65.0.1', v6: 'fd00::a' } as const;

/** Says `ready`, and a line for each frame from the node that has not the tag. */
const TAGGER = `
import fcntl, os, select, socket, struct
TAG = struct.pack('!HH', 0x8100, ${VLAN})
tap = os.open('/dev/net/tun', os.O_RDWR)
# TAP, without packet information, with a virtio header: checksums may be left open, segments may not.
fcntl.ioctl(tap, 0x400454ca, struct.pack('16sH22x', b'world', 0x0002 | 0x1000 | 0x4000))
fcntl.ioctl(tap, 0x400454d0, 1)
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
for option in (15, 8, 23): wire.setsockopt(263, option, 1)  # virtio header, auxiliary data, no own frames
wire.bind(('eth0', 3))
print('ready', flush=True)
while True:
    for ready in select.select([tap, wire], [], [])[0]:
        if ready is tap:
            data = os.read(tap, 10000)
            head, frame = data[:10], data[10:]
            flags, gso, length, size, start, offset = struct.unpack('<BBHHHH', head)
            if flags & 1: head = struct.pack('<BBHHHH', flags, 0, 0, 0, start + 4, offset)
            else: head = bytes(10)
            wire.send(head + frame[:12] + TAG + frame[12:])
        else:
            data, more, _, _ = wire.recvmsg(10000, 100)
            status, tci, kind = struct.unpack('I12xHH', more[0][2])
            if status & 16 and tci == ${VLAN} and kind == 0x8100: os.write(tap, bytes(10) + data[10:])
            else: print('not on the VLAN:', data[10:].hex(), flush=True)
`;

/** Asks for the node's address in frames with other tags; prints the askers that were answered. */
const ASK = `
import select, socket, struct, time
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 3)
s.bind(('eth0', 3))
def tag(number, kind=0x8100): return struct.pack('!HH', kind, number)
cases = {
    11: tag(${VLAN}), 12: tag(0xa000 | ${VLAN}), 13: b'', 14: tag(0), 15: tag(${VLAN + 1}),
    16: tag(${VLAN}) + tag(${VLAN}), 17: tag(${VLAN}, 0x88a8), 18: tag(${VLAN} | 0x800),
}
mac = bytes.fromhex('020000000001')
for asker, tags in 50 * list(cases.items()):
    sender, target = socket.inet_aton('192.0.2.%d' % asker), socket.inet_aton('${NODE_IPV4}')
    s.send(b'\\xff' * 6 + mac + tags + struct.pack('!HHHBBH', 0x806, 1, 0x800, 6, 4, 1) + mac + sender + bytes(6) + target)
answered = set()
end = time.time() + 1
while select.select([s], [], [], max(0, end - time.time()))[0]:
    frame = s.recv(2000)
    if frame[12:14] == b'\\x08\\x06' and frame[20:22] == b'\\0\\2': answered.add(frame[41])
print(sorted(answered))
`;

describeEngine('an uplink on a VLAN', { root: true }, () => {
  const servers: ChildProcess[] = [];
  const astray: string[] = [];
  let bed: Bed;
  let [a, host, far]: Namespace[] = [];

  beforeAll(async () => {
    bed = await startBed(LINKS);
    const allow = [ruleOf({ action: 'allow' })];
    await bed.program(
      modelOf({
        config: { DefaultEndpointToHostAction: 'Accept' },
        profiles: [{ name: 'open', inboundRules: allow, outboundRules: allow }],
        workloads: [
          workloadOf({
            name: A.name,
            ipv4Nets: [`${A.v4}/32`],
            ipv6Nets: [`${A.v6}/128`],
            profileIds: ['open'],
          }),
        ],
      }),
    );
    a = await bed.addPod(A);
    host = await bed.addHost();
    far = (await bed.addUplink({ vlan: VLAN, mtu: MTU })).far;
    far.sysctl('ipv6/conf/eth0/disable_ipv6', 1);
    far.ip('link', 'set', 'eth0', 'mtu', String(MTU), 'up');
    const tagger = await far.servePython(TAGGER);
    bed.atEnd(() => void tagger.kill('SIGKILL'));
    createInterface(tagger.stdout!).on('line', (line) => {
      // The rest of `ready` may still come.
      if (line !== '') astray.push(line);
    });
    far.ip('link', 'set', 'world', 'address', spellMac(LINKS.nextHopMac!), 'mtu', String(MTU), 'up');
    setUpFar(far, 'world');
    for (const space of [a, host, far]) servers.push(await space.serve(ECHO));
  }, 60_000);

  afterAll(async () => {
    for (const running of servers) running.kill('SIGKILL');
    await bed.stop();
  });
  afterEach(() => {
    expect(astray).toEqual([]);
  });

  const ping = (from: Namespace, to: string, ...more: readonly string[]): Promise<string> =>
    from.run('ping', '-n', '-c', '1', '-W', '3', ...more, to);
  const ANSWERED = ', 0% packet loss';

  it('pods, host and the world reach each other, and find each other by ARP and neighbour discovery', async () => {
    for (const from of [a!, host!])
      for (const to of [FAR.v4, FAR.v6, BEYOND]) expect(await ping(from, to)).toContain(ANSWERED);
    for (const to of [A.v4, A.v6, NODE_IPV4, NODE_IPV6]) expect(await ping(far!, to)).toContain(ANSWERED);
    expect(far!.ip('neigh')).toMatch(/^192\.0\.2\.1 dev world lladdr 02:00:00:00:00:02/m);
    const port = (await bed.engine.ports()).find((one) => one.port === PORTS.uplink)!;
    expect(port).toMatchObject({ kind: 'packet', vlan: VLAN, gone: false });
  });

  it('TCP and UDP, in both directions, in frames of up to 9000 bytes: checksums are right', async () => {
    for (const to of [FAR.v4, FAR.v6]) expect(await a!.node(tcpScript(to, 2_000_000))).toBe('ok');
    for (const to of [A.v4, A.v6, NODE_IPV4]) expect(await far!.node(tcpScript(to, 2_000_000))).toBe('ok');
    for (const bytes of [1, 100, 8972]) {
      expect(await a!.node(udpScript(FAR.v4, bytes))).toBe(String(bytes));
      expect(await far!.node(udpScript(A.v4, bytes))).toBe(String(bytes));
    }
    expect(await ping(a!, FAR.v4, '-M', 'do', '-s', '8972')).toContain(ANSWERED);
    expect(await ping(far!, A.v6, '-M', 'do', '-s', '8952')).toContain(ANSWERED);
  });

  it('packets in fragments', async () => {
    expect(await ping(a!, FAR.v4, '-s', '40000')).toContain(ANSWERED);
    expect(await ping(far!, A.v6, '-s', '40000')).toContain(ANSWERED);
  });

  it('frames without the tag, with another one, or with two are nothing to the node', async () => {
    const received = async (): Promise<bigint> =>
      (await bed.engine.ports()).find((one) => one.port === PORTS.uplink)!.counters.rxPackets;
    const before = await received();
    // 11 has the tag, 12 has it with a priority. 16, with two tags, comes in, and is not understood. The rest does not come in.
    expect(await far!.pythonOutput(ASK)).toBe('[11, 12]');
    const came = (await received()) - before;
    expect(came).toBeGreaterThanOrEqual(3n * 50n);
    expect(came).toBeLessThan(4n * 50n);
  });
});

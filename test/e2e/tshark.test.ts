/**
 * What the program sends into tunnels, read by somebody else's dissector: no warning, nothing malformed, and the packet within is the one
 * that went in. Skipped where tshark is not installed (apt-get install tshark).
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { buildFrame } from '../../src/packet/build';
import { makePacket } from '../../src/packet/describe';
import { NODE, PEER, PORTS, tunnelNode, VNI } from '../support/tunnels';

const hasTshark = spawnSync('tshark', ['--version']).status === 0;
if (!hasTshark) console.warn('skipped: tshark is not installed (apt-get install tshark)');
const describeTshark = hasTshark ? describe : describe.skip;

const LINKTYPE_ETHERNET = 1;

function capture(frames: readonly Uint8Array[]): Buffer {
  const header = Buffer.alloc(24);
  header.writeUInt32LE(0xa1b2c3d4, 0);
  header.writeUInt16LE(2, 4);
  header.writeUInt16LE(4, 6);
  header.writeUInt32LE(65535, 16);
  header.writeUInt32LE(LINKTYPE_ETHERNET, 20);
  const records = frames.flatMap((frame, i) => {
    const record = Buffer.alloc(16);
    record.writeUInt32LE(1_700_000_000 + i, 0);
    record.writeUInt32LE(frame.length, 8);
    record.writeUInt32LE(frame.length, 12);
    return [record, frame];
  });
  return Buffer.concat([header, ...records]);
}

// Ports that no dissector takes for anything.
const PORTS_OF = { sport: 45001, dport: 45002, payload: 33 };
const V4 = { src: '10.65.1.10', dst: '10.65.2.5', ...PORTS_OF };
const V6 = { src: 'fd00:65::10', dst: 'fd00:65:2::5', ...PORTS_OF };
const SENT = [
  ...['tcp', 'udp', 'icmp'].map((proto) => ({ ...V4, proto })),
  { ...V4, proto: 'sctp', payload: 0 },
  ...['tcp', 'udp', 'icmpv6'].map((proto) => ({ ...V6, proto })),
  ...['tcp', 'udp', 'icmp'].map((proto) => ({ ...V4, dst: '10.66.2.5', proto })),
  { ...V4, proto: 'udp', payload: 1400 },
  { ...V6, proto: 'udp', payload: 1301 },
];

describeTshark('tshark reads what goes into tunnels', () => {
  let folder: string;
  let file: string;

  beforeAll(() => {
    const node = tunnelNode();
    const frames = SENT.map((fields) => {
      const { out } = node.process(PORTS.pod, buildFrame(makePacket(fields), { dstMac: NODE.gateway }));
      expect(out).toHaveLength(1);
      return out[0]!.frame;
    });
    folder = mkdtempSync(path.join(tmpdir(), 'tshark-'));
    file = path.join(folder, 'out.pcap');
    writeFileSync(file, capture(frames));
  });
  afterAll(() => {
    rmSync(folder, { recursive: true });
  });

  const CHECKS = ['ip', 'udp', 'tcp'].flatMap((what) => ['-o', `${what}.check_checksum:TRUE`]);
  const tshark = (...args: readonly string[]): readonly string[] =>
    execFileSync('tshark', ['-n', '-r', file, ...CHECKS, ...args], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    })
      .split('\n')
      .filter((line) => line !== '');

  it('without a warning', () => {
    const bad = '_ws.malformed or _ws.expert.severity >= 0x600000';
    expect(tshark('-Y', bad, '-V')).toEqual([]);
  });

  it('would warn of a wrong checksum, and of a packet cut short', () => {
    const node = tunnelNode();
    const { out } = node.process(PORTS.pod, buildFrame(makePacket(SENT[5]!), { dstMac: NODE.gateway }));
    const broken = Buffer.from(out[0]!.frame);
    broken.writeUInt16BE(broken.readUInt16BE(60) ^ 1, 60);
    const other = path.join(folder, 'broken.pcap');
    writeFileSync(other, capture([broken]));
    const seen = execFileSync(
      'tshark',
      [
        '-n',
        '-r',
        other,
        ...CHECKS,
        '-Y',
        '_ws.expert.severity >= 0x600000',
        '-T',
        'fields',
        '-e',
        'frame.number',
      ],
      { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] },
    );
    expect(seen.trim()).toBe('1');
  });

  it('and sees the packet that went in', () => {
    const fields = ['frame.protocols', 'ip.src', 'ip.dst', 'ipv6.src', 'ipv6.dst', 'vxlan.vni'].flatMap(
      (f) => ['-e', f],
    );
    const read = tshark('-T', 'fields', '-E', 'separator=|', ...fields).map((line) => line.split('|'));
    expect(read).toHaveLength(SENT.length);
    SENT.forEach(({ src, dst, proto }, i) => {
      const [protocols, src4, dst4, src6, dst6, vni] = read[i]!;
      const v6 = src.includes(':');
      const ipip = dst.startsWith('10.66.');
      expect(protocols).toMatch(ipip ? /^eth:ethertype:ip:ip:/ : /:udp:vxlan:eth:ethertype:ip/);
      expect(protocols).toContain(`:${proto}`);
      expect(v6 ? src6 : src4).toBe(`${v6 ? NODE.v6 : NODE.v4},${src}`);
      expect(v6 ? dst6 : dst4).toBe(`${v6 ? PEER.v6 : PEER.v4},${dst}`);
      expect(vni).toBe(ipip ? '' : String(VNI));
    });
  });
});

import type { CalicoP4Error } from '../../../src/errors';
import { formatPacket, makePacket, parsePacketFile } from '../../../src/packet/describe';

const TCP = {
  id: 'a',
  from: 'cali1',
  src: '10.0.0.1',
  dst: '10.0.0.2',
  proto: 'tcp',
  sport: 40000,
  dport: 80,
};

function refusal(line: unknown): string {
  const text = typeof line === 'string' ? line : JSON.stringify(line);
  try {
    parsePacketFile(`\n# a comment\n${text}\n`);
  } catch (error) {
    expect((error as CalicoP4Error).code).toBe('USAGE');
    return (error as Error).message;
  }
  throw new Error(`accepted: ${text}`);
}

test('a line has defaults: a TCP packet is a SYN', () => {
  const [line] = parsePacketFile(JSON.stringify(TCP));
  expect(line).toEqual({
    id: 'a',
    from: 'cali1',
    packet: {
      src: '10.0.0.1',
      dst: '10.0.0.2',
      proto: 6,
      sport: 40000,
      dport: 80,
      icmpType: 0,
      icmpCode: 0,
      icmpId: 0,
      tcpFlags: 2,
      sctpChunk: 0,
      ttl: 64,
      payloadLength: 0,
    },
  });
});

test.each([
  ['S', 0x02],
  ['SA', 0x12],
  ['A', 0x10],
  ['FA', 0x11],
  ['R', 0x04],
  ['', 0],
  [0x18, 0x18],
])('TCP flags %j are %d', (tcpFlags, bits) => {
  expect(makePacket({ ...TCP, tcpFlags }).tcpFlags).toBe(bits);
});

test.each([
  ['tcp', 6],
  ['UDP', 17],
  ['icmpv6', 58],
  ['sctp', 132],
  ['253', 253],
  [253, 253],
])('protocol %j is %d', (proto, number) => {
  expect(makePacket({ ...TCP, proto }).proto).toBe(number);
});

test('SCTP starts with INIT, ICMP with an echo request', () => {
  expect(makePacket({ ...TCP, proto: 'sctp' })).toMatchObject({ sctpChunk: 1, tcpFlags: 0 });
  expect(makePacket({ ...TCP, proto: 'sctp', sctpChunk: 'init-ack' })).toMatchObject({ sctpChunk: 2 });
  expect(makePacket({ ...TCP, proto: 'icmp' })).toMatchObject({ icmpType: 8, icmpId: 1, sport: 0, dport: 0 });
  expect(makePacket({ ...TCP, src: 'fd00::1', dst: 'FD00:0::2', proto: 58 })).toMatchObject({
    icmpType: 128,
    dst: 'fd00::2',
  });
});

test('a null is a key that is not there, and an id may be a number', () => {
  const [line] = parsePacketFile(
    JSON.stringify({ ...TCP, id: 7, icmpType: null, tcpFlags: null, fragment: null }),
  );
  expect(line).toMatchObject({ id: 7, packet: { tcpFlags: 2 } });
});

test('a later fragment has no transport header', () => {
  const packet = makePacket({ ...TCP, fragment: { id: 9, offset: 1480 }, payload: 100 });
  expect(packet).toMatchObject({
    sport: 0,
    dport: 0,
    tcpFlags: 0,
    payloadLength: 100,
    fragment: { id: 9, offset: 1480, more: false },
  });
});

test.each([
  [{ ...TCP, dprt: 1 }, 'line 3: unknown key "dprt"'],
  [{ ...TCP, fragment: { ofset: 8 } }, 'unknown key "fragment.ofset"; known are id, offset, more'],
  [{ ...TCP, sport: 65536 }, 'line 3: key "sport"'],
  [{ ...TCP, dport: '80' }, 'line 3: key "dport"'],
  [{ ...TCP, src: '10.0.0.256' }, 'line 3: key "src": "10.0.0.256" is no IP address'],
  [{ ...TCP, src: '10.1' }, 'line 3: key "src"'],
  [{ ...TCP, src: 'fd00::1' }, 'different IP versions'],
  [{ ...TCP, proto: 'tpc' }, 'line 3: key "proto": "tpc" is no protocol'],
  [{ ...TCP, proto: 256 }, 'line 3: key "proto"'],
  [{ ...TCP, tcpFlags: 'SX' }, 'line 3: key "tcpFlags"'],
  [{ ...TCP, from: undefined }, 'line 3: key "from"'],
  [{ ...TCP, fragment: { offset: 4 } }, 'line 3: key "fragment.offset"'],
  [{ ...TCP, fragment: { id: 70000, more: true } }, 'IPv4 has 16 bits'],
  [{ ...TCP, fragment: {} }, 'no fragment'],
  [{ ...TCP, inner: TCP }, 'line 3: unknown key "inner.id", "inner.from"'],
  ['{"id":', 'line 3: not JSON'],
  ['[]', 'line 3: '],
])('refuses %j', (line, message) => {
  expect(refusal(line)).toContain(message);
});

test('only an ICMP error carries a packet', () => {
  const inner = { src: '10.0.0.2', dst: '10.0.0.1', proto: 'udp', sport: 53, dport: 4000 };
  const error = {
    id: 'e',
    from: 'uplink',
    src: '10.0.0.9',
    dst: '10.0.0.2',
    proto: 'icmp',
    icmpType: 3,
    icmpCode: 3,
  };
  expect(makePacket({ ...error, inner }).inner).toMatchObject({ proto: 17, sport: 53 });
  expect(refusal({ ...error, icmpType: 8, inner })).toContain('only ICMP errors');
  expect(refusal({ ...error, inner: { ...inner, src: 'fd00::1' } })).toContain('IP version');
});

test('a packet is one readable line', () => {
  expect(formatPacket(makePacket(TCP))).toBe('10.0.0.1:40000 > 10.0.0.2:80 tcp S');
  expect(formatPacket(makePacket({ src: 'fd00::1', dst: 'fd00::2', proto: 'udp', sport: 1, dport: 2 }))).toBe(
    '[fd00::1]:1 > [fd00::2]:2 udp',
  );
  expect(formatPacket(makePacket({ src: '10.0.0.1', dst: '10.0.0.2', proto: 253 }))).toBe(
    '10.0.0.1 > 10.0.0.2 proto 253',
  );
  expect(formatPacket(makePacket({ ...TCP, fragment: { id: 9, offset: 1480, more: true } }))).toBe(
    '10.0.0.1 > 10.0.0.2 tcp fragment 9 at 1480 more',
  );
});

import fc from 'fast-check';
import { buildFrame } from '../../../src/packet/build';
import { crc32c, internetChecksum } from '../../../src/packet/checksum';
import { makePacket } from '../../../src/packet/describe';
import type { Packet } from '../../../src/packet/packet';
import { parseFrame } from '../../../src/packet/parse';

const ipv4 = fc.ipV4();
// Any IPv6 address, in the spelling that packets have.
const ipv6 = fc.tuple(...Array.from({ length: 8 }, () => fc.integer({ min: 0, max: 0xffff })));

function addresses(v6: boolean): fc.Arbitrary<{ readonly src: string; readonly dst: string }> {
  const one = v6 ? ipv6.map((groups) => groups.map((g) => g.toString(16)).join(':')) : ipv4;
  return fc.record({ src: one, dst: one });
}

const transport = fc.record({
  proto: fc.oneof(fc.constantFrom(1, 6, 17, 58, 132, 136), fc.integer({ min: 0, max: 255 })),
  sport: fc.integer({ min: 0, max: 65535 }),
  dport: fc.integer({ min: 0, max: 65535 }),
  icmpType: fc.integer({ min: 0, max: 255 }),
  icmpCode: fc.integer({ min: 0, max: 255 }),
  icmpId: fc.integer({ min: 0, max: 65535 }),
  tcpFlags: fc.integer({ min: 0, max: 255 }),
  sctpChunk: fc.integer({ min: 0, max: 255 }),
  ttl: fc.integer({ min: 0, max: 255 }),
  payload: fc.integer({ min: 0, max: 100 }),
});

const packet: fc.Arbitrary<Packet> = fc
  .boolean()
  .chain((v6) =>
    fc.record({
      base: fc.tuple(addresses(v6), transport),
      fragment: fc.option(
        fc.record({
          id: fc.integer({ min: 0, max: v6 ? 0xffffffff : 0xffff }),
          offset: fc.integer({ min: v6 ? 0 : 1, max: 8191 }).map((n) => n * 8),
          more: fc.boolean(),
        }),
      ),
      inner: fc.option(fc.tuple(addresses(v6), transport)),
      v6: fc.constant(v6),
    }),
  )
  // IPv6 has no such protocol, only the header.
  .filter(({ base, inner, v6 }) => !(v6 && (base[1].proto === 44 || inner?.[1].proto === 44)))
  .map(({ base, fragment, inner, v6 }) => {
    const fields = { ...base[0], ...base[1] };
    if (inner !== null && (v6 ? fields.proto === 58 : fields.proto === 1)) {
      const quoted = { ...inner[0], ...inner[1] };
      return makePacket({ ...fields, icmpType: 3, payload: 0, inner: quoted });
    }
    return makePacket({ ...fields, fragment });
  })
  // What an error's payload looks like is for the test below.
  .filter((p) => p.inner !== undefined || ![1, 58].includes(p.proto) || p.payloadLength === 0);

test('a frame read back is the packet it was built from', () => {
  fc.assert(
    fc.property(packet, (p) => {
      const parsed = parseFrame(buildFrame(p));
      expect(parsed).toEqual({
        kind: 'ip',
        dstMac: '02:00:00:00:00:02',
        srcMac: '02:00:00:00:00:01',
        packet: p,
        checksumsOk: true,
      });
    }),
    { numRuns: 1000 },
  );
});

test('a changed byte of the IP header or behind it shows in a checksum', () => {
  const frame = buildFrame(
    makePacket({ src: '10.0.0.1', dst: '10.0.0.2', proto: 'sctp', sport: 1, dport: 2, payload: 8 }),
  );
  for (let index = 22; index < frame.length; index++) {
    const broken = Uint8Array.from(frame);
    broken[index]! ^= 0x40;
    const parsed = parseFrame(broken);
    expect(parsed.kind === 'ip' && parsed.checksumsOk).toBe(false);
  }
});

test('checksums are those of the standards', () => {
  expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283);
  // RFC 1071, section 3.
  expect(internetChecksum(Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7))).toBe(
    0xffff - 0xddf2,
  );
});

test('bytes on the wire', () => {
  const hex = (fields: Record<string, unknown>): string =>
    Buffer.from(buildFrame(makePacket(fields))).toString('hex');
  const eth4 = '020000000002' + '020000000001' + '0800';
  const eth6 = '020000000002' + '020000000001' + '86dd';
  // Checksums of these frames were computed by another implementation.
  expect(hex({ src: '10.0.0.1', dst: '10.0.0.2', proto: 'tcp', sport: 40000, dport: 80 })).toBe(
    eth4 +
      '45000028000040004006' +
      '26ce' +
      '0a0000010a000002' +
      '9c400050000003e8000000005002faf0' +
      '0077' +
      '0000',
  );
  expect(hex({ src: 'fd00::1', dst: 'fd00::2', proto: 'udp', sport: 53, dport: 4000, payload: 3 })).toBe(
    eth6 +
      '60000000000b1140' +
      'fd000000000000000000000000000001' +
      'fd000000000000000000000000000002' +
      '00350fa0000b' +
      'f3fd' +
      '000102',
  );
  expect(hex({ src: 'fd00::1', dst: 'fd00::2', proto: 'icmpv6', icmpId: 7 })).toBe(
    eth6 +
      '6000000000083a40' +
      'fd000000000000000000000000000001' +
      'fd000000000000000000000000000002' +
      '8000' +
      '85b1' +
      '00070000',
  );
});

test('a quoted packet that is cut short is payload', () => {
  const whole = buildFrame(
    makePacket({
      src: '10.0.0.9',
      dst: '10.0.0.1',
      proto: 'icmp',
      icmpType: 3,
      inner: { src: '10.0.0.1', dst: '10.0.0.9', proto: 'tcp', sport: 1, dport: 2 },
    }),
  );
  const cut = Uint8Array.from(whole.subarray(0, whole.length - 12));
  new DataView(cut.buffer).setUint16(16, cut.length - 14);
  expect(parseFrame(cut)).toMatchObject({
    kind: 'ip',
    checksumsOk: false,
    packet: { proto: 1, icmpType: 3, payloadLength: 28 },
  });
});

test('bytes that are no packet are named, never thrown', () => {
  expect(parseFrame(new Uint8Array(5))).toMatchObject({ kind: 'malformed' });
  expect(parseFrame(Buffer.from('ffffffffffff0200000000010806', 'hex'))).toMatchObject({
    kind: 'other',
    etherType: 0x0806,
  });
  fc.assert(
    fc.property(fc.constantFrom('0800', '86dd'), fc.uint8Array({ maxLength: 90 }), (etherType, rest) => {
      const frame = Buffer.concat([Buffer.from(`020000000002020000000001${etherType}`, 'hex'), rest]);
      expect(['ip', 'malformed']).toContain(parseFrame(frame).kind);
    }),
  );
  const whole = buildFrame(makePacket({ src: '10.0.0.1', dst: '10.0.0.2', proto: 'tcp' }));
  for (let length = 14; length < whole.length; length++) {
    expect(parseFrame(whole.subarray(0, length)).kind).toBe('malformed');
  }
});

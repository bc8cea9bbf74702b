/**
 * Any bytes on any port of the real pipeline with a real policy: no exception, and nothing gets out that could not be read or that
 * the reference evaluator denies.
 */
import fs from 'node:fs';
import path from 'node:path';
import fc from 'fast-check';
import { createFelixSession } from '../../src/driver/felix/felix-session';
import type { FelixModel } from '../../src/model/model';
import { buildFrame } from '../../src/packet/build';
import { makePacket } from '../../src/packet/describe';
import { isLaterFragment, PROTO } from '../../src/packet/packet';
import { parseFrame } from '../../src/packet/parse';
import { evaluateNode } from '../../src/translators/policy/reference';
import { nodeMac } from '../support/frames';
import { UPLINK } from '../support/models';
import { PORTS, startEmbeddedNode, type EmbeddedNode } from '../e2e/support/embedded-node';
import { fuzz, timeoutOf } from './support/budget';

/** Longer than any connection lives. */
const ONE_DAY = 86_400;

let embedded: EmbeddedNode;
let model: FelixModel;
beforeAll(async () => {
  const session = createFelixSession();
  session.push(
    fs.readFileSync(path.join(__dirname, '../recordings/02-policy.bin')),
    () => session.model.inSync,
  );
  model = session.model;
  embedded = await startEmbeddedNode();
  await embedded.node.program(model);
});
afterAll(async () => {
  await embedded.stop();
});

/** Addresses that the policy speaks of, and some that it does not. */
function addressesOf({ workloads, ipSets, hosts }: FelixModel): readonly string[] {
  const plain = (text: string): string => text.split(/[/,]/)[0]!;
  return [
    ...[...workloads.values()].flatMap((w) => [...w.ipv4Nets, ...w.ipv6Nets].map(plain)),
    ...[...ipSets.values()].flatMap((set) => [...set.members].slice(0, 3).map(plain)),
    ...[...hosts.values()].flatMap((host) =>
      [host.ipv4Addr, host.ipv6Addr].filter((a) => a !== '').map(plain),
    ),
    '192.0.2.77',
    '2001:db8:77::1',
  ];
}

/** A frame that could be real; `at` numbers are taken modulo what there is. */
const realFrame = fc
  .record({
    src: fc.nat(),
    dst: fc.nat(),
    proto: fc.constantFrom(...Object.values(PROTO), 4, 47, 50),
    sport: fc.constantFrom(1024, 53, 40_000),
    dport: fc.constantFrom(80, 443, 53, 8080, 4789, 5432, 6379),
    tcpFlags: fc.constantFrom(2, 16, 18, 4, 0, 255),
    icmpType: fc.constantFrom(8, 0, 3, 11, 128, 129, 1),
    payload: fc.constantFrom(0, 1, 40),
    fragment: fc.option(fc.record({ id: fc.nat(5), offset: fc.constantFrom(0, 8, 64), more: fc.boolean() }), {
      freq: 8,
    }),
    quote: fc.boolean(),
  })
  .map(({ src, dst, quote, fragment, ...fields }) => {
    const all = addressesOf(model);
    const from = all[src % all.length]!;
    const family = all.filter((a) => a.includes(':') === from.includes(':'));
    const to = family[dst % family.length]!;
    const { payload, ...rest } = fields;
    const isError =
      (fields.proto === 1 && [3, 11].includes(fields.icmpType)) ||
      (fields.proto === 58 && fields.icmpType === 1);
    const inner = { src: to, dst: from, proto: 6, sport: 80, dport: 40_000 };
    try {
      return buildFrame(
        makePacket({
          src: from,
          dst: to,
          ...rest,
          ...(isError && quote ? { inner } : { payload, ...(fragment === null ? {} : { fragment }) }),
        }),
      );
    } catch {
      // A combination that is no packet: an IPv6 header as payload of itself, say.
      return buildFrame(makePacket({ src: from, dst: to, proto: 17 }));
    }
  });

const change = fc.record({
  kind: fc.constantFrom('byte', 'bit', 'cut', 'longer', 'insert', 'remove'),
  at: fc.nat(90),
  value: fc.nat(255),
});

function changed(
  frame: Uint8Array,
  changes: readonly { kind: string; at: number; value: number }[],
): Uint8Array {
  let out = Uint8Array.from(frame);
  for (const { kind, at: where, value } of changes) {
    const at = out.length === 0 ? 0 : where % out.length;
    switch (kind) {
      case 'byte':
        out[at] = value;
        break;
      case 'bit':
        out[at]! ^= 1 << (value % 8);
        break;
      case 'cut':
        out = out.slice(0, at);
        break;
      case 'longer':
        out = Uint8Array.from([...out, ...new Uint8Array(value).fill(value)]);
        break;
      case 'insert':
        out = Uint8Array.from([...out.slice(0, at), ...new Uint8Array(4).fill(value), ...out.slice(at)]);
        break;
      case 'remove':
        out = Uint8Array.from([...out.slice(0, at), ...out.slice(at + 4)]);
        break;
    }
  }
  return out;
}

const anyFrame = fc.oneof(
  { weight: 4, arbitrary: realFrame },
  {
    weight: 6,
    arbitrary: fc
      .tuple(realFrame, fc.array(change, { minLength: 1, maxLength: 3 }))
      .map(([f, c]) => changed(f, c)),
  },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 200 }) },
  {
    weight: 1,
    arbitrary: fc
      .uint8Array({ maxLength: 120 })
      .map((rest) => Uint8Array.from([...Array<number>(12).fill(2), 8, 0, 0x45, ...rest])),
  },
);

/**
 * The program can not see how long a frame is (SWX has no such field, docs/guarantees.md): one that is cut short is judged by what lies
 * behind it, here zeros, and a receiver throws it away for its length.
 */
function whole(frame: Uint8Array): Uint8Array {
  const padded = Buffer.alloc(Math.max(frame.length, 54));
  padded.set(frame);
  const version = padded.readUInt16BE(12);
  const length =
    version === 0x0800 ? padded.readUInt16BE(16) : version === 0x86dd ? 40 + padded.readUInt16BE(18) : 0;
  return Buffer.concat([padded, Buffer.alloc(Math.max(0, 14 + length - padded.length))]);
}

/** Mostly addressed to the node: otherwise little of the pipeline would be seen. */
function addressed(port: number, frame: Uint8Array): Uint8Array {
  if (frame.length < 14 || frame[0] !== 2) return frame;
  const out = Uint8Array.from(frame);
  out.set(
    nodeMac(port)
      .split(':')
      .map((byte) => parseInt(byte, 16)),
  );
  return out;
}

function isOver(frame: Uint8Array): boolean {
  const parsed = parseFrame(whole(frame));
  return parsed.kind === 'ip' && parsed.packet.ttl < 2;
}

/** Why the first packet of its connection must not get out; undefined when it may. */
function mustDrop(from: string, frame: Uint8Array): string | undefined {
  const parsed = parseFrame(whole(frame));
  if (parsed.kind !== 'ip') return parsed.kind === 'other' ? 'not IP' : parsed.reason;
  if (isLaterFragment(parsed.packet)) return 'a fragment without its first';
  const { verdict, stage, decidedBy } = evaluateNode(model, from, parsed.packet, UPLINK);
  return verdict === 'deny' ? `${stage}: ${decidedBy.kind}` : undefined;
}

/** Where a frame with this source belongs. */
function portOfSource(
  frame: Uint8Array,
  ports: readonly (readonly [number, string])[],
): readonly [number, string] {
  const parsed = parseFrame(whole(frame));
  const src = parsed.kind === 'ip' ? parsed.packet.src : '';
  const owner = [...model.workloads.values()].find((w) =>
    [...w.ipv4Nets, ...w.ipv6Nets].some((net) => net.split('/')[0] === src),
  );
  return ports.find(([, name]) => name === (owner?.name ?? 'uplink'))!;
}

test(
  'what can not be read, or is denied, does not get out',
  async () => {
    let passed = 0;
    let dropped = 0;
    const sends = fc.array(fc.tuple(fc.nat(), anyFrame), { minLength: 1, maxLength: 20 });
    const property = fc.property(sends, (frames) => {
      const ports = [...embedded.node.names.ports];
      for (const [which, frame] of frames) {
        embedded.advance(ONE_DAY);
        const [port, from] = which % 4 === 0 ? ports[which % ports.length]! : portOfSource(frame, ports);
        const { out } = embedded.engine.process(port, addressed(port, frame), false);
        const reason = mustDrop(from, frame);
        // The host makes an ICMP error of a packet whose time is over, whatever policy says of it.
        if (
          /^(egress|ingress|untracked-in|pre-dnat|forward-in|forward-out|a fragment)/.test(reason ?? '') &&
          isOver(frame) &&
          out[0]?.port === PORTS.host
        )
          continue;
        if (reason !== undefined && out.length > 0) {
          throw new Error(`from ${from} got out although ${reason}: ${Buffer.from(frame).toString('hex')}`);
        }
        if (out.length > 0) passed++;
        else dropped++;
      }
    });
    await fuzz('packets', 300, property);
    expect(passed).toBeGreaterThan(10);
    expect(dropped).toBeGreaterThan(50);
  },
  timeoutOf('packets'),
);

test(
  'many packets in a row: no exception, bounded tables, and what can not be read never gets out',
  async () => {
    const property = fc.property(fc.array(fc.tuple(fc.nat(), anyFrame), { maxLength: 60 }), (frames) => {
      for (const [which, frame] of frames) {
        const { out } = embedded.engine.process(which % 12, addressed(which % 12, frame), true);
        const arp = frame[12] === 8 && frame[13] === 6;
        if (out.length > 0 && !arp) expect(parseFrame(whole(frame)).kind).toBe('ip');
        for (const { port } of out) expect(embedded.node.names.ports.has(port)).toBe(true);
      }
    });
    await fuzz('packet sequences', 100, property);
  },
  timeoutOf('packet sequences'),
);

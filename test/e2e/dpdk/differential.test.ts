/**
 * The embedded switch stands in for P4-DPDK in every other test. This one holds it against the real engine: the pipeline
 * builds on DPDK, and random rows and packets get the same verdicts, the same bytes and the same counts on both. That the
 * program matches nothing left over from an earlier packet shows twice: DPDK spreads the packets over sixteen threads, each
 * with its own leftovers, while the interpreter has one; and leftovers that are garbage change nothing.
 *
 * Not covered: lifetimes of learned entries (the packets of a run take milliseconds).
 */
import { SEED } from '../../seed';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { buildFrame } from '../../../src/packet/build';
import { spellMac } from '../../../src/translators/links';
import { makePacket } from '../../../src/packet/describe';
import { decapsulate } from '../../../src/packet/tunnel';
import type { TraceStep } from '../../../src/p4switch/engine';
import { icmpv6IsRight, ipv4HeaderIsRight, transportIsRight } from '../../support/checksums';
import { createInterpreter } from '../../../src/p4switch/interpreter/interpreter';
import type { Spec } from '../../../src/p4switch/spec/ast';
import { parseSpec } from '../../../src/p4switch/spec/parser';
import { KINDS, randomPacket, type Injected, type Kind, type Passed } from './packets';
import { poisoned } from './poison';
import { seededRandom, type Random } from './random';
import { MACS, namedIn, OUTCOMES, PORT, randomRows, rowsTellingApart } from './rows';
import {
  SWX_PORTS,
  buildSwxCheck,
  entryCommand,
  packetCommand,
  registerCommand,
  repoRoot,
  runSwxCheck,
} from './swx-check';
import { type TableRow } from '../../support/table-rows';

const specPath = path.join(repoRoot, 'pipelines', 'p4-dpdk', 'calico.spec');
const specText = fs.readFileSync(specPath, 'utf8');
const spec = parseSpec(specText);

/** All but 26: what is over a limit hangs on the time. */
const REASONS = [...Array.from({ length: 25 }, (_, i) => i + 1), 27, 28];
const ANSWERED = 23;
const [outcomes, reasons] = ['outcomes', 'reasons'].map((name) =>
  [...spec.regarrays.keys()].find((array) => array.startsWith(name))!,
) as [string, string];

beforeAll(() => {
  buildSwxCheck();
}, 300_000);

describe('DPDK takes the pipeline', () => {
  it('parses and builds calico.spec', () => {
    expect(runSwxCheck(specPath, [])).toEqual({ status: 0, answers: [], stderr: '' });
  });

  it.each([
    ['an unknown field', 'mov h.walk.page t.page', 'mov h.walk.pages t.page'],
    ['an unknown jump target', 'jmp MAINPARSER_ACCEPT', 'jmp NOWHERE'],
    ['a table without its key', '\tkey {\n\t\tm.local_metadata_source exact', '\tkey {\n\t\tm.nothing exact'],
  ])('refuses a spec with %s', (_, right, wrong) => {
    expect(specText).toContain(right);
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'swx-'));
    try {
      const broken = path.join(directory, 'broken.spec');
      fs.writeFileSync(broken, specText.replace(right, wrong));
      const run = runSwxCheck(broken, []);
      expect(run.stderr).toContain('DPDK refuses it');
      expect(run.status).toBe(1);
    } finally {
      fs.rmSync(directory, { recursive: true });
    }
  });
});

describe('DPDK matches keys of 68 bytes', () => {
  const SYN = 0x02;
  const send = (src: string): string =>
    packetCommand(
      PORT.uplink,
      buildFrame(makePacket({ src, dst: '10.0.0.1', proto: 'tcp', sport: 40000, dport: 80, tcpFlags: SYN }), {
        dstMac: spellMac(MACS.uplink),
      }),
    );

  // The node and w0 to w7 in network order: bits 448 to 479 lie behind the 64th byte.
  it.each([0, 63, 64, 200, 320, 447, 448, 479, 480, 511])('that differ in bit %d of the labels', (at) => {
    const run = runSwxCheck(specPath, [
      ...rowsTellingApart(at)
        .map((row) => namedIn(spec, row))
        .map(({ table, entry }) => entryCommand(spec, table, entry)),
      send('8.8.8.8'),
      send('172.16.5.5'),
      ...[1, 2].map((index) => registerCommand(outcomes, index)),
    ]);
    expect(run).toMatchObject({ status: 0, stderr: '' });
    expect(run.answers.map((answer) => answer.slice(0, 4))).toEqual([
      `${PORT.podA} ${run.answers[0]!.slice(2, 4)}`,
      'drop',
      '1',
      '1',
    ]);
  });
});

/** Three fixed ones and a new one. */
const SEEDS = [1, 2, 3, SEED];

describe('the interpreter agrees with DPDK', () => {
  it.each(SEEDS)('rows and packets of seed %d', (seed) => {
    const { rows, steps, counters } = interpretedSeed(seed);

    const run = runSwxCheck(specPath, [
      ...rows.map(({ table, entry }) => entryCommand(spec, table, entry)),
      ...steps.flatMap((step) => step.commands),
      ...counters.map(({ name, index }) => registerCommand(name, index)),
    ]);
    expect(run).toMatchObject({ status: 0, stderr: '' });

    // Two answers a packet: where it went, and the counter of the reason.
    const differing = steps
      .map((step, i) => ({ ...step, dpdk: run.answers.slice(2 * i, 2 * i + 2) }))
      .filter(({ expected, dpdk }) => dpdk.join() !== expected.join());
    expect(differing.slice(0, 3)).toEqual([]);
    expect(run.answers.slice(2 * steps.length)).toEqual(counters.map(({ value }) => value.toString()));
  });

  // By another computation than the program's and the packet builder's.
  it('and checksums that come in right leave right', () => {
    let routed = 0;
    let advertised = 0;
    let summed = 0;
    const translated = new Map<string, number>();
    for (const { commands, expected, reason } of SEEDS.flatMap((seed) => interpretedSeed(seed).steps)) {
      if (expected[0] === 'drop') continue;
      const [sentAs, leftAs] = [commands[0], expected[0]].map((text) =>
        Buffer.from(text.split(' ').at(-1)!, 'hex'),
      ) as [Buffer, Buffer];
      const [sent, left] = [innermost(sentAs), innermost(leftAs)];
      if (left !== leftAs && sent === sentAs && leftAs[12] === 0x08)
        expect(ipv4HeaderIsRight(leftAs)).toBe(true);
      // Around it the UDP checksum, which is not made over the payload, but of the checksum within.
      if (left !== leftAs && leftAs[12] === 0x86 && sent === sentAs && left[12] === 0x86) {
        const known = [6, 17, 58].includes(left[20]!);
        if (known && transportIsRight(sent)) {
          expect(transportIsRight(leftAs)).toBe(true);
          summed++;
        }
      }
      if (ipv4HeaderIsRight(sent)) {
        expect(ipv4HeaderIsRight(left)).toBe(true);
        if (left[22] !== sent[22]) routed++;
      }
      if (transportIsRight(sent)) {
        expect(transportIsRight(left)).toBe(true);
        const [from, to] = left[12] === 0x08 ? [26, 34] : [22, 54];
        const protocol = `${left[12] === 0x08 ? 'IPv4' : 'IPv6'} ${left[left[12] === 0x08 ? 23 : 20]!}`;
        if (reason !== ANSWERED && !left.subarray(from, to).equals(sent.subarray(from, to)))
          translated.set(protocol, (translated.get(protocol) ?? 0) + 1);
      }
      if (reason === ANSWERED && left[12] === 0x86) {
        expect(icmpv6IsRight(left)).toBe(true);
        advertised++;
      }
    }
    expect(routed).toBeGreaterThan(100);
    expect(advertised).toBeGreaterThan(20);
    expect(summed).toBeGreaterThan(5);
    // Floating IPs: TCP, UDP, ICMP, ICMPv6.
    for (const protocol of ['IPv4 6', 'IPv4 17', 'IPv4 1', 'IPv6 6', 'IPv6 17', 'IPv6 58'])
      expect([protocol, (translated.get(protocol) ?? 0) > 10]).toEqual([protocol, true]);
  });

  // Nothing above would mean much if packets went only a few ways.
  it('for every reason to drop a packet or let it pass, and thousands of packets', () => {
    const steps = SEEDS.flatMap((seed) => interpretedSeed(seed).steps);
    expect([...new Set(steps.map(({ reason }) => reason))].sort((a, b) => a - b)).toEqual(REASONS);
    expect(steps.length).toBeGreaterThan(8000);
  });
});

describe('nothing is left over from an earlier packet', () => {
  it.each(SEEDS)('garbage in every field changes nothing, seed %d', (seed) => {
    const garbage = parseSpec(poisoned(spec, specText, seededRandom(~seed)));
    const { steps, counters } = interpretedSeed(seed);
    const withGarbage = interpret(garbage, seed);
    const differing = steps
      .map((step, i) => ({ ...step, withGarbage: withGarbage.steps[i]!.expected }))
      .filter(({ expected, withGarbage: other }) => expected.join() !== other.join());
    expect(differing.slice(0, 3)).toEqual([]);
    expect(withGarbage.counters).toEqual(counters);
  });

  it('would notice a field that the program forgets to write', () => {
    const initialisation = '\tmov m.local_metadata_learn 0x0\n';
    expect(specText).toContain(initialisation);
    const forgetful = specText.replace(initialisation, '');
    const garbage = poisoned(spec, forgetful, { ...seededRandom(1), pick: (items) => items[0]! });
    const expected = interpretedSeed(1).steps.map((step) => step.expected.join());
    expect(interpret(parseSpec(garbage), 1).steps.map((step) => step.expected.join())).not.toEqual(expected);
  });
});

interface Step {
  readonly kind: Kind;
  readonly reason: number;
  readonly commands: readonly [packet: string, reasonCounter: string];
  readonly expected: readonly [packet: string, reasonCounter: string];
}

interface Counter {
  readonly name: string;
  readonly index: number;
  readonly value: bigint;
}

interface Interpreted {
  readonly rows: readonly TableRow[];
  readonly steps: readonly Step[];
  readonly counters: readonly Counter[];
}

/** Rows and packets of a seed, and what the interpreter does with them: later packets depend on what became of earlier. */
function interpret(program: Spec, seed: number): Interpreted {
  const random = seededRandom(seed);
  const rows = randomRows(random).map((row) => namedIn(spec, row));
  const engine = createInterpreter(program, { now: () => 0, isPort: (port) => port < SWX_PORTS });
  for (const { table, entry } of rows) engine.apply({ kind: 'insert', table, entry });
  const passed: Passed[] = [];
  const steps = kindSequence(random).map((kind): Step => {
    const injected: Injected = randomPacket(random, kind, passed);
    const { out, trace } = engine.process(injected.port, injected.frame, true);
    const [first] = out;
    if (first) passed.push({ ...injected, outPort: first.port });
    const reason = reasonOf(trace);
    return {
      kind,
      reason,
      commands: [packetCommand(injected.port, injected.frame), registerCommand(reasons, reason)],
      expected: [
        first ? `${first.port} ${Buffer.from(first.frame).toString('hex')}` : 'drop',
        engine.readRegister(reasons, reason).toString(),
      ],
    };
  });
  const counters = [
    ...Array.from({ length: OUTCOMES }, (_, index) => ({ name: outcomes, index })),
    ...Array.from({ length: 32 }, (_, index) => ({ name: reasons, index })),
  ].map((counter) => ({ ...counter, value: engine.readRegister(counter.name, counter.index) }));
  return { rows, steps, counters };
}

const interpreted = new Map<number, Interpreted>();

/** What the real program makes of a seed; computed once. */
function interpretedSeed(seed: number): Interpreted {
  const result = interpreted.get(seed) ?? interpret(spec, seed);
  interpreted.set(seed, result);
  return result;
}

/** Without the headers of tunnels. */
function innermost(frame: Buffer): Buffer {
  const within = decapsulate(frame);
  return within === undefined ? frame : innermost(Buffer.from(within.frame));
}

function reasonOf(trace: readonly TraceStep[]): number {
  const counts = trace.flatMap((step) =>
    step.kind === 'counter' && step.name === reasons ? [step.index] : [],
  );
  const [reason] = counts;
  if (reason === undefined || counts.length > 1)
    throw new Error(`a packet was counted ${counts.length} times`);
  return reason;
}

/** Every kind after every other, then a mix in which the follow-ups weigh more. */
function kindSequence(random: Random): Kind[] {
  const pairs = random.shuffled(KINDS.flatMap((a) => KINDS.map((b) => [a, b] as const))).flat();
  const followUps: readonly Kind[] = ['reply', 'related-error', 'fragment-of-passed', 'repeat'];
  const mix = Array.from({ length: 1200 }, () => random.pick(random.chance(0.4) ? followUps : KINDS));
  return [...pairs, ...mix];
}

/**
 * Random sequences of Felix's messages, as frames of a random form of the contract, with the moments at which a driver may have read so far.
 * They are made as Felix makes them: a datastore changes (cluster.ts), and what has changed for the node is flushed (felix-flush.ts).
 */
import fc from 'fast-check';
import type { FormName } from '../unit/driver/felix/recordings';
import { FORM_NAMES } from '../unit/driver/felix/recordings';
import { felixStream } from '../unit/driver/felix/streams';
import { transcoded } from '../unit/driver/felix/transcoder';
import { lacks } from '../unit/driver/felix/without';
import { arbitraryEdit, arbitraryStart, createCluster, NO_VIEW, type Edit, type NodeView } from './cluster';
import {
  flush,
  PLAIN,
  randomOf,
  removeIpSet,
  removePolicy,
  removeProfile,
  type FlushOptions,
} from './felix-flush';
import type { Payload } from './felix-stream';
import { NODE } from './models';

/** Frames that the driver reads at once. */
export interface Batch {
  /** Frames, one after the other. */
  readonly bytes: Buffer;
  /**
   * `dropped`: it takes away what endpoints or rules still name, and nothing else; `again`: it says what is known already.
   * The others may do anything.
   */
  readonly kind: 'any' | 'dropped' | 'again';
}

export interface FelixSequence {
  readonly form: FormName;
  /** The first one ends with InSync. */
  readonly batches: readonly Batch[];
  /** A new Felix that says the state at the end of them, from ConfigUpdate to InSync. */
  readonly fresh: Buffer;
  /** For fast-check: what it says of a sequence that fails. */
  [fc.toStringMethod](): string;
}

/** What happens in the cluster until the next flush, and how the flush reaches the driver. */
interface Round {
  readonly edits: readonly Edit[];
  readonly flush: FlushOptions;
  /** Bit n: the n-th message that concerns no policy is between the others. */
  readonly noise: number;
  /** Where a batch ends inside the flush, as fractions of 1000. */
  readonly cuts: readonly number[];
  /** The driver reads the end of this flush with the beginning of the next. */
  readonly late: boolean;
  /** Then objects are removed that others name, and come back: what Felix never does. */
  readonly drops: readonly number[];
}

const round: fc.Arbitrary<Round> = fc.record({
  edits: fc.array(arbitraryEdit, { minLength: 0, maxLength: 4 }),
  flush: fc.record({
    seed: fc.nat(1000),
    again: fc.constantFrom(0, 0, 1, 4),
    wholeSets: fc.boolean(),
    backwards: fc.constantFrom(false, false, false, false, true),
  }),
  noise: fc.constantFrom(0, 0, 0, 127, 85, 42),
  cuts: fc.oneof(fc.constant<number[]>([]), fc.array(fc.nat(999), { minLength: 1, maxLength: 3 })),
  late: fc.constantFrom(false, false, true),
  drops: fc.oneof(
    { weight: 3, arbitrary: fc.constant<number[]>([]) },
    { weight: 1, arbitrary: fc.array(fc.nat(50), { minLength: 1, maxLength: 2 }) },
  ),
});

/** One to `maxRounds` flushes after InSync. */
export function arbitraryFelixSequence(maxRounds = 5): fc.Arbitrary<FelixSequence> {
  return fc
    .record({
      form: fc.constantFrom(...FORM_NAMES),
      start: arbitraryStart,
      beforeInSync: round,
      rounds: fc.array(round, { minLength: 1, maxLength: maxRounds, size: 'max' }),
    })
    .map(sequenceOf);
}

interface Draft {
  readonly payloads: readonly Payload[];
  readonly kind: Batch['kind'];
}

function sequenceOf(parts: {
  readonly form: FormName;
  readonly start: readonly Edit[];
  readonly beforeInSync: Round;
  readonly rounds: readonly Round[];
}): FelixSequence {
  const { form, beforeInSync } = parts;
  const lacking = lacks(form);
  const cluster = createCluster((policy) => !lacking(policy));
  const drafts: Draft[] = [];

  // Before InSync what was said is said anew with other content; endpoints come last.
  for (const edit of parts.start) cluster.change(edit);
  const early: NodeView = { ...cluster.view(), workloads: new Map() };
  for (const edit of beforeInSync.edits) cluster.change(edit);
  let sent = cluster.view();
  drafts.push({
    payloads: [
      ...flush(NO_VIEW, early, PLAIN),
      { hostMetadataUpdate: NODE },
      ...flush(early, sent, { ...beforeInSync.flush, backwards: false }),
      ...NOISE,
      { inSync: {} },
    ],
    kind: 'any',
  });

  let late: readonly Payload[] = [];
  for (const [i, { edits, flush: options, noise, cuts, late: isLate, drops }] of parts.rounds.entries()) {
    for (const edit of edits) cluster.change(edit);
    const now = cluster.view();
    const payloads = [...late, ...mixed(flush(sent, now, options), noise, options.seed)];
    sent = now;
    const last = i === parts.rounds.length - 1;
    const pieces = cut(payloads, cuts);
    late = isLate && !last && drops.length === 0 ? pieces.pop()! : [];
    drafts.push(...pieces.map((piece) => ({ payloads: piece, kind: 'any' as const })));

    for (const drop of drops) {
      const without = dropped(sent, drop);
      if (without === undefined) continue;
      drafts.push({ payloads: [without.payload], kind: 'dropped' });
      drafts.push({ payloads: flush(without.view, sent, PLAIN), kind: 'any' });
    }
  }
  const all = flush(NO_VIEW, sent, { ...PLAIN, seed: 2 });
  drafts.push({ payloads: [...all, ...NOISE, { inSync: {} }], kind: 'again' });

  const filled = drafts.filter(({ payloads }) => payloads.length > 0);
  const frames = framesIn(
    form,
    filled.map(({ payloads }) => payloads),
  );
  const fresh = framesIn(form, [[...all, { hostMetadataUpdate: NODE }, ...NOISE, { inSync: {} }]]);
  return {
    form,
    batches: filled.map(({ kind }, i) => ({
      bytes: frames[i]!,
      kind,
    })),
    fresh: fresh[0]!,
    [fc.toStringMethod]: () =>
      filled
        .map(
          ({ payloads, kind }, i) =>
            `batch ${i} (${form}, ${kind})\n${payloads.map((payload) => JSON.stringify(payload)).join('\n')}`,
        )
        .join('\n'),
  };
}

/** Nothing in them decides a verdict; routes and nodes tell forms apart. */
const NOISE: readonly Payload[] = [
  { routeUpdate: { types: 1, dst: '10.65.1.0/26', dstNodeName: 'node-2', dstNodeIp: '192.0.2.2' } },
  { hostMetadataUpdate: { hostname: 'node-2', ipv4Addr: '192.0.2.2/24' } },
  { ipamPoolUpdate: { id: '10.65.0.0-16', pool: { cidr: '10.65.0.0/16', masquerade: true } } },
  { vtepUpdate: { node: 'node-2', mac: '66:00:00:00:00:02', ipv4Addr: '10.65.1.1' } },
  { serviceAccountUpdate: { id: { namespace: 'shop', name: 'default' }, labels: { app: 'web' } } },
  { namespaceUpdate: { id: { name: 'shop' }, labels: { team: 'a' } } },
  { encapsulation: { vxlanEnabled: true } },
];

function mixed(payloads: readonly Payload[], noise: number, seed: number): readonly Payload[] {
  const random = randomOf(seed);
  const out = [...payloads];
  NOISE.forEach((payload, i) => {
    if ((noise >> i) & 1) out.splice(Math.floor(random() * (out.length + 1)), 0, payload);
  });
  return out;
}

function cut(payloads: readonly Payload[], cuts: readonly number[]): (readonly Payload[])[] {
  const at = [...new Set(cuts.map((c) => Math.floor((c * payloads.length) / 1000)))].sort((a, b) => a - b);
  return [0, ...at].map((from, i) => payloads.slice(from, at[i] ?? payloads.length));
}

/** A policy, profile or set that goes although it is named; undefined when there is none. */
function dropped(
  view: NodeView,
  choice: number,
): { readonly view: NodeView; readonly payload: Payload } | undefined {
  const without = <T>(map: ReadonlyMap<string, T>, key: string) =>
    new Map([...map].filter(([other]) => other !== key));
  const all = [
    ...[...view.policies].map(([key, policy]) => ({
      view: { ...view, policies: without(view.policies, key) },
      payload: removePolicy(policy),
    })),
    ...[...view.profiles].map(([key, profile]) => ({
      view: { ...view, profiles: without(view.profiles, key) },
      payload: removeProfile(profile),
    })),
    ...[...view.ipSets].map(([id, set]) => ({
      view: { ...view, ipSets: without(view.ipSets, id) },
      payload: removeIpSet(set),
    })),
  ];
  return all.length === 0 ? undefined : all[choice % all.length];
}

/** Each batch in the form, numbered from 0. */
function framesIn(form: FormName, batches: readonly (readonly Payload[])[]): Buffer[] {
  const said = transcoded(felixStream('v3.33', batches.flat().map(asGoWrites)), form);
  let at = 0;
  return batches.map(({ length }) => Buffer.concat(said.slice(at, (at += length))));
}

/** Empty strings are not written. */
function asGoWrites(payload: Payload): Payload {
  return JSON.parse(
    JSON.stringify(payload, (_, value: unknown) => (value === '' ? undefined : value)),
  ) as Payload;
}

/**
 * Between any two writes of the target, what would packets get? The switch's engine calls back after each single operation;
 * each probe (a port and a frame, the first of its connection) must get what the old or the new state gives, or nothing.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import type { FelixModel } from '../../../src/model/model';
import type { SpecKey, TableOp } from '../../../src/p4switch/engine';
import { P4_DPDK_TABLES } from '../../../src/p4target/p4-dpdk/adapter';
import { frameAt } from '../../support/frames';
import { formatPacket } from '../../../src/packet/describe';
import { evaluate, evaluateNode } from '../../../src/translators/policy/reference';
import type { ProgramResult } from '../../../src/driver/node';
import type { NodePacket } from '../../support/arbitraries';
import { PORTS, startEmbeddedNode, type EmbeddedNode, type EmbeddedOptions } from './embedded-node';

/** Longer than any connection lives: each packet is the first of its own. */
const ONE_DAY = 86_400;

/** Where a packet leaves; undefined when it is dropped. */
type Out = number | undefined;

export interface AtomicityStats {
  updates: number;
  writes: number;
  /** Packets that were run between writes. */
  verdicts: number;
  /** Updates in which a gate was shut that is open before and after, how many gates, and for how many writes in all. */
  updatesWithHolds: number;
  gatesHeld: number;
  writesHeld: number;
  longestHold: number;
  /** Packets that both states allow and that were dropped for a while; and how many of the verdicts above those were. */
  packetsClosed: number;
  verdictsClosed: number;
}

export interface AtomicNode {
  readonly embedded: EmbeddedNode;
  readonly stats: Readonly<AtomicityStats>;
  /**
   * Programs the model and looks at every moment of it. The packets are those whose `from` is a port before or after.
   * `live` is what the node is given, where that goes on changing and `model` is how it is now. Default: the model.
   * @throws Error on a verdict that neither state gives, and on an endpoint that is open too early or too long
   */
  step(model: FelixModel, packets: readonly NodePacket[], live?: FelixModel): Promise<ProgramResult>;
  /**
   * Kills the driver after so many writes of the model, and starts another; the next step is to be with the same model. True: it had
   * come to an end before.
   */
  interrupt(model: FelixModel, writes: number): Promise<boolean>;
  stop(): Promise<void>;
}

export interface AtomicityOptions extends Pick<EmbeddedOptions, 'kind' | 'journal'> {
  /**
   * Where the verdicts of the two states come from. `reference`: the reference evaluator, which wants models that do not change
   * afterwards. `target`: the switch before and after; then the model may be live.
   */
  readonly oracle?: 'reference' | 'target';
  /** Look after every n-th write of a row of a node, and every write of other rows: nothing leads to new nodes. Default 8. */
  readonly everyNode?: number;
  /** Look after every n-th of the other writes. Default 1. */
  readonly every?: number;
}

interface Probe {
  readonly words: string;
  readonly port: number;
  readonly frame: Uint8Array;
  readonly before: Out;
  /** The endpoint that it comes from comes with this update; or goes. */
  readonly ofNew: boolean;
  readonly ofRemoved: boolean;
  /** Ports of endpoints that have the destination address, and come or go with this update. */
  readonly toNew: Out | 'none';
  readonly toRemoved: Out | 'none';
  readonly packet: NodePacket;
  after: Out | 'later';
  /**
   * An address that changes hands is nobody's here for a while: what its sender may send leaves by the uplink, as it does for
   * any address that is not on the node (docs/guarantees.md).
   */
  readonly alsoBy: ReadonlySet<Out>;
  /** What it got, with the first write after which it did. */
  readonly seen: Map<Out, number>;
  closed: boolean;
}

const ROLES = new Map(P4_DPDK_TABLES.map(({ table, role }) => [table, role] as const));

export async function startAtomicNode(options: AtomicityOptions = {}): Promise<AtomicNode> {
  const { oracle = 'reference', every = 1, everyNode = 8, ...rest } = options;
  let onWrite: (op: TableOp) => void = () => undefined;
  let dead = false;
  /** The target holds part of an update already. */
  let halfway = false;
  const embedded = await startEmbeddedNode({
    ...rest,
    onWrite: (op) => {
      onWrite(op);
    },
    isDead: () => dead,
  });
  const { engine } = embedded;
  const stats: AtomicityStats = {
    updates: 0,
    writes: 0,
    verdicts: 0,
    updatesWithHolds: 0,
    gatesHeld: 0,
    writesHeld: 0,
    longestHold: 0,
    packetsClosed: 0,
    verdictsClosed: 0,
  };
  let model: FelixModel | undefined;
  let names: ReadonlyMap<number, string> = new Map();

  let owners: ReadonlyMap<string, string> = new Map();

  const send = (port: number, frame: Uint8Array): Out => {
    embedded.advance(ONE_DAY);
    return engine.process(port, frame, false).out[0]?.port;
  };

  const wanted = (
    state: FelixModel | undefined,
    ports: ReadonlyMap<number, string>,
    port: number,
    { packet }: NodePacket,
  ): Out => {
    const from = ports.get(port);
    if (state === undefined || from === undefined) return undefined;
    const { out } = evaluateNode(state, from, packet);
    if (out === null) return undefined;
    const to = out.kind === 'workload' ? out.workload.name : out.kind;
    return [...ports].find(([, name]) => name === to)?.[0];
  };

  /** Where the packet would leave if nobody here had its destination address. */
  const nobodys = (
    state: FelixModel | undefined,
    ports: ReadonlyMap<number, string>,
    port: number,
    packet: NodePacket,
  ): Out => {
    const from = ports.get(port);
    if (state === undefined || from === undefined || from === 'uplink') return undefined;
    const uplink = [...ports].find(([, name]) => name === 'uplink')?.[0];
    if (from === 'host') return state.hostEndpoints.size === 0 ? uplink : undefined;
    const sender = [...state.workloads.values()].find(({ name }) => name === from);
    const { stage, decidedBy } = evaluateNode(state, from, packet.packet);
    const early = stage === 'source-check' || decidedBy.kind === 'admin-down';
    if (sender?.state !== 'active' || (early && stage !== 'ingress')) return undefined;
    return evaluate(state, sender, 'egress', packet.packet).verdict === 'allow' ? uplink : undefined;
  };

  /** The port of the workload that has the destination address in `state`, unless `other` has that workload too. */
  const endpointOnlyIn = (
    state: FelixModel | undefined,
    ports: ReadonlyMap<number, string>,
    other: FelixModel | undefined,
    { packet }: NodePacket,
  ): Out | 'none' => {
    if (oracle === 'target') return 'none';
    const owner = [...(state?.workloads ?? [])].find(([, w]) =>
      [...w.ipv4Nets, ...w.ipv6Nets].some((net) => net.startsWith(`${packet.dst}/`)),
    );
    if (owner === undefined || other?.workloads.has(owner[0]) === true) return 'none';
    return [...ports].find(([, name]) => name === owner[1].name)?.[0];
  };

  const step: AtomicNode['step'] = async (next, packets, live = next) => {
    const old = { model, names, owners };
    const ownersNow = ownersOf(next);
    let probes: readonly Probe[] | undefined;
    let writes = 0;
    let last = '';
    let pastClosing = false;
    // Thrown at the end: here the switch would take it for a refusal of its own.
    let violation: Error | undefined;
    let policyWrites = 0;
    let heldGates = 0;
    const shut = new Map<string, number>();
    const opened = new Map<Probe, number>();

    const begin = (): readonly Probe[] => {
      const now = embedded.node.names.ports;
      const at = (ports: ReadonlyMap<number, string>, name: string): number[] =>
        [...ports].flatMap(([port, known]) => (known === name ? [port] : []));
      return packets.flatMap((packet) => {
        const ports = new Set([...at(old.names, packet.from), ...at(now, packet.from)]);
        return [...ports].map((port): Probe => {
          const frame = frameAt(port, packet.packet);
          return {
            words: `${formatPacket(packet.packet)} from ${packet.from} (port ${port})`,
            port,
            frame,
            packet,
            before:
              oracle === 'target' ? known.get(packet)?.get(port) : wanted(old.model, old.names, port, packet),
            after: oracle === 'target' ? 'later' : wanted(next, now, port, packet),
            alsoBy: new Set(
              oracle === 'reference'
                ? [nobodys(old.model, old.names, port, packet), nobodys(next, now, port, packet)]
                : old.owners.get(packet.packet.dst) === ownersNow.get(packet.packet.dst)
                  ? []
                  : [PORTS.uplink],
            ),
            ofNew: now.has(port) && now.get(port) !== old.names.get(port),
            ofRemoved: old.names.has(port) && now.get(port) !== old.names.get(port),
            toNew: endpointOnlyIn(next, now, old.model, packet),
            toRemoved: endpointOnlyIn(old.model, old.names, next, packet),
            seen: new Map(),
            closed: false,
          };
        });
      });
    };

    // The switch's own verdicts before: for every port there is.
    const known = new Map<NodePacket, Map<number, Out>>();
    if (oracle === 'target') {
      for (const packet of packets) {
        for (const [port, name] of old.names) {
          if (name !== packet.from) continue;
          known.set(packet, new Map([[port, send(port, frameAt(port, packet.packet))]]));
        }
      }
    }

    const look = (probe: Probe): void => {
      const got = send(probe.port, probe.frame);
      stats.verdicts++;
      const { before, after } = probe;
      if (!probe.seen.has(got)) probe.seen.set(got, writes);
      if (after === 'later') {
        if (got !== undefined && got !== before && !opened.has(probe)) opened.set(probe, policyWrites);
        return;
      }
      if (got !== undefined && got !== before && got !== after && !probe.alsoBy.has(got)) {
        violation ??= new Error(
          `after write ${writes} (${last}): ${probe.words} leaves by ${got}; the old state says ${before}, the new one ${after}`,
        );
      }
      if (got === undefined && before !== undefined && after !== undefined) {
        stats.verdictsClosed++;
        if (!probe.closed) stats.packetsClosed++;
        probe.closed = true;
      }
      const gone = probe.ofRemoved || (got !== undefined && got === probe.toRemoved);
      if (!halfway && gone && got !== undefined && got !== after && pastClosing) {
        violation ??= new Error(
          `after write ${writes}: ${probe.words} still leaves by ${got}: the endpoint is gone`,
        );
      }
      const isNew = !halfway && (probe.ofNew || got === probe.toNew);
      // Until the first writes have closed it, an old endpoint with the same port and address goes on as before.
      const byTheOldOne = !pastClosing && got === before;
      if (isNew && got !== undefined && !byTheOldOne && !opened.has(probe)) opened.set(probe, policyWrites);
    };

    onWrite = (op) => {
      probes ??= begin();
      writes++;
      stats.writes++;
      last = `${op.kind} ${'table' in op ? op.table : op.selector}`;
      if (op.kind !== 'insert' && op.kind !== 'modify' && op.kind !== 'delete') return;
      const role = ROLES.get(op.table);
      if (op.kind !== 'delete' || (role !== 'path' && role !== 'gate')) pastClosing = true;
      if (op.kind !== 'delete' && role !== 'path') policyWrites++;
      if (role === 'gate') {
        const key = keysText(op.kind === 'delete' ? op.keys : op.entry.keys);
        if (op.kind === 'delete') shut.set(key, writes);
        else if (shut.has(key)) {
          const length = writes - shut.get(key)!;
          shut.delete(key);
          heldGates++;
          stats.gatesHeld++;
          stats.writesHeld += length;
          stats.longestHold = Math.max(stats.longestHold, length);
        }
      }
      if (writes % (role === 'node' ? everyNode : every) !== 0) return;
      for (const probe of probes) look(probe);
    };
    let result: ProgramResult;
    try {
      result = await embedded.node.program(live);
    } finally {
      onWrite = () => undefined;
    }
    if (violation !== undefined) throw violation;
    stats.updates++;
    if (heldGates > 0) stats.updatesWithHolds++;
    halfway = false;
    names = embedded.node.names.ports;
    model = next;
    owners = ownersNow;
    const failed = [...result.applied.failed.values()].map(({ message, row }) => `${row.table}: ${message}`);
    if (failed.length > 0) throw new Error(`rows that are not as desired: ${failed.slice(0, 5).join('; ')}`);
    for (const probe of probes ?? begin()) {
      const got = send(probe.port, probe.frame);
      if (probe.after === 'later') probe.after = got;
      else if (got !== probe.after) {
        throw new Error(`in the end ${probe.words} leaves by ${got}; the new state says ${probe.after}`);
      }
      for (const [out, write] of probe.seen) {
        if (out === undefined || out === probe.before || out === probe.after || probe.alsoBy.has(out))
          continue;
        throw new Error(
          `after write ${write}: ${probe.words} left by ${out}; before it was ${probe.before}, then ${probe.after}`,
        );
      }
      const openedAt = opened.get(probe);
      if (openedAt !== undefined && oracle === 'reference' && openedAt < policyWrites) {
        throw new Error(
          `${probe.words} passed after ${openedAt} of ${policyWrites} rows of policy: the endpoint was open too early`,
        );
      }
    }
    return result;
  };

  const interrupt: AtomicNode['interrupt'] = async (next, limit) => {
    const file = options.journal!;
    let writes = 0;
    let journal: Buffer | undefined;
    onWrite = () => {
      if (++writes < limit || dead) return;
      dead = true;
      journal = readFileSync(file);
    };
    await embedded.node.program(next);
    onWrite = () => undefined;
    if (journal === undefined) {
      model = next;
      names = embedded.node.names.ports;
      owners = ownersOf(next);
      return true;
    }
    writeFileSync(file, journal);
    dead = false;
    halfway = true;
    await embedded.restartDriver();
    return false;
  };

  return { embedded, stats, step, interrupt, stop: () => embedded.stop() };
}

/** Who has an address, for models that change later. */
function ownersOf(model: FelixModel): ReadonlyMap<string, string> {
  const owners = new Map<string, string>();
  for (const [key, w] of model.workloads) {
    for (const net of [...w.ipv4Nets, ...w.ipv6Nets]) owners.set(net.split('/')[0]!, `${key} ${w.name}`);
  }
  return owners;
}

/** One line for people: how often and for how long endpoints were shut. */
export function statsText(stats: Readonly<AtomicityStats>): string {
  return (
    `${stats.updates} updates, ${stats.writes} writes, ${stats.verdicts} verdicts between them; ` +
    `${stats.updatesWithHolds} updates shut ${stats.gatesHeld} gates for ${stats.writesHeld} writes in all ` +
    `(longest ${stats.longestHold}); ${stats.packetsClosed} packets that both states allow were dropped meanwhile`
  );
}

function keysText(keys: readonly SpecKey[]): string {
  return keys.map(({ value }) => String(value)).join(',');
}

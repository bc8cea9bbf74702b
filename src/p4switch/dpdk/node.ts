import { setTimeout as sleep } from 'node:timers/promises';
import { CalicoP4Error } from '../../errors';
import { logger } from '../../log';
import type { Spec } from '../spec/ast';
import { type EngineProcess, spawnEngine } from './binary';
import { type EngineClient, engineClient, type Hello } from './client';
import { createDpdkEngine, type DpdkEngine, type EngineHost } from './engine';
import { connectEngine, type EngineLink, EngineRefusal, LostConnection } from './link';
import { readPortFile, writePortFile } from './port-file';
import { attachPort, detachPort, listPorts, type PortSpec, type PortState, samePort } from './ports';
import type { Program } from './program';
import { Status, Which } from './protocol';

export interface EngineNodeOptions {
  readonly socket: string;
  readonly binary: string;
  /** Further arguments of the engine, for example `['--core', '3']`. */
  readonly arguments?: readonly string[];
  /** How often missing ports are looked for; 5 seconds unless told. */
  readonly watchMs?: number;
}

/** The native engine of this machine: started when it is not there, connected to again, filled again after its restart. */
export interface EngineNode {
  readonly host: EngineHost;
  /** What packets went through when this process came; undefined when there was no program. */
  readonly found: Program | undefined;
  /** What packets go through now. */
  running(): Program | undefined;
  createEngine(spec: Spec, program: Program): DpdkEngine;
  /** The engine of the program that was found, with its tables' contents. */
  restore(spec: Spec, program: Program): Promise<DpdkEngine>;
  /** The port comes back by itself when the engine is restarted, and when its interface was away. One that is there just so is left alone. */
  attach(port: number, spec: PortSpec): Promise<void>;
  /** No error when it is not attached. */
  detach(port: number, remove: boolean): Promise<void>;
  ports(): Promise<readonly PortState[]>;
  /** Leaves the engine running, or ends it. */
  stop(engine: 'leave' | 'quit'): Promise<void>;
}

interface Session {
  readonly link: EngineLink;
  readonly client: EngineClient;
  readonly bootId: bigint;
  /** Transactions up to this one are in force. */
  readonly confirmed: bigint;
}

const CHANGES_A_MESSAGE = 100_000;
/** Connections that may end before the engine has answered all that is asked of it at first. */
const FIRST_ATTEMPTS = 3;
const START_PATIENCE_MS = 30_000;
const WRITE_PATIENCE_MS = 60_000;
const WATCH_MS = 5000;

export async function startEngineNode(options: EngineNodeOptions): Promise<EngineNode> {
  const log = logger('engine');
  const portFile = `${options.socket}.ports.json`;
  const desired = new Map<number, PortSpec>();
  /** Of the desired ports, those that are known not to come back. */
  const missing = new Set<number>();
  let active: DpdkEngine | undefined;
  let generation = 0n;
  let mustReload = false;
  let stopped = false;
  let session: Promise<Session>;

  const connect = async (): Promise<EngineLink> => {
    const until = Date.now() + START_PATIENCE_MS;
    let engine: EngineProcess | undefined;
    let ended: string | undefined;
    for (;;) {
      try {
        return await connectEngine(options.socket);
      } catch (error) {
        if (ended !== undefined || Date.now() > until) throw startFailure(options, ended, error);
      }
      if (engine === undefined) {
        engine = spawnEngine(
          options.binary,
          options.socket,
          options.arguments ?? [],
          `${options.socket}.log`,
        );
        log.info('engine started', { pid: engine.pid, socket: options.socket });
        void engine.ended.then((how) => {
          ended = how;
        });
      }
      await sleep(20);
    }
  };

  /** Loads the program with all its entries into an engine and makes packets go through it. */
  const fill = async (client: EngineClient, engine: DpdkEngine): Promise<bigint> => {
    // Taken at one moment: transactions that are numbered later are sent after it.
    const changes = engine.everything();
    const upTo = generation;
    const { spec } = engine;
    await client.load(engine.program.text, engine.program.blob);
    const description = await client.describe(Which.staged, spec);
    for (let at = 0; at === 0 || at < changes.length; at += CHANGES_A_MESSAGE)
      await client.write(Which.staged, upTo, description, changes.slice(at, at + CHANGES_A_MESSAGE));
    await client.activate();
    if (active !== undefined && active !== engine) active.description = undefined;
    active = engine;
    engine.description = description;
    return upTo;
  };

  /** Attaches what is missing; says once what does not come back. */
  const attachAll = async (link: EngineLink): Promise<void> => {
    const there = new Map((await listPorts(link)).map((p) => [p.port, p]));
    for (const [port, spec] of desired) {
      const now = there.get(port);
      if (now !== undefined && !now.gone && samePort(now, spec)) continue;
      try {
        if (now !== undefined) await detachPort(link, port, false);
        await attachPort(link, port, spec);
        if (missing.delete(port)) log.info('port is back', { port, name: spec.name, netns: spec.netns });
      } catch (error) {
        if (!(error instanceof EngineRefusal)) throw error;
        if (missing.has(port)) continue;
        missing.add(port);
        log.warn('port does not come back', { port, name: spec.name, netns: spec.netns, why: error.message });
      }
    }
  };

  const open = async (previous: Session | undefined): Promise<Session> => {
    const link = await connect();
    try {
      return await greet(link, previous);
    } catch (error) {
      // The engine takes few clients: none may be left behind.
      link.close();
      throw error instanceof EngineRefusal && error.status === Status.unsupported
        ? otherVersion(options.socket, error)
        : error;
    }
  };

  const greet = async (link: EngineLink, previous: Session | undefined): Promise<Session> => {
    const client = engineClient(link);
    const hello = await client.hello();
    const same = previous !== undefined && previous.bootId === hello.bootId && hello.hasProgram;
    let confirmed = hello.generation;
    if (active !== undefined && (!same || mustReload)) {
      confirmed = await fill(client, active);
      mustReload = false;
      log.info('engine filled again', { socket: options.socket });
    }
    await attachAll(link);
    return { link, client, bootId: hello.bootId, confirmed };
  };

  const reopen = async (previous: Session): Promise<Session> => {
    for (let wait = 50; ; wait = Math.min(2 * wait, 5000)) {
      try {
        const next = await open(previous);
        follow(next);
        return next;
      } catch (error) {
        if (stopped) throw unreachable(options.socket);
        log.warn('engine can not be reached', {
          why: error instanceof Error ? error.message : String(error),
        });
        await sleep(wait, undefined, { ref: false });
      }
    }
  };

  const follow = (current: Session): void => {
    void current.link.closed.then(() => {
      if (stopped) return;
      log.warn('the connection to the engine ended', { socket: options.socket });
      session = reopen(current);
      session.catch(() => undefined);
    });
  };

  /** Takes over what the engine has. */
  const begin = async (): Promise<{ readonly first: Session; readonly hello: Hello }> => {
    const first = await open(undefined);
    const attached = await listPorts(first.link);
    if (attached.length === 0) {
      const { ports, forgotten } = readPortFile(portFile);
      for (const [port, spec] of ports) desired.set(port, spec);
      for (const [port, { name, netns }] of forgotten) {
        log.info('port is forgotten: the machine was started since, and its pod is gone', {
          port,
          name,
          netns,
        });
      }
      if (forgotten.size > 0) writePortFile(portFile, desired);
    }
    for (const port of attached) desired.set(port.port, port);
    await attachAll(first.link);
    const hello = await first.client.hello();
    generation = hello.generation;
    return { first, hello };
  };

  const beginPatiently = async (): ReturnType<typeof begin> => {
    for (let attempt = 1; ; attempt++) {
      try {
        return await begin();
      } catch (error) {
        // An engine that is just ending may still take a connection; the next attempt starts another one.
        if (!(error instanceof LostConnection) || attempt === FIRST_ATTEMPTS) throw error;
        desired.clear();
        await sleep(50);
      }
    }
  };
  const { first, hello } = await beginPatiently();
  follow(first);
  session = Promise.resolve(first);

  const current = async (): Promise<Session> => {
    const timeout = new AbortController();
    try {
      const late = sleep(WRITE_PATIENCE_MS, undefined, { ref: false, signal: timeout.signal }).then(() => {
        throw unreachable(options.socket);
      });
      late.catch(() => undefined);
      return await Promise.race([session, late]);
    } finally {
      timeout.abort();
    }
  };

  /** Tries again on a new connection while the engine comes back. */
  const retrying = async <T>(work: (s: Session) => Promise<T>): Promise<T> => {
    const until = Date.now() + WRITE_PATIENCE_MS;
    for (;;) {
      const s = await current();
      try {
        return await work(s);
      } catch (error) {
        if (error instanceof EngineRefusal) throw explained(error);
        if (!(error instanceof CalicoP4Error) || error.code !== 'TARGET_UNREACHABLE') throw error;
        if (stopped || Date.now() > until) throw error;
        // It may be an answer that makes no sense, on a connection that is still there.
        s.link.close();
        await s.link.closed;
      }
    }
  };

  const host: EngineHost = {
    check: (program) => retrying((s) => s.client.check(program.text)),
    async activate(engine) {
      await retrying((s) => fill(s.client, engine));
    },
    async transact(engine, changes) {
      generation += 1n;
      const number = generation;
      try {
        await retrying(async (s) => {
          if (s.confirmed >= number || engine.description === undefined) return;
          await s.client.write(Which.running, number, engine.description, changes);
        });
      } catch (error) {
        // Whether it is in force is not known: the caller takes it back here, and the engine gets everything anew.
        if (error instanceof CalicoP4Error && error.code === 'TARGET_UNREACHABLE') mustReload = true;
        throw error;
      }
    },
    withClient: (work) => retrying((s) => work(s.client)),
  };

  /** Interfaces and namespaces go and come back. */
  const watch = setInterval(() => {
    void session.then((s) => attachAll(s.link)).catch(() => undefined);
  }, options.watchMs ?? WATCH_MS);
  watch.unref();

  return {
    host,
    found: hello.hasProgram ? await foundProgram(first.client) : undefined,
    running: () => active?.program,
    createEngine: (spec, program) => createDpdkEngine(spec, program, host),
    async restore(spec, program) {
      const engine = createDpdkEngine(spec, program, host);
      await retrying(async ({ client }) => engine.adopt(client, await client.describe(Which.running, spec)));
      active = engine;
      return engine;
    },
    async attach(port, spec) {
      await retrying(async (s) => {
        const now = (await listPorts(s.link)).find((p) => p.port === port);
        if (now !== undefined && now.gone) await detachPort(s.link, port, false);
        else if (now !== undefined && samePort(now, spec)) return;
        await attachPort(s.link, port, spec);
      });
      desired.set(port, spec);
      writePortFile(portFile, desired);
    },
    async detach(port, remove) {
      desired.delete(port);
      missing.delete(port);
      writePortFile(portFile, desired);
      await retrying(async (s) => {
        const now = (await listPorts(s.link)).find((p) => p.port === port);
        if (now !== undefined) await detachPort(s.link, port, remove);
      });
    },
    ports: () => retrying((s) => listPorts(s.link)),
    async stop(how) {
      stopped = true;
      clearInterval(watch);
      const s = await session.catch(() => undefined);
      if (how === 'quit') await s?.client.quit().catch(() => undefined);
      s?.link.close();
    },
  };
}

async function foundProgram(client: EngineClient): Promise<Program> {
  const { spec, blob } = await client.program();
  return { text: spec, blob };
}

function unreachable(socket: string): CalicoP4Error {
  return new CalicoP4Error('TARGET_UNREACHABLE', `the engine at ${socket} can not be reached`, { socket });
}

function startFailure(options: EngineNodeOptions, ended: string | undefined, cause: unknown): CalicoP4Error {
  const how = ended === undefined ? 'does not listen' : `ended (${ended})`;
  return new CalicoP4Error(
    'TARGET_UNREACHABLE',
    `the engine ${options.binary} ${how}; see ${options.socket}.log`,
    { socket: options.socket },
    { cause },
  );
}

function otherVersion(socket: string, cause: EngineRefusal): CalicoP4Error {
  const message = `the engine at ${socket} is of another release (${cause.message}): end it, then start this again`;
  return new CalicoP4Error('TARGET_UNREACHABLE', message, { socket }, { cause });
}

/** A refusal of the engine in the program's own words. */
function explained(refusal: EngineRefusal): CalicoP4Error {
  switch (refusal.status) {
    case Status.spec:
      return new CalicoP4Error('SPEC_INVALID', refusal.message, {}, { cause: refusal });
    case Status.full:
      return new CalicoP4Error('TARGET_TABLE_FULL', `engine: ${refusal.message}`, {}, { cause: refusal });
    default:
      return new CalicoP4Error('TARGET_WRITE_FAILED', `engine: ${refusal.message}`, {}, { cause: refusal });
  }
}

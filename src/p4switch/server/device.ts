import { status } from '@grpc/grpc-js';
import {
  type ForwardingPipelineConfig,
  GetForwardingPipelineConfigRequest_ResponseType as ResponseType,
  P4Info,
  type SetForwardingPipelineConfigRequest,
  SetForwardingPipelineConfigRequest_Action as Action,
} from 'p4runtime-js-bindings';
import { CalicoP4Error } from '../../errors';
import type { Engine } from '../engine';
import type { Spec } from '../spec/ast';
import { parseSpec } from '../spec/parser';
import type { Behaviour } from './behaviour';
import type { Pipeline } from './device-state';
import { invalid, Refusal, refusalOf, unimplemented } from './refusal';
import { verifyPipeline } from './verify';

/** Makes what executes a pipeline; `config` is what it was set with. */
export type CreateEngine = (spec: Spec, config: ForwardingPipelineConfig) => Engine;

/** A pipeline that an engine in another process went on running while no server was there. */
export interface FoundPipeline {
  readonly config: ForwardingPipelineConfig;
  readonly engine: (spec: Spec) => Promise<Engine>;
}

/**
 * The pipelines of the device. `saved` is one that was verified and saved, and waits for COMMIT: Reads and Writes go to
 * it, packets still go through `running`. COMMIT makes it the running one, with all that was written to it.
 */
export class Device {
  private saved: Pipeline | undefined;
  private running: Pipeline | undefined;

  constructor(
    private readonly createEngine: CreateEngine,
    private readonly behaviour: Behaviour,
  ) {}

  /** What packets go through. */
  engine(): Engine | undefined {
    return this.running?.engine;
  }

  /** What Reads and Writes refer to. FAILED_PRECONDITION before a pipeline config was set. */
  pipeline(): Pipeline {
    const pipeline = this.saved ?? this.running;
    if (pipeline) return pipeline;
    // Stock clients know an empty device by these very words.
    throw new Refusal(status.FAILED_PRECONDITION, 'No forwarding pipeline config set for this device');
  }

  /** Takes over a running pipeline. What controllers stored beside its entries is not known any more. */
  async adopt(found: FoundPipeline): Promise<void> {
    const { config } = found;
    const spec = parseDeviceConfig(config);
    const layout = verifyPipeline(config.p4info!, spec, this.behaviour);
    const engine = await found.engine(spec);
    this.running = { config, layout, engine, behaviour: this.behaviour, notes: new Map(), groups: new Map() };
  }

  /** `p4_device_config` is the `.spec` file, as p4c wrote it. */
  async setConfig({ action, config }: SetForwardingPipelineConfigRequest): Promise<void> {
    switch (action) {
      case Action.VERIFY:
        await check(this.realize(config));
        return;
      case Action.VERIFY_AND_SAVE: {
        const saved = this.realize(config);
        await check(saved);
        this.saved = saved;
        return;
      }
      case Action.VERIFY_AND_COMMIT: {
        const running = this.realize(config);
        await activate(running);
        this.running = running;
        this.saved = undefined;
        return;
      }
      case Action.COMMIT:
        if (config) throw invalid('COMMIT takes no config; it commits the saved one');
        if (!this.saved) throw new Refusal(status.NOT_FOUND, 'there is no saved config to commit');
        await activate(this.saved);
        this.running = this.saved;
        this.saved = undefined;
        return;
      case Action.RECONCILE_AND_COMMIT:
        if (!this.behaviour.reconciles) throw unimplemented('RECONCILE_AND_COMMIT is not supported');
        await this.reconcile(config);
        return;
      case Action.UNSPECIFIED:
        throw invalid('the action of the request is not set');
      default:
        throw unimplemented(`action ${action} is not known`);
    }
  }

  /** The same pipeline again keeps all its state; there is no way to carry state over to another one. */
  private async reconcile(config: ForwardingPipelineConfig | undefined): Promise<void> {
    const next = this.realize(config);
    const { running } = this;
    if (running && !samePipeline(running.config, next.config)) {
      throw invalid('the forwarding state can be preserved only for the same p4info and p4_device_config');
    }
    if (!running) await activate(next);
    this.running = running ? { ...running, config: next.config } : next;
    this.saved = undefined;
  }

  private realize(config: ForwardingPipelineConfig | undefined): Pipeline {
    if (!config) throw invalid('the request has no config');
    if (!config.p4info) throw invalid('the config has no p4info');
    if (config.p4DeviceConfig.length === 0) {
      throw invalid('the config has no p4_device_config; it is the .spec file that p4c wrote');
    }
    try {
      const spec = parseDeviceConfig(config);
      return {
        config,
        layout: verifyPipeline(config.p4info, spec, this.behaviour),
        engine: this.createEngine(spec, config),
        behaviour: this.behaviour,
        notes: new Map(),
        groups: new Map(),
      };
    } catch (error) {
      if (error instanceof Refusal) throw error;
      throw refusedConfig(error);
    }
  }

  /** undefined before a config was set. */
  config(type: ResponseType): ForwardingPipelineConfig | undefined {
    const config = (this.saved ?? this.running)?.config;
    if (!config) return undefined;
    const withP4Info = type === ResponseType.ALL || type === ResponseType.P4INFO_AND_COOKIE;
    const withDevice = type === ResponseType.ALL || type === ResponseType.DEVICE_CONFIG_AND_COOKIE;
    return {
      p4info: withP4Info ? config.p4info : undefined,
      p4DeviceConfig: withDevice ? config.p4DeviceConfig : Buffer.alloc(0),
      cookie: config.cookie,
    };
  }
}

function parseDeviceConfig(config: ForwardingPipelineConfig): Spec {
  return parseSpec(new TextDecoder('utf-8', { fatal: true }).decode(config.p4DeviceConfig));
}

function refusedConfig(error: unknown): Refusal {
  return invalid(`p4_device_config: ${error instanceof Error ? error.message : String(error)}`);
}

/** Where packets run in another process, that one has a say too. */
async function check({ engine }: Pipeline): Promise<void> {
  await remotely(engine.remote?.check());
}

async function activate({ engine }: Pipeline): Promise<void> {
  await remotely(engine.remote?.activate());
}

async function remotely(work: Promise<void> | undefined): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (error instanceof CalicoP4Error && error.code === 'SPEC_INVALID') throw refusedConfig(error);
    throw refusalOf(error);
  }
}

function samePipeline(a: ForwardingPipelineConfig, b: ForwardingPipelineConfig): boolean {
  const bytes = (c: ForwardingPipelineConfig): Uint8Array => P4Info.encode(c.p4info!).finish();
  return a.p4DeviceConfig.equals(b.p4DeviceConfig) && Buffer.compare(bytes(a), bytes(b)) === 0;
}

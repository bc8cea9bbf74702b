import { status } from '@grpc/grpc-js';
import {
  type ForwardingPipelineConfig,
  GetForwardingPipelineConfigRequest_ResponseType as ResponseType,
  P4Info,
  type SetForwardingPipelineConfigRequest,
  SetForwardingPipelineConfigRequest_Action as Action,
} from 'p4runtime-js-bindings';
import type { Engine } from '../engine';
import type { Spec } from '../spec/ast';
import { parseSpec } from '../spec/parser';
import type { Behaviour } from './behaviour';
import type { Pipeline } from './device-state';
import { invalid, Refusal, unimplemented } from './refusal';
import { verifyPipeline } from './verify';

/**
 * The pipelines of the device. `saved` is one that was verified and saved, and waits for COMMIT: Reads and Writes go to
 * it, packets still go through `running`. COMMIT makes it the running one, with all that was written to it.
 */
export class Device {
  private saved: Pipeline | undefined;
  private running: Pipeline | undefined;

  constructor(
    private readonly createEngine: (spec: Spec) => Engine,
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

  /** `p4_device_config` is the `.spec` file, as p4c wrote it. */
  setConfig({ action, config }: SetForwardingPipelineConfigRequest): void {
    switch (action) {
      case Action.VERIFY:
        this.realize(config);
        return;
      case Action.VERIFY_AND_SAVE:
        this.saved = this.realize(config);
        return;
      case Action.VERIFY_AND_COMMIT:
        this.running = this.realize(config);
        this.saved = undefined;
        return;
      case Action.COMMIT:
        if (config) throw invalid('COMMIT takes no config; it commits the saved one');
        if (!this.saved) throw new Refusal(status.NOT_FOUND, 'there is no saved config to commit');
        this.running = this.saved;
        this.saved = undefined;
        return;
      case Action.RECONCILE_AND_COMMIT:
        if (!this.behaviour.reconciles) throw unimplemented('RECONCILE_AND_COMMIT is not supported');
        this.reconcile(config);
        return;
      case Action.UNSPECIFIED:
        throw invalid('the action of the request is not set');
      default:
        throw unimplemented(`action ${action} is not known`);
    }
  }

  /** The same pipeline again keeps all its state; there is no way to carry state over to another one. */
  private reconcile(config: ForwardingPipelineConfig | undefined): void {
    const next = this.realize(config);
    const { running } = this;
    if (running && !samePipeline(running.config, next.config)) {
      throw invalid('the forwarding state can be preserved only for the same p4info and p4_device_config');
    }
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
      const spec = parseSpec(new TextDecoder('utf-8', { fatal: true }).decode(config.p4DeviceConfig));
      return {
        config,
        layout: verifyPipeline(config.p4info, spec, this.behaviour),
        engine: this.createEngine(spec),
        behaviour: this.behaviour,
        notes: new Map(),
        groups: new Map(),
      };
    } catch (error) {
      if (error instanceof Refusal) throw error;
      throw invalid(`p4_device_config: ${error instanceof Error ? error.message : String(error)}`);
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

function samePipeline(a: ForwardingPipelineConfig, b: ForwardingPipelineConfig): boolean {
  const bytes = (c: ForwardingPipelineConfig): Uint8Array => P4Info.encode(c.p4info!).finish();
  return a.p4DeviceConfig.equals(b.p4DeviceConfig) && Buffer.compare(bytes(a), bytes(b)) === 0;
}

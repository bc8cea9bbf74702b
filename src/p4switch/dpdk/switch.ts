import { ForwardingPipelineConfig } from 'p4runtime-js-bindings';
import { CalicoP4Error } from '../../errors';
import type { FoundPipeline } from '../server/device';
import { startSwitchServer, type SwitchServer, type SwitchServerOptions } from '../server/server';
import type { EngineNode } from './node';
import type { Program } from './program';

/**
 * The P4Runtime server over the native engine. A pipeline that the engine runs already is taken over: packets do not notice
 * that the server was away.
 */
export async function startDpdkSwitch(
  options: Omit<SwitchServerOptions, 'createEngine' | 'found'>,
  node: EngineNode,
): Promise<SwitchServer> {
  const found = node.found === undefined ? undefined : foundPipeline(node, node.found);
  return startSwitchServer({
    ...options,
    createEngine: (spec, config) => node.createEngine(spec, programOf(config)),
    ...(found === undefined ? {} : { found }),
  });
}

/** The engine keeps the spec as its program, and the rest of the config beside it. */
function programOf(config: ForwardingPipelineConfig): Program {
  return {
    text: config.p4DeviceConfig.toString('utf8'),
    blob: ForwardingPipelineConfig.encode({ ...config, p4DeviceConfig: Buffer.alloc(0) }).finish(),
  };
}

function foundPipeline(node: EngineNode, program: Program): FoundPipeline {
  const config = ForwardingPipelineConfig.decode(program.blob);
  if (config.p4info === undefined)
    throw new CalicoP4Error(
      'PIPELINE_MISMATCH',
      'the engine runs a program that no P4Runtime server gave it; end that engine first',
    );
  return {
    config: { ...config, p4DeviceConfig: Buffer.from(program.text, 'utf8') },
    engine: (spec) => node.restore(spec, program),
  };
}

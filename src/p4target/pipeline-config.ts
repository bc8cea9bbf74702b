import { createHash } from 'node:crypto';
import { P4Info } from 'p4runtime-js-bindings';

/** A pipeline as a target takes it. */
export interface PipelineConfig {
  readonly p4info: P4Info;
  /** What the target's compiler made: for the embedded switch the text of the `.spec`. */
  readonly deviceConfig: Uint8Array;
}

/**
 * Names the pipeline by its content: the first 64 bits of a SHA-256 over p4info and device config. Never 0, which on
 * the wire is "no cookie".
 */
export function pipelineCookie(config: PipelineConfig): bigint {
  const info = P4Info.encode(config.p4info).finish();
  const hash = createHash('sha256')
    .update(`${info.length}:`)
    .update(info)
    .update(config.deviceConfig)
    .digest();
  const cookie = hash.readBigUInt64BE(0);
  return cookie === 0n ? 1n : cookie;
}

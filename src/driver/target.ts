/** From configuration to a target that is ready to be written, or read, as long as one connection lasts. */
import { createHash } from 'node:crypto';
import type { Uint128 } from 'p4runtime-js-bindings';
import type { CalicoP4Error } from '../errors';
import { buildCatalogue } from '../p4target/catalogue';
import { P4Client } from '../p4target/client';
import { clientOptions, type ClientOptions } from '../p4target/client-options';
import { LiveRows, tableSize } from '../p4target/live-rows';
import {
  loadP4DpdkPipeline,
  P4_DPDK_COUNTERS,
  P4_DPDK_METERS,
  P4_DPDK_ORDER,
  P4_DPDK_TABLES,
} from '../p4target/p4-dpdk/adapter';
import type { PipelineConfig } from '../p4target/pipeline-config';
import { Reconciler } from '../p4target/reconciler';
import { EMBEDDED_SWITCH, INFRAP4D_DPDK, type TargetTraits } from '../p4target/target-traits';
import type { DriverConfig } from './config';

export interface Target {
  readonly rows: LiveRows;
  readonly reconciler: Reconciler;
  close(): void;
}

type TargetConfig = DriverConfig['target'];

/**
 * @param onLost called once when another controller has become primary or the target is gone: nothing may be written any more
 * @throws CalicoP4Error TARGET_UNREACHABLE, TARGET_NOT_PRIMARY, PIPELINE_MISMATCH, CONFIG_INVALID
 */
export async function openTarget(
  config: TargetConfig,
  onLost: (error: CalicoP4Error) => void,
): Promise<Target> {
  const traits = targetTraits(config.kind);
  const pipeline = loadPipeline();
  const catalogue = buildCatalogue(pipeline.p4info);
  const client = await P4Client.connect({
    ...connection(config),
    electionId: electionId(config.electionId),
    maxBatch: traits.maxBatch,
    onLost,
  });
  try {
    await client.ensurePipeline(pipeline);
  } catch (error) {
    client.close();
    throw error;
  }
  const rows = new LiveRows(client, catalogue, traits);
  return {
    rows,
    reconciler: new Reconciler(rows, P4_DPDK_ORDER),
    close: () => {
      client.close();
    },
  };
}

/** A session that only reads, for `tables` and `trace`: no arbitration, and a driver beside it goes on undisturbed. */
export async function openTargetToRead(
  config: TargetConfig,
): Promise<{ readonly rows: LiveRows; close(): void }> {
  const catalogue = buildCatalogue(loadP4DpdkPipeline().p4info);
  const client = await P4Client.connectToRead(connection(config));
  return {
    rows: new LiveRows(client, catalogue, targetTraits(config.kind)),
    close: () => {
      client.close();
    },
  };
}

/** The installed pipeline, with every table and counter that rows are written to. @throws CalicoP4Error PIPELINE_MISMATCH */
export function loadPipeline(): PipelineConfig {
  const pipeline = loadP4DpdkPipeline();
  const catalogue = buildCatalogue(pipeline.p4info);
  catalogue.requireTables(P4_DPDK_TABLES.map(({ table }) => table));
  for (const counter of P4_DPDK_COUNTERS) catalogue.counter(counter);
  for (const { table } of P4_DPDK_METERS) tableSize(catalogue, table);
  return pipeline;
}

/** Names the installed pipeline: another program, or another compile of it, has another name. */
export function pipelineName(): string {
  const { p4info, deviceConfig } = loadPipeline();
  return createHash('sha256')
    .update(JSON.stringify(p4info, bigintText))
    .update(deviceConfig)
    .digest('hex')
    .slice(0, 32);
}

function bigintText(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? value.toString() : value;
}

export function targetTraits(kind: TargetConfig['kind']): TargetTraits {
  return kind === 'embedded' ? EMBEDDED_SWITCH : INFRAP4D_DPDK;
}

/** Address, device and TLS files. */
export function connection(config: TargetConfig): ClientOptions {
  const { tls } = config;
  return clientOptions({
    address: config.address,
    deviceId: BigInt(config.deviceId),
    ...(tls === undefined
      ? {}
      : {
          security: {
            kind: 'tls',
            caFile: tls.ca,
            ...(tls.cert === undefined ? {} : { certFile: tls.cert }),
            ...(tls.key === undefined ? {} : { keyFile: tls.key }),
          },
        }),
  });
}

/** A decimal number of up to 128 bits. */
export function electionId(decimal: string): Uint128 {
  const value = BigInt(decimal);
  return { high: (value >> 64n) & 0xffff_ffff_ffff_ffffn, low: value & 0xffff_ffff_ffff_ffffn };
}

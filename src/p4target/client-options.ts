import type { Uint128 } from 'p4runtime-js-bindings';
import type { CalicoP4Error } from '../errors';
import { DEFAULT_RETRY, type RetryPolicy } from './retry';
import type { TargetSecurity } from './target-address';

export interface ClientOptions {
  /** `host:port`, `[v6]:port` or `unix:/path`. */
  readonly address: string;
  readonly security: TargetSecurity;
  /** 1 is the first; infrap4d refuses 0. */
  readonly deviceId: bigint;
  readonly electionId: Uint128;
  /** Updates in one Write. */
  readonly maxBatch: number;
  /** Milliseconds. */
  readonly timeouts: { readonly connect: number; readonly call: number; readonly pipeline: number };
  readonly retry: RetryPolicy;
  /** Waits as a backup, for as long as another controller is primary, instead of failing after timeouts.connect. */
  readonly waitAsBackup: boolean;
  /** See ArbitrationOptions.onWaiting. */
  readonly onWaiting: (said: string) => void;
  /** After each Write that the server answered: seconds, and updates in it. */
  readonly onWrite: (seconds: number, updates: number) => void;
  /** Ends the wait for the server and for being primary. */
  readonly signal?: AbortSignal;
  /** See ArbitrationOptions.onLost. */
  readonly onLost: (error: CalicoP4Error) => void;
}

/** Everything but the address has a default that fits a server on the same machine. */
export function clientOptions(given: Partial<ClientOptions> & Pick<ClientOptions, 'address'>): ClientOptions {
  return {
    security: { kind: 'insecure' },
    deviceId: 1n,
    electionId: { high: 0n, low: 1n },
    maxBatch: 500,
    timeouts: { connect: 10_000, call: 30_000, pipeline: 120_000 },
    retry: DEFAULT_RETRY,
    waitAsBackup: false,
    onWaiting: () => undefined,
    onWrite: () => undefined,
    onLost: () => undefined,
    ...given,
  };
}

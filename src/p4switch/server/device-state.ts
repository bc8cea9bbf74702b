import type { ForwardingPipelineConfig } from 'p4runtime-js-bindings';
import type { Engine, SpecKey } from '../engine';
import type { Behaviour } from './behaviour';
import type { PipelineLayout } from './layout';

/** What a controller stored with an entry; the data plane never sees it. */
export interface EntryNote {
  readonly metadata: Buffer;
  readonly controllerMetadata: bigint;
}

/** A group of an action profile, as the controller wrote it. */
export interface Group {
  /** The selector's number for it. */
  readonly slot: number;
  readonly maxSize: number;
  readonly members: readonly { readonly memberId: number; readonly weight: number }[];
}

/** A pipeline config together with what executes it. */
export interface Pipeline {
  readonly config: ForwardingPipelineConfig;
  readonly layout: PipelineLayout;
  readonly engine: Engine;
  readonly behaviour: Behaviour;
  /** Only of entries that have one; by noteKey. */
  readonly notes: Map<string, EntryNote>;
  /** By action profile and group id. */
  readonly groups: Map<number, Map<number, Group>>;
}

/** Key of an entry's note; without keys, of the table's default entry. */
export function noteKey(tableId: number, keys?: readonly SpecKey[], priority = 0): string {
  if (!keys) return `${tableId}`;
  return `${tableId}/${priority}/${keys.map((k) => `${k.value.toString(36)}&${k.mask.toString(36)}`).join()}`;
}

/**
 * How P4Runtime ids map to the spec's names: made once for a pipeline config (verify.ts), used by every Read and Write.
 */

export interface FieldLayout {
  readonly id: number;
  readonly name: string;
  readonly kind: 'exact' | 'lpm' | 'ternary' | 'optional';
  /** As in P4. */
  readonly bits: number;
  /** As in the spec, which rounds up to whole bytes. */
  readonly specBits: number;
}

export interface ParamLayout {
  readonly id: number;
  readonly name: string;
  readonly bits: number;
}

export interface ActionLayout {
  readonly id: number;
  readonly name: string;
  readonly specName: string;
  /** In p4info's order. */
  readonly params: readonly ParamLayout[];
  /** Place of each parameter in the action's struct of the spec, by p4info's order. */
  readonly positions: readonly number[];
  readonly inEntries: boolean;
  readonly asDefault: boolean;
}

export interface TableLayout {
  readonly id: number;
  readonly name: string;
  readonly specName: string;
  /** Entries are made by packets (add_on_miss): readable, not writable. */
  readonly learned: boolean;
  /** `const entries`. */
  readonly isConst: boolean;
  readonly constDefault: boolean;
  /** How many entries it takes. */
  readonly size: number;
  readonly fields: readonly FieldLayout[];
  readonly positionOfField: ReadonlyMap<number, number>;
  /** True when a field is ternary or optional: entries need a priority. */
  readonly hasPriority: boolean;
  readonly actions: ReadonlyMap<number, ActionLayout>;
  readonly actionsBySpecName: ReadonlyMap<string, ActionLayout>;
  /** Set when entries name a member or group of an action profile in the place of an action. */
  readonly indirect: Indirection | undefined;
}

/** How the spec's table of an indirect table refers to members and groups. */
export interface Indirection {
  readonly profile: ProfileLayout;
  /** Action with the member's id as its parameter. */
  readonly setMember: string;
  /** Action with the group's number as its parameter; undefined without a selector. */
  readonly setGroup: string | undefined;
}

/** An action profile: a table of the spec, by member id, and a selector of the same name with `_sel`. */
export interface ProfileLayout {
  readonly id: number;
  readonly name: string;
  readonly memberTable: string;
  readonly memberIdBits: number;
  /** How many members it takes. */
  readonly size: number;
  readonly actions: ReadonlyMap<number, ActionLayout>;
  readonly actionsBySpecName: ReadonlyMap<string, ActionLayout>;
  readonly tableIds: readonly number[];
  readonly selector: SelectorLayout | undefined;
}

export interface SelectorLayout {
  readonly specName: string;
  readonly groupsMax: number;
  /** Largest sum of a group's weights (or number of members). */
  readonly groupSizeMax: number;
  /** From p4info; 0: the controller may choose a group's largest size freely. */
  readonly maxGroupSize: number;
  readonly countsMembers: boolean;
  readonly weightsDisallowed: boolean;
}

/** Register arrays of a counter; one of them is undefined when the counter counts only the other. */
export interface CounterLayout {
  readonly id: number;
  readonly name: string;
  readonly size: number;
  readonly packets: string | undefined;
  readonly bytes: string | undefined;
}

export interface RegisterLayout {
  readonly id: number;
  readonly name: string;
  readonly array: string;
  readonly size: number;
  readonly bits: number;
}

export interface MeterLayout {
  readonly id: number;
  readonly name: string;
  /** The spec's meter array. */
  readonly array: string;
  readonly size: number;
}

export interface PipelineLayout {
  readonly tables: ReadonlyMap<number, TableLayout>;
  readonly counters: ReadonlyMap<number, CounterLayout>;
  readonly registers: ReadonlyMap<number, RegisterLayout>;
  readonly meters: ReadonlyMap<number, MeterLayout>;
  readonly profiles: ReadonlyMap<number, ProfileLayout>;
}

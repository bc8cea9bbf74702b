/**
 * A `.spec`, the text that p4c's DPDK backend emits for DPDK's SWX pipeline, as typed data. Names are the spec's own.
 * Everything is resolved: a field reference knows its byte offset, a jump the index of the instruction it goes to.
 * Every declaration carries the line it stands on, for messages.
 */

export interface Spec {
  readonly structs: ReadonlyMap<string, StructType>;
  /** Header instances, in the order of their declaration. */
  readonly headers: ReadonlyMap<string, Header>;
  readonly metadata: StructType;
  readonly actions: ReadonlyMap<string, Action>;
  readonly tables: ReadonlyMap<string, Table>;
  readonly selectors: ReadonlyMap<string, Selector>;
  readonly learners: ReadonlyMap<string, Learner>;
  readonly regarrays: ReadonlyMap<string, RegArray>;
  readonly metarrays: ReadonlyMap<string, MetArray>;
  readonly apply: readonly Instruction[];
}

export interface StructType {
  readonly name: string;
  readonly fields: readonly Field[];
  /** Bytes of the fixed part: a trailing varbit field is not counted. */
  readonly bytes: number;
  /** Bytes with a trailing varbit field at its largest. */
  readonly maxBytes: number;
  readonly line: number;
}

export interface Field {
  readonly name: string;
  /** A multiple of 8, as SWX demands. */
  readonly bits: number;
  /** In bytes, from the start of the struct. */
  readonly offset: number;
  /** A trailing `varbit<N>`; instructions can not name it. */
  readonly variable: boolean;
}

export interface Header {
  readonly name: string;
  readonly type: StructType;
  readonly line: number;
}

export interface RegArray {
  readonly name: string;
  readonly size: number;
  readonly initial: bigint;
  readonly line: number;
}

export interface MetArray {
  readonly name: string;
  readonly size: number;
  readonly line: number;
}

export interface Action {
  readonly name: string;
  /** undefined when the action takes no arguments. */
  readonly args: StructType | undefined;
  readonly instructions: readonly Instruction[];
  readonly line: number;
}

export type MatchKind = 'exact' | 'lpm' | 'wildcard';

export interface KeyField {
  readonly field: FieldRef;
  readonly match: MatchKind;
}

/** What an action of a table's list may be used for: `@tableonly` and `@defaultonly` take one of them away. */
export interface TableAction {
  readonly name: string;
  readonly inEntries: boolean;
  readonly asDefault: boolean;
}

export interface DefaultAction {
  readonly name: string;
  /** In the order of the action's struct. */
  readonly params: readonly bigint[];
  readonly isConst: boolean;
}

export interface Table {
  readonly name: string;
  /** Empty for a table without a key: its default action always runs. */
  readonly keys: readonly KeyField[];
  readonly actions: readonly TableAction[];
  readonly defaultAction: DefaultAction;
  readonly size: number;
  readonly line: number;
}

export interface Learner {
  readonly name: string;
  readonly keys: readonly KeyField[];
  readonly actions: readonly TableAction[];
  readonly defaultAction: DefaultAction;
  readonly size: number;
  /** Seconds, by timeout id. */
  readonly timeouts: readonly number[];
  readonly line: number;
}

export interface Selector {
  readonly name: string;
  readonly groupId: FieldRef;
  readonly fields: readonly FieldRef[];
  readonly memberId: FieldRef;
  readonly groupsMax: number;
  readonly membersPerGroupMax: number;
  readonly line: number;
}

export type FieldRef = {
  /** As written, for example `h.ipv4.ttl`. */
  readonly text: string;
  readonly bits: number;
  readonly offset: number;
} & (
  | { readonly in: 'header'; readonly header: string }
  | { readonly in: 'metadata' }
  /** A field of the running action's arguments (`t.`). */
  | { readonly in: 'args' }
);

export type Operand = FieldRef | { readonly in: 'const'; readonly value: bigint };

export type AluOp = 'add' | 'sub' | 'and' | 'or' | 'xor' | 'shl' | 'shr';
export type Comparison = 'eq' | 'neq' | 'lt' | 'gt';

export type Operation =
  | { readonly op: 'rx'; readonly port: FieldRef }
  | { readonly op: 'tx'; readonly port: Operand }
  | { readonly op: 'drop' }
  | { readonly op: 'recirculate' }
  | { readonly op: 'recircid'; readonly dst: FieldRef }
  | { readonly op: 'extract'; readonly header: string; readonly variableBytes: FieldRef | undefined }
  | { readonly op: 'lookahead'; readonly header: string }
  | { readonly op: 'emit'; readonly header: string }
  | { readonly op: 'validate'; readonly header: string }
  | { readonly op: 'invalidate'; readonly header: string }
  | { readonly op: 'mov'; readonly dst: FieldRef; readonly src: Operand }
  | { readonly op: AluOp; readonly dst: FieldRef; readonly src: Operand }
  | { readonly op: 'ckadd' | 'cksub'; readonly dst: FieldRef; readonly src: FieldRef }
  | { readonly op: 'ckaddheader'; readonly dst: FieldRef; readonly header: string }
  | { readonly op: 'hash'; readonly dst: FieldRef; readonly first: FieldRef; readonly last: FieldRef }
  | { readonly op: 'regprefetch'; readonly array: string; readonly index: Operand }
  | { readonly op: 'regrd'; readonly dst: FieldRef; readonly array: string; readonly index: Operand }
  | {
      readonly op: 'regwr' | 'regadd';
      readonly array: string;
      readonly index: Operand;
      readonly src: Operand;
    }
  | { readonly op: 'metprefetch'; readonly array: string; readonly index: Operand }
  | {
      readonly op: 'meter';
      readonly array: string;
      readonly index: Operand;
      /** What the packet takes out of the buckets. */
      readonly amount: FieldRef;
      /** 0 green, 1 yellow, 2 red; so the result. */
      readonly colour: Operand;
      readonly dst: FieldRef;
    }
  | { readonly op: 'table' | 'selector' | 'learner'; readonly name: string }
  | {
      readonly op: 'learn';
      readonly action: string;
      /** Metadata field that holds the first argument; the others follow it. undefined: no arguments. */
      readonly firstArg: FieldRef | undefined;
      readonly timeoutId: FieldRef;
    }
  | { readonly op: 'rearm'; readonly timeoutId: FieldRef | undefined }
  | { readonly op: 'forget' }
  | { readonly op: 'entryid'; readonly dst: FieldRef }
  | { readonly op: 'jmp' | 'jmph' | 'jmpnh'; readonly target: number }
  | { readonly op: 'jmpv' | 'jmpnv'; readonly target: number; readonly header: string }
  | { readonly op: 'jmpa' | 'jmpna'; readonly target: number; readonly action: string }
  | {
      readonly op: 'jmpcmp';
      readonly compare: Comparison;
      readonly target: number;
      readonly a: FieldRef;
      readonly b: Operand;
    }
  | { readonly op: 'return' };

/** `target` of a jump is an index into the same list of instructions. */
export type Instruction = Operation & { readonly line: number; readonly label: string | undefined };

import {
  Update_Type,
  WriteRequest,
  WriteRequest_Atomicity,
  WriteResponse,
  type TableEntry,
  type Uint128,
  type Update,
} from 'p4runtime-js-bindings';

/** The method Write with a request that is bytes already: an update is encoded once, by whoever makes it. */
export const WRITE_METHOD = {
  path: '/p4.v1.P4Runtime/Write',
  serialize: (request: Buffer): Buffer => request,
  deserialize: (response: Buffer): WriteResponse => WriteResponse.decode(response),
} as const;

/** WriteRequest.updates: field 4, length-delimited. */
const UPDATES_TAG = 0x22;

/** A WriteRequest of encoded updates, each with an outcome of its own. */
export function writeRequest(
  session: { readonly deviceId: bigint; readonly electionId: Uint128 | undefined },
  updates: readonly Uint8Array[],
): Buffer {
  const head = WriteRequest.create({ ...session, atomicity: WriteRequest_Atomicity.CONTINUE_ON_ERROR });
  return withUpdates(WriteRequest.encode(head).finish(), updates);
}

/** A WriteRequest whose updates are bytes already; `head` is the request without them. */
function withUpdates(head: Uint8Array, updates: readonly Uint8Array[]): Buffer {
  let size = head.length;
  for (const { length } of updates) size += 1 + varintSize(length) + length;
  const out = Buffer.allocUnsafe(size);
  out.set(head);
  let at = head.length;
  for (const update of updates) {
    out[at++] = UPDATES_TAG;
    let { length } = update;
    for (; length > 0x7f; length >>>= 7) out[at++] = (length & 0x7f) | 0x80;
    out[at++] = length;
    out.set(update, at);
    at += update.length;
  }
  return out;
}

function varintSize(value: number): number {
  let size = 1;
  for (let rest = value; rest > 0x7f; rest >>>= 7) size++;
  return size;
}

/** An update of a table entry. */
export function tableUpdate(type: 'insert' | 'modify' | 'delete', entry: TableEntry): Update {
  const types = {
    insert: Update_Type.INSERT,
    modify: Update_Type.MODIFY,
    delete: Update_Type.DELETE,
  } as const;
  return { type: types[type], entity: { entity: { $case: 'tableEntry', value: entry } } };
}

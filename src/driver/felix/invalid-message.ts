import type { Type } from 'protobufjs';
import { readFields } from './wire';

/** Something in a message that can not be understood as it must be. The decoder adds the frame and the payload's name. */
export class InvalidMessage extends Error {}

/** Where a field that this form does not know may be passed over: a newer patch release may add what no verdict needs. */
export type UnknownFields = 'tolerate' | 'refuse';

/**
 * Refuses a decoded message with a known field of another wire type, which protobufjs passes over, and, if told so, one with a
 * field that the form does not know. `what` names the object for people.
 * @throws InvalidMessage
 */
export function checkFields(message: object, what: string, unknownFields: UnknownFields = 'tolerate'): void {
  const { $unknowns, $type } = message as {
    readonly $unknowns?: readonly Uint8Array[];
    readonly $type: Type;
  };
  for (const raw of $unknowns ?? []) {
    for (const field of readFields(raw)) {
      if ($type.fieldsById[field.number] !== undefined) {
        throw new InvalidMessage(`${what} has field ${field.number} in another encoding than the contract's`);
      }
      if (unknownFields === 'refuse') {
        throw new InvalidMessage(
          `${what} has a field ${field.number} that this version of calico-p4 does not know and that may decide a verdict`,
        );
      }
    }
  }
}

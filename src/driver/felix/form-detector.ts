import { CalicoP4Error } from '../../errors';
import type { Envelope } from './envelope';
import type { Form } from './forms';
import { FORMS } from './forms';
import type { Traits } from './forms/traits';
import { observeTraits, TraitError } from './forms/traits';
import { WireError } from './wire';

/**
 * Tells the form of one stream from the bytes of its messages. There is no version in the handshake, and the cluster's
 * CalicoVersion in ConfigUpdate may differ from Felix's own.
 *
 * Every form starts as a candidate; what a message shows (see `Traits`) rules candidates out, before that message is
 * decoded. So the survivors agree on every message so far, and the newest of them may decode: nothing need be held back.
 * A snapshot without any policy, for example, leaves several candidates at InSync. They all give the same model, which denies or allows by
 * profiles alone; the detector keeps watching, and the first policy decides. Once shown, a trait never changes in a stream.
 */
export interface FormDetector {
  /**
   * Looks at the next message and returns the form to decode it with.
   * @throws CalicoP4Error FELIX_FORM_UNKNOWN when the stream is of no known form, FELIX_FORM_CHANGED when it contradicts its own
   * earlier messages, FELIX_MESSAGE_INVALID when the bytes are not protobuf.
   */
  observe(envelope: Envelope): Form;
  /** The forms that are still possible, newest last. */
  candidates(): readonly Form[];
}

export function createFormDetector(forms: readonly Form[] = FORMS): FormDetector {
  let candidates = forms;
  const seen = new Map<keyof Traits, { readonly value: string; readonly frame: number }>();
  const known = forms.map((f) => f.releases).join('; ');

  function unknown(frame: number, what: string): CalicoP4Error {
    return new CalicoP4Error(
      'FELIX_FORM_UNKNOWN',
      `frame ${frame} of the Felix stream has ${what}: this is none of the contract's forms known here (Calico ${known}). ` +
        'Nothing is enforced; use a supported Calico release',
      { frame },
    );
  }

  return {
    observe(envelope) {
      const { frame } = envelope;
      try {
        for (const { trait, value } of observeTraits(envelope)) {
          const before = seen.get(trait);
          if (before?.value === value) {
            continue;
          }
          if (before !== undefined) {
            if (before.frame === frame) {
              throw unknown(frame, `two forms at once (${trait}: ${before.value} and ${value})`);
            }
            throw new CalicoP4Error(
              'FELIX_FORM_CHANGED',
              `frame ${frame} of the Felix stream has another form of ${trait} (${value}) than frame ${before.frame} (${before.value}): ` +
                'two streams are mixed. Restart Felix',
              { frame, trait, before: before.value, now: value },
            );
          }
          seen.set(trait, { value, frame });
          candidates = candidates.filter((form) => form.traits[trait] === value);
        }
      } catch (e) {
        if (e instanceof TraitError) {
          throw unknown(frame, e.message);
        }
        if (e instanceof WireError) {
          throw new CalicoP4Error(
            'FELIX_MESSAGE_INVALID',
            `frame ${frame} of the Felix stream has a payload that can not be read: ${e.message}`,
            { frame, payload: envelope.payload },
            { cause: e },
          );
        }
        throw e;
      }
      const form = candidates.at(-1);
      if (form === undefined) {
        const shown = [...seen].map(([trait, s]) => `${trait} ${s.value}`).join(', ');
        throw unknown(frame, `a combination (${shown}) that no supported release sends`);
      }
      return form;
    },
    candidates: () => candidates,
  };
}

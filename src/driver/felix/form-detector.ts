import { CalicoP4Error } from '../../errors';
import type { Envelope } from './envelope';
import type { Form } from './forms';
import { FORMS } from './forms';
import type { Observation, Traits } from './forms/traits';
import { observeTraits, TraitError } from './forms/traits';
import { WireError } from './wire';

/**
 * Tells the form of one stream from the bytes of its messages. There is no version in the handshake, and the cluster's
 * CalicoVersion in ConfigUpdate may differ from Felix's own.
 *
 * Every form starts as a candidate; what a message shows (see `Traits`) rules candidates out, before that message is
 * decoded. So the survivors agree on every message so far, and the newest of them may decode: nothing need be held back.
 * A snapshot without any policy, for example, leaves several candidates at InSync. They all give the same model, which denies or allows by
 * profiles alone; the detector keeps watching, and the first policy decides. What has been shown rules for the rest of the stream.
 * docs/felix-forms.md has the reason for each trait.
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
  /** The frame in which each value was seen first. */
  const seen = new Map<keyof Traits, Map<string, number>>();
  const known = forms.map((f) => f.releases).join('; ');

  function unknown(frame: number, what: string): CalicoP4Error {
    return new CalicoP4Error(
      'FELIX_FORM_UNKNOWN',
      `frame ${frame} of the Felix stream has ${what}: this is none of the contract's forms known here (Calico ${known}). ` +
        'Nothing is enforced; use a supported Calico release',
      { frame },
    );
  }

  /** @throws CalicoP4Error when no form is left */
  function see({ trait, value }: Observation, frame: number): void {
    const values = seen.get(trait) ?? new Map<string, number>();
    if (values.has(value)) {
      return;
    }
    values.set(value, frame);
    seen.set(trait, values);
    candidates = candidates.filter((form) => (form.traits[trait] as readonly string[]).includes(value));
    if (candidates.length > 0) {
      return;
    }
    const [before, beforeFrame] = [...values].find(([other]) => other !== value) ?? [undefined, frame];
    if (before === undefined) {
      const shown = [...seen].map(([name, those]) => `${name} ${[...those.keys()].join(' and ')}`).join(', ');
      throw unknown(frame, `a combination (${shown}) that no supported release sends`);
    }
    if (beforeFrame === frame) {
      throw unknown(frame, `two forms at once (${trait}: ${before} and ${value})`);
    }
    throw new CalicoP4Error(
      'FELIX_FORM_CHANGED',
      `frame ${frame} of the Felix stream has another form of ${trait} (${value}) than frame ${beforeFrame} (${before}): ` +
        'two streams are mixed. Restart Felix',
      { frame, trait, before, now: value },
    );
  }

  return {
    observe(envelope) {
      const { frame } = envelope;
      try {
        for (const observation of observeTraits(envelope)) {
          see(observation, frame);
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
      return candidates.at(-1)!;
    },
    candidates: () => candidates,
  };
}

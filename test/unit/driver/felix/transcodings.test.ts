/** Other recordings, said in the older forms: the models, and the rows made from them, are those of the newest. */
import { isDeepStrictEqual } from 'node:util';
import { createFelixSession } from '../../../../src/driver/felix/felix-session';
import { createPlacement } from '../../../../src/driver/placement';
import type { FelixModel } from '../../../../src/model/model';
import { activeWorkloads } from '../../../../src/translators/endpoints';
import { createPolicyCompiler } from '../../../../src/translators/policy/compiler';
import { FORM_NAMES, framesOf, recording, testWith } from './recordings';
import { transcoded } from './transcoder';
import { lacks, without, withoutQos } from './without';

/** Name, and at how many moments the models are compared; rows are at InSync and at the end. */
const STREAMS = [
  ['01-minimal', 100],
  ['02-policy', 100],
  ['07-k8s-via-typha', 100],
  ['08s-scale-small', 4],
] as const;

function rows(model: FelixModel): object {
  const endpoints = createPlacement(2, []).place(activeWorkloads(model));
  const compiled = createPolicyCompiler().compile(model, endpoints);
  return { rows: compiled.rows, problems: compiled.problems };
}

/** jest's own comparison takes minutes for what is equal. */
function same(what: string, ours: object, theirs: object): void {
  if (!isDeepStrictEqual(ours, theirs)) {
    expect({ [what]: ours }).toEqual({ [what]: theirs });
  }
}

for (const [name, moments] of STREAMS) {
  for (const form of FORM_NAMES) {
    testWith(name)(`${name} as ${form} is what it is as v3.33`, () => {
      const newest = createFelixSession();
      const older = createFelixSession();
      const frames = framesOf(recording(name));
      const versions = transcoded(recording(name), form);
      const every = Math.ceil(frames.length / moments);
      frames.forEach((frame, i) => {
        const wasInSync = newest.model.inSync;
        newest.push(frame);
        older.push(versions[i]!);
        const last = i === frames.length - 1;
        const justInSync = newest.model.inSync && !wasInSync;
        if (i % every !== 0 && !last && !justInSync) {
          return;
        }
        const known = form < 'v3.30' ? withoutQos(newest.model) : newest.model;
        const [theirs, ours] = [without(older.model, lacks(form)), without(known, lacks(form))];
        same(`model after frame ${i}`, theirs, ours);
        // What the older release lacks was left out of the stream, not read past.
        expect([...older.model.policies.values()].filter(lacks(form))).toEqual([]);
        if (last || justInSync) {
          same(`rows after frame ${i}`, rows(theirs), rows(ours));
        }
      });
      older.end();
      const told = older.formCandidates().map((f) => f.name);
      expect(told).toContain(form);
      expect(new Set(told.map((f) => f < 'v3.32'))).toEqual(new Set([form < 'v3.32']));
    });
  }
}

import type { Spec } from '../../../src/p4switch/spec/ast';
import type { Random } from './random';

/** What the first look at a packet of a tunnel tells the second one; no packet begins with it (test/unit/pipelines/tunnels.test.ts). */
const KEPT = ['local_metadata_again', 'local_metadata_room'];

/**
 * The spec with instructions at its start that overwrite everything SWX keeps from packet to packet: metadata, and the
 * bytes of headers that are not valid. A program that reads only what it has written for this packet can not tell.
 */
export function poisoned(spec: Spec, text: string, random: Random): string {
  // Small numbers are what flags, kinds and reasons look like; they mislead more than noise.
  const garbage = (bits: number): string => {
    const value = random.pick([1n, 1n, 2n, 3n, BigInt(random.below(2 ** 32)), 2n ** 64n - 1n]);
    return `0x${BigInt.asUintN(Math.min(bits, 64), value).toString(16)}`;
  };
  const rx = /^\trx m\.(\w+)$/m.exec(text);
  if (rx === null) throw new Error('the spec does not begin with rx');
  const metadata = spec.metadata.fields
    .filter(({ name }) => name !== rx[1] && !KEPT.includes(name))
    .map(({ name, bits }) => `mov m.${name} ${garbage(bits)}`);
  const headers = [...spec.headers.values()].flatMap(({ name, type }) => [
    `validate h.${name}`,
    ...type.fields.map((field) => `mov h.${name}.${field.name} ${garbage(field.bits)}`),
    `invalidate h.${name}`,
  ]);
  return text.replace(rx[0], [rx[0], ...metadata, ...headers].join('\n\t'));
}

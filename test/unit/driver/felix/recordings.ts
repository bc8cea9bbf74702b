import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';

/** Recordings of real Felix streams: the small ones are here, the large ones beside the checkout (see the README there). */
const FOLDERS = [
  path.resolve(__dirname, '../../../recordings'),
  path.resolve(__dirname, '../../../../../shared/recordings'),
];

/** The bytes of a recording, `08-scale` for example. */
export function recording(name: string): Buffer {
  const file = find(name);
  if (file === undefined) {
    throw new Error(`the recording ${name} is not in ${FOLDERS.join(' or ')}`);
  }
  return file.endsWith('.xz')
    ? execFileSync('xz', ['--decompress', '--stdout', file], { maxBuffer: 1 << 30 })
    : readFileSync(file);
}

/** `test`, or `test.skip` with a word about it where one of the recordings is missing: the large ones are not in the repository. */
export function testWith(...names: readonly string[]): jest.It {
  const missing = names.filter((name) => find(name) === undefined);
  if (missing.length === 0) {
    return test;
  }
  console.warn(`skipping a test: the recording ${missing.join(', ')} is not in ${FOLDERS[1]}`);
  return test.skip;
}

/** The releases of Calico that the one scenario of release.md was recorded from, and the form that each speaks. */
export const RELEASES = [
  ['3.26.5', 'v3.26'],
  ['3.29.7', 'v3.29'],
  ['3.30.7', 'v3.30'],
  ['3.32.1', 'v3.32'],
  ['3.33.0-pre', 'v3.33'],
] as const;

export type Release = (typeof RELEASES)[number][0];
export type FormName = (typeof RELEASES)[number][1];
export const FORM_NAMES: readonly FormName[] = RELEASES.map(([, form]) => form);

/** The last frame of each step of that scenario, in the order of RELEASES; undefined where a release lacks what the step is about. */
export const STEPS: readonly (readonly [string, readonly (number | undefined)[]])[] = [
  ['start-of-day', [88, 93, 108, 93, 93]],
  ['pod-add', [98, 103, 118, 103, 103]],
  ['remote-pod-add', [99, 104, 119, 104, 104]],
  ['pod-label', [104, 109, 124, 109, 109]],
  ['remote-pod-label', [108, 113, 128, 113, 113]],
  ['knp-edit', [113, 118, 131, 116, 116]],
  ['gnp-edit', [121, 126, 139, 124, 124]],
  ['gns-edit', [122, 127, 140, 125, 125]],
  ['knp-delete', [128, 133, 146, 131, 131]],
  ['gnp-delete', [131, 136, 149, 134, 134]],
  ['ns-label', [133, 138, 151, 136, 136]],
  ['pod-delete', [141, 146, 159, 144, 144]],
  ['remote-pod-delete', [145, 150, 163, 148, 148]],
  ['node-add', [160, 165, 178, 163, 160]],
  ['node-delete', [170, 175, 188, 173, 168]],
  ['hep-delete', [171, 176, 189, 174, 169]],
  ['tier-policy-delete', [undefined, 178, 191, 176, 171]],
  ['staged-delete', [undefined, undefined, 193, 178, 173]],
  ['gnp-bad-delete', [179, 186, 201, 186, 181]],
];

/** A stream's frames, headers included. */
export function framesOf(stream: Buffer): Buffer[] {
  const frames: Buffer[] = [];
  for (let at = 0; at < stream.length;) {
    const end = at + 8 + Number(stream.readBigUInt64LE(at));
    frames.push(stream.subarray(at, end));
    at = end;
  }
  return frames;
}

function find(name: string): string | undefined {
  return FOLDERS.flatMap((folder) =>
    [`${name}.bin`, `${name}.bin.xz`].map((file) => path.join(folder, file)),
  ).find(existsSync);
}

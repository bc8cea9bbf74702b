/** Recorded Felix streams to mutate: the small ones, whole. */
import fs from 'node:fs';
import path from 'node:path';
import { createFrameDecoder } from '../../../src/driver/felix/frame-decoder';

const FOLDERS = [
  path.join(__dirname, '../../recordings'),
  path.join(__dirname, '../../../../shared/recordings'),
];
const MAX_BYTES = 64 * 1024;

/** Messages of each recording, without their lengths. */
export function recordedStreams(): readonly (readonly Uint8Array[])[] {
  return FOLDERS.filter((folder) => fs.existsSync(folder))
    .flatMap((folder) => fs.readdirSync(folder).map((name) => path.join(folder, name)))
    .filter((file) => file.endsWith('.bin') && fs.statSync(file).size <= MAX_BYTES)
    .map((file) => createFrameDecoder().push(fs.readFileSync(file)));
}

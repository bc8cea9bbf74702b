import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';

/** Recordings of real Felix streams, kept beside the checkout (see their README). */
export const RECORDINGS = path.resolve(__dirname, '../../../../../shared/recordings');

/** The bytes of a recording, `08-scale` for example. */
export function recording(name: string): Buffer {
  const file = path.join(RECORDINGS, `${name}.bin`);
  return name === '08-scale'
    ? execFileSync('xz', ['--decompress', '--stdout', `${file}.xz`], { maxBuffer: 1 << 30 })
    : readFileSync(file);
}

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

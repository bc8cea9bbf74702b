/** What a lab makes of a recorded Felix. */
import path from 'node:path';
import { readRecording } from '../../../src/lab/recording';
import { recording } from '../driver/felix/recordings';

const file = (name: string): string => path.join(__dirname, '../../recordings', `${name}.bin`);

test('pods are its active endpoints, with their addresses; the host is its node', async () => {
  const { pods, left, host, outside, frames, stream } = await readRecording(file('02-policy'), 'insync', 20);
  expect(pods.map(({ name, ips, workloadId }) => [name, workloadId, ...ips])).toEqual([
    ['dev-0', 'dev/dev-0', '10.65.0.30'],
    ['db-0', 'prod/db-0', '10.65.0.20', 'fd00:65::20'],
    ['web-0', 'prod/web-0', '10.65.0.10', 'fd00:65::10'],
    ['web-1', 'prod/web-1', '10.65.0.11'],
    ['vm1', 'dev/vm1', '10.65.0.40'],
  ]);
  expect({ left, frames }).toEqual({ left: 0, frames: 80 });
  expect([host.ips, outside.ips]).toEqual([
    ['10.1.0.10', 'fd00:1::10'],
    ['192.0.2.9', '2001:db8:ffff::9'],
  ]);
  // The frames that were read, and not a byte more.
  expect(recording('02-policy').subarray(0, stream.length).equals(stream)).toBe(true);
});

test('what was cut to be given to the driver is the same recording', async () => {
  const whole = await readRecording(file('02-policy'), 'end', 20);
  expect(whole.stream.length).toBe(recording('02-policy').length);
  expect(whole.pods.map(({ name }) => name)).toEqual(['dev-0', 'noprof', 'vm1']);
});

test.each(['release-3.26.5', 'release-3.29.7', 'release-3.30.7', 'release-3.32.1', 'release-3.33.0-pre'])(
  '%s: no more pods than asked for',
  async (name) => {
    const { pods, left } = await readRecording(file(name), 'insync', 2);
    expect(pods.map((pod) => pod.name)).toEqual(['batch-0', 'cli-0']);
    expect(left).toBe(4);
  },
);

test.each([
  [file('02-policy'), 3, /4 frames, and Felix is not in sync by then.*see --at/],
  ['/no/such/recording', 'end', /can not read the stream/],
] as const)('%s at %s is refused', async (name, at, words) => {
  await expect(readRecording(name, at, 20)).rejects.toThrow(words);
});

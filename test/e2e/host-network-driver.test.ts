/** The driver's process with a host's kernel to look after: rows by what the kernel learns, and a restart after SIGKILL. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { makeNamespaces, whyNoNamespaces, type Namespaces } from '../support/namespaces';
import { framesOf, recording } from '../unit/driver/felix/recordings';
import { ROOT, run, spawnRunning, start, stop, until, type Running } from './support/processes';

const why = whyNoNamespaces();
if (why !== undefined) console.warn(`skipping tests of the host's network: ${why}`);
const live = why === undefined ? test : test.skip;

const folder = mkdtempSync(path.join(tmpdir(), 'calico-p4-host-network-'));
const socket = `unix:${path.join(folder, 'p4rt.sock')}`;
const running: Running[] = [];
let net: Namespaces | undefined;
afterAll(async () => {
  for (const one of running) await stop(one);
  net?.remove();
  rmSync(folder, { recursive: true, force: true });
});

const IN_SYNC = 65;
const ENV = {
  CALICO_P4_TARGET_ADDRESS: socket,
  CALICO_P4_INTERFACES_UPLINK: 'upl',
  CALICO_P4_INTERFACES_HOST: 'cali0',
  CALICO_P4_NAMES_FILE: path.join(folder, 'names.json'),
  CALICO_P4_JOURNAL_FILE: path.join(folder, 'journal'),
  CALICO_P4_METRICS_LISTEN: '',
  CALICO_P4_LOG_LEVEL: 'info',
};

/** In the node's namespace, with the snapshot of recording 03. */
function startDriver(namespaces: Namespaces): Running {
  const driver = spawnRunning(
    'ip',
    ['netns', 'exec', namespaces.name('node'), path.join(ROOT, 'bin/calico-p4-felix-driver')],
    { stdio: ['ignore', 'pipe', 'pipe', 'pipe', 'pipe'], env: ENV },
  );
  running.push(driver);
  (driver.child.stdio[4] as Readable).resume();
  const toDriver = driver.child.stdio[3] as Writable;
  toDriver.on('error', () => undefined);
  for (const frame of framesOf(recording('03-vxlan-routes')).slice(0, IN_SYNC + 1)) toDriver.write(frame);
  return driver;
}

async function nextHops(): Promise<string> {
  const { stdout, stderr } = await run('calico-p4', [
    'tables',
    '--target',
    socket,
    '--table',
    'next_hop',
    '--names',
    ENV.CALICO_P4_NAMES_FILE,
  ]);
  return stdout + stderr;
}

async function untilNextHops(what: string, holds: (text: string) => boolean): Promise<void> {
  for (let i = 0; i < 40; i++) {
    if (holds(await nextHops())) return;
  }
  throw new Error(`${what}: ${await nextHops()}`);
}

live('rows follow the kernel, and a driver that is killed comes back to what it left', async () => {
  const names = (net = makeNamespaces('node', 'lan'));
  names.ip('node', `link add upl type veth peer name b0 netns ${names.name('lan')}`);
  names.ip('node', 'link add cali0 type veth peer name cali0p');
  for (const device of ['upl', 'cali0', 'cali0p']) names.ip('node', `link set ${device} up`);
  names.ip('lan', 'link set b0 up');
  for (const address of ['10.1.0.11', '10.1.0.1']) names.ip('lan', `address add ${address}/24 dev b0`);
  names.ip('node', 'address add 10.1.0.10/24 dev cali0');
  names.ip('node', 'route add default via 10.1.0.1');
  const embeddedSwitch = start('calico-p4', ['switch', '--engine', 'interpreter', '--listen', socket]);
  running.push(embeddedSwitch);
  await until('the switch', () => embeddedSwitch.output().stdout.includes('P4Runtime at'));

  const first = startDriver(names);
  await until('the first write', () => first.output().stderr.includes('in sync with Felix'));
  const lan = /link\/ether (\S+)/.exec(names.ip('lan', 'link show b0'))![1]!;
  const upl = /link\/ether (\S+)/.exec(names.ip('node', 'link show upl'))![1]!;
  const r1 = new RegExp(`vxlan hop 10.66.1.1 \\(node-r1\\) -> to_vxlan4 port uplink dst ${lan} src ${upl}`);
  // Not on our subnet: by the router.
  const r3 = new RegExp(`vxlan hop 10.66.3.1 \\(node-r3\\) -> to_vxlan4 port uplink dst ${lan}`);
  await untilNextHops('the neighbours', (text) => r1.test(text) && r3.test(text));
  // Nobody answers for it.
  expect(await nextHops()).not.toContain('10.66.2.1');
  expect(names.ip('node', 'route')).toContain(
    '10.66.0.0/16 via 169.254.1.1 dev cali0 proto 88 src 10.66.0.1 onlink',
  );
  expect(names.run('node', 'nft', ['list', 'ruleset'])).toMatch(
    /netdev calico-p4[^]*inet calico-p4[^]*10\.66\.0\.0\/16/,
  );

  names.run('lan', 'sysctl', ['-qw', 'net.ipv4.conf.b0.arp_notify=1']);
  names.ip('lan', 'link set b0 down');
  names.ip('lan', 'link set b0 address 02:00:00:00:0b:0b');
  names.ip('lan', 'link set b0 up');
  await untilNextHops('the moved neighbour', (text) =>
    text.includes('hop 10.66.1.1 (node-r1) -> to_vxlan4 port uplink dst 02:00:00:00:0b:0b'),
  );

  first.child.kill('SIGKILL');
  await first.ended;
  const before = [names.ip('node', 'route'), names.run('node', 'nft', ['list', 'ruleset']), await nextHops()];
  const second = startDriver(names);
  await until('the second to be in sync', () => second.output().stderr.includes('in sync with Felix'));
  const said = second.output().stderr;
  for (const written of [
    'rules of the host written',
    'routes of the host written',
    'gets nothing from the uplink',
  ])
    expect(said).not.toContain(written);
  expect(said).not.toContain('target written');
  expect([
    names.ip('node', 'route'),
    names.run('node', 'nft', ['list', 'ruleset']),
    await nextHops(),
  ]).toEqual(before);
  await stop(second);

  const cleaned = spawnRunning(
    'ip',
    ['netns', 'exec', names.name('node'), path.join(ROOT, 'bin/calico-p4'), 'cleanup'],
    { env: ENV },
  );
  expect(await cleaned.ended).toBe(0);
  expect(names.run('node', 'nft', ['list', 'ruleset'])).toBe('');
  expect(names.ip('node', 'route')).not.toContain('169.254.1.1');
});

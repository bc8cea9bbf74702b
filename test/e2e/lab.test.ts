/** `calico-p4 lab` as a user runs it: live packets between pods, and nothing left behind. Under a name of its own. */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { CONNECTED, HOPS, PING, labOf } from './support/lab';
import { describeEngine } from './engine/engine';
import { ROOT, run } from './support/processes';
import { processesWith } from '../../src/lab/processes';

jest.setTimeout(180_000);

/** Of recording 02-policy. */
const WEB = { name: 'web-0', interface: 'calib341f4b4e52', ip: '10.65.0.10' } as const;
const DB = { name: 'db-0', interface: 'cali1a1d93fb084', ip: '10.65.0.20' } as const;
const DEV = { name: 'dev-0', interface: 'calid4521662403', ip: '10.65.0.30' } as const;
/** From here on no host endpoint of all interfaces has its say in what pods send each other. */
const AT = '202';
const PACKETS = [
  [DB, WEB.ip, 8080],
  [DB, WEB.ip, 80],
  [WEB, DB.ip, 8080],
  [DEV, WEB.ip, 8080],
] as const;

describeEngine('calico-p4 lab', { root: true }, () => {
  const lab = labOf(`t${process.pid}`);

  beforeAll(async () => {
    expect(await lab.run('up')).toMatchObject({
      code: 0,
      stdout: 'lab is up: web, client, stranger\n',
      stderr: '',
    });
  });
  afterAll(async () => {
    await lab.run('down');
  });

  it.each(['10.65.0.10', 'fd00:65::10'])('client reaches web at %s, stranger does not', async (web) => {
    expect(await lab.python('client', PING, web)).toBe('answered');
    expect(await lab.python('stranger', PING, web)).toBe('silence');
    expect(await lab.python('client', CONNECTED, web, '80')).toMatch(
      /^hello from web, (10\.65\.0\.11|fd00:65::11)$/,
    );
    expect(await lab.python('stranger', CONNECTED, web, '80')).toBe('silence');
    // Not allowed to anybody, and allowed by the default of pods that no policy selects.
    expect(await lab.python('client', CONNECTED, web, '81')).toBe('silence');
    const stranger = web.replace(/10$/, '12');
    expect(await lab.python('web', PING, stranger)).toBe('answered');
    expect(await lab.python('client', CONNECTED, stranger, '80')).toBe('refused');
  });

  it.each([
    ['192.0.2.9', '192.0.2.1', '10.65.0.1'],
    ['2001:db8:ffff::9', '2001:db8:ffff::1', 'fd00:65::1'],
  ])('the world behind the uplink is %s, the node is %s', async (outside, host, pods) => {
    const [web, client] = [`${pods}0`, `${pods}1`];
    for (const place of ['web', 'client', 'stranger', 'host'])
      expect([place, await lab.python(place, PING, outside)]).toEqual([place, 'answered']);
    for (const place of ['web', 'client', 'outside'])
      expect([place, await lab.python(place, PING, host)]).toEqual([place, 'answered']);
    expect(await lab.python('client', CONNECTED, outside, '80')).toBe(`hello from outside, ${client}`);
    // Policy of web is for client alone; the node reaches its own pods.
    expect(await lab.python('outside', PING, client)).toBe('answered');
    expect(await lab.python('outside', PING, web)).toBe('silence');
    expect(await lab.python('outside', CONNECTED, web, '80')).toBe('silence');
    expect(await lab.python('host', CONNECTED, web, '80')).toBe(`hello from web, ${host}`);
  });

  it('the node says when the time to live is over', async () => {
    const { stdout } = await lab.run('exec', 'client', '--', 'python3', '-c', HOPS, '192.0.2.9');
    expect(stdout).toBe('192.0.2.1\n192.0.2.9\n');
  });

  it('a pod may not use the address of another', async () => {
    const namespace = `calico-p4-${lab.name}-stranger`;
    execFileSync('ip', ['-n', namespace, 'address', 'add', '10.65.0.11/32', 'dev', 'eth0']);
    expect(await lab.python('stranger', PING, '10.65.0.10', '10.65.0.11')).toBe('silence');
    execFileSync('ip', ['-n', namespace, 'address', 'delete', '10.65.0.11/32', 'dev', 'eth0']);
  });

  it('pods know each other by name, and exec ends as the command does', async () => {
    const { code, stdout } = await lab.run('exec', 'client', '--', 'getent', 'ahostsv4', 'web');
    expect({ code, first: stdout.split(' ')[0] }).toEqual({ code: 0, first: '10.65.0.10' });
    expect((await lab.run('exec', 'client', 'sh', '-c', 'exit 7')).code).toBe(7);
    expect(await lab.run('exec', 'nobody', '--', 'true')).toMatchObject({
      code: 2,
      stderr:
        'calico-p4: the lab has no pod nobody; there are web, client, stranger, outside, host [USAGE]\n',
    });
  });

  it('status, tables and trace show it', async () => {
    const { stdout } = await lab.run('status');
    expect(stdout).toMatch(/^up; P4Runtime at unix:/);
    expect(stdout).toMatch(/^web +up +port \d +caliweb +10\.65\.0\.10 fd00:65::10 +sent \d+ +received \d+$/m);
    expect(stdout).toMatch(/^outside +up +port 0 +uplink +192\.0\.2\.9 2001:db8:ffff::9 +sent [1-9]/m);
    expect(stdout).toMatch(/^host +up +port 1 +host +192\.0\.2\.1 2001:db8:ffff::1 +sent [1-9]/m);
    const live = ['--target', `unix:${lab.folder}/p4rt.sock`, '--names', `${lab.folder}/names.json`];
    const counters = await run('calico-p4', ['tables', '--counters', ...live]);
    expect(counters.stdout).toMatch(/[1-9]\d* +default\/GlobalNetworkPolicy web ingress rule 0 \(allow\)/);
    const packet = [
      '--from',
      'calistranger',
      '--src',
      '10.65.0.12',
      '--dst',
      '10.65.0.10',
      '--proto',
      'tcp',
      '--dport',
      '80',
    ];
    const traced = await run('calico-p4', ['trace', ...live, ...packet]);
    expect(traced.stdout).toMatch(/^DENIED: ingress policy of the destination/m);
  });

  it('there is one of a name', async () => {
    expect(await lab.run('up')).toMatchObject({
      code: 2,
      stderr: 'calico-p4: a lab is up already: `lab down` ends it [USAGE]\n',
    });
    expect(await lab.python('client', PING, '10.65.0.10')).toBe('answered');
  });

  it('an engine that is killed comes back with its ports and tables', async () => {
    const [engine] = processesWith(['--socket', `${lab.folder}/engine.sock`]);
    process.kill(engine!, 'SIGKILL');
    // It is started at once; filling takes a second or two.
    let answer = '';
    for (let i = 0; i < 10 && answer !== 'answered'; i++)
      answer = await lab.python('client', PING, '10.65.0.10');
    expect(answer).toBe('answered');
    expect(await lab.python('stranger', PING, '10.65.0.10')).toBe('silence');
    expect(await lab.python('outside', PING, '10.65.0.11')).toBe('answered');
    expect(await lab.python('host', PING, '10.65.0.11')).toBe('answered');
  });

  it('packets go on when its process is killed, and down removes what is left', async () => {
    const { daemon } = JSON.parse(readFileSync(`${lab.folder}/state.json`, 'utf8')) as {
      daemon: { pid: number };
    };
    process.kill(daemon.pid, 'SIGKILL');
    expect(await lab.python('client', PING, '10.65.0.10')).toBe('answered');
    expect((await lab.run('status')).stdout).toMatch(/^crashed: /);
    expect((await lab.run('up')).code).toBe(2);
    expect(await lab.run('down')).toMatchObject({ code: 0, stdout: 'lab is down\n' });
    expectNothingOf(lab.name);
    expect((await lab.run('down')).stdout).toBe('no lab is up\n');
  });

  it('down of a lab that works leaves nothing either', async () => {
    expect((await lab.run('up')).code).toBe(0);
    expect(await lab.run('down')).toMatchObject({ code: 0, stdout: 'lab is down\n' });
    expectNothingOf(lab.name);
  });

  it('one that can not start says why, and leaves nothing', async () => {
    const { code, stderr } = await lab.run('up', { CALICO_P4_ENGINE: '/bin/false' });
    expect(code).toBe(1);
    expect(stderr).toMatch(/^calico-p4: the lab did not start: (.|\n)*\/bin\/false ended/);
    expectNothingOf(lab.name);
    expect((await lab.run('up', '/no/such/file.yaml')).stderr).toMatch(
      /can not read the lab file .*\[CONFIG_INVALID\]$/m,
    );
    expectNothingOf(lab.name);
  });
});

describeEngine('calico-p4 lab with a recording as Felix', { root: true }, () => {
  const lab = labOf(`r${process.pid}`);
  const recording = path.join(ROOT, 'test/recordings/02-policy.bin');
  afterEach(async () => {
    await lab.run('down');
    expectNothingOf(lab.name);
  });

  it('its endpoints are pods, and its policy is in force between them', async () => {
    expect(await lab.run('up', '--recording', recording, '--at', AT)).toMatchObject({
      code: 0,
      stdout: 'lab is up: dev-0, db-0, web-0, web-1, vm1\n',
    });
    // What was packed into the recording about each pair of these, by the reference (replay).
    const said = async (from: string, to: string, port: string): Promise<string> =>
      lab.python(from, CONNECTED, to, port);
    const packets = PACKETS.map(([from, to, port], i) =>
      JSON.stringify({
        id: String(i),
        from: from.interface,
        src: from.ip,
        dst: to,
        proto: 'tcp',
        sport: 40000 + i,
        dport: port,
      }),
    );
    const file = path.join(lab.folder, 'packets');
    writeFileSync(file, packets.join('\n'));
    const replayed = await run('calico-p4', ['replay', recording, '--at', AT, '--packets', file, '--json']);
    const verdicts = replayed.stdout
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as { verdict: string }).verdict);
    // Nobody listens: what policy lets through is refused by the pod.
    const live = [];
    for (const [from, to, port] of PACKETS) live.push(await said(from.name, to, String(port)));
    expect(live).toEqual(verdicts.map((verdict) => (verdict === 'allow' ? 'refused' : 'silence')));
    expect(new Set(live).size).toBe(2);
    expect((await lab.run('status')).stdout).toMatch(/^host +up +port 1 +host +10\.1\.0\.10 fd00:1::10 /m);
  });

  it('it may be of another release, and --pods limits how many are made', async () => {
    const stream = path.join(ROOT, 'test/recordings/release-3.26.5.bin');
    expect(await lab.run('up', '--recording', stream, '--at', 'insync', '--pods', '2')).toMatchObject({
      code: 0,
      stdout: 'lab is up: 2 of 6 pods (--pods): batch-0, cli-0\n',
    });
  });

  it.each([
    [[recording, '--at', '3'], /4 frames, and Felix is not in sync by then/],
    [[recording, '--pods', '251'], /--pods 251: give a number from 1 to 250/],
    [['/no/such/recording'], /can not read the stream/],
    [[recording, 'file.yaml'], /give a lab file or --recording, not both/],
    [[path.join(ROOT, 'README.md')], /FELIX_/],
  ])('%s is refused', async (args, words) => {
    const { code, stderr } = await lab.run('up', '--recording', ...args);
    expect(code).not.toBe(0);
    expect(stderr).toMatch(words);
  });
});

function expectNothingOf(name: string): void {
  const mark = `calico-p4-${name}`;
  expect(existsSync(`/run/${mark}`)).toBe(false);
  expect(execFileSync('ip', ['netns', 'list'], { encoding: 'utf8' })).not.toContain(mark);
  expect(
    existsSync('/etc/netns') ? readdirSync('/etc/netns').filter((one) => one.startsWith(mark)) : [],
  ).toEqual([]);
  const processes = readdirSync('/proc').flatMap((pid) => {
    try {
      return /^\d+$/.test(pid) ? [readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')] : [];
    } catch {
      return [];
    }
  });
  expect(
    processes.filter((line) => line.includes(mark) || line.includes(`lab node --name ${name} `)),
  ).toEqual([]);
}

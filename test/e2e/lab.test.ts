/** `calico-p4 lab` as a user runs it: live packets between pods, and nothing left behind. Under a name of its own. */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { CONNECTED, PING, labOf } from './support/lab';
import { describeEngine } from './engine/engine';
import { run } from './support/processes';
import { processesWith } from '../../src/lab/processes';

jest.setTimeout(180_000);

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
      stderr: 'calico-p4: the lab has no pod nobody; there are web, client, stranger [USAGE]\n',
    });
  });

  it('status, tables and trace show it', async () => {
    const { stdout } = await lab.run('status');
    expect(stdout).toMatch(/^up; P4Runtime at unix:/);
    expect(stdout).toMatch(/^web +up +port \d +caliweb +10\.65\.0\.10 fd00:65::10 +sent \d+ +received \d+$/m);
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

/**
 * The host's kernel as the driver sets it up, with the real kernel, in namespaces of the test:
 *
 * ```
 *  lan ── upl │ node │ cali0 ── sw (a bridge in the target's place) ── pod
 *  10.1.0.11    10.1.0.10, 10.66.0.1        └── out 10.1.0.1, 192.0.2.9
 * ```
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { cleanHost, openHostNetwork } from '../../src/driver/host-network/open';
import { createCommands, type Commands } from '../../src/driver/host-network/commands';
import type { HostNetwork } from '../../src/driver/host-network/host-network';
import { NO_NETWORK, type FelixModel, type IpamPool } from '../../src/model/model';
import { parseMac, spellMac } from '../../src/translators/links';
import { modelOf } from '../support/models';
import { makeNamespaces, whyNoNamespaces, type Namespaces } from '../support/namespaces';

const why = whyNoNamespaces();
if (why !== undefined) console.warn(`skipping tests of the host's network: ${why}`);
const live = why === undefined ? test : test.skip;

const GATEWAY = '02:00:00:00:00:aa';
const CONFIG = {
  interfaces: { uplink: 'upl', host: 'cali0' },
  macs: { gateway: GATEWAY, nextHop: '', errorStack: '' },
};

let net: Namespaces;
const networks: HostNetwork[] = [];

beforeEach(() => {
  if (why !== undefined) return;
  net = makeNamespaces('node', 'lan', 'sw', 'pod', 'out');
  net.ip('node', `link add upl type veth peer name b0 netns ${net.name('lan')}`);
  net.ip('node', `link add cali0 type veth peer name host netns ${net.name('sw')}`);
  net.ip('sw', `link add pod type veth peer name eth0 address ${GATEWAY} netns ${net.name('pod')}`);
  net.ip('sw', `link add out type veth peer name eth0 netns ${net.name('out')}`);
  net.ip('sw', 'link add bri0 type bridge');
  for (const port of ['host', 'pod', 'out']) net.ip('sw', `link set ${port} master bri0 up`);
  net.ip('sw', 'link set bri0 up');
  net.ip('lan', 'address add 10.1.0.11/24 dev b0');
  net.ip('lan', 'link set b0 up');
  // Link-local addresses are there at once, and do not come while something is compared.
  for (const which of ['default', 'all', 'upl', 'cali0'])
    net.run('node', 'sysctl', ['-qw', `net.ipv6.conf.${which}.accept_dad=0`]);
  net.ip('node', 'link set upl up');
  net.ip('node', 'link set cali0 up');
  net.ip('node', 'address add 10.1.0.10/24 dev cali0');
  net.ip('node', 'route add default via 10.1.0.1');
  net.ip('out', 'address add 10.1.0.1/24 dev eth0');
  net.ip('out', 'address add 192.0.2.9/32 dev eth0');
  net.ip('out', 'link set eth0 up');
  net.ip('pod', 'address add 10.66.0.5/32 dev eth0');
  net.ip('pod', 'link set eth0 up');
  net.ip('pod', 'route add default via 169.254.1.1 dev eth0 onlink');
  const host = /link\/ether (\S+)/.exec(net.ip('node', 'link show cali0'))![1]!;
  net.ip('pod', `neigh add 169.254.1.1 dev eth0 lladdr ${host} nud permanent`);
});

afterEach(() => {
  for (const network of networks.splice(0)) network.close();
  if (why === undefined) net.remove();
});

const commands = (): Commands => createCommands(['ip', 'netns', 'exec', net.name('node')]);

/** What `commands` is told that writes. */
function counted(): { readonly commands: Commands; readonly writes: string[] } {
  const real = commands();
  const writes: string[] = [];
  return {
    writes,
    commands: {
      follow: (program, args, onLine) => real.follow(program, args, onLine),
      run(program, args, input) {
        const line = [program, ...args].join(' ');
        if (/ -w | -batch | -f |delete| del /.test(` ${line} `)) writes.push(`${line} ${input ?? ''}`);
        return real.run(program, args, input);
      },
    },
  };
}

async function open(by: Commands = commands()): Promise<HostNetwork> {
  const opened = (await openHostNetwork(CONFIG, () => undefined, by))!;
  networks.push(opened.network);
  return opened.network;
}

const POOL: IpamPool = {
  id: 'p',
  cidr: '10.66.0.0/16',
  masquerade: true,
  ipipMode: '',
  vxlanMode: 'always',
  allowedUses: [],
};

function model(config: Readonly<Record<string, string>> = {}, pool: Partial<IpamPool> = {}): FelixModel {
  return {
    ...modelOf({}),
    config: new Map(Object.entries({ FelixHostname: 'me', ...config })),
    hosts: new Map([['me', { hostname: 'me', ipv4Addr: '10.1.0.10/24', ipv6Addr: '' }]]),
    pools: new Map([['p', { ...POOL, ...pool }]]),
    ...NO_NETWORK,
    encapsulation: { ipip: false, vxlan: true, vxlanV6: false, noEncap: false },
    vteps: new Map([
      [
        'me',
        {
          node: 'me',
          mac: '66:00:00:00:00:01',
          address: '10.66.0.1',
          parentIp: '10.1.0.10',
          macV6: '',
          addressV6: '',
          parentIpV6: '',
        },
      ],
    ]),
  };
}

/** Longer than the driver takes to look again without being told, should it be told before it listens. */
async function until(what: string, holds: () => boolean): Promise<void> {
  for (let i = 0; i < 300; i++) {
    if (holds()) return;
    await sleep(50);
  }
  throw new Error(`${what}: not within 15 s`);
}

/** Listens on TCP and UDP in one namespace, and says to whom it talks. */
async function ask(from: string, to: string, address: string, bind = ''): Promise<string> {
  const server = `
    const s = require('net').createServer((c) => { c.end('you are ' + c.remoteAddress); });
    s.listen(7777, '0.0.0.0', () => console.log('ready'));`;
  const { spawn } = await import('node:child_process');
  const child = spawn('ip', ['netns', 'exec', net.name(to), process.execPath, '-e', server]);
  try {
    await new Promise((resolve) => child.stdout.once('data', resolve));
    return net.run(from, process.execPath, [
      '-e',
      `const c = require('net').connect({ port: 7777, host: '${address}'${bind === '' ? '' : `, localAddress: '${bind}'`} });
       c.setTimeout(1500, () => { console.log('silence'); process.exit(); });
       c.on('error', (e) => { console.log(e.code); process.exit(); });
       c.on('data', (d) => console.log(String(d)));`,
    ]);
  } finally {
    child.kill();
  }
}

live('the guard: the kernel does not answer or take in what comes by the uplink', async () => {
  const mac = /link\/ether (\S+)/.exec(net.ip('node', 'link show upl'))![1]!;
  net.ip('lan', `neigh replace 10.1.0.10 dev b0 lladdr ${mac} nud permanent`);
  // The way back is closed in this bed, so what is looked at is what the kernel takes in there, and how often it says where the address is.
  // (It may ask others from there, which tells the same, but in requests.)
  const counter = (space: string, family: string, hook: string, rule: string): (() => number) => {
    net.run(space, 'nft', ['add', 'table', family, 'probe']);
    net.run(space, 'nft', [`add chain ${family} probe in { type filter hook ${hook}; }`]);
    net.run(space, 'nft', [`add rule ${family} probe in ${rule} counter`]);
    return () => Number(/packets (\d+)/.exec(net.run(space, 'nft', ['list', 'table', family, 'probe']))![1]);
  };
  const taken = counter('node', 'ip', 'prerouting priority -300', 'iifname upl udp dport 9999');
  const answers = counter('lan', 'arp', 'input priority 0', 'arp operation reply');
  const poke = (): void => {
    net.run('lan', process.execPath, [
      '-e',
      `const s = require('dgram').createSocket('udp4'); s.send('x', 9999, '10.1.0.10', () => s.close());`,
    ]);
  };
  let before = taken();
  poke();
  await until('an open kernel takes it in', () => taken() > before);
  net.ip('lan', 'neigh del 10.1.0.10 dev b0');
  poke();
  await until('an open kernel answers', () => answers() > 0);
  net.ip('lan', `neigh replace 10.1.0.10 dev b0 lladdr ${mac} nud permanent`);

  const network = await open();
  await network.guard();
  expect(network.guarded).toBe(true);
  before = taken();
  poke();
  await sleep(300);
  expect(taken()).toBe(before);
  const said = answers();
  net.ip('lan', 'neigh del 10.1.0.10 dev b0');
  poke();
  await sleep(300);
  expect(answers()).toBe(said);
});

live('the guard comes back when somebody takes it away', async () => {
  const network = await open();
  await network.guard();
  net.run('node', 'nft', ['delete', 'table', 'netdev', 'calico-p4']);
  await until('the guard', () => net.run('node', 'nft', ['list', 'tables']).includes('netdev calico-p4'));
});

live('neighbours are learned, and learned again when they change', async () => {
  const network = await open();
  await network.guard();
  await network.prepare(model());
  await network.want(new Set(['10.1.0.11', '10.1.0.12', '192.0.2.77']));
  const macOf = (): string => {
    const mac = network.facts.macOf('10.1.0.11');
    return mac === undefined ? '' : spellMac(mac);
  };
  const is = /link\/ether (\S+)/.exec(net.ip('lan', 'link show b0'))![1]!;
  await until('the neighbour', () => macOf() === is);
  expect(network.facts.macOf('10.1.0.12')).toBeUndefined();
  // By the router, which is not at the uplink here.
  expect(network.facts.macOf('192.0.2.77')).toBeUndefined();
  net.run('lan', 'sysctl', ['-qw', 'net.ipv4.conf.b0.arp_notify=1']);
  net.ip('lan', 'link set b0 down');
  net.ip('lan', 'link set b0 address 02:00:00:00:0b:0b');
  net.ip('lan', 'link set b0 up');
  await until('the new address', () => macOf() === '02:00:00:00:0b:0b');
  expect(parseMac(macOf())).toBe(network.facts.macOf('10.1.0.11'));
});

live('the router of the default route is a neighbour at the uplink', async () => {
  net.ip('lan', 'address add 10.1.0.1/24 dev b0');
  const network = await open();
  await network.guard();
  await network.prepare(model());
  await network.want(new Set(['192.0.2.77']));
  await until('the router', () => network.facts.defaultMac !== undefined);
  expect(network.facts.macOf('192.0.2.77')).toBe(network.facts.defaultMac);
});

live('host to pod and back, with the address of the tunnel', async () => {
  const network = await open();
  await network.guard();
  await network.prepare(model());
  expect(await ask('node', 'pod', '10.66.0.5')).toContain('you are 10.66.0.1');
  expect(await ask('pod', 'node', '10.1.0.10')).toContain('you are 10.66.0.5');
});

live('NAT outgoing: out with the address of the node, and back', async () => {
  const network = await open();
  await network.guard();
  await network.prepare(model());
  expect(network.failures).toEqual([]);
  expect(network.facts.natOutgoing).toBe('ready');
  expect(await ask('pod', 'out', '192.0.2.9')).toContain('you are 10.1.0.10');
  // By hand: it comes back by itself.
  net.run('node', 'nft', ['delete', 'table', 'inet', 'calico-p4']);
  await until('the rules', () => net.run('node', 'nft', ['list', 'tables']).includes('inet calico-p4'));
  expect(await ask('pod', 'out', '192.0.2.9')).toContain('you are 10.1.0.10');
  net.run('node', 'nft', ['flush', 'chain', 'inet', 'calico-p4', 'postrouting']);
  await until('the rule', () =>
    net.run('node', 'nft', ['list', 'table', 'inet', 'calico-p4']).includes('masquerade'),
  );
});

live('NATPortRange and NATOutgoingAddress', async () => {
  net.ip('node', 'address add 10.1.0.77/24 dev cali0');
  const network = await open();
  await network.guard();
  await network.prepare(model({ NATPortRange: '40000:40010', NATOutgoingAddress: '10.1.0.77' }));
  expect(await ask('pod', 'out', '192.0.2.9')).toContain('you are 10.1.0.77');
  expect(net.run('node', 'nft', ['list', 'table', 'inet', 'calico-p4'])).toContain('10.1.0.77:40000-40010');
});

live('pods do not get to addresses of the host past the target', async () => {
  const network = await open();
  await network.guard();
  await network.prepare(model());
  net.ip('node', 'address add 10.9.9.9/32 dev lo');
  // Before the driver knows of it, and so before the target does, it is closed; the answer would come at once.
  const rules = net.run('node', 'nft', ['list', 'table', 'inet', 'calico-p4']);
  expect(rules).toContain('fib daddr type local');
  expect(await ask('pod', 'node', '10.9.9.9')).toContain('silence');
});

live("BIRD's routes are taken as they come and go", async () => {
  const network = await open();
  await network.guard();
  await network.prepare(model());
  net.ip('node', 'route add 10.66.9.0/26 via 10.1.0.19 proto bird');
  net.ip('node', 'route add blackhole 10.66.0.0/26 proto bird');
  await until('two routes', () => network.facts.kernelRoutes.length === 2);
  expect(network.stale).toBe(true);
  // The blackhole is closer than the pool: pods in it get routes of their own.
  const workload = {
    id: { orchestratorId: 'k8s', workloadId: 'a', endpointId: 'eth0' },
    state: 'active',
    name: 'calia',
    mac: '',
    profileIds: [],
    ipv4Nets: ['10.66.0.5/32'],
    ipv6Nets: [],
    tiers: [],
    allowSpoofedSourcePrefixes: [],
  };
  await network.prepare({ ...model(), workloads: new Map([['a', workload]]) });
  expect(await ask('node', 'pod', '10.66.0.5')).toContain('you are 10.66.0.1');
  net.ip('node', 'route del 10.66.9.0/26');
  await until('one route', () => network.facts.kernelRoutes.length === 1);
});

live('a driver that starts again writes nothing, whatever ended the first', async () => {
  const first = await open();
  await first.guard();
  await first.prepare(model());
  await first.want(new Set(['10.1.0.11']));
  await until('the neighbour', () => first.facts.macOf('10.1.0.11') !== undefined);
  first.close();
  const { commands: watched, writes } = counted();
  const second = await open(watched);
  await second.guard();
  await second.prepare(model());
  await second.want(new Set(['10.1.0.11']));
  expect(second.facts.macOf('10.1.0.11')).toBeDefined();
  await second.prepare(model());
  expect(writes).toEqual([]);
  expect(await ask('pod', 'out', '192.0.2.9')).toContain('you are 10.1.0.10');
});

live('what is no longer wanted goes; after cleanup nothing is left', async () => {
  const state = (): string[] => [
    net.ip('node', 'route show table all').replace(/ expires \S+/g, ''),
    net.ip('node', '-o address show').replace(/tentative |valid_lft.*/g, ''),
    net.run('node', 'nft', ['list', 'ruleset']),
    net.ip('node', 'neigh show nud permanent'),
  ];
  // It is left on, and brings anycast addresses with it.
  net.run('node', 'sysctl', ['-qw', 'net.ipv6.conf.all.forwarding=1']);
  await sleep(2500); // Addresses of IPv6 settle.
  const before = state();
  const network = await open();
  await network.guard();
  await network.prepare(model());
  await network.want(new Set(['10.1.0.11']));
  expect(net.ip('node', 'route')).toContain(
    '10.66.0.0/16 via 169.254.1.1 dev cali0 proto 88 src 10.66.0.1 onlink',
  );
  expect(net.ip('node', 'address show cali0')).toContain('10.66.0.1/32');
  await network.prepare({ ...model(), pools: new Map(), vteps: new Map() });
  expect(net.ip('node', 'route')).not.toContain('169.254.1.1');
  expect(net.ip('node', 'address show cali0')).not.toContain('10.66.0.1/32');
  await network.prepare(model());
  network.close();
  await cleanHost(CONFIG, commands());
  expect(state()).toEqual(before);
  expect(net.ip('node', 'neigh show dev upl')).not.toContain('10.1.0.11');
});

live('what can not be set up is said, and what hangs on it is kept away', async () => {
  const real = commands();
  const network = await open({
    ...real,
    run: (program, args, input) =>
      program === 'nft' && input?.includes('postrouting') === true
        ? real.run('nft', ['-f', '-'], 'no such words')
        : real.run(program, args, input),
  });
  await network.guard();
  await network.prepare(model());
  expect(network.facts.natOutgoing).toBe('failed');
  expect(network.failures).toEqual([expect.stringContaining('NAT outgoing')]);
});

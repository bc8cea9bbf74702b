import { chooseEngine } from '../../../../src/cli/switch';
import { parsePort } from '../../../../src/p4switch/dpdk/ports';

const plain = { netns: '', mtu: 0, mac: '', vlan: 0, persistent: false };

it.each([
  [
    '2=tap:eth0@/run/netns/pod-a',
    2,
    { ...plain, kind: 'tap', name: 'eth0', netns: '/run/netns/pod-a', persistent: true },
  ],
  [
    '1=tap:calico-host,mtu=1450',
    1,
    { ...plain, kind: 'tap', name: 'calico-host', mtu: 1450, persistent: true },
  ],
  [
    '0=packet:ens3,mac=02:00:00:00:00:0A',
    0,
    { ...plain, kind: 'packet', name: 'ens3', mac: '02:00:00:00:00:0a' },
  ],
  ['0=packet:ens3,vlan=100', 0, { ...plain, kind: 'packet', name: 'ens3', vlan: 100 }],
  ['0=device:0000:03:00.0', 0, { ...plain, kind: 'device', name: '0000:03:00.0' }],
  ['7=memory:', 7, { ...plain, kind: 'memory', name: '' }],
])('--port %s', (text, port, spec) => {
  expect(parsePort(text)).toEqual({ port, spec });
});

it.each([
  '',
  '2',
  '2=tap',
  'x=tap:eth0',
  '2=veth:eth0',
  '2=tap:eth0,mtu=9',
  '2=tap:eth0,mtu=12345',
  '2=tap:eth0,mac=1',
  '2=tap:eth0,up',
  '2=tap:eth0,vlan=7',
  '0=packet:ens3,vlan=0',
  '0=packet:ens3,vlan=4095',
])('--port %s is refused', (text) => {
  expect(() => parsePort(text)).toThrow(/--port/);
});

describe('which engine', () => {
  it.each([
    ['auto', true, '/x/engine', 'dpdk', 'it is built, and the user is root'],
    ['auto', false, '/x/engine', 'interpreter', 'the native engine needs root'],
    ['auto', true, undefined, 'interpreter', 'the native engine is not built: make engine'],
    ['interpreter', true, '/x/engine', 'interpreter', 'as asked'],
    ['dpdk', true, '/x/engine', 'dpdk', 'as asked'],
  ])('%s, root %s, built %s: %s, because %s', (asked, root, binary, engine, why) => {
    expect(chooseEngine(asked, root, binary)).toMatchObject({ engine, why });
  });

  it.each([
    ['dpdk', false, '/x/engine', /needs root/],
    ['dpdk', true, undefined, /make engine/],
    ['bmv2', true, '/x/engine', /give dpdk, interpreter or auto/],
  ])('%s, root %s, built %s is refused', (asked, root, binary, words) => {
    expect(() => chooseEngine(asked, root, binary)).toThrow(words);
  });
});

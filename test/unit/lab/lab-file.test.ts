import path from 'node:path';
import { CalicoP4Error } from '../../../src/errors';
import { parseLabFile, readLabFile } from '../../../src/lab/lab-file';

const POD = 'pods: [{ name: web }]\n';

function messageOf(text: string): string {
  try {
    parseLabFile(text, 'lab.yaml');
  } catch (error) {
    expect(error).toBeInstanceOf(CalicoP4Error);
    expect((error as CalicoP4Error).code).toBe('CONFIG_INVALID');
    return (error as CalicoP4Error).message;
  }
  return 'accepted';
}

test('the example is one', () => {
  const { pods, policies, outside, host } = readLabFile(path.join(__dirname, '../../../examples/lab.yaml'));
  expect(pods.map(({ name }) => name)).toEqual(['web', 'client', 'stranger']);
  expect(policies[0]).toMatchObject({ name: 'web', selector: { app: 'web' } });
  expect([outside, host]).toMatchObject([{ ips: ['192.0.2.9', '2001:db8:ffff::9'] }, { serve: [] }]);
  expect(policies[0]!.ingress!.map(({ protocol }) => protocol)).toEqual(['TCP', 'ICMP', 'ICMPv6']);
});

test.each([
  ['no file of a lab', 'hello', 'lab.yaml: Invalid input: expected object, received string'],
  ['no YAML', 'pods: [', 'lab.yaml is no YAML: '],
  ['no pods', 'pods: []', 'lab.yaml: pods: '],
  ['a key that is not known', `${POD}nodes: []`, 'lab.yaml: Unrecognized key: "nodes"'],
  ['a name that is no name', 'pods: [{ name: Web }]', 'pod Web: name: give lower-case letters'],
  ['a name that is too long for an interface', 'pods: [{ name: abcdefghijkl }]', 'pod abcdefghijkl: name: '],
  [
    'a pod that is called as the world is',
    'pods: [{ name: outside }]',
    'pod outside: name: outside and host are',
  ],
  [
    'a host that has the address of a pod',
    'pods: [{ name: a, ips: [192.0.2.1] }]',
    'address 192.0.2.1/32 is there twice',
  ],
  [
    'an outside with labels',
    `${POD}outside: { labels: {} }`,
    'lab.yaml: outside: Unrecognized key: "labels"',
  ],
  ['a pod without a name', 'pods: [{ labels: {} }]', 'pod number 1: name: '],
  ['two pods of a name', 'pods: [{ name: a }, { name: a }]', 'pod a is there twice'],
  ['a label that is none', 'pods: [{ name: web, labels: { app: "a b" } }]', 'pod web: labels.app: '],
  [
    'an address with a length',
    'pods: [{ name: web, ips: [10.65.0.1/32] }]',
    'pod web: ips.0: give an address',
  ],
  ['two addresses of a family', 'pods: [{ name: web, ips: [10.65.0.1, 10.65.0.2] }]', 'at most one address'],
  [
    'an address of two pods',
    'pods: [{ name: a, ips: ["fd00::1"] }, { name: b, ips: ["fd00:0::1"] }]',
    'address fd00::1/128 is there twice',
  ],
  ['a port that is none', 'pods: [{ name: web, serve: [70000] }]', 'pod web: serve.0: '],
  [
    'a selector that is more than equality',
    `${POD}policies: [{ name: p, selector: "has(app)" }]`,
    'policy p: selector: "has(app)" is more than a lab understands',
  ],
  [
    'a selector that contradicts itself',
    `${POD}policies: [{ name: p, selector: "a == 'x' && a == 'y'" }]`,
    'policy p: selector: ',
  ],
  ['a policy without a selector', `${POD}policies: [{ name: p }]`, 'policy p: selector: '],
  [
    'an action that is none',
    `${POD}policies: [{ name: p, selector: all(), ingress: [{ action: allow }] }]`,
    'policy p: ingress.0.action: ',
  ],
  [
    'ports without a protocol',
    `${POD}policies: [{ name: p, selector: all(), egress: [{ action: Deny, destination: { ports: [80] } }] }]`,
    'policy p: egress.0: ports need a protocol of TCP, UDP, SCTP',
  ],
  [
    'a range that goes backwards',
    `${POD}policies: [{ name: p, selector: all(), egress: [{ action: Deny, protocol: TCP, source: { ports: ["9:1"] } }] }]`,
    'policy p: egress.0.source.ports.0: ',
  ],
  [
    'a net that is none',
    `${POD}policies: [{ name: p, selector: all(), ingress: [{ action: Deny, source: { nets: [10.0.0.0/33] } }] }]`,
    'policy p: ingress.0.source.nets.0: give a CIDR',
  ],
  [
    'words of Calico that a lab does not enforce',
    `${POD}policies: [{ name: p, selector: all(), doNotTrack: true }]`,
    'policy p: Unrecognized key: "doNotTrack"',
  ],
])('%s is refused by name', (_, text, words) => {
  expect(messageOf(text)).toContain(words);
});

/** IPIP: the other node is a packet socket, which knows every byte. */
import { describeTestbed } from '../../support/testbed/binaries';
import { podObject } from '../../support/testbed/calico-objects';
import { type Addresses, containerIdOf } from '../../support/testbed/mixed/cni';
import { type Cluster, NAMESPACE, startCluster } from '../../support/testbed/mixed/cluster';
import {
  backwards,
  ethernet,
  type IpipPeer,
  ipv4Header,
  startIpipPeer,
} from '../../support/testbed/mixed/ipip-peer';
import { ipipPool, nodeObject, POOLS } from '../../support/testbed/mixed/objects';
import { startP4Node } from '../../support/testbed/mixed/p4-node';
import { onlyFrom } from '../../support/testbed/mixed/policies';
import { eventually } from '../../support/testbed/supervisor';
import { Namespace } from '../engine/namespaces';

const PEER = { name: 'peer', number: 50, v4: '192.0.2.50', v6: '2001:db8::50' } as const;
const STRANGER = '192.0.2.51';
const SPORT = 40_000;
const DPORT = 7;
const HEADERS = { ethernet: 14, ipv4: 20, udp: 8 } as const;

jest.setTimeout(60_000);

describeTestbed(
  'IPIP between a calico-p4 node and a node of crafted packets',
  { namespaces: true, linuxDataplane: true },
  (binaries) => {
    let cluster: Cluster;
    let peer: IpipPeer;
    let peerMac: string;
    let far: Addresses;
    const stops: (() => void | Promise<void>)[] = [];

    beforeAll(async () => {
      cluster = await startCluster(binaries);
      stops.push(() => cluster.stop());
      const { controlPlane, cni } = cluster;
      await controlPlane.apply(ipipPool(), nodeObject(PEER.name, PEER));
      far = (await cni.call({
        command: 'ADD',
        plugin: 'calico-ipam',
        node: PEER.name,
        containerId: containerIdOf(NAMESPACE, 'far'),
        pod: { namespace: NAMESPACE, name: 'far' },
        pools: POOLS.ipip,
      }))!;
      await controlPlane.apply(
        podObject(PEER.name, {
          namespace: NAMESPACE,
          name: 'far',
          labels: { app: 'far' },
          ipv4: far.v4,
          ipv6: far.v6,
        }),
      );
      const space = new Namespace();
      stops.push(() => {
        space.delete();
      });
      peerMac = cluster.lan.attach(space, PEER.number);
      space.ip('address', 'add', `${PEER.v4}/24`, 'dev', 'eth0');
      peer = await startIpipPeer(space);
      stops.push(peer.stop);
      await cluster.join('west', startP4Node);
      await cluster.addPod('west', { name: 'near', labels: { app: 'near' }, pool: 'ipip' });
    }, 120_000);
    afterAll(async () => {
      for (const stop of stops.reverse()) await stop();
    }, 60_000);
    afterEach(async () => {
      await cluster.controlPlane.kubectl(['-n', NAMESPACE, 'delete', 'networkpolicy', '--all']);
    });

    const near = (): string => cluster.pod('near').addresses.v4;
    const west = () => cluster.node('west');
    /** Sends `words` until an answer comes, or for two seconds; the answer, or `silence`. */
    const speak = (words: string): Promise<string> =>
      cluster.pod('near').space.node(`
const udp = require('dgram').createSocket('udp4');
const say = (what) => { console.log(what); process.exit(0); };
udp.on('message', (m) => say(String(m)));
udp.bind(${SPORT}, () => {
  const send = () => udp.send('${words}', ${DPORT}, '${far.v4}', () => undefined);
  send();
  setInterval(send, 250);
});
setTimeout(() => say('silence'), 2500);
`);
    const inner = (frame: Buffer): Buffer => frame.subarray(HEADERS.ethernet + HEADERS.ipv4);
    const words = (frame: Buffer): string =>
      inner(frame)
        .subarray(HEADERS.ipv4 + HEADERS.udp)
        .toString();
    /** What the node sends when its pod speaks: and what its pod hears when it gets `answer` of it. */
    const conversation = async (
      text: string,
      answer: (frame: Buffer) => Uint8Array,
    ): Promise<{ readonly frame: Buffer; readonly heard: string }> => {
      peer.forget();
      const hearing = speak(text);
      const frame = await peer.next((one) => words(one) === text);
      peer.send(answer(frame));
      return { frame, heard: await hearing };
    };
    /** The packet comes back in IPIP, as the peer sends it. */
    const echo = (frame: Buffer, from: string = PEER.v4, to = west().addresses.v4): Uint8Array => {
      const packet = backwards(inner(frame));
      return Buffer.concat([
        ethernet(west().mac, peerMac),
        ipv4Header({
          tos: 0,
          length: HEADERS.ipv4 + packet.length,
          id: 1,
          fragment: 0x4000,
          ttl: 64,
          proto: 4,
          src: from,
          dst: to,
        }),
        packet,
      ]);
    };

    it('a packet to a pod of the peer is this, byte by byte, and its answer comes back', async () => {
      const { frame, heard } = await eventually('the first answer', async () => conversation('hello', echo));
      expect(heard).toBe('hello');
      const packet = inner(frame);
      const outer = ipv4Header({
        tos: 0,
        length: HEADERS.ipv4 + packet.length,
        id: frame.readUInt16BE(HEADERS.ethernet + 4),
        fragment: 0x4000,
        ttl: 63,
        proto: 4,
        src: west().addresses.v4,
        dst: PEER.v4,
      });
      const udp = Buffer.from(packet.subarray(HEADERS.ipv4));
      expect(udp.subarray(0, 6)).toEqual(
        Buffer.from([SPORT >> 8, SPORT & 0xff, 0, DPORT, 0, HEADERS.udp + 5]),
      );
      const passenger = ipv4Header({
        tos: 0,
        length: packet.length,
        id: packet.readUInt16BE(4),
        fragment: 0x4000,
        ttl: 63,
        proto: 17,
        src: near(),
        dst: far.v4,
      });
      expect(frame.toString('hex')).toBe(
        Buffer.concat([ethernet(peerMac, west().mac), outer, passenger, udp]).toString('hex'),
      );
    });

    it('IPIP from an address that is no node, or to another address, is not let in', async () => {
      const bad = [
        (frame: Buffer) => echo(frame, STRANGER),
        (frame: Buffer) => echo(frame, PEER.v4, '192.0.2.99'),
      ] as const;
      for (const answer of bad) expect((await conversation('stranger', answer)).heard).toBe('silence');
      expect((await conversation('friend', echo)).heard).toBe('friend');
    });

    it('policy that names pods of the peer holds', async () => {
      const { frame } = await conversation('before', echo);
      // New connections from the peer: another port of theirs.
      const knock = (port: number): Uint8Array => {
        const packet = backwards(inner(frame));
        packet.writeUInt16BE(port, HEADERS.ipv4);
        // No checksum, as UDP over IPv4 may have it.
        packet.writeUInt16BE(0, HEADERS.ipv4 + 6);
        return Buffer.concat([Buffer.from(echo(frame)).subarray(0, HEADERS.ethernet + HEADERS.ipv4), packet]);
      };
      const heard = (port: number): Promise<string> =>
        listen(cluster, port, () => {
          peer.send(knock(port));
        });
      expect(await heard(5001)).toBe('before');
      await cluster.controlPlane.apply(onlyFrom('near', 'nobody'));
      await eventually('the policy', async () => (await heard(5002)) === 'silence' || undefined);
      await cluster.controlPlane.apply(onlyFrom('near', 'far'));
      await eventually('the policy', async () => (await heard(5003)) === 'before' || undefined);
    });
  },
);

/** What the pod hears from a port of the peer's within a second of knocks, or `silence`. */
async function listen(cluster: Cluster, port: number, knock: () => void): Promise<string> {
  const timer = setInterval(knock, 200);
  try {
    return await cluster.pod('near').space.node(`
const udp = require('dgram').createSocket('udp4');
const say = (what) => { console.log(what); process.exit(0); };
udp.on('message', (m, from) => { if (from.port === ${port}) say(String(m)); });
udp.bind(${SPORT});
setTimeout(() => say('silence'), 1200);
`);
  } finally {
    clearInterval(timer);
  }
}
